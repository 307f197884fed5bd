"""Metrics from one confusion matrix."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rv_pipeline_chip_classification.training.metrics import confusion_matrix, metrics_of

NAMES = ["a", "b", "c"]


def test_rows_are_truth_and_columns_prediction() -> None:
    matrix = confusion_matrix(np.array([0, 0, 1]), np.array([1, 1, 0]), 2)
    assert matrix.tolist() == [[0, 2], [1, 0]]


def test_class_ids_of_any_integer_type_are_counted() -> None:
    matrix = confusion_matrix(np.array([200], np.uint8), np.array([201], np.uint8), 202)
    assert matrix[200, 201] == 1


def test_numbers_are_those_computed_by_hand() -> None:
    metrics = metrics_of(np.array([[4, 2, 0], [1, 2, 0], [0, 1, 0]]), NAMES)
    precision, recall, f1 = ([entry[name] for entry in metrics["classes"]] for name in ("precision", "recall", "f1"))
    assert precision == [4 / 5, 2 / 5, None]
    assert recall == [4 / 6, 2 / 3, 0.0]
    assert f1 == [8 / 11, 4 / 8, 0.0]
    assert [entry["support"] for entry in metrics["classes"]] == [6, 3, 1]
    assert [entry["predicted"] for entry in metrics["classes"]] == [5, 5, 0]
    assert metrics["accuracy"] == 0.6
    assert metrics["macro"]["precision"] == pytest.approx((4 / 5 + 2 / 5) / 2)
    assert metrics["macro"]["f1"] == pytest.approx((8 / 11 + 1 / 2) / 3)
    assert metrics["weighted"]["precision"] == pytest.approx((6 * 4 / 5 + 3 * 2 / 5) / 10)
    assert metrics["weighted"]["recall"] == pytest.approx(0.6)
    # By chance: (6 * 5 + 3 * 5 + 1 * 0) / 100.
    assert metrics["kappa"] == pytest.approx((0.6 - 0.45) / 0.55)


def test_a_class_in_neither_truth_nor_prediction_is_undefined_and_left_out_of_the_mean() -> None:
    metrics = metrics_of(np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]]), NAMES)
    last = metrics["classes"][2]
    assert (last["precision"], last["recall"], last["f1"]) == (None, None, None)
    assert metrics["macro"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0}


def test_nothing_at_all_is_undefined_and_still_json() -> None:
    metrics = metrics_of(np.zeros((2, 2), np.int64), ["a", "b"])
    assert metrics["accuracy"] is None
    assert metrics["kappa"] is None
    assert metrics["weighted"] == {"precision": None, "recall": None, "f1": None}
    json.dumps(metrics, allow_nan=False)


def test_agreement_that_chance_alone_gives_leaves_kappa_undefined() -> None:
    assert metrics_of(np.array([[5, 0], [0, 0]]), ["a", "b"])["kappa"] is None


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_weighted_recall_is_accuracy_and_supports_add_up(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = np.array(pairs).T
    metrics = metrics_of(confusion_matrix(truth, predicted, 4), list("abcd"))
    assert metrics["weighted"]["recall"] == pytest.approx(metrics["accuracy"])
    assert sum(entry["support"] for entry in metrics["classes"]) == len(pairs)
    assert sum(entry["predicted"] for entry in metrics["classes"]) == len(pairs)
