"""Cells: the truth of an evaluation, inside the AOI, without reading pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rv_pipeline_chip_classification.config import (
    ChipConfig,
    ClassConfig,
    GeoJsonLabelsConfig,
    RasterSourceConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.labels.cells import label_cells
from rv_pipeline_chip_classification.scenes.raster_reader import RasterFile

CLASSES = ClassConfig(names=["background", "forest"])


@pytest.fixture
def scene(write_image: Callable[..., str], write_labels: Callable[..., str], square: Callable[..., Any]) -> SceneConfig:
    shapes = [(square(0, 0, 16), {"class_id": 1})]
    labels = GeoJsonLabelsConfig(
        uri=write_labels("a.geojson", shapes), background_class="background", use_intersection_over_cell=True
    )
    aoi = write_labels("aoi.geojson", [(square(0, 0, 16, 40), {})])
    raster = RasterSourceConfig(uris=[write_image("a.tif", np.ones((40, 40), np.uint8))])
    return SceneConfig(id="a", raster=raster, labels=labels, aoi_uris=[aoi])


def test_cells_have_the_labels_own_size_and_lie_in_the_aoi(scene: SceneConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RasterFile, "read", lambda *_: pytest.fail("pixels were read"))
    cells = label_cells(scene, CLASSES, ChipConfig(chip_size_px=16))
    assert cells.windows.tolist() == [[0, 0, 16, 16], [0, 16, 16, 16], [0, 32, 16, 16]]
    assert cells.class_ids.tolist() == [1, 0, 0]
    scene.labels.cell_size_px = 8  # type: ignore[union-attr]
    assert len(label_cells(scene, CLASSES, ChipConfig(chip_size_px=16)).windows) == 10


def test_cells_that_are_features_are_filtered_by_the_aoi_together_with_their_classes(scene: SceneConfig) -> None:
    scene.labels.infer_cells = False  # type: ignore[union-attr]
    cells = label_cells(scene, CLASSES, ChipConfig(chip_size_px=16))
    assert (cells.windows.tolist(), cells.class_ids.tolist()) == ([[0, 0, 16, 16]], [1])
