"""No data as GDAL has it: values declared in any way, rounded in any way, and bands that are tagged alpha."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from rv_pipeline_chip_classification.config import RasterSourceConfig
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster

WriteImage = Callable[..., str]
LOWEST = float(np.finfo(np.float32).min)
RGBA = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]


def num_valid(path: str, **options: Any) -> int:
    with SceneRaster(RasterSourceConfig(uris=[path], **options), "s") as raster:
        pixels = raster.read(raster.extent)
    return int(pixels.valid.sum()) if pixels.valid is not None else pixels.values[..., 0].size


def with_hole(dtype: str, hole: Any) -> np.ndarray:
    array = np.full((20, 20), 7, dtype)
    array[:5] = hole
    return array


def declare(path: str, text: str) -> str:
    """Declare nodata beside a file, in the words of the writer."""
    band = f'<PAMRasterBand band="1"><NoDataValue>{text}</NoDataValue></PAMRasterBand>'
    Path(f"{path}.aux.xml").write_text(f"<PAMDataset>{band}</PAMDataset>")
    return path


@pytest.mark.parametrize("text", ["-3.4028234663852886e+38", "-3.402823e+38", "-3.40282306073709653e+38", "-3.4e+38"])
def test_a_rounded_nodata_masks_what_gdal_masks(write_image: WriteImage, text: str) -> None:
    path = declare(write_image("a.tif", with_hole("float32", LOWEST)), text)
    with rasterio.open(path) as dataset:
        assert (dataset.read_masks(1) > 0).sum() == 300
    assert num_valid(path) == 300


@pytest.mark.parametrize("nodata", [LOWEST, -3.4e38, -3.402823e38])
def test_a_nodata_of_the_config_is_as_tolerant(write_image: WriteImage, nodata: float) -> None:
    assert num_valid(write_image("a.tif", with_hole("float32", LOWEST)), nodata=nodata) == 300
    assert num_valid(write_image("b.tif", with_hole("float32", 6.99)), nodata=7.0) == 100


def test_a_double_with_the_nodata_of_a_float_is_masked(write_image: WriteImage) -> None:
    assert num_valid(write_image("a.tif", with_hole("float64", float(np.float32(1e20))), nodata=1e20)) == 300


@pytest.mark.parametrize(("dtype", "hole"), [("int64", 2**63 - 1), ("uint64", 2**64 - 1), ("int64", -(2**63))])
def test_the_limits_of_wide_integers_can_be_nodata(write_image: WriteImage, dtype: str, hole: int) -> None:
    assert num_valid(declare(write_image("a.tif", with_hole(dtype, hole)), str(hole))) == 300


def test_nodata_values_mask_where_all_bands_have_theirs(write_image: WriteImage) -> None:
    array = np.full((20, 20, 3), 7, np.uint8)
    array[:5] = 0
    array[10, 10, 1] = 0
    path = write_image("a.tif", array)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(NODATA_VALUES="0 0 0")
    assert num_valid(path) == 300


@pytest.mark.parametrize("name", ["", "Alpha", "alpha band", "MASK", "Band_4", "band 4"])
def test_a_tagged_alpha_without_a_name_of_its_own_is_the_mask_and_is_told(write_image: WriteImage, name: str) -> None:
    array = np.full((20, 20, 4), 255, np.uint8)
    array[:5, :, 3] = 0
    path = write_image("a.tif", array, colorinterp=RGBA, names=["", "", "", name])
    with SceneRaster(RasterSourceConfig(uris=[path]), "s") as raster:
        assert raster.num_channels == 3
        (note,) = raster.notes
    assert note.field == "channel_order"
    assert "band 4 is tagged alpha" in note.text
    assert "channel_order=[0, 1, 2, 3] takes it" in note.text
    assert num_valid(path) == 300
    with SceneRaster(RasterSourceConfig(uris=[path], channel_order=[0, 1, 2, 3]), "s") as raster:
        assert (raster.num_channels, raster.notes) == (4, [])


def test_a_tagged_alpha_with_a_name_is_a_channel_and_is_told(write_image: WriteImage) -> None:
    path = write_image("a.tif", np.ones((20, 20, 4), np.uint8), colorinterp=RGBA, names=["", "", "", "nir"])
    with SceneRaster(RasterSourceConfig(uris=[path]), "s") as raster:
        assert raster.num_channels == 4
        assert "called 'nir': taken as a channel" in raster.notes[0].text


@pytest.mark.parametrize(("nodata", "dtype"), [(-9999, "uint8"), (300, "uint8"), (0.5, "uint8"), (-1e39, "float32")])
def test_a_nodata_that_no_pixel_can_have_is_told(write_image: WriteImage, nodata: float, dtype: str) -> None:
    path = write_image("a.tif", np.ones((20, 20), dtype))
    with SceneRaster(RasterSourceConfig(uris=[path], nodata=nodata), "s") as raster:
        assert [note.field for note in raster.notes] == ["nodata"]
        assert f"is no value of {dtype} pixels: it has no effect" in raster.notes[0].text


def test_a_band_that_is_called_mask_and_not_tagged_so_is_told(write_image: WriteImage) -> None:
    names = ["red", "", "", "cloud_mask"]
    path = write_image("a.tif", np.ones((20, 20, 4), np.uint8), photometric="MINISBLACK", names=names)
    with SceneRaster(RasterSourceConfig(uris=[path]), "s") as raster:
        assert raster.num_channels == 4
        assert "channel_order=[0, 1, 2] leaves it out" in raster.notes[0].text
    with SceneRaster(RasterSourceConfig(uris=[path], channel_order=[0, 1, 2]), "s") as raster:
        assert (raster.num_channels, raster.notes) == (3, [])
