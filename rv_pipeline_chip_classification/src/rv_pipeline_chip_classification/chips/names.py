"""What the files of a chip store are called, and which stores a scene has: its own, or those of its parts."""

from __future__ import annotations

import json

from rv_core import Storage
from rv_core.errors import DataError
from rv_pipeline_chip_classification.parts.scene_parts import Part, part_id

RUN_AGAIN = 'run the command "chip" of this scene again (--rerun)'


def pixels_name(scene_id: str) -> str:
    """Name of a scene's pixels under the root."""
    return f"chip/{scene_id}.npy"


def mask_name(scene_id: str) -> str:
    """Name of a scene's validity mask under the root."""
    return f"chip/{scene_id}.mask.npy"


def index_name(scene_id: str) -> str:
    """Name of a scene's list of chips under the root."""
    return f"chip/{scene_id}.jsonl"


def parts_line(scene_id: str, count: int) -> str:
    """What the list of chips of a scene in parts says."""
    names = [part_id(scene_id, Part(number, count)) for number in range(1, count + 1)]
    return json.dumps({"parts": names}) + "\n"


def stores_of(storage: Storage, scene_id: str) -> list[str]:
    """The names of the stores of a scene: its own, or those of its parts.

    Raises:
        DataError: if its list of parts is not what `chip` writes.
    """
    path = storage.input_file(index_name(scene_id))
    with path.open("rb") as file:
        line = file.readline()
    if not line.startswith(b'{"parts"'):
        return [scene_id]
    try:
        names = json.loads(line)["parts"]
    except ValueError as err:
        raise DataError("a list of chips is damaged", where=str(path), why=repr(err), fix=RUN_AGAIN) from err
    if line != parts_line(scene_id, len(names)).encode():
        raise DataError("a list of chips is damaged", where=str(path), why="its parts are not of it", fix=RUN_AGAIN)
    return list(names)
