"""Labels that scores contradict are found, and cells to label next are uncertain and different from each other."""

from __future__ import annotations

import numpy as np
import pytest

from rv_pipeline_chip_classification.sampling.review import (
    doubts,
    most_doubtful,
    uncertain_and_diverse,
    with_neighbours,
)


def test_a_label_is_doubtful_by_how_many_times_likelier_another_class_is() -> None:
    scores = np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [np.nan] * 3, [0.4, 0.3, 0.3]])
    found = doubts(scores, np.array([0, 1, 0, -1]))
    assert np.round(np.exp(found[:2]), 6).tolist() == [round(2 / 7, 6), 3.5]
    assert np.isnan(found[2:]).all()
    assert most_doubtful(found, 3).tolist() == [1]


def test_a_list_of_five_percent_holds_most_of_five_percent_flipped_labels() -> None:
    # Out-of-fold scores of a nearest-neighbour vote that is trained on flipped labels, as a model would be.
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 800)
    features = np.eye(4)[truth] + 0.35 * rng.standard_normal((800, 4))
    labels = truth.copy()
    flipped = rng.choice(800, 40, replace=False)
    labels[flipped] = (truth[flipped] + rng.integers(1, 4, 40)) % 4
    fold = np.arange(800) % 4
    scores = np.zeros((800, 4))
    for held_out in range(4):
        test, train = np.flatnonzero(fold == held_out), np.flatnonzero(fold != held_out)
        distances = np.linalg.norm(features[test, None] - features[None, train], axis=2)
        nearest = labels[train[np.argsort(distances, axis=1)[:, :25]]]
        scores[test] = np.stack([(nearest == label).mean(axis=1) for label in range(4)], axis=1)
    listed = most_doubtful(doubts(scores, labels), 40)
    assert len(np.intersect1d(listed, flipped)) >= 0.6 * 40


def _fields(size: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of three classes in square fields of so many cells a side, and the windows of the cells."""
    rows, cols = np.divmod(np.arange(size * size), size)
    windows = np.column_stack([rows * 8, cols * 8, np.full_like(rows, 8), np.full_like(rows, 8)])
    return (rows // side * 5 + cols // side * 3 + rows // side * (cols // side)) % 3, windows


@pytest.mark.parametrize(("side", "gains"), [(4, True), (1, False)])
def test_labels_around_a_cell_count_as_far_as_they_tell_labels(side: int, gains: bool) -> None:
    rng = np.random.default_rng(1)
    truth, windows = _fields(30, side)
    scores = np.full((900, 3), 0.2)
    scores[np.arange(900), np.where(rng.random(900) < 0.75, truth, rng.integers(0, 3, 900))] = 0.6
    labels, flipped = truth.copy(), rng.choice(900, 45, replace=False)
    labels[flipped] = (truth[flipped] + rng.integers(1, 3, 45)) % 3
    scenes = np.arange(900) // 450
    mixed = with_neighbours(scores, labels, windows, scenes)
    assert mixed.sum(axis=1) == pytest.approx(1)
    found = [len(np.intersect1d(most_doubtful(doubts(its, labels), 45), flipped)) for its in (scores, mixed)]
    assert (found[1] > 1.3 * found[0]) if gains else (found[1] >= found[0] - 2)
    if not gains:
        assert np.allclose(mixed, scores, atol=0.1)


def test_cells_without_neighbours_labels_or_scores_stay_as_they_are() -> None:
    windows = np.array([[0, 0, 8, 8], [0, 40, 8, 8], [0, 0, 8, 8]])
    scores = np.array([[0.7, 0.3], [np.nan, np.nan], [0.4, 0.6]])
    mixed = with_neighbours(scores, np.array([0, 1, -1]), windows, np.array([0, 0, 1]))
    assert mixed[[0, 2]] == pytest.approx(scores[[0, 2]])
    assert np.isnan(mixed[1]).all()
    assert with_neighbours(scores, np.full(3, -1), windows, np.zeros(3, np.int64)) is scores


def test_next_cells_are_uncertain_and_do_not_lie_together() -> None:
    # A hundred uncertain cells side by side, ten elsewhere; the others are sure.
    scores = np.tile([[0.95, 0.05]], (1000, 1))
    scores[:100] = [0.51, 0.49]
    scores[900:910] = [0.49, 0.51]
    places = np.column_stack([np.arange(1000.0), np.zeros(1000)])
    is_open = np.ones(1000, np.bool_)
    is_open[0] = False
    chosen = uncertain_and_diverse(scores, places, is_open, 10)
    assert len(set(chosen.tolist())) == 10
    assert 0 not in chosen
    assert set(chosen.tolist()) <= {*range(1, 100), *range(900, 910)}
    assert (chosen >= 900).any()
    assert np.diff(np.sort(chosen)).max() > 100
    assert uncertain_and_diverse(scores, places, np.zeros(1000, np.bool_), 10).tolist() == []
