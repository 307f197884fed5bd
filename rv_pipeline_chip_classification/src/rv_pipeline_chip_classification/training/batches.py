"""Batches of chips for the network: gathered, normalised and augmented as a whole, ahead of their use.

Batch `b` of epoch `e` depends on the seed, `e` and `b` alone: a run that is resumed, or prepares batches on more
threads, sees the same bytes. So the position in the data is two integers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from threading import local
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rv_pipeline_chip_classification.model.normalize import Normalization
from rv_pipeline_chip_classification.model.prefetch import in_advance
from rv_pipeline_chip_classification.training.augment import (
    Augment,
    Strengths,
    add_noise,
    apply_symmetries,
    draw_color,
    draw_symmetries,
    zoom,
)
from rv_pipeline_chip_classification.training.imbalance import Sampling, epoch_order

_SHUFFLING, _AUGMENTING = 0, 1
#: Batch normalisation cannot learn from a single chip whose features are a single pixel.
SMALLEST_BATCH = 2


class ChipSource(Protocol):
    """Chips by number; `chips.store.ChipStore` is one."""

    class_ids: NDArray[np.int64]

    @property
    def num_chips(self) -> int:
        """How many chips there are."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels."""
        ...

    @property
    def num_channels(self) -> int:
        """Channels of a chip."""
        ...

    @property
    def chip_shape(self) -> tuple[int, int]:
        """Height and width of every chip."""
        ...

    def gather(
        self, indices: NDArray[np.int64], out: NDArray[Any] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """(chips (B, H, W, C), valid (B, H, W) or None); chips are the first ones of `out` if that is given."""
        ...


class LabelledBatch(NamedTuple):
    """One batch.

    Args:
        number: its place in the epoch, from 0.
        chips: (B, H, W, C) float32, normalised; invalid pixels 0.
        class_ids: (B,) int64.
    """

    number: int
    chips: NDArray[np.float32]
    class_ids: NDArray[np.int64]


@dataclass(frozen=True)
class Batches:
    """The batches of some chips.

    Args:
        source: the chips.
        normalization: how pixel values reach the model.
        batch_size: chips per batch; those of an epoch differ by at most one chip, and none is alone.
        augment: what happens to each chip.
        strengths: how much of it.
        seed: of the order and the augmentation.
        is_shuffled: whether each epoch has an order of its own; False keeps that of the source, and every chip.
        sampling: which chips of each class an epoch has.
        num_threads: threads that prepare batches.
    """

    source: ChipSource
    normalization: Normalization
    batch_size: int
    augment: Augment = "none"
    strengths: Strengths = field(default_factory=Strengths)
    seed: int = 0
    is_shuffled: bool = True
    sampling: Sampling = field(default_factory=Sampling)
    num_threads: int = 1
    _buffers: local = field(default_factory=local, compare=False, repr=False)

    @cached_property
    def num_chips(self) -> int:
        """Chips per epoch."""
        return int(self.epoch_counts.sum()) if self.is_shuffled else self.source.num_chips

    @cached_property
    def epoch_counts(self) -> NDArray[np.int64]:
        """(K,) chips of each class in an epoch that is shuffled."""
        return self.sampling.epoch_counts(np.bincount(self.source.class_ids))

    @property
    def num_batches(self) -> int:
        """Batches per epoch."""
        num_chips = self.num_chips
        return min(num_chips, max(1, min(-(-num_chips // self.batch_size), num_chips // SMALLEST_BATCH)))

    def indices(self, epoch: int) -> list[NDArray[np.int64]]:
        """The chips of each batch of an epoch."""
        order = np.arange(self.source.num_chips)
        if self.is_shuffled and len(order):
            rng = np.random.default_rng((self.seed, _SHUFFLING, epoch))
            order = epoch_order(self.source.class_ids, self.epoch_counts, rng)
        return np.array_split(order, self.num_batches) if len(order) else []

    def load(self, epoch: int, number: int, indices: NDArray[np.int64]) -> LabelledBatch:
        """One batch, on the calling thread."""
        rng = np.random.default_rng((self.seed, _AUGMENTING, epoch, number))
        chips, valid = self.source.gather(indices, out=self._buffer(len(indices)))
        color = draw_color(rng, len(chips), chips.shape[-1], self.augment, self.strengths)
        contrast, brightness = (None, None) if color is None else (color.contrast, color.brightness)
        batch = self.normalization.apply(chips, valid, contrast=contrast, brightness=brightness)
        batch = apply_symmetries(batch, draw_symmetries(rng, len(batch), self.augment))
        batch = add_noise(zoom(batch, rng, self.strengths.zoom), rng, self.strengths.noise)
        return LabelledBatch(number, batch, self.source.class_ids[indices])

    def _buffer(self, num_chips: int) -> NDArray[Any] | None:
        """An array of this thread to gather raw pixels in, made once: an epoch begins with its largest batches."""
        held: NDArray[Any] | None = getattr(self._buffers, "raw", None)
        if held is None or len(held) < num_chips:
            shape = (num_chips, *self.source.chip_shape, self.source.num_channels)
            held = self._buffers.raw = np.empty(shape, self.source.dtype)
        return held

    def epoch(self, epoch: int, *, first: int = 0) -> Iterator[LabelledBatch]:
        """The batches of an epoch from number `first` on, prepared ahead on threads."""
        batches = list(enumerate(self.indices(epoch)))[first:]
        return in_advance(
            (partial(self.load, epoch, number, indices) for number, indices in batches), num_threads=self.num_threads
        )
