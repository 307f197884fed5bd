"""Vector files as tables of features, whatever their format: what a file is, its copy where one is needed, its features.

GeoJSON and CSV are read by the standard library, GeoParquet by pyarrow, and only a GeoPackage, a shapefile and a
FlatGeobuf file by GDAL (pyogrio), after a look at what they are: GDAL takes many other things for vector files, which
name files, services or commands.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import shapely

from rv_core.errors import DataError
from rv_core.files import by_uri, uris
from rv_pipeline_chip_classification.vectors.crs_names import WGS84, crs_of_name
from rv_pipeline_chip_classification.vectors.databases import check_geopackage, check_shapefile
from rv_pipeline_chip_classification.vectors.files import (
    JOURNALS,
    KINDS,
    kind_of,
    part_names,
    parts_of,
    remote_parts,
)
from rv_pipeline_chip_classification.vectors.geojson import MAX_BYTES, FeatureCollection, read_geojson, refused
from rv_pipeline_chip_classification.vectors.geoparquet import chosen, read_geoparquet
from rv_pipeline_chip_classification.vectors.layers import read_layer, rows_of
from rv_pipeline_chip_classification.vectors.table import FeatureTable, VectorChoice, VectorFieldError, check_finite
from rv_pipeline_chip_classification.vectors.tables_of_text import decoded, located, read_csv, read_sequence

#: Of one file with its parts, and of what is taken out of an archive.
_MAX_BYTES = 4 * 1024**3
_MAX_MEMBERS = 10_000
_NAMED = (".shp", ".gpkg", ".fgb", ".parquet", ".geoparquet")
_UNKNOWN_FIX = (
    "GeoPackage, Shapefile, FlatGeobuf, GeoParquet, GeoJSON, GeoJSONSeq and CSV are read: ogr2ogr labels.gpkg FILE"
)


class _Opened(NamedTuple):
    """A file here: its path, what it is, and whether it is a copy with the journal of a writer."""

    path: str
    kind: str
    has_journal: bool = False


def read_vector(choice: VectorChoice) -> FeatureTable:
    """The features of a vector file of any format that is read.

    Raises:
        VectorFieldError: if a field of the config does not fit it.
        MissingLibraryError: if what reads it is not installed.
        DataError: if it is none, or cannot be used.
    """
    with _opened(choice) as opened:
        table = _read(opened, choice)
    check_finite(table)
    return table


def _read(opened: _Opened, choice: VectorChoice) -> FeatureTable:
    path, kind, has_journal = opened
    if kind == "gpkg":
        check_geopackage(path, choice.uri, has_journal=has_journal)
    elif kind == "shp":
        check_shapefile(path, choice.uri)
    if kind in ("gpkg", "shp", "fgb"):
        return read_layer(path, kind, choice, is_changed=has_journal)
    if kind == "parquet":
        return read_geoparquet(path, choice)
    if kind == "geojson":
        return _from_geojson(read_geojson(choice.uri), KINDS[kind], choice)
    text = decoded(_bytes_of(path, choice.uri, KINDS[kind]), choice.uri, KINDS[kind])
    if kind == "geojsonseq":
        return _from_geojson(read_sequence(text, choice.uri), KINDS[kind], choice)
    columns = read_csv(text, choice)
    geometries, crs, num_unreadable = located(columns, choice, KINDS[kind])
    properties = rows_of({name: columns[name] for name in choice.properties if name in columns}, len(geometries))
    table = FeatureTable(
        choice.uri, KINDS[kind], geometries, properties, list(columns), _chosen_crs(crs, choice), num_unreadable
    )
    return table if choice.where is None else chosen(table, columns, choice)


def _chosen_crs(crs: str | None, choice: VectorChoice) -> str | None:
    return crs_of_name(choice.crs) if choice.crs is not None else crs


def _from_geojson(collection: FeatureCollection, kind: str, choice: VectorChoice) -> FeatureTable:
    texts = [None if its is None else json.dumps(its) for its in collection.geometries]
    geometries = np.array(shapely.from_geojson(texts, on_invalid="ignore"), object).reshape(len(texts))
    num_unreadable = sum(text is not None for text in texts) - int((shapely.get_type_id(geometries) >= 0).sum())
    names = list(dict.fromkeys(name for its in collection.properties for name in its))
    crs = _chosen_crs(collection.crs or WGS84, choice)
    table = FeatureTable(
        collection.uri, kind, shapely.force_2d(geometries), collection.properties, names, crs, num_unreadable
    )
    if choice.where is None:
        return table
    columns: dict[str, list[Any]] = {name: [its.get(name) for its in collection.properties] for name in names}
    return chosen(table, columns, choice)


def _bytes_of(path: str, uri: str, kind: str) -> bytes:
    if os.path.getsize(path) > MAX_BYTES:
        raise refused(uri, f"it has {os.path.getsize(path):,} bytes; at most {MAX_BYTES:,} are read", kind=kind)
    with open(path, "rb") as file:
        return file.read()


@contextmanager
def _opened(choice: VectorChoice) -> Iterator[_Opened]:
    """The file as it lies, or its copy: of a remote one with its parts, a member of an archive, an unfinished database."""
    container = uris.container_of(choice.uri)
    path = str(by_uri.local_copy(container))
    if not os.path.isfile(path):
        raise DataError("a vector file cannot be used", where=choice.uri, why="it is no plain file")
    kind = _kind_at(path, uris.name_of(container), choice.uri)
    with tempfile.TemporaryDirectory(prefix="rv-vector-") as folder:
        if kind == "zip":
            path, kind = _unpacked(path, folder, choice)
            yield _Opened(path, kind)
            return
        if container != choice.uri:
            raise refused(choice.uri, "it lies in no zip archive", kind="a vector file")
        parts = _parts_of(choice.uri)
        has_journal = any(part.lower().endswith(JOURNALS) for part in parts)
        if parts and (has_journal or not uris.is_local(uris.expand(choice.uri))):
            path = _copied(path, parts, folder, choice)
        yield _Opened(path, kind, has_journal)


def _kind_at(path: str, name: str, uri: str) -> str:
    if os.path.getsize(path) > _MAX_BYTES:
        raise refused(uri, f"it has more than {_MAX_BYTES:,} bytes", kind="a vector file")
    with open(path, "rb") as file:
        head = file.read(1024)
    kind = kind_of(head, name)
    if kind in ("", "xml"):
        what = f"it is {KINDS['xml']}" if kind else "it is empty" if not head else "it is of no format that is read"
        raise refused(uri, what, _UNKNOWN_FIX, kind="a vector file")
    needed = {"gpkg": ".gpkg", "shp": ".shp"}.get(kind)
    if needed is not None and not name.lower().endswith(needed):
        raise refused(
            uri, f"it is {KINDS[kind]} by another name", f"give it a name that ends in {needed}", kind="a vector file"
        )
    return kind


def _parts_of(uri: str) -> list[str]:
    if uris.is_local(uris.expand(uri)):
        return parts_of(uri)
    return [part for part in remote_parts(uri) if by_uri.exists(part)]


def _copied(path: str, parts: list[str], folder: str, choice: VectorChoice) -> str:
    """Copies of a file and its parts under the names that belong together."""
    name = uris.name_of(choice.uri)
    copy = os.path.join(folder, name)
    shutil.copyfile(path, copy)
    for part in parts:
        source = str(by_uri.local_copy(part))
        if not os.path.isfile(source) or os.path.getsize(source) > _MAX_BYTES:
            raise refused(choice.uri, f"{uris.name_of(part)} beside it is no plain file", kind="a vector file")
        shutil.copyfile(source, os.path.join(folder, uris.name_of(part)))
    return copy


def _unpacked(path: str, folder: str, choice: VectorChoice) -> tuple[str, str]:
    """One file of an archive with its parts, and what it is."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {its.filename: its for its in archive.infolist()[: _MAX_MEMBERS + 1] if not its.is_dir()}
            chosen_name = _member(list(members), choice)
            base, name = os.path.split(chosen_name)
            parts = {os.path.join(base, part).casefold() for part in part_names(name)}
            wanted = [chosen_name, *(other for other in members if other.casefold() in parts)]
            if sum(members[other].file_size for other in wanted) > _MAX_BYTES:
                raise refused(choice.uri, f"it holds more than {_MAX_BYTES:,} bytes", kind=KINDS["zip"])
            for other in wanted:
                end = os.path.splitext(other)[1].lower()
                with archive.open(members[other]) as source, open(os.path.join(folder, f"layer{end}"), "wb") as copy:
                    shutil.copyfileobj(source, copy)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as err:
        raise refused(choice.uri, f"it is damaged or locked: {err}"[:300], kind=KINDS["zip"]) from err
    unpacked = os.path.join(folder, f"layer{os.path.splitext(chosen_name)[1].lower()}")
    return unpacked, _kind_at(unpacked, unpacked, choice.uri)


def _member(names: list[str], choice: VectorChoice) -> str:
    if len(names) > _MAX_MEMBERS:
        raise refused(choice.uri, f"it holds more than {_MAX_MEMBERS:,} files", kind=KINDS["zip"])
    named = choice.uri.partition("!")[2].lstrip("/") if uris.container_of(choice.uri) != choice.uri else ""
    known = [name for name in names if name.lower().endswith(_NAMED)]
    asked = named or choice.layer
    found = (
        known if not asked else [name for name in known if asked in (name, os.path.splitext(os.path.basename(name))[0])]
    )
    if len(found) != 1:
        shown = ", ".join(map(repr, known[:20])) or "no vector file"
        what = f"{KINDS['zip']} holds {len(known)} vector files" if not asked else f"{KINDS['zip']} has no {asked!r}"
        raise VectorFieldError(what, field="layer", where=choice.uri, why=f"it has {shown}", fix="say which: layer=…")
    return found[0]
