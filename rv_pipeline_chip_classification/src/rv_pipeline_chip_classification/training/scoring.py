"""The loss of the training; loss and hits over many batches, summed on the device and fetched once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rv_pipeline_chip_classification.training.metrics import Confusion, metrics_of


@dataclass(frozen=True)
class Loss:
    """Cross entropy, and what changes it.

    Args:
        class_weights: (K,) of each class, or None where all count alike.
        label_smoothing: share of the truth that is spread over all classes, in training alone.
        focal_gamma: what is sure already counts less: the part of each class is multiplied by (1 - p)^gamma (Lin et al.
            2017, https://arxiv.org/abs/1708.02002), in training alone; 0 is plain cross entropy.
        logit_shift: (K,) added to the logits, or None; see `imbalance.logit_shift`.
    """

    class_weights: Tensor | None = None
    label_smoothing: float = 0.0
    focal_gamma: float = 0.0
    logit_shift: Tensor | None = None

    def training_sum(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Summed over the chips of (B, K) logits and (B,) class ids."""
        logits = self._shifted(logits)
        if not self.focal_gamma:
            return nn.functional.cross_entropy(
                logits, truth, weight=self.class_weights, label_smoothing=self.label_smoothing, reduction="sum"
            )
        logs = torch.log_softmax(logits, 1)
        spread = self.label_smoothing / logs.shape[1]
        wanted = torch.full_like(logs, spread).scatter_(1, truth[:, None], spread + 1 - self.label_smoothing)
        parts = wanted * (1 - logs.exp()) ** self.focal_gamma * logs
        return -(parts if self.class_weights is None else parts * self.class_weights).sum()

    def validation_sum(self, logits: Tensor, truth: Tensor) -> Tensor:
        """As `training_sum`, without smoothing and focus."""
        return nn.functional.cross_entropy(self._shifted(logits), truth, weight=self.class_weights, reduction="sum")

    def total_weight(self, truth: Tensor) -> Tensor | int:
        """What the sum over these chips is divided by for their mean."""
        return len(truth) if self.class_weights is None else self.class_weights[truth].sum()

    def _shifted(self, logits: Tensor) -> Tensor:
        return logits if self.logit_shift is None else logits + self.logit_shift


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
