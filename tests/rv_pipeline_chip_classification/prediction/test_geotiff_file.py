"""Predicted cells as GeoTIFF: one pixel per cell in its place, with colours, names and nodata."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from rv_pipeline_chip_classification.prediction.cell_scores import ScoredCells
from rv_pipeline_chip_classification.prediction.cell_windows import CellGrid
from rv_pipeline_chip_classification.prediction.geotiff_file import GridRasterWriter
from rv_pipeline_chip_classification.scenes.grid import Grid
from rv_pipeline_chip_classification.scenes.windows import Window

GRID = Grid(1000, 1200, (0.5, 0.0, 300_000.0, 0.0, -0.5, 4_154_085.0), "EPSG:32612")
NAMES, COLORS = ("forest", "shrub", "rock", "water"), ("#1c6330", "#ccba7c", "#b2ada3", "#0000ff")


def write(
    folder: Path, cells: CellGrid, ids: Any, scores: Any, *, grid: Grid = GRID, batch_size: int = 777, **names: Any
) -> tuple[Path, Path]:
    paths = folder / "a.tif", folder / "a.scores.tif"
    names = {"class_names": NAMES, "class_colors": COLORS, **names}
    with GridRasterWriter(*paths, cells, grid, **names) as writer:
        for first in range(0, len(ids), batch_size):
            part = slice(first, first + batch_size)
            windows = cells.windows(first, min(first + batch_size, len(ids)))
            writer.write(ScoredCells(first, windows, ids[part], scores[part], np.ones(len(windows))))
    return paths


def random_cells(count: int, num_classes: int = 4) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    ids = rng.integers(-1, num_classes, count)
    scores = rng.random((count, num_classes)).astype(np.float32)
    scores[ids < 0] = np.nan
    return ids, scores


@pytest.mark.parametrize("batch_size", [1, 64, 777, 10**6])
def test_every_cell_is_one_pixel(tmp_path: Path, batch_size: int) -> None:
    cells = CellGrid(Window(0, 0, 90, 120), 10, 10)
    ids, scores = random_cells(cells.num_cells)
    paths = write(tmp_path, cells, ids, scores, batch_size=batch_size)
    with rasterio.open(paths[0]) as classes, rasterio.open(paths[1]) as values:
        assert (classes.read(1) == np.where(ids < 0, 255, ids).reshape(9, 12)).all()
        assert np.array_equal(values.read(), scores.T.reshape(4, 9, 12), equal_nan=True)
        assert (classes.read_masks(1) > 0).ravel().tolist() == (ids >= 0).tolist()


def test_many_rows_of_cells_cross_blocks(tmp_path: Path) -> None:
    cells = CellGrid(Window(0, 0, 530, 270), 1, 1)
    ids, scores = random_cells(cells.num_cells)
    paths = write(tmp_path, cells, ids, scores)
    with rasterio.open(paths[0]) as classes, rasterio.open(paths[1]) as values:
        assert (classes.read(1) == np.where(ids < 0, 255, ids).reshape(530, 270)).all()
        assert np.array_equal(values.read(), scores.T.reshape(4, 530, 270), equal_nan=True)
        assert classes.profile["tiled"]
        assert classes.profile["compress"] == "deflate"


def directories(path: Path) -> list[tuple[int, tuple[int, ...], dict[int, tuple[int, ...]]]]:
    """(offset, offsets of tiles, other whole numbers by tag) of each image of a classic TIFF of Intel's byte order."""
    data, found = path.read_bytes(), []
    assert data[:4] == b"II*\0"
    (offset,) = struct.unpack_from("<I", data, 4)
    while offset:
        (count,) = struct.unpack_from("<H", data, offset)
        tags: dict[int, tuple[int, ...]] = {}
        for entry in range(offset + 2, offset + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from("<HHI", data, entry)
            if code := {3: "H", 4: "I"}.get(kind):
                values = f"<{number}{code}"
                place = entry + 8 if struct.calcsize(values) <= 4 else struct.unpack_from("<I", data, entry + 8)[0]
                tags[tag] = struct.unpack_from(values, data, place)
        found.append((offset, tags[324], tags))
        (offset,) = struct.unpack_from("<I", data, offset + 2 + 12 * count)
    return found


def test_a_map_is_cloud_optimised(tmp_path: Path) -> None:
    """The rules of GDAL's `validate_cloud_optimized_geotiff`, and what overviews hold."""
    cells = CellGrid(Window(0, 0, 530, 1040), 1, 1)
    ids, scores = random_cells(cells.num_cells)
    ids = np.kron(ids.reshape(530, 1040)[:265, :520], np.ones((2, 2), np.int64)).ravel()
    for path in write(tmp_path, cells, ids, scores):
        found = directories(path)
        assert [tags[256] for _, _, tags in found] == [(1040,), (520,), (260,), (130,)]
        places = [offset for offset, _, _ in found]
        assert places == sorted(places)
        assert places[0] < 400, "a reader finds all about tiles with its first request"
        assert max(places) < min(found[-1][1])
        tiles = [first for _, offsets, _ in reversed(found) for first in offsets]
        assert tiles == sorted(tiles), "small overviews come first"
        with rasterio.open(path) as file:
            assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    with rasterio.open(tmp_path / "a.tif", overview_level=0) as classes:
        assert (classes.read(1) == np.where(ids < 0, 255, ids).reshape(530, 1040)[::2, ::2]).all()
    with rasterio.open(tmp_path / "a.scores.tif", overview_level=0) as values:
        boxes = scores.T.reshape(4, 265, 2, 520, 2).transpose(0, 1, 3, 2, 4).reshape(4, 265, 520, 4)
        has_any = np.isfinite(boxes).any(axis=3)
        found_scores = values.read()
        assert (np.isfinite(found_scores) == has_any).all()
        assert np.allclose(found_scores[has_any], np.nanmean(boxes[has_any], axis=1), atol=1e-6)


def test_pixels_lie_where_the_cells_are(tmp_path: Path) -> None:
    cells = CellGrid(Window(40, 20, 64, 96), 32, 32)
    path, _ = write(tmp_path, cells, *random_cells(cells.num_cells))
    with rasterio.open(path) as file:
        assert file.crs.to_epsg() == 32612
        assert tuple(file.bounds) == (300_010.0, 4_154_085 - 20 - 32, 300_010 + 48, 4_154_085 - 20)


def test_overlapping_cells_have_the_pixel_in_their_middle(tmp_path: Path) -> None:
    cells = CellGrid(Window(0, 0, 64, 64), 32, 8)
    path, _ = write(tmp_path, cells, *random_cells(cells.num_cells))
    with rasterio.open(path) as file:
        assert file.shape == (5, 5)
        assert file.res == (4.0, 4.0)
        x, y = file.xy(0, 0)
        assert (x, y) == (300_000 + 8.0, 4_154_085 - 8.0)


def test_classes_have_their_colours_and_names(tmp_path: Path) -> None:
    cells = CellGrid(Window(0, 0, 20, 20), 10, 10)
    paths = write(tmp_path, cells, *random_cells(4))
    with rasterio.open(paths[0]) as classes, rasterio.open(paths[1]) as values:
        assert classes.dtypes == ("uint8",)
        assert classes.nodata == 255
        table = classes.colormap(1)
        assert [table[0], table[3], table[255]] == [(28, 99, 48, 255), (0, 0, 255, 255), (0, 0, 0, 0)]
        assert classes.tags(1) == {f"class_{index}": name for index, name in enumerate(NAMES)}
        assert classes.descriptions == ("class_id",)
        assert values.descriptions == NAMES
        assert values.dtypes == ("float32",) * 4
        assert np.isnan(values.nodata)
        assert ColorInterp.alpha not in values.colorinterp


def test_more_than_255_classes_need_two_bytes(tmp_path: Path) -> None:
    cells = CellGrid(Window(0, 0, 20, 20), 10, 10)
    names = [f"class {index}" for index in range(300)]
    ids = np.array([299, 255, -1, 0])
    path, _ = write(
        tmp_path, cells, ids, np.ones((4, 300), np.float32), class_names=names, class_colors=["#112233"] * 300
    )
    with rasterio.open(path) as file:
        assert file.dtypes == ("uint16",)
        assert file.nodata == 65_535
        assert file.read(1).ravel().tolist() == [299, 255, 65_535, 0]


def test_an_image_without_a_crs_is_written_without_one(tmp_path: Path) -> None:
    cells = CellGrid(Window(0, 0, 20, 20), 10, 10)
    path, _ = write(tmp_path, cells, *random_cells(4), grid=Grid(20, 20, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), None))
    with rasterio.open(path) as file:
        assert file.crs is None
        assert file.transform.a == 10


def test_the_same_cells_give_the_same_bytes(tmp_path: Path) -> None:
    cells = CellGrid(Window(0, 0, 90, 120), 10, 10)
    found = []
    for name, batch_size in (("one", 13), ("two", 64)):
        (tmp_path / name).mkdir()
        paths = write(tmp_path / name, cells, *random_cells(cells.num_cells), batch_size=batch_size)
        found.append([path.read_bytes() for path in paths])
    assert found[0] == found[1]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["a.scores.tif", "a.tif"]
