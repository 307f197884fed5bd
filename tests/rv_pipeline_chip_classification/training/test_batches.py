"""Batches of chips."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rv_pipeline_chip_classification.model.normalize import Normalization
from rv_pipeline_chip_classification.training.batches import Batches

PLAIN = Normalization("none", (0.0, 0.0), (1.0, 1.0))


class Chips:
    """Chips in memory; chip i is full of the number i."""

    def __init__(self, count: int, size_px: int = 4) -> None:
        pixels = np.arange(count, dtype=np.uint16)
        self._pixels = np.broadcast_to(pixels[:, None, None, None], (count, size_px, size_px, 2))
        self.class_ids = np.arange(count, dtype=np.int64) % 3
        self.num_chips, self.num_channels, self.chip_shape = count, 2, (size_px, size_px)
        self.dtype = np.dtype(np.uint16)

    def gather(
        self, indices: NDArray[np.int64], out: NDArray[Any] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        chips = np.empty((len(indices), *self._pixels.shape[1:]), np.uint16) if out is None else out[: len(indices)]
        chips[...] = self._pixels[indices]
        return chips, None


def _numbers(batches: Batches, epoch: int, first: int = 0) -> list[list[int]]:
    """The chips of each batch, as the pixels say."""
    return [batch.chips[:, 0, 0, 0].astype(int).tolist() for batch in batches.epoch(epoch, first=first)]


def test_an_epoch_has_every_chip_once_in_batches_that_differ_by_one_at_most() -> None:
    batches = Batches(Chips(45), PLAIN, 10)  # type: ignore[arg-type]
    numbers = _numbers(batches, 0)
    assert sorted(number for batch in numbers for number in batch) == list(range(45))
    assert [len(batch) for batch in numbers] == [9, 9, 9, 9, 9]
    assert batches.num_batches == 5
    assert [len(i) for i in Batches(Chips(21), PLAIN, 10).indices(0)] == [7, 7, 7]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("num_chips", "batch_size", "sizes"), [(3, 2, [3]), (5, 1, [3, 2]), (1, 4, [1]), (9, 8, [5, 4])]
)
def test_no_chip_is_alone_in_a_batch(num_chips: int, batch_size: int, sizes: list[int]) -> None:
    batches = Batches(Chips(num_chips), PLAIN, batch_size)  # type: ignore[arg-type]
    assert [len(indices) for indices in batches.indices(0)] == sizes


def test_class_ids_go_with_their_chips() -> None:
    for batch in Batches(Chips(20), PLAIN, 6).epoch(0):  # type: ignore[arg-type]
        assert (batch.chips[:, 0, 0, 0].astype(int) % 3 == batch.class_ids).all()


def test_each_epoch_has_an_order_of_its_own_that_depends_on_the_seed_alone() -> None:
    batches = Batches(Chips(30), PLAIN, 10, seed=1)  # type: ignore[arg-type]
    assert _numbers(batches, 0) == _numbers(Batches(Chips(30), PLAIN, 10, seed=1), 0)  # type: ignore[arg-type]
    assert _numbers(batches, 0) != _numbers(batches, 1)
    assert _numbers(batches, 0) != _numbers(Batches(Chips(30), PLAIN, 10, seed=2), 0)  # type: ignore[arg-type]


def test_batches_that_are_not_shuffled_keep_the_order() -> None:
    batches = Batches(Chips(7), PLAIN, 3, is_shuffled=False)  # type: ignore[arg-type]
    assert _numbers(batches, 4) == [[0, 1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize("num_threads", [1, 4])
def test_an_epoch_that_begins_in_the_middle_has_the_same_bytes(num_threads: int) -> None:
    whole = Batches(Chips(40), PLAIN, 4, augment="d4_color", seed=5)  # type: ignore[arg-type]
    later = Batches(Chips(40), PLAIN, 4, augment="d4_color", seed=5, num_threads=num_threads)  # type: ignore[arg-type]
    expected = [(batch.number, batch.chips.tobytes()) for batch in whole.epoch(3)][6:]
    assert [(batch.number, batch.chips.tobytes()) for batch in later.epoch(3, first=6)] == expected


def test_a_batch_is_not_written_over_by_the_next_ones() -> None:
    kept = list(Batches(Chips(64), PLAIN, 4, is_shuffled=False).epoch(0))  # type: ignore[arg-type]
    assert [batch.chips[0, 0, 0, 0] for batch in kept] == list(range(0, 64, 4))


def test_no_chips_are_no_batches() -> None:
    batches = Batches(Chips(0), PLAIN, 4)  # type: ignore[arg-type]
    assert batches.num_batches == 0 and list(batches.epoch(0)) == []
