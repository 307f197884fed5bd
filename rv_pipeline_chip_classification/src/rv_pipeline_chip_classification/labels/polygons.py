"""Polygons of GeoJSON features, in pixels of a scene.

RFC 7946: longitude, latitude in WGS 84; the `crs` member of the older specification is honoured. Where the image has
no CRS the coordinates are pixels, x the column and y the row. Polygons, multipolygons and collections of them are
areas; points and lines are none. Corners are not rounded, and edges are straight on the image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from rv_core.errors import DataError
from rv_pipeline_chip_classification.labels.geojson import (
    GEOMETRY_TYPES,
    MAX_DEPTH,
    WGS84,
    FeatureCollection,
    refused,
)
from rv_pipeline_chip_classification.scenes.crs import project
from rv_pipeline_chip_classification.scenes.grid import Affine6, Grid

Position = Sequence[float]


@dataclass(frozen=True)
class FeaturePolygons:
    """The polygons of a file in pixels of a scene.

    Args:
        polygons: (M,) shapely polygons; valid, with an area.
        features: (M,) int64, number of the feature that each belongs to, ascending.
        dropped: reason -> how many parts of features gave no polygon.
        num_repaired: how many polygons crossed themselves and were made valid.
    """

    polygons: NDArray[Any]
    features: NDArray[np.int64]
    dropped: Counter[str] = field(default_factory=Counter)
    num_repaired: int = 0


def polygons_in_pixels(collection: FeatureCollection, grid: Grid) -> FeaturePolygons:
    """The polygons of a file's features in pixels of a scene's grid.

    Raises:
        DataError: if coordinates are no numbers, or cannot be brought to the image's CRS.
    """
    parts = _Parts(collection.uri)
    for index, geometry in enumerate(collection.geometries):
        parts.add(index, geometry)
    points = parts.points()
    if not len(points):
        return FeaturePolygons(np.empty(0, object), np.empty(0, np.int64), parts.dropped)
    pixels = _to_pixels(points, collection, grid)
    rings = shapely.linearrings(pixels, indices=np.repeat(np.arange(len(parts.ring_lengths)), parts.ring_lengths))
    polygons = shapely.polygons(rings, indices=np.repeat(np.arange(len(parts.ring_counts)), parts.ring_counts))
    return _usable(polygons, np.array(parts.features, np.int64), parts.dropped)


class _Parts:
    """The polygons of geometries as flat lists, so that shapely makes them all at once."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._positions: list[Position] = []
        self.ring_lengths: list[int] = []
        self.ring_counts: list[int] = []
        self.features: list[int] = []
        self.dropped: Counter[str] = Counter()

    def add(self, index: int, geometry: Any) -> None:
        try:
            for polygon in self._polygons_of(geometry, MAX_DEPTH):
                self._add_polygon(index, polygon)
        except (TypeError, KeyError, AttributeError, ValueError) as err:
            raise refused(self._uri, f"the geometry of features[{index}] is not as GeoJSON says: {err}") from err

    def _polygons_of(self, geometry: Any, levels: int) -> Iterator[list[list[Position]]]:
        if geometry is None:
            self.dropped["no geometry"] += 1
            return
        kind = geometry["type"]
        if kind == "Polygon":
            yield geometry["coordinates"]
        elif kind == "MultiPolygon":
            yield from geometry["coordinates"]
        elif kind == "GeometryCollection":
            if levels == 0:
                raise ValueError(f"geometry collections are nested more than {MAX_DEPTH} deep")
            for member in geometry["geometries"]:
                yield from self._polygons_of(member, levels - 1)
        elif kind in GEOMETRY_TYPES:
            self.dropped[f"{kind} has no area"] += 1
        else:
            raise ValueError(f"no geometry has the type {kind!r}")

    def _add_polygon(self, index: int, rings: list[list[Position]]) -> None:
        if not rings or not rings[0]:
            self.dropped["empty polygon"] += 1
            return
        for ring in rings:
            closed = ring if ring[0] == ring[-1] else [*ring, ring[0]]
            if len(closed) < 4:
                raise ValueError("a ring has fewer than 3 corners")
            self._positions.extend(closed)
            self.ring_lengths.append(len(closed))
        self.ring_counts.append(len(rings))
        self.features.append(index)

    def points(self) -> NDArray[np.float64]:
        try:
            if set(map(len, self._positions)) != {2}:
                self._positions = [(position[0], position[1]) for position in self._positions]
            points = np.array(self._positions, np.float64).reshape(-1, 2)
        except (TypeError, ValueError, IndexError, KeyError) as err:
            raise refused(self._uri, f"a position is not two numbers: {err}") from err
        if not np.isfinite(points).all():
            raise refused(self._uri, "a position is not finite")
        return points


def _to_pixels(points: NDArray[np.float64], collection: FeatureCollection, grid: Grid) -> NDArray[np.float64]:
    if grid.crs is None:
        if collection.crs is not None:
            raise refused(collection.uri, f"its coordinates are {collection.crs}, and the image has no CRS")
        return points
    crs = collection.crs or WGS84
    if collection.crs is None:
        _check_degrees(points, collection.uri)
    return to_pixels(project(points, crs, grid.crs, where=collection.uri), grid.transform)


def _check_degrees(points: NDArray[np.float64], uri: str) -> None:
    # Files across the date line go on beyond 180; nothing sensible goes around the world twice.
    wrong = (np.abs(points[:, 0]) > 540) | (np.abs(points[:, 1]) > 90)
    if wrong.any():
        x, y = points[int(wrong.argmax())]
        raise DataError(
            "a GeoJSON file is not in longitude and latitude",
            where=uri,
            why=f"it holds the position ({x:g}, {y:g}) and names no CRS",
            fix='export it as EPSG:4326, or add its "crs" member',
        )


def to_pixels(points: NDArray[np.float64], transform: Affine6) -> NDArray[np.float64]:
    """Map coordinates (N, 2), x then y, as pixel coordinates (N, 2), column then row, of a grid's transform."""
    a, b, c, d, e, f = transform
    determinant = a * e - b * d
    x, y = points[:, 0] - c, points[:, 1] - f
    return np.column_stack([(e * x - b * y) / determinant, (a * y - d * x) / determinant])


def _usable(polygons: NDArray[Any], features: NDArray[np.int64], dropped: Counter[str]) -> FeaturePolygons:
    is_invalid = ~shapely.is_valid(polygons)
    num_repaired = int(is_invalid.sum())
    if num_repaired:
        polygons[is_invalid] = [_areas_of(repaired) for repaired in shapely.make_valid(polygons[is_invalid])]
    has_area = shapely.area(polygons) > 0
    if not has_area.all():
        dropped["polygon without area"] += int((~has_area).sum())
    return FeaturePolygons(polygons[has_area], features[has_area], dropped, num_repaired)


def _areas_of(geometry: Any) -> Any:
    """The polygons among the parts that `make_valid` gave, as one geometry."""
    parts = shapely.get_parts(geometry)
    areas = [part for part in parts if part.geom_type in ("Polygon", "MultiPolygon")]
    return shapely.union_all(areas) if areas else shapely.Polygon()
