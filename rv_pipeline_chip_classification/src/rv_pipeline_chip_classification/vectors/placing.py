"""Features of any file as polygons in pixels of a scene; points and lines with room around them, or as their cell."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from rv_pipeline_chip_classification.scenes.crs import project_each
from rv_pipeline_chip_classification.scenes.grid import Grid
from rv_pipeline_chip_classification.scenes.windows import Window
from rv_pipeline_chip_classification.vectors.around_world import around_the_world, turn_px
from rv_pipeline_chip_classification.vectors.polygons import (
    OUT_OF_REACH,
    FeaturePolygons,
    place_rings,
    points_in_pixels,
)
from rv_pipeline_chip_classification.vectors.table import FeatureTable, TableParts, VectorFieldError

#: Of the ellipsoid of WGS 84: half its longest axis in metres, and the square of its eccentricity.
_SEMI_MAJOR_M, _ECCENTRICITY_2 = 6_378_137.0, 0.006_694_379_990_14
_POINT, _LINE = 0, 1
#: Corners of a quarter of a circle, GEOS's own default.
_QUARTER = 16


class Spread(NamedTuple):
    """What points and lines cover.

    Args:
        buffer_m: metres on the ground around them.
        cell_size_px: a point covers the cell of this side that holds it, of those laid over `extent`.
        extent: where cells lie.
    """

    buffer_m: float | None = None
    cell_size_px: int | None = None
    extent: Window | None = None


def table_in_pixels(table: FeatureTable, grid: Grid, spread: Spread) -> FeaturePolygons:
    """The polygons of a table in pixels of a scene's grid, and what its points and lines cover.

    Raises:
        VectorFieldError: if the table names no CRS and the image has one, or metres mean nothing on the image.
        DataError: as of `polygons_in_pixels`.
    """
    if table.crs is None and grid.crs is not None and len(table.geometries):
        what, fix = f"{table.kind} names no CRS", 'say which one its coordinates are in: crs="EPSG:…"'
        raise VectorFieldError(what, field="crs", where=table.uri, why="the image has one", fix=fix)
    parts = TableParts(table)
    if spread.buffer_m is None and spread.cell_size_px is None:
        parts.drop_others()
        return place_rings(parts, table, grid)
    found = place_rings(parts, table, grid)
    polygons, features = _covered(parts, table, grid, spread, found.dropped)
    order = np.argsort(np.concatenate([found.features, features]), kind="stable")
    every = np.concatenate([found.polygons, polygons])[order]
    return replace(found, polygons=every, features=np.concatenate([found.features, features])[order])


def _covered(
    parts: TableParts, table: FeatureTable, grid: Grid, spread: Spread, dropped: Counter[str]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """What points and lines cover, and their features, ascending."""
    is_empty = shapely.is_empty(parts.others)
    geometries, features = parts.others[~is_empty], parts.other_features[~is_empty]
    if not len(geometries):
        return np.empty(0, object), np.empty(0, np.int64)
    points, owners = shapely.get_coordinates(geometries, return_index=True)
    pixels = points_in_pixels(points, table, grid)
    is_lost = np.zeros(len(geometries), np.bool_)
    np.logical_or.at(is_lost, owners, np.isnan(pixels).any(axis=1))
    if is_lost.any():
        dropped[OUT_OF_REACH] += int(is_lost.sum())
    placed = shapely.set_coordinates(geometries.copy(), np.nan_to_num(pixels))[~is_lost]
    features = features[~is_lost]
    if spread.cell_size_px is not None and spread.extent is not None:
        return _cells(placed, features, grid, spread.extent, spread.cell_size_px, dropped)
    return _buffers(placed, features, table, grid, float(spread.buffer_m or 0.0))


def _cells(
    placed: NDArray[Any], features: NDArray[np.int64], grid: Grid, extent: Window, size_px: int, dropped: Counter[str]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The cell that holds each point; a point on an edge lies in the cell below or right of it, as windows are half-open."""
    is_point = shapely.get_type_id(placed) == _POINT
    if not is_point.all():
        dropped["line, which lies in no one cell"] += int((~is_point).sum())
    xy, features = shapely.get_coordinates(placed[is_point]), features[is_point]
    xy, is_inside = _turned_inside(xy, grid, extent)
    if not is_inside.all():
        dropped["point outside the image"] += int((~is_inside).sum())
    begins = np.array([extent.col_off, extent.row_off], np.float64)
    corners = np.floor((xy[is_inside] - begins) / size_px) * size_px + begins
    left, top = corners.T
    cells: NDArray[Any] = shapely.box(left, top, left + size_px, top + size_px)
    return cells, features[is_inside]


