"""Whether scores are what they say: the expected calibration error, and the temperature that lowers it. Pure numpy.

Guo et al. 2017, "On Calibration of Modern Neural Networks" (https://arxiv.org/abs/1706.04599): dividing all logits by
one temperature changes no answer, only how sure it sounds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Fewer chips than this say too little; the temperature is looked for between these limits.
MIN_CHIPS, _LIMITS = 50, (0.1, 10.0)
_NUM_BINS = 15
_GOLDEN = (np.sqrt(5.0) - 1) / 2


def fit_temperature(logits: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """The temperature with the smallest mean negative log likelihood; 1.0 for fewer than `MIN_CHIPS` chips.

    Args:
        logits: (N, K).
        truth: (N,) class ids.
    """
    if len(logits) < MIN_CHIPS:
        return 1.0
    # The loss is convex in the inverse temperature, so a golden-section search finds the one minimum.
    wide = logits.astype(np.float64)
    low, high = 1 / _LIMITS[1], 1 / _LIMITS[0]
    while high - low > 1e-6:
        one, other = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if _loss(wide * one, truth) <= _loss(wide * other, truth):
            high = other
        else:
            low = one
    return float(round(2 / (low + high), 5))


def _loss(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=1))
    return float((log_sums - shifted[np.arange(len(truth)), truth]).mean())


def calibration_error(confidences: NDArray[np.float64], is_right: NDArray[np.bool_]) -> float | None:
    """The expected calibration error over 15 bins of equal width; None without any answer.

    Args:
        confidences: (N,) the score of each answer, from 0 to 1.
        is_right: (N,) whether the answer is the truth.

    Returns:
        The mean over all answers of |share of right ones - mean confidence| of the answer's bin.
    """
    if not len(confidences):
        return None
    bins = np.minimum((confidences * _NUM_BINS).astype(np.int64), _NUM_BINS - 1)
    right = np.bincount(bins, weights=is_right, minlength=_NUM_BINS)
    confident = np.bincount(bins, weights=confidences, minlength=_NUM_BINS)
    return float(np.abs(right - confident).sum() / len(confidences))
