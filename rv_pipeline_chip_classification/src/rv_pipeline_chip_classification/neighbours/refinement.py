"""Scores of a grid of cells as they are written: averaged where cells overlap, and over neighbourhoods.

What is averaged are the probabilities of classes as the model gives them, rounded as they are written, also where logits
are asked for: these are then the logarithms of the means. Whether a scene is worked on as one or in parts, the same
scores come in, so the same bytes come out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rv_pipeline_chip_classification.neighbours.anchored_grid import AnchoredGrid
from rv_pipeline_chip_classification.neighbours.box_means import ScoreRow, box_means
from rv_pipeline_chip_classification.prediction.cell_scores import NO_CLASS, SCORE_DECIMALS, Answers, ScoredCells
from rv_pipeline_chip_classification.prediction.cell_windows import CellGrid

#: A probability that is 0 has a logarithm too.
_LEAST = np.finfo(np.float64).tiny


def scored_grid(grid: CellGrid, answers: Answers) -> CellGrid:
    """The cells that a model scores, of a grid of cells with a step."""
    overlaps = answers.averages_overlaps and grid.stride_px < grid.size_px
    return AnchoredGrid(grid.extent, grid.size_px, grid.stride_px) if overlaps else grid


def written_grid(scored: CellGrid) -> CellGrid:
    """The cells that are written of those that are scored."""
    return scored.steps if isinstance(scored, AnchoredGrid) else scored


def refined(cells: Iterable[ScoredCells], scored: CellGrid, answers: Answers) -> Iterator[ScoredCells]:
    """The cells that are written, in order, of those that a model scored.

    Args:
        cells: all of them, in order.
        scored: which they are.
        answers: which neighbours count, and what scores are.
    """
    averages = isinstance(scored, AnchoredGrid)
    if not averages and answers.smooth == 1:
        yield from cells
        return
    written = written_grid(scored)
    rows = _rows_of(cells, written.shape[1], gives_logits=answers.gives_logits)
    if averages:
        rows = box_means(rows, scored.size_px // scored.stride_px - 1, 0, fills=True)
    if answers.smooth > 1:
        rows = box_means(rows, answers.smooth // 2, answers.smooth // 2, fills=False)
    yield from map(partial(_cells_of, written, answers), range(written.shape[0]), rows)


def _rows_of(cells: Iterable[ScoredCells], num_cols: int, *, gives_logits: bool) -> Iterator[ScoreRow]:
    """Probabilities by whole rows, whatever portions they come in."""
    pending: list[ScoreRow] = []
    num_pending = 0
    for some in cells:
        scores = some.scores.astype(np.float64)
        pending.append(ScoreRow(_softmax(scores) if gives_logits else scores, some.valid_fractions))
        num_pending += len(some.class_ids)
        if num_pending < num_cols:
            continue
        scores, fractions = (np.concatenate(column) for column in zip(*pending, strict=True))
        end = num_pending // num_cols * num_cols
        for begin in range(0, end, num_cols):
            yield ScoreRow(scores[begin : begin + num_cols], fractions[begin : begin + num_cols])
        pending, num_pending = [ScoreRow(scores[end:], fractions[end:])], num_pending - end


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _cells_of(grid: CellGrid, answers: Answers, number: int, row: ScoreRow) -> ScoredCells:
    """A row of the grid with classes, and scores as they are written."""
    first = number * grid.shape[1]
    scores = np.log(np.maximum(row.scores, _LEAST)) if answers.gives_logits else row.scores
    has_scores = np.isfinite(scores).all(axis=1)
    class_ids = np.full(len(scores), NO_CLASS, np.int64)
    if has_scores.any():
        class_ids[has_scores] = answers.classes_of(scores[has_scores])
    rounded = np.round(scores, SCORE_DECIMALS).astype(np.float32)
    return ScoredCells(first, grid.windows(first, first + len(scores)), class_ids, rounded, row.valid_fractions)
