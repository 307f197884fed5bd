"""The weights that a training starts from are opened by the check: what is wrong with them is one finding."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from rv_core.errors import Finding
from rv_pipeline_chip_classification.checks.cheap import cheap_check
from rv_pipeline_chip_classification.checks.deep import deep_check
from rv_pipeline_chip_classification.config import (
    ChipClassificationConfig,
    ChipConfig,
    ClassConfig,
    DatasetConfig,
    EvalConfig,
    GeoJsonLabelsConfig,
    ModelConfig,
    RasterSourceConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.model.backbones import build_model

Tensors = dict[str, torch.Tensor]
Findings = Callable[..., list[Finding]]


@pytest.fixture
def findings(
    write_image: Callable[..., str], write_labels: Callable[..., str], square: Callable[..., dict[str, object]]
) -> Findings:
    """Gives the findings of a config that starts its training from a file."""
    pixels = np.random.default_rng(0).integers(1, 250, (64, 64, 3)).astype(np.uint8)
    labels = write_labels("a.geojson", [(square(0, 0, 30), {"class_id": 1})])
    scene = SceneConfig(
        id="a",
        raster=RasterSourceConfig(uris=[write_image("a.tif", pixels)]),
        labels=GeoJsonLabelsConfig(uri=labels, background_class="other", use_intersection_over_cell=True),
    )

    def look(file: Path, backbone: str = "resnet18", todo: tuple[str, ...] = ("chip", "train")) -> list[Finding]:
        config = ChipClassificationConfig(
            root_uri="/root",
            classes=ClassConfig(names=["other", "forest"]),
            dataset=DatasetConfig(train_scenes=[scene]),
            chip=ChipConfig(chip_size_px=16),
            model=ModelConfig(backbone=backbone, init_weights=str(file)),
            eval=EvalConfig(subsets=[]),
        )
        items = {command: ["a" if command == "chip" else "all"] for command in todo}
        return [*cheap_check(config, items), *deep_check(config, items)]

    return look


def written(path: Path, tensors: Tensors) -> Path:
    path.write_bytes(safetensors.torch.save(tensors))
    return path


def of_resnet18(channels: int = 3, classes: int = 2) -> Tensors:
    return dict(build_model("resnet18", channels, classes).state_dict())


@pytest.mark.parametrize(("channels", "classes"), [(3, 2), (4, 2), (3, 7)], ids=["same", "channels", "classes"])
def test_weights_that_the_training_can_use_are_no_finding(
    findings: Findings, tmp_path: Path, channels: int, classes: int
) -> None:
    assert findings(written(tmp_path / "w.safetensors", of_resnet18(channels, classes))) == []


def bad_files(folder: Path) -> Iterator[tuple[str, Path, str]]:
    good = safetensors.torch.save(of_resnet18())
    yield "missing", folder / "none.safetensors", "there is no file"
    (folder / "folder").mkdir()
    yield "folder", folder / "folder", "is a folder"
    for name, raw, words in (
        ("empty", b"", "is neither a .safetensors file nor a model bundle"),
        ("pickle", pickle.dumps({"a": 1}), "is neither a .safetensors file nor a model bundle; rv opens no pickles"),
        ("cut", good[: len(good) // 2], "this file holds no weights that can be read"),
        ("zip", b"PK\x03\x04" + b"x" * 50, "this file holds no weights that can be read"),
        ("header", b"\xff" * 7 + b"\x7f{", "this file holds no weights that can be read"),
    ):
        path = folder / f"{name}.safetensors"
        path.write_bytes(raw)
        yield name, path, words


def test_a_file_that_holds_no_weights_is_one_finding(findings: Findings, tmp_path: Path) -> None:
    for name, path, words in bad_files(tmp_path):
        found = findings(path)
        assert [(f.where, f.severity) for f in found] == [("model.init_weights", "error")], (name, found)
        assert words in found[0].what and str(path) in found[0].what, name


def changed(name: str, tensor: torch.Tensor) -> Tensors:
    return {**of_resnet18(), name: tensor}


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (lambda: dict(build_model("resnet50", 3, 2).state_dict()), "the weights do not fit the model"),
        (dict, "conv1.weight: is missing in the file"),
        (lambda: changed("conv1.weight", torch.zeros(3)), "conv1.weight: has shape (3,)"),
        (lambda: changed("conv1.weight", torch.zeros(64, 0, 7, 7)), "conv1.weight: has shape (64, 0, 7, 7)"),
        (lambda: changed("conv1.weight", torch.zeros(32, 4, 7, 7)), "conv1.weight: has shape (32, 4, 7, 7)"),
        (lambda: changed("bn1.weight", torch.zeros(64, dtype=torch.int64)), "bn1.weight: holds torch.int64"),
        (lambda: changed("bn1.weight", torch.full((64,), torch.nan)), "no finite number"),
        (lambda: changed("bn1.weight", torch.full((64,), torch.nan).to(torch.float8_e4m3fn)), "no finite number"),
    ],
    ids=["backbone", "nothing", "one axis", "no channel", "filters", "integers", "nan", "nan of 8 bits"],
)
def test_weights_of_another_network_are_one_finding(
    findings: Findings, tmp_path: Path, tensors: Callable[[], Tensors], words: str
) -> None:
    (found,) = findings(written(tmp_path / "w.safetensors", tensors()))
    assert (found.where, found.severity) == ("model.init_weights", "error")
    assert words in found.what and "w.safetensors" in found.what


def test_weights_are_not_opened_where_nothing_is_trained(findings: Findings, tmp_path: Path) -> None:
    assert findings(written(tmp_path / "w.safetensors", {}), todo=("chip",)) == []
