"""The trained model as a STAC item with the Machine Learning Model extension (https://github.com/stac-extensions/mlm).

It describes the ONNX file if there is one, which takes raw pixels and gives probabilities; else the weights in the bundle,
whose input is normalised and whose output are logits over the temperature. A model has no place and no time of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rv_pipeline_chip_classification.model.contract import ModelContract

SCHEMA = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
_TASKS = ["classification"]
#: What the extension of classes allows in a name; the description has the class's own.
_NOT_IN_A_NAME = re.compile("[^0-9A-Za-z_-]+")


def stac_item(
    contract: ModelContract, *, name: str, files: Mapping[str, str], versions: Mapping[str, str], sha256: str
) -> dict[str, Any]:
    """The item as plain values.

    Args:
        contract: of the model.
        name: of the pipeline.
        files: names of the files beside the item: `bundle`, and `onnx` if there is one.
        versions: distribution -> version that wrote them.
        sha256: of the weights, which is part of the item's id.
    """
    has_onnx = "onnx" in files
    bands = [channel or f"channel_{index}" for index, channel in enumerate(contract.channels)]
    properties: dict[str, Any] = {
        "description": f"Classifies cells of {contract.cell_size_px} px; trained on images of {contract.dtype}.",
        "datetime": None,
        "start_datetime": "1900-01-01T00:00:00Z",
        "end_datetime": "9999-12-31T23:59:59Z",
        "bands": [{"name": band} for band in bands],
        "mlm:name": _name_of(name),
        "mlm:architecture": contract.backbone,
        "mlm:framework": "ONNX" if has_onnx else "PyTorch",
        **({} if has_onnx else {"mlm:framework_version": versions.get("torch", "0.0.0").partition("+")[0]}),
        "mlm:tasks": _TASKS,
        "mlm:pretrained": contract.weights is not None,
        "mlm:pretrained_source": None if contract.weights is None else contract.weights.get("name"),
        "mlm:input": [_input_of(contract, bands, is_raw=has_onnx)],
        "mlm:output": [_output_of(contract, is_probability=has_onnx)],
        "mlm:hyperparameters": {
            "cell_size_px": contract.cell_size_px,
            "context_px": contract.context_px,
            "temperature": contract.temperature,
        },
    }
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [SCHEMA, "https://stac-extensions.github.io/classification/v2.0.0/schema.json"],
        "id": f"{_name_of(name)}-{sha256[:12]}",
        "geometry": None,
        "properties": properties,
        "links": [],
        "assets": {kind: _ASSETS[kind](file) for kind, file in files.items()},
    }


def _name_of(text: str) -> str:
    """A name as the extension wants it: letters, digits and `_.-`, beginning with a letter."""
    return f"rv-{re.sub('[^0-9A-Za-z_.-]+', '-', text).strip('._-') or 'model'}"


def _input_of(contract: ModelContract, bands: list[str], *, is_raw: bool) -> dict[str, Any]:
    width = contract.chip_width_px
    normalization = contract.normalization
    pairs = zip(normalization.offset, normalization.scale, strict=True)
    scaling = [{"type": "z-score", "mean": offset, "stddev": 1 / scale} for offset, scale in pairs]
    return {
        "name": "pixels" if is_raw else "normalised pixels",
        "bands": bands,
        "input": {
            "shape": [-1, contract.num_channels, width, width],
            "dim_order": ["batch", "channel", "height", "width"],
            "data_type": "float32",
        },
        **({} if is_raw else {"value_scaling": scaling}),
        "pre_processing_function": None,
    }


def _output_of(contract: ModelContract, *, is_probability: bool) -> dict[str, Any]:
    softmax = {"format": "text", "expression": f"softmax(logits / {contract.temperature})"}
    return {
        "name": "probabilities" if is_probability else "logits",
        "tasks": _TASKS,
        "result": {
            "shape": [-1, contract.num_classes],
            "dim_order": ["batch", "class"],
            "data_type": "float32",
        },
        "classification:classes": [
            {
                "value": class_id,
                "name": _NOT_IN_A_NAME.sub("_", class_name).strip("_") or f"class_{class_id}",
                "description": class_name,
                "color_hint": color.removeprefix("#").upper(),
            }
            for class_id, (class_name, color) in enumerate(
                zip(contract.class_names, contract.class_colors, strict=True)
            )
        ],
        "post_processing_function": None if is_probability else softmax,
    }


def _asset(title: str, media_type: str, artifact: str) -> Any:
    def make(href: str) -> dict[str, Any]:
        return {
            "href": f"./{href}",
            "title": title,
            "type": media_type,
            "roles": ["mlm:model"],
            "mlm:artifact_type": artifact,
        }

    return make


_ASSETS = {
    "bundle": _asset("Weights, contract and metrics, for rv predict", "application/zip", "safetensors"),
    "onnx": _asset("From pixels to probabilities", "application/octet-stream; framework=onnx", "onnx"),
}
