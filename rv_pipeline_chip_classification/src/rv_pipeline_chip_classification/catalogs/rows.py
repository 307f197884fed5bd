"""The rows of a table of files as text: CSV by the standard library, Parquet and GeoPackage by the extra `vector`."""

from __future__ import annotations

import csv
import math
import os
import posixpath
from collections.abc import Sequence
from typing import Any

from rv_core.errors import ConfigError
from rv_core.files import by_uri, uris
from rv_pipeline_chip_classification.vectors.databases import check_geopackage
from rv_pipeline_chip_classification.vectors.files import library

_MAX_BYTES = 256 * 1024**2
_MAX_ROWS = 1_000_000
_KINDS = {".parquet": "a Parquet table", ".geoparquet": "a Parquet table", ".gpkg": "a GeoPackage"}


def read_rows(uri: str) -> tuple[list[str], list[dict[str, str]]]:
    """The columns of a table, and its rows: column -> text, "" where there is no value.

    Raises:
        ConfigError: if it is no table.
        RvError: if it cannot be read.
    """
    path = str(by_uri.local_copy(uri))
    if not os.path.isfile(path) or os.path.getsize(path) > _MAX_BYTES:
        raise _refused(uri, f"it is no plain file of at most {_MAX_BYTES:,} bytes")
    end = os.path.splitext(uris.name_of(uri))[1].lower()
    if end in (".parquet", ".geoparquet"):
        names, columns = _parquet(path, uri, _KINDS[end])
    elif end == ".gpkg":
        names, columns = _geopackage(path, uri, _KINDS[end])
    else:
        return _csv(path, uri)
    if len(columns) and len(columns[0]) > _MAX_ROWS:
        raise _refused(uri, f"it has more than {_MAX_ROWS:,} rows")
    return names, [dict(zip(names, map(_text, row), strict=True)) for row in zip(*columns, strict=True)]


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _csv(path: str, uri: str) -> tuple[list[str], list[dict[str, str]]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first_line = file.readline()
            file.seek(0)
            table = [row for row in csv.reader(file, delimiter=max(",;\t", key=first_line.count), strict=True) if row]
    except (csv.Error, UnicodeDecodeError) as err:
        raise _refused(uri, str(err)) from err
    names = [name.strip() for name in table[0]] if table else []
    rows = []
    for number, row in enumerate(table[1 : _MAX_ROWS + 2], 2):
        if len(row) > len(names):
            raise _refused(uri, f"row {number} has {len(row)} fields, and the first row names {len(names)} columns")
        cells = [cell.strip() for cell in row] + [""] * (len(names) - len(row))
        rows.append(dict(zip(names, cells, strict=True)))
    if len(rows) > _MAX_ROWS:
        raise _refused(uri, f"it has more than {_MAX_ROWS:,} rows")
    return names, rows


def _parquet(path: str, uri: str, kind: str) -> tuple[list[str], list[Sequence[Any]]]:
    parquet, arrow = (library(name, where=uri, kind=kind) for name in ("pyarrow.parquet", "pyarrow"))
    try:
        with parquet.ParquetFile(path) as file:
            if file.metadata.num_rows > _MAX_ROWS:
                raise _refused(uri, f"it has more than {_MAX_ROWS:,} rows")
            plain = [
                its.name for its in file.schema_arrow if not (arrow.types.is_nested(its.type) or _is_bytes(arrow, its))
            ]
            table = file.read(columns=plain)
            return plain, [table.column(name).to_pylist() for name in plain]
    except (arrow.ArrowException, OSError) as err:
        raise _refused(uri, str(err)[:300]) from err


def _is_bytes(arrow: Any, field: Any) -> bool:
    return bool(arrow.types.is_binary(field.type) or arrow.types.is_large_binary(field.type))


def _geopackage(path: str, uri: str, kind: str) -> tuple[list[str], list[Sequence[Any]]]:
    pyogrio = library("pyogrio", where=uri, kind=kind)
    check_geopackage(path, uri, has_journal=False)
    try:
        layers = pyogrio.list_layers(path)[:, 0].tolist()
        if len(layers) != 1:
            raise _refused(uri, f"it holds {len(layers)} tables: {', '.join(layers[:20])}"[:300])
        found = pyogrio.raw.read(path, read_geometry=False, max_features=_MAX_ROWS + 1, IMMUTABLE="YES")
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, RuntimeError, ValueError) as err:
        raise _refused(uri, str(err)[:300]) from err
    return found[0]["fields"].tolist(), [column.tolist() for column in found[3]]


def beside(table_uri: str, name: str) -> str:
    """The URI of what a table names from its own folder on; what is absolute or has a scheme stays."""
    if not uris.is_relative(name):
        return name
    if uris.is_local(table_uri):
        return uris.absolute(name, os.path.dirname(uris.local_path(table_uri)))
    scheme, _, rest = table_uri.partition("://")
    store, _, path = rest.partition("/")
    return f"{scheme}://{store}/{posixpath.normpath(posixpath.join(posixpath.dirname(path), name)).lstrip('./')}"


def _refused(uri: str, why: str) -> ConfigError:
    fix = "write image, labels and subset as its first row, and a row per scene"
    return ConfigError("this is no table of scenes", where=uri, why=why, fix=fix)
