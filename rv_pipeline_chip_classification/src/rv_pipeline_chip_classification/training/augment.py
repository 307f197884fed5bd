"""Augmentation of whole batches: the eight symmetries of the square, brightness and contrast per channel.

Pure numpy on `(B, H, W, C)` batches, so that it runs beside torch on another thread. Every number comes from the
generator that is handed in: the same generator state and batch give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Augment = Literal["none", "flips", "d4", "d4_color"]

#: Factors of the contrast are drawn from 1 ± this, shifts of the brightness from 0 ± this; the unit is that of the
#: normalised values: with `stats`, standard deviations of the channel.
CONTRAST_SPAN = 0.2
BRIGHTNESS_SPAN = 0.2

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


def draw_color(rng: np.random.Generator, num_chips: int, num_channels: int, augment: Augment) -> ColorJitter | None:
    """Brightness and contrast per chip and channel, or None where colours stay as they are."""
    if augment != "d4_color":
        return None
    uniform = rng.random((2, num_chips, num_channels), np.float32) * 2 - 1
    return ColorJitter(1 + CONTRAST_SPAN * uniform[0], BRIGHTNESS_SPAN * uniform[1])


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
