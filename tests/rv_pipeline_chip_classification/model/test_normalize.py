"""Pixel values to model values."""

from __future__ import annotations

import numpy as np
import pytest

from rv_core.errors import DataError
from rv_pipeline_chip_classification.model.normalize import Normalization, normalization_for

STATISTICS = {"mean": [100.0, 5.0], "std": [10.0, 0.0], "min": [80.0, 5.0], "max": [180.0, 5.0]}


def test_stats_subtracts_the_mean_and_divides_by_the_deviation() -> None:
    normalization = normalization_for("stats", np.dtype(np.uint16), 2, STATISTICS)
    chips = np.array([[[[120, 7]]]], np.uint16)
    assert normalization.apply(chips).tolist() == [[[[2.0, 2.0]]]]


def test_minmax_maps_the_training_range_to_zero_and_one() -> None:
    normalization = normalization_for("minmax", np.dtype(np.uint16), 2, STATISTICS)
    chips = np.array([[[[80, 5], [180, 5]]]], np.uint16)
    assert normalization.apply(chips).tolist() == [[[[0.0, 0.0], [1.0, 0.0]]]]


@pytest.mark.parametrize(
    ("dtype", "pixel", "expected"),
    [(np.uint8, 255, 1.0), (np.uint16, 65535, 1.0), (np.int16, -32767, -1.0), (np.float32, 7.5, 7.5)],
)
def test_none_scales_by_the_range_of_integers_and_leaves_floats(dtype: type, pixel: float, expected: float) -> None:
    normalization = normalization_for("none", np.dtype(dtype), 1)
    assert normalization.apply(np.full((1, 1, 1, 1), pixel, dtype)).item() == pytest.approx(expected)


def test_a_channel_that_is_constant_in_training_is_only_shifted() -> None:
    assert normalization_for("stats", np.dtype(np.uint8), 2, STATISTICS).scale == (0.1, 1.0)


def test_invalid_pixels_become_zero_whatever_color_does() -> None:
    normalization = normalization_for("stats", np.dtype(np.uint16), 2, STATISTICS)
    valid = np.array([[[True, False]]])
    bright = np.full((1, 2), 3.0, np.float32)
    values = normalization.apply(np.zeros((1, 1, 2, 2), np.uint16), valid, brightness=bright)
    assert values[0, 0, 1].tolist() == [0.0, 0.0]
    assert values[0, 0, 0].tolist() == [-7.0, -2.0]


def test_contrast_and_brightness_are_per_chip_and_channel() -> None:
    normalization = Normalization("stats", (0.0, 0.0), (1.0, 1.0))
    chips = np.ones((2, 1, 1, 2), np.uint8)
    contrast = np.array([[1, 2], [3, 4]], np.float32)
    brightness = np.array([[0.5, 0], [0, 0.25]], np.float32)
    values = normalization.apply(chips, contrast=contrast, brightness=brightness)
    assert values[:, 0, 0].tolist() == [[1.5, 2.0], [3.0, 4.25]]


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.float64])
def test_small_differences_of_large_values_survive(dtype: type) -> None:
    normalization = Normalization("stats", (1e9,), (1.0,))
    values = normalization.apply(np.array([1e9 + 1, 1e9 + 2], dtype).reshape(2, 1, 1, 1))
    assert values.ravel().tolist() == [1.0, 2.0]


def test_the_batch_is_a_new_contiguous_float32_array_and_the_pixels_are_left_alone() -> None:
    chips = np.ones((2, 3, 3, 1), np.float32)
    values = Normalization("none", (1.0,), (2.0,)).apply(chips, np.zeros((2, 3, 3), np.bool_))
    assert values.dtype == np.float32 and values.flags.c_contiguous
    assert (chips == 1).all()


def test_it_comes_back_from_json() -> None:
    normalization = normalization_for("stats", np.dtype(np.uint16), 2, STATISTICS)
    assert Normalization.from_json(normalization.to_json()) == normalization


@pytest.mark.parametrize(
    "plain",
    [
        {"kind": "stats", "offset": [1.0], "scale": [1.0, 2.0]},
        {"kind": "stats", "offset": [float("nan")], "scale": [1.0]},
    ],
)
def test_unusable_json_is_refused(plain: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="finite"):
        Normalization.from_json(plain)


@pytest.mark.parametrize(
    ("statistics", "words"),
    [
        ({}, "0 values of 'mean' for 2 channels"),
        ({"mean": [1.0], "std": [1.0]}, "1 values of 'mean'"),
        ({"mean": [1.0, 2.0], "std": [1.0, float("inf")]}, "no usable 'std'"),
    ],
)
def test_statistics_that_do_not_fit_are_refused_with_a_remedy(statistics: dict[str, list[float]], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        normalization_for("stats", np.dtype(np.uint8), 2, statistics)
    assert "analyze" in caught.value.block.fix
