"""Cards and small weights for tests."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import safetensors.torch
import torch

from rv_pipeline_chip_classification.model.backbones import build_model
from rv_pipeline_chip_classification.pretrained.card import FORMAT, KIND


def weights_of(
    backbone: str = "small_cnn", channels: int = 3, classes: int = 7, seed: int = 3
) -> dict[str, torch.Tensor]:
    """The tensors of a network with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return dict(build_model(backbone, channels, classes).state_dict())


def as_safetensors(tensors: dict[str, torch.Tensor]) -> bytes:
    """The bytes of a safetensors file."""
    return bytes(safetensors.torch.save(tensors))


def as_pickle(value: Any) -> bytes:
    """The bytes that torch.save writes."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def card_of(data: bytes, **changes: Any) -> dict[str, Any]:
    """A card of some weights; a change to None leaves a field out."""
    plain = {
        "format": FORMAT,
        "kind": KIND,
        "name": "small",
        "architecture": "small_cnn",
        "file": "small.safetensors",
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "licence": "CC0-1.0",
        "source": "made for a test",
        "bands": ["red", ["green", "B03"], "blue"],
        "mean": [0.45, 0.45, 0.4],
        "std": [0.2, 0.2, 0.2],
        "unit": "0-1",
    }
    return {name: value for name, value in {**plain, **changes}.items() if value is not None}


def as_json(plain: dict[str, Any]) -> bytes:
    """The bytes of a card."""
    return json.dumps(plain).encode()
