"""GeoJSON files as they are written: features with properties and geometries. Bounded in size and depth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from rv_core.errors import DataError, RvError
from rv_core.files import by_uri, uris
from rv_pipeline_chip_classification.vectors.crs_names import crs_of_name
from rv_pipeline_chip_classification.vectors.files import is_vector_name

MAX_BYTES = 512 * 1024 * 1024
MAX_DEPTH = 64
#: What to do with what is no GeoJSON.
EXPORT_FIX = "export it as GeoJSON: ogr2ogr -f GeoJSON -t_srs EPSG:4326 labels.geojson FILE, or QGIS, Save Features As"
#: What to do with what another class reads.
_VECTOR_FIX = "use VectorLabelsConfig(uri=…), which reads it; it needs rv-pipeline-chip-classification[vector]"
_XML = "XML (KML or GML)"
#: How files of other formats begin.
_OTHER_FORMATS = {
    b"SQLite format 3": "a GeoPackage (or another SQLite database)",
    b"\x00\x00\x27\x0a": "a shapefile",
    b"PK": "a zip archive",
    b"fgb": "FlatGeobuf",
    b"PAR1": "Parquet",
    b"<": _XML,
}
GEOMETRY_TYPES = ("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon")


@dataclass(frozen=True)
class FeatureCollection:
    """What a GeoJSON file says, before coordinates are understood.

    Args:
        uri: the file.
        properties: of each feature.
        geometries: of each feature, None where there is none.
        crs: name of the CRS of the coordinates; None where the file names none, which means WGS 84.
    """

    uri: str
    properties: list[dict[str, Any]]
    geometries: list[dict[str, Any] | None]
    crs: str | None
    kind: ClassVar[str] = "a GeoJSON file"


def read_geojson(uri: str) -> FeatureCollection:
    """Read a GeoJSON file: a feature collection, a feature or a bare geometry.

    Raises:
        DataError: if it is too large, nested too deep or no GeoJSON.
        StorageError: if it cannot be read.
    """
    # The tasks of a scene all read its labels: those of a server are fetched once for all of them.
    source = uri if uris.is_local(uris.expand(uri)) else str(by_uri.local_copy(uri))
    info = by_uri.stat(source)
    data = b"" if info is not None and info.size > MAX_BYTES else by_uri.read_bytes(source)
    if (not data and info is not None and info.size) or len(data) > MAX_BYTES:
        size = info.size if info is not None else len(data)
        raise refused(uri, f"it has {size:,} bytes; at most {MAX_BYTES:,} are read")
    kind = next((kind for start, kind in _OTHER_FORMATS.items() if data[:64].lstrip().startswith(start)), None)
    if kind is not None:
        raise refused(uri, f"it is {kind}", EXPORT_FIX if kind == _XML else _VECTOR_FIX)
    try:
        # NaN and infinity are no JSON, but tables are often exported with them in columns that nobody uses.
        document = json.loads(data)
    except RecursionError as err:
        raise refused(uri, "it is nested too deep") from err
    except ValueError as err:
        is_table = not data.lstrip().startswith(b"<") and is_vector_name(uri)
        raise refused(uri, f"it is no JSON: {err}", _VECTOR_FIX if is_table else EXPORT_FIX) from err
    return collection_of(uri, document)


@contextmanager
def file_of_scene(uri: str, what: str) -> Iterator[None]:
    """The one boundary of a file of labels or an AOI: whatever a library raises on it becomes an error that names it.

    Args:
        uri: the file.
        what: what it is to a scene, for the message.

    Raises:
        DataError: for what is none of our own errors.
    """
    try:
        yield
    except RvError:
        raise
    except Exception as err:
        why = f"{type(err).__name__}: {str(err)[:300]}" if str(err) else type(err).__name__
        raise DataError(f"{what} cannot be used", where=uri, why=why) from err


def refused(uri: str, why: str, fix: str = "", *, kind: str = FeatureCollection.kind) -> DataError:
    """What to raise where a file cannot be used."""
    return DataError(f"{kind} cannot be used", where=uri, why=why, fix=fix)


def collection_of(uri: str, document: Any) -> FeatureCollection:
    """What a JSON document says, if it is GeoJSON.

    Raises:
        DataError: if it is none.
    """
    kind = document.get("type") if isinstance(document, dict) else None
    if kind == "FeatureCollection" and isinstance(document.get("features"), list):
        features = document["features"]
    elif kind == "Feature":
        features = [document]
    elif kind in GEOMETRY_TYPES or kind == "GeometryCollection":
        features = [{"type": "Feature", "properties": {}, "geometry": document}]
    else:
        is_esri = isinstance(document, dict) and ("geometryType" in document or "spatialReference" in document)
        what = "it is JSON of ArcGIS" if is_esri else f"its type is {repr(kind)[:100]}"
        raise refused(uri, f"{what}; a FeatureCollection with features is expected", EXPORT_FIX)
    properties, geometries = [], []
    for index, feature in enumerate(features):
        if not isinstance(feature, dict) or feature.get("type") != "Feature":
            raise refused(uri, f"features[{index}] is no Feature")
        properties.append(feature.get("properties") or {})
        geometries.append(feature.get("geometry"))
        if not isinstance(properties[-1], dict) or _is_deeper(properties[-1], MAX_DEPTH):
            raise refused(uri, f"the properties of features[{index}] are no object of at most {MAX_DEPTH} levels")
    return FeatureCollection(uri, properties, geometries, _crs_name(uri, document.get("crs")))


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    children = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(child, levels - 1) for child in children)


def _crs_name(uri: str, crs: Any) -> str | None:
    if crs is None:
        return None
    properties = crs.get("properties") if isinstance(crs, dict) else None
    if isinstance(properties, dict) and isinstance(properties.get("code"), int):
        properties = {"name": f"EPSG:{properties['code']}" if 0 < properties["code"] < 10**7 else ""}
    name = properties.get("name") if isinstance(properties, dict) else None
    known = crs_of_name(name) if isinstance(name, str) else None
    if known is None:
        why = f"its crs member {_shown(crs)} names no CRS; rv opens no file and no address that it names"
        raise refused(uri, why, 'write "EPSG:" and the code, or leave the member out for longitude and latitude')
    return known


def _shown(value: Any) -> str:
    try:
        return json.dumps(value)[:200]
    except (ValueError, RecursionError):
        return "(of numbers too large or nested too deep)"