def _turned_inside(
    xy: NDArray[np.float64], grid: Grid, extent: Window
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Points (N, 2), each where it lies on the extent after a turn of the world or none, and which lie there."""
    turn = turn_px(grid)
    shifts = [(0.0, 0.0)] if turn is None else [(0.0, 0.0), turn, (-turn[0], -turn[1])]
    placed, is_inside = xy.copy(), np.zeros(len(xy), np.bool_)
    for shift in shifts:
        x, y = (xy + shift).T
        inside = (extent.col_off <= x) & (x < extent.col_end) & (extent.row_off <= y) & (y < extent.row_end)
        fresh = inside & ~is_inside
        placed[fresh] = (xy + shift)[fresh]
        is_inside |= inside
    return placed, is_inside


def _buffers(
    placed: NDArray[Any], features: NDArray[np.int64], table: FeatureTable, grid: Grid, buffer_m: float
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Geometries in pixels with so many metres around them, as the ground lies at the middle of each."""
    if grid.crs is None:
        what = "buffer_m cannot be used on an image without a CRS"
        raise VectorFieldError(what, field="buffer_m", where=table.uri, why="it has no metres", fix="give it its CRS")
    middles = shapely.get_coordinates(shapely.centroid(placed))
    metres = _metres_per_pixel(middles, grid, table.uri)
    corners, owners = shapely.get_coordinates(placed, return_index=True)
    offsets = np.einsum("nij,nj->ni", metres[owners], corners - middles[owners])
    around = shapely.buffer(shapely.set_coordinates(placed.copy(), offsets), buffer_m, quad_segs=_QUARTER)
    outline, owners = shapely.get_coordinates(around, return_index=True)
    pixels = np.einsum("nij,nj->ni", np.linalg.inv(metres)[owners], outline) + middles[owners]
    return around_the_world(shapely.set_coordinates(around, pixels), features, grid)


def _metres_per_pixel(middles: NDArray[np.float64], grid: Grid, where: str) -> NDArray[np.float64]:
    """How far east and north a step of a column and of a row leads: (N, 2, 2) float64, metres on the ellipsoid.

    Args:
        middles: (N, 2) column, row.
        grid: of the image, with a CRS.
        where: the file, for messages.
    """
    a, b, c, d, e, f = grid.transform
    half = 0.5
    steps = np.array([(-half, 0.0), (half, 0.0), (0.0, -half), (0.0, half)])
    cols, rows = (middles[:, None] + steps).reshape(-1, 2).T
    points = np.column_stack([a * cols + b * rows + c, d * cols + e * rows + f])
    lonlat = project_each(points, str(grid.crs), "EPSG:4326", where=where).reshape(-1, 4, 2)
    latitude = np.radians(lonlat[:, :, 1].mean(axis=1))
    flat = 1 - _ECCENTRICITY_2 * np.sin(latitude) ** 2
    east = np.radians(1) * np.cos(latitude) * _SEMI_MAJOR_M / np.sqrt(flat)
    north = np.radians(1) * _SEMI_MAJOR_M * (1 - _ECCENTRICITY_2) / flat**1.5
    change = np.stack([lonlat[:, 1] - lonlat[:, 0], lonlat[:, 3] - lonlat[:, 2]], axis=2)
    change[:, 0] = (change[:, 0] + 180) % 360 - 180
    metres: NDArray[np.float64] = change * np.stack([east, north], axis=1)[:, :, None]
    return metres
