"""Polygons of GeoJSON features, in pixels of a scene.

RFC 7946: longitude, latitude in WGS 84; the `crs` member of the older specification is honoured. Where the image has
no CRS the coordinates are pixels, x the column and y the row. Polygons, multipolygons and collections of them are
areas; points and lines are none. Corners are not rounded, and edges are straight on the image.

Longitudes are a circle: on an image in degrees a polygon also lies 360 degrees east and west of where it is written.
What an image's CRS does not reach is not on the image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray

from rv_core.errors import DataError
from rv_pipeline_chip_classification.scenes.crs import project_each
from rv_pipeline_chip_classification.scenes.grid import Affine6, Grid
from rv_pipeline_chip_classification.vectors.around_world import around_the_world
from rv_pipeline_chip_classification.vectors.crs_names import WGS84
from rv_pipeline_chip_classification.vectors.geojson import FeatureCollection, refused
from rv_pipeline_chip_classification.vectors.parts import Parts

#: Latitudes may be so far beyond the poles by rounding, in degrees.
_LATITUDE_TOLERANCE = 1e-6
#: Spans of longitudes, in degrees, that are neither a polygon as drawn nor one around the whole world.
_WIDE_DEG = (180.0, 359.9)
#: Crossings of one polygon's edges with each other up to which it is made valid, and of all polygons of a file: GEOS
#: takes seconds for a thousand, and minutes and gigabytes for a million.
_MAX_CROSSINGS = 1_000
_MAX_CROSSINGS_OF_ALL = 20_000
_EDGES_AT_ONCE = 256
#: How often a row or a column may meet the outline of one polygon: cutting a comb of a million teeth takes minutes.
_MAX_MEETINGS = 20_000
OUT_OF_REACH = "polygon that the image's CRS does not reach"


@dataclass(frozen=True)
class FeaturePolygons:
    """The polygons of a file in pixels of a scene.

    Args:
        polygons: (M,) shapely polygons; valid, with an area.
        features: (M,) int64, number of the feature that each belongs to, ascending.
        dropped: reason -> how many parts of features gave no polygon.
        num_repaired: how many polygons crossed themselves and were made valid.
        notes: sentences for the user.
    """

    polygons: NDArray[Any]
    features: NDArray[np.int64]
    dropped: Counter[str] = field(default_factory=Counter)
    num_repaired: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def is_out_of_reach(self) -> bool:
        """Whether there is no polygon, and some would be there if the image's CRS reached them."""
        return not len(self.polygons) and bool(self.dropped[OUT_OF_REACH])


