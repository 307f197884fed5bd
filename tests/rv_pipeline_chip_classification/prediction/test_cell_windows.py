"""The cells that are predicted: which windows, and their chips, whatever the size of batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rv_pipeline_chip_classification.config import RasterSourceConfig
from rv_pipeline_chip_classification.prediction.cell_windows import CellGrid, CellList
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.scenes.windows import Window, windows_over

sizes = st.integers(1, 40)


def open_scene(path: str, **options: Any) -> SceneRaster:
    return SceneRaster(RasterSourceConfig(uris=[path], **options), "scene-1")


@given(sizes, sizes, st.integers(1, 20), st.integers(1, 20), st.integers(0, 9), st.integers(0, 9))
def test_cells_of_a_grid_are_the_sliding_windows(
    height: int, width: int, size_px: int, stride_px: int, row_off: int, col_off: int
) -> None:
    extent = Window(row_off, col_off, height, width)
    assume(size_px % stride_px or size_px == stride_px)
    grid = CellGrid(extent, size_px, stride_px)
    expected = windows_over(extent, size_px=size_px, stride_px=stride_px)
    assert grid.num_cells == len(expected)
    assert (grid.windows(0, grid.num_cells) == expected).all()
    middle = grid.num_cells // 2
    assert (grid.windows(middle, grid.num_cells) == expected[middle:]).all()


@given(sizes, sizes, st.integers(1, 8), st.integers(1, 4), st.integers(0, 9), st.integers(0, 9))
def test_cells_that_overlap_hold_every_window_and_every_cell_without_overlap_and_none_outside(
    height: int, width: int, stride_px: int, steps: int, row_off: int, col_off: int
) -> None:
    extent, size_px = Window(row_off, col_off, height, width), stride_px * steps
    grid = CellGrid(extent, size_px, stride_px)
    cells = set(map(tuple, grid.windows(0, grid.num_cells).tolist()))
    assert len(cells) == grid.num_cells
    for step_px in (stride_px, size_px):
        assert cells >= set(map(tuple, windows_over(extent, size_px=size_px, stride_px=step_px).tolist()))
    assert all(row < extent.row_end and col < extent.col_end for row, col, _, _ in cells)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 1000])
@pytest.mark.parametrize(("size_px", "stride_px"), [(16, 16), (16, 5), (16, 8), (8, 8), (12, 20), (70, 70)])
@pytest.mark.parametrize("has_mask", [False, True])
def test_chips_are_the_pixels_of_their_windows(
    write_image: Callable[..., str], pixels: Any, batch_size: int, size_px: int, stride_px: int, has_mask: bool
) -> None:
    array = pixels(50, 43, 2)
    if has_mask:
        array[10:25, 5:30] = 0
    path = write_image("a.tif", array, nodata=0)
    with open_scene(path) as raster, open_scene(path) as other:
        grid = CellGrid(raster.extent, size_px, stride_px)
        seen = 0
        for batch in grid.iter_chips(raster, lambda _: batch_size):
            assert batch.first == seen
            assert len(batch.chips) == min(batch_size, grid.num_cells - seen)
            for index, window in enumerate(batch.windows.tolist()):
                expected = other.read(Window(*window))
                assert (batch.chips[index] == expected.values).all()
                valid = np.ones((size_px, size_px), bool) if expected.valid is None else expected.valid
                assert (valid if batch.valid is None else batch.valid[index] == valid).all()
            seen += len(batch.chips)
    assert seen == grid.num_cells


def test_a_crop_is_covered_from_its_own_first_pixel(write_image: Callable[..., str], pixels: Any) -> None:
    array = pixels(40, 40, 1)
    with open_scene(write_image("a.tif", array), bbox=[5, 7, 20, 17]) as raster:
        (batch,) = CellGrid(raster.extent, 10, 10).iter_chips(raster, lambda _: 99)
    assert batch.windows.tolist() == [[5, 7, 10, 10], [5, 17, 10, 10], [15, 7, 10, 10], [15, 17, 10, 10]]
    assert (batch.chips[0] == array[5:15, 7:17]).all()
    assert (batch.chips[1][:, 7:] == 0).all()
    assert batch.valid is not None
    assert not batch.valid[1][:, 7:].any()


def test_chips_of_a_list_of_cells_are_batched_while_their_size_stays(
    write_image: Callable[..., str], pixels: Any
) -> None:
    array = pixels(40, 40, 3)
    windows = np.array([[0, 0, 8, 8], [0, 10, 8, 8], [3, 4, 9, 5], [30, 35, 8, 8]], np.int64)
    asked: list[int] = []

    def batch_size_of(num_pixels: int) -> int:
        asked.append(num_pixels)
        return 5

    with open_scene(write_image("a.tif", array)) as raster:
        batches = list(CellList(windows).iter_chips(raster, batch_size_of))
    assert [batch.first for batch in batches] == [0, 2, 3]
    assert [batch.chips.shape for batch in batches] == [(2, 8, 8, 3), (1, 9, 5, 3), (1, 8, 8, 3)]
    assert asked == [64, 45, 64]
    assert (batches[1].chips[0] == array[3:12, 4:9]).all()
    assert (batches[2].chips[0][:, :5] == array[30:38, 35:]).all()
    assert batches[2].valid is not None
    assert batches[2].valid[0].sum() == 8 * 5


def test_no_cells_have_no_chips(write_image: Callable[..., str], pixels: Any) -> None:
    with open_scene(write_image("a.tif", pixels(8, 8, 1))) as raster:
        assert list(CellList(np.empty((0, 4), np.int64)).iter_chips(raster, lambda _: 4)) == []
