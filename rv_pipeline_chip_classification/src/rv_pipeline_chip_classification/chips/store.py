"""Chips as they lie on disk, read back: slices of memory-mapped arrays.

Per scene there are two or three files under `chip/`:

- `<scene id>.npy`: the pixels that windows cover, each once, decoded, in the image's dtype, `(rows, cols, channels)`.
  Rows that no window covers are left out, so a window's rows lie together but `row` is no longer `row_off`.
- `<scene id>.mask.npy`: `(rows, cols)` uint8, 1 where the pixel is valid; only where some pixel of a chip is not.
- `<scene id>.jsonl`: one line per chip, in the order of the windows:
  `{"scene", "window": [row_off, col_off, height, width], "offset": [row, col] in the .npy, "bounds": [left, bottom,
  right, top] in the scene's CRS, "class_id", "class_name", "ioa_over_polygon" | "ioa_over_cell" | "label_fraction":
  share, or null for background, "valid_fraction", "masked": whether a pixel of it inside the scene is invalid}`.

A window that overflows the extent has no pixels there: its chip is padded with zeros, which are not valid.
`chips/writer.py` writes these files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rv_core import Storage
from rv_core.errors import DataError
from rv_pipeline_chip_classification.config_parts import MAX_SIDE_PX
from rv_pipeline_chip_classification.model.contract import MAX_CLASSES
from rv_pipeline_chip_classification.scenes.windows import WindowArray

_LINES_AT_ONCE = 4096
_RUN_AGAIN = 'run the command "chip" of this scene again (--rerun)'


def pixels_name(scene_id: str) -> str:
    """Name of a scene's pixels under the root."""
    return f"chip/{scene_id}.npy"


def mask_name(scene_id: str) -> str:
    """Name of a scene's validity mask under the root."""
    return f"chip/{scene_id}.mask.npy"


def index_name(scene_id: str) -> str:
    """Name of a scene's list of chips under the root."""
    return f"chip/{scene_id}.jsonl"


@dataclass(frozen=True)
class ChipIndex:
    """The chips of one scene as columns, in the order of the file.

    Args:
        windows: (N, 4) int64, in the scene's pixels.
        offsets: (N, 2) int64, row and column of the chip's first pixel in the scene's `.npy`.
        class_ids: (N,) int64.
        valid_fractions: (N,) float64, share of valid pixels; padding is not valid.
        has_mask: whether the scene has a mask that must be read.
    """

    windows: WindowArray
    offsets: NDArray[np.int64]
    class_ids: NDArray[np.int64]
    valid_fractions: NDArray[np.float64]
    has_mask: bool


def read_index(path: Path) -> ChipIndex:
    """The list of chips of one scene.

    Raises:
        DataError: if a line is not what `chip` writes.
    """
    columns: list[list[NDArray[Any]]] = [[_column([], *kind)] for kind in _COLUMNS.values()]
    has_mask = False
    try:
        for records in _records_of(path):
            for column, (key, kind) in zip(columns, _COLUMNS.items(), strict=True):
                column.append(_column([record[key] for record in records], *kind))
            has_mask = has_mask or any(record["masked"] for record in records)
        windows, offsets, class_ids, fractions = map(np.concatenate, columns)
        index = ChipIndex(windows, offsets, class_ids, fractions, has_mask)
        _check_bounds(index)
    except (KeyError, TypeError, ValueError, OverflowError) as err:
        raise DataError("a list of chips is damaged", where=str(path), why=repr(err), fix=_RUN_AGAIN) from err
    return index


#: Key of a record -> dtype of its column, and how many numbers a record has of it (0: one, and not a list).
_COLUMNS: dict[str, tuple[type[Any], int]] = {
    "window": (np.int64, 4),
    "offset": (np.int64, 2),
    "class_id": (np.int64, 0),
    "valid_fraction": (np.float64, 0),
}


def _column(values: list[Any], dtype: type[Any], width: int) -> NDArray[Any]:
    """The values as (N,), or as (N, width); ValueError or OverflowError if they are something else."""
    shape = (len(values), width) if width else (len(values),)
    array = np.array(values) if values else np.empty(shape, dtype)
    if array.shape != shape or array.dtype.kind not in ("iu" if dtype is np.int64 else "iuf"):
        raise ValueError(f"a column is {array.dtype} of shape {array.shape} and should be {shape}")
    return array.astype(dtype)


