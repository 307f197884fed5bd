"""Masks that come beside an image: values and bits of other rasters, joined with nodata."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rv_core.config.validation import schemas
from rv_core.errors import DataError
from rv_pipeline_chip_classification.config import (
    ChipClassificationConfig,
    ClassConfig,
    DatasetConfig,
    MaskConfig,
    RasterSourceConfig,
    RasterStackConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.pipeline import ChipClassificationPipeline
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster

#: A scene classification at 20 m, of an image at 10 m.
SCL = np.array([[4, 4, 8, 9], [4, 3, 8, 9], [4, 4, 4, 4], [0, 0, 4, 4]], np.uint8).repeat(4, 0).repeat(4, 1)


@pytest.fixture
def image(write_image: Callable[..., str], pixels: Callable[..., np.ndarray]) -> str:
    return write_image("a.tif", pixels(32, 32), pixel=10.0)


def valid_of(image: str, mask: MaskConfig, **options: Any) -> np.ndarray:
    with SceneRaster(RasterSourceConfig(uris=[image], mask=mask, **options), "a") as raster:
        read = raster.read(raster.extent)
        assert raster.channel_names == (None, None, None)
        rows = raster.rows(raster.extent).read(0, 32)
    valid = np.ones((32, 32), bool) if read.valid is None else read.valid
    assert rows.valid is None or (rows.valid == valid).all()
    return valid


@pytest.mark.parametrize(
    ("rule", "is_valid"),
    [
        ({"valid_values": [4, 3]}, np.isin(SCL, [3, 4])),
        ({"invalid_values": [0, 3, 8, 9]}, SCL == 4),
        ({"invalid_bits": [3]}, SCL < 8),
        ({"invalid_bits": [0, 3]}, np.isin(SCL, [0, 4])),
    ],
)
def test_values_and_bits_say_what_is_valid(
    write_image: Callable[..., str], image: str, rule: dict[str, Any], is_valid: np.ndarray
) -> None:
    mask = write_image("scl.tif", SCL, pixel=20.0)
    assert (valid_of(image, MaskConfig(uri=mask, **rule)) == is_valid.repeat(2, 0).repeat(2, 1)).all()


def test_a_mask_is_joined_with_nodata_and_its_own(
    write_image: Callable[..., str], pixels: Callable[..., np.ndarray]
) -> None:
    array = pixels(32, 32)
    array[:5] = 0
    image = write_image("b.tif", array, pixel=10.0)
    mask = write_image("scl.tif", np.dstack([SCL, SCL * 0 + 8]), pixel=20.0, nodata=0)
    expected = np.isin(SCL, [3, 4]).repeat(2, 0).repeat(2, 1)
    expected[:5] = False
    found = valid_of(image, MaskConfig(uri=mask, invalid_values=[8, 9]), nodata=0.0)
    assert (found == expected).all()
    assert not valid_of(image, MaskConfig(uri=mask, band=2, invalid_values=[8])).any()


def test_outside_of_the_mask_nothing_is_valid(write_image: Callable[..., str], image: str) -> None:
    mask = write_image("half.tif", np.ones((32, 16), np.uint8), pixel=10.0)
    found = valid_of(image, MaskConfig(uri=mask, valid_values=[1]))
    assert found[:, :16].all()
    assert not found[:, 16:].any()


def test_masks_of_all_sources_of_a_stack_count(write_image: Callable[..., str], image: str) -> None:
    masks = [
        write_image(f"m{n}.tif", np.full((32, 32), n, np.uint8).T * (np.arange(32) >= 8 * n), pixel=10.0)
        for n in (1, 2)
    ]
    sources = [RasterSourceConfig(uris=[image], mask=MaskConfig(uri=uri, invalid_values=[0])) for uri in masks]
    with SceneRaster(RasterStackConfig(sources=sources), "a") as raster:
        valid = raster.read(raster.extent).valid
    assert valid is not None
    assert (valid == (np.arange(32) >= 16)).all()


@pytest.mark.parametrize(
    ("options", "band", "why"),
    [
        ({"origin": (900_000.0, 4_500_000.0)}, 1, "wholly outside"),
        ({"crs": None}, 1, "no CRS"),
        ({}, 2, "it has 1 bands"),
        ({"dtype": "float32"}, 1, "whole numbers"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(
    write_image: Callable[..., str], image: str, options: dict[str, Any], band: int, why: str
) -> None:
    array = SCL.astype(options.pop("dtype", "uint8"))
    mask = write_image("scl.tif", array, **{"pixel": 20.0, **options})
    with pytest.raises(DataError) as failure:
        valid_of(image, MaskConfig(uri=mask, band=band, valid_values=[4]))
    assert why in failure.value.block.why
    assert failure.value.field == "mask"  # type: ignore[attr-defined]


def config_of(mask: MaskConfig) -> ChipClassificationConfig:
    scene = SceneConfig(id="s", raster=RasterSourceConfig(uris=["/a.tif"], mask=mask))
    dataset = DatasetConfig(train_scenes=[], test_scenes=[scene])
    return ChipClassificationConfig(root_uri="/root", classes=ClassConfig(names=["a", "b"]), dataset=dataset)


@pytest.mark.parametrize("rule", [{}, {"valid_values": []}, {"valid_values": [1], "invalid_bits": [1]}])
def test_a_mask_has_one_rule(rule: dict[str, Any]) -> None:
    found = [
        finding.where
        for finding in schemas.check(config_of(MaskConfig(uri="/m.tif", **rule)))
        if "mask" in finding.where
    ]
    assert found == ["dataset.test_scenes[0].raster.mask.valid_values"]


def test_a_mask_is_an_input_with_its_side_files(write_image: Callable[..., str]) -> None:
    mask = write_image("m.tif", SCL)
    config = config_of(MaskConfig(uri=mask, valid_values=[1]))
    with open(f"{mask}.msk", "wb") as file:
        file.write(b"1")
    (scene,) = config.dataset.test_scenes
    assert ChipClassificationPipeline(config).inputs("predict", scene) == ["/a.tif", mask, f"{mask}.msk"]
