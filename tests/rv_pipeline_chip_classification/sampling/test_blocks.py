"""Subsets in blocks: shares are met, near scenes are kept apart, and nothing is left out without need."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from rv_pipeline_chip_classification.sampling.blocks import LEFT_OUT, block_numbers, split_blocks

NO_PAIRS = np.empty((0, 2), np.int64)


def tiles(side: int, block: int, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """A square of tiles that touch: blocks, amounts of three classes that vary over space, pairs of neighbours."""
    rng = np.random.default_rng(seed)
    places = np.array([(row, col) for row in range(side) for col in range(side)])
    waves = [np.sin(places[:, 0] / rng.uniform(2, 6)) + np.cos(places[:, 1] / rng.uniform(2, 6)) for _ in range(3)]
    amounts = np.exp(np.stack(waves, axis=1))
    number = np.arange(side**2).reshape(side, side)
    pairs = [
        np.stack([one.ravel(), other.ravel()], axis=1)
        for one, other in (
            (number[:, 1:], number[:, :-1]),
            (number[1:], number[:-1]),
            (number[1:, 1:], number[:-1, :-1]),
            (number[1:, :-1], number[:-1, 1:]),
        )
    ]
    return block_numbers(places + 0.5, block), amounts, np.concatenate(pairs)


def test_blocks_are_squares_of_the_plane() -> None:
    points = np.array([[0.0, 0.0], [4.9, 4.9], [5.0, 0.0], [-0.1, 0.0]])
    numbers = block_numbers(points, 5.0)
    assert numbers[0] == numbers[1]
    assert len(set(numbers.tolist())) == 3


def test_shares_of_every_class_are_met_and_no_near_pair_is_split() -> None:
    blocks, amounts, near = tiles(24, 3)
    found = split_blocks(blocks, amounts, near, (0.6, 0.2, 0.2), seed=1)
    assert np.abs(found.shares - np.array([[0.6], [0.2], [0.2]])).max() < 0.02
    one, other = found.subsets[near].T
    assert ((one == other) | (one == LEFT_OUT) | (other == LEFT_OUT)).all()
    kept = found.subsets != LEFT_OUT
    assert all(len(set(found.subsets[kept & (blocks == block)])) <= 1 for block in range(64))
    again = split_blocks(blocks, amounts, near, (0.6, 0.2, 0.2), seed=1)
    assert (again.subsets == found.subsets).all()


def test_only_what_is_near_to_a_kept_scene_of_a_smaller_share_gives_way() -> None:
    # A row of scenes in blocks of three, all neighbours near: the first subset gives way, the last never.
    near = np.array([(number, number + 1) for number in range(8)])
    found = split_blocks(np.arange(9) // 3, np.ones((9, 1)), near, (0.5, 0.3, 0.2))
    left_out = set(np.flatnonzero(found.subsets == LEFT_OUT).tolist())
    assert found.num_left_out() == 2
    assert left_out <= {2, 3, 5, 6}
    assert (np.bincount(found.subsets[found.subsets >= 0], minlength=3) > 0).all()
    assert np.bincount(found.subsets[found.subsets >= 0])[2] == 3


def test_few_blocks_are_split_in_the_best_way() -> None:
    blocks = np.arange(5)
    amounts = np.array([[6.0, 0.0], [0.0, 6.0], [2.0, 2.0], [1.0, 1.0], [1.0, 1.0]])
    found = split_blocks(blocks, amounts, NO_PAIRS, (0.6, 0.2, 0.2))
    assert found.num_left_out() == 0
    assert found.shares[0] == pytest.approx([0.6, 0.6])
    assert found.shares[1] == pytest.approx([0.2, 0.2])


def test_a_subset_without_a_share_stays_empty_and_a_class_without_any_has_no_share() -> None:
    found = split_blocks(np.arange(10), np.column_stack([np.ones(10), np.zeros(10)]), NO_PAIRS, (0.8, 0.0, 0.2))
    assert np.bincount(found.subsets, minlength=3).tolist() == [8, 0, 2]
    assert np.isnan(found.shares[:, 1]).all()
