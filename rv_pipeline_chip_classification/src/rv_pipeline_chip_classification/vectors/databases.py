"""What a GeoPackage or a shapefile may hold before GDAL opens it: tables and records, and nothing that runs or repeats."""

from __future__ import annotations

import os
import re
import sqlite3
from urllib.parse import quote

import numpy as np

from rv_core.errors import DataError
from rv_pipeline_chip_classification.vectors.files import KINDS
from rv_pipeline_chip_classification.vectors.geojson import refused

#: Modules of virtual tables that hold indexes; others read files.
_INDEXES = re.compile(r"\busing\s+[\"'`\[]?(rtree|rtree_i32|fts3|fts4|fts5)\b", re.IGNORECASE)
_COMPUTED = re.compile(r"\bgenerated\s+always\b|\bas\s*\(", re.IGNORECASE)
_MAX_TABLES = 10_000
_TABLES_FIX = "write the layer that you mean into a file of its own: ogr2ogr labels.gpkg FILE LAYER"


def check_geopackage(path: str, uri: str, *, has_journal: bool) -> None:
    """Refuse a database whose tables are computed when they are read: a view may run for ever.

    Args:
        path: of the file here.
        uri: of the file, for messages.
        has_journal: whether a writer left a journal beside it, and so it is opened as a copy that may be changed.

    Raises:
        DataError: if it is damaged, or holds views, computed columns or virtual tables that are no index.
    """
    mode = "mode=rw" if has_journal else "mode=ro&immutable=1"
    try:
        database = sqlite3.connect(f"file:{quote(path)}?{mode}", uri=True)
        try:
            rows = database.execute("SELECT type, name, sql FROM sqlite_master").fetchmany(_MAX_TABLES + 1)
        finally:
            database.close()
    except (sqlite3.Error, UnicodeDecodeError) as err:
        raise _gpkg_refused(uri, f"it is damaged: {err}") from err
    if len(rows) > _MAX_TABLES:
        raise _gpkg_refused(uri, f"it holds more than {_MAX_TABLES:,} tables")
    for kind, name, sql in rows:
        if kind == "view":
            raise _gpkg_refused(uri, f"it holds the view {name!r}, which is computed when it is read")
        is_virtual = kind == "table" and re.match(r"\s*create\s+virtual\b", sql or "", re.IGNORECASE)
        if is_virtual and not _INDEXES.search(sql):
            raise _gpkg_refused(uri, f"it holds the virtual table {name!r}, which reads other files")
        if kind == "table" and not is_virtual and _COMPUTED.search(sql or ""):
            raise _gpkg_refused(uri, f"a column of its table {name!r} is computed when it is read")


def _gpkg_refused(uri: str, why: str) -> DataError:
    return refused(uri, why[:500], _TABLES_FIX, kind=KINDS["gpkg"])


def check_shapefile(path: str, uri: str) -> None:
    """Refuse a shapefile without its parts, or whose index names the same bytes again and again.

    Raises:
        DataError: naming what is missing or wrong.
    """
    stem = os.path.splitext(path)[0]
    there = {os.path.splitext(name)[1].lower(): name for name in _siblings(stem)}
    missing = [end for end in (".shx", ".dbf") if end not in there]
    if missing:
        why = f"{' and '.join(missing)} of it {'are' if len(missing) > 1 else 'is'} not beside it"
        raise refused(uri, why, "copy all files of that name", kind=KINDS["shp"])
    index = np.fromfile(os.path.join(os.path.dirname(stem), there[".shx"]), ">u4", offset=100)
    length = int(index[1::2].astype(np.int64).sum()) * 2
    if length > os.path.getsize(path):
        why = "its index (.shx) names more bytes than it has"
        raise refused(uri, why, "write it anew: ogr2ogr labels.gpkg FILE", kind=KINDS["shp"])


def _siblings(stem: str) -> list[str]:
    folder, name = os.path.split(stem)
    return [other for other in os.listdir(folder or ".") if os.path.splitext(other)[0] == name]
