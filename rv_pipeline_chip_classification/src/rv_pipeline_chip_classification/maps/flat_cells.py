"""Cells read back from the layers with flat columns that `cell_layer` writes, as the features of a GeoJSON file of cells."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import shapely
from numpy.typing import NDArray

from rv_core.errors import DataError
from rv_pipeline_chip_classification.prediction.cell_scores import SCORE_DECIMALS
from rv_pipeline_chip_classification.prediction.geojson_file import outlines_of_corners
from rv_pipeline_chip_classification.prediction.polar_cells import Ring
from rv_pipeline_chip_classification.vectors.files import KINDS
from rv_pipeline_chip_classification.vectors.reader import read_vector
from rv_pipeline_chip_classification.vectors.table import FeatureTable, VectorChoice

_WGS84 = "EPSG:4326"
_SCORE = "score_"
_COLUMNS = ("class_id", "class_name", "score", "valid_fraction", "scene")
#: Cells whose corners are projected together.
_CELLS_AT_ONCE = 65_536


class FlatCells(NamedTuple):
    """The cells of a layer.

    Args:
        features: of each `properties` (those of a GeoJSON file but for `window`) and `geometry`, as GeoJSON has them.
        crs: "EPSG:4326" where geometries are longitude and latitude, None for pixels.
    """

    features: list[dict[str, Any]]
    crs: str | None


def read_flat_cells(uri: str) -> FlatCells:
    """The cells of a GeoPackage, a FlatGeobuf, a GeoParquet or a GeoJSONSeq file of predictions.

    Those of a FlatGeobuf file come in its own order.

    Raises:
        DataError: if it is no such file, or what reads it is not installed.
    """
    names = read_vector(VectorChoice(uri)).names
    if missing := [name for name in _COLUMNS if name not in names]:
        why = f"it has no column {missing[0]!r}"
        raise DataError("this is no file of predicted cells", where=uri, why=why)
    score_names = [name for name in names if name.startswith(_SCORE)]
    table = read_vector(VectorChoice(uri, properties=(*_COLUMNS, *score_names)))
    features = [
        {"type": "Feature", "properties": _nested(row, score_names), "geometry": geometry}
        for row, geometry in zip(table.properties, _geometries(table, uri), strict=True)
    ]
    return FlatCells(features, None if table.crs is None else _WGS84)


def _nested(row: dict[str, Any], score_names: list[str]) -> dict[str, Any]:
    """Properties as GeoJSON has them, with one list of scores; what is missing is None."""
    scores = [_number(row[name]) for name in score_names]
    class_id = _number(row["class_id"])
    return {
        "class_id": None if class_id is None else int(class_id),
        "class_name": None if class_id is None else row["class_name"],
        "score": _number(row["score"]),
        "scores": None if None in scores else scores,
        "scene": row["scene"],
        "valid_fraction": _number(row["valid_fraction"]),
    }


def _number(value: Any) -> float | None:
    # GeoParquet has scores in single precision, GDAL a missing number as NaN.
    return None if value is None or math.isnan(value) else round(float(value), SCORE_DECIMALS)


def _geometries(table: FeatureTable, uri: str) -> Iterator[dict[str, Any] | None]:
    for begin in range(0, len(table.geometries), _CELLS_AT_ONCE):
        for ring in _rings(table.geometries[begin : begin + _CELLS_AT_ONCE], table.kind, table.crs, uri):
            yield None if ring is None else {"type": "Polygon", "coordinates": [ring]}


def _rings(shapes: NDArray[Any], kind: str, crs: str | None, uri: str) -> list[Ring | None]:
    if kind == KINDS["geojsonseq"]:  # as they are, with what leads along a pole
        return [None if one is None else shapely.get_coordinates(one).tolist() for one in shapes]
    if (shapely.get_num_coordinates(shapes) != 5).any():
        raise DataError("this is no file of predicted cells", where=uri, why="a cell has not four corners")
    return outlines_of_corners(shapely.get_coordinates(shapes).reshape(-1, 5, 2)[:, :4].copy(), crs, where=uri)
