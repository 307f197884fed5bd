"""Chips of real scenes: the counts that the data sets' own descriptions state."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from rv_core.files.storage import Storage
from rv_pipeline_chip_classification.chips.store import ChipStore
from rv_pipeline_chip_classification.commands.analyze import analyze_scene, merge_statistics
from rv_pipeline_chip_classification.commands.chip import chip_scene
from rv_pipeline_chip_classification.config import (
    AnalyzeConfig,
    ChipConfig,
    ClassConfig,
    ClassRasterLabelsConfig,
    GeoJsonLabelsConfig,
    RasterSourceConfig,
    SceneConfig,
)

pytestmark = pytest.mark.real_data


def scenes_of(folder: Path, labels: Any) -> dict[str, list[SceneConfig]]:
    """The scenes of a data set by split; `labels` makes the config of a label file."""
    by_split: dict[str, list[SceneConfig]] = {}
    for row in csv.DictReader((folder / "scenes.csv").read_text().splitlines()):
        raster = RasterSourceConfig(uris=[str(folder / row["image"])])
        scene = SceneConfig(id=row["scene_id"], raster=raster, labels=labels(str(folder / row["labels"])))
        by_split.setdefault(row["split"], []).append(scene)
    return by_split


def test_land_cover_chips_have_the_published_counts(real_data_dir: Path, storage: Storage) -> None:
    folder = real_data_dir / "zion-landsat8-nlcd"
    listed = json.loads((folder / "classes.json").read_text())["classes"]
    names = {entry["id"]: entry["name"] for entry in listed}
    classes = ClassConfig(names=list(names.values()))
    by_split = scenes_of(folder, lambda uri: ClassRasterLabelsConfig(uri=uri, class_values=names))
    counts: dict[str, Counter[str]] = {}
    for split, scenes in by_split.items():
        for scene in scenes:
            chips = chip_scene(scene, split, classes, ChipConfig(chip_size_px=32), 0, storage)
            counts.setdefault(split, Counter()).update(chips.class_counts)
    published = {"train": (154, 76, 141, 27), "val": (101, 9, 83, 5), "test": (79, 29, 79, 13)}
    first_four = [names[class_id] for class_id in (1, 2, 3, 4)]
    assert {split: tuple(counts[split][name] for name in first_four) for split in counts} == published
    store = ChipStore.open(storage, [scene.id for scene in by_split["train"]])
    with rasterio.open(by_split["train"][0].raster.uris[0]) as file:
        first = file.read(window=rasterio.windows.Window(32, 0, 32, 32))
    assert (store.gather([1])[0][0] == first.transpose(1, 2, 0)).all()


def test_statistics_of_the_training_scenes_are_numpys(real_data_dir: Path, storage: Storage) -> None:
    folder = real_data_dir / "zion-landsat8-nlcd"
    train = scenes_of(folder, lambda uri: None)["train"]
    pixels = []
    for scene in train:
        analyze_scene(scene, AnalyzeConfig(), storage)
        with rasterio.open(scene.raster.uris[0]) as file:
            pixels.append(file.read().reshape(4, -1).astype(np.float64))
    expected = np.concatenate(pixels, axis=1)
    merged = merge_statistics(storage, [scene.id for scene in train])
    assert merged.mean == pytest.approx(expected.mean(axis=1), rel=1e-9)
    assert merged.std == pytest.approx(expected.std(axis=1), rel=1e-9)


def test_polygons_in_degrees_label_half_metre_pixels(real_data_dir: Path, storage: Storage) -> None:
    def labels(uri: str) -> GeoJsonLabelsConfig:
        return GeoJsonLabelsConfig(
            uri=uri, background_class="background", use_intersection_over_cell=True, ioa_threshold=0.05
        )

    classes = ClassConfig(names=["background", "building"])
    found = {}
    for split, scenes in scenes_of(real_data_dir / "atlanta-spacenet-buildings", labels).items():
        for scene in scenes:
            chips = chip_scene(scene, split, classes, ChipConfig(chip_size_px=64), 0, storage)
            found[scene.id] = (chips.class_counts["background"], chips.class_counts["building"])
    assert found == {"atlanta_nw": (31, 18), "atlanta_ne": (35, 14), "atlanta_sw": (43, 6), "atlanta_se": (42, 7)}
