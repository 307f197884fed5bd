"""The command `predict`: which cells a scene has, which files come of it, and scenes that do not fit the model."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import torch

from rv_core.errors import DataError, StorageError
from rv_core.files.storage import Storage
from rv_pipeline_chip_classification.commands.evaluate import run_evaluate
from rv_pipeline_chip_classification.commands.predict import Predictor, SceneWriter, open_predictor
from rv_pipeline_chip_classification.config import (
    ChipClassificationConfig,
    ChipConfig,
    ClassConfig,
    DatasetConfig,
    EvalConfig,
    GeoJsonLabelsConfig,
    ModelConfig,
    PredictConfig,
    RasterSourceConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.model.value_histogram import PixelSample, ValueHistogram
from rv_pipeline_chip_classification.prediction.cell_scores import Answers
from rv_pipeline_chip_classification.prediction.classifier import Classifier
from rv_pipeline_chip_classification.prediction.geojson_file import read_predictions

CLASSES = ["forest", "shrub", "rock"]


class RecordingControl:
    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []
        self.counts: dict[str, float] = {}
        self.stop_requested = False

    def progress(self, done: int, total: int, **numbers: float) -> None:
        self.steps.append((done, total))
        assert numbers["cells_per_s"] > 0

    def record(self, **counts: float) -> None:
        self.counts |= counts

    def stopped(self) -> NoReturn:
        raise KeyboardInterrupt


class EvaluatingControl(RecordingControl):
    def progress(self, done: int, total: int, **numbers: float) -> None:
        self.steps.append((done, total))


@pytest.fixture
def control() -> RecordingControl:
    return RecordingControl()


@pytest.fixture
def predictor(make_contract: Any, brightest_channel: Any) -> Callable[..., Predictor]:
    """`predictor(stride_px=8)`: predicts the brightest channel."""

    def make(*, write_geotiff: bool = True, known: Any = (), **predict: Any) -> Predictor:
        answers = Answers(predict.get("abstain_below"), predict.get("scores") == "logits")
        contract = make_contract(**dict(known))
        classifier = Classifier(brightest_channel(), contract, device=torch.device("cpu"), answers=answers)
        writer = SceneWriter(classifier, write_geotiff, tells_drift=predict.get("on_drift", "warn") == "warn")
        return Predictor(writer, ClassConfig(names=CLASSES), ChipConfig(chip_size_px=16), PredictConfig(**predict))

    return make


def quarters(height: int = 64, width: int = 64) -> np.ndarray:
    """Red, green, blue and nothing (0) in the four quarters."""
    array = np.full((height, width, 3), 900, np.uint16)
    array[: height // 2, : width // 2, 0] = 50_000
    array[: height // 2, width // 2 :, 1] = 50_000
    array[height // 2 :, : width // 2, 2] = 50_000
    array[height // 2 :, width // 2 :] = 0
    return array


def scene_of(path: str, **options: Any) -> SceneConfig:
    raster = {name: options.pop(name) for name in ("bbox", "channel_order", "nodata") if name in options}
    return SceneConfig(id="s1", raster=RasterSourceConfig(uris=[path], **raster), **options)


def features(storage: Storage) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(storage.read_text("predict/s1.geojson"))["features"]
    return found


def class_ids(storage: Storage) -> list[int | None]:
    return [feature["properties"]["class_id"] for feature in features(storage)]


def test_a_scene_becomes_cells_a_map_and_scores(
    predictor: Any, write_image: Any, storage: Storage, control: RecordingControl
) -> None:
    counts = predictor().predict_scene(scene_of(write_image("a.tif", quarters(), nodata=0)), storage, control)
    expected = [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, None, None, 2, 2, None, None]
    assert class_ids(storage) == expected
    with rasterio.open(storage.input_file("predict/s1.tif")) as file:
        assert file.read(1).ravel().tolist() == [255 if found is None else found for found in expected]
    with rasterio.open(storage.input_file("predict/s1.scores.tif")) as file:
        assert np.allclose(np.nansum(file.read(), axis=0).ravel(), [found is not None for found in expected], atol=1e-5)
    assert (counts.num_cells, counts.num_without_data) == (16, 4)
    assert control.counts == {
        "num_cells": 16,
        "num_without_data": 4,
        "cells_of_forest": 4,
        "cells_of_shrub": 4,
        "cells_of_rock": 4,
    }
    assert control.steps[-1] == (16, 16)


def test_cells_of_which_the_model_is_too_unsure_have_scores_and_no_class(
    predictor: Any, write_image: Any, storage: Storage, control: RecordingControl
) -> None:
    pixels = quarters()
    pixels[:, :, 1] //= 2
    scene = scene_of(write_image("a.tif", pixels, nodata=0))
    predictor().predict_scene(scene, storage, control)
    everywhere = features(storage)
    scores = [feature["properties"]["score"] for feature in everywhere]
    limit = sorted(score for score in scores if score is not None)[5]
    counts = predictor(abstain_below=limit).predict_scene(scene, storage, control)
    is_unsure = [score is not None and score < limit for score in scores]
    assert 0 < sum(is_unsure) == counts.num_abstained == control.counts["num_abstained"] < 12
    assert (counts.num_cells, counts.num_without_data, counts.num_without_numbers) == (16, 4, 0)
    for unsure, before, now in zip(is_unsure, everywhere, features(storage), strict=True):
        nothing = dict.fromkeys(("class_id", "class_name", "score")) if unsure else {}
        assert now["properties"] == before["properties"] | nothing
    with rasterio.open(storage.input_file("predict/s1.tif")) as file:
        ids = [255 if found is None else found for found in class_ids(storage)]
        assert file.read(1).ravel().tolist() == ids
    with rasterio.open(storage.input_file("predict/s1.scores.tif")) as file:
        assert np.isfinite(file.read()).all(axis=0).ravel().tolist() == [score is not None for score in scores]


def test_logits_are_written_by_choice_and_read_back_as_the_probabilities_that_they_give(
    predictor: Any, write_image: Any, storage: Storage, control: RecordingControl
) -> None:
    scene = scene_of(write_image("a.tif", quarters(), nodata=0))
    found = {}
    for kind in ("probabilities", "logits"):
        predictor(scores=kind, abstain_below=0.5, known={"temperature": 0.5}).predict_scene(scene, storage, control)
        path = storage.input_file("predict/s1.geojson")
        found[kind] = features(storage), list(read_predictions(path, where="s1"))
    (told, cells), (raw, from_logits) = found.values()
    assert [feature["properties"]["class_id"] for feature in told] == [f["properties"]["class_id"] for f in raw]
    assert json.loads(storage.read_text("predict/s1.geojson"))["rv:scores"] == "logits"
    assert raw[0]["properties"]["scores"] != pytest.approx(told[0]["properties"]["scores"], abs=0.01)
    for cell, other in zip(cells, from_logits, strict=True):
        assert (cell.window, cell.class_id) == (other.window, other.class_id)
        assert cell.scores is None if other.scores is None else cell.scores == pytest.approx(other.scores, abs=3e-6)


def test_windows_count_from_the_files_first_pixel_and_may_overflow_a_crop(
    predictor: Any, write_image: Any, storage: Storage, control: RecordingControl
) -> None:
    scene = scene_of(write_image("a.tif", quarters()), bbox=[8, 24, 20, 32])
    predictor().predict_scene(scene, storage, control)
    assert [feature["properties"]["window"] for feature in features(storage)] == [
        [8, 24, 16, 16],
        [8, 40, 16, 16],
        [24, 24, 16, 16],
        [24, 40, 16, 16],
    ]
    assert [feature["properties"]["valid_fraction"] for feature in features(storage)] == [1.0, 1.0, 0.25, 0.25]


def test_a_stride_below_the_cell_size_gives_a_cell_per_step(
    predictor: Any, write_image: Any, storage: Storage, control: RecordingControl
) -> None:
    predictor(stride_px=8).predict_scene(scene_of(write_image("a.tif", quarters())), storage, control)
    windows = [feature["properties"]["window"] for feature in features(storage)]
    assert len(windows) == 49
    assert windows[1] == [0, 8, 16, 16]
    with rasterio.open(storage.input_file("predict/s1.tif")) as file:
        assert file.shape == (7, 7)


def test_the_cell_size_is_that_of_the_labels(
    predictor: Any, write_image: Any, write_labels: Any, square: Any, storage: Storage, control: RecordingControl
) -> None:
    labels = GeoJsonLabelsConfig(uri=write_labels("a.geojson", [(square(0, 0, 32), {"class_id": 0})]), cell_size_px=32)
    predictor().predict_scene(scene_of(write_image("a.tif", quarters()), labels=labels), storage, control)
    assert class_ids(storage)[:3] == [0, 1, 2]
    assert len(features(storage)) == 4


def test_cells_of_labels_without_a_grid_are_the_bounds_of_features(
    predictor: Any, write_image: Any, write_labels: Any, square: Any, storage: Storage, control: RecordingControl
) -> None:
    storage.write_bytes("predict/s1.tif", b"of an earlier run")
    shapes = [(square(40, 4, 20, 9), {"class_id": 0}), (square(2, 36, 10), {"class_id": 2})]
    labels = GeoJsonLabelsConfig(uri=write_labels("a.geojson", shapes), infer_cells=False)
    predictor().predict_scene(scene_of(write_image("a.tif", quarters()), labels=labels), storage, control)
    found = [(feature["properties"]["window"], feature["properties"]["class_id"]) for feature in features(storage)]
    assert found == [([2, 36, 10, 10], 1), ([40, 4, 20, 9], 2)]
    assert not storage.exists("predict/s1.tif")
    assert not storage.exists("predict/s1.scores.tif")


def test_rasters_that_are_no_longer_asked_for_are_removed(
    predictor: Any, write_image: Any, storage: Storage, control: RecordingControl
) -> None:
    scene = scene_of(write_image("a.tif", quarters()))
    predictor().predict_scene(scene, storage, control)
    assert storage.exists("predict/s1.scores.tif")
    predictor(write_geotiff=False).predict_scene(scene, storage, control)
    assert sorted(storage.list_files("predict")) == ["s1.geojson", "s1.qml"]


def test_an_image_without_a_crs_is_predicted_in_pixels(
    predictor: Any, write_image: Any, storage: Storage, control: RecordingControl
) -> None:
    predictor().predict_scene(scene_of(write_image("a.tif", quarters(), crs=None)), storage, control)
    assert json.loads(storage.read_text("predict/s1.geojson"))["rv:coordinates"] == "pixels"
    assert features(storage)[0]["geometry"]["coordinates"][0][2] == [16.0, 16.0]


def test_another_number_of_channels_is_refused_before_anything_is_written(
    predictor: Any, write_image: Any, storage: Storage, control: RecordingControl
) -> None:
    scene = scene_of(write_image("a.tif", quarters()), channel_order=[0, 1])
    with pytest.raises(DataError, match="has 2 channels, the model expects 3"):
        predictor().predict_scene(scene, storage, control)
    assert storage.list_files() == {}


def test_channels_with_other_names_are_told(
    predictor: Any, write_image: Any, storage: Storage, control: RecordingControl, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_image("a.tif", quarters(), names=["nir", "Green", "blue"])
    with pytest.raises(DataError, match=r"no band of the file is called 'red'.*channel_order"):
        predictor().predict_scene(scene_of(path), storage, control)
    other = write_image("b.tif", quarters(), names=["B04", "B03", "B02"])
    with caplog.at_level(logging.WARNING):
        predictor().predict_scene(scene_of(path, channel_order=[0, 1, 2]), storage, control)
        predictor().predict_scene(scene_of(other), storage, control)
    messages = [record.getMessage() for record in caplog.records]
    assert "are nir, Green, blue, and the model was trained on red, green, blue: taken by position" in messages[0]
    assert "are B04, B03, B02" in messages[1]


def test_channels_in_another_order_are_refused_with_what_mends_it(
    predictor: Any, write_image: Any, storage: Storage, control: RecordingControl
) -> None:
    scene = scene_of(write_image("a.tif", quarters(), names=["blue", "Green", "red"]))
    with pytest.raises(DataError, match=r"set channel_order=\[2, 1, 0\]"):
        predictor().predict_scene(scene, storage, control)
    scene.raster.channel_order = [2, 1, 0]
    predictor().predict_scene(scene, storage, control)


def test_values_of_another_scale_are_told_per_channel_refused_or_not_looked_at(
    predictor: Any, write_image: Any, storage: Storage, control: RecordingControl, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    array = rng.normal(400, 50, (64, 64, 3)).astype(np.uint16)
    known = {"values": histogram_of(array)}
    usual = scene_of(write_image("a.tif", rng.normal(410, 60, array.shape).astype(np.uint16)))
    array[..., 1] *= 10
    scene = scene_of(write_image("b.tif", array))
    with caplog.at_level(logging.WARNING):
        for its, on_drift in ((usual, "warn"), (scene, "warn"), (scene, "ignore"), (usual, "refuse")):
            predictor(known=known, on_drift=on_drift).predict_scene(its, storage, control)
    (message,) = [record.getMessage() for record in caplog.records]
    assert "green: 100% of its pixels are outside of 2" in message
    assert "red" not in message
    storage.delete("predict/s1.geojson")
    with pytest.raises(DataError, match="values of this image are not those of the training images"):
        predictor(known=known, on_drift="refuse").predict_scene(scene, storage, control)
    assert not storage.exists("predict/s1.geojson")
    with pytest.raises(DataError, match="does not know the values"):
        predictor(on_drift="refuse").predict_scene(usual, storage, control)


def histogram_of(array: np.ndarray) -> ValueHistogram:
    sample = PixelSample(array.shape[-1], array[..., 0].size)
    sample.add(array, None)
    histogram = sample.histogram()
    assert histogram is not None
    return histogram


def test_a_scene_with_another_header_is_told(
    predictor: Any, write_image: Any, storage: Storage, control: RecordingControl, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_image("a.tif", quarters())
    with rasterio.open(path, "r+") as file:
        file.scales = (0.0001,) * 3
    known = {"scales": ((1.0, 0.0),) * 3, "declared_nodata": (65535.0,), "pixel_size_m": (30.0, 30.0)}
    with caplog.at_level(logging.WARNING):
        predictor(known=known).predict_scene(scene_of(path), storage, control)
    texts = [record.getMessage() for record in caplog.records]
    assert "on the ground, those of the training images 30 m" in texts[0]
    assert "its scales and offsets are 0.0001 and 0, those of the training images 1 and 0" in texts[1]
    assert "it declares no nodata value, those of the training images: 65535" in texts[2]


def test_nothing_is_left_behind_when_an_image_is_cut_short(
    predictor: Any, write_image: Any, pixels: Any, storage: Storage, control: RecordingControl
) -> None:
    path = Path(write_image("a.tif", pixels(128, 128, 3), compress="none"))
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(DataError, match="cannot be read"):
        predictor().predict_scene(scene_of(str(path)), storage, control)
    assert storage.list_files() == {}


def test_a_stop_ends_the_task_without_output(
    predictor: Any, write_image: Any, storage: Storage, control: RecordingControl
) -> None:
    control.stop_requested = True
    with pytest.raises(KeyboardInterrupt):
        predictor().predict_scene(scene_of(write_image("a.tif", quarters())), storage, control)
    assert storage.list_files() == {}


def config_of(root: str, *scenes: SceneConfig) -> ChipClassificationConfig:
    return ChipClassificationConfig(
        root_uri=root,
        classes=ClassConfig(names=CLASSES),
        dataset=DatasetConfig(train_scenes=[], test_scenes=list(scenes)),
        chip=ChipConfig(chip_size_px=16),
        model=ModelConfig(backbone="small_cnn"),
    )


def test_the_trained_model_is_used_and_gives_the_same_bytes_every_time(
    write_trained: Any, write_image: Any, pixels: Any, storage: Storage, control: RecordingControl
) -> None:
    write_trained(storage)
    scene = scene_of(write_image("a.tif", pixels(80, 100, 3)))
    config = config_of(storage.root_uri, scene)
    found = []
    for _ in range(2):
        open_predictor(config, storage).predict_scene(scene, storage, control)
        found.append([storage.read_bytes(f"predict/{name}") for name in sorted(storage.list_files("predict"))])
    assert found[0] == found[1]
    assert len(found[0]) == 5
    assert len(features(storage)) == 35


@pytest.mark.parametrize("cell", [{}, {"infer_cells": False}, {"cell_size_px": 24}])
def test_the_linear_probe_says_of_cells_what_eval_finds_in_their_pixels(
    cell: dict[str, Any], write_trained: Any, write_image: Any, write_labels: Any, square: Any, storage: Storage
) -> None:
    write_trained(storage, context_px=8)
    rng = np.random.default_rng(0)
    probe = {
        "offset": [1000.0] * 3 + [0.0] * 3,
        "weights": rng.normal(size=(6, 3)).tolist(),
        "bias": [0.0] * 3,
        "num_cells": 9,
    }
    storage.write_text("train/linear-probe.json", json.dumps(probe))
    array = np.kron(rng.integers(1, 2000, (5, 7, 3)), np.ones((16, 16, 1), int))[:, :100]
    array[20:60, 30:50] = 0
    labels = [(square(16 * row, 16 * col, 16), {"class_id": (row + col) % 3}) for row in range(5) for col in range(6)]
    image = write_image("a.tif", array.astype(np.uint16), nodata=0)
    scene = scene_of(image, labels=GeoJsonLabelsConfig(uri=write_labels("a.geojson", labels), **cell))
    config = replace(config_of(storage.root_uri, scene), eval=EvalConfig(subsets=["test"]))
    open_predictor(config, storage).predict_scene(scene, storage, RecordingControl())
    kept = np.load(storage.input_file("predict/s1.probe.npy"))
    assert len(set(kept.tolist())) > 1
    found = []
    for _ in range(2):
        run_evaluate(config, storage, EvaluatingControl())
        found.append(storage.read_bytes("eval/test/eval.json"))
        storage.delete("predict/s1.probe.npy")
    assert found[0] == found[1]


def test_nothing_is_kept_of_the_probe_where_it_is_not_asked(
    write_trained: Any, write_image: Any, write_labels: Any, square: Any, pixels: Any, storage: Storage
) -> None:
    write_trained(storage)
    image, labels = write_image("a.tif", pixels(32, 32, 3)), write_labels("a.geojson", [(square(0, 0, 16), {})])
    probe = {"offset": [0.0] * 6, "weights": [[0.0] * 3] * 6, "bias": [0.0] * 3, "num_cells": 9}
    storage.write_text("train/linear-probe.json", json.dumps(probe))
    labelled = scene_of(image, labels=GeoJsonLabelsConfig(uri=labels))
    config = config_of(storage.root_uri, labelled)
    averaged = replace(config, predict=PredictConfig(stride_px=8, overlap="average"))
    for scene, chosen, is_there in ((labelled, config, True), (scene_of(image), config, False)):
        open_predictor(config, storage).predict_scene(labelled, storage, RecordingControl())
        open_predictor(chosen, storage).predict_scene(scene, storage, RecordingControl())
        assert storage.exists("predict/s1.probe.npy") is is_there
    open_predictor(config, storage).predict_scene(labelled, storage, RecordingControl())
    open_predictor(averaged, storage).predict_scene(labelled, storage, RecordingControl())
    assert not storage.exists("predict/s1.probe.npy")


def test_a_file_of_the_root_never_names_the_code_that_is_imported(
    write_trained: Any, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planted.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path)
    write_trained(storage)
    contract = json.loads(storage.read_text("train/model.json"))
    storage.write_text("train/model.json", json.dumps({**contract, "backbone": "planted:model"}), may_change=True)
    with pytest.raises(DataError, match="the trained model is a planted:model, and the config says small_cnn"):
        open_predictor(config_of(storage.root_uri), storage)
    assert not (tmp_path / "ran").exists()


def test_without_a_model_there_is_no_predictor(storage: Storage) -> None:
    with pytest.raises(StorageError, match=r"model\.json"):
        open_predictor(config_of(storage.root_uri), storage)


def test_an_image_that_claims_to_be_as_large_as_the_world_is_refused(
    predictor: Any, write_image: Any, storage: Storage, control: RecordingControl, tmp_path: Path
) -> None:
    path = tmp_path / "a.vrt"
    rasterio.shutil.copy(write_image("a.tif", quarters()), path, driver="VRT")
    text = path.read_text()
    path.write_text(
        text.replace('rasterXSize="64" rasterYSize="64"', 'rasterXSize="2000000000" rasterYSize="2000000000"')
    )
    with pytest.raises(DataError, match="has too many cells"):
        predictor().predict_scene(scene_of(str(path)), storage, control)
