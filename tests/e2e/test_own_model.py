"""A run with a network of the user's own that starts from a card of weights: its keys, its bundle, its predictions."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.scenes import write_dataset

safetensors = pytest.importorskip("safetensors.torch", reason="the chip classification pipeline is not installed")

if TYPE_CHECKING:
    from tests.conftest import RvCli

NET = """
from torch import nn
from widths import WIDTH

def make(num_channels: int, num_classes: int) -> nn.Module:
    pixels = nn.Conv2d(num_channels, WIDTH, 3, padding=1)
    return nn.Sequential(pixels, nn.BatchNorm2d(WIDTH), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(WIDTH, num_classes))
"""
MODULE = """
from pathlib import Path
from rv_pipeline_chip_classification import *
from rv_pipeline_chip_classification import (ChipClassificationConfig, ChipConfig, ClassConfig, DatasetConfig,
    GeoJsonLabelsConfig, ModelConfig, RasterSourceConfig, SceneConfig, TrainConfig)

def scenes(subset):
    return [SceneConfig(id=path.stem, raster=RasterSourceConfig(uris=[str(path)]),
                        labels=GeoJsonLabelsConfig(uri=f"data/{path.stem}.geojson"))
            for path in sorted(Path("data").glob(f"{subset}-*.tif"))]

def get_config(root_uri: str = "out", weights: str = "cards/start.json"):
    return ChipClassificationConfig(
        root_uri=root_uri, name="own", classes=ClassConfig(names=["forest", "shrub", "rock"]),
        dataset=DatasetConfig(train_scenes=scenes("train"), validation_scenes=scenes("validation")),
        chip=ChipConfig(chip_size_px=16), model=ModelConfig(backbone="net:make", weights=weights),
        train=TrainConfig(num_epochs=1, num_threads=1), normalize="weights")
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """A folder with the module, the network beside it, a card with its weights and the scenes."""
    import torch

    write_dataset(tmp_path / "data", train=[1, 2], validation=[3])
    for name, text in (("exp.py", MODULE), ("net.py", NET), ("widths.py", "WIDTH = 8\n")):
        (tmp_path / name).write_text(text)
    tensors = {"0.weight": torch.zeros(8, 3, 3, 3), "0.bias": torch.arange(8.0), "1.weight": torch.ones(8),
               "1.bias": torch.zeros(8), "1.running_mean": torch.zeros(8), "1.running_var": torch.ones(8)}  # fmt: skip
    data = safetensors.save(tensors)
    card = {"format": 1, "kind": "rv weights card", "name": "start", "architecture": "net:make",
            "file": "start.safetensors", "sha256": hashlib.sha256(data).hexdigest(), "licence": "CC0-1.0",
            "source": "made for a test", "bands": ["red", "green", "blue"], "mean": [0.4, 0.5, 0.4],
            "std": [0.3, 0.2, 0.3], "unit": "0-1"}  # fmt: skip
    for folder in (tmp_path / "cards", tmp_path / "moved"):
        folder.mkdir()
        (folder / "start.safetensors").write_bytes(data)
        (folder / "start.json").write_text(json.dumps(card))
    return tmp_path


@pytest.mark.slow
def test_a_network_of_ones_own_is_trained_from_a_card_and_used(rv: RvCli, experiment: Path) -> None:
    done = rv("run", "inprocess", "exp.py", cwd=experiment)
    assert done.returncode == 0, done.stderr
    assert "channels have no names: taken by position for red, green, blue" in done.stderr + done.stdout
    contract = json.loads((experiment / "out" / "train" / "model.json").read_text())
    assert contract["weights"]["card"] == "start" and len(contract["weights"]["sha256"]) == 64
    assert len(contract["backbone_code"]) == 64 and contract["normalization"]["kind"] == "weights"
    assert contract["normalization"]["offset"] == pytest.approx([102.0, 127.5, 102.0])

    again = rv("run", "inprocess", "exp.py", "-a", "weights=moved/start.json", "--dry-run", cwd=experiment)
    assert "own.train      skip" in again.stdout or "already done" in again.stdout, again.stdout
    assert "Nothing to do" in again.stdout + again.stderr

    words = ["predict", "out/bundle/model-bundle.zip", "data/validation-3.tif", "-o", "predicted"]
    refused = rv(*words, cwd=experiment, env={"PYTHONPATH": str(experiment)})
    assert refused.returncode == 2 and "add --backbone net:make" in refused.stderr
    words += ["--backbone", "net:make"]
    missing = rv(*words, cwd=experiment)
    assert missing.returncode != 0 and "there is no module 'net' here" in missing.stderr
    assert "PYTHONPATH" in missing.stderr and "Traceback" not in missing.stderr
    found = rv(*words, cwd=experiment, env={"PYTHONPATH": str(experiment)})
    assert found.returncode == 0, found.stderr
    mine, its = (json.loads(path.read_text()) for path in
                 (experiment / "predicted" / "validation-3.geojson", experiment / "out" / "predict" / "validation-3.geojson"))  # fmt: skip
    assert [f["properties"] for f in mine["features"]] == [f["properties"] for f in its["features"]]

    (experiment / "widths.py").write_text("WIDTH = 4\n")
    changed = rv("run", "inprocess", "exp.py", "--dry-run", cwd=experiment)
    assert "code of net:make" in changed.stdout, changed.stdout
    refused = rv("check", "exp.py", cwd=experiment)
    assert refused.returncode == 2 and "the weights do not fit the model" in refused.stderr
