"""What the linear probe says of predicted cells, kept while their pixels are at hand: `eval` then reads none.

`<scene>.probe.npy` has the class id of each cell as int32, in the order of the cells of the prediction.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rv_core import Storage

_DTYPE = np.dtype("<i4")


class ProbeWriter:
    """Writes class ids as they come; a context manager.

    Args:
        path: where to.
        num_cells: how many there will be.
    """

    def __init__(self, path: Path, num_cells: int) -> None:
        self._file = path.open("wb")
        header = {"descr": np.lib.format.dtype_to_descr(_DTYPE), "fortran_order": False, "shape": (num_cells,)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def write(self, class_ids: NDArray[np.integer[Any]]) -> None:
        """Append class ids."""
        self._file.write(class_ids.astype(_DTYPE).tobytes())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()


def read_probe_answers(storage: Storage, name: str, num_classes: int) -> NDArray[np.int32] | None:
    """The class ids of a file; None where there is none, or something else.

    Args:
        storage: the root.
        name: of the file.
        num_classes: ids lie below it.
    """
    if not storage.exists(name):
        return None
    try:
        found: NDArray[np.int32] = np.load(storage.input_file(name), allow_pickle=False)
    except (ValueError, EOFError):
        return None
    if found.dtype != _DTYPE or found.ndim != 1 or not ((found >= 0) & (found < num_classes)).all():
        return None
    return found
