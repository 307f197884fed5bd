"""Reading a raster from top to bottom so that each of its blocks is read once.

Nothing here holds more than a strip of blocks and the rows asked for: memory depends on the width of a raster, never
on its height. Who asks for some columns at a time can have it depend on neither: what is more than a bound then lies in
a temporary file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rv_pipeline_chip_classification.scenes.grid import Grid, Pixels
from rv_pipeline_chip_classification.scenes.row_spool import RowSpool
from rv_pipeline_chip_classification.scenes.windows import Window

_log = logging.getLogger(__name__)

#: Bytes of one read. Large enough that calls cost nothing, small enough to stay in GDAL's cache with all its bands.
STRIP_BYTES = 8 * 1024 * 1024
#: Rows that are read by columns and take more lie in a file: a row of blocks of 512 px of 4,096 px with four channels
#: of 16 bits.
HELD_BYTES = 2 * STRIP_BYTES


class PixelSource(Protocol):
    """What can be read in strips: a file, or labels warped onto a scene's grid. Attributes: as of `RasterFile`."""

    grid: Grid
    dtype: np.dtype[Any]
    num_channels: int
    block_shape: tuple[int, int]
    file_pixel_bytes: int

    def read(self, window: Window) -> Pixels:
        """The pixels of a window inside the grid."""
        ...


@runtime_checkable
class Announced(Protocol):
    """A source that wants to know what will be read."""

    def announce(self, windows: Iterable[Window]) -> None:
        """Which windows will be read next, in order."""
        ...


class Rows(Protocol):
    """What gives rows from top to bottom: see `RowReader.read`."""

    def read(self, row_off: int, height: int, cols: range | None = None) -> Pixels:
        """Rows of a box, from `row_off`, which never goes back; of some of its columns, or all."""
        ...


