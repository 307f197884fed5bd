"""Classes that are rare: what they weigh in the loss, and how often an epoch shows their chips. Pure numpy.

Three ways to make a network learn a class that few chips have, which can be mixed: weights of the loss (`class_weights_of`),
the choice of chips (`Sampling`) and a shift of the logits while it learns (`logit_shift`). Weights and shift are made of
the chips that an epoch shows, so that nothing is made up for twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Sampler = Literal["shuffle", "balanced"]

#: An epoch shows a chip so many times at most: a handful of chips would be learnt by heart.
MAX_REPEATS = 10

_log = logging.getLogger(__name__)


def class_weights_of(
    configured: str | Sequence[float], class_counts: NDArray[np.int64], *, max_ratio: float = 100.0
) -> tuple[float, ...] | None:
    """The weight of each class in the loss, or None where all count alike.

    `balanced` is N / (K * n): every class weighs the same in total. `sqrt` goes half of that way: the weights are as
    1 / sqrt(n), and those of all chips come to N. A class without chips gets 0, and one with a few of very many no more
    than `max_ratio` times the smallest weight: a handful of chips would be all that counts.

    Args:
        configured: of the config, by name or one per class.
        class_counts: (K,) chips per class that an epoch shows.
        max_ratio: of the largest to the smallest weight of those that are made here.
    """
    if configured in ("none", "adaptive"):
        return None
    if not isinstance(configured, str):
        return tuple(float(weight) for weight in configured)
    present = class_counts > 0
    if not present.any():
        return (0.0,) * len(class_counts)
    if configured == "balanced":
        spread = present.sum() * class_counts
    else:
        roots = np.sqrt(class_counts)
        spread = roots * roots.sum()
    weights = np.divide(class_counts.sum(), spread, out=np.zeros(len(present)), where=present)
    limit = max_ratio * weights[present].min()
    _tell_of_bounded(configured, weights > limit, class_counts, max_ratio)
    return tuple(np.minimum(weights, limit).tolist())


def _tell_of_bounded(
    configured: str, is_bounded: NDArray[np.bool_], class_counts: NDArray[np.int64], max_ratio: float
) -> None:
    if is_bounded.any():
        counts = ", ".join(f"class id {k}: {class_counts[k]}" for k in np.flatnonzero(is_bounded).tolist())
        _log.warning(
            'class_weights="%s": weights are at most %g times the smallest one; classes with too few of the %d '
            "training chips for more (%s)",
            configured,
            max_ratio,
            class_counts.sum(),
            counts,
        )


def adapted_weights(
    class_counts: NDArray[np.int64], predicted: Iterable[Sequence[int]], *, max_ratio: float = 100.0
) -> tuple[float, ...]:
    """Weights that follow what the network answers while it learns: `class_weights="adaptive"`.

    They begin alike. After each epoch that of a class is multiplied by the square root of how many chips it has over how
    many answers it got (each and one): a class that is told apart well is answered as often as it is there and keeps its
    weight, one that is given up weighs more until it is answered. A class without chips gets 0.

    Args:
        class_counts: (K,) chips per class that an epoch shows.
        predicted: of each epoch that is done, answers per class on its chips.
        max_ratio: of the largest to the smallest weight.
    """
    present = class_counts > 0
    weights = present.astype(np.float64)
    for answers in predicted:
        weights *= np.sqrt((class_counts + 1) / (np.asarray(answers) + 1))
        bounded = np.minimum(weights, max_ratio * weights[present].min())
        weights = bounded * class_counts.sum() / (bounded * class_counts).sum()
    return tuple(weights.tolist())


def logit_shift(strength: float, class_counts: NDArray[np.int64]) -> tuple[float, ...] | None:
    """What is added to the logits of each class while the network learns; None for a strength of 0.

    `strength * log(n / N)` (Menon et al. 2021, https://arxiv.org/abs/2007.07314): the network need not learn again how
    frequent a class is, so without the shift, as it predicts, its answers are those for equally frequent classes (with
    strength 1). A class without chips counts as one of half a chip.

    Args:
        strength: from 0.
        class_counts: (K,) chips per class that an epoch shows.
    """
    if not strength:
        return None
    shares = np.maximum(class_counts, 0.5) / max(1, class_counts.sum())
    return tuple((strength * np.log(shares)).tolist())


@dataclass(frozen=True)
class Sampling:
    """Which chips an epoch shows.

    Args:
        sampler: `shuffle` shows each once; `balanced` shows as many chips in all, of every class as many as of the
            others, but none more than `MAX_REPEATS` times.
        max_chips_per_class: of a class with more, each epoch draws so many anew; None takes all.
    """

    sampler: Sampler = "shuffle"
    max_chips_per_class: int | None = None

    def epoch_counts(self, class_counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """(K,) chips of each class in an epoch, of (K,) chips that there are."""
        most = class_counts if self.max_chips_per_class is None else np.minimum(class_counts, self.max_chips_per_class)
        if self.sampler == "shuffle":
            return most.astype(np.int64)
        return _shared_out(int(most.sum()), class_counts * MAX_REPEATS)


def _shared_out(total: int, limits: NDArray[np.int64]) -> NDArray[np.int64]:
    """As equal shares of a number as limits allow: (K,) int64. Who has the smallest limit is asked first."""
    shares = np.zeros(len(limits), np.int64)
    order = [k for k in np.argsort(limits, kind="stable").tolist() if limits[k]]
    for place, k in enumerate(order):
        shares[k] = min(int(limits[k]), (total - int(shares.sum())) // (len(order) - place))
    return shares


def epoch_order(
    class_ids: NDArray[np.int64], epoch_counts: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """The chips of an epoch in random order, those of a class drawn without a second time before each was there once.

    Args:
        class_ids: (N,) of all chips.
        epoch_counts: (K,) chips to show of each class.
        rng: draws both.
    """
    if (epoch_counts == np.bincount(class_ids, minlength=len(epoch_counts))).all():
        return rng.permutation(np.arange(len(class_ids)))
    drawn = [_drawn(np.flatnonzero(class_ids == k), count, rng) for k, count in enumerate(epoch_counts.tolist())]
    return rng.permutation(np.concatenate(drawn))


def _drawn(chips: NDArray[np.intp], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    num_passes = -(-count // len(chips)) if count else 0
    return np.concatenate([chips[:0], *(rng.permutation(chips) for _ in range(num_passes))])[:count]
