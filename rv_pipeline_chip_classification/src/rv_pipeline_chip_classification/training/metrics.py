"""Metrics of a classification, all from one confusion matrix; used by `train` and by `eval` alike.

Rows of a confusion matrix are the truth, columns the prediction. For class k with `tp = m[k, k]`,
`fp = sum(m[:, k]) - tp` and `fn = sum(m[k, :]) - tp`: precision = tp / (tp + fp), recall = tp / (tp + fn),
F1 = 2 tp / (2 tp + fp + fn), support = tp + fn. A quotient 0/0 is undefined: None, `null` in JSON. `macro` is the mean
over the classes where the number is defined; `weighted` weights by support and counts what is undefined as 0
(a class without support weighs nothing). `kappa` is Cohen's (1960).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Confusion = NDArray[np.int64]
_MEASURES = ("precision", "recall", "f1")


def confusion_matrix(truth: NDArray[Any], predicted: NDArray[Any], num_classes: int) -> Confusion:
    """Count pairs of class ids.

    Args:
        truth: (N,) integers in [0, num_classes).
        predicted: (N,) likewise.
        num_classes: K.

    Returns:
        (K, K) int64, rows truth, columns prediction.
    """
    pairs = truth.astype(np.int64) * num_classes + predicted.astype(np.int64)
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes).astype(np.int64)


def metrics_of(confusion: Confusion, class_names: Sequence[str]) -> dict[str, Any]:
    """Every number about a confusion matrix, as plain JSON values in a fixed order.

    Returns:
        `{"accuracy", "kappa", "macro": {precision, recall, f1}, "weighted": {…}, "classes": [{class_id, class_name,
        precision, recall, f1, support, predicted}], "confusion": [[…]]}`.
    """
    total = int(confusion.sum())
    classes = [_class_metrics(confusion, class_id, name) for class_id, name in enumerate(class_names)]
    return {
        "accuracy": _ratio(int(np.trace(confusion)), total),
        "kappa": _kappa(confusion),
        "macro": {name: _mean_defined([c[name] for c in classes]) for name in _MEASURES},
        "weighted": {name: _weighted(classes, name, total) for name in _MEASURES},
        "classes": classes,
        "confusion": confusion.tolist(),
    }


def _class_metrics(confusion: Confusion, class_id: int, name: str) -> dict[str, Any]:
    hits = int(confusion[class_id, class_id])
    support, predicted = int(confusion[class_id].sum()), int(confusion[:, class_id].sum())
    return {
        "class_id": class_id,
        "class_name": name,
        "precision": _ratio(hits, predicted),
        "recall": _ratio(hits, support),
        "f1": _ratio(2 * hits, support + predicted),
        "support": support,
        "predicted": predicted,
    }


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _mean_defined(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def _weighted(classes: Sequence[dict[str, Any]], name: str, total: int) -> float | None:
    return _ratio(sum((c[name] or 0.0) * c["support"] for c in classes), total)


def _kappa(confusion: Confusion) -> float | None:
    total = float(confusion.sum())
    if not total:
        return None
    observed = float(np.trace(confusion)) / total
    by_chance = float(confusion.sum(axis=0) @ confusion.sum(axis=1)) / total**2
    return _ratio(observed - by_chance, 1.0 - by_chance)