def _check_bounds(index: ChipIndex) -> None:
    """ValueError for numbers that no chip has: they would ask for any amount of memory."""
    if len(index.windows) and not ((index.windows[:, 2:] >= 1) & (index.windows[:, 2:] <= MAX_SIDE_PX)).all():
        raise ValueError(f"a window is not from 1 to {MAX_SIDE_PX} px wide and high")
    if len(index.class_ids) and not 0 <= index.class_ids.min() <= index.class_ids.max() < MAX_CLASSES:
        raise ValueError(f"a class id is not from 0 to {MAX_CLASSES - 1}")
    if not ((index.valid_fractions >= 0) & (index.valid_fractions <= 1)).all():
        raise ValueError("a valid fraction is not from 0 to 1")


def _records_of(path: Path) -> Iterator[list[dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8") as file:
            while lines := list(islice(file, _LINES_AT_ONCE)):
                yield json.loads(f"[{','.join(lines)}]")
    except (OSError, ValueError, RecursionError) as err:
        raise DataError("a list of chips cannot be read", where=str(path), why=str(err), fix=_RUN_AGAIN) from err


def open_array(path: Path) -> NDArray[Any]:
    """A `.npy` file as a read-only memory map.

    Raises:
        DataError: if it is missing, cut short or not a plain array.
    """
    try:
        array: NDArray[Any] = np.load(path, mmap_mode=None if _is_empty(path) else "r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as err:
        raise DataError("the pixels of chips cannot be read", where=str(path), why=str(err), fix=_RUN_AGAIN) from err
    if array.dtype.kind not in "iuf":
        why = f"they are {array.dtype!s:.60}"
        raise DataError("the pixels of chips cannot be read", where=str(path), why=why, fix=_RUN_AGAIN)
    return array


def _is_empty(path: Path) -> bool:
    """Whether the array has no elements: an empty file region cannot be mapped."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return 0 in read_header(file)[0]


@dataclass(frozen=True)
class _SceneChips:
    scene_id: str
    index: ChipIndex
    pixels: NDArray[Any]
    mask: NDArray[np.uint8] | None


def _open_scene(storage: Storage, scene_id: str) -> _SceneChips:
    index = read_index(storage.input_file(index_name(scene_id)))
    path = storage.input_file(pixels_name(scene_id))
    pixels = open_array(path)
    mask = open_array(storage.input_file(mask_name(scene_id))) if index.has_mask else None
    if pixels.ndim != 3 or (mask is not None and mask.shape != pixels.shape[:2]):
        raise DataError("the pixels of chips do not have the shape that chip writes", where=str(path), fix=_RUN_AGAIN)
    if len(index.offsets) and (index.offsets.min() < 0 or (index.offsets >= pixels.shape[:2]).any()):
        raise DataError("a chip lies outside the pixels of its scene", where=str(path), fix=_RUN_AGAIN)
    return _SceneChips(scene_id, index, pixels, mask)


class ChipStore:
    """The chips of some scenes, numbered through from 0 in the order of the scenes and of their windows.

    Pixels stay on disk (memory-mapped) until `gather` copies them; there is no Python object per chip.

    Attributes:
        scene_ids: the scenes, in order.
        class_ids: (N,) int64.
        windows: (N, 4) int64, in pixels of the chip's scene.
        valid_fractions: (N,) float64.
        scene_indices: (N,) int64, position of the chip's scene in `scene_ids`.
    """

    def __init__(self, scenes: Sequence[_SceneChips]) -> None:
        self._scenes = list(scenes)
        self.scene_ids = [scene.scene_id for scene in scenes]
        counts = [len(scene.index.class_ids) for scene in scenes]
        self.scene_indices = np.repeat(np.arange(len(scenes)), counts)
        self.windows = np.concatenate([np.empty((0, 4), np.int64), *(scene.index.windows for scene in scenes)])
        self.class_ids = np.concatenate([np.empty(0, np.int64), *(scene.index.class_ids for scene in scenes)])
        self.valid_fractions = np.concatenate([np.empty(0), *(scene.index.valid_fractions for scene in scenes)])
        self._offsets = np.concatenate([np.empty((0, 2), np.int64), *(scene.index.offsets for scene in scenes)])
        filled = [scene for scene in scenes if len(scene.index.class_ids)]
        _check_alike(filled)
        self._example = filled[0].pixels if filled else (scenes[0].pixels if scenes else None)
        self._has_invalid = bool((self.valid_fractions < 1).any())

    @classmethod
    def open(cls, storage: Storage, scene_ids: Sequence[str]) -> ChipStore:
        """Open what `chip` wrote for these scenes.

        Raises:
            DataError: if files are damaged, or scenes differ in dtype, number of channels or chip size.
        """
        return cls([_open_scene(storage, scene_id) for scene_id in scene_ids])

    @property
    def num_chips(self) -> int:
        """How many chips there are, of all scenes."""
        return len(self.class_ids)

    def __len__(self) -> int:
        return self.num_chips

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the pixels, that of the images."""
        return np.dtype(np.uint8) if self._example is None else self._example.dtype

    @property
    def num_channels(self) -> int:
        """How many channels a chip has."""
        return 0 if self._example is None else int(self._example.shape[2])

    @property
    def chip_shape(self) -> tuple[int, int]:
        """Height and width of every chip, in pixels."""
        return (int(self.windows[0, 2]), int(self.windows[0, 3])) if self.num_chips else (0, 0)

    @property
    def has_invalid_pixels(self) -> bool:
        """Whether some chip has pixels without data (nodata or padding); if not, `gather` gives no mask."""
        return self._has_invalid

    def class_counts(self, num_classes: int) -> NDArray[np.int64]:
        """Chips per class: (num_classes,) int64."""
        return np.bincount(self.class_ids, minlength=num_classes).astype(np.int64)

    def gather(
        self, indices: Sequence[int] | NDArray[np.integer[Any]], out: NDArray[Any] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Copy chips into one batch.

        Args:
            indices: which chips, in this order; a chip may occur more than once.
            out: (B, H, W, C) array of the raw dtype to fill, B at least the number of indices; None makes one.

        Returns:
            (chips, valid): chips (B, H, W, C) in the raw dtype, padding 0; valid (B, H, W) bool, or None if no chip
            of this store has an invalid pixel.
        """
        numbers = np.asarray(indices, np.int64)
        height, width = self.chip_shape
        if out is None:
            out = np.empty((len(numbers), height, width, self.num_channels), self.dtype)
        chips = out[: len(numbers)]
        valid = np.ones((len(numbers), height, width), np.bool_) if self._has_invalid else None
        places = zip(self.scene_indices[numbers].tolist(), self._offsets[numbers].tolist(), strict=True)
        for position, (scene_index, (row, col)) in enumerate(places):
            scene = self._scenes[scene_index]
            pixels = scene.pixels[row : row + height, col : col + width]
            if pixels.shape[0] == height and pixels.shape[1] == width:
                chips[position] = pixels
            else:
                _fill_padded(chips[position], pixels)
            if valid is not None:
                _fill_valid(valid[position], pixels.shape, scene.mask, row, col)
        return chips, valid


def _fill_padded(chip: NDArray[Any], pixels: NDArray[Any]) -> None:
    chip[...] = 0
    chip[: pixels.shape[0], : pixels.shape[1]] = pixels


def _fill_valid(
    valid: NDArray[np.bool_], shape: tuple[int, ...], mask: NDArray[np.uint8] | None, row: int, col: int
) -> None:
    height, width = shape[:2]
    valid[height:] = False
    valid[:, width:] = False
    if mask is not None:
        valid[:height, :width] = mask[row : row + height, col : col + width]


def _check_alike(scenes: Sequence[_SceneChips]) -> None:
    """All scenes give chips of one dtype, number of channels and size."""
    for scene in scenes:
        first, same_size = scenes[0], scenes[0].index.windows[0, 2:]
        if scene.pixels.dtype != first.pixels.dtype or scene.pixels.shape[2] != first.pixels.shape[2]:
            raise DataError(
                "scenes differ in dtype or number of channels",
                where=f"scenes {first.scene_id!r} and {scene.scene_id!r}",
                why=f"{first.pixels.dtype} x {first.pixels.shape[2]} against {scene.pixels.dtype} x {scene.pixels.shape[2]}",
                fix="give all scenes the same channels (channel_order) and images of one dtype",
            )
        if (scene.index.windows[:, 2:] != same_size).any():
            raise DataError("chips differ in size", where=f"scene {scene.scene_id!r}", fix=_RUN_AGAIN)
