"""Statistics: exact against numpy, mergeable, over valid pixels only."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rv_core.errors import DataError
from rv_core.files.storage import Storage
from rv_pipeline_chip_classification.commands.analyze import analyze_scene, merge_statistics, read_statistics
from rv_pipeline_chip_classification.config import AnalyzeConfig, RasterSourceConfig, SceneConfig
from rv_pipeline_chip_classification.scenes import row_reader
from rv_pipeline_chip_classification.scenes.statistics import merge_all, no_pixels, statistics_of


def scene(uri: str, name: str = "a", **options: Any) -> SceneConfig:
    return SceneConfig(id=name, raster=RasterSourceConfig(uris=[uri], **options))


def assert_exact(statistics: Any, values: np.ndarray) -> None:
    """Against numpy over (N, C) valid pixels."""
    values = values.astype(np.float64)
    assert statistics.count == len(values)
    assert statistics.mean == pytest.approx(values.mean(axis=0), rel=1e-9)
    assert statistics.std == pytest.approx(values.std(axis=0), rel=1e-9, abs=1e-12)
    assert statistics.minimum.tolist() == values.min(axis=0).tolist()
    assert statistics.maximum.tolist() == values.max(axis=0).tolist()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 30), min_size=1, max_size=6), st.sampled_from([0.0, 1e9]))
def test_merged_parts_are_the_whole(seed: int, heights: list[int], offset: float) -> None:
    rng = np.random.default_rng(seed)
    parts = [rng.normal(offset, 3, (height, 7, 2)) for height in heights]
    merged = merge_all((statistics_of(part, None) for part in parts), 2)
    values = np.concatenate([part.reshape(-1, 2) for part in parts])
    assert merged.mean == pytest.approx(values.mean(axis=0), rel=1e-9, abs=1e-9)
    assert merged.std == pytest.approx(values.std(axis=0), rel=1e-7 if offset else 1e-9)


def test_a_scene_is_read_in_strips_and_written_with_its_channels(
    write_image: Callable[..., str],
    storage: Storage,
    pixels: Callable[..., np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(row_reader, "STRIP_BYTES", 4_000)
    array = pixels(90, 70)
    progress: list[tuple[int, int]] = []
    path = write_image("a.tif", array, names=["r", "g", "b"])
    analyze_scene(scene(path), AnalyzeConfig(), storage, lambda *done: progress.append(done))
    assert_exact(read_statistics(storage, "a"), array.reshape(-1, 3))
    written = json.loads(storage.read_text("analyze/a.json"))
    assert (written["scene"], written["dtype"], written["channels"]) == ("a", "uint16", ["r", "g", "b"])
    assert progress[-1] == (90, 90)


def test_only_valid_pixels_count_and_zero_is_one(write_image: Callable[..., str], storage: Storage) -> None:
    rng = np.random.default_rng(0)
    array = rng.integers(-5, 5, (60, 60, 2)).astype(np.int16)
    is_nodata = rng.random((60, 60)) < 0.3
    array[is_nodata] = -9999
    statistics = analyze_scene(scene(write_image("a.tif", array, nodata=-9999)), AnalyzeConfig(), storage)
    assert_exact(statistics, array[~is_nodata])


def test_scenes_together_are_what_one_would_get_from_all_pixels(
    write_image: Callable[..., str], storage: Storage, pixels: Callable[..., np.ndarray]
) -> None:
    arrays = [pixels(30 + 10 * seed, 40, seed=seed) // (seed + 1) for seed in range(3)]
    for name, array in zip("abc", arrays, strict=True):
        analyze_scene(scene(write_image(f"{name}.tif", array), name), AnalyzeConfig(), storage)
    everything = np.concatenate([array.reshape(-1, 3) for array in arrays])
    assert_exact(merge_statistics(storage, ["a", "b", "c"]), everything)


def test_channel_order_and_crop_apply(
    write_image: Callable[..., str], storage: Storage, pixels: Callable[..., np.ndarray]
) -> None:
    array = pixels(40, 40)
    path = write_image("a.tif", array)
    statistics = analyze_scene(scene(path, channel_order=[2, 0], bbox=[5, 6, 20, 30]), AnalyzeConfig(), storage)
    assert_exact(statistics, array[5:25, 6:36][..., [2, 0]].reshape(-1, 2))


@pytest.mark.parametrize(("fraction", "strips"), [(0.5, 5), (0.1, 1), (0.01, 1), (0.34, 4), (1.0, 10)])
def test_a_sample_takes_strips_evenly_and_at_least_one(
    write_image: Callable[..., str],
    storage: Storage,
    pixels: Callable[..., np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    fraction: float,
    strips: int,
) -> None:
    monkeypatch.setattr(row_reader, "STRIP_BYTES", 16 * 16 * 6)
    path = write_image("a.tif", pixels(160, 16))
    statistics = analyze_scene(scene(path), AnalyzeConfig(sample_fraction=fraction), storage)
    assert statistics.count == strips * 256


def test_a_scene_without_valid_pixels_adds_nothing(
    write_image: Callable[..., str], storage: Storage, pixels: Callable[..., np.ndarray]
) -> None:
    array = pixels(20, 20)
    analyze_scene(scene(write_image("a.tif", np.zeros_like(array), nodata=0), "a"), AnalyzeConfig(), storage)
    analyze_scene(scene(write_image("b.tif", array), "b"), AnalyzeConfig(), storage)
    assert json.loads(storage.read_text("analyze/a.json"))["min"] == [None] * 3
    assert_exact(merge_statistics(storage, ["a", "b"]), array.reshape(-1, 3))
    with pytest.raises(DataError, match="no training scene has a valid pixel"):
        merge_statistics(storage, ["a"])


def test_scenes_with_different_channels_and_damaged_files_are_refused(
    write_image: Callable[..., str], storage: Storage, pixels: Callable[..., np.ndarray]
) -> None:
    analyze_scene(scene(write_image("a.tif", pixels(20, 20, 3)), "a"), AnalyzeConfig(), storage)
    analyze_scene(scene(write_image("b.tif", pixels(20, 20, 2)), "b"), AnalyzeConfig(), storage)
    with pytest.raises(DataError, match="'a' has 3, 'b' has 2"):
        merge_statistics(storage, ["a", "b"])
    for text in ("{", "{}", '{"count": 1, "mean": ["x"], "m2": [0]}'):
        storage.write_text("analyze/a.json", text)
        with pytest.raises(DataError, match="damaged"):
            read_statistics(storage, "a")


def test_nothing_merged_is_nothing() -> None:
    assert merge_all([], 3).count == 0
    assert no_pixels(2).std.tolist() == [0.0, 0.0]
