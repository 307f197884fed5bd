"""Which labels to look at again, and which cells to label next, from scores of a model that has not seen them. Pure.

A label is doubtful as far as another class scores above it: the margin of Northcutt, Jiang and Chuang (2021), Confident
Learning, Journal of Artificial Intelligence Research 70. Cells to label next are those whose two best classes are
nearest to each other, spread out so that they do not say the same twice (farthest-first: Gonzalez 1985).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: So many uncertain cells are looked at for each that is chosen.
_POOL = 10


def doubts(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """How far another class scores above the label: (N,) float64 from -1, surely right, to 1, surely wrong.

    Args:
        scores: (N, K) float64 in [0, 1]; NaN where there are none.
        labels: (N,) int64; a negative one is no label.

    Returns:
        NaN where there is no label or no score.
    """
    found = np.full(len(scores), np.nan)
    known = np.flatnonzero((labels >= 0) & np.isfinite(scores).all(axis=1))
    own = scores[known, labels[known]]
    others = scores[known].copy()
    others[np.arange(len(known)), labels[known]] = -np.inf
    found[known] = others.max(axis=1, initial=-1.0) - own
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
