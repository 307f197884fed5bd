"""How values are distributed: from a bounded sample, merged over scenes, and what counts as drift."""

from __future__ import annotations

import numpy as np
import pytest

from rv_pipeline_chip_classification.model.source_fit import drift_of
from rv_pipeline_chip_classification.model.value_histogram import (
    LEVELS,
    PixelSample,
    ValueHistogram,
    merge_histograms,
)


def histogram_of(values: np.ndarray, num_shown: int = 1) -> ValueHistogram:
    """Of (N, C) values, shown in so many parts."""
    sample = PixelSample(values.shape[-1], len(values))
    for part in np.array_split(values, num_shown):
        sample.add(part, None)
    histogram = sample.histogram()
    assert histogram is not None
    return histogram


def test_edges_are_the_quantiles_of_all_valid_pixels() -> None:
    rng = np.random.default_rng(0)
    values, valid = rng.integers(0, 1000, (90, 70, 2), dtype=np.uint16), rng.random((90, 70)) < 0.8
    sample = PixelSample(2, valid.size)
    sample.add(values[:40], valid[:40])
    sample.add(values[40:], valid[40:])
    assert sample.num_pixels == valid.sum()
    histogram = sample.histogram()
    assert histogram is not None
    assert np.array(histogram.edges) == pytest.approx(
        np.quantile(values[valid].astype(float), LEVELS, axis=0, method="inverted_cdf").T
    )


def test_a_sample_of_many_pixels_is_bounded_spread_and_always_the_same() -> None:
    values = np.arange(3_000_000, dtype=np.float32).reshape(-1, 1)
    sample = PixelSample(1, len(values))
    for part in np.array_split(values, 37):
        sample.add(part, None)
    assert 100_000 < sample.num_pixels <= 1 << 17
    one, other = histogram_of(values, 37), histogram_of(values, 37)
    assert one == other
    assert np.array(one.edges[0]) / 3e6 == pytest.approx(np.array(LEVELS), abs=1e-3)


def test_many_channels_are_sampled_less() -> None:
    sample = PixelSample(4096, 1 << 22)
    sample.add(np.zeros((1 << 16, 4096), np.uint8)[:1000], None)
    assert sample.num_pixels <= 2

    assert PixelSample(3, 0).histogram() is None


def test_merged_scenes_are_what_one_would_get_from_all_pixels() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(mean, 5, (size, 1)) for mean, size in ((0, 4000), (100, 1000), (50, 20_000))]
    merged = merge_histograms([(len(part), histogram_of(part)) for part in parts])
    assert merged is not None
    whole = np.array(histogram_of(np.concatenate(parts)).edges[0])
    # Half a bin of a scene, where its normal distribution is densest.
    assert np.abs(np.array(merged.edges[0]) - whole)[2:-2].max() < 4
    assert merged.edges[0][0] == whole[0]
    assert merged.edges[0][-1] == whole[-1]
    assert merge_histograms([]) is None


def test_what_other_images_of_the_kind_differ_by_is_not_told_and_another_scale_is() -> None:
    rng = np.random.default_rng(0)
    training = rng.normal(3000, 800, (50_000, 1))
    trained = histogram_of(training)

    def is_told(values: np.ndarray) -> bool:
        (drift,) = drift_of(trained, histogram_of(values), ["red"])
        assert str(drift).startswith("red: ")
        return drift.is_told

    assert not is_told(training)
    assert not is_told(rng.normal(3800, 600, (5000, 1)))
    for factor in (1 / 255, 1 / 10_000, 10, 10_000, 257):
        assert is_told(training * factor), factor
    assert is_told(training + 2000)


def test_a_wild_pixel_in_training_hides_no_drift_and_a_constant_channel_is_one() -> None:
    training = np.concatenate([np.random.default_rng(0).normal(10, 1, (10_000, 1)), [[-3.4e38]]])
    (drift,) = drift_of(histogram_of(training), histogram_of(training[:-1] * 10), [None])
    assert drift.is_told
    assert str(drift).startswith("channel 0: ")
    constant = histogram_of(np.full((100, 1), 7.0))
    assert not drift_of(constant, constant, ["a"])[0].is_told
    assert drift_of(constant, histogram_of(np.full((100, 1), 8.0)), ["a"])[0].is_told


@pytest.mark.parametrize("wild", [1e6, -9999.0, -3.4e38, 1.7e308])
def test_one_wild_pixel_is_no_drift_of_any_other_image(wild: float) -> None:
    training, own = (np.random.default_rng(seed).normal(10, 1, (10_000, 1)) for seed in (0, 1))
    known = histogram_of(np.concatenate([training, [[wild]]]))
    merged = merge_histograms([(10_001, known)])
    assert merged is not None
    assert merged.quantiles(np.array([0.001, 0.999])) == pytest.approx(
        known.quantiles(np.array([0.001, 0.999])), abs=0.3
    )
    for trained in (known, merged):
        assert not drift_of(trained, histogram_of(own), ["a"])[0].is_told
    assert not drift_of(histogram_of(own), known, ["a"])[0].is_told
    assert drift_of(merged, histogram_of(own + 4), ["a"])[0].is_told
