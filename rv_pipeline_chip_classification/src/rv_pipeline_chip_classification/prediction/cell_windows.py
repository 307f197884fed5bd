"""The windows that are predicted, and their chips: a grid over an extent, or boxes of any size.

Nothing here holds more than one batch of chips and the rows that it needs, however large the scene.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from rv_pipeline_chip_classification.scenes.grid import Pixels
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.scenes.windows import Window, WindowArray, grid_shape

#: How many chips to read at once, given the pixels of each.
BatchSizeOf = Callable[[int], int]


class CellChips(NamedTuple):
    """The chips of some cells that follow each other.

    Args:
        first: number of the first cell.
        windows: (B, 4) int64, all of one size.
        chips: (B, H, W, C) in the scene's dtype; what is outside of the extent is 0.
        valid: (B, H, W) bool, or None where every pixel is valid; what is outside of the extent is not.
    """

    first: int
    windows: WindowArray
    chips: NDArray[Any]
    valid: NDArray[np.bool_] | None


@dataclass(frozen=True)
class CellGrid:
    """Cells row by row over an extent, from its first pixel; the last ones of a row or column may overflow it.

    Where the size is a multiple of the step, every cell of the grid without overlaps is among them.

    Args:
        extent: what is covered.
        size_px: side of a cell.
        stride_px: step between cells; below `size_px` they overlap, and each is a cell of its own.
    """

    extent: Window
    size_px: int
    stride_px: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        rows, cols = grid_shape(self.extent, size_px=self.size_px, stride_px=self.stride_px)
        steps, rest = divmod(self.size_px, self.stride_px)
        if rest or steps < 2 or not rows or not cols:
            return rows, cols
        # Windows over the last pixels need not begin where the last cell without overlaps does, which is labelled.
        whole_rows, whole_cols = grid_shape(self.extent, size_px=self.size_px, stride_px=self.size_px)
        return max(rows, (whole_rows - 1) * steps + 1), max(cols, (whole_cols - 1) * steps + 1)

    @property
    def num_cells(self) -> int:
        """How many cells there are."""
        return self.shape[0] * self.shape[1]

    def windows(self, first: int, stop: int) -> WindowArray:
        """The windows of the cells from number `first` to before `stop`: (N, 4) int64."""
        rows, cols = np.divmod(np.arange(first, stop, dtype=np.int64), max(1, self.shape[1]))
        windows = np.full((stop - first, 4), self.size_px, np.int64)
        windows[:, 0] = self.extent.row_off + rows * self.stride_px
        windows[:, 1] = self.extent.col_off + cols * self.stride_px
        return windows

    def iter_chips(self, raster: SceneRaster, batch_size_of: BatchSizeOf) -> Iterator[CellChips]:
        """The chips of all cells in batches, in order; each block of the raster is read once.

        Args:
            raster: a raster with this extent.
            batch_size_of: chips per batch; the last one may have fewer.
        """
        num_cells, num_cols, size_px = self.num_cells, self.shape[1], self.size_px
        batch_size = batch_size_of(size_px**2)
        rows = raster.rows(self.extent) if num_cells else None
        for first in range(0, num_cells if rows is not None else 0, batch_size):
            stop = min(first + batch_size, num_cells)
            chips = np.zeros((stop - first, size_px, size_px, raster.num_channels), raster.dtype)
            valid = np.zeros(chips.shape[:3], np.bool_)
            for row in range(first // num_cols, (stop - 1) // num_cols + 1):
                begin, end = max(first, row * num_cols), min(stop, (row + 1) * num_cols)
                top = self.extent.row_off + row * self.stride_px
                pixels = rows.read(top, min(size_px, self.extent.row_end - top))  # type: ignore[union-attr]
                place = slice(begin - first, end - first)
                self._cut_row(pixels, begin - row * num_cols, chips[place], valid[place])
            yield CellChips(first, self.windows(first, stop), chips, None if valid.all() else valid)

    def _cut_row(self, pixels: Pixels, first_col: int, chips: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Fill chips of one row of cells, from the cell in column `first_col` on."""
        height, width = pixels.values.shape[:2]
        num_whole = max(0, (width - self.size_px) // self.stride_px + 1 - first_col)
        for index in range(min(num_whole, len(chips)), len(chips)):
            left = (first_col + index) * self.stride_px
            part = slice(left, left + self.size_px)
            chips[index, :height, : width - left] = pixels.values[:, part]
            valid[index, :height, : width - left] = True if pixels.valid is None else pixels.valid[:, part]
        num_whole = min(num_whole, len(chips))
        if num_whole:
            chips[:num_whole, :height] = self._boxes(pixels.values, first_col, num_whole)
            has_mask = pixels.valid is not None
            valid[:num_whole, :height] = self._boxes(pixels.valid, first_col, num_whole) if has_mask else True

    def _boxes(self, values: Any, first_col: int, count: int) -> NDArray[Any]:
        """Cells beside each other as a view: (H, W[, C]) -> (count, H, size_px[, C])."""
        boxes = sliding_window_view(values, self.size_px, axis=1)[:, first_col * self.stride_px :: self.stride_px]
        boxes = np.moveaxis(boxes[:, :count], 0, 1)
        return np.moveaxis(boxes, -1, 2)


@dataclass(frozen=True)
class CellList:
    """Cells anywhere, each as large as it is.

    Args:
        all_windows: (N, 4) int64, by ascending `row_off`.
    """

    all_windows: WindowArray

    @property
    def num_cells(self) -> int:
        """How many cells there are."""
        return len(self.all_windows)

    def iter_chips(self, raster: SceneRaster, batch_size_of: BatchSizeOf) -> Iterator[CellChips]:
        """The chips of all cells in order; a batch ends where the size changes.

        Args:
            raster: where they lie.
            batch_size_of: chips per batch at most.
        """
        sizes = self.all_windows[:, 2:]
        changes = np.flatnonzero((sizes[1:] != sizes[:-1]).any(axis=1)) + 1
        bounds = [0, *changes.tolist(), self.num_cells]
        for begin, end in pairwise(bounds):
            batch_size = batch_size_of(int(sizes[begin].prod())) if end > begin else 1
            for first in range(begin, end, batch_size):
                yield self._read(raster, first, min(first + batch_size, end))

    def _read(self, raster: SceneRaster, first: int, stop: int) -> CellChips:
        windows = self.all_windows[first:stop]
        pieces = [raster.read(Window(*window)) for window in windows.tolist()]
        chips = np.stack([pixels.values for pixels in pieces])
        if all(pixels.valid is None for pixels in pieces):
            return CellChips(first, windows, chips, None)
        shape = chips.shape[1:3]
        valid = [np.ones(shape, np.bool_) if pixels.valid is None else pixels.valid for pixels in pieces]
        return CellChips(first, windows, chips, np.stack(valid))
