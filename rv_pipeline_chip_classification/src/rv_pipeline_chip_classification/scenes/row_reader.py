"""Reading a raster from top to bottom so that each of its blocks is read once.

Nothing here holds more than a strip of blocks and the rows asked for: memory depends on the width of a raster, never
on its height.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

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
        pieces = [_part_of(self._held, row_off - self._begin, self._end - row_off)] if row_off < self._end else []
        row, block_rows = max(row_off, self._end), self._source.block_shape[0]
        ahead = _rows_at_once(self._box.width, block_rows, self._source.file_pixel_bytes)
        while row < row_end:
            stop = min(row // block_rows * block_rows + ahead, self._box.row_end)
            pieces.append(self._read_box(Window(row, self._box.col_off, stop - row, self._box.width)))
            row = stop
        self._begin, self._end, self._held = row_off, row, stack_rows(pieces)

    def _read_box(self, box: Window) -> Pixels:
        parts = list(strips_over(box, self._source.block_shape, self._source.file_pixel_bytes))
        if len(parts) == 1:
            return self._source.read(box)
        values = np.empty((box.height, box.width, self._source.num_channels), self._source.dtype)
        valid = np.ones((box.height, box.width), np.bool_)
        for part in parts:
            place, pixels = slices_of(part, box), self._source.read(part)
            values[place] = pixels.values
            if pixels.valid is not None:
                valid[place] = pixels.valid
        return Pixels(values, None if valid.all() else valid)


def slices_of(part: Window, box: Window) -> tuple[slice, slice]:
    """Where the pixels of `part` lie in an array that holds `box`."""
    row, col = part.row_off - box.row_off, part.col_off - box.col_off
    return slice(row, row + part.height), slice(col, col + part.width)


def _part_of(pixels: Pixels, row: int, height: int) -> Pixels:
    part = slice(row, row + height)
    return Pixels(pixels.values[part], None if pixels.valid is None else pixels.valid[part])


def stack_rows(pieces: Sequence[Pixels]) -> Pixels:
    """Pieces of the same width, one below the other."""
    if len(pieces) == 1:
        return pieces[0]
    values = np.concatenate([piece.values for piece in pieces])
    if all(piece.valid is None for piece in pieces):
        return Pixels(values, None)
    masks = [np.ones(piece.values.shape[:2], np.bool_) if piece.valid is None else piece.valid for piece in pieces]
    return Pixels(values, np.concatenate(masks))