class Located(Protocol):
    """What is known of the positions of a file: where it is, what it is, and the CRS of its coordinates.

    Attributes:
        uri: the file.
        kind: what it is, for messages: "a GeoJSON file".
        crs: as GDAL may have it; None where the file names none.
    """

    @property
    def uri(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def crs(self) -> str | None: ...  # noqa: D102


class Rings(Protocol):
    """Polygons as flat lists; attributes and methods as of `Parts`."""

    @property
    def ring_lengths(self) -> Sequence[int]: ...  # noqa: D102
    @property
    def ring_counts(self) -> Sequence[int]: ...  # noqa: D102
    @property
    def features(self) -> Sequence[int]: ...  # noqa: D102
    @property
    def dropped(self) -> Counter[str]: ...  # noqa: D102
    def starts(self) -> NDArray[np.int64]: ...  # noqa: D102
    def points(self) -> NDArray[np.float64]: ...  # noqa: D102


def polygons_in_pixels(collection: FeatureCollection, grid: Grid) -> FeaturePolygons:
    """The polygons of a GeoJSON file's features in pixels of a scene's grid.

    Raises:
        DataError: if coordinates are no numbers, none of them can be brought to the image's CRS, or a polygon crosses
            itself so often that it cannot be made valid.
    """
    parts = Parts(collection.uri)
    for index, geometry in enumerate(collection.geometries):
        parts.add(index, geometry)
    return place_rings(parts, collection, grid)


def place_rings(parts: Rings, source: Located, grid: Grid) -> FeaturePolygons:
    """Polygons of any file in pixels of a scene's grid.

    Args:
        parts: their rings, in the coordinates of the file.
        source: the file.
        grid: of the scene.

    Raises:
        DataError: as of `polygons_in_pixels`.
    """
    points = parts.points()
    if not len(points):
        return FeaturePolygons(np.empty(0, object), np.empty(0, np.int64), parts.dropped)
    notes = _wide_notes(points, parts, source) if grid.crs is not None else []
    pixels = points_in_pixels(points, source, grid)
    is_lost = np.isnan(pixels).any(axis=1)
    pixels[is_lost] = 0.0
    rings = shapely.linearrings(pixels, indices=np.repeat(np.arange(len(parts.ring_lengths)), parts.ring_lengths))
    polygons = shapely.polygons(rings, indices=np.repeat(np.arange(len(parts.ring_counts)), parts.ring_counts))
    is_placed = ~np.logical_or.reduceat(is_lost, parts.starts())
    if not is_placed.all():
        parts.dropped[OUT_OF_REACH] += int((~is_placed).sum())
    features = np.array(parts.features, np.int64)[is_placed]
    found = _usable(polygons[is_placed], features, parts.dropped, source)
    found.notes.extend(notes)
    placed, owners = around_the_world(found.polygons, found.features, grid)
    return replace(found, polygons=placed, features=owners)


def _is_lonlat(source: Located) -> bool:
    return source.crs is None or source.crs == WGS84


def _wide_notes(points: NDArray[np.float64], parts: Rings, source: Located) -> list[str]:
    """What to say of polygons that span more than half of the world: most are torn at the date line."""
    if not _is_lonlat(source):
        return []
    starts = parts.starts()
    spans = np.maximum.reduceat(points[:, 0], starts) - np.minimum.reduceat(points[:, 0], starts)
    wide = np.flatnonzero((spans > _WIDE_DEG[0]) & (spans < _WIDE_DEG[1]))
    if not len(wide):
        return []
    first = f"the first is that of features[{parts.features[wide[0]]}]"
    what = f"{len(wide)} polygons span more than 180 degrees of longitude ({first})"
    return [f"{what}: one that crosses the date line goes on beyond 180, or is cut there"]


def points_in_pixels(points: NDArray[np.float64], source: Located, grid: Grid) -> NDArray[np.float64]:
    """Points in pixels, those without a place in the image's CRS NaN."""
    if grid.crs is None:
        if source.crs is not None:
            raise _refused(source, f"its coordinates are {source.crs}, and the image has no CRS")
        return points
    crs = source.crs or WGS84
    if source.crs is None:
        points = _checked_degrees(points, source.uri)
    placed = project_each(points, crs, grid.crs, where=source.uri)
    if np.isnan(placed[:, 0]).all():
        x, y = points[0]
        raise DataError(
            "coordinates cannot be brought to the image's CRS",
            where=source.uri,
            why=f"none of its {len(points)} points exists there, for instance ({x:.12g}, {y:.12g})",
            fix="GeoJSON is longitude, latitude: check the order" if _is_lonlat(source) else "check its crs member",
        )
    return to_pixels(placed, grid.transform)


def _checked_degrees(points: NDArray[np.float64], uri: str) -> NDArray[np.float64]:
    """The points, latitudes that rounding has put beyond a pole back on it."""
    # Files across the date line go on beyond 180; nothing sensible goes around the world twice.
    wrong = (np.abs(points[:, 0]) > 540) | (np.abs(points[:, 1]) > 90 + _LATITUDE_TOLERANCE)
    if wrong.any():
        x, y = points[int(wrong.argmax())]
        raise DataError(
            "a GeoJSON file is not in longitude and latitude",
            where=uri,
            why=f"it holds the position ({x:.12g}, {y:.12g}) and names no CRS",
            fix='export it as EPSG:4326, or add its "crs" member',
        )
    return np.column_stack([points[:, 0], np.clip(points[:, 1], -90.0, 90.0)])


def to_pixels(points: NDArray[np.float64], transform: Affine6) -> NDArray[np.float64]:
    """Map coordinates (N, 2), x then y, as pixel coordinates (N, 2), column then row, of a grid's transform."""
    a, b, c, d, e, f = transform
    determinant = a * e - b * d
    x, y = points[:, 0] - c, points[:, 1] - f
    return np.column_stack([(e * x - b * y) / determinant, (a * y - d * x) / determinant])


def _usable(
    polygons: NDArray[Any], features: NDArray[np.int64], dropped: Counter[str], source: Located
) -> FeaturePolygons:
    is_invalid = ~shapely.is_valid(polygons)
    num_repaired = int(is_invalid.sum())
    if num_repaired:
        _check_repairable(polygons[is_invalid], features[is_invalid], source)
        polygons[is_invalid] = [_areas_of(repaired) for repaired in shapely.make_valid(polygons[is_invalid])]
    _check_cuttable(polygons, features, source)
    has_area = shapely.area(polygons) > 0
    if not has_area.all():
        dropped["polygon without area"] += int((~has_area).sum())
    return FeaturePolygons(polygons[has_area], features[has_area], dropped, num_repaired)


def _check_repairable(polygons: NDArray[Any], features: NDArray[np.int64], source: Located) -> None:
    left = _MAX_CROSSINGS_OF_ALL
    for polygon, feature in zip(polygons, features.tolist(), strict=True):
        limit = min(left, _MAX_CROSSINGS)
        crossings = _count_crossings(polygon, limit)
        if crossings > limit:
            where = f"the edges of a polygon of features[{feature}] cross each other more than {limit:,} times"
            fix = "draw it anew, or repair it (in QGIS: Fix geometries)"
            raise _refused(source, where if limit == _MAX_CROSSINGS else f"{where}, after those of other features", fix)
        left -= crossings


def _check_cuttable(polygons: NDArray[Any], features: NDArray[np.int64], source: Located) -> None:
    """Large polygons are cut into pieces, which takes as long as their outline is met by the cuts."""
    for place in np.flatnonzero(shapely.get_num_coordinates(polygons) > _MAX_MEETINGS).tolist():
        corners, rings = shapely.get_coordinates(shapely.get_rings(polygons[place]), return_index=True)
        is_edge = rings[1:] == rings[:-1]
        for axis in (0, 1):
            ends = np.stack([corners[:-1, axis], corners[1:, axis]], axis=1)[is_edge]
            low, high = np.sort(ends.min(axis=1)), np.sort(ends.max(axis=1))
            # Edges that have begun at or before each beginning, less those that have ended before it.
            open_edges = np.arange(1, len(low) + 1) - np.searchsorted(high, low, side="left")
            if open_edges.max(initial=0) > _MAX_MEETINGS:
                what = f"a {('column', 'row')[axis]} of the image meets the outline of a polygon of features"
                why = f"{what}[{features[place]}] more than {_MAX_MEETINGS:,} times"
                raise _refused(source, why, "simplify it (ogr2ogr -simplify), or split it into several polygons")


def _count_crossings(polygon: Any, limit: int) -> int:
    """How often edges of a polygon meet others than their neighbours; counting ends above `limit`."""
    corners, rings = shapely.get_coordinates(shapely.get_rings(polygon), return_index=True)
    is_edge = rings[1:] == rings[:-1]
    edges = shapely.linestrings(np.stack([corners[:-1], corners[1:]], axis=1)[is_edge])
    tree = shapely.STRtree(edges)
    meetings = 0
    for first in range(0, len(edges), _EDGES_AT_ONCE):
        some = edges[first : first + _EDGES_AT_ONCE]
        # An edge meets itself and two neighbours; every other meeting is found from both sides.
        meetings += tree.query(some, predicate="intersects").shape[1] - 3 * len(some)
        if meetings > 2 * limit:
            return limit + 1
    return max(0, meetings // 2)


def _refused(source: Located, why: str, fix: str = "") -> DataError:
    return refused(source.uri, why, fix, kind=source.kind)


def _areas_of(geometry: Any) -> Any:
    """The polygons among the parts that `make_valid` gave, as one geometry."""
    parts = shapely.get_parts(geometry)
    areas = [part for part in parts if part.geom_type in ("Polygon", "MultiPolygon")]
    return shapely.union_all(areas) if areas else shapely.Polygon()
