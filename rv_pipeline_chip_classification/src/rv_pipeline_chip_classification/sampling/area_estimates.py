"""Accuracy of a map and areas of its classes, with standard errors, from a sample that was drawn at random. Pure.

The stratified estimator of good practice (Olofsson, Foody, Herold, Stehman, Woodcock, Wulder 2014: Good practices for
estimating area and assessing accuracy of land change, Remote Sensing of Environment 148, 42-57). Strata are the
classes of the map, `W_i` their shares of its area, `n_ij` sample units of stratum i whose reference is class j:

- share of the area, eq. 4: `p_ij = W_i n_ij / n_i.`; of class k, eq. 9: `p_.k = sum_i p_ik`;
  its standard error, eq. 10: `sqrt(sum_i (W_i p_ik - p_ik^2) / (n_i. - 1))`
- overall accuracy, eq. 1 and 5: `O = sum_i p_ii`, `V(O) = sum_i W_i^2 U_i (1 - U_i) / (n_i. - 1)`
- user's accuracy, eq. 2 and 6: `U_i = p_ii / p_i.`, `V(U_i) = U_i (1 - U_i) / (n_i. - 1)`
- producer's accuracy, eq. 3 and 7: `P_j = p_jj / p_.j`

All variances are taken from one formula, that of the mean of residuals per stratum, which gives the ones above where
units count alike. Where units stand for different amounts of ground the means are weighted ones (ratio estimator:
Cochran 1977, Sampling Techniques, section 6.11).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

#: Below so many units in a stratum the normal approximation is rough.
FEW_UNITS = 30


@dataclass(frozen=True)
class Sample:
    """Units that were drawn at random inside each class of a map.

    Args:
        mapped: (N,) int64, class in the map: the stratum.
        reference: (N,) int64, class in truth.
        weights: (N,) float64, how much ground each unit stands for, relative to others of its stratum.
    """

    mapped: NDArray[np.int64]
    reference: NDArray[np.int64]
    weights: NDArray[np.float64]

    def counts(self, num_classes: int) -> NDArray[np.int64]:
        """The error matrix, (K, K) int64: rows map, columns reference."""
        pairs = self.mapped * num_classes + self.reference
        return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes).astype(np.int64)


@dataclass(frozen=True)
class Estimates:
    """What a sample says of a map of K classes. Shares and accuracies are in [0, 1]; NaN where nothing is known.

    Args:
        counts: (K, K) int64, the error matrix.
        shares: (K,) float64, of the area in truth.
        share_errors: (K,) float64, their standard errors.
        users: (K,) float64, user's accuracies.
        user_errors: (K,) float64.
        producers: (K,) float64, producer's accuracies.
        producer_errors: (K,) float64.
        overall: overall accuracy.
        overall_error: its standard error.
    """

    counts: NDArray[np.int64]
    shares: NDArray[np.float64]
    share_errors: NDArray[np.float64]
    users: NDArray[np.float64]
    user_errors: NDArray[np.float64]
    producers: NDArray[np.float64]
    producer_errors: NDArray[np.float64]
    overall: float
    overall_error: float


def half_width(confidence: float) -> float:
    """How many standard errors an interval reaches to each side: 1.96 for 0.95."""
    return round(NormalDist().inv_cdf((1 + confidence) / 2), 2 if confidence == 0.95 else 10)


def sample_of_counts(counts: NDArray[np.int64]) -> Sample:
    """The sample that an error matrix (K, K) tells of: rows map, columns reference."""
    mapped, reference = np.indices(counts.shape)
    repeats = counts.ravel()
    return Sample(
        np.repeat(mapped.ravel(), repeats).astype(np.int64),
        np.repeat(reference.ravel(), repeats).astype(np.int64),
        np.ones(int(repeats.sum())),
    )


def unsampled_strata(areas: NDArray[np.float64], sample: Sample) -> NDArray[np.int64]:
    """Classes of the map with fewer than the two units that a variance needs: (M,) int64."""
    per_stratum = np.bincount(sample.mapped, minlength=len(areas))
    return np.flatnonzero((areas > 0) & (per_stratum < 2)).astype(np.int64)


def estimate(areas: NDArray[np.float64], sample: Sample) -> Estimates:
    """Accuracies and shares of the area.

    Args:
        areas: (K,) float64, of each class in the map, in any unit; 0 for a class that is in the reference alone.
        sample: with at least two units in every class that the map has.
    """
    num_classes = len(areas)
    strata = _Strata(areas / areas.sum(), sample)
    is_class = sample.reference[None, :] == np.arange(num_classes)[:, None]
    is_right = sample.mapped == sample.reference
    shares = np.array([strata.mean(of_class) for of_class in is_class])
    share_errors = np.array([strata.error(of_class) for of_class in is_class])
    users, user_errors = _users(strata, is_right, num_classes)
    producers, producer_errors = np.full(num_classes, np.nan), np.full(num_classes, np.nan)
    for number in np.flatnonzero(shares > 0).tolist():
        hits = is_class[number] & is_right
        producers[number] = strata.mean(hits) / shares[number]
        residuals = (hits - producers[number] * is_class[number]) / shares[number]
        producer_errors[number] = strata.error(residuals)
    return Estimates(
        sample.counts(num_classes),
        shares,
        share_errors,
        users,
        user_errors,
        producers,
        producer_errors,
        strata.mean(is_right),
        strata.error(is_right),
    )


def _users(
    strata: _Strata, is_right: NDArray[np.bool_], num_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values, errors = np.full(num_classes, np.nan), np.full(num_classes, np.nan)
    for number in strata.numbers:
        values[number], variance = strata.in_stratum(number, is_right)
        errors[number] = np.sqrt(variance)
    return values, errors


class _Strata:
    """Means over the strata of a sample, and their standard errors."""

    def __init__(self, shares: NDArray[np.float64], sample: Sample) -> None:
        self._shares = shares
        self.numbers = np.flatnonzero(shares > 0).tolist()
        self._units = {number: np.flatnonzero(sample.mapped == number) for number in self.numbers}
        self._weights = sample.weights

    def in_stratum(self, number: int, values: NDArray[np.generic]) -> tuple[float, float]:
        """Weighted mean of values (N,) over a stratum, and the variance of it."""
        units = self._units[number]
        weights = self._weights[units] / self._weights[units].sum()
        own = values[units].astype(np.float64)
        mean = float(weights @ own)
        count = len(units)
        return mean, float(((weights * (own - mean)) ** 2).sum() * count / (count - 1))

    def mean(self, values: NDArray[np.generic]) -> float:
        """The mean over all of the map."""
        return float(sum(self._shares[number] * self.in_stratum(number, values)[0] for number in self.numbers))

    def error(self, values: NDArray[np.generic]) -> float:
        """The standard error of the mean."""
        terms = (self._shares[number] ** 2 * self.in_stratum(number, values)[1] for number in self.numbers)
        return float(np.sqrt(sum(terms)))


def allocate(areas: NDArray[np.float64], num_units: int, *, least: int = 50) -> NDArray[np.int64]:
    """How many units to draw in each class of a map: a least number for rare classes, the rest by area.

    As the paper advises (section 5.1.2): 50 or so for each rare class, and what is left in proportion to the area.

    Args:
        areas: (K,) float64.
        num_units: in all.
        least: for each class with an area, but never more than its even share.

    Returns:
        (K,) int64, 0 for a class without area.
    """
    there = np.flatnonzero(areas > 0)
    counts = np.zeros(len(areas), np.int64)
    if not len(there):
        return counts
    floor = min(least, num_units // len(there))
    wanted = areas[there] / areas[there].sum() * num_units
    is_rare = wanted < floor
    rest = num_units - floor * int(is_rare.sum())
    large = areas[there][~is_rare]
    counts[there[is_rare]] = floor
    exact = large / max(large.sum(), 1e-300) * rest
    rounded = np.floor(exact).astype(np.int64)
    for place in np.argsort(rounded - exact, kind="stable")[: rest - int(rounded.sum())]:
        rounded[place] += 1
    counts[there[~is_rare]] = rounded
    return counts
