"""Reading a raster from top to bottom so that each of its blocks is read once.

Nothing here holds more than a strip of blocks and the rows asked for: memory depends on the width of a raster, never
on its height.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rv_pipeline_chip_classification.scenes.grid import Grid, Pixels
from rv_pipeline_chip_classification.scenes.windows import Window

#: Bytes of one read. Large enough that calls cost nothing, small enough to stay in GDAL's cache with all its bands.
STRIP_BYTES = 8 * 1024 * 1024


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


class Rows(Protocol):
    """What gives rows from top to bottom: see `RowReader.read`."""

    def read(self, row_off: int, height: int) -> Pixels:
        """Rows of a box, from `row_off`, which never goes back."""
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


class RowReader:
    """Rows of a box, asked for from top to bottom; rows that were read and are needed again are kept.

    Args:
        source: what to read.
        box: the columns and rows that will be asked for, inside the source's grid.
    """

    def __init__(self, source: PixelSource, box: Window) -> None:
        self._source, self._box = source, box
        self._begin = self._end = box.row_off
        self._held = Pixels(np.empty((0, box.width, source.num_channels), source.dtype), None)

    def read(self, row_off: int, height: int) -> Pixels:
        """Rows `row_off .. row_off + height - 1` of the box: views that later calls leave alone.

        Args:
            row_off: first row; never before that of the last call.
            height: how many rows; all of them in the box.
        """
        if row_off + height > self._end:
            self._refill(row_off, row_off + height)
        return _part_of(self._held, row_off - self._begin, height)

    def _refill(self, row_off: int, row_end: int) -> None:
        row, block_rows = max(row_off, self._end), self._source.block_shape[0]
        ahead = _rows_at_once(self._box.width, block_rows, self._source.file_pixel_bytes)
        stop = row
        while stop < row_end:
            stop = min(stop // block_rows * block_rows + ahead, self._box.row_end)
        kept = _copied(_part_of(self._held, row_off - self._begin, max(0, self._end - row_off)))
        # A row of blocks of a wide raster is large: the one before goes first.
        self._held = kept
        self._held = self._read_below(kept, Window(row, self._box.col_off, stop - row, self._box.width))
        self._begin, self._end = row_off, stop

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


def _part_of(pixels: Pixels, row: int, height: int) -> Pixels:
    part = slice(row, row + height)
    return Pixels(pixels.values[part], None if pixels.valid is None else pixels.valid[part])
