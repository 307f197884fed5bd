"""GeoTIFFs of web servers and object stores, read by GDAL through `RemoteBytes`: opened together, and their blocks fetched before it asks.

GDAL's own reader asks for one piece after the other, tries nine names of files beside each, and follows a server to any
host. It still reads everything else: other formats and stores, files that have others beside them, and all where the
environment holds settings of GDAL for the network.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakKeyDictionary

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.abc import FileContainer
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from rv_core.errors import RvError, StorageError
from rv_core.files import by_uri, uris
from rv_pipeline_chip_classification.raster_files.dataset_files import remote_side_files
from rv_pipeline_chip_classification.raster_files.gdal_env import gdal_env
from rv_pipeline_chip_classification.raster_files.remote_bytes import HEAD_BYTES, RemoteBytes, Span

_SCHEMES = ("http", "https", "s3", "s3a", "gs", "gcs", "az")
_ENDINGS = (".tif", ".tiff", ".gtiff")
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SETTINGS_OF_GDAL = ("GDAL_HTTP_", "CPL_VSIL_CURL_", "VSI_CACHE", "GDAL_DISABLE_READDIR_ON_OPEN", "GDAL_INGESTED_BYTES")
_MAX_OPENED = 32

#: First row and column, rows, columns.
Box = tuple[int, int, int, int]


class _Held(threading.local):
    """What is open in a thread: the files of the `held_files` that are entered, the innermost last."""

    def __init__(self) -> None:
        self.stack: list[dict[str, RemoteBytes]] = []


_held = _Held()
_bytes_of: WeakKeyDictionary[Any, RemoteBytes] = WeakKeyDictionary()


@contextmanager
def held_files(file_uris: Sequence[str]) -> Iterator[Collection[str]]:
    """Open files for the time of the block, all at once: the header of each is fetched once, however often it is opened.

    Yields:
        Those that are read so; the others are left to GDAL.
    """
    wanted = [uri for uri in dict.fromkeys(file_uris) if _may_be_read(uri)]
    files = _opened(wanted) if wanted else {}
    _held.stack.append(files)
    try:
        yield files
    finally:
        with suppress(ValueError):  # closed by another thread
            _held.stack.remove(files)
        for file in files.values():
            file.close()


def _may_be_read(uri: str) -> bool:
    try:
        is_remote = uris.scheme_of(uris.expand(uri)) in _SCHEMES
    except RvError:
        return False
    is_tiff = uris.name_of(uri).lower().endswith(_ENDINGS)
    return is_remote and is_tiff and not any(name.startswith(_SETTINGS_OF_GDAL) for name in os.environ)


def _opened(wanted: Sequence[str]) -> dict[str, RemoteBytes]:
    """Those that can be read so, each asked for its first bytes, its size and the files beside it at the same time."""
    files = {}
    with ThreadPoolExecutor(min(_MAX_OPENED, 5 * len(wanted))) as pool:
        heads = [pool.submit(_answer, by_uri.read_range, uri, 0, HEAD_BYTES) for uri in wanted]
        parts = [pool.submit(_reads_parts, uri) for uri in wanted]
        infos = [pool.submit(_answer, by_uri.stat, uri) for uri in wanted]
        beside = [[pool.submit(_answer, by_uri.stat, side) for side in remote_side_files(uri)] for uri in wanted]
        for uri, asked, part, info, sides in zip(wanted, heads, parts, infos, beside, strict=True):
            head, size = asked.result(), getattr(info.result(), "size", -1)
            is_whole = head is not None and len(head) == min(size, HEAD_BYTES) and part.result()
            if is_whole and head[:4] in _MAGIC and not any(side.result() for side in sides):
                files[uri] = RemoteBytes(uri, head, size, len(wanted))
    return files


def _reads_parts(uri: str) -> bool:
    """Whether more than the beginning of a file can be asked for: object stores know ranges, web servers may not."""
    return not uris.expand(uri).startswith("http") or bool(_answer(by_uri.read_range, uri, 1, 2))


def _answer(question: Callable[..., Any], *asked: Any) -> Any:
    """What a store says; None where it fails, for GDAL's reader says in its own words what is wrong."""
    try:
        return question(*asked)
    except RvError:
        return None


