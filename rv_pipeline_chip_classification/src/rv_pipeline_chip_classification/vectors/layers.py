"""Layers of GeoPackages, shapefiles and FlatGeobuf files, read with pyogrio; and conditions on properties."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from rv_core.errors import nearest
from rv_pipeline_chip_classification.vectors.crs_names import crs_of_name
from rv_pipeline_chip_classification.vectors.files import KINDS, library
from rv_pipeline_chip_classification.vectors.geojson import refused
from rv_pipeline_chip_classification.vectors.table import MAX_FEATURES, FeatureTable, VectorChoice, VectorFieldError

_MAX_SHOWN = 20
#: Names that GDAL gives to what has no place.
_NO_CRS = re.compile(r"\s*(ENGCRS|LOCAL_CS|ENGINEERINGCRS)\b|.*\bUndefined (geographic|Cartesian) SRS", re.IGNORECASE)
_UNREADABLE = "its CRS is of no kind that is read; rv opens no file and no address that it names"


def read_layer(path: str, kind: str, choice: VectorChoice, *, is_changed: bool = False) -> FeatureTable:
    """The features of a layer of a file that has been looked at.

    Args:
        path: of the file here.
        kind: "gpkg", "shp" or "fgb".
        choice: which features.
        is_changed: whether GDAL may have to finish what a writer left, in a copy.

    Raises:
        VectorFieldError: if there is no such layer, or the condition is none.
        DataError: if it cannot be read.
    """
    pyogrio = library("pyogrio", where=choice.uri, kind=KINDS[kind])
    # Opened as it lies, a database would get files of SQLite's own beside it.
    options = {"IMMUTABLE": "YES"} if kind == "gpkg" and not is_changed else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            layer = _layer(pyogrio, path, kind, choice)
            names = pyogrio.read_info(path, layer=layer, **options)["fields"].tolist()
            wanted = [name for name in choice.properties if name in names]
            # GDAL takes a field that is not read for empty, in conditions too.
            read = wanted if choice.where is None else names
            meta, _, wkb, columns = pyogrio.raw.read(
                path, layer=layer, columns=read, where=choice.where, force_2d=True, max_features=MAX_FEATURES + 1,
                datetime_as_string=True, **options,
            )  # fmt: skip
        except (pyogrio.errors.FeatureError, ValueError) as err:
            if choice.where is None:
                raise refused(choice.uri, _told(err, path), kind=KINDS[kind]) from err
            raise where_error(choice, KINDS[kind], _told(err, path)) from err
        except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, RuntimeError) as err:
            raise refused(choice.uri, _told(err, path), kind=KINDS[kind]) from err
    if len(wkb) > MAX_FEATURES:
        raise refused(choice.uri, f"it has more than {MAX_FEATURES:,} features", kind=KINDS[kind])
    geometries, num_unreadable = geometries_of(wkb)
    columns_by_name = dict(zip(meta["fields"].tolist(), columns, strict=True))
    properties = rows_of({name: plain(columns_by_name[name]) for name in wanted}, len(wkb))
    crs = _crs_of(meta["crs"], choice, KINDS[kind])
    return FeatureTable(choice.uri, KINDS[kind], geometries, properties, names, crs, num_unreadable)


def _told(err: BaseException, path: str) -> str:
    """What GDAL says, without where a copy lies."""
    return str(err).replace(path, "the file")[:500]


def _layer(pyogrio: Any, path: str, kind: str, choice: VectorChoice) -> str | None:
    if kind != "gpkg":
        return None
    layers = [str(name) for name, geometry in pyogrio.list_layers(path).tolist() if geometry is not None]
    shown = ", ".join(map(repr, layers[:_MAX_SHOWN])) or "none with geometries"
    if choice.layer is not None:
        if choice.layer not in layers:
            what, near = f"{KINDS[kind]} has no layer {choice.layer!r}", nearest(choice.layer, layers)
            fix = f"did you mean {near!r}?" if near else ""
            raise VectorFieldError(what, field="layer", where=choice.uri, why=f"its layers are {shown}", fix=fix)
        return choice.layer
    if len(layers) != 1:
        what = f"{KINDS[kind]} holds {len(layers)} layers" if layers else f"{KINDS[kind]} holds no layer"
        fix = "say which one: layer=…" if layers else ""
        raise VectorFieldError(what, field="layer", where=choice.uri, why=f"its layers are {shown}", fix=fix)
    return layers[0]


def where_error(choice: VectorChoice, kind: str, why: str) -> VectorFieldError:
    """What to raise where a condition is none."""
    what = f"the condition {str(choice.where)[:200]!r} cannot be used on {kind}"
    return VectorFieldError(what, field="where", where=choice.uri, why=why, fix="write it as after WHERE in SQL")


def _crs_of(name: str | None, choice: VectorChoice, kind: str) -> str | None:
    if choice.crs is not None:
        return crs_of_name(choice.crs)
    if name is None or _NO_CRS.match(name):
        return None
    known = crs_of_name(name)
    if known is None:
        raise VectorFieldError(
            f"{kind} cannot be used", field="crs", where=choice.uri, why=_UNREADABLE, fix='name it: crs="EPSG:…"'
        )
    return known


def geometries_of(wkb: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Geometries of WKB (F,), None where there is none, and how many could not be read."""
    geometries = shapely.from_wkb(wkb, on_invalid="ignore")
    num_given = sum(value is not None for value in wkb)
    return shapely.force_2d(geometries), num_given - int((shapely.get_type_id(geometries) >= 0).sum())


