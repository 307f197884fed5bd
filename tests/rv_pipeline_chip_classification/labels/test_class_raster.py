"""Class rasters as others make them: alpha bands, floating point, several bands, no georeference, the other hemisphere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio.shutil

from rv_core.errors import DataError
from rv_pipeline_chip_classification.config import (
    ClassConfig,
    ClassRasterLabelsConfig,
    LabelsConfig,
    RasterSourceConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.labels.sources import UNLABELLED, open_labels
from rv_pipeline_chip_classification.scenes.grid import Grid
from rv_pipeline_chip_classification.scenes.raster_reader import RasterFile
from rv_pipeline_chip_classification.scenes.windows import Window, windows_over

NAMES = ["background", "forest", "rock"]
VALUES = {1: "background", 2: "forest", 3: "rock"}


def scene(labels: LabelsConfig) -> SceneConfig:
    return SceneConfig(id="a", raster=RasterSourceConfig(uris=["/a.tif"]), labels=labels)


def classes_of(image: str, labels: str, windows: np.ndarray, class_values: dict[int, str] = VALUES) -> list[int]:
    grid = RasterFile(image, "a", None, None).grid
    config = ClassRasterLabelsConfig(uri=labels, class_values=class_values)
    with open_labels(scene(config), ClassConfig(names=NAMES), grid, grid.extent) as source:
        assert source.lies_on_image()
        ids: list[int] = source.label(windows).class_ids.tolist()
        return ids


@pytest.mark.parametrize("pixel", [1.0, 2.0])
@pytest.mark.parametrize("nodata", [None, 9])
def test_an_alpha_band_says_what_is_labelled_on_any_grid(
    write_image: Callable[..., str], pixel: float, nodata: int | None
) -> None:
    image = write_image("image.tif", np.ones((32, 32), np.uint8))
    size = int(32 / pixel)
    values = np.full((size, size, 2), 2, np.uint8)
    values[..., 1] = 255
    values[: size // 2, :, 1] = 0
    labels = write_image("labels.tif", values, pixel=pixel, nodata=nodata, alpha="YES")
    windows = windows_over(Window(0, 0, 32, 32), size_px=16, stride_px=16)
    # A nodata value goes before the alpha band where GDAL has the grid to itself.
    expected = [1] * 4 if nodata is not None and pixel == 1.0 else [UNLABELLED, UNLABELLED, 1, 1]
    assert classes_of(image, labels, windows) == expected


@pytest.mark.parametrize("pixel", [1.0, 2.0])
def test_whole_numbers_in_floating_point_are_class_values(write_image: Callable[..., str], pixel: float) -> None:
    image = write_image("image.tif", np.ones((32, 32), np.uint8))
    values = np.full((int(32 / pixel), int(32 / pixel)), 3, np.float32)
    values[: len(values) // 2] = np.nan
    windows = windows_over(Window(0, 0, 32, 32), size_px=16, stride_px=16)
    labels = write_image("labels.tif", values, pixel=pixel)
    assert classes_of(image, labels, windows) == [UNLABELLED, UNLABELLED, 2, 2]
    values[-1, -1] = 2.5
    with pytest.raises(DataError, match=r"it holds 2\.5 at row 3[01], column 3[01] of the image"):
        classes_of(image, write_image("wrong.tif", values, pixel=pixel), windows)


def test_a_mask_of_the_size_of_the_image_without_a_georeference_is_laid_on_it(write_image: Callable[..., str]) -> None:
    grid = RasterFile(write_image("image.tif", np.ones((32, 32), np.uint8)), "a", None, None).grid
    values = np.kron([[1, 2], [3, 0]], np.ones((16, 16))).astype(np.uint8)
    config = ClassRasterLabelsConfig(uri=write_image("mask.tif", values, crs=None), class_values=VALUES)
    with open_labels(scene(config), ClassConfig(names=NAMES), grid, grid.extent) as source:
        assert "laid on it pixel by pixel" in source.report.notes[0]
        assert source.label_cells(16)[1].tolist() == [0, 1, 2]


def test_of_several_bands_the_first_is_read_and_that_is_noted(write_image: Callable[..., str]) -> None:
    image = write_image("image.tif", np.ones((32, 32), np.uint8))
    grid = RasterFile(image, "a", None, None).grid
    values = np.full((32, 32, 2), 2, np.uint8)
    config = ClassRasterLabelsConfig(uri=write_image("two.tif", values, photometric="MINISBLACK"), class_values=VALUES)
    with open_labels(scene(config), ClassConfig(names=NAMES), grid, grid.extent) as source:
        assert any("has 2 bands, and the first one is read" in note for note in source.report.notes)


def test_of_a_container_one_part_is_given_by_a_vrt(write_image: Callable[..., str], tmp_path: Path) -> None:
    image = write_image("image.tif", np.ones((32, 32), np.uint8))
    container, part = tmp_path / "two.nc", tmp_path / "part.vrt"
    rasterio.shutil.copy(write_image("two.tif", np.full((32, 32, 2), 2, np.uint8)), container, driver="netCDF")
    windows = windows_over(Window(0, 0, 32, 32), size_px=16, stride_px=16)
    with pytest.raises(DataError, match="holds no bands of its own") as raised:
        classes_of(image, str(container), windows)
    assert "its parts are Band1, Band2" in str(raised.value)
    assert "gdal_translate -of VRT" in str(raised.value)
    rasterio.shutil.copy(f"netcdf:{container}:Band2", part, driver="VRT")
    assert classes_of(image, str(part), windows) == [1, 1, 1, 1]


@pytest.mark.parametrize("place", [(0, 0), (1_001, 777), (4_080, 4_080)])
def test_a_small_label_raster_on_a_large_image_is_seen(write_image: Callable[..., str], place: tuple[int, int]) -> None:
    grid = Grid(4_096, 4_096, (1.0, 0.0, 500_000.0, 0.0, -1.0, 4_500_000.0), "EPSG:32618")
    values = np.zeros((16, 16), np.uint8)
    values[3, 4] = 1
    origin = (500_000.0 + place[1], 4_500_000.0 - place[0])
    config = ClassRasterLabelsConfig(uri=write_image("small.tif", values, nodata=0, origin=origin), class_values=VALUES)
    with open_labels(scene(config), ClassConfig(names=NAMES), grid, grid.extent) as source:
        assert source.lies_on_image()


def test_a_class_raster_of_the_western_hemisphere_lies_on_an_image_of_0_to_360(write_image: Callable[..., str]) -> None:
    values = np.repeat(np.arange(36, dtype=np.uint8)[None, :] // 9, 18, axis=0)  # 0 to 3, a quarter of the world each
    options = {"crs": "EPSG:4326", "pixel": 10.0}
    world = write_image("world.tif", values, origin=(-180, 90), **options)
    pacific = write_image("pacific.tif", np.ones((18, 36), np.uint8), origin=(0, 90), **options)
    windows = windows_over(Window(0, 0, 18, 36), size_px=9, stride_px=9)[:4]
    mapping = {0: "rock", 1: "forest", 2: "background", 3: "forest"}
    assert classes_of(pacific, world, windows, mapping) == [0, 1, 2, 1]
    part = write_image("part.tif", values[:, :9], origin=(-180, 90), **options)
    assert classes_of(pacific, part, windows, mapping) == [UNLABELLED, UNLABELLED, 2, UNLABELLED]
