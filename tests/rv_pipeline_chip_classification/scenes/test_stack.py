"""Several sources side by side: pixels are those of GDAL's own tools to the bit, in whatever windows they are read."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.warp import reproject

from rv_core.config.validation import schemas
from rv_core.config.values import to_plain
from rv_core.errors import DataError
from rv_pipeline_chip_classification.config import (
    ChipClassificationConfig,
    ClassConfig,
    DatasetConfig,
    RasterSourceConfig,
    RasterStackConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.pipeline import ChipClassificationPipeline
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.scenes.windows import Window, windows_over

RESAMPLINGS = ("nearest", "bilinear", "cubic")


def noise(height: int, width: int, seed: int, dtype: Any = np.uint16) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 60_000, (height, width)).astype(dtype)


@pytest.fixture
def bands(write_image: Callable[..., str]) -> dict[str, str]:
    """B02 and B03 at 10 m, B11 at 20 m, and one in degrees that covers the west alone."""
    with rasterio.Env():
        return {
            "B02": write_image("B02.tif", noise(96, 128, 1), pixel=10.0),
            "B03": write_image("B03.tif", noise(96, 128, 2), pixel=10.0),
            "B11": write_image("B11.tif", noise(48, 64, 3), pixel=20.0),
            "dem": write_image(
                "dem.tif", noise(40, 40, 4), crs="EPSG:4326", origin=(-75.0005, 40.651), pixel=0.0002, nodata=7
            ),
        }


def stack_of(bands: dict[str, str], *names: str, **options: Any) -> RasterStackConfig:
    sources = [RasterSourceConfig(uris=[bands[name]], name=name) for name in names]
    return RasterStackConfig(sources=sources, **options)


def whole(path: str, base: str, resampling: str, nodata: float | None = None) -> np.ndarray:
    """A band warped onto the grid of another one, all of it at once."""
    with rasterio.open(path) as source, rasterio.open(base) as grid:
        warped = (
            np.zeros(grid.shape, source.dtypes[0]) if nodata is None else np.full(grid.shape, nodata, source.dtypes[0])
        )
        reproject(
            rasterio.band(source, 1), warped, dst_crs=grid.crs, dst_transform=grid.transform,
            resampling=Resampling[resampling], tolerance=0.0, src_nodata=nodata, dst_nodata=nodata,
        )  # fmt: skip
        return warped


def test_pixels_are_those_of_a_warp_of_the_whole(bands: dict[str, str]) -> None:
    resampling = "nearest"
    expected = np.dstack(
        [
            whole(bands["B11"], bands["B02"], resampling),
            rasterio.open(bands["B02"]).read(1),
            whole(bands["dem"], bands["B02"], resampling, 7),
        ]
    )
    with SceneRaster(stack_of(bands, "B11", "B02", "dem", grid=1, resampling=resampling), "a") as raster:
        assert (raster.grid.height, raster.grid.width, raster.num_channels) == (96, 128, 3)
        assert raster.channel_names == ("B11", "B02", "dem")
        pixels = raster.read(raster.extent)
        assert (pixels.values == expected).all()
        assert pixels.valid is not None
        assert (pixels.valid == (expected[..., 2] != 7)).all()
        assert 0.1 < pixels.valid.mean() < 0.9


@pytest.mark.parametrize("resampling", RESAMPLINGS)
@pytest.mark.parametrize(("base", "other"), [("B02", "B11"), ("B11", "B02"), ("B02", "dem")])
def test_a_pixel_is_the_same_in_every_window(bands: dict[str, str], base: str, other: str, resampling: str) -> None:
    """Also of a source that is finer than the grid, whose kernel GDAL would size by the window."""
    with SceneRaster(stack_of(bands, base, other, resampling=resampling), "a") as raster:
        expected = raster.read(raster.extent)
    for size_px in (7, 33):
        with SceneRaster(stack_of(bands, base, other, resampling=resampling), "a") as raster:
            windows = windows_over(raster.extent, size_px=size_px, stride_px=size_px)
            for batch in raster.iter_chips(windows, 5):
                for chip, window in zip(batch.chips, windows[batch.first :], strict=False):
                    box = Window(*window.tolist()).intersection(raster.extent)
                    part = expected.values[box.row_off : box.row_end, box.col_off : box.col_end]
                    assert (chip[: box.height, : box.width] == part).all()


@pytest.mark.skipif(shutil.which("gdalwarp") is None, reason="GDAL's tools are not installed")
@pytest.mark.parametrize("resampling", RESAMPLINGS)
def test_pixels_are_those_of_gdalwarp_and_gdalbuildvrt(bands: dict[str, str], tmp_path: Path, resampling: str) -> None:
    with rasterio.open(bands["B02"]) as grid:
        bounds, size = list(map(repr, grid.bounds)), [str(grid.width), str(grid.height)]
    warped = []
    for name in ("B11", "dem"):
        warped.append(str(tmp_path / f"{name}-warped.tif"))
        nodata = ["-srcnodata", "7", "-dstnodata", "7"] if name == "dem" else []
        subprocess.run(
            ["gdalwarp", "-q", "-et", "0", "-t_srs", "EPSG:32618", "-te", *bounds, "-ts", *size, "-r", resampling, *nodata, bands[name], warped[-1]],
            check=True,
        )  # fmt: skip
    subprocess.run(["gdalbuildvrt", "-q", "-separate", str(tmp_path / "all.vrt"), bands["B02"], *warped], check=True)
    with rasterio.open(tmp_path / "all.vrt") as file:
        expected = file.read().transpose(1, 2, 0)
    with SceneRaster(stack_of(bands, "B02", "B11", "dem", resampling=resampling), "a") as raster:
        assert (raster.read(raster.extent).values == expected).all()


def test_sources_of_one_grid_are_read_as_they_are(write_image: Callable[..., str]) -> None:
    """Also a mosaic, and one that begins elsewhere: what it does not cover is not valid."""
    base = write_image("a.tif", noise(32, 32, 1))
    halves = [write_image(f"{n}.tif", noise(32, 16, n), origin=(500_000.0 + 16 * n, 4_500_000.0)) for n in (0, 1)]
    corner = write_image("c.tif", noise(16, 16, 5, np.uint8), origin=(500_016.0, 4_499_984.0))
    sources = [RasterSourceConfig(uris=[base]), RasterSourceConfig(uris=halves), RasterSourceConfig(uris=[corner])]
    with SceneRaster(RasterStackConfig(sources=sources), "a") as raster:
        pixels = raster.read(raster.extent)
    assert pixels.values.dtype == np.uint16
    assert (pixels.values[..., 1] == np.hstack([noise(32, 16, 0), noise(32, 16, 1)])).all()
    assert pixels.valid is not None
    assert pixels.valid.sum() == 16 * 16
    assert (pixels.values[16:, 16:, 2] == noise(16, 16, 5, np.uint8)).all()


def test_an_alpha_band_a_mask_and_a_scale_hold_for_their_source(write_image: Callable[..., str]) -> None:
    base = write_image("a.tif", noise(32, 32, 1), pixel=10.0)
    mask = np.ones((16, 16), bool)
    mask[:8] = False
    masked = write_image("m.tif", noise(16, 16, 2), pixel=20.0, mask=mask)
    with SceneRaster(
        RasterStackConfig(
            sources=[RasterSourceConfig(uris=[base]), RasterSourceConfig(uris=[masked])], resampling="nearest"
        ),
        "a",
    ) as raster:
        pixels = raster.read(raster.extent)
    assert pixels.valid is not None
    assert (pixels.valid == np.repeat(np.repeat(mask, 2, 0), 2, 1)).all()
    with rasterio.open(masked, "r+") as file:
        file.scales = (0.5,)
    scaled = [RasterSourceConfig(uris=[uri], apply_scale=True) for uri in (base, masked)]
    with SceneRaster(RasterStackConfig(sources=scaled, resampling="nearest"), "a") as raster:
        again = raster.read(raster.extent)
    assert again.values.dtype == np.float32
    assert (again.values[..., 1] == pixels.values[..., 1] * np.float32(0.5)).all()


def test_names_come_before_the_names_of_channels(write_image: Callable[..., str]) -> None:
    first = write_image("a.tif", np.ones((16, 16, 2), np.uint8), names=("red", "nir"))
    second = write_image("b.tif", np.ones((16, 16, 2), np.uint8))
    sources = [
        RasterSourceConfig(uris=[first], name="may"),
        RasterSourceConfig(uris=[second], name="june", channel_order=[1, 0]),
    ]
    with SceneRaster(RasterStackConfig(sources=sources), "a") as raster:
        assert raster.channel_names == ("may:red", "may:nir", "june:0", "june:1")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"origin": (900_000.0, 4_500_000.0), "pixel": 20.0}, "wholly outside"),
        ({"origin": (900_000.0, 4_500_000.0)}, "wholly outside"),
        ({"crs": "EPSG:32633", "pixel": 20.0}, "wholly outside"),
        ({"crs": None}, "no CRS"),
    ],
)
def test_what_does_not_go_together_is_refused(
    write_image: Callable[..., str], options: dict[str, Any], why: str
) -> None:
    base, other = write_image("a.tif", noise(32, 32, 1)), write_image("b.tif", noise(32, 32, 2), **options)
    with pytest.raises(DataError) as failure:
        SceneRaster(RasterStackConfig(sources=[RasterSourceConfig(uris=[uri]) for uri in (base, other)]), "a")
    assert why in failure.value.block.why
    assert failure.value.field == "sources[1]"  # type: ignore[attr-defined]


def config_of(*rasters: Any) -> ChipClassificationConfig:
    scenes = [SceneConfig(id=f"s{number}", raster=raster) for number, raster in enumerate(rasters)]
    dataset = DatasetConfig(train_scenes=[], test_scenes=scenes)
    return ChipClassificationConfig(root_uri="/root", classes=ClassConfig(names=["a", "b"]), dataset=dataset)


def test_files_of_every_source_are_inputs_of_their_scene(bands: dict[str, str]) -> None:
    Path(bands["B11"] + ".msk").write_bytes(b"1")
    config = config_of(stack_of(bands, "B02", "B11"), RasterSourceConfig(uris=[bands["B03"]]))
    pipeline = ChipClassificationPipeline(config)
    first, second = config.dataset.test_scenes
    assert pipeline.inputs("chip", first) == [bands["B02"], bands["B11"], bands["B11"] + ".msk"]
    assert pipeline.inputs("chip", second) == [bands["B03"]]
    assert to_plain(config)["dataset"]["test_scenes"][0]["raster"]["type_hint"] == "raster_stack"


@pytest.mark.parametrize(
    ("raster", "fields"),
    [
        (RasterStackConfig(sources=[]), ["sources"]),
        (RasterStackConfig(sources=[RasterSourceConfig(uris=["/a.tif"])], grid=1), ["grid"]),
        (RasterStackConfig(sources=[RasterSourceConfig(uris=[f"/{n}.tif"], name="x") for n in "ab"]), ["sources"]),
        (RasterStackConfig(sources=[RasterSourceConfig(uris=["/a.tif"]), RasterSourceConfig(uris=["/b.tif"], bbox=[0, 0, 8, 8])]), ["sources[1].bbox"]),
    ],
)  # fmt: skip
def test_a_stack_that_means_nothing_is_refused(raster: RasterStackConfig, fields: list[str]) -> None:
    found = [finding.where for finding in schemas.check(config_of(raster)) if "raster" in finding.where]
    assert found == [f"dataset.test_scenes[0].raster.{field}" for field in fields]