def plain(column: NDArray[Any]) -> list[Any]:
    """The values of a column as Python has them."""
    values: list[Any] = column.astype(object).tolist() if column.dtype.kind not in "iufbO" else column.tolist()
    return values


def rows_of(columns: Mapping[str, Sequence[Any]], count: int) -> list[dict[str, Any]]:
    """Columns as one dictionary a row."""
    if not columns:
        return [{} for _ in range(count)]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def rows_where(columns: Mapping[str, Sequence[Any]], count: int, choice: VectorChoice, kind: str) -> NDArray[np.int64]:
    """Which rows of a table fulfil the condition of `choice`: (M,) int64. SQLite decides, as for a GeoPackage.

    Args:
        columns: all that the condition may name; values that are neither numbers nor text are left out.
        count: rows.
        choice: with a condition.
        kind: of the file, for messages.

    Raises:
        VectorFieldError: if it is no condition on these columns.
    """
    pyogrio = library("pyogrio", where=choice.uri, kind=kind)
    named, arrays, masks = ["rv_row"], [np.arange(count)], [np.zeros(count, np.bool_)]
    for name, values in columns.items():
        if (array := _column(values)) is not None:
            named.append(name)
            arrays.append(array)
            masks.append(np.array([value is None for value in values], np.bool_))
    memory = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pyogrio.raw.write(
                memory,
                None,
                arrays,
                named,
                field_mask=masks,
                driver="GPKG",
                layer="rows",
                layer_options={"FID": "rv_fid"},
            )
            table = memory.getvalue()
            found = pyogrio.raw.read(table, columns=["rv_row"], where=choice.where, read_geometry=False)
        except (pyogrio.errors.FeatureError, pyogrio.errors.DataSourceError, ValueError, RuntimeError) as err:
            raise where_error(choice, kind, str(err)[:500]) from err
    rows: NDArray[np.int64] = np.sort(found[3][0]).astype(np.int64)
    return rows


def _column(values: Sequence[Any]) -> NDArray[Any] | None:
    """A column as GDAL takes it; None for what is neither numbers nor text."""
    given = [value for value in values if value is not None]
    if all(isinstance(value, bool) for value in given) and given:
        return np.array([bool(value) for value in values])
    if all(isinstance(value, int) and abs(value) < 2**63 for value in given):
        return np.array([0 if value is None else int(value) for value in values], np.int64)
    if all(isinstance(value, int | float) for value in given):
        return np.array([np.nan if value is None else float(value) for value in values], np.float64)
    if all(isinstance(value, str | int | float) for value in given):
        return np.array([None if value is None else str(value) for value in values], object)
    return None
