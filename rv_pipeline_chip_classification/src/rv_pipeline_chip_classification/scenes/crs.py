"""Coordinate systems: whether two are one, whether two grids are, and points of one in another."""

from __future__ import annotations

import math

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_AppDefinedError
from rasterio.crs import CRS
from rasterio.warp import transform as warp_transform

from rv_core.errors import DataError
from rv_pipeline_chip_classification.scenes.grid import Grid
from rv_pipeline_chip_classification.scenes.raster_reader import GDAL_ERRORS, rasterio_window, reason_of
from rv_pipeline_chip_classification.scenes.windows import Window

_DEGREE_M = 111_195.0  # on a sphere of the Earth's mean radius
_SAME_SIZE = 1.1
#: Pixels that a cubic kernel takes on each side of its middle.
_KERNEL_PX = 2


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


def project_each(points: NDArray[np.float64], from_crs: str, to_crs: str, *, where: str) -> NDArray[np.float64]:
    """Points of one CRS in another one: (N, 2) float64, x then y (longitude then latitude for geographic CRSs).

    Args:
        points: (N, 2) float64, in the same order of axes.
        from_crs: WKT or a name such as "EPSG:4326".
        to_crs: likewise.
        where: the file that the points come from, for messages.

    Returns:
        The points; NaN, NaN for one that cannot be expressed in the other CRS.

    Raises:
        DataError: if a CRS is not known, or nothing of one can be expressed in the other.
    """
    try:
        if is_same_crs(from_crs, to_crs) or not len(points):
            return points
        projected = _project_halves(points, CRS.from_user_input(from_crs), CRS.from_user_input(to_crs))
    except (*GDAL_ERRORS, OverflowError) as err:
        what = "coordinates cannot be brought to another CRS"
        raise DataError(what, where=where, why=reason_of(err), fix=_fix_of(reason_of(err))) from err
    projected[~np.isfinite(projected).all(axis=1)] = np.nan
    return projected


def _project_halves(points: NDArray[np.float64], from_crs: CRS, to_crs: CRS) -> NDArray[np.float64]:
    """One point without a place fails all that are projected with it: so halves are tried, down to that point."""
    try:
        xs, ys = warp_transform(from_crs, to_crs, points[:, 0], points[:, 1])[:2]
        return np.column_stack([xs, ys]).astype(np.float64)
    except CPLE_AppDefinedError:
        if len(points) == 1:
            return np.full((1, 2), np.nan)
    middle = len(points) // 2
    halves = [_project_halves(half, from_crs, to_crs) for half in (points[:middle], points[middle:])]
    return np.concatenate(halves)


def _fix_of(reason: str) -> str:
    """What helps where GDAL cannot even begin to project."""
    if "proj.db" in reason or "DATABASE.LAYOUT" in reason:
        return "PROJ finds the data of another installation: unset PROJ_DATA and PROJ_LIB"
    if "Cannot find coordinate operations" in reason:
        return "this CRS has no known place on Earth, or lies on another body: give the file its true CRS"
    return "name the CRS by its EPSG code, as spatialreference.org lists it"


def degrees_per_unit(crs: str | None) -> float | None:
    """Degrees in one unit of a CRS of longitude and latitude; None for any other CRS, and for none."""
    known = CRS.from_user_input(crs) if crs is not None else None
    if known is None or not known.is_geographic:
        return None
    return float(np.rad2deg(known.units_factor[1]))


def pixel_size_m(grid: Grid) -> float | None:
    """Side of a square as large as the pixel in the middle of a grid, in metres on the ground; None if unknown."""
    if grid.crs is None:
        return None
    row, col = grid.height / 2, grid.width / 2
    a, b, c, d, e, f = grid.transform
    pixels = np.array([(col, row), (col + 1, row), (col, row + 1)])
    points = np.column_stack([pixels @ (a, b) + c, pixels @ (d, e) + f])
    try:
        lonlat = project_each(points, grid.crs, "EPSG:4326", where="")
    except DataError:
        return None
    (east, north), (east2, north2) = ((lonlat[i] - lonlat[0] + 180) % 360 - 180 for i in (1, 2))
    area = abs(east * north2 - east2 * north) * _DEGREE_M**2 * float(np.cos(np.radians(lonlat[0, 1])))
    return float(np.sqrt(area)) if area > 0 else None  # NaN is not above 0 either


def is_same_pixel_size(one_m: float, other_m: float) -> bool:
    """Whether two pixels are as good as equal: within a tenth, for projections stretch."""
    return max(one_m, other_m) <= _SAME_SIZE * min(one_m, other_m)


def warped_from(source: Grid, grid: Grid, window: Window) -> Window:
    """Which pixels of a source GDAL reads, about, to warp a window of a grid: with those that a kernel takes around it.

    Empty where that cannot be told; what is not told is read when it is needed.
    """
    own, its = rasterio.Affine(*source.transform), rasterio.Affine(*grid.transform)
    try:
        bounds = rasterio.windows.bounds(rasterio_window(window), its)
        box = rasterio.windows.from_bounds(*rasterio.warp.transform_bounds(grid.crs, source.crs, *bounds), own)
        margin = math.ceil(_KERNEL_PX * max(1.0, box.height / window.height, box.width / window.width)) + 1
        row, col = math.floor(box.row_off) - margin, math.floor(box.col_off) - margin
        height, width = math.ceil(box.height) + 2 * margin + 1, math.ceil(box.width) + 2 * margin + 1
    except (*GDAL_ERRORS, rasterio.errors.WindowError, ArithmeticError, ValueError):
        return Window(0, 0, 0, 0)
    return Window(row, col, height, width).intersection(source.extent)
