"""Which files a vector file consists of, what its first bytes say it is, and which library reads it. Imports no GDAL."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from rv_core.errors import DataError
from rv_core.files import uris
from rv_pipeline_chip_classification.raster_files.dataset_files import files_beside

_INSTALL = "pip install 'rv-pipeline-chip-classification[vector]', here and where tasks run"
#: What lies beside a file of each kind and changes what is read of it, by the end of its name.
_PARTS = {
    "shp": (".shx", ".dbf", ".prj", ".cpg"),
    "csv": (".csvt", ".prj"),
}
#: What an unfinished writer of a database leaves beside it; the last changes are in there.
JOURNALS = ("-wal", "-journal")
_MAGIC = {
    b"SQLite format 3\x00": "gpkg",
    b"\x00\x00\x27\x0a": "shp",
    b"PK\x03\x04": "zip",
    b"fgb": "fgb",
    b"PAR1": "parquet",
    b"<": "xml",
}
_OTHER_ENDS = (
    *(".gpkg", ".shp", ".zip", ".fgb", ".parquet", ".geoparquet", ".csv", ".tsv", ".txt"),
    *(".geojsonl", ".geojsons", ".geojsonseq", ".ndjson", ".jsonl"),
)
_LINES = (".geojsonl", ".geojsons", ".geojsonseq", ".ndjson", ".jsonl")
KINDS = {
    "gpkg": "a GeoPackage",
    "shp": "a shapefile",
    "zip": "a zip archive",
    "fgb": "a FlatGeobuf file",
    "parquet": "a GeoParquet file",
    "geojson": "a GeoJSON file",
    "geojsonseq": "a GeoJSON text sequence",
    "csv": "a CSV table",
    "xml": "XML (KML or GML)",
}


def kind_of(head: bytes, name: str) -> str:
    """What a file is: a key of `KINDS`, "" for none of them. Its content decides; the name tells kinds of text apart.

    Args:
        head: its first bytes, 64 at least where it has them.
        name: of the file.
    """
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for start, kind in _MAGIC.items():
        if (text if kind == "xml" else head).startswith(start):
            return kind
    lower = name.lower()
    if text.startswith(b"\x1e") or (text.startswith(b"{") and lower.endswith(_LINES)):
        return "geojsonseq"
    if text.startswith((b"{", b"[")):
        return "geojson"
    return "csv" if lower.endswith((".csv", ".tsv", ".txt")) else ""


def parts_of(uri: str) -> list[str]:
    """The further files of a local vector file, as far as they are there: of a shapefile also `.shx`, `.dbf`, ….

    Args:
        uri: as in the config. In an archive there are none: the archive counts as a whole.
    """
    if uris.container_of(uri) != uri:
        return []
    return [there for there, _ in files_beside(uri, part_names)]


def part_names(name: str) -> list[str]:
    """What the further files of a vector file may be called, in lower case."""
    lower = name.lower()
    stem, _, kind = lower.rpartition(".")
    if kind in _PARTS and stem:
        return [stem + end for end in _PARTS[kind]]
    return [lower + end for end in JOURNALS] if kind == "gpkg" else []


def remote_parts(uri: str) -> list[str]:
    """The files that may lie beside a remote vector file and are worth a request."""
    if "?" in uri or uris.container_of(uri) != uri:
        return []
    stem, _, kind = uri.rpartition(".")
    if kind.lower() in _PARTS and "/" not in kind:
        return [stem + end for end in _PARTS[kind.lower()]]
    return []


class MissingLibraryError(DataError):
    """A library of the extra `vector` is not installed here."""


def library(name: str, *, where: str, kind: str) -> Any:
    """A module of the extra `vector`.

    Args:
        name: of the module.
        where: the file that needs it.
        kind: what that file is.

    Raises:
        MissingLibraryError: if it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as err:
        package = name.partition(".")[0]
        what = f"{kind} is read with {package}, which cannot be imported"
        raise MissingLibraryError(what, where=where, why=str(err), fix=_INSTALL) from err


def is_vector_name(uri: str) -> bool:
    """Whether a file is of another format than GeoJSON by its name, or lies in an archive."""
    return uris.container_of(uri) != uri or uris.name_of(uri).lower().endswith(_OTHER_ENDS)
