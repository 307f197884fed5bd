"""Calibration of scores."""

from __future__ import annotations

import numpy as np
import pytest

from rv_pipeline_chip_classification.training.calibration import (
    Reliability,
    _percentile,
    blocks_of,
    calibration_error,
    choose_temperature,
    fit_temperature,
    folds_of,
)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _overconfident(factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits `factor` times as large as those that the truth was drawn from."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (2000, 4))
    truth = np.array([rng.choice(4, p=row) for row in _softmax(logits)])
    return (logits * factor).astype(np.float32), truth


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_planted_factor(factor: float) -> None:
    logits, truth = _overconfident(factor)
    assert fit_temperature(logits, truth) == pytest.approx(factor, rel=0.1)


def test_the_error_of_an_overconfident_model_falls_by_more_than_half_with_the_same_answers() -> None:
    logits, truth = _overconfident(3.0)
    cooled = logits / fit_temperature(logits, truth)
    errors = []
    for scores in (_softmax(logits), _softmax(cooled)):
        error = calibration_error(scores.max(1), scores.argmax(1) == truth)
        assert error is not None
        errors.append(error)
    assert errors[1] < errors[0] / 2
    assert (cooled.argmax(1) == logits.argmax(1)).all()


def test_a_temperature_that_helps_at_every_place_is_taken() -> None:
    logits, truth = _overconfident(3.0)
    found = choose_temperature(logits, truth, np.arange(2000) % 4, "scene")
    assert found.temperature == fit_temperature(logits, truth)
    assert found.log_loss is not None and found.log_loss[1] < found.log_loss[0]
    assert found.error is not None and found.error[1] < found.error[0] / 2
    assert "on held-out scenes" in found.why
    assert found.to_json()["held_out"]["num_folds"] == 4


def test_a_temperature_that_helps_where_it_was_fitted_alone_is_not_taken() -> None:
    """Of two places one is answered too surely, the other not surely enough: each temperature harms the other."""
    (hot, hot_truth), (cold, cold_truth) = _overconfident(4.0), _overconfident(0.5)
    logits, truth = np.concatenate([hot, cold]), np.concatenate([hot_truth, cold_truth])
    assert fit_temperature(logits, truth) > 1.2
    found = choose_temperature(logits, truth, np.repeat([0, 1], 2000), "scene")
    assert found.temperature == 1.0
    assert found.log_loss is not None and found.log_loss[1] > found.log_loss[0]
    assert found.why.startswith("scores stay as they are")


@pytest.mark.parametrize(("count", "num_folds"), [(49, 2), (60, 1)])
def test_few_chips_or_a_single_fold_leave_scores_as_they_are(count: int, num_folds: int) -> None:
    logits, truth = _overconfident(3.0)
    found = choose_temperature(logits[:count], truth[:count], np.arange(count) % num_folds, "block")
    assert (found.temperature, found.to_json()["held_out"]) == (1.0, None)


def test_folds_are_scenes_or_else_strips_across_the_longer_side() -> None:
    windows = np.array([(row, col, 8, 8) for row in range(0, 40, 8) for col in range(0, 160, 8)])
    folds, by = folds_of(np.zeros(100, np.int64), windows)
    assert by == "block"
    assert np.bincount(folds).tolist() == [25, 25, 25, 25]
    assert all(len(set(folds[windows[:, 1] == col].tolist())) == 1 for col in range(0, 160, 8))
    folds, by = folds_of(np.repeat(np.arange(7), [30, 10, 10, 10, 10, 15, 15]), windows)
    assert by == "scene"
    assert np.bincount(folds).tolist() == [30, 15, 15, 20, 20]


@pytest.mark.parametrize("count", [1, 2, 41, 1000])
def test_percentiles_are_those_of_numpy_to_the_last_bit(count: int) -> None:
    rng = np.random.default_rng(count)
    for numbers in (rng.random(count), rng.integers(0, 9, count) / 7):
        found = [_percentile(np.sort(numbers), percent) for percent in (2.5, 50, 97.5, 100)]
        assert found == np.percentile(numbers, (2.5, 50, 97.5, 100)).tolist()


def test_the_error_has_an_interval_by_blocks() -> None:
    rng = np.random.default_rng(3)
    confidences = rng.uniform(0.5, 1, 4000)
    is_right = rng.random(4000) < confidences - 0.1
    blocks = np.arange(4000) // 250
    found = Reliability.of(confidences, is_right, blocks)
    low, high = found.interval() or (0.0, 0.0)
    assert 0.05 < low < (calibration_error(confidences, is_right) or 0) < high < 0.2
    assert found.interval() == (low, high)
    assert Reliability.of(confidences, is_right, blocks // 4).interval() is None
    bins = found.bins()
    assert sum(one["count"] for one in bins) == 4000
    assert bins[0]["from"] <= 0.5 < bins[0]["to"] and bins[-1]["to"] == 1.0
    assert all(one["from"] <= one["confidence"] <= one["to"] for one in bins)
    assert all(one["accuracy"] == pytest.approx(one["confidence"] - 0.1, abs=0.1) for one in bins)


def test_blocks_are_sixteen_parts_of_what_is_covered() -> None:
    windows = np.array([(row, col, 8, 8) for row in range(80, 160, 8) for col in range(0, 320, 8)])
    blocks = blocks_of(windows)
    assert sorted(set(blocks.tolist())) == list(range(16))
    assert blocks_of(windows[:0]).shape == (0,)


def test_few_chips_say_too_little() -> None:
    assert fit_temperature(np.ones((49, 2), np.float32), np.zeros(49, np.int64)) == 1.0


def test_a_model_that_is_always_right_gets_the_smallest_temperature_allowed() -> None:
    truth = np.arange(60) % 2
    assert fit_temperature(np.eye(2, dtype=np.float32)[truth], truth) == pytest.approx(0.1, abs=0.001)


def test_the_error_is_the_gap_between_confidence_and_hits() -> None:
    confidences = np.array([1.0, 1.0, 0.5, 0.5])
    is_right = np.array([True, False, True, False])
    assert calibration_error(confidences, is_right) == pytest.approx(0.25)


def test_no_answer_has_no_error() -> None:
    assert calibration_error(np.empty(0), np.empty(0, np.bool_)) is None
