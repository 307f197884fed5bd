"""The model as others take it: ONNX by another runtime, and a STAC item with what the extension asks for."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
import torch

from rv_core.files.storage import Storage
from rv_pipeline_chip_classification.commands.bundle import run_bundle
from rv_pipeline_chip_classification.config import ChipClassificationConfig, ClassConfig, DatasetConfig
from rv_pipeline_chip_classification.model.normalize import Normalization
from rv_pipeline_chip_classification.model.trained import load_model, read_trained
from rv_pipeline_chip_classification.prediction.classifier import Classifier

NORMALIZATION = Normalization("stats", (900.0, 1200.0, 30.0), (1 / 300, 1 / 410, 1 / 7))


def bundled(storage: Storage, write_trained: Any, *formats: str, **changes: Any) -> None:
    contract = write_trained(storage, normalization=NORMALIZATION, temperature=1.7, **changes)
    config = ChipClassificationConfig(
        root_uri="unused",
        name="land cover",
        classes=ClassConfig(names=list(contract.class_names)),
        dataset=DatasetConfig(train_scenes=[]),
        bundle_formats=list(formats),
    )
    run_bundle(config, storage)


@pytest.mark.parametrize("backbone", ["small_cnn", "resnet18"])
def test_another_runtime_gives_the_scores_of_rv_from_raw_pixels(
    backbone: str, storage: Storage, write_trained: Any
) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    bundled(storage, write_trained, "onnx", backbone=backbone)
    contract, weights = read_trained(storage)
    rng = np.random.default_rng(0)
    side = contract.chip_width_px
    chips = rng.integers(0, 3000, (5, side, side, 3)).astype(np.uint16)
    expected = Classifier(load_model(contract, weights), contract, device=torch.device("cpu")).score(chips, None)
    session = runtime.InferenceSession(storage.input_file("bundle/model.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], {"pixels": chips.astype(np.float32).transpose(0, 3, 1, 2)})
    assert np.abs(found - expected).max() < 1e-4
    assert found.sum(axis=1) == pytest.approx(1.0)
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["classes"]) == list(contract.class_names)
    assert json.loads(told["offset"]) == [900.0, 1200.0, 30.0]
    first = storage.read_bytes("bundle/model.onnx")
    bundled(storage, write_trained, "onnx", backbone=backbone)
    assert storage.read_bytes("bundle/model.onnx") == first


def test_the_item_has_what_the_extension_asks_for(storage: Storage, write_trained: Any) -> None:
    """The required fields and the patterns of the extension's schema, and of the one for classes."""
    bundled(storage, write_trained, "stac_mlm", channels=("red", "green", None))
    item = json.loads(storage.read_text("bundle/model.stac.json"))
    assert (item["type"], item["stac_version"], item["geometry"], item["links"]) == ("Feature", "1.1.0", None, [])
    assert item["stac_extensions"][0] == "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
    properties = item["properties"]
    assert properties["datetime"] is None and properties["start_datetime"] < properties["end_datetime"]
    assert re.fullmatch("[a-zA-Z][a-zA-Z0-9_.-]+[a-zA-Z0-9]", properties["mlm:name"])
    assert (properties["mlm:framework"], properties["mlm:tasks"]) == ("PyTorch", ["classification"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", properties["mlm:framework_version"])
    assert (properties["mlm:pretrained"], properties["mlm:pretrained_source"]) == (False, None)
    (taken,), (given,) = properties["mlm:input"], properties["mlm:output"]
    assert taken["bands"] == ["red", "green", "channel_2"] == [band["name"] for band in properties["bands"]]
    for part, axes in ((taken["input"], 4), (given["result"], 2)):
        assert len(part["shape"]) == len(part["dim_order"]) == axes
        assert part["data_type"] == "float32"
    assert taken["value_scaling"][0] == {"type": "z-score", "mean": 900.0, "stddev": pytest.approx(300)}
    for value, entry in enumerate(given["classification:classes"]):
        assert entry["value"] == value
        assert re.fullmatch("[0-9A-Za-z_-]+", entry["name"])
        assert re.fullmatch("[0-9A-F]{6}", entry["color_hint"])
    assert set(item["assets"]) == {"bundle"}
    for asset in item["assets"].values():
        assert "mlm:model" in asset["roles"] and asset["mlm:artifact_type"]
        assert storage.exists(f"bundle/{asset['href'].removeprefix('./')}")


def test_beside_an_onnx_file_the_item_describes_that_one(storage: Storage, write_trained: Any) -> None:
    pytest.importorskip("onnx")
    bundled(storage, write_trained, "onnx", "stac_mlm", class_names=("Forest / wood", "Wässer", "_"))
    item = json.loads(storage.read_text("bundle/model.stac.json"))
    assert item["properties"]["mlm:framework"] == "ONNX"
    assert set(item["assets"]) == {"bundle", "onnx"}
    assert "value_scaling" not in item["properties"]["mlm:input"][0]
    classes = item["properties"]["mlm:output"][0]["classification:classes"]
    assert [entry["name"] for entry in classes] == ["Forest_wood", "W_sser", "class_2"]
    assert classes[0]["description"] == "Forest / wood"


def test_nothing_else_is_written_where_nothing_is_asked_for(storage: Storage, write_trained: Any) -> None:
    bundled(storage, write_trained)
    assert storage.exists("bundle/model-bundle.zip")
    assert not storage.exists("bundle/model.onnx") and not storage.exists("bundle/model.stac.json")
