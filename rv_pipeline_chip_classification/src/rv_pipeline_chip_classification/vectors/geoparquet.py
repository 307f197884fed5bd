"""GeoParquet files, read with pyarrow: the GDAL that pyogrio brings has no driver for them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from rv_pipeline_chip_classification.vectors.crs_names import WGS84, crs_of_name
from rv_pipeline_chip_classification.vectors.files import KINDS, library
from rv_pipeline_chip_classification.vectors.geojson import refused
from rv_pipeline_chip_classification.vectors.layers import geometries_of, rows_of, rows_where
from rv_pipeline_chip_classification.vectors.table import MAX_FEATURES, FeatureTable, VectorChoice, VectorFieldError
from rv_pipeline_chip_classification.vectors.tables_of_text import Columns, located

_KIND = KINDS["parquet"]
#: Bytes of all columns that are read, decoded; few rows at a time, so that this is found out early.
_MAX_DECODED_BYTES = 4 * 1024**3
_ROWS_AT_ONCE = 1024


def read_geoparquet(path: str, choice: VectorChoice) -> FeatureTable:
    """The features of a GeoParquet file, or of a Parquet table with a position or WKT in each row.

    Raises:
        VectorFieldError: if a field of the config does not fit it.
        DataError: if it cannot be read, or holds more than is read.
    """
    parquet = library("pyarrow.parquet", where=choice.uri, kind=_KIND)
    arrow = library("pyarrow", where=choice.uri, kind=_KIND)
    try:
        with parquet.ParquetFile(path) as file:
            names = list(file.schema_arrow.names)
            geo = _geo_of(file.schema_arrow.metadata or {}, choice)
            if file.metadata.num_rows > MAX_FEATURES:
                raise refused(choice.uri, f"it has more than {MAX_FEATURES:,} rows", kind=_KIND)
            columns = _columns(file, arrow, _names_to_read(file, arrow, names, geo, choice), choice)
    except (arrow.ArrowException, OSError) as err:
        raise refused(choice.uri, str(err)[:500], kind=_KIND) from err
    if geo is None:
        geometries, crs, num_unreadable = located(columns, choice, "a Parquet table")
    else:
        geometries, num_unreadable = geometries_of(np.array(columns.pop(geo["primary_column"]), object))
        crs = _crs_of(geo, choice)
    crs = crs_of_name(choice.crs) if choice.crs is not None else crs
    wanted = {name: columns[name] for name in choice.properties if name in columns}
    table = FeatureTable(choice.uri, _KIND, geometries, rows_of(wanted, len(geometries)), names, crs, num_unreadable)
    return table if choice.where is None else chosen(table, columns, choice)


def chosen(table: FeatureTable, columns: Columns, choice: VectorChoice) -> FeatureTable:
    """The features of a table that fulfil a condition.

    Args:
        table: all of them.
        columns: what the condition may name.
        choice: with a condition.

    Raises:
        VectorFieldError: if it is no condition on these columns.
    """
    rows = rows_where(columns, len(table.geometries), choice, table.kind)
    properties = [table.properties[row] for row in rows.tolist()]
    return FeatureTable(table.uri, table.kind, table.geometries[rows], properties, table.names, table.crs)


def _geo_of(metadata: dict[bytes, bytes], choice: VectorChoice) -> dict[str, Any] | None:
    """What the file says of its geometries; None for a table without any."""
    if b"geo" not in metadata or choice.geometry_columns:
        return None
    try:
        geo = json.loads(metadata[b"geo"])
        column = geo["columns"][geo["primary_column"]]
        encoding = column["encoding"]
    except (ValueError, KeyError, TypeError, RecursionError) as err:
        raise refused(choice.uri, f"its geo metadata is damaged: {err}"[:500], kind=_KIND) from err
    if encoding != "WKB":
        why = f"its geometries are encoded as {str(encoding)[:50]!r}"
        raise refused(choice.uri, why, "write it with geometries as WKB, the default of GeoParquet", kind=_KIND)
    return dict(geo)


def _names_to_read(
    file: Any, arrow: Any, names: list[str], geo: dict[str, Any] | None, choice: VectorChoice
) -> list[str]:
    geometry = geo["primary_column"] if geo is not None else None
    if geometry is not None and geometry not in names:
        raise refused(choice.uri, f"it has no column {geometry!r}, which its geo metadata names"[:500], kind=_KIND)
    schema = file.schema_arrow
    plain = [name for name in names if name != geometry and not arrow.types.is_nested(schema.field(name).type)]
    if choice.where is None and geo is not None:
        plain = [name for name in plain if name in choice.properties]
    return plain + ([geometry] if geometry is not None else [])


def _columns(file: Any, arrow: Any, names: list[str], choice: VectorChoice) -> Columns:
    found: Columns = {name: [] for name in names}
    decoded_bytes = 0
    for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=names):
        decoded_bytes += batch.nbytes
        if decoded_bytes > _MAX_DECODED_BYTES:
            raise refused(choice.uri, f"it holds more than {_MAX_DECODED_BYTES:,} bytes", kind=_KIND)
        for name in names:
            found[name] += batch.column(batch.schema.get_field_index(name)).to_pylist()
    return found


def _crs_of(geo: dict[str, Any], choice: VectorChoice) -> str | None:
    """The CRS of the geometry column: longitude and latitude where nothing is said, as GeoParquet has it."""
    column = geo["columns"][geo["primary_column"]]
    if "crs" not in column:
        return WGS84
    crs = column["crs"]
    if crs is None or choice.crs is not None:
        return None
    name = crs.get("id") if isinstance(crs, dict) else None
    known = crs_of_name(f"{name.get('authority')}:{name.get('code')}") if isinstance(name, dict) else None
    if known is None:
        why = "its CRS has no code of EPSG or ESRI"
        raise VectorFieldError(f"{_KIND} cannot be used", field="crs", where=choice.uri, why=why, fix='crs="EPSG:…"')
    return known
