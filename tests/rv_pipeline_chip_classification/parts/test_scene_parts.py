"""Scenes in parts: which parts there are, and that what comes out is what one item gives, to the byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rv_core.errors import DataError
from rv_core.files.storage import Storage
from rv_core.pipeline.items import items_by_id
from rv_pipeline_chip_classification.chips.store import ChipStore
from rv_pipeline_chip_classification.commands.chip import chip_scene
from rv_pipeline_chip_classification.commands.merge import merge_scene
from rv_pipeline_chip_classification.commands.predict import open_predictor
from rv_pipeline_chip_classification.config import (
    ChipClassificationConfig,
    ChipConfig,
    ClassConfig,
    DatasetConfig,
    GeoJsonLabelsConfig,
    PredictConfig,
    RasterSourceConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.control import Unheard
from rv_pipeline_chip_classification.parts.scene_parts import num_parts

CLASSES = ClassConfig(names=["forest", "shrub", "rock"])


class Counting(Unheard):
    def __init__(self) -> None:
        self.counts: dict[str, float] = {}

    def record(self, **counts: float) -> None:
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count


@pytest.fixture
def make_config(write_image: Any, write_labels: Any, square: Any, pixels: Any, tmp_path: Path) -> Callable[..., Any]:
    """`make_config(max_windows=20, …)`: one training scene of 100 x 90 px that is also predicted, with holes."""

    def make(max_windows: int, *, context_px: int = 3, stride_px: int = 6, **raster: Any) -> ChipClassificationConfig:
        array = pixels(100, 90)
        array[20:70, 30:60] = 0
        image = write_image("a.tif", array, nodata=0, names=["red", "green", "blue"])
        shapes = [(square(0, 0, 60, 50), {"class_name": "forest"}), (square(70, 5, 25), {"class_name": "rock"})]
        labels = GeoJsonLabelsConfig(uri=write_labels("a.geojson", shapes), use_intersection_over_cell=True)
        scene = SceneConfig(id="a", raster=RasterSourceConfig(uris=[image], **raster), labels=labels)
        return ChipClassificationConfig(
            root_uri=str(tmp_path / f"root-{max_windows}"),
            classes=CLASSES,
            dataset=DatasetConfig(train_scenes=[scene], validation_scenes=[SceneConfig(id="b", raster=scene.raster)]),
            chip=ChipConfig(
                chip_size_px=16, context_px=context_px, stride_px=stride_px, max_windows_per_item=max_windows
            ),
            predict=PredictConfig(stride_px=4, max_windows_per_item=max_windows),
        )

    return make


def items(config: ChipClassificationConfig, command: str) -> dict[str, Any]:
    return {name: item for name, (_, item) in items_by_id(config.build(), command).items()}


def test_a_scene_is_cut_by_its_size_and_the_bound_alone(make_config: Any) -> None:
    assert list(items(make_config(8192), "chip")) == ["a", "b"]
    assert list(items(make_config(100), "chip")) == ["a/1-of-3", "a/2-of-3", "a/3-of-3", "b"]
    assert list(items(make_config(300), "predict")) == ["b/1-of-2", "b/2-of-2"]
    assert list(items(make_config(300), "merge")) == ["b"]
    assert items(make_config(8192), "merge") == {}
    assert list(items(make_config(100, bbox=[0, 0, 50, 90]), "chip")) == ["a/1-of-2", "a/2-of-2", "b"]


@pytest.mark.parametrize(
    ("size_px", "expected"),
    [(None, 1), ((64, 64), 1), ((5760, 5760), 1), ((5761, 5761), 2), ((16_384, 16_384), 8), ((64, 10**6), 1)],
)
def test_the_number_of_parts(size_px: tuple[int, int] | None, expected: int) -> None:
    assert num_parts(size_px, window_px=64, stride_px=64, max_windows=8192) == expected


def test_chips_of_parts_are_those_of_the_scene(make_config: Any) -> None:
    stores, counts = [], []
    for max_windows in (8192, 100, 1):
        config = make_config(max_windows)
        storage = Storage(config.root_uri)
        found = items(config, "chip")
        counts.append(np.zeros(4, np.int64))
        for item in found.values():
            told = chip_scene(item, "train", CLASSES, config.chip, 0, storage)
            counts[-1] += [told.num_windows, told.num_in_aoi, told.num_labelled, told.num_chips]
        stores.append(ChipStore.open(storage, ["a", "b"]))
    whole, *others = stores
    assert whole.num_chips > 50
    for store, own in zip(others, counts[1:], strict=True):
        assert own.tolist() == counts[0].tolist()
        for name in ("class_ids", "windows", "valid_fractions", "scene_indices"):
            assert (getattr(store, name) == getattr(whole, name)).all(), name
        for one, other in zip(store.gather(range(whole.num_chips)), whole.gather(range(whole.num_chips)), strict=True):
            assert one is not None
            assert (one == other).all()


def test_back_to_one_item_and_a_damaged_list_of_parts(make_config: Any) -> None:
    config = make_config(100)
    storage = Storage(config.root_uri)
    for item in items(config, "chip").values():
        chip_scene(item, "train", CLASSES, config.chip, 0, storage)
    in_parts = ChipStore.open(storage, ["a"])
    chip_scene(config.dataset.train_scenes[0], "train", CLASSES, config.chip, 0, storage)
    assert (ChipStore.open(storage, ["a"]).windows == in_parts.windows).all()
    storage.write_text("chip/a.jsonl", '{"parts": ["../../etc/x"]}\n')
    with pytest.raises(DataError, match="a list of chips is damaged"):
        ChipStore.open(storage, ["a"])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"abstain_below": 0.35, "scores": "logits"},
        {"overlap": "average", "smooth": 3, "vector": "parquet"},
        {"overlap": "average", "abstain_below": 0.35, "scores": "logits"},
        {"precision": "bfloat16"},
    ],
    ids=["plain", "abstaining", "averaged", "averaged-logits", "bfloat16"],
)
def test_merged_predictions_are_those_of_one_item_to_the_byte(
    make_config: Any, write_trained: Any, options: dict[str, Any]
) -> None:
    if "vector" in options:
        pytest.importorskip("pyarrow", reason="the extra `vector` is not installed")
    written, counts = [], []
    for max_windows in (8192, 300, 30):
        config = make_config(max_windows)
        config.predict = replace(config.predict, **options)
        storage, control = Storage(config.root_uri), Counting()
        write_trained(storage)
        predictor = open_predictor(config, storage)
        for item in items(config, "predict").values():
            predictor.predict_scene(item, storage, control)
        counts.append(control.counts)
        for scene in items(config, "merge").values():
            merged = Counting()
            merge_scene(scene, config, storage, merged)
            assert merged.counts == counts[0]
        folder = Path(config.root_uri) / "predict"
        written.append({path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})
    assert len(written[0]) == (6 if "vector" in options else 5)
    assert ("num_abstained" in counts[0]) == ("abstain_below" in options)
    assert written[1] == written[0]
    assert written[2] == written[0]
    if "overlap" in options:  # classes come with merge
        counts = [{"num_cells": count["num_cells"]} for count in counts]
    assert counts[1] == counts[2] == counts[0]


def test_a_part_that_is_cut_short_is_told(make_config: Any, write_trained: Any) -> None:
    config = make_config(300)
    storage = Storage(config.root_uri)
    write_trained(storage)
    predictor = open_predictor(config, storage)
    for item in items(config, "predict").values():
        predictor.predict_scene(item, storage, Counting())
    part = Path(config.root_uri) / "predict" / "b" / "2-of-2.scores.npy"
    part.write_bytes(part.read_bytes()[:-5])
    (scene,) = items(config, "merge").values()
    with pytest.raises(DataError, match="cannot be read"):
        merge_scene(scene, config, storage, Counting())
    assert not (Path(config.root_uri) / "predict" / "b.geojson").exists()
