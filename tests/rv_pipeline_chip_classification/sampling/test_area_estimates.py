"""Estimates of accuracy and area: the figures that are in print, the formulas, and intervals that cover the truth."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from rv_pipeline_chip_classification.sampling.area_estimates import (
    Sample,
    allocate,
    estimate,
    half_width,
    sample_of_counts,
    unsampled_strata,
)

#: Olofsson et al. 2014, the worked example: deforestation, forest gain, stable forest, stable non-forest.
COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
AREAS_HA = np.array([200_000, 150_000, 3_200_000, 6_450_000]) * 0.09


def test_the_worked_example_comes_out_to_the_printed_digits() -> None:
    found = estimate(AREAS_HA, sample_of_counts(COUNTS))
    width, total_ha = half_width(0.95), AREAS_HA.sum()
    assert width == 1.96
    assert np.round(found.shares * total_ha).tolist() == [21_158, 11_686, 285_770, 581_386]
    assert np.round(width * found.share_errors * total_ha).tolist() == [6_158, 3_756, 15_510, 16_282]
    assert np.round(found.users, 2).tolist() == [0.88, 0.73, 0.93, 0.96]
    assert np.round(width * found.user_errors, 2).tolist() == [0.07, 0.10, 0.04, 0.02]
    assert np.round(found.producers, 2).tolist() == [0.75, 0.85, 0.93, 0.96]
    assert (round(found.overall, 2), round(width * found.overall_error, 2)) == (0.95, 0.02)
    assert (found.counts == COUNTS).all()


def test_the_one_formula_gives_those_of_the_paper() -> None:
    found = estimate(AREAS_HA, sample_of_counts(COUNTS))
    shares, units = AREAS_HA / AREAS_HA.sum(), COUNTS.sum(axis=1)
    p = shares[:, None] * COUNTS / units[:, None]
    areas = np.sqrt(((shares[:, None] * p - p**2) / (units[:, None] - 1)).sum(axis=0))  # eq. 10
    assert found.share_errors == pytest.approx(areas)
    users = np.diag(COUNTS) / units
    assert found.overall_error**2 == pytest.approx((shares**2 * users * (1 - users) / (units - 1)).sum())  # eq. 5
    producers = np.diag(p) / p.sum(axis=0)
    rates = COUNTS / units[:, None]
    own = AREAS_HA**2 * (1 - producers) ** 2 * users * (1 - users) / (units - 1)
    terms = AREAS_HA[:, None] ** 2 * rates * (1 - rates) / (units[:, None] - 1)
    others = producers**2 * (terms.sum(axis=0) - np.diag(terms))
    variances = (own + others) / (AREAS_HA[:, None] * rates).sum(axis=0) ** 2  # eq. 7
    assert found.producer_errors == pytest.approx(np.sqrt(variances))


def test_weights_that_are_equal_change_nothing_and_a_heavy_unit_counts_more() -> None:
    sample = sample_of_counts(COUNTS)
    heavy = Sample(sample.mapped, sample.reference, np.full(len(sample.mapped), 7.0))
    assert estimate(AREAS_HA, heavy).share_errors == pytest.approx(estimate(AREAS_HA, sample).share_errors)
    two = Sample(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), np.array([3.0, 1.0, 1.0, 1.0]))
    found = estimate(np.array([1.0, 1.0]), two)
    assert found.shares.tolist() == [0.375, 0.625]
    assert found.users.tolist() == [0.75, 1.0]


def test_a_class_of_the_reference_alone_has_an_area_and_one_without_units_is_told() -> None:
    sample = Sample(np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1]), np.ones(4))
    found = estimate(np.array([1.0, 3.0, 0.0]), sample)
    assert found.shares.tolist() == [0.125, 0.75, 0.125]
    assert np.isnan(found.users[2])
    assert found.producers.tolist() == [1.0, 1.0, 0.0]
    assert unsampled_strata(np.array([1.0, 3.0, 2.0, 0.0]), sample).tolist() == [2]


def test_units_are_drawn_by_area_with_enough_for_rare_classes() -> None:
    assert allocate(AREAS_HA, 640).tolist() == [50, 50, 179, 361]
    assert allocate(np.array([1.0, 0.0, 5.0]), 7).tolist() == [3, 0, 4]
    for num_units in (10, 101, 999):
        assert allocate(AREAS_HA, num_units).sum() == num_units


@pytest.mark.slow
def test_intervals_of_a_thousand_simulated_maps_cover_the_truth() -> None:
    rng = np.random.default_rng(0)
    confusion = np.array(
        [[0.85, 0.05, 0.05, 0.05], [0.04, 0.84, 0.08, 0.04], [0.02, 0.05, 0.88, 0.05], [0.02, 0.03, 0.05, 0.9]]
    )
    num_pixels = np.array([20_000, 30_000, 60_000, 90_000])
    covered: list[NDArray[np.bool_]] = []
    for _ in range(1000):
        rates = [rng.dirichlet(200 * row) for row in confusion]
        truth = np.array([rng.multinomial(count, row) for count, row in zip(num_pixels, rates, strict=True)])
        drawn = [rng.multivariate_hypergeometric(row, 250) for row in truth]
        found = estimate(num_pixels.astype(float), sample_of_counts(np.array(drawn)))
        off = [
            np.abs(found.shares - truth.sum(axis=0) / truth.sum()) / found.share_errors,
            np.abs(found.users - np.diag(truth) / truth.sum(axis=1)) / found.user_errors,
            np.abs(found.producers - np.diag(truth) / truth.sum(axis=0)) / found.producer_errors,
            [abs(found.overall - np.trace(truth) / truth.sum()) / found.overall_error],
        ]
        covered.append(np.concatenate(off) <= half_width(0.95))
    rates_covered = np.mean(covered, axis=0)
    assert rates_covered.min() >= 0.93
    assert rates_covered.max() <= 0.97
