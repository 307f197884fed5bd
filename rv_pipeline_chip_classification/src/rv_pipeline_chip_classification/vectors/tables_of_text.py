"""Tables of text with a position or a geometry in each row, and features line by line: CSV and GeoJSONSeq."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from rv_core.errors import DataError
from rv_pipeline_chip_classification.vectors.crs_names import WGS84
from rv_pipeline_chip_classification.vectors.files import KINDS
from rv_pipeline_chip_classification.vectors.geojson import FeatureCollection, collection_of, refused
from rv_pipeline_chip_classification.vectors.table import MAX_FEATURES, VectorChoice, VectorFieldError

Columns = dict[str, list[Any]]
_LONGITUDES, _LATITUDES = ("lon", "long", "lng", "longitude"), ("lat", "latitude")
_XS, _YS = (*_LONGITUDES, "x", "easting"), (*_LATITUDES, "y", "northing")
_WKTS = ("wkt", "geometry", "geom", "the_geom", "wkt_geom")
_WHOLE = re.compile(r"[+-]?(0|[1-9]\d{0,17})")
_MAX_FIELD_CHARACTERS = 64 * 1024 * 1024
_MAX_SHOWN = 20


def read_csv(text: str, choice: VectorChoice) -> Columns:
    """The columns of a table by their names; numbers where all values of a column are.

    Raises:
        DataError: if it has no names of columns, or is no table.
    """
    # The first line alone, for a separator may also stand in geometries.
    first_line = text.partition("\n")[0]
    delimiter = max(",;\t|", key=first_line.count)
    limit = csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    try:
        rows = [row for row in csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True) if row]
    except csv.Error as err:
        raise refused(choice.uri, f"it is no table: {err}", kind=KINDS["csv"]) from err
    finally:
        csv.field_size_limit(limit)
    if len(rows) > MAX_FEATURES:
        raise refused(choice.uri, f"it has more than {MAX_FEATURES:,} rows", kind=KINDS["csv"])
    names = [name.strip() for name in rows[0]] if rows else []
    wrong = next((number for number, row in enumerate(rows[1:], 2) if len(row) != len(names)), None)
    if wrong is not None:
        why = f"row {wrong} has {len(rows[wrong - 1])} fields, and the first row names {len(names)} columns"
        raise refused(choice.uri, why, kind=KINDS["csv"])
    cells = zip(*rows[1:], strict=True) if len(rows) > 1 else [()] * len(names)
    return {name: _typed(list(column)) for name, column in zip(names, cells, strict=True)}


def _typed(values: list[str]) -> list[Any]:
    """Values as numbers where all of them are (not codes such as 007), empty ones None."""
    given = [value.strip() for value in values if value.strip()]
    if given and all(map(_WHOLE.fullmatch, given)):
        return [int(value) if value.strip() else None for value in values]
    if given and not any(re.match(r"[+-]?0\d", value) for value in given):
        try:
            return [float(value) if value.strip() else None for value in values]
        except ValueError:
            pass
    return [value if value.strip() else None for value in values]


def located(columns: Columns, choice: VectorChoice, kind: str) -> tuple[NDArray[Any], str | None, int]:
    """Geometries, their CRS and how many cannot be read, from columns with WKT or with x and y.

    Raises:
        VectorFieldError: if there is no such column.
        DataError: if a position is no number.
    """
    names = _geometry_columns(columns, choice, kind)
    if len(names) == 1:
        texts = [value if isinstance(value, str) else None for value in columns[names[0]]]
        geometries = shapely.from_wkt(texts, on_invalid="ignore")
        num_given = sum(text is not None for text in texts)
        num_unreadable = num_given - int((shapely.get_type_id(geometries) >= 0).sum())
        return shapely.force_2d(geometries), None, num_unreadable
    xs, ys = (_numbers(columns[name], name, choice, kind) for name in names)
    geometries = np.full(len(xs), None, object)
    is_given = ~(np.isnan(xs) | np.isnan(ys))
    geometries[is_given] = shapely.points(xs[is_given], ys[is_given])
    is_degrees = names[0].casefold() in _LONGITUDES and names[1].casefold() in _LATITUDES
    return geometries, WGS84 if is_degrees else None, 0


def _geometry_columns(columns: Columns, choice: VectorChoice, kind: str) -> Sequence[str]:
    there = ", ".join(list(columns)[:_MAX_SHOWN]) or "no columns"
    if choice.geometry_columns:
        missing = [name for name in choice.geometry_columns if name not in columns]
        if missing:
            what = f"{kind} has no column {missing[0]!r}"
            raise VectorFieldError(what, field="geometry_columns", where=choice.uri, why=f"it has {there}")
        return choice.geometry_columns
    known = {name.casefold(): name for name in reversed(columns)}
    wkt = next((known[name] for name in _WKTS if name in known), None)
    x, y = (next((known[name] for name in some if name in known), None) for some in (_XS, _YS))
    if wkt is not None:
        return [wkt]
    if x is None or y is None:
        raise VectorFieldError(
            f"{kind} has no column that holds a place",
            field="geometry_columns",
            where=choice.uri,
            why=f"it has {there}",
            fix='name those of x and y, or of WKT: geometry_columns=["lon", "lat"]',
        )
    return [x, y]


def _numbers(values: list[Any], name: str, choice: VectorChoice, kind: str) -> NDArray[np.float64]:
    for number, value in enumerate(values, 2):
        if value is not None and not isinstance(value, int | float):
            why = f"its column {name!r} holds {repr(value)[:100]} in row {number}, which is no number"
            raise refused(choice.uri, why, kind=kind)
    return np.array([np.nan if value is None else float(value) for value in values], np.float64)


def read_sequence(text: str, uri: str) -> FeatureCollection:
    """GeoJSON features, one a line.

    Raises:
        DataError: if a line is no feature.
    """
    features = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip("\x1e \t\r"):
            continue
        try:
            features.append(json.loads(line.lstrip("\x1e")))
        except (ValueError, RecursionError) as err:
            raise refused(uri, f"line {number} is no JSON: {err}", kind=KINDS["geojsonseq"]) from err
    if len(features) > MAX_FEATURES:
        raise refused(uri, f"it has more than {MAX_FEATURES:,} features", kind=KINDS["geojsonseq"])
    return collection_of(uri, {"type": "FeatureCollection", "features": features})


def decoded(data: bytes, uri: str, kind: str) -> str:
    """The text of a file.

    Raises:
        DataError: if it is not in UTF-8.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        why = f"it is not in UTF-8 (byte {err.start})"
        raise DataError(f"{kind} cannot be used", where=uri, why=why, fix="save it in UTF-8") from err
