"""Scenes of different subsets that share ground, bytes or a border are told, whatever their CRS."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rv_core.errors import Finding
from rv_pipeline_chip_classification.checks.leakage import check_leakage
from rv_pipeline_chip_classification.config import (
    ChipClassificationConfig,
    ChipConfig,
    ClassConfig,
    DatasetConfig,
    GeoJsonLabelsConfig,
    RasterSourceConfig,
    SceneConfig,
)

WriteImage = Callable[..., str]
PIXELS = np.random.default_rng(0).integers(1, 250, (64, 64, 1)).astype(np.uint8)
LABELS = GeoJsonLabelsConfig(uri="/none.geojson")
HECTARES = re.compile(r"shares ([\d.,]+) ha of ground, ([\d.]+)%")


def scene(name: str, image: str, **options: Any) -> SceneConfig:
    aoi_uris = options.pop("aoi_uris", [])
    raster = RasterSourceConfig(uris=[image], **options)
    return SceneConfig(id=name, raster=raster, labels=LABELS, aoi_uris=aoi_uris)


def found(
    train: list[SceneConfig], test: list[SceneConfig], validation: list[SceneConfig] | None = None
) -> list[Finding]:
    dataset = DatasetConfig(train_scenes=train, validation_scenes=validation or [], test_scenes=test)
    config = ChipClassificationConfig(
        root_uri="/root", classes=ClassConfig(names=["a", "b"]), dataset=dataset, chip=ChipConfig(chip_size_px=16)
    )
    findings = list(check_leakage(config))
    assert {finding.severity for finding in findings} <= {"warning"}
    return findings


def test_two_crops_that_overlap_by_a_tenth_in_neighbouring_zones_are_told_with_the_area(
    write_image: WriteImage,
) -> None:
    # The meridian of 12 degrees east is the seam of the zones 32 and 33.
    from rasterio.warp import transform

    side_m, pixel = 6400.0, 100.0
    (x,), (y,) = transform("EPSG:4326", "EPSG:32632", [12.0], [48.0])
    west = write_image("west.tif", PIXELS, crs="EPSG:32632", origin=(x - side_m, y), pixel=pixel)
    # A square of zone 33 is turned against one of zone 32 by twice the convergence of meridians, 4.5 degrees here.
    (x33,), (y33,) = transform("EPSG:32632", "EPSG:32633", [x - 0.14 * side_m], [y])
    east = write_image("east.tif", PIXELS, crs="EPSG:32633", origin=(x33, y33), pixel=pixel)
    (finding,) = found([scene("west", west)], [scene("east", east)])
    assert finding.where == "dataset.test_scenes[0].raster"
    shared_ha, percent = map(float, HECTARES.search(finding.what).groups())  # type: ignore[union-attr]
    # An independent figure: a fine lattice of points of the one square, counted in the other, on the ellipsoid.
    steps = (np.arange(400) + 0.5) / 400 * side_m
    xs, ys = np.meshgrid(x - side_m + steps, y - steps)
    other_x, other_y = map(np.array, transform("EPSG:32632", "EPSG:32633", xs.ravel(), ys.ravel()))
    inside = (other_x > x33) & (other_x < x33 + side_m) & (other_y < y33) & (other_y > y33 - side_m)
    scale = 0.9996 * (1 + ((x - side_m / 2 - 500_000) / 6_378_000 / 0.9996) ** 2 / 2)
    expected_ha = inside.mean() * (side_m / scale) ** 2 / 1e4
    assert 0.08 < inside.mean() < 0.12
    assert shared_ha == pytest.approx(expected_ha, rel=0.01)
    assert percent == pytest.approx(100 * inside.mean(), abs=0.3)


def test_what_an_aoi_leaves_out_is_not_shared(write_image: WriteImage, write_labels: Any, square: Any) -> None:
    image, other = write_image("a.tif", PIXELS), write_image("b.tif", 255 - PIXELS)
    upper = write_labels("upper.geojson", [(square(0, 0, 20, 64), {})])
    lower = write_labels("lower.geojson", [(square(40, 0, 24, 64), {})])
    assert len(found([scene("a", image)], [scene("b", other)])) == 1
    assert found([scene("a", image, aoi_uris=[upper])], [scene("b", other, aoi_uris=[lower])]) == []


def test_a_border_that_is_nearer_than_a_chip_is_told(write_image: WriteImage) -> None:
    def beside(name: str, gap: float) -> SceneConfig:
        return scene(name, write_image(f"{name}.tif", PIXELS, origin=(500_000.0 + 64 + gap, 4_500_000.0)))

    train = [scene("a", write_image("a.tif", PIXELS))]
    (touching,) = found(train, [beside("t", 0)])
    assert "touches 'a' (train)" in touching.what
    (near,) = found(train, [beside("n", 10)])
    assert "lies 10 m from 'a' (train), nearer than a chip is wide" in near.what
    assert found(train, [beside("f", 17)]) == []


def test_copies_of_an_image_are_told_once(write_image: WriteImage, tmp_path: Path) -> None:
    image = write_image("a.tif", PIXELS, crs=None)
    copy = shutil.copy(image, tmp_path / "copy.tif")
    other = write_image("b.tif", PIXELS[::-1], crs=None)
    (finding,) = found([scene("a", image)], [scene("t", str(copy)), scene("u", other)])
    assert finding.where == "dataset.test_scenes[0].raster.uris"
    assert "has the bytes of that of dataset.train_scenes[0]" in finding.what
    placed = write_image("p.tif", PIXELS)
    copied = shutil.copy(placed, tmp_path / "placed-copy.tif")
    assert len(found([scene("a", placed)], [scene("t", str(copied))])) == 1


def test_the_same_picture_saved_in_another_way_is_told_where_no_place_tells_it(write_image: WriteImage) -> None:
    steps = np.linspace(0, 6, 96)
    picture = (120 + 60 * np.sin(steps)[:, None] * np.cos(1.7 * steps)[None, :]).astype(np.uint8)
    bands = np.repeat(picture[..., None], 3, axis=2)
    image = write_image("a.tif", bands, crs=None)
    lossy = write_image("lossy.tif", bands, crs=None, compress="jpeg", jpeg_quality=60)
    brighter = write_image("b.tif", (bands * 1.1).astype(np.uint16) + 9, crs=None)
    turned = write_image("turned.tif", bands.transpose(1, 0, 2), crs=None)
    findings = found([scene("a", image)], [scene("l", lossy), scene("b", brighter), scene("t", turned)])
    assert [finding.where for finding in findings] == [f"dataset.test_scenes[{n}].raster.uris" for n in (0, 1)]
    assert all("shows the same as that of dataset.train_scenes[0]" in finding.what for finding in findings)


def test_images_that_are_the_same_everywhere_show_nothing(write_image: WriteImage) -> None:
    plain = [write_image(f"{level}.tif", np.full((64, 64), level, np.uint8), crs=None) for level in (3, 9)]
    assert found([scene("a", plain[0])], [scene("t", plain[1])]) == []


def test_many_pairs_are_a_few_lines_and_a_count(write_image: WriteImage) -> None:
    crops = [
        write_image(f"{number}.tif", PIXELS[number:], origin=(500_000.0, 4_500_000.0 - number)) for number in range(6)
    ]
    scenes = [scene(f"s{number}", crop) for number, crop in enumerate(crops)]
    findings = found(scenes[:3], scenes[4:], scenes[3:4])
    assert len(findings) == 6
    assert "6 more pairs share ground" in findings[-1].what
    areas = [float(re.search(r"([\d.]+) ha", finding.what)[1]) for finding in findings[:-1]]  # type: ignore[index]
    assert areas == sorted(areas, reverse=True)


def test_scenes_across_the_date_line_are_compared(write_image: WriteImage) -> None:
    west = write_image("w.tif", PIXELS, crs="EPSG:32601", origin=(166_000.0, 1_000_000.0), pixel=300)
    east = write_image("e.tif", PIXELS, crs="EPSG:4326", origin=(179.9, 9.03), pixel=0.003)
    (finding,) = found([scene("w", west)], [scene("e", east)])
    assert "of ground" in finding.what


def test_scenes_without_labels_are_only_predicted(write_image: WriteImage) -> None:
    image, other = write_image("a.tif", PIXELS), write_image("b.tif", 255 - PIXELS)
    predicted = SceneConfig(id="p", raster=RasterSourceConfig(uris=[other]))
    assert found([scene("a", image)], [predicted]) == []
