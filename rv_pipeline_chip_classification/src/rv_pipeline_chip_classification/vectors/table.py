"""What a vector file says, before coordinates are understood: properties and geometries, whatever its format was."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from rv_core.errors import DataError
from rv_pipeline_chip_classification.config import VectorAreaConfig, VectorLabelsConfig
from rv_pipeline_chip_classification.vectors.geojson import MAX_DEPTH

#: Rows of one file that are read; a country has fewer fields.
MAX_FEATURES = 5_000_000
_POLYGON, _MULTI_POLYGON, _COLLECTION, _NONE = 3, 6, 7, -1
_NAMES = {0: "Point", 1: "LineString", 2: "LinearRing", 4: "MultiPoint", 5: "MultiLineString"}


class VectorFieldError(DataError):
    """A field of the config does not fit its vector file.

    Args:
        field: the field, for instance "layer"; the others are those of `DataError`.
    """

    def __init__(self, what: str, *, field: str, where: str, why: str = "", fix: str = "") -> None:
        super().__init__(what, where=where, why=why, fix=fix)
        self.field = field


class VectorChoice(NamedTuple):
    """Which features of a file are meant, as configs say it.

    Args:
        uri: the file.
        layer: the layer of a file that holds several; of a zip archive the file in it.
        where: the condition of an SQL WHERE clause on the properties; None for all features.
        crs: of the coordinates where the file names none.
        geometry_columns: columns of a table that hold WKT, or x and y; empty finds them by their usual names.
        properties: what is read besides geometries.
    """

    uri: str
    layer: str | None = None
    where: str | None = None
    crs: str | None = None
    geometry_columns: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()


def choice_of(config: VectorLabelsConfig | VectorAreaConfig, properties: tuple[str, ...] = ()) -> VectorChoice:
    """What a config says of a file."""
    columns = tuple(config.geometry_columns)
    return VectorChoice(config.uri, config.layer, config.where, config.crs, columns, properties)


class FeatureTable(NamedTuple):
    """Features of a file.

    Args:
        uri: the file, as the config has it.
        kind: what it is, for messages.
        geometries: (F,) shapely geometries, None where there is none.
        properties: of each feature, those that were asked for and that the file has.
        names: of all properties of the file.
        crs: of the coordinates, as GDAL may have it; None where neither file nor config names one.
        num_unreadable: geometries that are of no known kind or no geometries; they are None.
    """

    uri: str
    kind: str
    geometries: NDArray[Any]
    properties: list[dict[str, Any]]
    names: list[str]
    crs: str | None
    num_unreadable: int = 0


class TableParts:
    """The polygons of a table as flat lists, and its points and lines; attributes and methods as of `Parts`.

    Attributes:
        others: (O,) shapely points and lines.
        other_features: (O,) int64, the feature of each.
    """

    def __init__(self, table: FeatureTable) -> None:
        self.dropped: Counter[str] = Counter()
        if table.num_unreadable:
            self.dropped["geometry that cannot be read"] += table.num_unreadable
        parts, owners = self._exploded(table)
        is_polygon = shapely.get_type_id(parts) == _POLYGON
        self.others: NDArray[Any] = parts[~is_polygon]
        self.other_features: NDArray[np.int64] = owners[~is_polygon]
        polygons, owners = parts[is_polygon], owners[is_polygon]
        is_empty = shapely.is_empty(polygons)
        if is_empty.any():
            self.dropped["empty polygon"] += int(is_empty.sum())
        polygons = polygons[~is_empty]
        rings, polygon_of_ring = shapely.get_rings(polygons, return_index=True)
        self._points = shapely.get_coordinates(rings)
        self.ring_lengths: list[int] = shapely.get_num_coordinates(rings).tolist()
        self.ring_counts: list[int] = np.bincount(polygon_of_ring, minlength=len(polygons)).tolist()
        self.features: list[int] = owners[~is_empty].tolist()

    def _exploded(self, table: FeatureTable) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Single geometries and the feature of each: collections and their members taken apart."""
        types = shapely.get_type_id(table.geometries)
        missing = int((types == _NONE).sum()) - table.num_unreadable
        if missing:
            self.dropped["no geometry"] += missing
        owners = np.flatnonzero(types != _NONE).astype(np.int64)
        parts = table.geometries[owners]
        for _ in range(MAX_DEPTH):
            if not (shapely.get_type_id(parts) >= 4).any():
                return parts, owners
            parts, index = shapely.get_parts(parts, return_index=True)
            owners = owners[index]
        raise DataError(
            f"{table.kind} cannot be used", where=table.uri, why=f"geometries are nested more than {MAX_DEPTH} deep"
        )

    def drop_others(self) -> None:
        """Count points and lines as having no area."""
        kinds, counts = np.unique(shapely.get_type_id(self.others), return_counts=True)
        for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
            self.dropped[f"{_NAMES[kind]} has no area"] += count

    def starts(self) -> NDArray[np.int64]:
        """The first point of each polygon."""
        first_rings = np.cumsum([0, *self.ring_counts[:-1]])
        first_points = np.cumsum([0, *self.ring_lengths[:-1]])
        starts: NDArray[np.int64] = first_points[first_rings]
        return starts

    def points(self) -> NDArray[np.float64]:
        """All positions of the polygons, (N, 2) float64."""
        return self._points


def check_finite(table: FeatureTable) -> None:
    """Refuse positions that are not finite.

    Raises:
        DataError: naming the first feature with one.
    """
    points, owners = shapely.get_coordinates(table.geometries, return_index=True)
    is_wrong = ~np.isfinite(points).all(axis=1)
    if is_wrong.any():
        why = f"a position of feature {int(owners[is_wrong.argmax()])} (the first is 0) is not finite"
        raise DataError(f"{table.kind} cannot be used", where=table.uri, why=why)
