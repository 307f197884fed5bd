"""How large a raster is, from the first bytes of its file: a plan asks, and imports no GDAL.

GeoTIFF (TIFF 6.0, section 2; BigTIFF as libtiff writes it) and virtual datasets, here or in a store that reads parts of
files. Of any other file it is not known.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterable
from functools import lru_cache

from rv_core.errors import RvError
from rv_core.files import by_uri, uris

_WIDTH, _HEIGHT = 256, 257
#: Type of a TIFF field -> how its value is packed.
_TYPES = {3: "H", 4: "I", 16: "Q"}
_MAX_FIELDS = 4096
_USUAL_BYTES = 1024
_VIRTUAL = re.compile(rb"<VRTDataset[^>]*")
_SIZE = re.compile(rb'raster([XY])Size="(\d{1,9})"')


#: What is read of a remote file first: a cloud-optimised one has all in it.
_START_BYTES = 16 << 10
_MAX_WORKERS = 32
#: URI -> size of remote files, as it was when it was first asked for. One that changes meanwhile has other parts than it
#: would be given anew, which cover it as well.
_remote: dict[str, tuple[int, int] | None] = {}


def raster_size(uri: str) -> tuple[int, int] | None:
    """Rows and columns of a raster; None where its first bytes do not say.

    Args:
        uri: as in a config. A file in an archive is not asked.

    Raises:
        StorageError: if the store of a remote file cannot be asked.
    """
    if _is_remote(uri):
        ask_for_sizes([uri])
        return _remote[uri]
    try:
        expanded = uris.expand(uri)
        if not uris.is_local(expanded) or uris.container_of(expanded) != expanded:
            return None
        path = uris.local_path(expanded)
        found = os.stat(path)
        return _size_of_local(path, found.st_size, found.st_mtime_ns)
    except (OSError, ValueError, RvError):
        return None  # whoever opens it says what is wrong


def ask_for_sizes(wanted: Iterable[str]) -> None:
    """Read what tells the sizes of remote rasters, of all at the same time, for `raster_size`.

    Raises:
        StorageError: if a store cannot be asked.
    """
    new = [uri for uri in dict.fromkeys(wanted) if uri not in _remote and _is_remote(uri)]
    starts = by_uri.read_starts(new, _START_BYTES) if new else {}
    if starts:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(_MAX_WORKERS, len(starts))) as pool:
            _remote.update(zip(starts, pool.map(_size_of_remote, *zip(*starts.items(), strict=True)), strict=True))
    _remote.update({uri: None for uri in new if uri not in starts})


def _is_remote(uri: str) -> bool:
    """Whether it is a file of a store that is not this machine, in no archive."""
    try:
        expanded = uris.expand(uri)
    except RvError:
        return False
    return not uris.is_local(expanded) and uris.container_of(expanded) == expanded


def _size_of_remote(uri: str, start: bytes) -> tuple[int, int] | None:
    return _size_in(start, lambda begin, end: by_uri.read_range(uri, begin, end) or b"")


@lru_cache(maxsize=65_536)
def _size_of_local(path: str, size: int, mtime_ns: int) -> tuple[int, int] | None:
    with open(path, "rb") as file:

        def read(start: int, end: int) -> bytes:
            file.seek(start)
            return file.read(end - start)

        return _size_in(file.read(_START_BYTES), read)


def _size_in(start: bytes, read: Callable[[int, int], bytes]) -> tuple[int, int] | None:
    """The size that a file tells.

    Args:
        start: its first bytes.
        read: gives others, from one to before another.
    """
    if start[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _size_of_virtual(start)

    def part(begin: int, num_bytes: int) -> bytes:
        is_there = begin + num_bytes <= len(start) or len(start) < _START_BYTES
        return start[begin : begin + num_bytes] if is_there else read(begin, begin + num_bytes)

    return _size_of_tiff(start, part)


def _size_of_tiff(start: bytes, part: Callable[[int, int], bytes]) -> tuple[int, int] | None:
    order = "<" if start[:2] == b"II" else ">"
    is_big = start[2:4] in (b"+\0", b"\0+")
    try:
        (offset,) = struct.unpack_from(f"{order}Q" if is_big else f"{order}I", start, 8 if is_big else 4)
        width = 8 if is_big else 2
        # A directory of so many bytes is the rule: its fields come with their number, in one request.
        head = part(offset, _USUAL_BYTES)
        (count,) = struct.unpack_from(f"{order}Q" if is_big else f"{order}H", head)
        num_bytes, at = (20, 12) if is_big else (12, 8)
        length = num_bytes * min(count, _MAX_FIELDS)
        fields = head[width : width + length] if width + length <= len(head) else part(offset + width, length)
        found = {}
        for begin in range(0, len(fields) - num_bytes + 1, num_bytes):
            tag, kind = struct.unpack_from(f"{order}HH", fields, begin)
            if tag in (_WIDTH, _HEIGHT) and kind in _TYPES:
                (found[tag],) = struct.unpack_from(f"{order}{_TYPES[kind]}", fields, begin + at)
    except (struct.error, OverflowError):
        return None
    return (found[_HEIGHT], found[_WIDTH]) if len(found) == 2 else None


def _size_of_virtual(text: bytes) -> tuple[int, int] | None:
    head = _VIRTUAL.search(text)
    found = dict(_SIZE.findall(head.group())) if head else {}
    return (int(found[b"Y"]), int(found[b"X"])) if len(found) == 2 else None
