"""Pictures of scenes: panels in the colours of the classes, readable, the same every time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rv_pipeline_chip_classification.commands.quicklook import (
    PANEL_PX,
    Stretch,
    render_cells,
    render_image,
    rgb_channels,
    write_quicklook,
)
from rv_pipeline_chip_classification.config import (
    ChipConfig,
    ClassConfig,
    GeoJsonLabelsConfig,
    RasterSourceConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.labels.cells import label_cells
from rv_pipeline_chip_classification.prediction.cell_file import read_cells
from rv_pipeline_chip_classification.prediction.cell_scores import ScoredCells
from rv_pipeline_chip_classification.prediction.geojson_file import GeoJsonWriter
from rv_pipeline_chip_classification.scenes.grid import Grid
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.scenes.windows import Window

CLASSES = ClassConfig(names=["forest", "rock"], colors=["#1c6330", "#b2ada3"])
CHIP = ChipConfig(chip_size_px=16)


@pytest.fixture
def predictions(tmp_path: Path) -> Callable[..., Path]:
    """`predictions([0, 1, 1, -1])`: 2 x 2 cells of 16 px."""

    def write(class_ids: list[int]) -> Path:
        ids = np.array(class_ids, np.int64)
        windows = np.array([[0, 0, 16, 16], [0, 16, 16, 16], [16, 0, 16, 16], [16, 16, 16, 16]], np.int64)
        scores = np.where(ids[:, None] < 0, np.nan, 0.5) * np.ones((4, 2), np.float32)
        path = tmp_path / "predictions.geojson"
        with path.open("w", encoding="utf-8") as file:
            grid = Grid(32, 32, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), None)
            writer = GeoJsonWriter(file, grid, scene_id="s1", class_names=CLASSES.names, where="s1")
            writer.write(ScoredCells(0, windows, ids, scores.astype(np.float32), np.ones(4)))
            writer.close()
        return path

    return write


def draw(scene: SceneConfig, predictions: Path, target: Path, **options: Any) -> np.ndarray:
    target.parent.mkdir(exist_ok=True)
    truth = label_cells(scene, CLASSES, CHIP) if scene.labels is not None else None
    with SceneRaster(scene.raster, scene.id) as raster:
        cells = read_cells(predictions, where=str(predictions))
        write_quicklook(raster, CLASSES, truth, predictions=cells, target=target, title="a scene", **options)
    with Image.open(target) as picture:
        return np.asarray(picture.convert("RGB"))


def test_truth_and_prediction_are_in_the_colours_of_the_classes(
    write_image: Any, write_labels: Any, square: Any, pixels: Any, predictions: Any, tmp_path: Path
) -> None:
    labels = GeoJsonLabelsConfig(uri=write_labels("a.geojson", [(square(0, 0, 16), {"class_id": 1})]))
    scene = SceneConfig(id="s1", raster=RasterSourceConfig(uris=[write_image("a.tif", pixels(32, 32))]), labels=labels)
    picture = draw(scene, predictions([0, 1, 1, -1]), tmp_path / "out" / "q.png", note="synthetic")
    assert picture.shape[1] >= 900
    left, top, step = 24 + 2 * (PANEL_PX + 16), 88, PANEL_PX // 2
    cells = [picture[top + step * r + step // 2, left + step * c + step // 2].tolist() for r in (0, 1) for c in (0, 1)]
    assert cells == [[28, 99, 48], [178, 173, 163], [178, 173, 163], [201, 206, 212]]
    assert picture[top + 20, 24 + PANEL_PX + 16 + 20].tolist() == [178, 173, 163]
    assert picture[top + PANEL_PX - 20, 24 + PANEL_PX + 16 + 20].tolist() == [236, 238, 240]


def test_wrong_cells_are_framed_and_others_are_not(
    write_image: Any, write_labels: Any, square: Any, pixels: Any, predictions: Any, tmp_path: Path
) -> None:
    shapes = [(square(0, 0, 16), {"class_id": 1}), (square(0, 16, 16), {"class_id": 1})]
    labels = GeoJsonLabelsConfig(uri=write_labels("a.geojson", shapes))
    scene = SceneConfig(id="s1", raster=RasterSourceConfig(uris=[write_image("a.tif", pixels(32, 32))]), labels=labels)
    picture = draw(scene, predictions([0, 1, 0, 1]), tmp_path / "q.png")
    left, top, step = 24 + 2 * (PANEL_PX + 16), 88, PANEL_PX // 2
    pixel = step // 16  # of the scene
    corners = [picture[top + step * r + 4, left + step * c + 4].tolist() for r in (0, 1) for c in (0, 1)]
    assert corners == [[0, 0, 0], [178, 173, 163], [28, 99, 48], [178, 173, 163]]
    assert picture[top + 3 * pixel, left + step // 2].tolist() == [255, 255, 255]
    assert picture[top + step - 4, left + step - 4].tolist() == [0, 0, 0]


def test_without_labels_there_are_two_panels_and_still_room(
    write_image: Any, pixels: Any, predictions: Any, tmp_path: Path
) -> None:
    scene = SceneConfig(id="s1", raster=RasterSourceConfig(uris=[write_image("a.tif", pixels(32, 32, 1))]))
    picture = draw(scene, predictions([0, 0, 0, 0]), tmp_path / "q.png")
    assert picture.shape[1] == 2 * 24 + 2 * PANEL_PX + 16
    assert picture[88 + 100, 24 + PANEL_PX + 16 + 100].tolist() == [28, 99, 48]
    panel = picture[100:500, 40:400]
    assert (panel[..., 0] == panel[..., 1]).all()


def test_the_same_scene_gives_the_same_bytes(write_image: Any, pixels: Any, predictions: Any, tmp_path: Path) -> None:
    scene = SceneConfig(id="s1", raster=RasterSourceConfig(uris=[write_image("a.tif", pixels(32, 32))]))
    path = predictions([0, 1, 0, 1])
    for name in ("one.png", "two.png"):
        draw(scene, path, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_channels_are_shown_by_their_names() -> None:
    assert rgb_channels(["blue", "green", "RED", "nir"]) == [2, 1, 0]
    assert rgb_channels(["B", "G", "R"]) == [2, 1, 0]
    assert rgb_channels([None, None, None, None]) == [0, 1, 2]
    assert rgb_channels(["nir", "red"]) == [0]


def test_a_large_image_is_sampled_in_strips(write_image: Any) -> None:
    side = 4 * PANEL_PX + 37
    array = (np.add.outer(np.arange(side), np.arange(side)) % 251).astype(np.uint8)
    array[:40] = 255
    with SceneRaster(RasterSourceConfig(uris=[write_image("a.tif", array, nodata=255)]), "s1") as raster:
        picture = render_image(raster)
    assert picture.shape == (-(-side // 2), -(-side // 2), 3)
    assert (picture[:20] == [201, 206, 212]).all()
    scaled = picture[30:, :, 0].astype(float)
    expected = (array[60::2, ::2].astype(float) - 5) / (245 - 5)
    assert np.abs(scaled - 255 * np.clip(expected, 0, 1) ** (1 / 1.4)).max() < 8


def test_a_scene_without_a_valid_pixel_is_all_grey(write_image: Any) -> None:
    array = np.zeros((20, 20, 3), np.uint16)
    with SceneRaster(RasterSourceConfig(uris=[write_image("a.tif", array, nodata=0)]), "s1") as raster:
        assert (render_image(raster) == [201, 206, 212]).all()


def test_cells_that_overflow_the_extent_are_cut() -> None:
    windows = np.array([[8, 8, 16, 16], [16, 16, 16, 16]], np.int64)
    picture = render_cells(windows, np.array([0, 1]), CLASSES, Window(10, 10, 12, 12))
    assert picture.shape == (12, 12, 3)
    assert picture[0, 0].tolist() == [28, 99, 48]
    assert picture[11, 11].tolist() == [178, 173, 163]


def test_many_classes_make_a_longer_legend(write_image: Any, pixels: Any, predictions: Any, tmp_path: Path) -> None:
    scene = SceneConfig(id="s1", raster=RasterSourceConfig(uris=[write_image("a.tif", pixels(32, 32))]))
    path, heights = predictions([0, 0, 0, 0]), []
    for count in (2, 40):
        classes = ClassConfig(names=[f"a class with the number {index}" for index in range(count)])
        with SceneRaster(scene.raster, scene.id) as raster:
            cells = read_cells(path, where=str(path))
            write_quicklook(raster, classes, None, predictions=cells, target=tmp_path / "q.png", title="many")
        with Image.open(tmp_path / "q.png") as picture:
            heights.append(picture.height)
    assert heights[1] > heights[0] + 100


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("share", [1.0, 0.3, 0.0])
def test_counted_numbers_are_stretched_like_all_others(dtype: Any, share: float) -> None:
    rng = np.random.default_rng(3)
    values = rng.integers(0, 200, (37, 41, 3)).astype(dtype)
    valid = np.asarray(rng.random((37, 41)) < share)
    pictures = []
    for cast in (dtype, np.float32):
        stretch = Stretch.of(values.astype(cast), valid, [None] * 3)
        pictures.append(stretch.rendered(values.astype(cast), valid))
    assert (pictures[0] == pictures[1]).all()
