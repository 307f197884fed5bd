"""Learning rates as a function of the step and of the history: nothing to save, nothing to replay."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

Schedule = Literal["one_cycle", "cosine", "constant", "multi_step", "plateau"]

_ONE_CYCLE_RISE, _ONE_CYCLE_START = 0.25, 1 / 25
_COSINE_RISE = 0.05


def learning_rate_at(step: int, *, num_steps: int, peak: float, schedule: Schedule) -> float:
    """The learning rate of a step, before any drop.

    `one_cycle` (Smith and Topin 2018, https://arxiv.org/abs/1708.07120) rises along a cosine from 1/25 of the peak in
    the first quarter of the steps and falls along a cosine to 0; `cosine` rises linearly in the first 5 % and falls
    along a cosine to 0; `constant` is the peak, and so are `multi_step` and `plateau`, which drop by and by.

    Args:
        step: from 0 to num_steps - 1.
        num_steps: of the whole training.
        peak: the largest rate.
        schedule: which curve.
    """
    if schedule in ("constant", "multi_step", "plateau"):
        return peak
    share = _ONE_CYCLE_RISE if schedule == "one_cycle" else _COSINE_RISE
    num_rising = max(1, round(share * num_steps))
    if step < num_rising:
        risen = (step + 1) / num_rising
        if schedule == "cosine":
            return peak * risen
        return peak * (_ONE_CYCLE_START + (1 - _ONE_CYCLE_START) * (1 - math.cos(math.pi * risen)) / 2)
    fallen = (step + 1 - num_rising) / max(1, num_steps - num_rising)
    return peak * (1 + math.cos(math.pi * min(fallen, 1.0))) / 2


def plateaus_passed(scores: Iterable[float], patience: int) -> int:
    """How many times so many epochs in a row had no better score than any before; each time counting begins anew.

    Args:
        scores: one per epoch that is done; larger is better.
        patience: epochs.
    """
    best, num_bad, num_drops = -math.inf, 0, 0
    for score in scores:
        num_bad = 0 if score > best else num_bad + 1
        best = max(best, score)
        if num_bad == patience:
            num_drops, num_bad = num_drops + 1, 0
    return num_drops
