"""What must be known of a model beside the simplest answers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from rv_core.files.storage import Storage
from rv_pipeline_chip_classification.commands.baselines import (
    METRICS,
    PROBE,
    Baselines,
    middle,
    notes_of,
    read_baselines,
    warnings_of,
)
from rv_pipeline_chip_classification.training.metrics import confusion_matrix, metrics_of

NAMES = ["background", "building"]
TRUTH = np.repeat([0, 1], [180, 16])


def judged(predicted: np.ndarray, truth: np.ndarray = TRUTH) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics of the prediction, and of the constant answer and a probe that is right four times of five."""
    metrics = metrics_of(confusion_matrix(truth, predicted, 2), NAMES)
    probed = np.where(np.arange(len(truth)) % 5 == 0, 1 - truth, truth)
    return metrics, Baselines(commonest=0).to_json(truth, probed, NAMES)


def test_a_model_that_answers_always_the_same_is_told_loudly() -> None:
    metrics, baselines = judged(np.zeros_like(TRUTH))
    assert baselines["constant"]["class_name"] == "background"
    assert baselines["constant"]["macro"]["f1"] == pytest.approx(0.479, abs=1e-3)
    assert warnings_of("test", metrics, baselines) == [
        "test: the model never answers 'building', the class of 16 of the cells",
        "test: macro F1 0.479 is no better than answering always 'background' (0.479)",
    ]
    assert "A linear model" in notes_of(metrics, baselines)[0]


def test_a_good_model_has_nothing_to_be_told() -> None:
    metrics, baselines = judged(np.where(np.arange(len(TRUTH)) < 3, 1 - TRUTH, TRUTH))
    assert warnings_of("test", metrics, baselines) == []
    assert notes_of(metrics, baselines) == []


def test_one_that_finds_the_rare_class_at_the_price_of_accuracy_is_no_worse_than_the_constant_answer() -> None:
    predicted = np.where(np.arange(len(TRUTH)) < 30, 1, TRUTH)
    metrics, baselines = judged(predicted)
    assert metrics["accuracy"] < baselines["constant"]["accuracy"]
    assert warnings_of("test", metrics, baselines) == []
    assert any(
        "Accuracy 0.847 is below that of answering always 'background' (0.918)." in t
        for t in notes_of(metrics, baselines)
    )


def test_a_set_that_cannot_tell_is_named_with_its_counts() -> None:
    truth = np.repeat([0, 1], [50, 9])
    metrics, baselines = judged(truth, truth)
    assert warnings_of("validation", metrics, baselines) == [
        "validation: too few cells of some classes to tell anything by (fewer than 10): 'building' 9"
    ]


def test_what_an_older_training_left_or_is_damaged_is_not_compared_with(storage: Storage) -> None:
    assert read_baselines(storage, 2) == Baselines()
    storage.write_text(METRICS, json.dumps({"train": {"classes": [{"support": 3}, {"support": 5}]}}))
    assert read_baselines(storage, 2) == Baselines(commonest=1)
    assert read_baselines(storage, 3) == Baselines()
    for text in ("", "[]", '{"offset": [1]}'):
        storage.write_text(PROBE, text)
        assert read_baselines(storage, 2) == Baselines(commonest=1)
    assert Baselines().to_json(TRUTH, None, NAMES) == {"constant": None, "linear_probe": None}
    assert warnings_of("test", judged(TRUTH)[0], {"constant": None, "linear_probe": None}) == []


def test_only_the_cell_of_a_chip_that_shows_more_is_looked_at() -> None:
    chips = np.arange(2 * 6 * 6 * 1).reshape(2, 6, 6, 1)
    assert (middle(chips, 2) == chips[:, 2:4, 2:4]).all()
    assert middle(chips, 6).shape == middle(chips, 9).shape == chips.shape
