"""Which labels to look at again, and which cells to label next, from scores of a model that has not seen them. Pure.

A label is doubtful by how many times likelier another class is. The margin of Northcutt, Jiang and Chuang (2021, Confident
Learning, Journal of Artificial Intelligence Research 70) puts labels first of which the model is surest, and misses those
that hardly score at all beside several likely classes. Cells to label next are those whose two best classes are
nearest to each other, spread out so that they do not say the same twice (farthest-first: Gonzalez 1985).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: So many uncertain cells are looked at for each that is chosen.
_POOL = 10
#: Scores are written with six decimals.
_LEAST_SCORE = 1e-6
_POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)


def with_neighbours(
    scores: NDArray[np.float64], labels: NDArray[np.int64], windows: NDArray[np.int64], scenes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Scores that the labels around a cell enter, as far as these tell labels at all.

    Scores are multiplied by a power of the shares that classes have among the eight cells around, those that share a side
    counting twice; the power is the one that makes all labels likeliest, so that it is 0 on a chessboard.

    Args:
        scores: (N, K) float64 in [0, 1]; NaN where there are none.
        labels: (N,) int64; a negative one is no label.
        windows: (N, 4) int64; cells are beside each other where one begins at the other's end.
        scenes: (N,) int64, the scene of each.

    Returns:
        (N, K) float64, rows sum to 1; NaN likewise.
    """
    usable = np.flatnonzero((labels >= 0) & np.isfinite(scores).all(axis=1))
    if not len(usable):
        return scores
    logs = np.log(np.maximum(scores, _LEAST_SCORE))
    around = np.log(_shares_around(labels, windows, scenes, scores.shape[1]))
    mixed = [_normalised(logs + power * around) for power in _POWERS]
    likelihoods = [float(np.log(found[usable, labels[usable]]).mean()) for found in mixed]
    return mixed[int(np.argmax(likelihoods))]


def _shares_around(
    labels: NDArray[np.int64], windows: NDArray[np.int64], scenes: NDArray[np.int64], num_classes: int
) -> NDArray[np.float64]:
    """(N, K) shares of classes among the labels around, towards those among all labels; 1 / K without any around."""
    places = np.column_stack([scenes, windows[:, :2]]).tolist()
    number_of = {tuple(place): number for number, place in enumerate(places)}
    counts = np.zeros((len(labels), num_classes))
    for number, ((scene, row, col), (height, width)) in enumerate(zip(places, windows[:, 2:].tolist(), strict=True)):
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                other = number_of.get((scene, row + down * height, col + right * width), number)
                if other != number and labels[other] >= 0:
                    counts[number, labels[other]] += 1 if down and right else 2
    totals = counts.sum(axis=1, keepdims=True)
    overall = np.bincount(labels[labels >= 0], minlength=num_classes) + 1.0
    shares = (counts + 2 * overall / overall.sum()) / (totals + 2)
    return np.where(totals > 0, shares, 1 / num_classes)


def _normalised(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    found: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return found


def doubts(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """How many times likelier the best other class is than the label, as a logarithm: (N,) float64, above 0 where it is.

    Args:
        scores: (N, K) float64 in [0, 1]; NaN where there are none.
        labels: (N,) int64; a negative one is no label.

    Returns:
        NaN where there is no label or no score.
    """
    found = np.full(len(scores), np.nan)
    known = np.flatnonzero((labels >= 0) & np.isfinite(scores).all(axis=1))
    logs = np.log(np.maximum(scores[known], _LEAST_SCORE))
    own = logs[np.arange(len(known)), labels[known]]
    others = logs.copy()
    others[np.arange(len(known)), labels[known]] = -np.inf
    found[known] = others.max(axis=1, initial=np.log(_LEAST_SCORE)) - own
    return found


def most_doubtful(doubt: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """The numbers of the most doubtful labels, the worst first; labels that score highest are none."""
    order = np.argsort(-np.where(np.isnan(doubt), -np.inf, doubt), kind="stable")[:count]
    return order[doubt[order] > 0].astype(np.int64)


def uncertain_and_diverse(
    scores: NDArray[np.float64], places: NDArray[np.float64], is_open: NDArray[np.bool_], count: int
) -> NDArray[np.int64]:
    """The numbers of cells to label next, the first first.

    Args:
        scores: (N, K) float64; NaN where there are none.
        places: (N, D) float64, where cells lie, in any unit; far from each other is different.
        is_open: (N,) bool, which cells may be chosen.
        count: how many at most.
    """
    usable = np.flatnonzero(is_open & np.isfinite(scores).all(axis=1))
    if not len(usable) or count < 1:
        return np.empty(0, np.int64)
    best = np.sort(scores[usable], axis=1)
    margins = best[:, -1] - (best[:, -2] if best.shape[1] > 1 else 0.0)
    pool = usable[np.argsort(margins, kind="stable")[: _POOL * count]]
    features = np.concatenate([_standardised(scores[pool]), _standardised(places[pool])], axis=1)
    chosen = [0]
    nearest = np.linalg.norm(features - features[0], axis=1)
    while len(chosen) < min(count, len(pool)):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(features - features[chosen[-1]], axis=1))
    return pool[chosen].astype(np.int64)


def _standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns with mean 0, all together with a spread of 1."""
    centred = values - values.mean(axis=0)
    spread = float(np.sqrt((centred**2).sum(axis=1).mean()))
    return centred / spread if spread > 0 else centred
