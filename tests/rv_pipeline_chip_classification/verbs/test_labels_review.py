"""`rv labels review`: flipped labels are listed, and what is edited in a layer is what changes in the labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.scenes import CELL_PX, CLASS_NAMES, write_scene

from rv_core.cli.app import main
from rv_pipeline_chip_classification.config import (
    ChipConfig,
    ClassConfig,
    GeoJsonLabelsConfig,
    RasterSourceConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.labels.cells import label_cells
from rv_pipeline_chip_classification.prediction.cell_scores import ScoredCells
from rv_pipeline_chip_classification.prediction.geojson_file import GeoJsonWriter
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.scenes.windows import windows_over

if TYPE_CHECKING:
    from tests.conftest import RvCli

MODULE = """
from rv_pipeline_chip_classification import *

def get_config(runner, data: str, train: str, test: str, root_uri: str = "root", labelled: bool = True):
    def scene(name):
        labels = GeoJsonLabelsConfig(uri=f"{data}/{name}.geojson", use_intersection_over_cell=True)
        raster = RasterSourceConfig(uris=[f"{data}/{name}.tif"])
        return SceneConfig(id=name, raster=raster, labels=labels if labelled or name != test else None)
    return ChipClassificationConfig(
        root_uri=root_uri,
        classes=ClassConfig(names=["forest", "shrub", "rock"]),
        dataset=DatasetConfig(train_scenes=[scene(train)], test_scenes=[scene(test)]),
        chip=ChipConfig(chip_size_px=16),
        train=TrainConfig(num_epochs=8, batch_size=32),
        predict=PredictConfig(subsets=["test"], write_geotiff=False),
        eval=EvalConfig(subsets=[]),
    )
