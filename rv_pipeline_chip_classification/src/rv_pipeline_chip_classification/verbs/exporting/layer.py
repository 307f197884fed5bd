"""One layer of the cells of all maps, or of polygons of adjacent cells of one class; in the CRS of the first map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.features
import shapely
from numpy.typing import NDArray
from shapely.geometry import shape
from shapely.geometry.polygon import orient

from rv_pipeline_chip_classification.maps.cell_layer import score_columns
from rv_pipeline_chip_classification.maps.layer_file import LayerWriter, boxes_as_wkb
from rv_pipeline_chip_classification.prediction.cell_scores import SCORE_DECIMALS
from rv_pipeline_chip_classification.prediction.geojson_file import to_map
from rv_pipeline_chip_classification.scenes.crs import is_same_crs, project_each
from rv_pipeline_chip_classification.verbs.exporting.map_rasters import CellRows, MapRaster, cell_rows
from rv_pipeline_chip_classification.verbs.exporting.mosaic import mosaic_of

_POLYGONS_AT_ONCE = 4096
_LAYER = "map"


def write_cells(path: Path, kind: str, maps: Sequence[MapRaster]) -> int:
    """Write the cells that have a class, of all maps: `class_id`, `class_name`, `score`, `score_<class>`, `scene`.

    Args:
        path: the file.
        kind: `gpkg`, `fgb` or `parquet`.
        maps: the maps.

    Returns:
        How many there are.
    """
    first, num_cells = maps[0], 0
    scores = dict.fromkeys(score_columns(first.class_names), "float64")
    columns = {"class_id": "int32", "class_name": "string", "score": "float64", **scores, "scene": "string"}
    with LayerWriter(path, kind, columns, crs=first.crs, layer=_LAYER) as layer:
        for index, one in enumerate(maps):
            for rows in cell_rows(maps, index):
                if not len(rows.places):
                    continue
                layer.write(_outlines(rows.places, one, first), _values(rows, one))
                num_cells += len(rows.places)
    return num_cells


def _values(rows: CellRows, one: MapRaster) -> list[Any]:
    num_cells, num_classes = len(rows.places), len(one.class_names)
    scores = np.full((num_cells, num_classes), np.nan) if rows.scores is None else rows.scores
    scores = np.ma.masked_invalid(np.round(scores, SCORE_DECIMALS))
    return [
        np.ma.array(rows.class_ids.astype(np.int32)),
        np.array(list(one.class_names), object)[rows.class_ids],
        scores[np.arange(num_cells), rows.class_ids],
        *scores.T,
        np.full(num_cells, one.name, object),
    ]


def _outlines(places: NDArray[np.int64], one: MapRaster, first: MapRaster) -> Any:
    """Outlines of cells (row, column) in the CRS of the first map, as WKB."""
    windows = np.concatenate([places, np.ones_like(places)], axis=1)
    if is_same_crs(one.crs, first.crs) or one.crs is None or first.crs is None:
        return boxes_as_wkb(windows, one.transform)
    corners = places[:, None, ::-1] + np.array([(0, 0), (0, 1), (1, 1), (1, 0), (0, 0)], np.float64)
    points = to_map(corners.reshape(-1, 2).astype(np.float64), one.transform)
    rings = project_each(points, one.crs, first.crs, where=one.name).reshape(-1, 5, 2)
    # Neighbours share their corners, which are the same numbers.
    return shapely.to_wkb(shapely.polygons(shapely.linearrings(rings))).tolist()


def write_polygons(path: Path, kind: str, maps: Sequence[MapRaster]) -> int:
    """Write adjacent cells of one class as one polygon: `class_id`, `class_name`, `num_cells`.

    Args:
        path: the file.
        kind: `gpkg`, `fgb` or `parquet`.
        maps: the maps; where they have not the same pixels, cells are those of their mosaic.

    Returns:
        How many there are.
    """
    first, num_polygons = maps[0], 0
    columns = {"class_id": "int32", "class_name": "string", "num_cells": "int32"}
    with (
        mosaic_of(maps) as draft,
        rasterio.open(draft) as mosaic,
        LayerWriter(path, kind, columns, crs=first.crs, layer=_LAYER) as layer,
    ):
        cell_area = abs(mosaic.transform.determinant)
        found = _polygons(mosaic, first.nodata)
        while some := list(islice(found, _POLYGONS_AT_ONCE)):
            class_ids = np.array([class_id for _, class_id in some], np.int32)
            shapes = np.array([orient(polygon) for polygon, _ in some], object)
            num_cells = np.round(shapely.area(shapes) / cell_area).astype(np.int32)
            names = np.array(list(first.class_names), object)[class_ids]
            layer.write(shapely.to_wkb(shapes).tolist(), [class_ids, names, num_cells])
            num_polygons += len(some)
    return num_polygons


def _polygons(mosaic: Any, nodata: int) -> Iterator[tuple[Any, int]]:
    found = rasterio.features.shapes(rasterio.band(mosaic, 1), transform=mosaic.transform)
    for geometry, value in found:
        if int(value) != nodata:
            yield shape(geometry), int(value)