def open_held(uri: str) -> Any:
    """A rasterio dataset of a file that is held; None where GDAL has to read it itself."""
    file = next((files[uri] for files in reversed(_held.stack) if uri in files), None)
    if file is None:
        return None
    try:
        with warnings.catch_warnings(), gdal_env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            dataset = rasterio.open(f"remote/{uris.name_of(uri)}", driver="GTiff", opener=_Container(file))
    except (RasterioError, CPLE_BaseError):
        return None
    if dataset.transform == rasterio.Affine.identity():
        dataset.close()
        return None  # a file beside it may say where it lies
    _bytes_of[dataset] = file
    return dataset


def failure_of(dataset: Any, error: Exception) -> Exception:
    """Why a dataset could not be read: what its server said, else the error of GDAL."""
    file = _bytes_of.get(dataset)
    return error if file is None or file.failure is None else file.failure


def announce(dataset: Any, bands: Sequence[int], windows: Iterable[Box]) -> None:
    """Have the blocks of windows fetched, in the order in which they will be read; for a file that is not held nothing.

    Args:
        dataset: an open dataset.
        bands: 1-based.
        windows: inside the file.
    """
    file = _bytes_of.get(dataset)
    if file is not None:
        file.announce(_spans(dataset, bands, windows))


def want(dataset: Any, bands: Sequence[int], window: Box) -> None:
    """Have the blocks of a window fetched at the same time, where they were not announced."""
    file = _bytes_of.get(dataset)
    if file is not None:
        file.want(_spans(dataset, bands, [window]))


def _spans(dataset: Any, bands: Sequence[int], windows: Iterable[Box]) -> Iterator[Span]:
    """First byte and end of each block, once."""
    rows, cols = dataset.block_shapes[0]
    planes = list(dict.fromkeys(bands)) if dataset.interleaving == rasterio.enums.Interleaving.band else [bands[0]]
    seen: set[tuple[int, int, int]] = set()
    for row_off, col_off, height, width in windows:
        for band in planes:
            for row in range(row_off // rows, -(-(row_off + height) // rows)):
                for col in range(col_off // cols, -(-(col_off + width) // cols)):
                    if (band, row, col) in seen:
                        continue
                    seen.add((band, row, col))
                    begin, size = (
                        dataset.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", bidx=band)
                        for what in ("OFFSET", "SIZE")
                    )
                    if begin and size:
                        yield int(begin), int(begin) + int(size)


class _Container(FileContainer):
    """The one file of a held address, as GDAL asks for it."""

    def __init__(self, file: RemoteBytes) -> None:
        self._file = file

    def open(self, path: str, mode: str = "r", **kwds: Any) -> _Cursor:
        """The file, from its first byte on."""
        return _Cursor(self._file)

    def isfile(self, path: str) -> bool:
        """GDAL knows the file, and is told of no other."""
        return False

    def isdir(self, path: str) -> bool:
        """There is no folder."""
        return False

    def ls(self, path: str) -> list[str]:
        """There is nothing else."""
        return []

    def mtime(self, path: str) -> int:
        """Not known."""
        return 0

    def rm(self, path: str) -> None:
        """Nothing is removed."""

    def size(self, path: str) -> int:
        """In bytes."""
        return self._file.size


class _Cursor(io.RawIOBase):
    """A place in a file. What cannot be read is no bytes for GDAL, which then fails; `RemoteBytes.failure` says why."""

    def __init__(self, file: RemoteBytes) -> None:
        super().__init__()
        self._file, self._place = file, 0

    def read(self, size: int = -1) -> bytes:
        count = self._file.size - self._place if size < 0 else size
        try:
            data = self._file.read(self._place, count) if count > 0 else b""
        except StorageError:
            return b""
        self._place += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._file.size}[whence]
        return self._place

    def tell(self) -> int:
        return self._place
