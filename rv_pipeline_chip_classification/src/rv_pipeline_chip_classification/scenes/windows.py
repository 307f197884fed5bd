"""Windows: which boxes of pixels a scene is cut into. Pure arithmetic on numbers and arrays.

A window is a half-open box `(row_off, col_off, height, width)` in pixels of the scene's grid; many windows are an
array of shape (N, 4), int64, with these four columns.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WindowArray = NDArray[np.int64]


class Window(NamedTuple):
    """A half-open box of pixels: rows `row_off .. row_off + height - 1`, columns likewise."""

    row_off: int
    col_off: int
    height: int
    width: int

    @property
    def row_end(self) -> int:
        """The row after the last one."""
        return self.row_off + self.height

    @property
    def col_end(self) -> int:
        """The column after the last one."""
        return self.col_off + self.width

    def intersection(self, other: Window) -> Window:
        """The box that both hold; its height or width is 0 where they do not meet."""
        row_off, col_off = max(self.row_off, other.row_off), max(self.col_off, other.col_off)
        height = max(0, min(self.row_end, other.row_end) - row_off)
        width = max(0, min(self.col_end, other.col_end) - col_off)
        return Window(row_off, col_off, height, width)

    def contains(self, other: Window) -> bool:
        """Whether every pixel of the other window is in this one."""
        return self.intersection(other) == other

    @property
    def is_empty(self) -> bool:
        """Whether it holds no pixel."""
        return self.height <= 0 or self.width <= 0


def num_steps(length_px: int, *, size_px: int, stride_px: int) -> int:
    """How many windows of a size and stride lie along a side of an extent.

    A stride up to the size covers the whole side, `ceil((length - size) / stride) + 1` windows, of which the last may
    overflow. A larger stride leaves gaps anyway, so no window overflows: `floor((length - size) / stride) + 1`.
    A side not longer than a window has one.
    """
    if length_px <= size_px:
        return 1 if length_px > 0 else 0
    rest = length_px - size_px
    return (rest // stride_px if stride_px > size_px else -(-rest // stride_px)) + 1


def grid_shape(extent: Window, *, size_px: int, stride_px: int) -> tuple[int, int]:
    """Rows and columns of windows over an extent."""
    rows = num_steps(extent.height, size_px=size_px, stride_px=stride_px)
    return rows, num_steps(extent.width, size_px=size_px, stride_px=stride_px)


def windows_over(extent: Window, *, size_px: int, stride_px: int, rows: range | None = None) -> WindowArray:
    """The sliding windows over an extent, row by row, from its first pixel.

    Args:
        extent: what is covered.
        size_px: side of a window.
        stride_px: step between windows.
        rows: which rows of windows; None for all.

    Returns:
        (N, 4) int64, every window `size_px` high and wide; the last ones of a row or column may overflow the extent
        at the right or bottom.
    """
    num_rows, num_cols = grid_shape(extent, size_px=size_px, stride_px=stride_px)
    rows = range(num_rows) if rows is None else rows
    windows = np.empty((len(rows), num_cols, 4), np.int64)
    windows[..., 0] = (extent.row_off + stride_px * np.array(rows, np.int64))[:, None]
    windows[..., 1] = (extent.col_off + stride_px * np.arange(num_cols))[None, :]
    windows[..., 2:] = size_px
    return windows.reshape(-1, 4)


def scene_rng(seed: int, scene_id: str) -> np.random.Generator:
    """The random numbers of one scene: they depend on the seed and the scene alone, never on the split."""
    digest = hashlib.sha256(f"{seed}\0{scene_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def random_windows(extent: Window, count: int, *, size_px: int, rng: np.random.Generator) -> WindowArray:
    """Windows inside an extent at places drawn uniformly; a side shorter than a window begins at the first pixel.

    Returns:
        (count, 4) int64, in the order drawn.
    """
    windows = np.empty((count, 4), np.int64)
    for axis, (offset, length) in enumerate(((extent.row_off, extent.height), (extent.col_off, extent.width))):
        windows[:, axis] = offset + rng.integers(0, max(0, length - size_px) + 1, size=count)
    windows[:, 2:] = size_px
    return windows


def clip_windows(windows: WindowArray, extent: Window) -> WindowArray:
    """The part of each window that is inside the extent: (N, 4) int64, height or width 0 where there is none."""
    begin = np.maximum(windows[:, :2], (extent.row_off, extent.col_off))
    end = np.minimum(windows[:, :2] + windows[:, 2:], (extent.row_end, extent.col_end))
    return np.concatenate([begin, np.maximum(end - begin, 0)], axis=1)


def expanded_windows(windows: WindowArray, margin_px: int) -> WindowArray:
    """The windows with a margin on every side: (N, 4) int64; they may begin before the first pixel."""
    expanded = windows.copy()
    expanded[:, :2] -= margin_px
    expanded[:, 2:] += 2 * margin_px
    return expanded


def centred_windows(cells: WindowArray, size_px: int) -> WindowArray:
    """A window of one size on the middle of each cell: (N, 4) int64; they may begin before the first pixel."""
    begins = cells[:, :2] + (cells[:, 2:] - size_px) // 2
    return np.concatenate([begins, np.full_like(begins, size_px)], axis=1)


def bounding_window(windows: WindowArray) -> Window:
    """The smallest window that holds all of them; empty for no windows."""
    if not len(windows):
        return Window(0, 0, 0, 0)
    begin = windows[:, :2].min(axis=0)
    end = (windows[:, :2] + windows[:, 2:]).max(axis=0)
    return Window(int(begin[0]), int(begin[1]), int(end[0] - begin[0]), int(end[1] - begin[1]))


def covered_rows(windows: WindowArray, extent: Window) -> NDArray[np.bool_]:
    """Which rows of an extent some window covers: (extent.height,) bool. The windows lie inside the extent."""
    steps = np.zeros(extent.height + 1, np.int64)
    np.add.at(steps, windows[:, 0] - extent.row_off, 1)
    np.add.at(steps, windows[:, 0] + windows[:, 2] - extent.row_off, -1)
    covered: NDArray[np.bool_] = np.cumsum(steps[:-1]) > 0
    return covered
