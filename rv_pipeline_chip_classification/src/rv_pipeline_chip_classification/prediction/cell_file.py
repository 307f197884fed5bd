"""Predicted cells for those who read them – `eval`, reports, `rv export` – where people get another file than GeoJSON.

`<scene>.cells.npy` has a record per cell in order: `window` 4 x int32, `class_id` int32 (negative for none),
`valid_fraction` float64, `scores` float32 per class: probabilities, NaN where a cell has none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rv_core import Storage
from rv_core.errors import DataError
from rv_pipeline_chip_classification.prediction.cell_scores import PredictionNames, ScoredCells, probabilities_of
from rv_pipeline_chip_classification.prediction.geojson_file import PredictedCell, read_predictions

_MAGIC = b"\x93NUMPY"
_CELLS_AT_ONCE = 4096


def _record(num_classes: int) -> np.dtype[Any]:
    return np.dtype(
        [("window", "<i4", (4,)), ("class_id", "<i4"), ("valid_fraction", "<f8"), ("scores", "<f4", (num_classes,))]
    )


class CellWriter:
    """Writes cells as they come.

    Args:
        file: open for writing bytes; it stays open.
        num_cells: how many there will be.
        num_classes: scores of each.
        gives_logits: whether the scores that come are logits.
    """

    def __init__(self, file: BinaryIO, num_cells: int, num_classes: int, *, gives_logits: bool = False) -> None:
        self._file, self._dtype, self._gives_logits = file, _record(num_classes), gives_logits
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": (num_cells,)}
        np.lib.format.write_array_header_1_0(file, header)

    def write(self, cells: ScoredCells) -> None:
        """Append cells."""
        records = np.empty(len(cells.class_ids), self._dtype)
        records["window"], records["class_id"] = cells.windows, cells.class_ids
        records["valid_fraction"] = cells.valid_fractions
        records["scores"] = probabilities_of(cells.scores) if self._gives_logits else cells.scores
        self._file.write(records.tobytes())


def cells_name(storage: Storage, names: PredictionNames) -> str:
    """The file of a prediction that is read: its GeoJSON, else that of the cells."""
    return names.cells if not storage.exists(names.geojson) and storage.exists(names.cells) else names.geojson


def read_cells(path: Path, *, where: str) -> Iterator[PredictedCell]:
    """The cells of a scene, whichever of the two files it is.

    Args:
        path: the file.
        where: what to call it in messages.

    Raises:
        DataError: if it is cut short or was changed.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            yield from read_predictions(path, where=where)
            return
        file.seek(0)
        for records in _records(file, where):
            windows, ids, scores = records["window"].tolist(), records["class_id"].tolist(), records["scores"]
            has_scores = np.isfinite(scores).all(axis=1).tolist()
            rounded: list[list[float]] = np.round(scores.astype(np.float64), 6).tolist()
            for window, class_id, own, has_own in zip(windows, ids, rounded, has_scores, strict=True):
                yield PredictedCell(tuple(window), None if class_id < 0 else class_id, tuple(own) if has_own else None)


def _records(file: BinaryIO, where: str) -> Iterator[NDArray[Any]]:
    try:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    except ValueError as err:
        raise _damaged(where, str(err)) from err
    num_left = os.fstat(file.fileno()).st_size - file.tell()
    if len(shape) != 1 or dtype.names is None or dtype != _record(dtype["scores"].shape[0]):
        raise _damaged(where, f"it holds {shape} records of {dtype}")
    if num_left != shape[0] * dtype.itemsize:
        raise _damaged(where, f"it has {num_left} bytes of {shape[0] * dtype.itemsize}")
    while data := file.read(_CELLS_AT_ONCE * dtype.itemsize):
        yield np.frombuffer(data, dtype)


def _damaged(where: str, why: str) -> DataError:
    fix = 'run the command "predict" again (--rerun)'
    return DataError("a file of predicted cells cannot be read", where=where, why=why, fix=fix)
