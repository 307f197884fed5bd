"""The windows that are predicted, and their chips: a grid over an extent, or boxes of any size.

Nothing here holds more than one batch of chips and some of the rows that it needs, however large the scene.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from rv_pipeline_chip_classification.parts.scene_parts import Part
from rv_pipeline_chip_classification.scenes.grid import Pixels
from rv_pipeline_chip_classification.scenes.row_reader import Rows, slices_of
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.scenes.windows import (
    Window,
    WindowArray,
    bounding_window,
    expanded_windows,
    grid_shape,
)

#: A batch on a CPU: larger ones leave its caches and are no faster, and small scenes should still fill all cores.
_CPU_BATCH_SIZE, _CPU_BATCH_PIXELS = 64, 64 * 64 * 64
#: Above it the parts of a scene would no longer be equal.
_MAX_STEP_OF_PARTS = 1024
#: How many chips to read at once, given the pixels of each.
BatchSizeOf = Callable[[int], int]


class CellChips(NamedTuple):
    """The chips of some cells that follow each other.

    Args:
        first: number of the first cell.
        windows: (B, 4) int64, all of one size.
        chips: (B, H, W, C) in the scene's dtype, with context around the cells; what is outside of the extent is 0.
        valid: (B, H, W) bool, or None where every pixel is valid; what is outside of the extent is not.
        is_scored: (B,) bool, which of them are scored; None for all.
        valid_fractions: (B,) float64, what is told of each as its share of valid pixels; None for that of the cell.
    """

    first: int
    windows: WindowArray
    chips: NDArray[Any]
    valid: NDArray[np.bool_] | None
    is_scored: NDArray[np.bool_] | None = None
    valid_fractions: NDArray[np.float64] | None = None


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

    @property
    def num_pixels(self) -> int:
        """Pixels of all cells together; those that overlap count in each."""
        return self.num_cells * self.size_px**2

    def windows(self, first: int, stop: int) -> WindowArray:
        """The windows of the cells from number `first` to before `stop`: (N, 4) int64."""
        rows, cols = np.divmod(np.arange(first, stop, dtype=np.int64), max(1, self.shape[1]))
        windows = np.full((stop - first, 4), self.size_px, np.int64)
        windows[:, 0] = self.extent.row_off + rows * self.stride_px
        windows[:, 1] = self.extent.col_off + cols * self.stride_px
        return windows

    def iter_chips(
        self, raster: SceneRaster, batch_size_of: BatchSizeOf, context_px: int = 0, *, cells: range | None = None
    ) -> Iterator[CellChips]:
        """The chips of cells in batches, in order; each block of the raster is read once.

        Args:
            raster: a raster with this extent.
            batch_size_of: chips per batch; the last one may have fewer.
            context_px: pixels of a chip on every side of its cell.
            cells: which cells; None for all.
        """
        cells = range(self.num_cells) if cells is None else cells
        num_cols, width = self.shape[1], self.size_px + 2 * context_px
        batch_size = batch_size_of(width**2)
        rows = raster.rows(self.extent, by_columns=True) if len(cells) else None
        for first in range(cells.start, cells.stop if rows is not None else cells.start, batch_size):
            stop = min(first + batch_size, cells.stop)
            chips = np.zeros((stop - first, width, width, raster.num_channels), raster.dtype)
            valid = np.zeros(chips.shape[:3], np.bool_)
            for row in range(first // num_cols, (stop - 1) // num_cols + 1):
                begin, end = max(first, row * num_cols), min(stop, (row + 1) * num_cols)
                top = self.extent.row_off + row * self.stride_px - context_px
                above = max(0, self.extent.row_off - top)
                height = min(width, self.extent.row_end - top) - above
                first_left = (begin - row * num_cols) * self.stride_px - context_px
                cols = self._columns(first_left, first_left + (end - begin - 1) * self.stride_px + width)
                pixels = rows.read(top + above, height, cols)  # type: ignore[union-attr]
                place = slice(begin - first, end - first), slice(above, above + height)
                _cut_row(pixels, min(first_left, 0), self.stride_px, chips[place], valid[place])
                del pixels  # or what is read next is held beside it
            yield CellChips(first, self.windows(first, stop), chips, None if valid.all() else valid)

    def _columns(self, left: int, right: int) -> range:
        """Those columns of the extent, as the raster counts them; both count from its first."""
        begin = self.extent.col_off
        return range(begin + max(0, left), begin + min(right, self.extent.width))


class GridPart(NamedTuple):
    """Some of the cells of a grid that follow each other.

    Args:
        grid: the grid.
        cells: their numbers.
    """

    grid: CellGrid
    cells: range

    @property
    def num_cells(self) -> int:
        """How many cells there are."""
        return len(self.cells)

    @property
    def num_pixels(self) -> int:
        """Pixels of all cells together; those that overlap count in each."""
        return self.num_cells * self.grid.size_px**2

    def iter_chips(self, raster: SceneRaster, batch_size_of: BatchSizeOf, context_px: int = 0) -> Iterator[CellChips]:
        """Their chips in order; pixels around them are read beyond them."""
        return self.grid.iter_chips(raster, batch_size_of, context_px, cells=self.cells)


def cpu_batch_size(batch_size: int, num_pixels: int) -> int:
    """Chips per forward pass on a CPU.

    Args:
        batch_size: chips at most.
        num_pixels: of each chip.
    """
    return max(1, min(batch_size, _CPU_BATCH_SIZE, _CPU_BATCH_PIXELS // num_pixels))


def part_of_grid(grid: CellGrid, part: Part, *, batch_size: int, context_px: int) -> GridPart:
    """The cells of a part: whole batches of those that the grid would be worked off in as one.

    Arithmetic on another number of chips may differ in the last bits; so it is the same on the same. Which cells these are
    depends on no device.

    Args:
        grid: all cells.
        part: which part.
        batch_size: chips per batch at most.
        context_px: pixels of a chip on every side of its cell.
    """
    step = cpu_batch_size(batch_size, (grid.size_px + 2 * context_px) ** 2)
    common = math.lcm(step, batch_size)
    step = common if common <= _MAX_STEP_OF_PARTS else step
    steps = part.share(-(-grid.num_cells // step))
    return GridPart(grid, range(steps.start * step, min(steps.stop * step, grid.num_cells)))


def _cut_row(pixels: Pixels, first_left: int, stride_px: int, chips: NDArray[Any], valid: NDArray[np.bool_]) -> None:
    """Fill the chips of cells beside each other from the rows that they have in common.

    Args:
        pixels: values (H, W, C) from the first chip's first column to the last one's last, as far as the extent goes.
        first_left: column of the first chip's first pixel; negative before the extent.
        stride_px: columns from one chip to the next.
        chips: (B, H, W, C) of zeros.
        valid: (B, H, W) of False.
    """
    width, size_px = pixels.values.shape[1], chips.shape[2]
    # From the first chip that begins inside the extent to the first one that leaves it.
    begin = min(len(chips), max(0, -(first_left // stride_px)))
    end = max(begin, min(len(chips), (width - size_px - first_left) // stride_px + 1))
    for index in (*range(begin), *range(end, len(chips))):
        left = first_left + index * stride_px
        part = slice(max(left, 0), min(left + size_px, width))
        place = slice(part.start - left, part.stop - left)
        chips[index, :, place] = pixels.values[:, part]
        valid[index, :, place] = True if pixels.valid is None else pixels.valid[:, part]
    if end > begin:
        left = first_left + begin * stride_px
        chips[begin:end] = _boxes(pixels.values, left, stride_px, size_px, end - begin)
        has_mask = pixels.valid is not None
        valid[begin:end] = _boxes(pixels.valid, left, stride_px, size_px, end - begin) if has_mask else True


def _boxes(values: Any, left: int, stride_px: int, size_px: int, count: int) -> NDArray[Any]:
    """Boxes beside each other as a view: (H, W[, C]) -> (count, H, size_px[, C])."""
    boxes = sliding_window_view(values, size_px, axis=1)[:, left::stride_px][:, :count]
    boxes = np.moveaxis(boxes, 0, 1)
    return np.moveaxis(boxes, -1, 2)


class CellList(NamedTuple):
    """Cells anywhere, each as large as it is.

    Args:
        all_windows: (N, 4) int64, by ascending `row_off`.
    """

    all_windows: WindowArray

    @property
    def num_cells(self) -> int:
        """How many cells there are."""
        return len(self.all_windows)

    @property
    def num_pixels(self) -> int:
        """Pixels of all cells together; those that overlap count in each."""
        return int(self.all_windows[:, 2:].prod(axis=1).sum())

    def iter_chips(self, raster: SceneRaster, batch_size_of: BatchSizeOf, context_px: int = 0) -> Iterator[CellChips]:
        """The chips of all cells in order; a batch ends where the size changes, and each block is read once.

        Args:
            raster: where they lie.
            batch_size_of: chips per batch at most.
            context_px: pixels of a chip on every side of its cell.
        """
        if not self.num_cells:
            return
        windows = expanded_windows(self.all_windows, context_px)
        box = bounding_window(windows).intersection(raster.extent)
        rows, sizes = raster.rows(box, by_columns=True), windows[:, 2:]
        changes = np.flatnonzero((sizes[1:] != sizes[:-1]).any(axis=1)) + 1
        for begin, end in pairwise([0, *changes.tolist(), self.num_cells]):
            batch_size = batch_size_of(int(sizes[begin].prod()))
            for first in range(begin, end, batch_size):
                stop = min(first + batch_size, end)
                chips, valid = _cut_list(rows, box, windows[first:stop], raster)
                yield CellChips(first, self.all_windows[first:stop], chips, None if valid.all() else valid)


def _cut_list(
    rows: Rows, box: Window, windows: WindowArray, raster: SceneRaster
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Chips of windows of one size: (B, H, W, C) and (B, H, W); what is outside of the box is 0 and not valid."""
    height, width = windows[0, 2:].tolist()
    chips = np.zeros((len(windows), height, width, raster.num_channels), raster.dtype)
    valid = np.zeros(chips.shape[:3], np.bool_)
    for index, window in enumerate(windows.tolist()):
        inside = Window(*window).intersection(box)
        if inside.is_empty:
            continue
        pixels = rows.read(inside.row_off, inside.height, range(inside.col_off, inside.col_end))
        place = slices_of(inside, Window(*window))
        chips[index][place] = pixels.values
        valid[index][place] = True if pixels.valid is None else pixels.valid
    return chips, valid
