"""Augmentation of whole batches: the symmetries of the square, brightness and contrast per channel, noise and zoom.

Pure numpy on `(B, H, W, C)` batches, so that it runs beside torch on another thread. Every number comes from the
generator that is handed in: the same generator state and batch give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Augment = Literal["none", "flips", "d4", "d4_color"]


@dataclass(frozen=True)
class Strengths:
    """How much chips are changed. Values have the unit of the normalised ones: with `stats`, standard deviations.

    Args:
        brightness: shifts are drawn from 0 ± this.
        contrast: factors are drawn from 1 ± this.
        noise: standard deviation of what is added to every value.
        zoom: factors of the size are drawn from 1 ± this.
    """

    brightness: float = 0.2
    contrast: float = 0.2
    noise: float = 0.0
    zoom: float = 0.0


#: What symmetry k of the square does: transpose first if k >= 4, then k % 4 quarter turns counter-clockwise.
_FLIPS = np.array([0, 2, 5, 7])


@dataclass(frozen=True)
class ColorJitter:
    """One draw of brightness and contrast for a batch.

    Args:
        contrast: (B, C) float32 factors.
        brightness: (B, C) float32 shifts, added after the contrast.
    """

    contrast: NDArray[np.float32]
    brightness: NDArray[np.float32]


def draw_symmetries(rng: np.random.Generator, num_chips: int, augment: Augment) -> NDArray[np.int64] | None:
    """One symmetry of the square (0 to 7) per chip, or None where chips stay as they are.

    Returns:
        (num_chips,) int64; `flips` draws the identity, the two mirrors and the half turn only.
    """
    if augment == "none":
        return None
    if augment == "flips":
        return _FLIPS[rng.integers(0, 4, num_chips)]
    return rng.integers(0, 8, num_chips)


def draw_color(
    rng: np.random.Generator, num_chips: int, num_channels: int, augment: Augment, strengths: Strengths
) -> ColorJitter | None:
    """Brightness and contrast per chip and channel, or None where colours stay as they are."""
    if augment != "d4_color":
        return None
    uniform = rng.random((2, num_chips, num_channels), np.float32) * 2 - 1
    return ColorJitter(1 + strengths.contrast * uniform[0], strengths.brightness * uniform[1])


def apply_symmetries(batch: NDArray[np.float32], symmetries: NDArray[np.int64] | None) -> NDArray[np.float32]:
    """Turn and mirror each chip, all chips of one symmetry at once.

    Args:
        batch: (B, H, W, C); H must equal W for the symmetries that swap the axes.
        symmetries: (B,) as drawn, or None.

    Returns:
        (B, H, W, C), C-contiguous: the batch itself if nothing is to be done, else a new array.
    """
    if symmetries is None:
        return batch
    turned = np.empty_like(batch)
    for symmetry, chips in _groups_of(symmetries):
        turned[chips] = _turned(batch[chips], symmetry)
    return turned


def _groups_of(symmetries: NDArray[np.int64]) -> Iterable[tuple[int, NDArray[np.intp]]]:
    for symmetry in range(8):
        chips = np.flatnonzero(symmetries == symmetry)
        if len(chips):
            yield symmetry, chips


def _turned(chips: NDArray[np.float32], symmetry: int) -> NDArray[np.float32]:
    if symmetry >= 4:
        chips = chips.transpose(0, 2, 1, 3)
    return np.rot90(chips, symmetry % 4, axes=(1, 2))


def zoom(batch: NDArray[np.float32], rng: np.random.Generator, span: float) -> NDArray[np.float32]:
    """Enlarge or shrink each chip around its centre, bilinearly; what would lie outside is the pixel at the edge.

    Args:
        batch: (B, H, W, C).
        rng: draws one factor per chip from 1 ± `span`, unless that is 0.
        span: from 0, below 1.

    Returns:
        (B, H, W, C), C-contiguous: the batch itself if nothing is to be done, else a new array.
    """
    if not span:
        return batch
    factors = 1 + span * (rng.random(len(batch)) * 2 - 1)
    rows, cols = (_places(size, factors) for size in batch.shape[1:3])
    chips = np.arange(len(batch))[:, None, None]
    across = [
        batch[chips, row[:, :, None], cols.first[:, None, :]] * (1 - cols.share[:, None, :, None])
        + batch[chips, row[:, :, None], cols.second[:, None, :]] * cols.share[:, None, :, None]
        for row in (rows.first, rows.second)
    ]
    share = rows.share[:, :, None, None]
    return (across[0] * (1 - share) + across[1] * share).astype(np.float32, copy=False)


class _Places(NamedTuple):
    """Where the pixels of a row or column come from: (B, size) the two nearest, and the share of the second."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    share: NDArray[np.float32]


def _places(size: int, factors: NDArray[np.float64]) -> _Places:
    centre = (size - 1) / 2
    places = np.clip(centre + (np.arange(size) - centre) / factors[:, None], 0, size - 1)
    first = places.astype(np.int64)
    return _Places(first, np.minimum(first + 1, size - 1), (places - first).astype(np.float32))


def add_noise(batch: NDArray[np.float32], rng: np.random.Generator, std: float) -> NDArray[np.float32]:
    """Add independent normal noise of this standard deviation to every value, in place; nothing is drawn if it is 0."""
    if std:
        batch += np.float32(std) * rng.standard_normal(batch.shape, np.float32)
    return batch
