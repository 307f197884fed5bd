"""Loss and hits over many batches, summed on the device and fetched once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rv_pipeline_chip_classification.training.metrics import Confusion, metrics_of


@dataclass(frozen=True)
class Scores:
    """What a network makes of some chips.

    Args:
        loss: mean per chip.
        confusion: (K, K) int64, rows truth, columns prediction.
    """

    loss: float
    confusion: Confusion

    @property
    def accuracy(self) -> float:
        """Share of hits."""
        return float(self.confusion.trace() / max(1, self.confusion.sum()))

    def to_json(self, class_names: Sequence[str]) -> dict[str, Any]:
        """`loss` and all of `metrics_of`."""
        return {"loss": self.loss, **metrics_of(self.confusion, class_names)}


class Tally:
    """Sums over batches.

    Args:
        num_classes: K.
        device: where the sums are kept.
    """

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self._num_classes = num_classes
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._pairs = torch.zeros(num_classes**2, dtype=torch.int64, device=device)

    def add(self, loss_sum: Tensor, logits: Tensor, truth: Tensor) -> None:
        """Add a batch: its summed loss, its logits (B, K) and its class ids (B,)."""
        self._loss += loss_sum
        pairs = truth * self._num_classes + logits.argmax(1)
        self._pairs += torch.bincount(pairs, minlength=self._num_classes**2)

    def clear(self) -> None:
        """Begin anew."""
        self._loss.zero_()
        self._pairs.zero_()

    def scores(self) -> Scores:
        """What the sums come to."""
        confusion = self._pairs.reshape(self._num_classes, self._num_classes).cpu().numpy().copy()
        return Scores(float(self._loss) / max(1, int(confusion.sum())), confusion)

    def tensors(self) -> dict[str, Tensor]:
        """The sums, for a checkpoint."""
        return {"loss": self._loss, "pairs": self._pairs}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` gave; ValueError for sums of another number of classes."""
        if tensors["loss"].shape != self._loss.shape or tensors["pairs"].shape != self._pairs.shape:
            raise ValueError("its sums over the epoch are not of these classes")
        self._loss.copy_(tensors["loss"])
        self._pairs.copy_(tensors["pairs"])
