"""What the linear probe says of predicted cells, kept while their pixels are at hand: `eval` then reads none.

`<scene>.probe.npy` has the class id of each cell as int32, in the order of the cells of the prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rv_core import Storage

_DTYPE = np.dtype("<i4")


@contextmanager
def probe_file(path: Path, num_cells: int) -> Iterator[Callable[[NDArray[np.integer[Any]]], None]]:
    """A file of class ids that are written as they come.

    Args:
        path: where to.
        num_cells: how many there will be.

    Yields:
        What appends class ids.
    """
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(_DTYPE), "fortran_order": False, "shape": (num_cells,)}
        np.lib.format.write_array_header_1_0(file, header)

        def write(class_ids: NDArray[np.integer[Any]]) -> None:
            file.write(class_ids.astype(_DTYPE).tobytes())

        yield write


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
