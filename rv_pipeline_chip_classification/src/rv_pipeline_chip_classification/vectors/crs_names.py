"""How a GeoJSON file may name the CRS of its coordinates. Pure, and nothing that is named is opened.

GDAL takes more than names: a URL is fetched, a path read. A label file is data of others, so only what names or
describes a CRS by itself is passed on.
"""

from __future__ import annotations

import re

WGS84 = "EPSG:4326"
#: A description of a CRS is some thousand characters long.
_MAX_CHARACTERS = 20_000
_WELL_KNOWN = {"WGS84": WGS84, "WGS 84": WGS84, "NAD83": "EPSG:4269", "NAD27": "EPSG:4267"}
#: CRS 84 is EPSG:4326 with longitude first, which is the order of GeoJSON anyway.
_CRS84 = re.compile(
    r"(urn:ogc:def:crs:)?(OGC:)?([\d.]*:)?CRS:?84|https?://(www\.)?opengis\.net/def/crs/OGC/[\d.]+/CRS84", re.IGNORECASE
)
_CODES = (
    re.compile(r"(EPSG|ESRI)::?(\d{1,7})", re.IGNORECASE),
    re.compile(r"urn:(?:x-)?ogc:def:crs:(EPSG|ESRI):[\w.]*:(\d{1,7})", re.IGNORECASE),
    re.compile(r"https?://(?:www\.)?opengis\.net/def/crs/(EPSG|ESRI)/[\w.]+/(\d{1,7})", re.IGNORECASE),
    re.compile(r"https?://(?:www\.)?opengis\.net/gml/srs/(EPSG)\.xml#(\d{1,7})", re.IGNORECASE),
)
_WKT = re.compile(
    r"(GEOG|PROJ|GEOD|GEOC|COMPD?|COMPOUND|BOUND|GEOGRAPHIC|PROJECTED|GEODETIC|LOCAL)_?(CS|CRS)\s*[\[(]", re.IGNORECASE
)
#: What makes PROJ open a file: grids of shifts (but for the empty one), models, and definitions kept elsewhere.
_OPENS_A_FILE = re.compile(r"grids\s*=\s*(?!@null\b)|PARAMETERFILE|\b(init|file|model)\s*=", re.IGNORECASE)


def crs_of_name(name: str) -> str | None:
    """A name as GDAL may have it: "EPSG:n", "ESRI:n", WKT or PROJ text. None for all that is no such thing."""
    text = name.strip()
    if len(text) > _MAX_CHARACTERS:
        return None
    if _CRS84.fullmatch(text):
        return WGS84
    if text.upper() in _WELL_KNOWN:
        return _WELL_KNOWN[text.upper()]
    for pattern in _CODES:
        if match := pattern.fullmatch(text):
            return f"{match[1].upper()}:{int(match[2])}"
    describes = text.startswith("+proj=") or _WKT.match(text)
    return text if describes and not _OPENS_A_FILE.search(text) else None
