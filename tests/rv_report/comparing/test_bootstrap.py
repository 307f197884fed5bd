"""Intervals of differences: equal answers give 0, an improvement is found, and chance is not mistaken for one."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from rv_report.comparing.bootstrap import (
    MIN_BLOCKS,
    WANTED_BLOCKS,
    Blocks,
    Counts,
    blocks_of,
    metrics_of,
    paired_intervals,
)

NAMES = ["a", "b", "c"]
SIDE, CELL_DEG = 40, 0.0003


def grid(side: int = SIDE) -> NDArray[np.float64]:
    rows, cols = np.mgrid[0:side, 0:side]
    return np.column_stack([15 + CELL_DEG * cols.ravel() / np.cos(np.radians(47)), 47 - CELL_DEG * rows.ravel()])


def in_patches(rng: np.random.Generator, patch: int = 5) -> NDArray[np.float64]:
    """A number in [0, 1) for each cell of the grid, the same in a patch of so many cells a side: errors lie together."""
    numbers = rng.random((SIDE // patch, SIDE // patch))
    return np.kron(numbers, np.ones((patch, patch))).ravel()


def answers(rng: np.random.Generator, truth: NDArray[np.int64], error: float) -> NDArray[np.int64]:
    return np.where(in_patches(rng) < error, (truth + 1) % 3, truth)


def intervals(truth: NDArray[np.int64], one: NDArray[np.int64], two: NDArray[np.int64], blocks: Blocks):  # type: ignore[no-untyped-def]
    return paired_intervals(Counts.of(truth, one, blocks, 3), Counts.of(truth, two, blocks, 3), NAMES)


@pytest.fixture(scope="module")
def blocks() -> Blocks:
    return blocks_of(grid(), np.zeros(SIDE**2, np.int64))


def test_blocks_are_squares_of_which_there_are_enough(blocks: Blocks) -> None:
    assert WANTED_BLOCKS <= blocks.count <= 4 * WANTED_BLOCKS
    sizes = np.bincount(blocks.numbers)
    assert sizes.max() <= 2 * np.median(sizes)
    assert 100 < blocks.side_m < 400  # 40 cells of 33 m, in about six blocks a side
    assert blocks_of(grid(), np.zeros(SIDE**2, np.int64), 1e6).count <= 4


def test_cells_without_a_place_are_blocked_by_group_and_never_with_others() -> None:
    lonlat = grid(4)
    lonlat[8:] = np.nan
    found = blocks_of(lonlat, np.repeat([0, 1], 8))
    assert len(set(found.numbers[8:])) == 1
    assert found.numbers[8] not in found.numbers[:8]
    assert blocks_of(np.full((6, 2), np.nan), np.array([3, 3, 5, 5, 5, 7])).count == 3


def test_blocks_do_not_end_at_the_date_line() -> None:
    lonlat = np.array([[179.9999, 0.0], [-179.9999, 0.0]] * 20)
    assert blocks_of(lonlat, np.zeros(40, np.int64), 1000.0).count <= 2


def test_equal_answers_differ_by_nothing(blocks: Blocks) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, SIDE**2)
    one = answers(rng, truth, 0.2)
    for found in intervals(truth, one, one, blocks).values():
        assert (found.difference, found.low, found.high) == (0.0, 0.0, 0.0)
        assert not found.is_told_apart


def test_a_planted_improvement_is_found(blocks: Blocks) -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, SIDE**2)
    hard = in_patches(rng)
    one, two = (np.where(hard < error, (truth + 1) % 3, truth) for error in (0.3, 0.15))
    found = intervals(truth, one, two, blocks)
    for name in ("accuracy", "macro F1", "kappa", "F1 of b"):
        assert 0 < found[name].low < found[name].difference < found[name].high
    assert found["accuracy"].difference == pytest.approx((two == truth).mean() - (one == truth).mean())
    assert intervals(truth, two, one, blocks)["accuracy"].is_told_apart


@pytest.mark.slow
def test_chance_is_seldom_taken_for_a_difference_where_errors_lie_together(blocks: Blocks) -> None:
    told, told_by_cells, runs = 0, 0, 60
    cells = Blocks(np.arange(SIDE**2), 0.0)
    for seed in range(runs):
        rng = np.random.default_rng(100 + seed)
        truth = rng.integers(0, 3, SIDE**2)
        one, two = answers(rng, truth, 0.2), answers(rng, truth, 0.2)
        told += intervals(truth, one, two, blocks)["accuracy"].is_told_apart
        if seed < 20:
            told_by_cells += intervals(truth, one, two, cells)["accuracy"].is_told_apart
    assert told <= 0.15 * runs
    assert told_by_cells >= 0.35 * 20  # what blocks are for


def test_few_blocks_give_no_interval() -> None:
    few = Blocks(np.repeat(np.arange(MIN_BLOCKS - 1), 2), 1.0)
    truth = np.zeros(len(few.numbers), np.int64)
    found = intervals(truth, truth, truth + 1, few)["accuracy"]
    assert found.difference == -1.0
    assert np.isnan(found.low)
    assert not found.is_told_apart


def test_metrics_without_a_cell_of_a_class_are_those_of_the_others() -> None:
    one = Blocks(np.zeros(4, np.int64), 0.0)
    truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    found = metrics_of(Counts.of(truth, predicted, one, 3), NAMES)
    assert found["accuracy"][0] == 0.75
    assert np.isnan(found["F1 of c"][0])
    assert found["macro F1"][0] == pytest.approx((2 / 3 + 0.8) / 2)
    assert found["kappa"][0] == pytest.approx(0.5)
