"""Averaged overlaps, neighbourhoods and symmetries, beside the same worked out from plain predictions with numpy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

from rv_core.cli.app import main
from rv_core.errors import UsageError
from rv_core.files.storage import Storage
from rv_pipeline_chip_classification import load_bundle
from rv_pipeline_chip_classification.applying.config import ApplyConfig, ImageConfig
from rv_pipeline_chip_classification.checks.images import check_images
from rv_pipeline_chip_classification.commands.predict import SceneWriter
from rv_pipeline_chip_classification.config import (
    ChipClassificationConfig,
    ClassConfig,
    DatasetConfig,
    PredictConfig,
    RasterSourceConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.control import Unheard
from rv_pipeline_chip_classification.model.backbones import build_model
from rv_pipeline_chip_classification.prediction.cell_scores import Answers, PredictionNames, answers_of
from rv_pipeline_chip_classification.prediction.cell_windows import CellGrid
from rv_pipeline_chip_classification.prediction.classifier import Classifier
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster

CELL_PX = 16


@pytest.fixture
def predict(write_image: Any, pixels: Any, make_contract: Any, storage: Storage) -> Any:
    """`predict(stride_px=4, overlap="average")`: (rows, cols, K) scores, (rows, cols) classes and valid fractions."""
    array = pixels(70, 91)
    array[20:55, 30:70] = 0
    array[:3, :5] = 0
    path = write_image("a.tif", array, nodata=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = build_model("small_cnn", 3, 3)

    def run(*, stride_px: int = CELL_PX, context_px: int = 0, **options: Any) -> tuple[np.ndarray, ...]:
        answers = answers_of(PredictConfig(**options))
        classifier = Classifier(
            model, make_contract(context_px=context_px), device=torch.device("cpu"), batch_size=7, answers=answers
        )
        with SceneRaster(RasterSourceConfig(uris=[path]), "a") as raster:
            grid = CellGrid(raster.extent, CELL_PX, stride_px)
            SceneWriter(classifier).write(raster, grid, PredictionNames("a"), storage, Unheard())
        features = json.loads(storage.read_text("a.geojson"))["features"]
        found = [feature["properties"] for feature in features]
        num_rows = len({cell["window"][0] for cell in found})
        scores = np.array([cell["scores"] or [np.nan] * 3 for cell in found]).reshape(num_rows, -1, 3)
        ids = np.array([-1 if cell["class_id"] is None else cell["class_id"] for cell in found])
        fractions = np.array([cell["valid_fraction"] for cell in found])
        return scores, ids.reshape(num_rows, -1), fractions.reshape(num_rows, -1)

    run.pixels, run.path = array, path  # type: ignore[attr-defined]
    return run


def classes(scores: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(scores[..., 0]), -1, np.nan_to_num(scores).argmax(axis=2))


@pytest.mark.parametrize(("stride_px", "scores"), [(4, "logits"), (8, "probabilities")])
def test_overlapping_cells_are_averaged_onto_the_step(
    predict: Any, storage: Storage, stride_px: int, scores: str
) -> None:
    overlapping, _, _ = predict(stride_px=stride_px, context_px=2)
    found, ids, fractions = predict(stride_px=stride_px, context_px=2, overlap="average", scores=scores)
    if scores == "logits":
        found = np.exp(found) / np.exp(found).sum(axis=2, keepdims=True)
    steps = CELL_PX // stride_px
    height, width = predict.pixels.shape[:2]
    expected = np.full((-(-height // stride_px), -(-width // stride_px), 3), np.nan)
    valid = np.zeros(expected.shape[:2])
    for row, col in np.ndindex(valid.shape):
        own = predict.pixels[row * stride_px :, col * stride_px :][:stride_px, :stride_px]
        valid[row, col] = own.any(axis=2).sum() / stride_px**2
        holding = overlapping[max(0, row - steps + 1) : row + 1, max(0, col - steps + 1) : col + 1].reshape(-1, 3)
        if valid[row, col]:
            expected[row, col] = np.nanmean(holding, axis=0)
    np.testing.assert_allclose(found, expected, atol=3e-6)
    np.testing.assert_array_equal(ids, classes(expected))
    np.testing.assert_allclose(fractions, valid, atol=1e-6)
    with rasterio.open(storage.input_file("a.tif")) as file:
        assert file.shape == expected.shape[:2]
        assert file.transform[:6] == (stride_px, 0, 500_000, 0, -stride_px, 4_500_000)


@pytest.mark.parametrize("options", [{"smooth": 3}, {"smooth": 5, "stride_px": 8, "overlap": "average"}])
def test_smoothed_scores_are_means_of_neighbourhoods(predict: Any, options: dict[str, Any]) -> None:
    plain, _, _ = predict(**options | {"smooth": 1})
    found, ids, _ = predict(**options)
    half, expected = options["smooth"] // 2, np.full_like(plain, np.nan)
    for row, col in np.argwhere(np.isfinite(plain[..., 0])):
        around = plain[max(0, row - half) : row + half + 1, max(0, col - half) : col + half + 1]
        expected[row, col] = np.nanmean(around.reshape(-1, 3), axis=0)
    assert np.isnan(expected).any()
    np.testing.assert_allclose(found, expected, atol=2e-6)
    np.testing.assert_array_equal(ids, classes(expected))


def test_scores_of_the_eight_symmetries_are_averaged(predict: Any, make_contract: Any) -> None:
    rng = np.random.default_rng(0)
    chips = rng.integers(0, 60_000, (5, CELL_PX, CELL_PX, 3), dtype=np.uint16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = build_model("small_cnn", 3, 3)

    def scored(seen: np.ndarray, answers: Answers) -> np.ndarray:
        classifier = Classifier(model, make_contract(), device=torch.device("cpu"), answers=answers)
        return classifier.score(np.ascontiguousarray(seen), None)

    turned = [np.rot90(chips, quarters, (1, 2)) for quarters in range(4)]
    each = [scored(seen, Answers()) for seen in [*turned, *(np.flip(seen, 2) for seen in turned)]]
    expected = np.mean(each, axis=0)
    assert np.abs(each[1] - expected).max() > 1e-5
    np.testing.assert_allclose(scored(chips, Answers(averages_symmetries=True)), expected, atol=1e-6)
    logits = scored(chips, Answers(averages_symmetries=True, gives_logits=True))
    np.testing.assert_allclose(np.exp(logits), expected, atol=1e-6)
    assert np.isfinite(predict(augment="d4")[0]).any()


def test_all_ways_in_give_the_same(bundle: str, predict: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["--overlap", "average", "--stride-px", "8", "--augment", "d4", "--smooth", "3"]
    assert main(["predict", bundle, predict.path, "-o", str(out), *words]) == 0
    line = ["run", "inprocess", "rv_pipeline_chip_classification.apply", "-a", f"bundle={bundle}"]
    for option in ("overlap=average", "stride_px=8", "augment=d4", "smooth=3", "max_windows_per_item=60"):
        line += ["-a", option]
    assert main([*line, "-a", f"images={predict.path}", "-a", f"root_uri={tmp_path}/root", "--splits", "3"]) == 0
    applied = tmp_path / "root" / "predict"
    assert len(list((applied / "a").iterdir())) == 2
    names = sorted(path.name for path in out.iterdir())
    assert [path.name for path in sorted(applied.iterdir()) if path.is_file()] == names
    for name in names:
        assert (applied / name).read_bytes() == (out / name).read_bytes(), name
    cells = load_bundle(bundle).predict(predict.path, stride_px=8, augment="d4", overlap="average", smooth=3)
    written = json.loads((out / "a.geojson").read_text())["features"]
    assert [cell["scores"] for cell in cells] == [feature["properties"]["scores"] for feature in written]


def test_options_that_do_not_go_together_are_told(
    bundle: str, predict: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = load_bundle(bundle)
    with pytest.raises(UsageError, match="do not overlap"):
        loaded.predict(predict.path, overlap="average")
    with pytest.raises(UsageError, match="none in their middle"):
        loaded.predict(predict.path, smooth=4)
    words = ["--overlap", "average", "--stride-px", "6"]
    assert main(["predict", bundle, predict.path, "-o", str(tmp_path / "out"), *words]) == 2
    squares = "cells of 16 px that begin every 6 px cannot be averaged onto squares of 6 px"
    assert squares in " ".join(capsys.readouterr().err.split())
    image = ImageConfig(id="a", uri=predict.path)
    config = ApplyConfig(root_uri=str(tmp_path), bundle=bundle, images=[image], stride_px=6, overlap="average")
    (finding,) = (found for found in check_images(config, {"predict": ["a"]}) if found.severity == "error")
    assert (finding.where, finding.what) == ("overlap", squares)
    training = ChipClassificationConfig(
        root_uri="unused",
        classes=ClassConfig(names=["a"]),
        dataset=DatasetConfig(train_scenes=[SceneConfig(id="a", raster=RasterSourceConfig(uris=["a.tif"]))]),
        predict=PredictConfig(overlap="average", smooth=2),
    )
    found = {finding.where for finding in training.validate()} | {one.where for one in training.predict.validate()}
    assert {"predict.overlap", "smooth"} <= found
