"""The scores of a part of a scene, until the parts are put together: a `.npy` file, written and read in pieces.

One record per cell in the order of the grid: `class_id` int32, `valid_fraction` float64, `scores` float32 per class.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from rv_core.errors import DataError
from rv_pipeline_chip_classification.prediction.cell_scores import ScoredCells
from rv_pipeline_chip_classification.prediction.cell_windows import CellGrid

_CELLS_AT_ONCE = 4096
_RUN_AGAIN = 'run the command "predict" again (--rerun)'


def _record(num_classes: int) -> np.dtype[Any]:
    return np.dtype([("class_id", "<i4"), ("valid_fraction", "<f8"), ("scores", "<f4", (num_classes,))])


class ScoreWriter:
    """Writes the scores of cells as they come; a context manager.

    Args:
        path: where to.
        num_cells: how many there will be.
        num_classes: scores of each.
    """

    def __init__(self, path: Path, num_cells: int, num_classes: int) -> None:
        self._dtype = _record(num_classes)
        self._file = path.open("wb")
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": (num_cells,)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def write(self, cells: ScoredCells) -> None:
        """Append cells."""
        records = np.empty(len(cells.class_ids), self._dtype)
        records["class_id"], records["valid_fraction"] = cells.class_ids, cells.valid_fractions
        records["scores"] = cells.scores
        self._file.write(records.tobytes())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()


def read_scores(path: Path, grid: CellGrid, first: int, num_classes: int, *, where: str) -> Iterator[ScoredCells]:
    """The cells of a part, some at a time.

    Args:
        path: the file.
        grid: all cells of the scene.
        first: the number of the first cell of the part.
        num_classes: scores of each.
        where: what to call the file in messages.

    Raises:
        DataError: if it is not what `ScoreWriter` writes, or cut short.
    """
    dtype = _record(num_classes)
    with path.open("rb") as file:
        try:
            np.lib.format.read_magic(file)
            shape, _, found = np.lib.format.read_array_header_1_0(file)
        except ValueError as err:
            raise _damaged(where, str(err)) from err
        if found != dtype or len(shape) != 1 or first + shape[0] > grid.num_cells:
            raise _damaged(where, f"it holds {shape} records of {found}")
        stop = first + shape[0]
        while first < stop:
            count = min(_CELLS_AT_ONCE, stop - first)
            data = file.read(count * dtype.itemsize)
            if len(data) < count * dtype.itemsize:
                raise _damaged(where, "the file ends too early")
            records = np.frombuffer(data, dtype)
            yield ScoredCells(
                first,
                grid.windows(first, first + count),
                records["class_id"].astype(np.int64),
                records["scores"].copy(),
                records["valid_fraction"].copy(),
            )
            first += count


def _damaged(where: str, why: str) -> DataError:
    return DataError("the scores of a part of a scene cannot be read", where=where, why=why, fix=_RUN_AGAIN)
