"""The command `chip` for one scene: choose windows, label them, store the pixels that they cover."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rv_core import Storage
from rv_pipeline_chip_classification.chips.counts import ChipCounts
from rv_pipeline_chip_classification.chips.layout import ChipLayout, layout_of
from rv_pipeline_chip_classification.chips.names import index_name, mask_name, parts_line, pixels_name
from rv_pipeline_chip_classification.chips.writer import ChipRecords, NpyWriter, index_text
from rv_pipeline_chip_classification.config import ChipConfig, ClassConfig, SceneConfig
from rv_pipeline_chip_classification.config_parts import cell_size_px
from rv_pipeline_chip_classification.labels.aoi import Aoi, read_aoi
from rv_pipeline_chip_classification.labels.class_counts import box_sums, summed_area
from rv_pipeline_chip_classification.labels.sources import UNLABELLED, LabelSource, WindowLabels, open_labels
from rv_pipeline_chip_classification.parts.scene_parts import Part, SceneItem, scene_of
from rv_pipeline_chip_classification.sampling.keep import is_kept
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.scenes.windows import (
    Window,
    WindowArray,
    centred_windows,
    clip_windows,
    expanded_windows,
    grid_shape,
    random_windows,
    scene_rng,
    windows_over,
)

_log = logging.getLogger(__name__)

#: Windows drawn per window wanted before an AOI is called too small for random windows.
_MAX_DRAWS_PER_WINDOW = 100

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SelectedWindows:
    """The windows of a scene that are to be chipped if their pixels are valid.

    Args:
        windows: (N, 4) int64.
        labels: of these windows; each has a class.
        num_windows: before the AOI.
        num_in_aoi: before the labels.
    """

    windows: WindowArray
    labels: WindowLabels
    num_windows: int
    num_in_aoi: int


NO_WINDOWS = SelectedWindows(np.empty((0, 4), np.int64), WindowLabels(np.empty(0, np.int64), np.empty(0)), 0, 0)


def chip_scene(
    item: SceneItem,
    subset: str,
    classes: ClassConfig,
    chip: ChipConfig,
    seed: int,
    storage: Storage,
    progress: Progress | None = None,
) -> ChipCounts:
    """Chip one scene, or a part of it, into the files that `chips/store.py` describes; each block is read once.

    Args:
        item: the scene, or the part; without labels it has no chips.
        subset: what the scene is used for: `chip.keep` asks for it, and the counts name it.
        classes: the classes.
        chip: which windows.
        seed: of random windows, together with the scene's id.
        storage: where `chip/…` goes.
        progress: called with (rows done, rows in all).

    Raises:
        DataError: if the image, the labels or the AOI cannot be read or used.
    """
    scene, part = scene_of(item)
    with SceneRaster(scene.raster, scene.id) as raster:
        if _tells(part):
            raster.tell_notes()
        raster.check_place(scene)
        share_name, selected = _selected_windows(scene, part, classes, chip, seed, raster)
        selected = _kept(selected, [chip.keep.get(subset, {}).get(name, 1.0) for name in classes.names], scene.id, seed)
        records = _store(raster, item.id, selected, share_name, chip, storage, progress)
        _write_index(item.id, records, classes, raster, storage)
    if part is not None and part.number == 1:
        storage.write_text(index_name(scene.id), parts_line(scene.id, part.count))
    counts = _counts_of(scene.id, subset, classes, selected, records)
    if not counts.num_chips and part is None:
        _log.warning("scene %s has no chips: %s", scene.id, counts.why_none())
    return counts


def _tells(part: Part | None) -> bool:
    """Whether what is to know about all of a scene is told here: once, and not by each part."""
    return part is None or part.number == 1


def _selected_windows(
    scene: SceneConfig, part: Part | None, classes: ClassConfig, chip: ChipConfig, seed: int, raster: SceneRaster
) -> tuple[str, SelectedWindows]:
    """What shares of labels are called, and the windows to chip; none for a scene without labels."""
    if scene.labels is None:
        return "label_fraction", NO_WINDOWS
    aoi = read_aoi(scene, raster.grid, raster.extent)
    with open_labels(scene, classes, raster.grid, raster.extent) as source:
        if _tells(part):
            _tell_notes(scene.id, source, chip)
        return source.share_name, select_windows(scene, raster, aoi, source, chip, seed, part)


def _kept(selected: SelectedWindows, shares: list[float], scene_id: str, seed: int) -> SelectedWindows:
    """The windows that are wanted of each class."""
    if min(shares) == 1:
        return selected
    windows, labels = selected.windows, selected.labels
    kept = is_kept(windows, labels.class_ids, np.array(shares), scene_id=scene_id, seed=seed)
    _log.info("scene %s: chip.keep takes %d of %d labelled windows", scene_id, int(kept.sum()), len(kept))
    of_kept = WindowLabels(labels.class_ids[kept], labels.shares[kept])
    return SelectedWindows(windows[kept], of_kept, selected.num_windows, selected.num_in_aoi)


def _tell_notes(scene_id: str, source: LabelSource, chip: ChipConfig) -> None:
    for note in [*source.report.notes, source.warn_of(chip.chip_size_px)]:
        if note:
            _log.warning("labels of scene %s: %s", scene_id, note)


def select_windows(
    scene: SceneConfig,
    raster: SceneRaster,
    aoi: Aoi,
    source: LabelSource,
    chip: ChipConfig,
    seed: int,
    part: Part | None = None,
) -> SelectedWindows:
    """The labelled windows of a scene or of a part of it, by sampling and AOI; pixels are not looked at."""
    if chip.sampling == "cells":
        cells = source.label_cells(cell_size_px(scene.labels, chip.chip_size_px))
        return _windows_on_cells(raster.extent, aoi, *cells, chip)
    num_windows, windows = sample_windows(raster.extent, aoi, chip, scene_rng(seed, raster.scene_id), part)
    labels = source.label(windows)
    is_labelled = labels.class_ids != UNLABELLED
    kept = WindowLabels(labels.class_ids[is_labelled], labels.shares[is_labelled])
    return SelectedWindows(windows[is_labelled], kept, num_windows, len(windows))


def _windows_on_cells(
    extent: Window, aoi: Aoi, cells: WindowArray, class_ids: NDArray[np.int64], chip: ChipConfig
) -> SelectedWindows:
    """A window on the middle of each labelled cell that the AOI selects; one without a pixel of the extent is none."""
    selected = aoi.selects(cells, within=chip.within_aoi)
    windows = centred_windows(cells, chip.chip_size_px)
    has_pixels = (clip_windows(windows, extent)[:, 2:] > 0).all(axis=1)
    kept = selected & has_pixels
    shares = np.full(int(kept.sum()), np.nan)
    return SelectedWindows(windows[kept], WindowLabels(class_ids[kept], shares), len(cells), int(selected.sum()))


def sample_windows(
    extent: Window, aoi: Aoi, chip: ChipConfig, rng: np.random.Generator, part: Part | None = None
) -> tuple[int, WindowArray]:
    """How many windows were sampled (sliding: all; random: those wanted), and those that the AOI selects."""
    size_px = chip.chip_size_px
    if chip.sampling == "sliding":
        stride_px = chip.stride_px or size_px
        rows = None if part is None else part.share(grid_shape(extent, size_px=size_px, stride_px=stride_px)[0])
        windows = windows_over(extent, size_px=size_px, stride_px=stride_px, rows=rows)
        return len(windows), windows[aoi.selects(windows, within=chip.within_aoi)]
    wanted = chip.windows_per_scene or 0
    area = _draw_area(aoi, extent, size_px)
    chosen, num_chosen = [np.empty((0, 4), np.int64)], 0
    for _ in range(_MAX_DRAWS_PER_WINDOW):
        if num_chosen >= wanted or area.is_empty:
            break
        drawn = random_windows(area, wanted, size_px=size_px, rng=rng)
        chosen.append(drawn[aoi.selects(drawn, within=chip.within_aoi)])
        num_chosen += len(chosen[-1])
    return wanted, np.concatenate(chosen)[:wanted]


def _draw_area(aoi: Aoi, extent: Window, size_px: int) -> Window:
    """The part of the extent that random windows are drawn from: the AOI's box with a window's margin around it."""
    box = aoi.bounds()
    if box.is_empty:
        return box
    margin = Window(box.row_off - size_px, box.col_off - size_px, box.height + 2 * size_px, box.width + 2 * size_px)
    return margin.intersection(extent)


def _store(
    raster: SceneRaster,
    item_id: str,
    selected: SelectedWindows,
    share_name: str,
    chip: ChipConfig,
    storage: Storage,
    progress: Progress | None,
) -> ChipRecords:
    """Write the pixels, and say which windows have enough valid ones."""
    layout = layout_of(expanded_windows(selected.windows, chip.context_px), raster.extent)
    inside = clip_windows(selected.windows, raster.extent) if chip.context_px else layout.windows
    num_invalid, num_invalid_in_chip = _write_pixels(raster, item_id, layout, inside, storage, progress)
    num_valid = inside[:, 2] * inside[:, 3] - num_invalid
    fractions = num_valid / (selected.windows[:, 2] * selected.windows[:, 3])
    kept = (num_valid > 0) & (fractions >= chip.min_valid_fraction)
    return ChipRecords(
        raster.scene_id,
        selected.windows[kept],
        layout.offsets[kept],
        selected.labels.class_ids[kept],
        selected.labels.shares[kept],
        share_name,
        np.round(fractions[kept], 6).astype(np.float64),
        num_invalid_in_chip[kept] > 0,
        chip.context_px,
    )


def _write_pixels(
    raster: SceneRaster,
    item_id: str,
    layout: ChipLayout,
    inside: WindowArray,
    storage: Storage,
    progress: Progress | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Write the pixels, and their mask if some are invalid.

    Args:
        raster: the open scene.
        item_id: names the files.
        layout: of the chips.
        inside: (N, 4) int64, their windows without context, as far as there are pixels.
        storage: where they go.
        progress: as in `chip_scene`.

    Returns:
        Pixels without data in each window and in each chip: two of (N,) int64.
    """
    num_invalid = np.zeros(len(inside), np.int64)
    num_in_chip = num_invalid if inside is layout.windows else num_invalid.copy()
    shape = layout.shape
    with ExitStack() as stack:
        path = stack.enter_context(storage.output_file(pixels_name(item_id)))
        pixels_file = stack.enter_context(NpyWriter(path, (*shape, raster.num_channels), raster.dtype))
        mask_file: NpyWriter | None = None
        for part, pixels in raster.iter_strips(layout.box, layout.needed_part, joined=True):
            for row, stored_row, height in layout.runs(part):
                rows = slice(row, row + height)
                pixels_file.write(stored_row, part.col_off - layout.box.col_off, pixels.values[rows])
                if pixels.valid is not None:
                    if mask_file is None:
                        mask_path = stack.enter_context(storage.output_file(mask_name(item_id)))
                        mask_file = stack.enter_context(NpyWriter(mask_path, shape, np.dtype(np.uint8), fill=1))
                    col = part.col_off - layout.box.col_off
                    mask_file.write(stored_row, col, pixels.valid[rows].view(np.uint8))
            if pixels.valid is not None:
                _add_invalid(num_invalid, inside, part, ~pixels.valid)
                if inside is not layout.windows:
                    _add_invalid(num_in_chip, layout.windows, part, ~pixels.valid)
            if progress is not None:
                progress(part.row_end - layout.box.row_off, layout.box.height)
            # Or they would be held while the next ones are read.
            del pixels
    if mask_file is None and storage.exists(mask_name(item_id)):
        storage.delete(mask_name(item_id))
    return num_invalid, num_in_chip


