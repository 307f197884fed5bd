"""The linear probe: its features counted by hand, what it can and cannot learn, and its file."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rv_pipeline_chip_classification.training.linear_probe import LinearProbe, band_statistics, fit_linear_probe


def test_features_are_mean_and_spread_of_the_valid_pixels() -> None:
    chips = np.array([[[[1, 10], [3, 10]], [[5, 10], [999, 7]]]], np.uint16)
    valid = np.array([[[True, True], [True, False]]])
    mean, spread = 3.0, np.sqrt(8 / 3)
    np.testing.assert_allclose(band_statistics(chips, valid), [[mean, 10.0, spread, 0.0]])
    whole = band_statistics(chips, None)
    np.testing.assert_allclose(whole[0, :2], [chips[0, ..., 0].mean(), chips[0, ..., 1].mean()])
    np.testing.assert_allclose(whole[0, 2:], [chips[0, ..., 0].std(), chips[0, ..., 1].std()])
    assert np.isnan(band_statistics(chips, np.zeros_like(valid))).all()


def test_large_values_keep_their_spread() -> None:
    chips = np.float32(1e6) + np.random.default_rng(0).normal(0, 1, (3, 8, 8, 2)).astype(np.float32)
    np.testing.assert_allclose(band_statistics(chips, None)[:, 2:], chips.std(axis=(1, 2), dtype=np.float64), rtol=1e-9)


def test_classes_that_differ_in_mean_and_spread_are_told_apart_and_the_file_says_the_same() -> None:
    rng = np.random.default_rng(1)
    truth = np.arange(300) % 3
    level, noise = np.array([100.0, 400.0, 250.0])[truth], np.array([15.0, 15.0, 140.0])[truth]
    chips = level[:, None, None, None] + noise[:, None, None, None] * rng.normal(size=(300, 8, 8, 2))
    features = band_statistics(chips, None)
    features[0] = np.nan  # a cell without data
    probe = fit_linear_probe(features[:200], truth[:200], 3)
    assert probe.num_cells == 199
    read = LinearProbe.from_json(json.loads(json.dumps(probe.to_json())))
    for one in (probe, read):
        assert (one.classes_of(features[200:]) == truth[200:]).mean() > 0.97
    assert probe.classes_of(np.full((1, 4), np.nan)).tolist() == [int(np.bincount(truth[1:200]).argmax())]


def test_a_constant_band_and_a_class_without_cells_are_no_matter() -> None:
    features = np.column_stack([np.arange(10.0), np.full(10, 7.0)])
    probe = fit_linear_probe(features, (np.arange(10) >= 5).astype(np.int64), 3)
    assert probe.classes_of(features).tolist() == [0] * 5 + [1] * 5
    assert fit_linear_probe(np.full((2, 2), np.nan), np.array([0, 1]), 2).num_cells == 0


@pytest.mark.parametrize("change", [{"offset": [1.0]}, {"weights": "no"}, {"bias": [0.0, float("nan")]}])
def test_a_damaged_file_is_refused(change: dict[str, object]) -> None:
    plain = fit_linear_probe(np.eye(2), np.array([0, 1]), 2).to_json()
    with pytest.raises((ValueError, TypeError)):
        LinearProbe.from_json({**plain, **change})
