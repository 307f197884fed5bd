"""The command `eval`: cells are matched by window, and what is not matched is told."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rv_core.errors import DataError, StorageError
from rv_core.files.storage import Storage
from rv_pipeline_chip_classification.commands.evaluate import run_evaluate
from rv_pipeline_chip_classification.config import (
    ChipClassificationConfig,
    ChipConfig,
    ClassConfig,
    DatasetConfig,
    EvalConfig,
    GeoJsonLabelsConfig,
    PredictConfig,
    RasterSourceConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.maps.probe_file import probe_file
from rv_pipeline_chip_classification.prediction.cell_scores import ScoredCells
from rv_pipeline_chip_classification.prediction.geojson_file import GeoJsonWriter
from rv_pipeline_chip_classification.scenes.grid import Grid

CLASSES = ["forest", "shrub", "rock"]


class RecordingControl:
    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []
        self.counts: dict[str, float] = {}

    def progress(self, done: int, total: int, **numbers: float) -> None:
        self.steps.append((done, total))

    def record(self, **counts: float) -> None:
        self.counts |= counts


@pytest.fixture
def control() -> RecordingControl:
    return RecordingControl()


@pytest.fixture
def make_scene(write_image: Any, write_labels: Any, square: Any, pixels: Any) -> Callable[..., SceneConfig]:
    """`make_scene("a", [0, 1, None, 2])`: 2 x 2 cells of 16 px with these classes; None is unlabelled."""

    def make(name: str, truth: list[int | None] | None, **options: Any) -> SceneConfig:
        image = write_image(f"{name}.tif", pixels(32, 32, 3))
        labels = None
        if truth is not None:
            shapes = [
                (square(16 * (index // 2), 16 * (index % 2), 16), {"class_id": class_id})
                for index, class_id in enumerate(truth)
                if class_id is not None
            ]
            labels = GeoJsonLabelsConfig(uri=write_labels(f"{name}.geojson", shapes))
        return SceneConfig(id=name, raster=RasterSourceConfig(uris=[image]), labels=labels, **options)

    return make


def write_prediction(
    storage: Storage, name: str, class_ids: list[int], *, size_px: int = 16, num_cols: int = 2, unsure: Any = ()
) -> None:
    """Cells row by row, each class with a score of 0.8; -1 has no data; those of `unsure` have scores and no class."""
    ids = np.array(class_ids, np.int64)
    windows = np.array(
        [[size_px * (i // num_cols), size_px * (i % num_cols), size_px, size_px] for i in range(len(ids))], np.int64
    )
    scores = np.full((len(ids), 3), 0.1, np.float32)
    scores[np.arange(len(ids)), ids] = 0.8
    scores[ids < 0] = np.nan
    ids[list(unsure)] = -1
    grid = Grid(32, 32, (1.0, 0.0, 500_000.0, 0.0, -1.0, 4_500_000.0), "EPSG:32618")
    with storage.output_file(f"predict/{name}.geojson") as path, path.open("w", encoding="utf-8") as file:
        writer = GeoJsonWriter(file, grid, scene_id=name, class_names=CLASSES, where=name)
        writer.write(ScoredCells(0, windows, ids, scores, np.ones(len(ids))))
        writer.close()


def config_of(
    test: list[SceneConfig], validation: list[SceneConfig] | None = None, **options: Any
) -> ChipClassificationConfig:
    return ChipClassificationConfig(
        root_uri="unused",
        classes=ClassConfig(names=CLASSES),
        dataset=DatasetConfig(train_scenes=[], validation_scenes=validation or [], test_scenes=test),
        chip=ChipConfig(chip_size_px=16),
        **{"eval": EvalConfig(subsets=["test"]), **options},
    )


def report(storage: Storage, subset: str = "test") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(storage.read_text(f"eval/{subset}/eval.json"))
    return found


def test_metrics_are_those_counted_by_hand(make_scene: Any, storage: Storage, control: RecordingControl) -> None:
    write_prediction(storage, "b", [0, 1, 1, 1])
    write_prediction(storage, "a", [0, 0, 0, 2])
    run_evaluate(config_of([make_scene("b", [0, 0, 1, 1]), make_scene("a", [0, 0, 1, 2])]), storage, control)
    found = report(storage)
    assert found["overall"]["confusion"] == [[3, 1, 0], [1, 2, 0], [0, 0, 1]]
    assert found["overall"]["accuracy"] == 6 / 8
    forest = found["overall"]["classes"][0]
    assert (forest["precision"], forest["recall"], forest["support"]) == (3 / 4, 3 / 4, 4)
    assert found["overall"]["coverage"] == {"labelled": 8, "predicted": 8, "matched": 8, "without_data": 0}
    assert found["overall"]["calibration_error"] == pytest.approx(0.8 - 6 / 8)
    calibration = found["calibration"]
    (only,) = calibration["bins"]
    assert (only["count"], only["confidence"], only["accuracy"]) == (8, pytest.approx(0.8), 6 / 8)
    low, high = calibration["interval_95"]
    assert low <= found["overall"]["calibration_error"] <= high
    assert list(found["per_scene"]) == ["b", "a"]
    assert found["per_scene"]["b"]["confusion"] == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert found["per_scene"]["b"]["classes"][2]["recall"] is None
    assert (found["subset"], found["skipped"], found["notes"]) == ("test", [], [])
    assert control.counts["test_accuracy"] == 0.75
    assert control.steps == [(1, 2), (2, 2)]


def test_the_simplest_answers_are_scored_on_the_same_cells(
    make_scene: Any, storage: Storage, control: RecordingControl
) -> None:
    storage.write_text("train/metrics.json", json.dumps({"train": {"classes": [{"support": n} for n in (1, 9, 2)]}}))
    # Of every mean and spread the probe makes nothing: it has its bias alone.
    probe = {"num_cells": 9, "offset": [0.0] * 6, "weights": [[0.0] * 3] * 6, "bias": [0.0, 0.1, 0.9]}
    storage.write_text("train/linear-probe.json", json.dumps(probe))
    write_prediction(storage, "a", [0, 0, 0, -1])
    run_evaluate(config_of([make_scene("a", [0, 0, 1, 2])]), storage, control)
    found = report(storage)
    constant, linear = found["baselines"]["constant"], found["baselines"]["linear_probe"]
    assert (constant["class_name"], constant["accuracy"]) == ("shrub", pytest.approx(1 / 3))
    assert linear["accuracy"] == 0.0
    assert found["warnings"][0] == "test: the model never answers 'shrub', the class of 1 of the cells"
    assert storage.exists("eval/test/a.png")
    assert storage.exists("eval/test/a.qml")
    on_the_map = [f["properties"] for f in json.loads(storage.read_text("eval/test/a.geojson"))["features"]]
    assert [cell["outcome"] for cell in on_the_map] == ["right", "right", "wrong", "not predicted"]
    assert on_the_map[2]["margin"] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("kept", "accuracy"), [([2, 1, 0, 2], 1.0), ([2, 1, 0], 0.0), ([3, 1, -1, 2], 0.0), (None, 0.0)]
)
def test_what_predict_left_of_the_linear_probe_is_taken_if_it_is_of_these_cells(
    kept: list[int] | None, accuracy: float, make_scene: Any, storage: Storage, control: RecordingControl
) -> None:
    # From pixels it answers the first class.
    probe = {"num_cells": 9, "offset": [0.0] * 6, "weights": [[0.0] * 3] * 6, "bias": [0.9, 0.1, 0.0]}
    storage.write_text("train/linear-probe.json", json.dumps(probe))
    write_prediction(storage, "a", [0, 1, -1, 2])
    if kept is not None:
        with storage.output_file("predict/a.probe.npy") as path, probe_file(path, len(kept)) as write:
            write(np.array(kept))
    run_evaluate(config_of([make_scene("a", [None, 1, 1, 2])]), storage, control)
    assert report(storage)["baselines"]["linear_probe"]["accuracy"] == accuracy


def test_without_what_a_training_leaves_there_is_nothing_to_compare_with_and_no_picture_is_no_failure(
    make_scene: Any, storage: Storage, control: RecordingControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise DataError("a strip cannot be read")

    monkeypatch.setattr("rv_pipeline_chip_classification.commands.quicklook.write_quicklook", fails)
    write_prediction(storage, "a", [0, 1, 2, 0])
    run_evaluate(config_of([make_scene("a", [0, 1, 2, 0])]), storage, control)
    assert report(storage)["baselines"] == {"constant": None, "linear_probe": None}
    assert not storage.exists("eval/test/a.png")


def test_labelled_cells_that_are_not_predicted_are_reported_not_dropped(
    make_scene: Any, storage: Storage, control: RecordingControl, caplog: pytest.LogCaptureFixture
) -> None:
    write_prediction(storage, "a", [0, 1])
    with caplog.at_level(logging.WARNING):
        run_evaluate(config_of([make_scene("a", [0, 1, 2, None])]), storage, control)
    found = report(storage)
    assert found["overall"]["coverage"] == {"labelled": 3, "predicted": 2, "matched": 2, "without_data": 0}
    assert found["overall"]["accuracy"] == 1.0
    assert found["notes"] == ["1 of 3 labelled cells are not predicted."]
    assert "1 of 3 labelled cells are not predicted" in caplog.text


def test_finer_cells_of_averaged_overlaps_are_evaluated_together(
    make_scene: Any, storage: Storage, control: RecordingControl
) -> None:
    # Of the 4 x 4 cells: three of forest and one of rock; a tie; no data beside shrub; nothing at all.
    finer = [0, 0, 1, 0, 0, 2, 1, 0, 1, -1, -1, -1, -1, -1, -1, -1]
    write_prediction(storage, "a", finer, size_px=8, num_cols=4)
    predict = PredictConfig(stride_px=8, overlap="average")
    run_evaluate(config_of([make_scene("a", [0, 0, 1, 2])], predict=predict), storage, control)
    found = report(storage)["overall"]
    assert found["confusion"] == [[2, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert found["coverage"] == {"labelled": 4, "predicted": 3, "matched": 3, "without_data": 1}
    (cell, *_) = json.loads(storage.read_text("eval/test/a.geojson"))["features"]
    assert cell["properties"]["score"] == pytest.approx((3 * 0.8 + 0.1) / 4)
    assert storage.exists("eval/test/a.png")


def test_right_and_wrong_cells_are_written_in_another_format_too(
    make_scene: Any, storage: Storage, control: RecordingControl
) -> None:
    pytest.importorskip("pyogrio")
    write_prediction(storage, "a", [0, 1, -1, 2])
    evaluation = EvalConfig(subsets=["test"], vector="parquet")
    run_evaluate(config_of([make_scene("a", [0, 0, 1, 2])], eval=evaluation), storage, control)
    columns = pytest.importorskip("pyarrow.parquet").read_table(storage.input_file("eval/test/a.parquet")).to_pydict()
    cells = [feature["properties"] for feature in json.loads(storage.read_text("eval/test/a.geojson"))["features"]]
    for name in ("outcome", "truth", "prediction", "scene"):
        assert columns[name] == [cell[name] for cell in cells]
    for name in ("score", "margin"):
        assert columns[name] == [None if cell[name] is None else pytest.approx(cell[name], abs=1e-6) for cell in cells]
    assert columns["outcome"] == ["right", "wrong", "not predicted", "right"]


def test_cells_without_data_are_never_a_class(make_scene: Any, storage: Storage, control: RecordingControl) -> None:
    write_prediction(storage, "a", [0, -1, 2, -1])
    run_evaluate(config_of([make_scene("a", [0, 1, 1, None])]), storage, control)
    found = report(storage)
    assert found["overall"]["coverage"] == {"labelled": 3, "predicted": 2, "matched": 2, "without_data": 1}
    assert np.sum(found["overall"]["confusion"]) == 2
    assert found["notes"] == ["1 of 3 labelled cells have no valid pixel, or none that the model gives numbers for."]


def test_unlabelled_cells_are_predicted_and_not_evaluated(
    make_scene: Any, storage: Storage, control: RecordingControl
) -> None:
    write_prediction(storage, "a", [0, 1, 2, 2])
    run_evaluate(config_of([make_scene("a", [0, None, None, 1])]), storage, control)
    assert report(storage)["overall"]["coverage"] == {"labelled": 2, "predicted": 4, "matched": 2, "without_data": 0}


def test_only_cells_inside_the_aoi_count(
    make_scene: Any, write_labels: Any, square: Any, storage: Storage, control: RecordingControl
) -> None:
    aoi = write_labels("aoi.geojson", [(square(-1, -1, 18, 40), {})])
    write_prediction(storage, "a", [0, 1, 0, 0])
    run_evaluate(config_of([make_scene("a", [0, 1, 2, 2], aoi_uris=[aoi])]), storage, control)
    assert report(storage)["overall"]["coverage"]["labelled"] == 2
    assert report(storage)["overall"]["accuracy"] == 1.0


def test_scenes_without_labels_are_left_out_and_named(
    make_scene: Any, storage: Storage, control: RecordingControl
) -> None:
    write_prediction(storage, "a", [0, 1, 2, 0])
    run_evaluate(config_of([make_scene("bare", None), make_scene("a", [0, 1, 2, 0])]), storage, control)
    found = report(storage)
    assert found["skipped"] == ["bare"]
    assert found["notes"] == ["1 of 2 scenes have no labels and are not evaluated."]
    assert list(found["per_scene"]) == ["a"]


def test_cells_without_an_answer_are_counted_and_in_no_score(
    make_scene: Any, storage: Storage, control: RecordingControl
) -> None:
    write_prediction(storage, "a", [0, 1, 2, 0], unsure=[2, 3])
    run_evaluate(config_of([make_scene("a", [0, 0, 2, 0])]), storage, control)
    overall = report(storage)["overall"]
    assert overall["coverage"] == {"labelled": 4, "predicted": 2, "matched": 2, "without_data": 0, "abstained": 2}
    assert overall["accuracy"] == 0.5
    assert "2 of 4 labelled cells have no class" in report(storage)["notes"][0]
    write_prediction(storage, "a", [0, 1, 2, 0], unsure=[0, 1, 2, 3])
    with pytest.raises(DataError, match="none of the 4 labelled cells of the test scenes has a class"):
        run_evaluate(config_of([make_scene("a", [0, 0, 2, 0])]), storage, control)


def test_a_subset_without_labels_says_so_and_is_no_error_beside_another(
    make_scene: Any, storage: Storage, control: RecordingControl
) -> None:
    write_prediction(storage, "a", [0, 1, 2, 0])
    config = config_of([make_scene("a", [0, 1, 2, 0])], eval=EvalConfig(subsets=["validation", "test"]))
    run_evaluate(config, storage, control)
    assert report(storage, "validation") == {
        "subset": "validation",
        "overall": None,
        "baselines": None,
        "calibration": None,
        "warnings": [],
        "per_scene": {},
        "skipped": [],
        "notes": ["There are no validation scenes."],
    }
    assert report(storage)["overall"]["accuracy"] == 1.0


def test_nothing_to_evaluate_at_all_is_an_error(make_scene: Any, storage: Storage, control: RecordingControl) -> None:
    with pytest.raises(DataError, match="nothing to evaluate") as caught:
        run_evaluate(config_of([make_scene("bare", None)]), storage, control)
    assert "1 of 1 scenes have no labels" in str(caught.value)
    assert storage.list_files() == {}


def test_an_aoi_that_holds_no_cell_leaves_nothing_to_evaluate(
    make_scene: Any, write_labels: Any, square: Any, storage: Storage, control: RecordingControl
) -> None:
    aoi = write_labels("aoi.geojson", [(square(3, 3, 5), {})])
    write_prediction(storage, "a", [0, 1, 2, 0])
    with pytest.raises(DataError, match="No cell has a label inside the AOI"):
        run_evaluate(config_of([make_scene("a", [0, 1, 2, 0], aoi_uris=[aoi])]), storage, control)


def test_cells_of_another_size_never_match_and_the_sizes_are_told(
    make_scene: Any, storage: Storage, control: RecordingControl
) -> None:
    write_prediction(storage, "a", [0] * 16, size_px=8, num_cols=4)
    with pytest.raises(DataError, match="none of the 4 labelled cells") as caught:
        run_evaluate(config_of([make_scene("a", [0, 1, 2, 0])]), storage, control)
    assert "labelled cells of 16 x 16 px, predicted cells of 8 x 8 px" in str(caught.value)
    assert not storage.exists("eval/test/eval.json")


def test_labels_where_all_is_nodata_are_explained(make_scene: Any, storage: Storage, control: RecordingControl) -> None:
    write_prediction(storage, "a", [-1, -1, -1, -1])
    with pytest.raises(DataError, match="none of the 4") as caught:
        run_evaluate(config_of([make_scene("a", [0, 1, 2, 0])]), storage, control)
    assert "scenes has a valid pixel" in str(caught.value)
    assert "look at nodata" in str(caught.value)


def test_a_class_that_is_not_in_the_config_is_an_error(
    make_scene: Any, storage: Storage, control: RecordingControl
) -> None:
    write_prediction(storage, "a", [0, 1, 2, 0])
    config = config_of([make_scene("a", [0, 1, 1, 0])])
    config.classes.names = CLASSES[:2]
    with pytest.raises(DataError, match="class id 2 is predicted, and there are 2 classes"):
        run_evaluate(config, storage, control)


def test_a_missing_prediction_is_an_error(make_scene: Any, storage: Storage, control: RecordingControl) -> None:
    with pytest.raises(StorageError, match=r"a\.geojson"):
        run_evaluate(config_of([make_scene("a", [0, 1, 2, 0])]), storage, control)
