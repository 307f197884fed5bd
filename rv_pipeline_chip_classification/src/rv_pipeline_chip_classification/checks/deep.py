"""Checks that open images and labels, run in a child process before anything is started.

What `cheap.py` reports already (local files that are missing) is not reported again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from rv_core.config.values import uris_of
from rv_core.errors import Finding, RvError
from rv_core.files.stores import SignatureRefusedError
from rv_pipeline_chip_classification.checks.cheap import (
    LocatedScene,
    Todo,
    is_missing,
    scenes_to_do,
    scenes_to_label,
)
from rv_pipeline_chip_classification.checks.headers import (
    Header,
    compare_headers,
    header_of,
    reference_header,
    tell_of_image,
)
from rv_pipeline_chip_classification.checks.leakage import check_leakage
from rv_pipeline_chip_classification.checks.values import SeenValues, compare_values, nothing_valid
from rv_pipeline_chip_classification.checks.weights import check_weights
from rv_pipeline_chip_classification.commands.chip import select_windows
from rv_pipeline_chip_classification.config import (
    ChipClassificationConfig,
    ClassRasterLabelsConfig,
    RasterStackConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.config_parts import cell_size_px
from rv_pipeline_chip_classification.file_boundary import file_boundary
from rv_pipeline_chip_classification.labels.aoi import Aoi, read_aoi
from rv_pipeline_chip_classification.labels.sources import LabelSource, open_labels
from rv_pipeline_chip_classification.parts.scene_parts import of_whole
from rv_pipeline_chip_classification.prediction.geojson_file import cell_rings
from rv_pipeline_chip_classification.scenes.raster_reader import SourceFieldError
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.vectors.files import MissingLibraryError
from rv_pipeline_chip_classification.vectors.table import VectorFieldError

#: Label rasters are read to count chips until so many pixels have been; the rest is left to `chip`.
_MAX_COUNTED_PX = 1 << 26
_MIN_TRAINING_CHIPS = 2
_AOI_FIX = "check where it lies, choose a smaller chip or cell, or set chip.within_aoi to False"


@dataclass
class _Seen:
    """What the scenes checked so far have shown.

    Args:
        first: the header that the others are compared with.
        chips: subset -> class id -> windows that would become chips.
        is_complete: whether all scenes to chip could be counted.
        counted_px: pixels of label rasters read so far.
        num_cells: cells that will be evaluated.
        has_uncounted_cells: whether some evaluated scene could not be looked at.
        values: of their pixels.
    """

    first: Header | None = None
    chips: dict[str, Counter[int]] = field(default_factory=dict)
    is_complete: bool = True
    counted_px: int = 0
    num_cells: int = 0
    has_uncounted_cells: bool = False
    values: SeenValues = field(default_factory=SeenValues)


def deep_check(config: ChipClassificationConfig, todo: Todo) -> Iterator[Finding]:
    """Open what will run: images, labels, AOIs and initial weights, and whether they go together.

    Args:
        config: the config.
        todo: ids of the items to do, by command.

    Yields:
        Findings, all with dotted config paths.
    """
    todo = of_whole(todo)
    seen = _Seen(first=reference_header(config))
    labelled = {scene.id for _, _, scene in scenes_to_label(config, todo)}
    for entry in scenes_to_do(config, todo):
        if any(is_missing(uri) for _, uri in uris_of(entry[2])):
            seen.is_complete, seen.has_uncounted_cells = False, True
            continue
        try:
            yield from _check_scene(config, todo, entry, seen, is_labelled=entry[2].id in labelled)
        except SignatureRefusedError as err:  # as for one file, for all
            yield from _findings_of(entry[0], err)
            return
    yield from compare_values(config, seen.values)
    yield from _check_ranges(config, seen.first)
    yield from _check_totals(config, todo, seen)
    yield from _check_evaluation(config, todo, seen)
    yield from check_weights(config, todo, seen.first)
    if seen.counted_px > _MAX_COUNTED_PX:
        what = (
            f"the cells of large label rasters were not counted, after the first {_MAX_COUNTED_PX >> 20} million pixels"
        )
        yield Finding("dataset", what, "", "skipped")
    if any(todo.values()):
        yield from check_leakage(config)


def _check_ranges(config: ChipClassificationConfig, first: Header | None) -> Iterator[Finding]:
    count = len(config.scale_to or ())
    if first is not None and count > 1 and count != first.num_channels:
        what = f"{count} ranges for the {first.num_channels} channels of {first.path}"
        yield Finding("scale_to", what, "give one [low, high] per channel, or one for all")


def _check_scene(
    config: ChipClassificationConfig, todo: Todo, entry: LocatedScene, seen: _Seen, *, is_labelled: bool
) -> Iterator[Finding]:
    path, _subset, scene = entry
    named = f"the image of scene {scene.id!r} cannot be used"
    try:
        with file_boundary(named, where=", ".join(scene.raster.uris)), SceneRaster(scene.raster, scene.id) as raster:
            raster.read_last_pixels()
            yield from tell_of_image(entry, raster)
            mine = header_of(path, scene, raster)
            seen.first = seen.first or mine
            yield from compare_headers(mine, seen.first)
            if scene.id in (*todo.get("chip", ()), *todo.get("predict", ())):
                yield from _check_context(config, path, raster)
            if config.predict.on_drift != "ignore" and not seen.values.look_at(path, raster, scene.raster.uris[0]):
                yield nothing_valid(path)
            if scene.id in todo.get("predict", ()):
                yield from _check_place(path, raster)
            if is_labelled:
                raster.check_place(scene)
                yield from _check_labels(config, todo, entry, raster, seen)
    except SignatureRefusedError:
        raise
    except RvError as err:
        seen.is_complete, seen.has_uncounted_cells = False, True
        default = "sources" if isinstance(scene.raster, RasterStackConfig) else "uris"
        place = err.field if isinstance(err, SourceFieldError) else default
        yield from _findings_of(f"{path}.raster.{place}", err)


def _findings_of(where: str, err: RvError) -> Iterator[Finding]:
    """An error as findings of one place of the config: its single problems, or itself."""
    block = err.block
    for finding in block.findings:
        yield Finding(where, f"{block.where}: {finding.where}: {finding.what}", finding.fix or block.fix)
    if not block.findings:
        parts = [f"{block.what} ({block.where})" if block.where else block.what, block.why]
        yield Finding(where, ": ".join(part for part in parts if part), block.fix)


def _check_context(config: ChipClassificationConfig, path: str, raster: SceneRaster) -> Iterator[Finding]:
    """Whether a scene has surroundings to show at all."""
    context_px, extent = config.chip.context_px, raster.extent
    if context_px and context_px >= max(extent.height, extent.width):
        what = f"chip.context_px is {context_px}, and the scene has {extent.height} x {extent.width} px"
        fix = "most of what the model sees is masked: choose less context, or larger scenes"
        yield Finding(f"{path}.raster", what, fix, "warning")


def _check_place(path: str, raster: SceneRaster) -> Iterator[Finding]:
    """Whether the cells of a scene to predict will have a longitude and latitude: by nine points of its extent."""
    extent = raster.extent
    rows = np.linspace(extent.row_off, extent.row_end - 1, 3).astype(np.int64)
    cols = np.linspace(extent.col_off, extent.col_end - 1, 3).astype(np.int64)
    pixels = np.array([(row, col, 1, 1) for row in rows for col in cols], np.int64)
    try:
        is_lost = np.isnan(cell_rings(pixels, raster.grid, where=raster.scene_id)).any(axis=(1, 2))
    except RvError as err:
        yield from _findings_of(f"{path}.raster.uris", err)
        return
    if is_lost.any():
        some = "no part of the image has" if is_lost.all() else "parts of the image have no"
        what = f"{some} longitude and latitude: predicted cells there have no geometry in the GeoJSON"
        yield Finding(f"{path}.raster.uris", what, "", "error" if is_lost.all() else "warning")


def _check_labels(
    config: ChipClassificationConfig, todo: Todo, entry: LocatedScene, raster: SceneRaster, seen: _Seen
) -> Iterator[Finding]:
    path, _subset, scene = entry
    place = f"{path}.aoi_uris"
    try:
        areas = ", ".join(uri for name, uri in uris_of(scene) if name.startswith("aoi"))
        with file_boundary(f"the AOI of scene {scene.id!r} cannot be used", where=areas):
            aoi = read_aoi(scene, raster.grid, raster.extent)
        for note in aoi.notes:
            yield Finding(place, note, "", "warning")
        place = f"{path}.labels.uri"
        labels_uri = ", ".join(uri for name, uri in uris_of(scene) if name.startswith("labels."))
        named = f"the labels of scene {scene.id!r} cannot be used"
        with (
            file_boundary(named, where=labels_uri),
            open_labels(scene, config.classes, raster.grid, raster.extent) as source,
        ):
            yield from _check_source(config, todo, entry, raster, source)
            if scene.id in todo.get("chip", ()):
                yield from _count_chips(config, entry, raster, aoi, source, seen)
            if _is_evaluated(config, todo, entry):
                yield from _check_cells(config, entry, raster, aoi, source, seen)
    except SignatureRefusedError:
        raise
    except RvError as err:
        seen.is_complete, seen.has_uncounted_cells = False, True
        yield from _tell_of_vectors(place, err)


def _tell_of_vectors(place: str, err: RvError) -> Iterator[Finding]:
    """What is wrong with a vector file, at the field that it is about; a library that is missing here may be elsewhere."""
    if isinstance(err, MissingLibraryError):
        yield Finding(place, f"was not opened: {err.block.what} ({err.block.where})", err.block.fix, "skipped")
        return
    if isinstance(err, VectorFieldError):
        scene_path, _, field_name = place.rpartition(".")
        place = f"{scene_path}.{err.field}" if field_name == "uri" else f"{scene_path}.aois"
    yield from _findings_of(place, err)


def _check_source(
    config: ChipClassificationConfig, todo: Todo, entry: LocatedScene, raster: SceneRaster, source: LabelSource
) -> Iterator[Finding]:
    path, _subset, scene = entry
    if not source.lies_on_image():
        what = f"labels and image of scene {scene.id!r} do not overlap"
        yield Finding(f"{path}.labels.uri", what, source.fix_of_place())
    for note in source.report.notes:
        yield Finding(f"{path}.labels", note, "", "warning")
    cell_px = cell_size_px(scene.labels, config.chip.chip_size_px)
    sizes = {config.chip.chip_size_px} if scene.id in todo.get("chip", ()) else {cell_px}
    for note in filter(None, map(source.warn_of, sorted(sizes))):
        yield Finding(f"{path}.labels.use_intersection_over_cell", note, "", "warning")
    if scene.labels is not None and not scene.labels.has_cell_grid():
        yield from _check_feature_cells(path, source, config.chip.chip_size_px)


def _check_feature_cells(path: str, source: LabelSource, chip_size_px: int) -> Iterator[Finding]:
    """Cells that are bounds of features are classified as large as they are, by a model that learnt from chips."""
    sides = source.label_cells(chip_size_px)[0][:, 2:]
    # Bounds that do not begin at pixels are rounded, each to the nearest one.
    is_other = (np.abs(sides - chip_size_px) > 1).any(axis=1)
    if is_other.any():
        what = (
            f"{is_other.sum()} of {len(sides)} features are cells of another size than the chips of {chip_size_px} px "
            f"that the model learns from: from {sides.min()} to {sides.max()} px"
        )
        fix = "set chip.chip_size_px to the size of the features"
        yield Finding(f"{path}.labels.infer_cells", what, fix, "warning")


def _is_evaluated(config: ChipClassificationConfig, todo: Todo, entry: LocatedScene) -> bool:
    return bool(todo.get("eval")) and entry[1] in config.eval.subsets


def _check_cells(
    config: ChipClassificationConfig,
    entry: LocatedScene,
    raster: SceneRaster,
    aoi: Aoi,
    source: LabelSource,
    seen: _Seen,
) -> Iterator[Finding]:
    """Of a scene that is evaluated: whether any cell has a class and is selected by its AOI."""
    path, _subset, scene = entry
    if _is_too_much(scene, raster, seen):
        seen.has_uncounted_cells = True
        return
    cells = source.label_cells(cell_size_px(scene.labels, config.chip.chip_size_px))[0]
    selected = aoi.selects(cells, within=config.chip.within_aoi)
    seen.num_cells += int(selected.sum())
    if not len(cells):
        what = f"no cell of scene {scene.id!r} has a label: nothing of it is evaluated"
        yield Finding(
            f"{path}.labels", what, "look at ioa_threshold, use_intersection_over_cell and cell_size_px", "warning"
        )
    elif not selected.any():
        what = f"none of the {len(cells)} labelled cells of scene {scene.id!r} is selected by its AOI: nothing of it is evaluated"
        yield Finding(f"{path}.aoi_uris", what, _AOI_FIX, "warning")


def _is_too_much(scene: SceneConfig, raster: SceneRaster, seen: _Seen) -> bool:
    """Whether so many pixels of label rasters have been read that the rest is left to the commands."""
    if isinstance(scene.labels, ClassRasterLabelsConfig):
        seen.counted_px += raster.extent.height * raster.extent.width
        return seen.counted_px > _MAX_COUNTED_PX
    return False


def _count_chips(
    config: ChipClassificationConfig,
    entry: LocatedScene,
    raster: SceneRaster,
    aoi: Aoi,
    source: LabelSource,
    seen: _Seen,
) -> Iterator[Finding]:
    path, subset, scene = entry
    if _is_too_much(scene, raster, seen):
        seen.is_complete = False
        return
    selected = select_windows(scene, raster, aoi, source, config.chip, config.seed)
    seen.chips.setdefault(subset, Counter()).update(selected.labels.class_ids.tolist())
    if not selected.num_in_aoi and selected.num_windows:
        what = f"none of the {selected.num_windows} windows of scene {scene.id!r} is selected by its AOI"
        yield Finding(f"{path}.aoi_uris", what, _AOI_FIX, "warning")


def _check_evaluation(config: ChipClassificationConfig, todo: Todo, seen: _Seen) -> Iterator[Finding]:
    """Whether any cell of the evaluated scenes has a class: without one, eval fails after the training."""
    scenes = [scene for subset in config.eval.subsets for scene in config.dataset.scenes_of(subset) if scene.labels]
    if todo.get("eval") and scenes and not seen.num_cells and not seen.has_uncounted_cells:
        what = "there is nothing to evaluate: no cell of the evaluated scenes has a label inside the AOI"
        yield Finding("eval.subsets", what, "give them labels that label cells, or set eval.subsets to []")


def _check_totals(config: ChipClassificationConfig, todo: Todo, seen: _Seen) -> Iterator[Finding]:
    """Whether training gets chips at all, and of every class; only if all training scenes are counted."""
    chipped = set(todo.get("chip", ()))
    is_known = seen.is_complete and all(scene.id in chipped for scene in config.dataset.train_scenes)
    if not is_known or not todo.get("train"):
        return
    counts = seen.chips.get("train", Counter())
    if counts.total() < _MIN_TRAINING_CHIPS:
        what = (
            "no training chip: no window has a label" if not counts else "one training chip is too little to train on"
        )
        fix = "check labels and AOIs"
        if config.chip.sampling != "cells" and any(
            scene.labels and not scene.labels.has_cell_grid() for scene in config.dataset.train_scenes
        ):
            fix += '; chip.sampling="cells" lays a window on each feature, wherever it lies'
        yield Finding("dataset.train_scenes", what, fix)
        return
    for class_id, name in enumerate(config.classes.names):
        if not counts[class_id]:
            what = f"class {name!r} gets none of the {counts.total()} training chips"
            yield Finding(f"classes.names[{class_id}]", what, "", "warning")
    if config.dataset.validation_scenes and not seen.chips.get("validation"):
        yield Finding("dataset.validation_scenes", "no validation chip: no window has a label", "", "warning")
