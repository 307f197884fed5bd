"""Cells of a map that are finer than those that are labelled: which one each lies in, and what they say of it together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from rv_pipeline_chip_classification.prediction.cell_scores import NO_CLASS, SCORE_DECIMALS, Answers
from rv_pipeline_chip_classification.prediction.geojson_file import PredictedCell
from rv_pipeline_chip_classification.scenes.windows import WindowArray


def coarse_windows(windows: WindowArray, labelled: WindowArray) -> WindowArray:
    """The cell of the grid of labelled cells that each window lies in, where these are larger; else the windows.

    Args:
        windows: (N, 4) int64.
        labelled: (M, 4) int64, some of the cells of a grid without overlaps, or cells of many sizes.
    """
    if not len(windows) or not len(labelled) or (labelled[:, 2:] != labelled[0, 2:]).any():
        return windows
    size = labelled[0, 2:]
    if not (windows[:, 2:] < size).all():
        return windows
    begins = windows[:, :2] - (windows[:, :2] - labelled[0, :2]) % size
    return np.concatenate([begins, np.broadcast_to(size, begins.shape)], axis=1)


def joined_cells(cells: Iterable[PredictedCell], labelled: WindowArray, answers: Answers) -> Iterator[PredictedCell]:
    """The cells of the grid of labelled cells, each with the mean of the scores of the finer ones in it.

    Args:
        cells: of a map, row by row.
        labelled: (M, 4) int64, some of the cells of the grid.
        answers: when a cell has no class.
    """
    rows: dict[tuple[int, ...], list[NDArray[np.float64]]] = {}
    answers = Answers(answers.abstain_below)
    row_off = None
    for cell in cells:
        (window,) = map(tuple, coarse_windows(np.array([cell.window]), labelled).tolist())
        if row_off not in (None, window[0]):
            yield from _joined(rows, answers)
            rows = {}
        row_off = window[0]
        found = rows.setdefault(window, [])
        if cell.scores is not None:
            found.append(np.array(cell.scores))
    yield from _joined(rows, answers)


def _joined(rows: dict[tuple[int, ...], list[NDArray[np.float64]]], answers: Answers) -> Iterator[PredictedCell]:
    for (row_off, col_off, height, width), found in rows.items():
        window = (row_off, col_off, height, width)
        if not found:
            yield PredictedCell(window, None, None)
            continue
        # Rounded as they are written: the order of a sum does not decide between equal classes.
        scores = np.round(np.stack(found).mean(axis=0), SCORE_DECIMALS)
        class_id = int(answers.classes_of(scores[None])[0])
        yield PredictedCell(window, None if class_id == NO_CLASS else class_id, tuple(scores.tolist()))