def strips_over(box: Window, block_shape: tuple[int, int], pixel_bytes: int) -> Iterator[Window]:
    """Boxes that tile `box` row by row and cut no block: some block rows, or parts of one block row if it is wide.

    Args:
        box: what to cover.
        block_shape: rows and columns of a block; blocks count from row 0, column 0.
        pixel_bytes: bytes of a pixel of all bands, to bound a strip by `STRIP_BYTES` (but for a single block).
    """
    rows = _rows_at_once(box.width, block_shape[0], pixel_bytes)
    cols = _cols_at_once(box.width, block_shape, pixel_bytes)
    for row in range(box.row_off // rows * rows, box.row_end, rows):
        for col in range(box.col_off // cols * cols, box.col_end, cols):
            yield Window(row, col, rows, cols).intersection(box)


def _rows_at_once(width: int, block_rows: int, pixel_bytes: int) -> int:
    return max(1, STRIP_BYTES // max(1, width * pixel_bytes * block_rows)) * block_rows


def _cols_at_once(width: int, block_shape: tuple[int, int], pixel_bytes: int) -> int:
    block_rows, block_cols = block_shape
    num_blocks = max(1, STRIP_BYTES // (block_rows * block_cols * pixel_bytes))
    return min(num_blocks, width // block_cols + 2) * block_cols


def joined_in_rows(boxes: Iterable[Window], pixel_bytes: int) -> list[Window]:
    """Boxes that follow each other and lie side by side as one, of `STRIP_BYTES` at most.

    Args:
        boxes: row by row, from left to right.
        pixel_bytes: what a pixel counts for.
    """
    joined: list[Window] = []
    for box in boxes:
        last = joined[-1] if joined else Window(0, 0, 0, 0)
        is_beside = (box.row_off, box.height, box.col_off) == (last.row_off, last.height, last.col_end)
        if is_beside and last.height * (last.width + box.width) * pixel_bytes <= STRIP_BYTES:
            joined[-1] = last._replace(width=last.width + box.width)
        else:
            joined.append(box)
    return joined


class RowReader:
    """Rows of a box, asked for from top to bottom; rows that were read and are needed again are kept.

    Args:
        source: what to read.
        box: the columns and rows that will be asked for, inside the source's grid.
        held_bytes: rows that take more are kept in a temporary file; None keeps all in memory, which is better where
            whole rows are asked for.
    """

    def __init__(self, source: PixelSource, box: Window, *, held_bytes: int | None = None) -> None:
        self._source, self._box, self._held_bytes = source, box, held_bytes
        self._begin = self._end = box.row_off
        self._is_announced = False
        self._held: Pixels | RowSpool = Pixels(np.empty((0, box.width, source.num_channels), source.dtype), None)

    def read(self, row_off: int, height: int, cols: range | None = None) -> Pixels:
        """Rows `row_off .. row_off + height - 1` of the box: arrays that later calls leave alone.

        Args:
            row_off: first row; never before that of the last call.
            height: how many rows; all of them in the box.
            cols: which columns, all of them in the box; None for its own.
        """
        if not self._is_announced and isinstance(self._source, Announced):
            strips = strips_over(self._box, self._source.block_shape, self._source.file_pixel_bytes)
            self._source.announce(list(strips))
        self._is_announced = True
        if row_off + height > self._end:
            self._refill(row_off, row_off + height)
        first = self._box.col_off
        wanted = slice(0, self._box.width) if cols is None else slice(cols.start - first, cols.stop - first)
        return self._part(row_off - self._begin, height, wanted)

    def close(self) -> None:
        """Forget all rows; none can be asked for any more."""
        if isinstance(self._held, RowSpool):
            self._held.close()
        self._held = Pixels(np.empty((0, self._box.width, 0), self._source.dtype), None)

    def _part(self, row: int, height: int, cols: slice) -> Pixels:
        rows = slice(row, row + height)
        if isinstance(self._held, RowSpool):
            return self._held.read(rows, cols)
        values, valid = self._held
        return Pixels(values[rows, cols], None if valid is None else valid[rows, cols])

    def _refill(self, row_off: int, row_end: int) -> None:
        row, block_rows = max(row_off, self._end), self._source.block_shape[0]
        ahead = _rows_at_once(self._box.width, block_rows, self._source.file_pixel_bytes)
        stop = row
        while stop < row_end:
            stop = min(stop // block_rows * block_rows + ahead, self._box.row_end)
        num_kept = max(0, self._end - row_off)
        spool = self._spool(num_kept + stop - row)
        if spool is None:
            kept = _copied(self._part(row_off - self._begin, num_kept, slice(0, self._box.width)))
            # A row of blocks of a wide raster is large: the one before goes first.
            self.close()
            self._held = kept
            self._held = self._read_below(kept, Window(row, self._box.col_off, stop - row, self._box.width))
        else:
            self._fill(spool, row_off - self._begin, num_kept, row, stop)
            self.close()
            self._held = spool
        self._begin, self._end = row_off, stop

    def _spool(self, num_rows: int) -> RowSpool | None:
        """A file for so many rows, if that is where they belong and there is room."""
        shape = (num_rows, self._box.width, self._source.num_channels)
        size = int(np.prod(shape, dtype=np.int64)) * self._source.dtype.itemsize
        if self._held_bytes is None or size <= self._held_bytes:
            return None
        try:
            return RowSpool(shape, self._source.dtype)
        except OSError as err:
            why = f"there is no room for a temporary file (TMPDIR): {err.strerror}"
            _log.warning("%.0f MiB of pixels are held in memory: %s", size / 2**20, why)
            # And not once more for every row of blocks.
            self._held_bytes = None
            return None

    def _fill(self, spool: RowSpool, first: int, num_kept: int, row: int, stop: int) -> None:
        """The rows from `first` of those that are held, and below them those from `row` to before `stop`."""
        box, source = Window(row, self._box.col_off, stop - row, self._box.width), self._source
        # Pixels can be larger than in the file: as numbers with a scale, or with a channel taken twice.
        pixel_bytes = max(source.file_pixel_bytes, source.num_channels * source.dtype.itemsize)
        parts = list(strips_over(box, source.block_shape, pixel_bytes))
        width = max(part.width for part in parts)
        for col in range(0, box.width if num_kept else 0, width):
            spool.write(0, col, self._part(first, num_kept, slice(col, min(col + width, box.width))))
        for part in parts:
            spool.write(num_kept + part.row_off - row, part.col_off - box.col_off, source.read(part))

    def _read_below(self, kept: Pixels, box: Window) -> Pixels:
        """The pixels of a box below those that are kept; of the new ones there is no second copy."""
        parts = list(strips_over(box, self._source.block_shape, self._source.file_pixel_bytes))
        num_kept = len(kept.values)
        if len(parts) == 1 and not num_kept:
            return self._source.read(box)
        values = np.empty((num_kept + box.height, box.width, self._source.num_channels), self._source.dtype)
        values[:num_kept] = kept.values
        valid = None if kept.valid is None else _with_rows(kept.valid, box.height)
        for part in parts:
            (rows, cols), pixels = slices_of(part, box), self._source.read(part)
            place = slice(rows.start + num_kept, rows.stop + num_kept), cols
            values[place] = pixels.values
            if pixels.valid is not None:
                valid = np.ones(values.shape[:2], np.bool_) if valid is None else valid
                valid[place] = pixels.valid
        return Pixels(values, None if valid is None or valid.all() else valid)


def _with_rows(valid: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """A mask with so many valid rows more."""
    return np.concatenate([valid, np.ones((count, valid.shape[1]), np.bool_)])


def _copied(pixels: Pixels) -> Pixels:
    """Pixels of their own: a view would keep all that it is a part of."""
    return Pixels(pixels.values.copy(), None if pixels.valid is None else pixels.valid.copy())


def slices_of(part: Window, box: Window) -> tuple[slice, slice]:
    """Where the pixels of `part` lie in an array that holds `box`."""
    row, col = part.row_off - box.row_off, part.col_off - box.col_off
    return slice(row, row + part.height), slice(col, col + part.width)
