"""The trained model as an ONNX file, from the pixels of a chip to the probabilities of its classes.

Input `pixels` (N, C, H, W) float32, raw values in the order of the model's channels, H and W those of the training chips
with their context; output `probabilities` (N, K) float32. Normalisation and temperature are inside. A pixel without data
has the value that becomes 0, which is the offset of its channel. The metadata names classes and channels.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from rv_core.errors import DataError, TaskError
from rv_pipeline_chip_classification.model.contract import ModelContract

#: Any runtime of the last years takes it.
_OPSET = 17
INPUT, OUTPUT = "pixels", "probabilities"


class _FromPixels(nn.Module):
    """A network with what is done before and after it."""

    offset: Tensor
    scale: Tensor

    def __init__(self, model: nn.Module, contract: ModelContract) -> None:
        super().__init__()
        self.model, self.temperature = model, contract.temperature
        for name in ("offset", "scale"):
            values = torch.tensor(getattr(contract.normalization, name), dtype=torch.float32)
            self.register_buffer(name, values[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.softmax(self.model((pixels - self.offset) * self.scale) / self.temperature, 1)


def write_onnx(path: Path, model: nn.Module, contract: ModelContract) -> None:
    """Write the file; the same model and versions give the same bytes.

    Args:
        path: where to.
        model: the network, in eval mode, on the CPU.
        contract: of the model.

    Raises:
        DataError: if the network has parts that ONNX does not know.
        TaskError: if the package onnx is not installed.
    """
    try:
        import onnx
    except ImportError as err:
        fix = "pip install rv-pipeline-chip-classification[onnx], or take onnx out of bundle_formats"
        raise TaskError("bundle_formats asks for onnx, which is not installed here", why=str(err), fix=fix) from err
    pixels = torch.zeros(2, contract.num_channels, contract.chip_width_px, contract.chip_width_px)
    axes = {INPUT: {0: "chips"}, OUTPUT: {0: "chips"}}
    try:
        with warnings.catch_warnings():
            # torch tells that another exporter is its default now; that one needs one more package.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                _FromPixels(model, contract).eval(),
                (pixels,),
                str(path),
                dynamo=False,
                opset_version=_OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes=axes,
            )
    except Exception as err:
        raise DataError(
            f"the network {contract.backbone!r} cannot be written as ONNX",
            where="bundle_formats",
            why=f"{type(err).__name__}: {str(err)[:300]}",
            fix="take onnx out of bundle_formats, or use another model.backbone",
        ) from err
    found = onnx.load(str(path))
    onnx.helper.set_model_props(found, _metadata(contract))
    onnx.checker.check_model(found)
    onnx.save(found, str(path))


def _metadata(contract: ModelContract) -> dict[str, str]:
    return {
        "classes": json.dumps(list(contract.class_names), ensure_ascii=False),
        "channels": json.dumps(list(contract.channels), ensure_ascii=False),
        "offset": json.dumps(list(contract.normalization.offset)),
        "cell_size_px": str(contract.cell_size_px),
        "context_px": str(contract.context_px),
    }
