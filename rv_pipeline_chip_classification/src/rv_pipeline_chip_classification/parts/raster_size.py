"""How large a raster is, from the first bytes of its file: a plan asks, and imports no GDAL.

GeoTIFF (TIFF 6.0, section 2; BigTIFF as libtiff writes it) and virtual datasets on this machine. Of any other file it
is not known.
"""

from __future__ import annotations

import os
import re
import struct
from functools import lru_cache
from typing import BinaryIO

from rv_core.errors import RvError
from rv_core.files import uris

_WIDTH, _HEIGHT = 256, 257
#: Type of a TIFF field -> how its value is packed.
_TYPES = {3: "H", 4: "I", 16: "Q"}
_MAX_FIELDS = 4096
_VIRTUAL = re.compile(rb"<VRTDataset[^>]*")
_SIZE = re.compile(rb'raster([XY])Size="(\d{1,9})"')


def raster_size(uri: str) -> tuple[int, int] | None:
    """Rows and columns of a raster; None where its first bytes do not say.

    Args:
        uri: as in a config. A remote file and one in an archive are not asked.
    """
    try:
        expanded = uris.expand(uri)
        if not uris.is_local(expanded) or uris.container_of(expanded) != expanded:
            return None
        path = uris.local_path(expanded)
        found = os.stat(path)
        return _size_of(path, found.st_size, found.st_mtime_ns)
    except (OSError, ValueError, RvError):
        return None  # whoever opens it says what is wrong


@lru_cache(maxsize=65_536)
def _size_of(path: str, size: int, mtime_ns: int) -> tuple[int, int] | None:
    with open(path, "rb") as file:
        start = file.read(16)
        if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _size_of_tiff(file, start)
        return _size_of_virtual(start + file.read(4096))


def _size_of_tiff(file: BinaryIO, start: bytes) -> tuple[int, int] | None:
    order = "<" if start[:2] == b"II" else ">"
    is_big = start[2:4] in (b"+\0", b"\0+")
    try:
        (offset,) = struct.unpack_from(f"{order}Q" if is_big else f"{order}I", start, 8 if is_big else 4)
        file.seek(offset)
        (count,) = struct.unpack(f"{order}Q", file.read(8)) if is_big else struct.unpack(f"{order}H", file.read(2))
        num_bytes, at = (20, 12) if is_big else (12, 8)
        fields = file.read(num_bytes * min(count, _MAX_FIELDS))
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
