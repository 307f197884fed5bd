"""Which files GDAL reads for a raster besides the one that is named: side files, and the sources of a virtual one.

Names and XML alone decide, and no GDAL is imported: the plan asks for these files too. A virtual dataset (`.vrt`) may
name plain rasters of its own store; what reads anything else – raw bands, pixel functions, services, pipes – is refused
before GDAL sees it.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from rv_core.errors import DataError, RvError
from rv_core.files import by_uri, uris

_MAX_XML_BYTES = 16 * 1024**2
_MAX_DEPTH, _MAX_SOURCES = 8, 20_000
_SELF_CONTAINED = {"tif", "tiff", "gtiff", "jp2", "j2k", "png", "jpg", "jpeg", "gif", "bmp", "webp", "nc", "h5", "hdf5"}
_PICTURES = {"png", "jpg", "jpeg", "gif", "bmp", "webp"}
_VIRTUAL_DATASETS = {None, "VRTWarpedDataset"}
_VIRTUAL_BANDS = {None, "VRTSourcedRasterBand", "VRTWarpedRasterBand"}
_REFUSED_ELEMENTS = {
    "PixelFunctionType": "a pixel function",
    "PixelFunctionCode": "code",
    "DEMPath": "another file than its sources",
    "GeoLocTransformer": "another file than its sources",
    "ArraySource": "parts of arrays",
    "Group": "arrays",
    "ProcessingSteps": "a chain of algorithms",
    "PansharpeningOptions": "a chain of algorithms",
}
_SUBDATASET = re.compile(r'(?:NETCDF|HDF5):"?(?P<file>[^"]+?)"?:(?://)?[\w/ .-]+', re.IGNORECASE)
_VSI_STORES = {
    "/vsicurl/http://": "http://",
    "/vsicurl/https://": "https://",
    "/vsis3/": "s3://",
    "/vsigs/": "gs://",
    "/vsiaz/": "az://",
}


def is_virtual(uri: str) -> bool:
    """Whether a raster is opened as a virtual dataset: its name says so."""
    return uris.name_of(uri).lower().endswith(".vrt")


def files_of(uri: str) -> list[str]:
    """The files that GDAL reads besides a local raster, or behind a virtual one, as far as they can be found.

    What is wrong with a virtual dataset is for the check to say; here it has no further files.

    Args:
        uri: as in the config. In an archive there are none of interest: the archive counts as a whole.
    """
    if uris.container_of(uri) != uri:
        return []
    found = side_files(uri)
    try:
        for source in sources_of(uri) if is_virtual(uri) else ():
            found += [source, *side_files(source)]
    except (RvError, OSError):
        pass
    return list(dict.fromkeys(found))


def side_files(uri: str) -> list[str]:
    """The files beside a local raster that say more about it; an `.aux.xml` only if it holds more than statistics."""
    return [there for there, path in files_beside(uri, side_names) if _has_effect(path)]


def files_beside(uri: str, names_of: Callable[[str], Iterable[str]]) -> list[tuple[str, str]]:
    """Those of the files beside a local one that are there; none of a remote one, or of what is no URI.

    Args:
        uri: of the file, as in the config.
        names_of: from its name to those that may lie beside it, in lower case.

    Returns:
        (as the config would name it, local path) of each.
    """
    try:
        opened = uris.expand(uri)
        path = uris.local_path(opened) if uris.is_local(opened) else ""
    except (RvError, ValueError):
        return []
    folder, name = os.path.split(path)
    if not name:
        return []
    there = names_beside(folder or ".")
    prefix = uri[: len(uri) - len(uris.name_of(uri))]
    names = [actual for wanted in names_of(name) for actual in there.get(wanted, ())]
    return [(prefix + actual, os.path.join(folder, actual)) for actual in names]


def side_names(name: str) -> list[str]:
    """What files beside a raster may be called, in lower case."""
    lower = name.lower()
    stem, _, kind = lower.rpartition(".")
    stem, kind = (stem, kind) if stem else (lower, "")
    names = [f"{lower}.aux.xml", f"{lower}.msk", f"{stem}.wld", f"{stem}.tab", f"{stem}.aux"]
    if kind:
        names += [f"{stem}.{kind[0]}{kind[-1]}w", f"{stem}.{kind}w"]
    if kind not in _SELF_CONTAINED | {"vrt"}:
        names += [f"{stem}.hdr", f"{lower}.hdr", f"{stem}.prj", f"{stem}.clr"]
    return list(dict.fromkeys(wanted for wanted in names if wanted != lower))


def remote_side_files(uri: str) -> list[str]:
    """The files that may lie beside a remote raster and are worth a request; none for an address with a query."""
    if "?" in uri or uris.container_of(uri) != uri or is_virtual(uri):
        return []
    stem, dot, kind = uri.rpartition(".")
    kind = kind.lower() if dot and "/" not in kind else ""
    found = [f"{uri}.aux.xml", f"{uri}.msk"]
    if kind in _PICTURES:
        found += [f"{stem}.{kind[0]}{kind[-1]}w", f"{stem}.wld"]
    if kind and kind not in _SELF_CONTAINED:
        found += [f"{stem}.hdr"]
    return found


def has_more_than_statistics(text: bytes) -> bool:
    """Whether an `.aux.xml` changes how a raster is read; viewers write statistics and histograms there."""
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return True
    bands = [child for child in root if child.tag == "PAMRasterBand"]
    rest = [child for child in root if child.tag != "PAMRasterBand"]
    return any(not _is_statistics(child) for child in [*rest, *(part for band in bands for part in band)])


def _is_statistics(element: Any) -> bool:
    if element.tag == "Histograms":
        return True
    keys = [item.get("key") or "" for item in element]
    return element.tag == "Metadata" and not element.get("domain") and all(k.startswith("STATISTICS_") for k in keys)


def _has_effect(path: str) -> bool:
    if not path.lower().endswith(".aux.xml") or not os.path.isfile(path):
        return True
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_XML_BYTES + 1)
    except OSError:
        return True
    return has_more_than_statistics(text)


def names_beside(folder: str) -> dict[str, list[str]]:
    """Names in a folder by their lower case; listed again when the folder has changed."""
    try:
        return _listed(folder, os.stat(folder).st_mtime_ns)
    except OSError:
        return {}


@lru_cache(maxsize=64)
def _listed(folder: str, _changed_ns: int) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for name in sorted(os.listdir(folder)):
        names.setdefault(name.lower(), []).append(name)
    return names


def sources_of(uri: str) -> list[str]:
    """The files that a virtual dataset reads, also through others, each once.

    Raises:
        DataError: if it reads anything but plain rasters of its own store.
        StorageError: if it cannot be read.
    """
    found: dict[str, None] = {}
    waiting = [(uri, 0)]
    while waiting:
        virtual, depth = waiting.pop()
        if depth > _MAX_DEPTH or len(found) > _MAX_SOURCES:
            bound = f"{_MAX_DEPTH} deep" if depth > _MAX_DEPTH else f"{_MAX_SOURCES} files"
            raise _refused(uri, f"it names other files more than {bound}")
        for source in named_in(_xml_of(virtual), virtual):
            if source not in found and source != uri:
                found[source] = None
                if is_virtual(source):
                    waiting.append((source, depth + 1))
    return list(found)


def _xml_of(uri: str) -> bytes:
    path = uris.expand(uri)
    if uris.container_of(path) != path:
        raise _refused(uri, "it lies in an archive", fix="unpack the archive")
    if uris.is_local(path) and not os.path.isfile(uris.local_path(path)):
        raise _refused(uri, "there is no such file, or it is no plain file")
    info = by_uri.stat(uri)
    if info is not None and info.size > _MAX_XML_BYTES:
        raise _refused(uri, f"it is larger than {_MAX_XML_BYTES} bytes")
    return by_uri.read_bytes(uri)


def named_in(text: bytes, uri: str) -> list[str]:
    """The files that the text of a virtual dataset names, as URIs.

    Args:
        text: XML.
        uri: where it lies.

    Raises:
        DataError: if it is no such text, or reads anything but plain rasters of its own store.
    """
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as err:
        raise _refused(uri, f"it is no XML: {err}") from err
    if root.tag != "VRTDataset" or root.get("subClass") not in _VIRTUAL_DATASETS:
        raise _refused(uri, f"it is a {root.get('subClass') or root.tag}, and neither a mosaic nor a warped raster")
    return [_source_uri(element, uri) for element in _checked(root.iter(), uri)]


def _checked(elements: Iterable[Any], uri: str) -> Iterator[Any]:
    """The elements that name a source; anything that reads otherwise is refused."""
    for element in elements:
        tag, text = element.tag, (element.text or "").strip()
        if tag in _REFUSED_ELEMENTS:
            raise _refused(uri, f"it holds {_REFUSED_ELEMENTS[tag]} ({tag})")
        if tag == "VRTRasterBand" and element.get("subClass") not in _VIRTUAL_BANDS:
            raise _refused(
                uri, f"a band is a {element.get('subClass')}, which reads files that are no rasters or runs code"
            )
        if tag == "Metadata" and (element.get("domain") or "").upper() == "GEOLOCATION":
            raise _refused(uri, "its georeference is in other files (GEOLOCATION)")
        if tag.endswith(("SRS", "Projection")) and re.match(r"(?!https?://www\.opengis\.net/)(https?:|[/.<])", text):
            raise _refused(uri, f"its {tag} names a file or an address")
        if tag == "Option" and ("/vsi" in text or "://" in text):
            raise _refused(uri, "an option of it names a file or an address")
        if tag in ("SourceFilename", "SourceDataset"):
            yield element


def _source_uri(element: Any, uri: str) -> str:
    text = (element.text or "").strip()
    subdataset = _SUBDATASET.fullmatch(text)
    name = subdataset["file"] if subdataset else text
    scheme = next((prefix for prefix in _VSI_STORES if name.startswith(prefix)), "")
    if scheme:
        source = _VSI_STORES[scheme] + name.removeprefix(scheme)
        if uris.is_local(uris.expand(uri)) or _store_of(source) != _store_of(uris.expand(uri)):
            raise _refused(uri, f"it names {source}, which is in another store")
        return source
    if "://" in name or name.startswith("/vsi") or uris.problem_with(name):
        raise _refused(uri, f"it names {name[:200]!r}, which is no plain file beside it")
    if posixpath.isabs(name):
        if not uris.is_local(uris.expand(uri)):
            raise _refused(uri, f"it names {name}, a file of the machine that opens it")
        return name
    if element.get("relativeToVRT", "0") != "1":
        raise _refused(uri, f"it names {name!r} relative to the working folder", fix='write relativeToVRT="1"')
    return _beside(uri, name)


def _beside(uri: str, name: str) -> str:
    head = uri[: len(uri) - len(uris.name_of(uri))]
    if uris.is_local(uri) and not uris.scheme_of(uri):
        return os.path.normpath(os.path.join(head, name))
    base, parts = head.rstrip("/"), posixpath.normpath(name).split("/")
    while parts and parts[0] == "..":
        base, parts = base.rpartition("/")[0], parts[1:]
        if base.endswith(("/", ":")):
            raise _refused(uri, f"it names {name!r}, which is above its store")
    return "/".join([base, *parts])


def _store_of(uri: str) -> tuple[str, str]:
    parts = urlsplit(uri)
    return parts.scheme, parts.netloc


def _refused(uri: str, why: str, fix: str = "") -> DataError:
    fix = fix or "a virtual dataset may name plain rasters of its own store; make one with gdalbuildvrt, or a GeoTIFF"
    return DataError("this virtual dataset is not opened", where=uri, why=why, fix=fix)


def why_not_opened(reason: str, uri: str, path: str) -> tuple[str, str]:
    """Why GDAL has not opened a file, and what to do.

    Args:
        reason: what it says.
        uri: as in the config.
        path: what it was given.
    """
    reason = uris.conceal(reason, uri)
    if os.path.isfile(path):
        try:
            with open(path, "rb") as file:
                start = file.read(1024)
        except OSError as err:
            return str(err.strerror), ""
        if not start:
            return "the file is empty", ""
        if b"<VRTDataset" in start:
            return "it is a virtual dataset (VRT) by another name", "give it a name that ends in .vrt"
        if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<", b"{")):
            return "it is text and not pixels; services (WMS, WMTS, …) and other descriptions are not opened", ""
    if "not recognized as being in a supported" in reason:
        return "it is not a raster that GDAL can read, or of a format that rv does not open", ""
    return reason, ""
