"""How many pixels of each class lie in each window, from a raster of class values that is read once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rv_pipeline_chip_classification.scenes.grid import Pixels
from rv_pipeline_chip_classification.scenes.row_reader import PixelSource, RowReader
from rv_pipeline_chip_classification.scenes.windows import Window, WindowArray, bounding_window, clip_windows

#: Rows of the raster that are counted together, and numbers in the table of a strip, at most (but for one lattice row).
_ROWS_AT_ONCE = 256
_NUMBERS_AT_ONCE = 1 << 22
#: Class values up to here are looked up in a table.
_MAX_TABLE = 1 << 16


def box_sums(sums: NDArray[Any], boxes: NDArray[np.int64]) -> NDArray[Any]:
    """Sums over boxes from a table of sums: (N, ...) of its dtype.

    Args:
        sums: (rows + 1, cols + 1, ...) where `sums[r, c]` is the sum over all before row r and column c.
        boxes: (N, 4) int64 `row_begin, col_begin, row_end, col_end`, inside the table.
    """
    top, left, bottom, right = boxes.T
    result: NDArray[Any] = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return result


def summed_area(values: NDArray[Any], dtype: type[np.integer[Any]] = np.int64) -> NDArray[Any]:
    """The table of sums of an array (rows, cols, ...): (rows + 1, cols + 1, ...).

    Args:
        values: whole numbers, at least 0, or whether.
        dtype: of the table. An unsigned one needs to hold no more than the sum over a box: what is above it cancels.
    """
    sums = np.zeros((values.shape[0] + 1, values.shape[1] + 1, *values.shape[2:]), dtype)
    np.cumsum(values, axis=0, dtype=dtype, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, dtype=dtype, out=sums[1:, 1:])
    return sums


def count_classes(
    source: PixelSource, class_of_value: Mapping[int, int], num_classes: int, windows: WindowArray, extent: Window
) -> NDArray[np.int64]:
    """Pixels per class in each window: (N, num_classes) int64.

    Pixels are first counted per square of a lattice that no window cuts, then squares are added up per window: so the
    cost is that of the pixels, whatever the stride.

    Args:
        source: class values, one channel, on the scene's grid.
        class_of_value: raster value -> class id; other values count for nothing.
        num_classes: K.
        windows: (N, 4) int64.
        extent: pixels outside count for nothing.
    """
    counts = np.zeros((len(windows), num_classes), np.int64)
    box = bounding_window(clip_windows(windows, extent)) if len(windows) else Window(0, 0, 0, 0)
    if box.is_empty:
        return counts
    step = _lattice_step(windows, box)
    lattice = _lattice_boxes(windows, box, step)
    rows = RowReader(source, box)
    numbers_per_row = -(-box.width // step) * (num_classes + 1)
    strip_rows = step * max(1, min(_ROWS_AT_ONCE // step, _NUMBERS_AT_ONCE // numbers_per_row))
    for row in range(box.row_off, box.row_end, strip_rows):
        height = min(strip_rows, box.row_end - row)
        ids = _class_ids(rows.read(row, height), class_of_value, num_classes)
        sums = summed_area(_square_counts(ids, step, num_classes))
        _add_strip(counts, sums, lattice, (row - box.row_off) // step)
    return counts


def _lattice_step(windows: WindowArray, box: Window) -> int:
    distances = np.concatenate([windows[:, 0] - box.row_off, windows[:, 1] - box.col_off, windows[:, 2], windows[:, 3]])
    return int(np.gcd.reduce(distances))


def _lattice_boxes(windows: WindowArray, box: Window, step: int) -> NDArray[np.int64]:
    """Windows as boxes of squares `row_begin, col_begin, row_end, col_end`, cut where the box ends."""
    origin = np.array([box.row_off, box.col_off])
    last = np.array([-(-box.height // step), -(-box.width // step)])
    begin = (windows[:, :2] - origin) // step
    end = (windows[:, :2] + windows[:, 2:] - origin) // step
    return np.concatenate([np.clip(begin, 0, last), np.clip(end, 0, last)], axis=1)


def _class_ids(pixels: Pixels, class_of_value: Mapping[int, int], num_classes: int) -> NDArray[np.int64]:
    """The class id of each pixel (H, W), `num_classes` where there is none."""
    values = pixels.values[..., 0]
    if values.dtype.itemsize <= 2:
        lowest = int(np.iinfo(values.dtype).min)
        table = np.full(_MAX_TABLE, num_classes, np.int64)
        for value, class_id in class_of_value.items():
            if lowest <= value <= int(np.iinfo(values.dtype).max):
                table[value - lowest] = class_id
        ids: NDArray[np.int64] = table[values.astype(np.int64) - lowest] if lowest else table[values]
    else:
        ids = np.full(values.shape, num_classes, np.int64)
        for value, class_id in class_of_value.items():
            ids[values == value] = class_id
    if pixels.valid is not None:
        ids[~pixels.valid] = num_classes
    return ids


def _square_counts(ids: NDArray[np.int64], step: int, num_classes: int) -> NDArray[np.int64]:
    """Pixels per square and class: (rows / step, cols / step, num_classes) int64, rounded up."""
    num_rows, num_cols = -(-ids.shape[0] // step), -(-ids.shape[1] // step)
    first_keys = (np.arange(ids.shape[0]) // step * num_cols)[:, None] + np.arange(ids.shape[1]) // step
    keys = first_keys * (num_classes + 1) + ids
    counts = np.bincount(keys.ravel(), minlength=num_rows * num_cols * (num_classes + 1))
    return counts.reshape(num_rows, num_cols, num_classes + 1)[..., :num_classes]


def _add_strip(counts: NDArray[np.int64], sums: NDArray[np.int64], lattice: NDArray[np.int64], first_row: int) -> None:
    """Add to each window what it has in the strip whose first row of squares is `first_row`."""
    end_row = first_row + sums.shape[0] - 1
    touched = np.flatnonzero((lattice[:, 0] < end_row) & (lattice[:, 2] > first_row))
    boxes = lattice[touched].copy()
    boxes[:, [0, 2]] = np.clip(boxes[:, [0, 2]] - first_row, 0, sums.shape[0] - 1)
    counts[touched] += box_sums(sums, boxes)
