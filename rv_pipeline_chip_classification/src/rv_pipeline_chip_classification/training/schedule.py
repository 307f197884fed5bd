"""Learning rates as a function of the step: nothing to save, nothing to replay."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["one_cycle", "cosine", "constant"]

_ONE_CYCLE_RISE, _ONE_CYCLE_START = 0.25, 1 / 25
_COSINE_RISE = 0.05


def learning_rate_at(step: int, *, num_steps: int, peak: float, schedule: Schedule) -> float:
    """The learning rate of a step.

    `one_cycle` (Smith and Topin 2018, https://arxiv.org/abs/1708.07120) rises along a cosine from 1/25 of the peak in
    the first quarter of the steps and falls along a cosine to 0; `cosine` rises linearly in the first 5 % and falls
    along a cosine to 0; `constant` is the peak.

    Args:
        step: from 0 to num_steps - 1.
        num_steps: of the whole training.
        peak: the largest rate.
        schedule: which curve.
    """
    if schedule == "constant":
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
