"""Writing the files of a chip store: pixels once, in strips, and one line per chip.

The layout is described in `chips/store.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from rv_pipeline_chip_classification.scenes.grid import Affine6
from rv_pipeline_chip_classification.scenes.windows import WindowArray

#: Lines of a list of chips that are put together at once: so few that their text stays in the cache of a core.
_LINES_AT_ONCE = 1024


class NpyWriter:
    """A standard `.npy` file of a known shape, filled box by box in any order.

    Memory stays flat: boxes go straight to the file, which is never mapped or held.

    Args:
        path: where to write.
        shape: (rows, cols) or (rows, cols, channels).
        dtype: of the elements.
        fill: what the elements are that no box covers.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], *, fill: int = 0) -> None:
        self._shape, self._dtype = shape, dtype
        self._file: BinaryIO = path.open("wb")
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._start = self._file.tell()
        self._row_bytes = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
        if fill:
            row = np.full(shape[1:], fill, dtype).tobytes()
            self._file.writelines(row for _ in range(shape[0]))
        else:
            self._file.truncate(self._start + shape[0] * self._row_bytes)

    def write(self, row: int, col: int, box: NDArray[Any]) -> None:
        """Write an array of shape (height, width[, channels]) with its first pixel at row, col."""
        if not box.size:
            return
        if box.shape[1] == self._shape[1]:
            self._put(row, col, np.ascontiguousarray(box))
            return
        for index in range(box.shape[0]):
            self._put(row + index, col, np.ascontiguousarray(box[index]))

    def _put(self, row: int, col: int, array: NDArray[Any]) -> None:
        pixel_bytes = self._row_bytes // self._shape[1]
        self._file.seek(self._start + row * self._row_bytes + col * pixel_bytes)
        self._file.write(array.data.cast("B"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()


@dataclass(frozen=True)
class ChipRecords:
    """The chips of one scene before they are written, as columns of length N.

    Args:
        scene_id: the scene.
        windows: (N, 4) int64, without context.
        offsets: (N, 2) int64, of the chip with its context in the `.npy`.
        class_ids: (N,) int64.
        shares: (N,) float64, the label's IoA or fraction; NaN where none was measured.
        share_name: what the share is, denominator included: the key of the line.
        valid_fractions: (N,) float64.
        is_masked: (N,) bool, whether a pixel of the chip inside the scene is invalid.
        context_px: pixels of a chip on every side of its window.
    """

    scene_id: str
    windows: WindowArray
    offsets: NDArray[np.int64]
    class_ids: NDArray[np.int64]
    shares: NDArray[np.float64]
    share_name: str
    valid_fractions: NDArray[np.float64]
    is_masked: NDArray[np.bool_]
    context_px: int = 0


def bounds_of(windows: WindowArray, transform: Affine6) -> NDArray[np.float64]:
    """Map bounds of windows: (N, 4) float64 `left, bottom, right, top` in the CRS of the transform.

    Args:
        windows: (N, 4), pixels.
        transform: `x = a col + b row + c`, `y = d col + e row + f`, as (a, b, c, d, e, f).
    """
    a, b, c, d, e, f = transform
    rows = np.stack([windows[:, 0], windows[:, 0] + windows[:, 2]]).astype(np.float64)
    cols = np.stack([windows[:, 1], windows[:, 1] + windows[:, 3]]).astype(np.float64)
    # The four corners: rows down the first axis, columns along the second.
    x = a * cols[None, :] + b * rows[:, None] + c
    y = d * cols[None, :] + e * rows[:, None] + f
    return np.stack([x.min((0, 1)), y.min((0, 1)), x.max((0, 1)), y.max((0, 1))], axis=1)


def index_text(records: ChipRecords, class_names: Sequence[str], transform: Affine6) -> Iterator[bytes]:
    """A scene's list of chips as UTF-8, some whole lines at a time.

    The text is put together by hand, column by column: `json.dumps` per line takes longer than reading the pixels.
    """
    pieces = zip(*_columns(records, class_names, transform), strict=True)
    while some := tuple(islice(pieces, _LINES_AT_ONCE)):
        yield "".join(chain.from_iterable(some)).encode()


def _columns(records: ChipRecords, class_names: Sequence[str], transform: Affine6) -> list[list[str]]:
    """What the lines are made of from left to right: a text of each line in every column."""
    row_offs, col_offs, heights, widths = records.windows.T
    stored_rows, stored_cols = records.offsets.T
    left, bottom, right, top = bounds_of(records.windows, transform).T
    share_key = json.dumps(records.share_name)
    names = [
        f'], "class_id": {i}, "class_name": {json.dumps(name)}, {share_key}: ' for i, name in enumerate(class_names)
    ]
    end = f', "context_px": {records.context_px}}}\n' if records.context_px else "}\n"
    return [
        _texts(row_offs, f'{{"scene": {json.dumps(records.scene_id)}, "window": ['),
        _texts(col_offs, ", "),
        _texts(heights, ", "),
        _texts(widths, ", "),
        _texts(stored_rows, '], "offset": ['),
        _texts(stored_cols, ", "),
        _texts(left, '], "bounds": ['),
        _texts(bottom, ", "),
        _texts(right, ", "),
        _texts(top, ", "),
        _chosen(names, records.class_ids),
        _texts(records.shares, ""),
        _texts(records.valid_fractions, ', "valid_fraction": '),
        _chosen([f', "masked": false{end}', f', "masked": true{end}'], records.is_masked.astype(np.int64)),
    ]


def _texts(numbers: NDArray[Any], begin: str) -> list[str]:
    """The shortest exact text of each number behind the same words, NaN as null.

    Made once for each value, for windows share rows and columns.
    """
    values, places = np.unique(numbers, return_inverse=True)
    return _chosen([begin + ("null" if math.isnan(value) else repr(value)) for value in values.tolist()], places)


def _chosen(texts: Sequence[str], places: NDArray[np.int64]) -> list[str]:
    """The text at each place: the same objects again and again."""
    found: list[str] = np.array(texts, object)[places].tolist()
    return found
