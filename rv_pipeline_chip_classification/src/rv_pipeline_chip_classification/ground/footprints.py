"""Outlines of scenes on the ground, and which of them overlap or lie near each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from rv_core.errors import DataError
from rv_pipeline_chip_classification.ground.equal_area import WGS84, middle_of, on_sphere, projected
from rv_pipeline_chip_classification.scenes.crs import project_each
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster

#: Sides of an outline are cut into so many parts before they are projected: they are no straight lines elsewhere.
_PARTS_PER_SIDE = 16
#: Around one centre distances are told up to here.
_REACH_M = 300_000.0


@dataclass(frozen=True)
class Footprint:
    """What a scene covers on the ground.

    Args:
        outline: shapely polygon or multipolygon, longitude and latitude corner by corner. Only its corners mean
            something: longitudes may jump at the date line.
        center: (3,) float64 amidst the corners, metres on a sphere; see `on_sphere`.
        radius_m: how far the corners are from it at most, straight through the Earth.
    """

    outline: Any
    center: NDArray[np.float64]
    radius_m: float


class GroundPair(NamedTuple):
    """Two footprints that overlap or lie near each other.

    Args:
        one: number of the first.
        other: number of the second, above the first.
        shared_m2: square metres that both cover.
        distance_m: the shortest way from one to the other; 0 where they meet.
    """

    one: int
    other: int
    shared_m2: float
    distance_m: float


def footprint_of(raster: SceneRaster, area: Any = None) -> Footprint | None:
    """What an open scene covers: its extent (the files of a mosaic in it), as far as the area reaches.

    Pixels are not read: what has no data inside of the extent counts too.

    Args:
        raster: the scene.
        area: shapely geometry in pixels, such as an AOI; None for all.

    Returns:
        None for an image without a place on Earth, or where nothing is left.
    """
    if raster.grid.crs is None:
        return None
    boxes = [box.intersection(raster.extent) for box in raster.file_boxes()]
    covered = shapely.union_all(
        [shapely.box(b.col_off, b.row_off, b.col_end, b.row_end) for b in boxes if not b.is_empty]
    )
    if area is not None:
        covered = shapely.intersection(covered, area)
    return footprint_of_pixels(_areas_of(covered), raster.grid.transform, raster.grid.crs, where=raster.scene_id)


def footprint_of_pixels(
    covered: Any, transform: tuple[float, float, float, float, float, float], crs: str, *, where: str
) -> Footprint | None:
    """The footprint of a polygon in pixels of a grid.

    Args:
        covered: shapely polygon or multipolygon.
        transform: pixel -> CRS, (a, b, c, d, e, f).
        crs: WKT or a name.
        where: what to call it in messages.
    """
    if covered.is_empty:
        return None
    left, top, right, bottom = covered.bounds
    fine = shapely.segmentize(covered, max(right - left, bottom - top) / _PARTS_PER_SIDE)
    a, b, c, d, e, f = transform
    corners = shapely.get_coordinates(fine)
    points = np.column_stack([corners @ (a, b) + c, corners @ (d, e) + f])
    try:
        lonlat = project_each(points, crs, WGS84, where=where)
    except DataError:  # said where the place of the image is checked
        return None
    if not np.isfinite(lonlat).all():
        return None
    center = on_sphere(lonlat).mean(axis=0)
    radius_m = float(np.linalg.norm(on_sphere(lonlat) - center, axis=1).max())
    return Footprint(shapely.set_coordinates(fine, lonlat), center, radius_m)


def near_pairs(
    footprints: Sequence[Footprint], *, within_m: float, groups: Sequence[str] | None = None
) -> list[GroundPair]:
    """The pairs that overlap or are at most so far from each other, in the order of the footprints.

    Args:
        footprints: of the scenes.
        within_m: largest distance, in metres.
        groups: only pairs of two groups are looked at; None looks at all.
    """
    ones, others = _candidates(footprints, within_m, groups)
    found: list[GroundPair] = []
    while len(ones):
        # All pairs around the first one are measured in one projection; of scenes of one region these are all.
        center = footprints[ones[0]]
        is_near = np.ones(len(ones), np.bool_)
        for side in (ones, others):
            away = [np.linalg.norm(footprints[i].center - center.center) + footprints[i].radius_m for i in side]
            is_near &= np.array(away) <= _REACH_M
        is_near[0] = True
        found += _measured(footprints, ones[is_near], others[is_near], within_m)
        ones, others = ones[~is_near], others[~is_near]
    return sorted(found)


def _candidates(
    footprints: Sequence[Footprint], within_m: float, groups: Sequence[str] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs whose balls around them meet."""
    none = np.empty(0, np.int64)
    if len(footprints) < 2:
        return none, none
    centers = np.array([footprint.center for footprint in footprints])
    # Straight through the Earth every way is shorter than over the ground, so nothing is missed.
    reach = np.array([footprint.radius_m for footprint in footprints]) + within_m / 2
    x, y = centers[:, 0], centers[:, 1]
    boxes = shapely.box(x - reach, y - reach, x + reach, y + reach)
    ones, others = shapely.STRtree(boxes).query(boxes)
    is_kept = ones < others
    if groups is not None:
        of = np.unique(np.array(groups), return_inverse=True)[1]
        is_kept &= of[ones] != of[others]
    ones, others = ones[is_kept], others[is_kept]
    meet = np.linalg.norm(centers[ones] - centers[others], axis=1) <= reach[ones] + reach[others]
    order = np.lexsort((others[meet], ones[meet]))
    return ones[meet][order].astype(np.int64), others[meet][order].astype(np.int64)


def _measured(
    footprints: Sequence[Footprint], ones: NDArray[np.int64], others: NDArray[np.int64], within_m: float
) -> list[GroundPair]:
    used = np.unique(np.concatenate([ones, others]))
    outlines = np.array([footprints[i].outline for i in used], object)
    smallest = min((ones[0], others[0]), key=lambda i: footprints[i].radius_m)
    flat = projected(outlines, middle_of(shapely.get_coordinates(footprints[smallest].outline)))
    left, right = flat[np.searchsorted(used, ones)], flat[np.searchsorted(used, others)]
    distances = shapely.distance(left, right)  # NaN where one has no place in this projection
    shared = shapely.area(shapely.intersection(left, right))
    columns = zip(ones.tolist(), others.tolist(), shared.tolist(), distances.tolist(), strict=True)
    return [pair for pair in map(GroundPair._make, columns) if pair.distance_m <= within_m]


def area_m2(footprint: Footprint) -> float:
    """Square metres that a footprint covers."""
    center = middle_of(shapely.get_coordinates(footprint.outline))
    return float(shapely.area(projected(np.array([footprint.outline], object), center))[0])


def _areas_of(geometry: Any) -> Any:
    """The polygons of a geometry, without the lines and points that cutting leaves."""
    if geometry.geom_type in ("Polygon", "MultiPolygon"):
        return geometry
    return shapely.union_all([part for part in shapely.get_parts(geometry) if part.geom_type.endswith("Polygon")])
