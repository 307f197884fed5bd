"""How many pixels of a scene each class of a label file covers, before anybody has said which classes count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import shapely

from rv_pipeline_chip_classification.labels.class_raster import open_class_raster
from rv_pipeline_chip_classification.labels.overlaps import window_boxes
from rv_pipeline_chip_classification.scenes.grid import Grid
from rv_pipeline_chip_classification.scenes.raster_reader import raster_env
from rv_pipeline_chip_classification.scenes.windows import Window
from rv_pipeline_chip_classification.vectors.geojson import read_geojson
from rv_pipeline_chip_classification.vectors.polygons import polygons_in_pixels

#: What a polygon file leaves of a scene.
NO_POLYGON = "(no polygon)"
_CLASS_PROPERTIES = ("class_name", "label", "class_id")
_PIXELS_AT_ONCE = 1 << 22


def is_polygon_file(uri: str) -> bool:
    """Whether a label file holds polygons, by its name; else it is a raster of class values."""
    return uri.lower().endswith((".geojson", ".json"))


def class_areas_px(
    uri: str, scene_id: str, grid: Grid, extent: Window, *, names: Mapping[int, str] | None = None
) -> dict[str, float]:
    """Pixels of a scene by class.

    Args:
        uri: a GeoJSON file with `class_name`, `label` or `class_id`, or a raster of class values.
        scene_id: the scene, for messages.
        grid: of its image.
        extent: what of the image counts.
        names: class value -> name, of a raster; other values count for nothing. None counts every valid value.

    Returns:
        Class -> pixels, above 0. Of polygons also what lies in none, as `NO_POLYGON`.

    Raises:
        DataError: if the file cannot be used.
    """
    if is_polygon_file(uri):
        return _polygon_areas(uri, grid, extent)
    return _raster_areas(uri, scene_id, grid, extent, names)


def _polygon_areas(uri: str, grid: Grid, extent: Window) -> dict[str, float]:
    collection = read_geojson(uri)
    found = polygons_in_pixels(collection, grid)
    box = window_boxes(np.array([extent], np.int64))[0]
    inside = shapely.intersection(found.polygons, box)
    areas: dict[str, float] = defaultdict(float)
    for feature, area in zip(found.features.tolist(), shapely.area(inside).tolist(), strict=True):
        properties = collection.properties[feature]
        key = next((key for key in _CLASS_PROPERTIES if properties.get(key) is not None), None)
        if key is not None and area > 0:
            areas[str(properties[key])] += area
    rest = extent.height * extent.width - float(shapely.area(shapely.union_all(inside)))
    if rest > 0:
        areas[NO_POLYGON] += rest
    return dict(areas)


def _raster_areas(
    uri: str, scene_id: str, grid: Grid, extent: Window, names: Mapping[int, str] | None
) -> dict[str, float]:
    areas: dict[str, float] = defaultdict(float)
    with raster_env([uri]):
        source = open_class_raster(uri, scene_id, grid, note=lambda _: None)
        try:
            rows = max(1, _PIXELS_AT_ONCE // max(1, extent.width))
            for row in range(extent.row_off, extent.row_end, rows):
                pixels = source.read(extent._replace(row_off=row, height=min(rows, extent.row_end - row)))
                values = pixels.values[..., 0]
                values = values.ravel() if pixels.valid is None else values[pixels.valid]
                for value, count in zip(*np.unique(values, return_counts=True), strict=True):
                    name = f"value {int(value)}" if names is None else names.get(int(value))
                    if name is not None:
                        areas[name] += int(count)
        finally:
            source.close()
    return dict(areas)
