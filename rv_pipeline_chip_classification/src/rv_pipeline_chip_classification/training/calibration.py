"""Whether scores are what they say: the expected calibration error, and the temperature that lowers it. Pure numpy.

Guo et al. 2017, "On Calibration of Modern Neural Networks" (https://arxiv.org/abs/1706.04599): dividing all logits by
one temperature changes no answer, only how sure it sounds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Fewer chips than this say too little; the temperature is looked for between these limits.
MIN_CHIPS, _LIMITS = 50, (0.1, 10.0)
NUM_BINS = 15
_GOLDEN = (np.sqrt(5.0) - 1) / 2
#: More folds than scenes would be no other places, and more than this gain nothing.
_MAX_FOLDS, _BLOCK_FOLDS = 5, 4
_BLOCKS_PER_SIDE = 4
BLOCKS_PER_SCENE = _BLOCKS_PER_SIDE**2
#: Fewer blocks say nothing about how much they differ.
_MIN_BLOCKS = 5


class Calibration(NamedTuple):
    """What is done to the scores, and what was measured on chips that the temperature was not fitted to.

    Args:
        temperature: what logits are divided by; 1 leaves them.
        why: in words.
        fold_by: what was held out at a time, "scene" or "block"; "" where nothing was.
        num_folds: how many of them.
        log_loss: mean over the chips held out, as they are and by a temperature fitted to the others; None likewise.
        error: their calibration errors likewise.
    """

    temperature: float
    why: str
    fold_by: str = ""
    num_folds: int = 0
    log_loss: tuple[float, float] | None = None
    error: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        held_out = None
        if self.log_loss is not None and self.error is not None:
            pairs = {"log_loss": self.log_loss, "calibration_error": self.error}
            both = {
                name: dict(zip(("as_they_are", "with_temperature"), pair, strict=True)) for name, pair in pairs.items()
            }
            held_out = {"fold_by": self.fold_by, "num_folds": self.num_folds, **both}
        return {"temperature": self.temperature, "why": self.why, "held_out": held_out}


def choose_temperature(
    logits: NDArray[np.float32], truth: NDArray[np.int64], folds: NDArray[np.int64], fold_by: str
) -> Calibration:
    """A temperature, if those fitted to some places lower the log loss at others, by more than its standard error.

    Of two folds that is: at both.

    Args:
        logits: (N, K).
        truth: (N,) class ids.
        folds: (N,) the fold of each chip, from 0.
        fold_by: what folds are.
    """
    sizes = np.bincount(folds)
    if len(truth) < MIN_CHIPS or np.count_nonzero(sizes) < 2:
        return Calibration(
            1.0, f"scores stay as they are: {len(truth)} validation chips say too little of how sure they are"
        )
    wide, cooled = logits.astype(np.float64), logits.astype(np.float64)
    for fold in np.flatnonzero(sizes):
        cooled[folds == fold] /= _fitted(logits[folds != fold], truth[folds != fold])
    before, after = _losses(wide, truth), _losses(cooled, truth)
    gains = np.bincount(folds, weights=before - after)[sizes > 0] / sizes[sizes > 0]
    errors = _error_of(wide, truth), _error_of(cooled, truth)
    helps = (before - after).mean() > 0 and gains.mean() > gains.std(ddof=1) / np.sqrt(len(gains))
    temperature = _fitted(logits, truth) if helps else 1.0
    held_out = f"on held-out {fold_by}s the log loss is {before.mean():.3g}, with a temperature of the others {after.mean():.3g}"
    did = f"scores are cooled by the temperature {temperature:.3g}" if helps else "scores stay as they are"
    losses = float(before.mean()), float(after.mean())
    return Calibration(temperature, f"{did}: {held_out}", fold_by, len(gains), losses, errors)


def folds_of(scene_indices: NDArray[np.int64], windows: NDArray[np.int64]) -> tuple[NDArray[np.int64], str]:
    """The fold of each chip, and what folds are: scenes, or of a single scene blocks across its longer side.

    Args:
        scene_indices: (N,) the scene of each chip.
        windows: (N, 4) int64, in pixels of the scene.
    """
    scenes, sizes = np.unique(scene_indices, return_counts=True)
    if len(scenes) > 1:
        totals, fold_of = np.zeros(min(_MAX_FOLDS, len(scenes)), np.int64), dict[int, int]()
        for place in np.argsort(-sizes, kind="stable"):
            fold_of[int(scenes[place])] = smallest = int(totals.argmin())
            totals[smallest] += sizes[place]
        return np.array([fold_of[index] for index in scene_indices.tolist()], np.int64), "scene"
    if not len(windows):
        return np.zeros(0, np.int64), "block"
    spans = np.ptp(windows[:, :2], axis=0)
    return _strips(windows[:, int(spans.argmax())], _BLOCK_FOLDS), "block"


def _strips(offsets: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Which of some strips with about as many chips each an offset lies in; what is beside each other stays together."""
    order = np.sort(offsets)
    return np.asarray(np.searchsorted(order, offsets, side="left") * count // len(offsets), np.int64)


def fit_temperature(logits: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """The temperature with the smallest mean negative log likelihood; 1.0 for fewer than `MIN_CHIPS` chips.

    Args:
        logits: (N, K).
        truth: (N,) class ids.
    """
    return 1.0 if len(logits) < MIN_CHIPS else _fitted(logits, truth)


def _fitted(logits: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
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
    return float(_losses(logits, truth).mean())


def _losses(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=1))
    losses: NDArray[np.float64] = log_sums - shifted[np.arange(len(truth)), truth]
    return losses


def _error_of(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    return calibration_error(scores.max(axis=1), scores.argmax(axis=1) == truth) or 0.0


class Reliability(NamedTuple):
    """How often answers are right that are so sure, in bins of equal width, for the answers of some blocks apart.

    Args:
        counts: (B, NUM_BINS) answers.
        right: (B, NUM_BINS) those that are right.
        confident: (B, NUM_BINS) the sum of their scores.
    """

    counts: NDArray[np.float64]
    right: NDArray[np.float64]
    confident: NDArray[np.float64]

    @classmethod
    def of(
        cls, confidences: NDArray[np.float64], is_right: NDArray[np.bool_], blocks: NDArray[np.int64]
    ) -> Reliability:
        """Of answers with their score from 0 to 1, (N,), whether they are right, (N,), and their block, (N,)."""
        _, places = np.unique(blocks, return_inverse=True)
        num_blocks = int(places.max()) + 1 if len(places) else 0
        bins = np.minimum((confidences * NUM_BINS).astype(np.int64), NUM_BINS - 1)
        cells = places * NUM_BINS + bins

        def summed(weights: NDArray[Any] | None) -> NDArray[np.float64]:
            found = np.bincount(cells, weights=weights, minlength=num_blocks * NUM_BINS)
            return found.astype(np.float64).reshape(num_blocks, NUM_BINS)

        return cls(summed(None), summed(is_right), summed(confidences))

    def interval(self, *, num_draws: int = 1000, seed: int = 0) -> tuple[float, float] | None:
        """The middle 95 % of the calibration error if the blocks are drawn anew; None for fewer than five blocks.

        Cells beside each other are alike, so that drawing cells would give too narrow an interval.
        """
        num_blocks = len(self.counts)
        if num_blocks < _MIN_BLOCKS:
            return None
        shares = np.full(num_blocks, 1 / num_blocks)
        draws = np.random.default_rng(seed).multinomial(num_blocks, shares, size=num_draws).astype(np.float64)
        # Not by BLAS: its threads wait for each other longer than this takes one, and their number decides the last bits.
        right, confident, counts = (
            np.einsum("db,bn->dn", draws, found) for found in (self.right, self.confident, self.counts)
        )
        gaps = np.abs(right - confident).sum(axis=1) / counts.sum(axis=1)
        ordered = np.sort(gaps)
        return _percentile(ordered, 2.5), _percentile(ordered, 97.5)

    def bins(self) -> list[dict[str, float]]:
        """The bins with an answer: their bounds, answers, mean score and share of right ones."""
        counts, right, confident = (found.sum(axis=0) for found in (self.counts, self.right, self.confident))
        return [
            {
                "from": round(index / NUM_BINS, 4),
                "to": round((index + 1) / NUM_BINS, 4),
                "count": int(counts[index]),
                "confidence": float(confident[index] / counts[index]),
                "accuracy": float(right[index] / counts[index]),
            }
            for index in np.flatnonzero(counts).tolist()
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        interval = self.interval()
        return {
            "interval_95": None if interval is None else list(interval),
            "blocks": len(self.counts),
            "bins": self.bins(),
        }


def _percentile(ordered: NDArray[np.float64], percent: float) -> float:
    """As `np.percentile`, to the last bit, of sorted numbers; that one imports `numpy.ma`, which takes longer than all else."""
    below, share = divmod(percent / 100 * (len(ordered) - 1), 1)
    low, high = ordered[int(below)], ordered[min(int(below) + 1, len(ordered) - 1)]
    return float(high - (high - low) * (1 - share) if share >= 0.5 else low + (high - low) * share)


def blocks_of(windows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which of 4 x 4 parts of the ground that they cover windows of a scene lie in: (N, 4) -> (N,) from 0."""
    if not len(windows):
        return np.zeros(0, np.int64)
    begin = windows[:, :2] - windows[:, :2].min(axis=0)
    parts = begin * _BLOCKS_PER_SIDE // (begin.max(axis=0) + 1)
    return np.asarray(parts[:, 0] * _BLOCKS_PER_SIDE + parts[:, 1], np.int64)


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
    found = Reliability.of(confidences, is_right, np.zeros(len(confidences), np.int64))
    return float(np.abs(found.right - found.confident).sum() / len(confidences))
