"""Chips as they lie on disk, read back: slices of memory-mapped arrays.

Per scene there are two or three files under `chip/`:

- `<scene id>.npy`: the pixels that windows cover, each once, decoded, in the image's dtype, `(rows, cols, channels)`.
  Rows that no window covers are left out, so a window's rows lie together but `row` is no longer `row_off`.
- `<scene id>.mask.npy`: `(rows, cols)` uint8, 1 where the pixel is valid; only where some pixel of a chip is not.
- `<scene id>.jsonl`: one line per chip, in the order of the windows:
  `{"scene", "window": [row_off, col_off, height, width], "offset": [row, col] in the .npy, "bounds": [left, bottom,
  right, top] in the scene's CRS, "class_id", "class_name", "ioa_over_polygon" | "ioa_over_cell" | "label_fraction":
  share, or null where none was measured, "valid_fraction", "masked": whether a pixel of it inside the scene is invalid,
  "context_px": pixels of the chip on every side of the window, left out where there are none}`.

A scene in parts has these files for each part, `chip/<scene id>/<number>-of-<count>.npy` and so on, and its own
`<scene id>.jsonl` is the one line `{"parts": [names of the parts, in order]}`.

What a chip has beyond the extent has no pixels: it is padded with zeros, which are not valid. So is what lies before
the first row or column of the `.npy`, where `offset` is negative. `window`, `bounds` and `valid_fraction` are those of
the window without its context; `offset` and `masked` are those of the chip.
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
from rv_pipeline_chip_classification.chips.names import RUN_AGAIN, index_name, mask_name, pixels_name, stores_of
from rv_pipeline_chip_classification.config_parts import MAX_SIDE_PX
from rv_pipeline_chip_classification.model.contract import MAX_CLASSES
from rv_pipeline_chip_classification.scenes.windows import WindowArray

_LINES_AT_ONCE = 4096


@dataclass(frozen=True)
class ChipIndex:
    """The chips of one scene as columns, in the order of the file.

    Args:
        windows: (N, 4) int64, in the scene's pixels, without context.
        offsets: (N, 2) int64, row and column of the chip's first pixel in the scene's `.npy`.
        class_ids: (N,) int64.
        valid_fractions: (N,) float64, share of valid pixels of the window; padding is not valid.
        has_mask: whether the scene has a mask that must be read.
        context_px: pixels of a chip on every side of its window.
    """

    windows: WindowArray
    offsets: NDArray[np.int64]
    class_ids: NDArray[np.int64]
    valid_fractions: NDArray[np.float64]
    has_mask: bool
    context_px: int = 0


def read_index(path: Path) -> ChipIndex:
    """The list of chips of one scene.

    Raises:
        DataError: if a line is not what `chip` writes.
    """
    columns: list[list[NDArray[Any]]] = [[_column([], *kind)] for kind in _COLUMNS.values()]
    has_mask, contexts = False, set[Any]()
    try:
        for records in _records_of(path):
            for column, (key, kind) in zip(columns, _COLUMNS.items(), strict=True):
                column.append(_column([record[key] for record in records], *kind))
            has_mask = has_mask or any(record["masked"] for record in records)
            contexts.update(record.get("context_px", 0) for record in records)
        windows, offsets, class_ids, fractions = map(np.concatenate, columns)
        index = ChipIndex(windows, offsets, class_ids, fractions, has_mask, _context_of(contexts))
        _check_bounds(index)
    except (KeyError, TypeError, ValueError, OverflowError) as err:
        raise DataError("a list of chips is damaged", where=str(path), why=repr(err), fix=RUN_AGAIN) from err
    return index


def _context_of(contexts: set[Any]) -> int:
    """The one context of all chips; ValueError if it is something else."""
    (context_px,) = contexts or {0}
    if type(context_px) is not int or not 0 <= context_px <= MAX_SIDE_PX:
        raise ValueError(f"context_px is {context_px!r:.60} and should be a number of pixels")
    return context_px


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
    sides = index.windows[:, 2:]
    if not ((sides >= 1) & (sides + 2 * index.context_px <= MAX_SIDE_PX)).all():
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
        raise DataError("a list of chips cannot be read", where=str(path), why=str(err), fix=RUN_AGAIN) from err


def open_array(path: Path) -> NDArray[Any]:
    """A `.npy` file as a read-only memory map.

    Raises:
        DataError: if it is missing, cut short or not a plain array.
    """
    try:
        array: NDArray[Any] = np.load(path, mmap_mode=None if _is_empty(path) else "r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as err:
        raise DataError("the pixels of chips cannot be read", where=str(path), why=str(err), fix=RUN_AGAIN) from err
    if array.dtype.kind not in "iuf":
        why = f"they are {array.dtype!s:.60}"
        raise DataError("the pixels of chips cannot be read", where=str(path), why=why, fix=RUN_AGAIN)
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

    @property
    def has_invalid(self) -> bool:
        """Whether some chip has a pixel without data, or is padded."""
        index = self.index
        ends = index.offsets + index.windows[:, 2:] + 2 * index.context_px
        is_padded = (index.offsets < 0).any() or (ends > self.pixels.shape[:2]).any()
        return index.has_mask or bool(is_padded) or bool((index.valid_fractions < 1).any())


def _open_store(storage: Storage, scene_id: str, name: str) -> _SceneChips:
    index = read_index(storage.input_file(index_name(name)))
    path = storage.input_file(pixels_name(name))
    pixels = open_array(path)
    mask = open_array(storage.input_file(mask_name(name))) if index.has_mask else None
    if pixels.ndim != 3 or (mask is not None and mask.shape != pixels.shape[:2]):
        raise DataError("the pixels of chips do not have the shape that chip writes", where=str(path), fix=RUN_AGAIN)
    ends = index.offsets + index.windows[:, 2:] + 2 * index.context_px
    is_outside = (ends <= 0) | (index.offsets >= pixels.shape[:2])
    if is_outside.any():
        raise DataError("a chip lies outside the pixels of its scene", where=str(path), fix=RUN_AGAIN)
    return _SceneChips(scene_id, index, pixels, mask)


class ChipStore:
    """The chips of some scenes, numbered through from 0 in the order of the scenes and of their windows.

    Pixels stay on disk (memory-mapped) until `gather` copies them; there is no Python object per chip.

    Attributes:
        scene_ids: the scenes, in order.
        class_ids: (N,) int64.
        windows: (N, 4) int64, in pixels of the chip's scene, without context.
        valid_fractions: (N,) float64, of the windows.
        scene_indices: (N,) int64, position of the chip's scene in `scene_ids`.
        context_px: pixels of a chip on every side of its window.
    """

    def __init__(self, scenes: Sequence[_SceneChips]) -> None:
        self._scenes = list(scenes)
        self.scene_ids = list(dict.fromkeys(scene.scene_id for scene in scenes))
        counts = [len(scene.index.class_ids) for scene in scenes]
        self._store_indices = np.repeat(np.arange(len(scenes)), counts)
        places = {scene_id: place for place, scene_id in enumerate(self.scene_ids)}
        self.scene_indices = np.repeat(np.array([places[scene.scene_id] for scene in scenes], np.int64), counts)
        self.windows = np.concatenate([np.empty((0, 4), np.int64), *(scene.index.windows for scene in scenes)])
        self.class_ids = np.concatenate([np.empty(0, np.int64), *(scene.index.class_ids for scene in scenes)])
        self.valid_fractions = np.concatenate([np.empty(0), *(scene.index.valid_fractions for scene in scenes)])
        self._offsets = np.concatenate([np.empty((0, 2), np.int64), *(scene.index.offsets for scene in scenes)])
        filled = [scene for scene in scenes if len(scene.index.class_ids)]
        _check_alike(filled)
        self._example = filled[0].pixels if filled else (scenes[0].pixels if scenes else None)
        self.context_px = filled[0].index.context_px if filled else 0
        self._has_invalid = any(scene.has_invalid for scene in scenes)

    @classmethod
    def open(cls, storage: Storage, scene_ids: Sequence[str]) -> ChipStore:
        """Open what `chip` wrote for these scenes.

        Raises:
            DataError: if files are damaged, or scenes differ in dtype, number of channels or chip size.
        """
        names = [(scene_id, name) for scene_id in scene_ids for name in stores_of(storage, scene_id)]
        return cls([_open_store(storage, scene_id, name) for scene_id, name in names])

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
        """Height and width of every chip with its context, in pixels."""
        if not self.num_chips:
            return 0, 0
        height, width = self.windows[0, 2:] + 2 * self.context_px
        return int(height), int(width)

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
        places = zip(self._store_indices[numbers].tolist(), self._offsets[numbers].tolist(), strict=True)
        for position, (store_index, (row, col)) in enumerate(places):
            scene = self._scenes[store_index]
            stored = slice(max(row, 0), max(row + height, 0)), slice(max(col, 0), max(col + width, 0))
            pixels = scene.pixels[stored]
            is_whole = pixels.shape[0] == height and pixels.shape[1] == width
            top, left = max(-row, 0), max(-col, 0)
            inside = slice(top, top + pixels.shape[0]), slice(left, left + pixels.shape[1])
            if not is_whole:
                chips[position] = 0
            chips[position][inside] = pixels
            if valid is not None:
                if not is_whole:
                    valid[position] = False
                valid[position][inside] = True if scene.mask is None else scene.mask[stored]
        return chips, valid


def _check_alike(scenes: Sequence[_SceneChips]) -> None:
    """All scenes give chips of one dtype, number of channels and size."""
    for scene in scenes:
        first, same_size = scenes[0], scenes[0].index.windows[0, 2:]
        if scene.index.context_px != first.index.context_px:
            raise DataError("chips differ in context", where=f"scene {scene.scene_id!r}", fix=RUN_AGAIN)
        if scene.pixels.dtype != first.pixels.dtype or scene.pixels.shape[2] != first.pixels.shape[2]:
            raise DataError(
                "scenes differ in dtype or number of channels",
                where=f"scenes {first.scene_id!r} and {scene.scene_id!r}",
                why=f"{first.pixels.dtype} x {first.pixels.shape[2]} against {scene.pixels.dtype} x {scene.pixels.shape[2]}",
                fix="give all scenes the same channels (channel_order) and images of one dtype",
            )
        if (scene.index.windows[:, 2:] != same_size).any():
            raise DataError("chips differ in size", where=f"scene {scene.scene_id!r}", fix=RUN_AGAIN)
