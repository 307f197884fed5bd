"""What `rv check` says of the headers of all scenes beside each other, before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from rv_core.errors import Finding
from rv_pipeline_chip_classification.checks.deep import deep_check
from rv_pipeline_chip_classification.config import (
    ChipClassificationConfig,
    ClassConfig,
    DatasetConfig,
    EvalConfig,
    RasterSourceConfig,
    SceneConfig,
)

RGB = ["red", "green", "blue"]
WriteImage = Callable[..., str]


def array(channels: int = 3) -> np.ndarray:
    return np.full((32, 32, channels), 9, np.uint8)


def findings(train: str, *tests: str, todo: dict[str, list[str]] | None = None, **options: Any) -> list[Finding]:
    """Of a prediction: images without labels."""
    scenes = [
        SceneConfig(id=f"t{number}", raster=RasterSourceConfig(uris=[uri], **options))
        for number, uri in enumerate(tests)
    ]
    config = ChipClassificationConfig(
        root_uri="/root",
        classes=ClassConfig(names=["a", "b"]),
        dataset=DatasetConfig(
            train_scenes=[SceneConfig(id="a", raster=RasterSourceConfig(uris=[train]))], test_scenes=scenes
        ),
        eval=EvalConfig(subsets=[]),
    )
    return list(deep_check(config, {"predict": [scene.id for scene in scenes]} if todo is None else todo))


def test_permuted_channels_are_an_error_with_the_order_that_mends_it(write_image: WriteImage) -> None:
    train = write_image("a.tif", array(), names=RGB)
    test = write_image("t.tif", array(), names=RGB[::-1])
    (found,) = findings(train, test)
    assert (found.where, found.severity) == ("dataset.test_scenes[0].raster.channel_order", "error")
    assert "its channels are blue, green, red, those of dataset.train_scenes[0] red, green, blue" in found.what
    assert "channel_order=[2, 1, 0]" in found.fix
    assert findings(train, test, channel_order=[2, 1, 0]) == []


def test_names_that_contradict_positions_are_an_error_whatever_channel_order_says(write_image: WriteImage) -> None:
    """Of every scene; the user's word counts where the names prove nothing."""
    train = write_image("a.tif", array(), names=RGB)
    more = write_image("m.tif", array(4), names=[*RGB, "nir"])
    (found,) = findings(train, more, channel_order=[3, 1, 2])
    assert (found.severity, "channel_order=[0, 1, 2]" in found.fix) == ("error", True)
    nir = write_image("n.tif", array(), names=["nir", "green", "blue"])
    (found,) = findings(train, nir)
    assert (found.severity, "no band of the file is called 'red'" in found.fix) == ("error", True)
    assert [found.severity for found in findings(train, nir, channel_order=[0, 1, 2])] == ["warning"]
    other = write_image("o.tif", array(), names=["B04", "B03", "B02"])
    assert [(found.severity, "taken by position" in found.what) for found in findings(train, other)] == [
        ("warning", True)
    ]


def test_other_names_scales_and_sizes_of_pixels_are_told(write_image: WriteImage) -> None:
    train = write_image("a.tif", array(), names=RGB, pixel=10)
    names = write_image("n.tif", array(), names=["B04", "B03", "B02"], pixel=10)
    scales = write_image("s.tif", array(), names=RGB, pixel=10)
    with rasterio.open(scales, "r+") as file:
        file.offsets = (-0.1,) * 3
    small = write_image("p.tif", array(), names=RGB, pixel=0.2)
    found = findings(train, names, scales, small)
    assert {finding.severity for finding in found} == {"warning"}
    texts = [finding.what for finding in found]
    assert "taken by position" in texts[0]
    assert "scales or offsets are 1 and -0.1, those of dataset.train_scenes[0] 1 and 0" in texts[1]
    assert "0.2 m on the ground, those of dataset.train_scenes[0] 10 m" in texts[2]


def test_another_nodata_value_is_told(write_image: WriteImage) -> None:
    train = write_image("a.tif", array(), nodata=255)
    test = write_image("t.tif", array())
    (found,) = findings(train, test)
    assert (found.where, found.severity) == ("dataset.test_scenes[0].raster.nodata", "warning")
    assert "its nodata value is none, that of dataset.train_scenes[0] 255" in found.what
    assert findings(train, test, nodata=255.0) == []


