"""Whether two runs differ by more than chance: a paired bootstrap over blocks of the ground.

Cells that lie side by side are right or wrong together, so that as many of them tell less than as many far apart: not
cells are drawn again but blocks of them (Hall 1985; Lahiri 2003, Resampling Methods for Dependent Data, ch. 12). Both
runs get the same blocks in each draw, so that what is hard in both cancels out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_DRAWS, CONFIDENCE, _DRAWS_AT_ONCE = 2000, 0.95, 100
#: Blocks are as large as leaves so many of them; with fewer than the second number no interval is claimed.
WANTED_BLOCKS, MIN_BLOCKS = 30, 10
_EARTH_RADIUS_M = 6_371_007.0
_MAX_HALVINGS = 60

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Blocks:
    """Cells in blocks.

    Args:
        numbers: (N,) int64, of the block of each cell, from 0.
        side_m: of a block in metres; 0.0 where cells have no place, and a block is a group of them.
    """

    numbers: Numbers
    side_m: float

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.numbers.max()) + 1 if len(self.numbers) else 0


def blocks_of(lonlat: NDArray[np.float64], groups: Numbers, side_m: float | None = None) -> Blocks:
    """Square blocks on the ground, the largest that leave enough of them.

    Args:
        lonlat: (N, 2) degrees, NaN for a cell without a place.
        groups: (N,): the block of a cell without a place.
        side_m: the side of a block; None to choose it.
    """
    is_placed = np.isfinite(lonlat).all(axis=1)
    if not is_placed.any():
        return Blocks(_numbered(np.column_stack([groups, groups])), 0.0)
    points = _on_plane(lonlat[is_placed])
    spread = float(np.ptp(points, axis=0).max())
    side = side_m or max(spread, 1e-3)
    if side_m is None:
        distinct = len(np.unique(points, axis=0))
        for _ in range(_MAX_HALVINGS):
            if len(np.unique(np.floor(points / side), axis=0)) >= min(WANTED_BLOCKS, distinct):
                break
            side /= 2
    # A column tells blocks on the ground from groups of cells without a place.
    keys = np.column_stack([np.ones(len(lonlat)), groups, groups]).astype(np.float64)
    keys[is_placed] = np.column_stack([np.zeros(len(points)), np.floor(points / side)])
    return Blocks(_numbered(keys), side)


def _on_plane(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Metres east and north of the first point, true to distances near its latitude: enough for blocks."""
    lon, lat = np.radians(lonlat - lonlat[0]).T
    lon = (lon + np.pi) % (2 * np.pi) - np.pi
    flat = np.cos(np.radians(np.median(lonlat[:, 1])))
    return _EARTH_RADIUS_M * np.column_stack([lon * flat, lat])


def _numbered(keys: NDArray[np.generic]) -> Numbers:
    numbers: Numbers = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return numbers


@dataclass(frozen=True)
class Counts:
    """What metrics are made of, by block.

    Args:
        hits: (B, K) cells of each class that are predicted as such.
        truths: (B, K) cells of each class.
        answers: (B, K) cells that are predicted as each class.
    """

    hits: NDArray[np.float64]
    truths: NDArray[np.float64]
    answers: NDArray[np.float64]

    @classmethod
    def of(cls, truth: Numbers, predicted: Numbers, blocks: Blocks, num_classes: int) -> Counts:
        """The counts of cells in blocks; arguments (N,) int64."""
        return cls(
            _counted(blocks, truth, num_classes, truth == predicted),
            _counted(blocks, truth, num_classes),
            _counted(blocks, predicted, num_classes),
        )

    def drawn(self, weights: NDArray[np.float64]) -> Counts:
        """The sums over blocks that are drawn so often: (D, B) weights give (D, K) counts."""
        return Counts(weights @ self.hits, weights @ self.truths, weights @ self.answers)


def _counted(
    blocks: Blocks, classes: Numbers, num_classes: int, mask: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    pairs = blocks.numbers * num_classes + classes
    counts = np.bincount(pairs if mask is None else pairs[mask], minlength=blocks.count * num_classes)
    return counts.reshape(blocks.count, num_classes).astype(np.float64)


def metrics_of(counts: Counts, class_names: list[str]) -> dict[str, NDArray[np.float64]]:
    """Metrics of each draw, (D,) float64; NaN where a quotient is 0/0.

    Accuracy, macro F1 (the mean over the classes where F1 is defined), Cohen's kappa, and F1 of each class.
    """
    total = counts.truths.sum(axis=1)
    hits = counts.hits.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        per_class = 2 * counts.hits / (counts.truths + counts.answers)
        accuracy = hits / total
        chance = (counts.truths * counts.answers).sum(axis=1) / total**2
        is_defined = ~np.isnan(per_class)
        macro = np.where(is_defined, per_class, 0).sum(axis=1) / is_defined.sum(axis=1)
        kappa = (accuracy - chance) / (1 - chance)
    kappa[~np.isfinite(kappa)] = np.nan
    named = {f"F1 of {name}": per_class[:, index] for index, name in enumerate(class_names)}
    return {"accuracy": accuracy, "macro F1": macro, "kappa": kappa, **named}


@dataclass(frozen=True)
class Interval:
    """A difference between two runs.

    Args:
        difference: on the cells that both have.
        low, high: the ends of its 95 % interval; NaN where none is claimed.
    """

    difference: float
    low: float = np.nan
    high: float = np.nan

    @property
    def is_told_apart(self) -> bool:
        """Whether the interval does not hold 0."""
        return bool(self.low > 0 or self.high < 0)


def paired_intervals(first: Counts, other: Counts, class_names: list[str], *, seed: int = 0) -> Mapping[str, Interval]:
    """By how much the metrics of the other run are higher, each with its percentile interval.

    Args:
        first: counts of one run by block.
        other: those of the other, of the same cells in the same blocks.
        class_names: by class.
        seed: of the draws.
    """
    num_blocks = len(first.hits)
    once = np.ones((1, num_blocks))
    found = _differences(first, other, once, class_names)
    if num_blocks < MIN_BLOCKS:
        return {name: Interval(float(values[0])) for name, values in found.items()}
    rng = np.random.default_rng(seed)
    share = np.full(num_blocks, 1 / num_blocks)
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in found}
    for _ in range(NUM_DRAWS // _DRAWS_AT_ONCE):
        weights = rng.multinomial(num_blocks, share, size=_DRAWS_AT_ONCE).astype(np.float64)
        for name, values in _differences(first, other, weights, class_names).items():
            drawn[name].append(values)
    tail = 50 * (1 - CONFIDENCE)
    intervals = {}
    for name, parts in drawn.items():
        values = np.concatenate(parts)
        values = values[np.isfinite(values)]
        low, high = np.percentile(values, [tail, 100 - tail]) if len(values) else (np.nan, np.nan)
        intervals[name] = Interval(float(found[name][0]), float(low), float(high))
    return intervals


def _differences(
    first: Counts, other: Counts, weights: NDArray[np.float64], class_names: list[str]
) -> dict[str, NDArray[np.float64]]:
    one, two = metrics_of(first.drawn(weights), class_names), metrics_of(other.drawn(weights), class_names)
    return {name: two[name] - one[name] for name in one}
