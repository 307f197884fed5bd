"""Rows of a wide raster in a temporary file: the same pixels, each block read once, and no memory by the width."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rv_core.errors import DataError
from rv_pipeline_chip_classification.config import RasterSourceConfig
from rv_pipeline_chip_classification.prediction.cell_windows import CellGrid, CellList
from rv_pipeline_chip_classification.scenes import row_reader, row_spool, scene_raster
from rv_pipeline_chip_classification.scenes.grid import Pixels
from rv_pipeline_chip_classification.scenes.raster_reader import RasterFile
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.scenes.windows import Window

WriteImage = Callable[..., str]


@pytest.fixture
def spooled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Every row goes into a file, block by block; gives the shapes of the files."""
    monkeypatch.setattr(row_reader, "STRIP_BYTES", 2_000)
    monkeypatch.setattr(scene_raster, "HELD_BYTES", 1)
    made: list[tuple[int, ...]] = []
    begin = row_spool.RowSpool.__init__

    def told(self: Any, shape: tuple[int, int, int], dtype: Any) -> None:
        made.append(shape)
        begin(self, shape, dtype)

    monkeypatch.setattr(row_spool.RowSpool, "__init__", told)
    return made


def masked(pixels: Any, height: int, width: int) -> np.ndarray:
    array: np.ndarray = pixels(height, width, 2)
    array[10:25, 5:30] = 0
    array[40:, 60:] = 0
    return array


@pytest.mark.parametrize(("size_px", "stride_px", "context_px"), [(16, 16, 0), (12, 5, 3), (20, 20, 9)])
@pytest.mark.parametrize("layout", ["tiles", "strips", "mosaic"])
def test_chips_are_the_same_from_a_file_and_each_pixel_is_read_once(
    write_image: WriteImage,
    pixels: Any,
    spooled: list[tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
    layout: str,
    size_px: int,
    stride_px: int,
    context_px: int,
) -> None:
    array = masked(pixels, 70, 90)
    options = {"tiled": False, "blockysize": 8, "blockxsize": 90} if layout == "strips" else {}
    uris = [write_image("a.tif", array, nodata=0, **options)]
    if layout == "mosaic":
        west, east = array[:, :50], array[:40, 50:]
        origin = (500_050.0, 4_500_000.0)
        uris = [write_image("w.tif", west, nodata=0), write_image("e.tif", east, nodata=0, origin=origin)]
        array = array.copy()
        array[40:, 50:] = 0
    seen: dict[tuple[str, int, int], int] = {}
    read = RasterFile.read

    def counted(file: RasterFile, window: Window) -> Any:
        for row in range(window.row_off, window.row_end):
            for col in range(window.col_off, window.col_end):
                seen[file.uri, row, col] = seen.get((file.uri, row, col), 0) + 1
        return read(file, window)

    monkeypatch.setattr(RasterFile, "read", counted)
    padded = np.pad(array, [(context_px, size_px + context_px)] * 2 + [(0, 0)])
    side = size_px + 2 * context_px
    with SceneRaster(RasterSourceConfig(uris=uris), "a") as raster:
        grid = CellGrid(raster.extent, size_px, stride_px)
        for cells in (grid, CellList(grid.windows(0, grid.num_cells))):
            seen.clear()
            count = 0
            for batch in cells.iter_chips(raster, lambda _: 7, context_px):
                valids = np.ones(batch.chips.shape[:3], bool) if batch.valid is None else batch.valid
                for window, chip, valid in zip(batch.windows, batch.chips, valids, strict=True):
                    expected = padded[window[0] :, window[1] :][:side, :side]
                    assert (valid == expected.any(axis=2)).all()
                    assert (chip[valid] == expected[valid]).all()
                    count += 1
            assert count == grid.num_cells
            assert set(seen.values()) == {1}
    assert len(spooled) > 4


def test_few_rows_are_no_file(write_image: WriteImage, pixels: Any, spooled: list[Any], monkeypatch: Any) -> None:
    monkeypatch.setattr(scene_raster, "HELD_BYTES", 10**6)
    with SceneRaster(RasterSourceConfig(uris=[write_image("a.tif", pixels(70, 90))]), "a") as raster:
        assert len(list(CellGrid(raster.extent, 16, 16).iter_chips(raster, lambda _: 7))) == 5
    assert spooled == []


def test_without_room_for_a_file_rows_are_held_and_that_is_said_once(
    write_image: WriteImage,
    pixels: Any,
    spooled: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(descriptor: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(row_spool, "_reserve", full)
    array = pixels(70, 90, 2)
    with SceneRaster(RasterSourceConfig(uris=[write_image("a.tif", array)]), "a") as raster:
        batches = list(CellGrid(raster.extent, 10, 10).iter_chips(raster, lambda _: 9))
    assert (batches[6].chips[8] == array[60:70, 80:90]).all()
    (note,) = caplog.messages
    assert "no room for a temporary file (TMPDIR): No space left on device" in note


def test_a_file_that_cannot_be_written_any_more_is_one_error(tmp_path: Any) -> None:
    spool = row_spool.RowSpool((4, 8, 1), np.dtype(np.uint8))
    spool.close()
    with pytest.raises(DataError, match="a temporary file of pixels cannot be written"):
        spool.write(0, 0, Pixels(np.ones((1, 8, 1), np.uint8), None))


def test_of_a_wide_raster_a_part_of_a_row_of_blocks_is_in_memory_at_a_time(write_image: WriteImage) -> None:
    import tracemalloc

    path, peaks = write_image("a.tif", np.ones((256, 32_768), np.uint8), blockxsize=512, blockysize=256), []
    for width in (16_384, 32_768):
        source = RasterSourceConfig(uris=[path], channel_order=[0] * 4, bbox=[0, 0, 256, width])
        with SceneRaster(source, "a") as raster:
            tracemalloc.start()
            try:
                cells = CellGrid(raster.extent, 64, 64)
                num_cells = sum(len(batch.chips) for batch in cells.iter_chips(raster, lambda _: 16))
                peaks.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()
        assert num_cells == 4 * width // 64
    # A row of blocks of the wide one is 32 MiB.
    assert peaks[1] < 1.1 * peaks[0] < 24 * 2**20
