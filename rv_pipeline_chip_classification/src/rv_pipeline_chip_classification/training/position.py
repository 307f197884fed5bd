"""How far a training is, and whether what a checkpoint says of it can be so."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

#: A batch is cut into powers of two until it fits the GPU; there are no batches of a million chips.
_MAX_PARTS = 1 << 20


@dataclass
class Position:
    """How far the training is; plain values for the checkpoint.

    Args:
        epoch: the epoch in hand, from 0.
        batch: the next batch of it.
        history: one entry per epoch that is done.
        best_epoch: the epoch (from 1) of the best averaged weights; 0 if none is best.
        num_parts: parts that a batch is cut into, for the memory of the GPU.
    """

    epoch: int = 0
    batch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    num_parts: int = 1


def position_of(values: Mapping[str, Any], num_epochs: int, num_batches: int) -> Position:
    """The position in the plain values of a checkpoint.

    Args:
        values: of the checkpoint.
        num_epochs: of the whole training.
        num_batches: of one epoch.

    Raises:
        KeyError: if one is missing.
        ValueError: if they are no position in a training of this length.
    """
    epoch = _whole("epoch", values["epoch"], 0, num_epochs)
    position = Position(
        epoch=epoch,
        batch=_whole("batch", values["batch"], 0, num_batches),
        history=list(values["history"]),
        best_epoch=_whole("best_epoch", values["best_epoch"], 0, epoch),
        num_parts=_whole("num_parts", values["num_parts"], 1, _MAX_PARTS),
    )
    if len(position.history) != epoch or not all(isinstance(entry, dict) for entry in position.history):
        raise ValueError(f"its history does not have {epoch} entries")
    if position.best_epoch and not _is_number(position.history[position.best_epoch - 1]["validation_loss"]):
        raise ValueError(f"the loss of its epoch {position.best_epoch} is no number")
    return position


def check_finite(*groups: Mapping[str, Tensor]) -> None:
    """ValueError if a weight is no number: training would go on from it and never end well."""
    for name, tensor in (pair for group in groups for pair in group.items()):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"its tensor {name!r} holds what is no number")


def check_same_shapes(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """ValueError if the tensors are not those of a network by name and shape."""
    if {name: tensor.shape for name, tensor in tensors.items()} != {name: t.shape for name, t in wanted.items()}:
        raise ValueError("its best weights are not those of this network")


def _whole(name: str, value: Any, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"its {name} is {value!r:.40} and not a whole number from {low} to {high}")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)
