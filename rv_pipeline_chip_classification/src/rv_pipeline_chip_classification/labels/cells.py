"""Cells: the squares that are predicted, and their truth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rv_pipeline_chip_classification.config import ChipConfig, ClassConfig, SceneConfig
from rv_pipeline_chip_classification.config_parts import cell_size_px
from rv_pipeline_chip_classification.labels.aoi import read_aoi
from rv_pipeline_chip_classification.labels.sources import open_labels
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.scenes.windows import WindowArray


class LabelledCells(NamedTuple):
    """The truth of one scene.

    Args:
        windows: (N, 4) int64, in pixels of the scene, row by row.
        class_ids: (N,) int64.
    """

    windows: WindowArray
    class_ids: NDArray[np.int64]


def label_cells(scene: SceneConfig, classes: ClassConfig, chip: ChipConfig) -> LabelledCells:
    """The cells of a scene that have a class and that its AOI selects.

    Of the image only the header is read. With `infer_cells=False` the cells are the bounds of features, to whole
    pixels, else the grid of cells over the extent.

    Raises:
        DataError: if the scene has no labels, or a file cannot be used.
    """
    with SceneRaster(scene.raster, scene.id) as raster:
        return labelled_cells(raster, scene, classes, chip)


def labelled_cells(raster: SceneRaster, scene: SceneConfig, classes: ClassConfig, chip: ChipConfig) -> LabelledCells:
    """As `label_cells`, of a scene whose raster is open."""
    aoi = read_aoi(scene, raster.grid, raster.extent)
    with open_labels(scene, classes, raster.grid, raster.extent) as source:
        windows, class_ids = source.label_cells(cell_size_px(scene.labels, chip.chip_size_px))
    selected = aoi.selects(windows, within=chip.within_aoi)
    return LabelledCells(windows[selected], class_ids[selected])
