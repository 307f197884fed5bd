"""Rows of pixels in a temporary file, for a raster so wide that holding some of its rows would take much memory.

Such files are gone with the process, and mostly before the system writes them to a disk.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rv_core.errors import DataError
from rv_pipeline_chip_classification.scenes.grid import Pixels


class _Plane:
    """An array (rows, width, channels) in a file without a name, written and read in boxes."""

    def __init__(self, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
        self._shape, self._dtype = shape, dtype
        self._row_bytes = shape[1] * shape[2] * dtype.itemsize
        self._file = tempfile.TemporaryFile(prefix="rv-rows-", buffering=0)  # noqa: SIM115 - closed below
        # Whoever stops in the middle of a raster forgets it; the room comes back all the same.
        self.close = weakref.finalize(self, self._file.close)
        _reserve(self._file.fileno(), shape[0] * self._row_bytes)

    def write(self, row: int, col: int, box: NDArray[Any]) -> None:
        box = np.ascontiguousarray(box, self._dtype)
        # Rows that are as wide as the file lie one after the other.
        for index, part in enumerate([box] if box.shape[1] == self._shape[1] else box):
            data = part.reshape(-1).view(np.uint8)
            self._seek(row + index, col)
            if self._file.write(data) != data.size:
                raise _failed("written", "the disk may be full")

    def read(self, rows: slice, cols: slice) -> NDArray[Any]:
        values = np.empty((rows.stop - rows.start, cols.stop - cols.start, self._shape[2]), self._dtype)
        for index, part in enumerate([values] if values.shape[1] == self._shape[1] else values):
            data = part.reshape(-1).view(np.uint8)
            self._seek(rows.start + index, cols.start)
            if self._file.readinto(data) != data.size:
                raise _failed("read", "it ends too early")
        return values

    def _seek(self, row: int, col: int) -> None:
        self._file.seek(row * self._row_bytes + col * self._shape[2] * self._dtype.itemsize)


class RowSpool:
    """Rows of a box of a raster in a temporary file. Rows and columns count from its first.

    Args:
        shape: rows, columns and channels.
        dtype: of the values.

    Raises:
        OSError: if there is no room for the file.
    """

    def __init__(self, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
        self._shape = shape
        self._values = _Plane(shape, dtype)
        self._valid: _Plane | None = None

    def write(self, row: int, col: int, pixels: Pixels) -> None:
        """Put pixels where their first one is at `row`, `col`.

        Raises:
            DataError: if the file cannot be written.
        """
        try:
            self._values.write(row, col, pixels.values)
            if pixels.valid is not None:
                self._mask().write(row, col, _invalid(pixels.valid))
        except (OSError, ValueError) as err:
            raise _failed("written", str(err)) from err

    def read(self, rows: slice, cols: slice) -> Pixels:
        """The pixels of a box, in arrays of their own.

        Raises:
            DataError: if the file cannot be read.
        """
        try:
            values = self._values.read(rows, cols)
            invalid = None if self._valid is None else self._valid.read(rows, cols)[..., 0]
        except OSError as err:
            raise _failed("read", str(err)) from err
        return Pixels(values, ~invalid if invalid is not None and invalid.any() else None)

    def _mask(self) -> _Plane:
        """Which pixels are not valid: a file of zeros says that all are."""
        if self._valid is None:
            self._valid = _Plane((*self._shape[:2], 1), np.dtype(np.bool_))
        return self._valid

    def close(self) -> None:
        """Give the room back."""
        for plane in filter(None, (self._values, self._valid)):
            plane.close()


def _invalid(valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return ~valid[..., None]


def _reserve(descriptor: int, size: int) -> None:
    """Room for a file, or an error now and not in the middle; what is not written reads as zero."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    os.ftruncate(descriptor, size)


def _failed(done: str, why: str) -> DataError:
    return DataError(
        f"a temporary file of pixels cannot be {done}",
        where=tempfile.gettempdir(),
        why=why,
        fix="make room there, or let TMPDIR name a folder with more",
    )
