"""Means of scores over boxes of cells, row by row: pure arithmetic that holds as many rows as a box is high.

Sums are taken in one order whatever comes in which portions, so that the same cells give the same bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


class ScoreRow(NamedTuple):
    """A row of cells beside each other.

    Args:
        scores: (N, K) float64; NaN where a cell has none.
        valid_fractions: (N,) float64, share of valid pixels of each.
    """

    scores: Scores
    valid_fractions: NDArray[np.float64]


def box_means(rows: Iterable[ScoreRow], before: int, after: int, *, fills: bool) -> Iterator[ScoreRow]:
    """The means of the scores from so many cells before each to so many after it, along rows and columns.

    A cell without scores does not count in the mean of others, and what is outside of the grid does not either.

    Args:
        rows: from the first to the last.
        before: cells before one, above and to the left of it.
        after: cells after one, below and to the right of it.
        fills: whether a cell without scores of its own has those of its box, if it has valid pixels; else it stays
            without.
    """
    held: deque[ScoreRow] = deque(maxlen=before + 1 + after)
    sums: deque[tuple[Scores, Scores]] = deque(maxlen=before + 1 + after)
    num_rows = 0
    for row in rows:
        held.append(row)
        sums.append(_sums_along(row.scores, before, after))
        num_rows += 1
        if num_rows > after:
            yield _mean(held[-1 - after], sums, fills=fills)
    # Below the last row there is nothing: boxes get lower.
    for missing in range(min(after, num_rows) - 1, -1, -1):
        while len(sums) > before + 1 + missing:
            sums.popleft()
        yield _mean(held[-1 - missing], sums, fills=fills)


def _sums_along(scores: Scores, before: int, after: int) -> tuple[Scores, Scores]:
    """Of a row the sums of scores (N, K), and how many they are (N, 1), from `before` cells before to `after` after each."""
    has_scores = _have_scores(scores)[:, None]
    known, counted = np.where(has_scores, scores, 0.0), has_scores.astype(np.float64)
    totals, counts = np.zeros_like(known), np.zeros_like(counted)
    for shift in range(-before, after + 1):
        to, of = _shifted(len(scores), shift)
        totals[to] += known[of]
        counts[to] += counted[of]
    return totals, counts


def _have_scores(scores: Scores) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(scores).all(axis=1))


def _shifted(count: int, shift: int) -> tuple[slice, slice]:
    """Where the cells are that have one so far after them, and where these are."""
    return slice(max(0, -shift), max(0, count - max(0, shift))), slice(max(0, shift), max(0, count + min(0, shift)))


def _mean(row: ScoreRow, sums: Iterable[tuple[Scores, Scores]], *, fills: bool) -> ScoreRow:
    totals, counts = np.zeros_like(row.scores), np.zeros((len(row.scores), 1))
    for total, count in sums:
        totals += total
        counts += count
    is_wanted = np.asarray(row.valid_fractions > 0) if fills else _have_scores(row.scores)
    means = np.full_like(totals, np.nan)
    np.divide(totals, counts, out=means, where=is_wanted[:, None] & (counts > 0))
    return ScoreRow(means, row.valid_fractions)
