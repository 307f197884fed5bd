"""Means over boxes of cells, beside the same worked out cell by cell."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rv_pipeline_chip_classification.neighbours.box_means import ScoreRow, box_means
from rv_pipeline_chip_classification.neighbours.joined_cells import coarse_windows


def plain_means(scores: np.ndarray, valid: np.ndarray, before: int, after: int, *, fills: bool) -> np.ndarray:
    means = np.full_like(scores, np.nan)
    for row, col in np.ndindex(scores.shape[:2]):
        box = scores[max(0, row - before) : row + after + 1, max(0, col - before) : col + after + 1].reshape(-1, 2)
        box = box[np.isfinite(box).all(axis=1)]
        is_wanted = valid[row, col] > 0 if fills else np.isfinite(scores[row, col]).all()
        if is_wanted and len(box):
            means[row, col] = box.mean(axis=0)
    return means


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 9), st.integers(1, 9), st.integers(0, 6), st.integers(0, 6), st.booleans(), st.integers(0, 2**32 - 1)
)
def test_means_are_those_of_each_box(rows: int, cols: int, before: int, after: int, fills: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, valid = rng.random((rows, cols, 2)), rng.integers(0, 3, (rows, cols)) / 2
    scores[rng.random((rows, cols)) < 0.3] = np.nan
    found = list(box_means(map(ScoreRow, scores, valid), before, after, fills=fills))
    assert len(found) == rows
    expected = plain_means(scores, valid, before, after, fills=fills)
    np.testing.assert_allclose(np.array([row.scores for row in found]).reshape(expected.shape), expected, rtol=1e-12)
    assert [row.valid_fractions.tolist() for row in found] == valid.tolist()


def test_finer_cells_lie_in_those_that_are_labelled() -> None:
    labelled = np.array([[10, 21, 8, 8], [18, 5, 8, 8]])
    finer = np.array([[10, 21, 4, 4], [14, 25, 4, 4], [10, 17, 4, 4], [2, 13, 4, 4]])
    expected = [[10, 21, 8, 8], [10, 21, 8, 8], [10, 13, 8, 8], [2, 13, 8, 8]]
    assert coarse_windows(finer, labelled).tolist() == expected
    same = np.array([[12, 21, 8, 8]])
    assert coarse_windows(same, labelled).tolist() == same.tolist()
    assert coarse_windows(finer, np.array([[0, 0, 8, 8], [0, 0, 9, 8]])).tolist() == finer.tolist()
