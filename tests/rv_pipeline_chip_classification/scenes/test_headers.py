"""Headers that do not say what they seem to: no bands, no place, several pages, palettes, files that disagree."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

from rv_core.errors import DataError
from rv_pipeline_chip_classification.config import GeoJsonLabelsConfig, RasterSourceConfig, SceneConfig
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster

WriteImage = Callable[..., str]


def notes_of(*uris: str, **options: Any) -> list[str]:
    with SceneRaster(RasterSourceConfig(uris=list(uris), **options), "s") as raster:
        return [note.text for note in raster.notes]


def test_a_container_without_bands_names_its_parts(write_image: WriteImage, tmp_path: Path) -> None:
    path = str(tmp_path / "two.nc")
    rasterio.shutil.copy(write_image("a.tif", np.ones((8, 8, 2), np.uint8)), path, driver="netCDF")
    with pytest.raises(DataError, match="holds no bands of its own") as raised:
        notes_of(path)
    assert "its parts are Band1, Band2" in str(raised.value)
    assert path in str(raised.value)


@pytest.mark.parametrize("values", [(1, 0, 0, 0, 0, 0), (1, 1, 0, 1, 1, 0), (math.nan, 0, 0, 0, -1, 0)])
def test_a_transform_without_an_inverse_is_refused(write_image: WriteImage, values: tuple[float, ...]) -> None:
    path = write_image("a.tif", np.ones((8, 8), np.uint8))
    with rasterio.open(path, "r+") as file:
        file.transform = rasterio.Affine(*values)
    with pytest.raises(DataError, match="has no inverse") as raised:
        notes_of(path)
    assert path in str(raised.value)


def with_points(path: str) -> str:
    points = [GroundControlPoint(row, col, 12 + col, 42 - row) for row, col in ((0, 0), (0, 8), (8, 0))]
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(path, "r+") as file:
        file.gcps = (points, rasterio.CRS.from_epsg(4326))
    return path


def with_crs_alone(path: str) -> str:
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(path, "r+") as file:
        file.crs = "EPSG:4326"
    return path


@pytest.mark.parametrize(
    ("change", "said"), [(with_points, "3 ground control points alone"), (with_crs_alone, "a CRS and no transform")]
)
def test_an_image_of_another_georeference_is_in_pixels_and_takes_no_polygons(
    write_image: WriteImage, change: Callable[[str], str], said: str
) -> None:
    path = change(write_image("a.tif", np.ones((8, 8), np.uint8), crs=None))
    scene = SceneConfig(id="s", raster=RasterSourceConfig(uris=[path]), labels=GeoJsonLabelsConfig(uri="/none.geojson"))
    with SceneRaster(scene.raster, "s") as raster:
        assert raster.grid.crs is None
        assert said in raster.notes[0].text
        with pytest.raises(DataError, match="polygons cannot be placed") as raised:
            raster.check_place(scene)
    assert said in str(raised.value)


def test_a_world_file_without_a_crs_is_told(write_image: WriteImage) -> None:
    path = write_image("a.tif", np.ones((8, 8), np.uint8), crs=None)
    Path(path).with_suffix(".tfw").write_text("2\n0\n0\n-2\n500001\n4500001\n")
    assert "a transform and no CRS" in notes_of(path)[0]


def test_pages_and_palettes_are_told(write_image: WriteImage, tmp_path: Path) -> None:
    path = write_image("a.tif", np.ones((8, 8), np.uint8))
    with rasterio.open(path) as source:
        profile = source.profile
    pages = str(tmp_path / "pages.tif")
    for options in ({}, {"APPEND_SUBDATASET": "YES"}):
        with rasterio.open(pages, "w", **profile, **options) as file:
            file.write(np.ones((1, 8, 8), np.uint8))
    assert "holds 2 images (pages)" in notes_of(pages)[0]
    palette = write_image("p.tif", np.ones((8, 8), np.uint8), photometric="PALETTE")
    with rasterio.open(palette, "r+") as file:
        file.write_colormap(1, {1: (255, 0, 0, 255)})
        file.colorinterp = [ColorInterp.palette]
    assert "numbers of a colour table" in notes_of(palette)[0]


def test_files_of_a_mosaic_are_matched_by_the_names_of_their_bands(write_image: WriteImage) -> None:
    array = np.stack([np.full((8, 8), value, np.uint16) for value in (10, 20, 30)], axis=2)
    left = write_image("l.tif", array, names=["red", "green", "blue"])
    right = write_image("r.tif", array[..., ::-1], names=["blue", "green", "Red"], origin=(500_008.0, 4_500_000.0))
    with SceneRaster(RasterSourceConfig(uris=[left, right]), "s") as raster:
        found = raster.read(raster.extent).values
        assert "taken by their names" in raster.notes[0].text
    assert (found == [10, 20, 30]).all()
    with SceneRaster(RasterSourceConfig(uris=[left, right], channel_order=[2]), "s") as raster:
        assert (raster.read(raster.extent).values == 30).all()


def test_files_of_a_mosaic_that_disagree_are_told(write_image: WriteImage) -> None:
    array = np.ones((8, 8, 1), np.uint16)
    left = write_image("l.tif", array, names=["red"])
    right = write_image("r.tif", array, names=["nir"], origin=(500_008.0, 4_500_000.0))
    with rasterio.open(right, "r+") as file:
        file.offsets = (-0.1,)
    names, scales = notes_of(left, right)
    assert "called nir" in names
    assert "other scales or offsets" in scales


def test_a_file_per_band_is_no_silent_mosaic(write_image: WriteImage) -> None:
    bands = [write_image(f"B{band}.tif", np.full((8, 8), band, np.uint16)) for band in (2, 3, 4)]
    (note,) = notes_of(*bands)
    assert note.startswith(f"{bands[1]} lies wholly on {bands[0]}, and so do 1 more")
    assert "gdalbuildvrt -separate" in note
    beside = write_image("r.tif", np.ones((8, 8), np.uint16), origin=(500_004.0, 4_500_000.0))
    assert notes_of(bands[0], beside) == []
