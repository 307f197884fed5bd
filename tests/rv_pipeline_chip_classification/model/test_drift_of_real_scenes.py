"""Drift on real scenes: none between those of one kind, and all of it where a scale differs."""

from __future__ import annotations

from pathlib import Path

import pytest

from rv_pipeline_chip_classification.config import RasterSourceConfig
from rv_pipeline_chip_classification.model.source_fit import drift_notes
from rv_pipeline_chip_classification.model.value_histogram import PixelSample, merge_histograms
from rv_pipeline_chip_classification.prediction.value_watch import sample_of
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster

pytestmark = pytest.mark.real_data


@pytest.mark.parametrize("name", ["zion-landsat8-nlcd", "atlanta-spacenet-buildings"])
def test_a_scene_of_the_same_kind_is_not_told_and_another_scale_is(real_data_dir: Path, name: str) -> None:
    samples, arrays = [], []
    for path in sorted((real_data_dir / name / "scenes").glob("*.tif")):
        with SceneRaster(RasterSourceConfig(uris=[str(path)]), path.stem) as raster:
            samples.append(sample_of(raster))
            arrays.append(raster.read(raster.extent))
    for left_out, (sample, pixels) in enumerate(zip(samples, arrays, strict=True)):
        others = [other for number, other in enumerate(samples) if number != left_out]
        parts = [(other.num_pixels, histogram) for other in others if (histogram := other.histogram())]
        trained = merge_histograms(parts)
        names = [None] * pixels.values.shape[-1]
        assert drift_notes(trained, sample, names) == []
        for factor in (10, 10_000, 257, 1 / 255, 1 / 10_000):
            scaled = PixelSample(len(names), pixels.values[..., 0].size)
            scaled.add(pixels.values * factor, pixels.valid)
            assert len(drift_notes(trained, scaled, names)) == len(names), (left_out, factor)