def test_values_of_another_scale_are_told_before_anything_starts(write_image: WriteImage) -> None:
    rng = np.random.default_rng(0)
    reflectance = rng.normal(0.3, 0.05, (64, 64, 3)).astype(np.float32)
    train = write_image("a.tif", reflectance, names=RGB)
    same = write_image("s.tif", reflectance * 1.1, names=RGB)
    scaled = [write_image(f"{factor}.tif", (reflectance * factor).astype(np.float32)) for factor in (1e4, 1 / 255)]
    found = findings(train, same, *scaled)
    assert [found.where for found in found] == [f"dataset.test_scenes[{number}].raster" for number in (1, 2)]
    assert all(found.severity == "warning" and "blue: " not in found.what for found in found)
    assert "channel 0: 100% of its pixels are outside of 0.1" in found[0].what
    empty = write_image("e.tif", np.full((64, 64, 3), np.nan, np.float32))
    (found,) = findings(train, empty)
    assert (found.where, found.severity) == ("dataset.test_scenes[0].raster", "warning")
    assert "no pixel is valid" in found.what


def test_near_infrared_that_is_tagged_alpha_is_told_twice(write_image: WriteImage) -> None:
    nir = np.random.default_rng(0).integers(0, 200, (32, 32, 4)).astype(np.uint8)
    rgba = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    image = write_image("a.tif", nir, colorinterp=rgba)
    texts = [finding.what for finding in findings(image, image)]
    assert "channel_order=[0, 1, 2, 3] takes it" in texts[0]
    assert "is it data (near infrared)?" in texts[1]
    nir[..., 3] = 255
    mask = write_image("m.tif", nir, colorinterp=rgba)
    assert len(findings(mask, mask)) == 1


def test_files_behind_a_virtual_dataset_are_listed(write_image: WriteImage, tmp_path: Path) -> None:
    image = write_image("a.tif", array(1))
    source = '<SourceFilename relativeToVRT="1">a.tif</SourceFilename><SourceBand>1</SourceBand>'
    (tmp_path / "a.vrt").write_text(
        '<VRTDataset rasterXSize="32" rasterYSize="32"><VRTRasterBand dataType="Byte" band="1">'
        f"<SimpleSource>{source}</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    (found,) = findings(image, str(tmp_path / "a.vrt"))
    assert (found.where, found.severity) == ("dataset.test_scenes[0].raster.uris[0]", "warning")
    assert f"reads 1 files, which are inputs too: {image}" in found.what


def test_an_error_that_nobody_foresaw_names_scene_and_file(
    write_image: WriteImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trip(*_: Any) -> None:
        raise OverflowError("int too large")

    image = write_image("a.tif", array())
    monkeypatch.setattr("rv_pipeline_chip_classification.scenes.scene_raster.SceneRaster.read_last_pixels", trip)
    (found,) = findings(image, image)
    assert found.where == "dataset.test_scenes[0].raster.uris"
    assert "scene 't0'" in found.what
    assert image in found.what
    assert "int too large" in found.what


def test_ranges_are_one_per_channel_and_scales_are_applied_to_all_scenes_or_none(write_image: WriteImage) -> None:
    image = write_image("a.tif", array())
    scene = SceneConfig(id="a", raster=RasterSourceConfig(uris=[image]))
    options = {"root_uri": "/root", "classes": ClassConfig(names=["a", "b"]), "eval": EvalConfig(subsets=[])}
    config = ChipClassificationConfig(dataset=DatasetConfig(train_scenes=[scene]), scale_to=[[0, 1]] * 2, **options)
    (found,) = [each for each in deep_check(config, {"chip": ["a"]}) if each.where == "scale_to"]
    assert found.what == "2 ranges for the 3 channels of dataset.train_scenes[0]"
    for ranges, what in (([[1, 0]], "[1, 0] is no range"), ([[1]], "[1] is no range"), ([], "no range is given")):
        assert any(what == each.what for each in replace(config, scale_to=ranges).validate())
    scaled = SceneConfig(id="b", raster=RasterSourceConfig(uris=[image], apply_scale=True))
    mixed = replace(config, dataset=DatasetConfig(train_scenes=[scene], test_scenes=[scaled]))
    assert any("apply_scale" in each.what for each in mixed.validate())
