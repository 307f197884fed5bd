"""Coordinate systems: whether two are one, whether two grids are, and points of one in another."""

from __future__ import annotations

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.warp import transform as warp_transform

from rv_core.errors import DataError
from rv_pipeline_chip_classification.scenes.grid import Grid
from rv_pipeline_chip_classification.scenes.raster_reader import GDAL_ERRORS, reason_of


def is_same_crs(one: str | None, other: str | None) -> bool:
    """Whether two CRSs (WKT or names) are the same; None is only the same as None."""
    if one is None or other is None or one == other:
        return one == other
    return bool(rasterio.crs.CRS.from_user_input(one) == rasterio.crs.CRS.from_user_input(other))


def is_same_grid(one: Grid, other: Grid) -> bool:
    """Whether two grids have the same size, CRS and transform (to a hundredth of a pixel at the far corner)."""
    if (one.height, one.width) != (other.height, other.width) or not is_same_crs(one.crs, other.crs):
        return False
    a, b, c, d, e, f = (own - its for own, its in zip(one.transform, other.transform, strict=True))
    pixel = max(abs(value) for value in (one.transform[0], one.transform[1], one.transform[3], one.transform[4]))
    far = max(abs(a) * one.width + abs(b) * one.height + abs(c), abs(d) * one.width + abs(e) * one.height + abs(f))
    return far <= 0.01 * pixel


def project(points: NDArray[np.float64], from_crs: str, to_crs: str, *, where: str) -> NDArray[np.float64]:
    """Points of one CRS in another one: (N, 2) float64, x then y (longitude then latitude for geographic CRSs).

    Args:
        points: (N, 2) float64, in the same order of axes.
        from_crs: WKT or a name such as "EPSG:4326".
        to_crs: likewise.
        where: the file that the points come from, for messages.

    Raises:
        DataError: if a CRS is not known, or a point cannot be expressed in the other one.
    """
    try:
        if is_same_crs(from_crs, to_crs) or not len(points):
            return points
        xs, ys = warp_transform(from_crs, to_crs, points[:, 0], points[:, 1])[:2]
    except GDAL_ERRORS as err:
        what, fix = "coordinates cannot be brought to another CRS", "GeoJSON is longitude, latitude: check the order"
        raise DataError(what, where=where, why=reason_of(err), fix=fix) from err
    projected = np.column_stack([xs, ys]).astype(np.float64)
    lost = ~np.isfinite(projected).all(axis=1)
    if lost.any():
        x, y = points[int(lost.argmax())]
        why = f"point ({x:g}, {y:g}) does not exist there; GeoJSON is longitude, latitude"
        raise DataError("coordinates cannot be brought to another CRS", where=where, why=why)
    return projected