def _add_invalid(
    num_invalid: NDArray[np.int64], windows: WindowArray, part: Window, invalid: NDArray[np.bool_]
) -> None:
    """Add to each window what it has of a strip's invalid pixels (H, W)."""
    ends = windows[:, :2] + windows[:, 2:]
    boxes = np.concatenate([windows[:, :2], ends], axis=1) - np.tile([part.row_off, part.col_off], 2)
    boxes[:, [0, 2]] = np.clip(boxes[:, [0, 2]], 0, part.height)
    boxes[:, [1, 3]] = np.clip(boxes[:, [1, 3]], 0, part.width)
    touched = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    num_invalid[touched] += box_sums(summed_area(invalid, np.uint32), boxes[touched])


def _write_index(
    item_id: str, records: ChipRecords, classes: ClassConfig, raster: SceneRaster, storage: Storage
) -> None:
    with storage.output_file(index_name(item_id)) as path, path.open("wb") as file:
        file.writelines(index_text(records, classes.names, raster.grid.transform))


def _counts_of(
    scene_id: str, subset: str, classes: ClassConfig, selected: SelectedWindows, records: ChipRecords
) -> ChipCounts:
    per_class = np.bincount(records.class_ids, minlength=len(classes.names)).tolist()
    return ChipCounts(
        scene_id,
        subset,
        selected.num_windows,
        selected.num_in_aoi,
        len(selected.windows),
        len(records.class_ids),
        dict(zip(classes.names, per_class, strict=True)),
    )
