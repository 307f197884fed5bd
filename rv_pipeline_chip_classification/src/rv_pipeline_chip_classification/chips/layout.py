"""Which pixels of a scene a chip store holds and where each chip lies in them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rv_pipeline_chip_classification.scenes.windows import (
    Window,
    WindowArray,
    bounding_window,
    clip_windows,
    covered_rows,
)


@dataclass(frozen=True)
class ChipLayout:
    """Where the pixels of windows lie in the stored array.

    Args:
        box: the box of the scene that holds all windows, as far as there are pixels; its columns are the array's.
        stored_rows: (box.height + 1,) int64: row r of the box is row `stored_rows[r]` of the array, if some window
            covers it; the last number is how many rows there are.
        windows: (N, 4) int64, the windows as far as there are pixels.
        offsets: (N, 2) int64, row and column of each window's first pixel in the array; negative where the window begins
            before the first pixel there is.
    """

    box: Window
    stored_rows: NDArray[np.int64]
    windows: WindowArray
    offsets: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the stored array."""
        return int(self.stored_rows[-1]), self.box.width

    def needed_part(self, strip: Window) -> Window:
        """The part of a strip that windows cover, as a box; empty if none does."""
        row_off, col_off, row_end, col_end = self._sides
        touches = (row_off < strip.row_end) & (row_end > strip.row_off)
        touches &= (col_off < strip.col_end) & (col_end > strip.col_off)
        if not touches.any():
            return strip._replace(height=0, width=0)
        sides = np.compress(touches, self._sides, axis=1)
        (row, col), (row_end, col_end) = sides[:2].min(axis=1).tolist(), sides[2:].max(axis=1).tolist()
        return Window(row, col, row_end - row, col_end - col).intersection(strip)

    @cached_property
    def _sides(self) -> NDArray[np.int64]:
        """First row and column of each window, and those after its last: (4, N), each in one piece."""
        begins, sizes = self.windows[:, :2], self.windows[:, 2:]
        return np.ascontiguousarray(np.concatenate([begins, begins + sizes], axis=1).T)

    def runs(self, part: Window) -> list[tuple[int, int, int]]:
        """The runs of rows of a box that are stored: (row in the box, row in the array, number of rows)."""
        first = part.row_off - self.box.row_off
        rows = self.stored_rows[first : first + part.height + 1]
        is_stored = np.diff(rows) > 0
        edges = np.flatnonzero(np.diff(np.concatenate([[False], is_stored, [False]]).astype(np.int8)))
        return [(int(begin), int(rows[begin]), int(end - begin)) for begin, end in edges.reshape(-1, 2)]


def layout_of(windows: WindowArray, extent: Window) -> ChipLayout:
    """The layout that stores every pixel that some window covers once; rows that none covers are left out.

    Args:
        windows: (N, 4) int64, each with some pixel inside the extent.
        extent: where there are pixels.
    """
    clipped = clip_windows(windows, extent)
    box = bounding_window(clipped)
    stored_rows = np.concatenate([[0], np.cumsum(covered_rows(clipped, box))]).astype(np.int64)
    firsts = np.column_stack([stored_rows[clipped[:, 0] - box.row_off], clipped[:, 1] - box.col_off])
    return ChipLayout(box, stored_rows, clipped, firsts - (clipped[:, :2] - windows[:, :2]))
