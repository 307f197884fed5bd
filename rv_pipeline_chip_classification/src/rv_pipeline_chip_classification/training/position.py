"""How far a training is, which epoch is the best so far, and whether what a checkpoint says of it can be so."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from rv_core.errors import TaskError
from rv_core.wording import numbers_text

SelectBy = Literal["loss", "accuracy", "macro_f1"]

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

    def epoch_text(self, num_epochs: int) -> str:
        """The last epoch in a line for the log: `epoch 3/8  train_loss 0.412  validation_macro_f1 0.871 … (best so far)`.

        Args:
            num_epochs: of the whole training.
        """
        entry = self.history[-1]
        names = ("train_loss", "validation_macro_f1", "validation_accuracy", "validation_loss", "learning_rate")
        told = {name: entry[name] for name in names if entry.get(name) is not None}
        text = numbers_text({"epoch": entry["epoch"], "num_epochs": num_epochs, **told})
        return f"{text}  (best so far)" if entry["is_best"] else text

    def is_beaten_by(self, entry: Mapping[str, Any], select_by: SelectBy) -> bool:
        """Whether the entry of an epoch is better than the best so far; one that was not validated never is."""
        loss = entry["validation_loss"]
        if loss is None or not math.isfinite(loss):
            return False
        best = self.history[self.best_epoch - 1] if self.best_epoch else None
        return best is None or epoch_score(entry, select_by) > epoch_score(best, select_by)


def epoch_score(entry: Mapping[str, Any], select_by: SelectBy) -> tuple[float, float]:
    """How good an epoch is, larger being better: by the metric of choice, and where that is equal by the loss.

    Args:
        entry: of the history, of an epoch that was validated.
        select_by: the metric.
    """
    loss = -entry["validation_loss"]
    return (loss, loss) if select_by == "loss" else (entry[f"validation_{select_by}"], loss)


def scores_to_watch(history: Sequence[Mapping[str, Any]], select_by: SelectBy) -> list[float]:
    """One score per epoch, larger being better: that of the metric of choice, or of the training without validation."""
    return [
        -entry["train_loss"] if entry["validation_loss"] is None else epoch_score(entry, select_by)[0]
        for entry in history
    ]


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


def diverged(why: str) -> TaskError:
    """The error for a training that has left the numbers."""
    return TaskError(
        f"the training diverged: {why}",
        where="train",
        fix="lower train.learning_rate, or look for extreme pixel values in analyze/*.json and declare nodata",
    )


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