"""
CLASSES, CHIP = ClassConfig(names=list(CLASS_NAMES)), ChipConfig(chip_size_px=CELL_PX)


def flip(path: Path, count: int, seed: int) -> set[tuple[int, ...]]:
    """Give some cells of a label file another class; returns their windows."""
    layer = json.loads(path.read_text())
    rng = np.random.default_rng(seed)
    cells_a_side = int(len(layer["features"]) ** 0.5)
    windows = set()
    for number in rng.choice(len(layer["features"]), count, replace=False).tolist():
        properties = layer["features"][number]["properties"]
        others = [name for name in CLASS_NAMES if name != properties["class_name"]]
        properties["class_name"] = others[int(rng.integers(2))]
        row, col = divmod(number, cells_a_side)
        windows.add((row * CELL_PX, col * CELL_PX, CELL_PX, CELL_PX))
    path.write_text(json.dumps(layer))
    return windows


def truth_of(image: Path, labels: Path) -> dict[tuple[int, ...], int]:
    source = GeoJsonLabelsConfig(uri=str(labels), use_intersection_over_cell=True)
    scene = SceneConfig(id="x", raster=RasterSourceConfig(uris=[str(image)]), labels=source)
    cells = label_cells(scene, CLASSES, CHIP)
    return dict(zip(map(tuple, cells.windows.tolist()), cells.class_ids.tolist(), strict=True))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two scenes of 64 cells, and scores of both that know the truth but for some noise."""
    (tmp_path / "experiment.py").write_text(MODULE)
    for seed, name in enumerate(("a", "b")):
        write_scene(tmp_path / "data", name, size_px=8 * CELL_PX, seed=seed)
        truth = truth_of(tmp_path / "data" / f"{name}.tif", tmp_path / "data" / f"{name}.geojson")
        write_scores(tmp_path / "data" / f"{name}.tif", truth, tmp_path / "scores" / f"{name}.geojson")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_scores(image: Path, truth: dict[tuple[int, ...], int], target: Path, side_px: int = CELL_PX) -> None:
    target.parent.mkdir(exist_ok=True)
    with SceneRaster(RasterSourceConfig(uris=[str(image)]), "x") as raster, target.open("w") as file:
        windows = windows_over(raster.extent, size_px=side_px, stride_px=side_px)
        places = (windows[:, :2] // CELL_PX * CELL_PX).tolist()
        ids = np.array([truth[row, col, CELL_PX, CELL_PX] for row, col in places])
        noise = np.random.default_rng(0).dirichlet([0.6] * 3, len(ids))
        scores = (0.6 * np.eye(3)[ids] + 0.4 * noise).astype(np.float32)
        writer = GeoJsonWriter(file, raster.grid, scene_id="x", class_names=CLASS_NAMES, where="x")
        writer.write(ScoredCells(0, windows, scores.argmax(axis=1), scores, np.ones(len(ids))))
        writer.close()


def ranked(path: Path, key: str) -> list[tuple[int, ...]]:
    features = [f["properties"] for f in json.loads(path.read_text())["features"]]
    chosen = sorted((f for f in features if f[key] is not None), key=lambda f: f[key])
    return [tuple(f["window"]) for f in chosen]


def review(*words: str) -> int:
    return main(
        ["labels", "review", "experiment.py", "-a", "data", "data", "-a", "train", "a", "-a", "test", "b", *words]
    )


def test_flipped_labels_are_listed_and_edits_are_read_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, labels = folder / "data" / "b.tif", folder / "data" / "b.geojson"
    flipped = flip(labels, 4, seed=1)
    assert review("-o", "review", "--predictions", "scores", "--doubtful", "6") == 0
    out = capsys.readouterr().out
    assert "review/b.geojson: 64 of 64 cells have scores; 4 doubtful labels, 0 to label next" in out
    layer = folder / "review" / "b.geojson"
    assert set(ranked(layer, "doubt_rank")) == flipped
    before = truth_of(image, layer)
    assert before == truth_of(image, labels)
    content = json.loads(layer.read_text())
    edited = [f["properties"] for f in content["features"]][:20]
    for properties in edited:
        properties["class_name"] = next(name for name in CLASS_NAMES if name != properties["class_name"])
    layer.write_text(json.dumps(content))
    after = truth_of(image, layer)
    assert {window for window in before if before[window] != after[window]} == {tuple(f["window"]) for f in edited}


def test_averaged_scores_of_smaller_cells_count_for_the_cell_they_lie_in(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `predict.overlap="average"` writes them: cells of the map are as wide as the step."""
    truth = truth_of(folder / "data" / "b.tif", folder / "data" / "b.geojson")
    write_scores(folder / "data" / "b.tif", truth, folder / "scores" / "b.geojson", side_px=CELL_PX // 2)
    flipped = flip(folder / "data" / "b.geojson", 4, seed=1)
    assert review("-o", "review", "--predictions", "scores", "--doubtful", "4", "--scene", "b") == 0
    assert "64 of 64 cells have scores; 4 doubtful labels" in capsys.readouterr().out
    assert set(ranked(folder / "review" / "b.geojson", "doubt_rank")) == flipped
    layer = json.loads((folder / "review" / "b.geojson").read_text())["features"]
    scores = json.loads((folder / "scores" / "b.geojson").read_text())["features"]
    within = [its["properties"]["scores"] for its in scores if max(its["properties"]["window"][:2]) < CELL_PX]
    assert len(within) == 4
    assert layer[0]["properties"]["suggested_score"] == pytest.approx(np.mean(within, axis=0).max(), abs=1e-6)


def test_cells_of_scenes_without_labels_are_chosen_to_label_next(folder: Path) -> None:
    assert review("-o", "review", "--predictions", "scores", "--next", "7", "-a", "labelled", "False") == 0
    layer = folder / "review" / "b.geojson"
    assert len(ranked(layer, "next_rank")) == 7
    assert {f["properties"]["class_name"] for f in json.loads(layer.read_text())["features"]} == {None}
    assert ranked(folder / "review" / "a.geojson", "next_rank") == []


def test_scores_of_a_model_that_has_seen_the_scene_are_no_evidence(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from rv_core.config import saved
    from rv_pipeline_chip_classification.verbs.experiment import load_experiment

    arguments = ["data=data", "train=a", "test=b", f"root_uri={folder / 'root'}"]
    config = load_experiment("experiment.py", arguments, None)
    (folder / "root" / "predict").mkdir(parents=True)
    (folder / "root" / "pipeline-config.json").write_text(saved.dump(config))
    (folder / "scores" / "a.geojson").rename(folder / "root" / "predict" / "a.geojson")
    assert review("-o", "review") == 2
    captured = capsys.readouterr()
    assert "left out, for the model was trained on them: a" in captured.out
    assert "no scene has scores of a model that was not trained on it" in captured.err
    assert review("-o", "review", "--predictions", "scores", "--doubtful", "many") == 2
    assert "'many' is no number of cells" in capsys.readouterr().err


@pytest.mark.slow
def test_a_model_trained_on_flipped_labels_lists_most_of_them(
    rv: RvCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip_of: Callable[[str, int], set[tuple[int, ...]]] = lambda name, seed: flip(data / f"{name}.geojson", 20, seed)  # noqa: E731
    data = tmp_path / "data"
    (tmp_path / "experiment.py").write_text(MODULE)
    for seed, name in enumerate(("a", "b")):
        write_scene(data, name, size_px=20 * CELL_PX, seed=seed)
    flipped = {name: flip_of(name, seed) for seed, name in enumerate(("a", "b"))}
    folds = {"fold-1": ("a", "b"), "fold-2": ("b", "a")}
    for root, (train, test) in folds.items():
        words: list[Any] = [
            "-a",
            "data",
            data,
            "-a",
            "train",
            train,
            "-a",
            "test",
            test,
            "-a",
            "root_uri",
            tmp_path / root,
        ]
        assert rv("run", "inprocess", "experiment.py", "--to", "predict", *words).returncode == 0
    monkeypatch.chdir(tmp_path)
    assert review("-o", "review", "--predictions", "fold-1", "--predictions", "fold-2") == 0
    listed = {name: set(ranked(tmp_path / "review" / f"{name}.geojson", "doubt_rank")) for name in ("a", "b")}
    assert sum(map(len, listed.values())) <= 40
    assert sum(len(listed[name] & flipped[name]) for name in listed) >= 0.6 * 40
