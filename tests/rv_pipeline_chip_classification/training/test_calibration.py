"""Calibration of scores."""

from __future__ import annotations

import numpy as np
import pytest

from rv_pipeline_chip_classification.training.calibration import calibration_error, fit_temperature


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
