"""Whether two images show the same: by small pictures of them, where no place on Earth tells it. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Side of a thumbnail in squares, each the mean of its pixels.
SIDE = 32
#: Correlation from which on two pictures are one: saving one as JPEG leaves it above 0.999.
_ALIKE = 0.995


def thumbnail_of(values: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[np.float64] | None:
    """A picture of an image that can be compared: (SIDE * SIDE,) float64, mean 0, length 1.

    Args:
        values: (H, W) numbers.
        valid: (H, W) bool, or None for all; what is not valid counts as the mean.

    Returns:
        None for an image that is smaller, or the same everywhere.
    """
    height, width = values.shape
    if height < SIDE or width < SIDE:
        return None
    known = values.astype(np.float64)
    if valid is not None:
        known[~valid] = known[valid].mean() if valid.any() else 0.0
    rows = np.linspace(0, height, SIDE + 1).astype(np.int64)[:-1]
    cols = np.linspace(0, width, SIDE + 1).astype(np.int64)[:-1]
    sums = np.add.reduceat(np.add.reduceat(known, rows, axis=0), cols, axis=1)
    counts = np.outer(np.diff([*rows, height]), np.diff([*cols, width]))
    means = (sums / counts).ravel()
    centred = means - means.mean()
    length = float(np.linalg.norm(centred))
    return centred / length if length > 1e-9 * max(1.0, float(np.abs(means).max())) else None


def alike(thumbnails: list[NDArray[np.float64]]) -> list[tuple[int, int]]:
    """Pairs of thumbnails that show the same, each as (first, second) number."""
    if len(thumbnails) < 2:
        return []
    pictures = np.stack(thumbnails)
    ones, others = np.nonzero(np.triu(pictures @ pictures.T, 1) > _ALIKE)
    return list(zip(ones.tolist(), others.tolist(), strict=True))
