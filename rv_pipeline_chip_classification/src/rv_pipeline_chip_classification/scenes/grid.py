"""The pixel grid of a raster, and pixels of a window of it. Values only; imports no GDAL."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rv_pipeline_chip_classification.scenes.windows import Window

Affine6 = tuple[float, float, float, float, float, float]


class Pixels(NamedTuple):
    """Pixels of a window.

    Args:
        values: (H, W, C) in the file's dtype.
        valid: (H, W) bool, or None where every pixel is valid.
    """

    values: NDArray[Any]
    valid: NDArray[np.bool_] | None


Scales = tuple[tuple[float, float], ...]


def with_scales(values: NDArray[Any], scales: Scales) -> NDArray[np.float32]:
    """What the numbers of a file mean: `value * scale + offset`, as GDAL has it.

    Args:
        values: (H, W, C) of any real dtype.
        scales: (scale, offset) by channel.

    Returns:
        (H, W, C) float32, computed in float64.
    """
    scale, offset = (np.array(column, np.float64) for column in zip(*scales, strict=True))
    return (values * scale + offset).astype(np.float32)


class Grid(NamedTuple):
    """The pixel grid of a raster.

    Args:
        height: rows.
        width: columns.
        transform: pixel -> CRS, `x = a col + b row + c`, `y = d col + e row + f`, as (a, b, c, d, e, f).
        crs: the CRS as WKT, or None for an image that is not georeferenced.
    """

    height: int
    width: int
    transform: Affine6
    crs: str | None

    @property
    def extent(self) -> Window:
        """All of its pixels."""
        return Window(0, 0, self.height, self.width)
