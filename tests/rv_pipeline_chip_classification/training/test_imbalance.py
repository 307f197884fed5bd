"""What rare classes weigh, and how often their chips are shown."""

from __future__ import annotations

import numpy as np
import pytest

from rv_pipeline_chip_classification.training.imbalance import (
    MAX_REPEATS,
    Sampling,
    adapted_weights,
    class_weights_of,
    epoch_order,
    logit_shift,
)


def test_balanced_weights_give_every_class_the_same_say() -> None:
    counts = np.array([60, 30, 10])
    weights = class_weights_of("balanced", counts)
    assert weights is not None
    assert np.allclose(np.array(weights) * counts, 100 / 3)


def test_balanced_weights_leave_out_a_class_without_chips() -> None:
    assert class_weights_of("balanced", np.array([5, 0, 5])) == (1.0, 0.0, 1.0)


def test_a_handful_of_chips_has_a_bounded_weight_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    weights = class_weights_of("balanced", np.array([100_000, 0, 2, 50_000]))
    assert weights is not None
    assert np.array(weights) / weights[0] == pytest.approx([1, 0, 100, 2])
    assert "class id 2: 2" in caplog.text
    caplog.clear()
    assert class_weights_of("balanced", np.array([1_000, 10])) is not None
    assert not caplog.text


def test_weights_are_taken_as_given_or_not_at_all() -> None:
    assert class_weights_of([1, 2.5], np.array([1, 1])) == (1.0, 2.5)
    assert class_weights_of("none", np.array([1, 1])) is None


def test_square_roots_go_half_of_the_way_and_keep_the_sum_over_the_chips() -> None:
    counts = np.array([900, 100, 0])
    weights = class_weights_of("sqrt", counts)
    assert weights is not None
    assert np.array(weights) / weights[0] == pytest.approx([1, 3, 0])
    assert (np.array(weights) * counts).sum() == pytest.approx(1000)


def test_the_bound_of_the_weights_is_that_of_the_config() -> None:
    weights = class_weights_of("balanced", np.array([1000, 10]), max_ratio=5)
    assert weights is not None and weights[1] / weights[0] == pytest.approx(5)


def test_the_shift_is_the_logarithm_of_the_shares() -> None:
    assert logit_shift(0.0, np.array([9, 1])) is None
    assert logit_shift(1.0, np.array([9, 1])) == pytest.approx(np.log([0.9, 0.1]))
    shift = logit_shift(0.5, np.array([9, 1, 0]))
    assert shift is not None and np.isfinite(shift).all() and shift[2] < shift[1]


@pytest.mark.parametrize(
    ("sampling", "counts", "expected"),
    [
        (Sampling(), [90, 10], [90, 10]),
        (Sampling(max_chips_per_class=30), [90, 10], [30, 10]),
        (Sampling("balanced"), [90, 10], [50, 50]),
        (Sampling("balanced"), [990, 10, 0], [900, 100, 0]),  # a chip is shown MAX_REPEATS times at most
        (Sampling("balanced", 30), [90, 10, 20], [20, 20, 20]),
    ],
)
def test_an_epoch_shows_so_many_chips_of_each_class(sampling: Sampling, counts: list[int], expected: list[int]) -> None:
    shown = sampling.epoch_counts(np.array(counts))
    assert shown.tolist() == expected
    assert (shown <= np.array(counts) * MAX_REPEATS).all()


def test_chips_are_shown_again_only_when_all_of_their_class_were() -> None:
    class_ids = np.repeat([0, 1], [90, 20])
    order = epoch_order(class_ids, np.array([55, 55]), np.random.default_rng(0))
    times = np.bincount(order, minlength=110)
    assert len(order) == 110
    assert set(times[:90].tolist()) == {0, 1} and times[:90].sum() == 55
    assert set(times[90:].tolist()) == {2, 3} and times[90:].sum() == 55


def test_an_epoch_of_every_chip_has_the_order_that_it_always_had() -> None:
    class_ids = np.arange(40) % 3
    order = epoch_order(class_ids, np.bincount(class_ids), np.random.default_rng(7))
    assert (order == np.random.default_rng(7).permutation(40)).all()


def test_weights_follow_the_answers_until_a_class_is_answered_as_often_as_it_is_there() -> None:
    counts = np.array([89, 9, 0])
    assert adapted_weights(counts, []) == (1.0, 1.0, 0.0)
    as_often = adapted_weights(counts, [[89, 9, 0]])
    assert as_often == pytest.approx((1.0, 1.0, 0.0))
    given_up = np.array(adapted_weights(counts, [[98, 0, 0]]))
    assert given_up[1] / given_up[0] == pytest.approx((10 * 99 / 90) ** 0.5)
    assert (given_up * counts).sum() == pytest.approx(98)
    for_long = np.array(adapted_weights(counts, [[98, 0, 0]] * 9, max_ratio=20))
    assert for_long[1] / for_long[0] == pytest.approx(20)
    back = np.array(adapted_weights(counts, [[98, 0, 0], [80, 18, 0]]))
    assert 1 < back[1] / back[0] < given_up[1] / given_up[0]
