"""Every cell of a scene with its class, how it came to it, and what other settings would make of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rv_pipeline_chip_classification.config import ChipConfig, ClassConfig, GeoJsonLabelsConfig, SceneConfig
from rv_pipeline_chip_classification.config_parts import cell_size_px
from rv_pipeline_chip_classification.labels.aoi import Aoi, read_aoi
from rv_pipeline_chip_classification.labels.candidates import Candidates, winners_of
from rv_pipeline_chip_classification.labels.sources import (
    UNLABELLED,
    LabelSource,
    PolygonLabels,
    RasterLabels,
    open_labels,
)
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.scenes.windows import WindowArray, windows_over

#: How a cell came to its class, or why it has none.
FROM_POLYGON, FROM_BACKGROUND, FROM_PIXELS = "polygon", "background", "most pixels"
OUTSIDE_AOI, NO_POLYGON, BELOW_THRESHOLD = "outside the AOI", "no polygon", "below ioa_threshold"
NO_PIXEL, BELOW_FRACTION, NO_LABELS = "no labelled pixel", "below min_fraction", "the scene has no labels"
#: Thresholds that are tried.
_THRESHOLDS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class OpenScene:
    """A scene whose image and labels are open.

    Args:
        scene: its config.
        raster: its image; pixels are not read.
        aoi: of interest.
        source: its labels; None if it has none.
        class_names: by class id.
        cell_px: side of a cell.
    """

    scene: SceneConfig
    raster: SceneRaster
    aoi: Aoi
    source: LabelSource | None
    class_names: list[str]
    cell_px: int


@dataclass(frozen=True)
class CellTable:
    """The cells of a scene.

    Args:
        windows: (N, 4) int64: the grid row by row, or with `infer_cells=False` the bounds of features.
        places: (N, 2) int64, row and column in the grid, from 0; -1 where there is no grid.
        class_ids: (N,) int64, `UNLABELLED` where there is none; also of cells outside of the AOI.
        shares: (N,) float64, as in `WindowLabels`.
        in_aoi: (N,) bool, whether the AOI selects it.
        reasons: (N,) of how it came to its class, or why it is not used.
        candidates: of polygons; None for a raster of classes.
        winners: (N,) int64, position of the winner in the candidates, or -1.
    """

    windows: WindowArray
    places: NDArray[np.int64]
    class_ids: NDArray[np.int64]
    shares: NDArray[np.float64]
    in_aoi: NDArray[np.bool_]
    reasons: NDArray[np.str_]
    candidates: Candidates | None
    winners: NDArray[np.int64]

    @property
    def is_used(self) -> NDArray[np.bool_]:
        """Which cells have a class and are selected by the AOI: those that are evaluated. (N,) bool."""
        used: NDArray[np.bool_] = (self.class_ids != UNLABELLED) & self.in_aoi
        return used

    def unused(self) -> Counter[str]:
        """Reason -> how many cells are not used for it."""
        return Counter(self.reasons[~self.is_used].tolist())

    def class_counts(self, num_classes: int) -> list[int]:
        """Used cells by class id."""
        counts: list[int] = np.bincount(self.class_ids[self.is_used], minlength=num_classes).tolist()
        return counts


@contextmanager
def open_scene(scene: SceneConfig, classes: ClassConfig, chip: ChipConfig) -> Iterator[OpenScene]:
    """A scene, opened.

    Raises:
        DataError: if a file of it cannot be used.
    """
    with SceneRaster(scene.raster, scene.id) as raster:
        aoi = read_aoi(scene, raster.grid, raster.extent)
        labels = open_labels(scene, classes, raster.grid, raster.extent) if scene.labels else nullcontext()
        with labels as source:
            cell_px = cell_size_px(scene.labels, chip.chip_size_px)
            yield OpenScene(scene, raster, aoi, source, list(classes.names), cell_px)


def all_cells(opened: OpenScene, chip: ChipConfig) -> CellTable:
    """All cells of a scene, which may have no labels."""
    if opened.source is not None:
        return cell_table(opened, chip)
    windows, places = _grid_of(opened)
    nothing = np.full(len(windows), UNLABELLED, np.int64)
    in_aoi = opened.aoi.selects(windows, within=chip.within_aoi)
    reasons = np.where(in_aoi, NO_LABELS, OUTSIDE_AOI).astype("U24")
    return CellTable(windows, places, nothing, np.full(len(windows), np.nan), in_aoi, reasons, None, nothing)


def cell_table(opened: OpenScene, chip: ChipConfig) -> CellTable:
    """All cells of a scene with labels."""
    assert opened.source is not None
    windows, places = _cells_of(opened)
    in_aoi = opened.aoi.selects(windows, within=chip.within_aoi)
    labels = opened.source.label(windows)
    class_ids, winners, found = labels.class_ids, np.full(len(windows), -1, np.int64), None
    if isinstance(opened.source, PolygonLabels) and isinstance(opened.scene.labels, GeoJsonLabelsConfig):
        found = opened.source.candidates(windows).without_touching()
        won = winners_of(found, opened.scene.labels)
        winners[found.windows[won]] = won
        if not opened.scene.labels.infer_cells:
            class_ids = opened.source.label_cells(opened.cell_px)[1]
        reasons = _polygon_reasons(class_ids, winners, found, opened.scene.labels)
    else:
        reasons = _pixel_reasons(class_ids, opened.source, windows)
    reasons[~in_aoi] = OUTSIDE_AOI
    return CellTable(windows, places, class_ids, labels.shares, in_aoi, reasons, found, winners)


def _cells_of(opened: OpenScene) -> tuple[WindowArray, NDArray[np.int64]]:
    labels = opened.scene.labels
    if opened.source is not None and labels is not None and not labels.has_cell_grid():
        windows = opened.source.label_cells(opened.cell_px)[0]
        return windows, np.full((len(windows), 2), -1, np.int64)
    return _grid_of(opened)


def _grid_of(opened: OpenScene) -> tuple[WindowArray, NDArray[np.int64]]:
    extent, size_px = opened.raster.extent, opened.cell_px
    windows = windows_over(extent, size_px=size_px, stride_px=size_px)
    return windows, (windows[:, :2] - (extent.row_off, extent.col_off)) // size_px


def _polygon_reasons(
    class_ids: NDArray[np.int64], winners: NDArray[np.int64], found: Candidates, labels: GeoJsonLabelsConfig
) -> NDArray[np.str_]:
    reasons = np.full(len(class_ids), NO_POLYGON, "U24")
    reasons[np.unique(found.windows)] = BELOW_THRESHOLD
    reasons[(class_ids != UNLABELLED) & (winners < 0)] = FROM_BACKGROUND
    reasons[winners >= 0] = FROM_POLYGON
    if not labels.infer_cells:
        reasons[:] = FROM_POLYGON
    return reasons


def _pixel_reasons(class_ids: NDArray[np.int64], source: LabelSource, windows: WindowArray) -> NDArray[np.str_]:
    reasons = np.full(len(class_ids), FROM_PIXELS, "U24")
    lost = np.flatnonzero(class_ids == UNLABELLED)
    if len(lost) and isinstance(source, RasterLabels):
        has_pixels = source.class_counts(windows[lost]).any(axis=1)
        reasons[lost] = np.where(has_pixels, BELOW_FRACTION, NO_PIXEL)
    return reasons


def sensitivity(table: CellTable, labels: GeoJsonLabelsConfig, background: int) -> dict[str, int]:
    """Setting -> how many cells inside the AOI would have another class, or one instead of none, with it.

    Args:
        table: the cells.
        labels: the settings now; each variant changes one of them.
        background: class id of cells without a candidate, or `UNLABELLED`.
    """
    if table.candidates is None or not labels.infer_cells:
        return {}
    over_cell, smallest = labels.use_intersection_over_cell, labels.pick_min_class_id
    variants = {
        **{
            f"ioa_threshold={threshold:g}": replace(labels, ioa_threshold=threshold)
            for threshold in _THRESHOLDS
            if threshold != labels.ioa_threshold
        },
        f"use_intersection_over_cell={not over_cell}": replace(labels, use_intersection_over_cell=not over_cell),
        f"pick_min_class_id={not smallest}": replace(labels, pick_min_class_id=not smallest),
    }
    return {name: _num_changed(table, table.candidates, its, background) for name, its in variants.items()}


def _num_changed(table: CellTable, found: Candidates, labels: GeoJsonLabelsConfig, background: int) -> int:
    class_ids = np.full(len(table.windows), background, np.int64)
    won = winners_of(found, labels)
    class_ids[found.windows[won]] = found.class_ids[won]
    return int(((class_ids != table.class_ids) & table.in_aoi).sum())


def background_id(opened: OpenScene) -> int:
    """The class id of cells without a candidate, or `UNLABELLED`."""
    labels = opened.scene.labels
    name = labels.background_class if isinstance(labels, GeoJsonLabelsConfig) else None
    return UNLABELLED if name is None else opened.class_names.index(name)
