"""Pixels of scenes: channels, masks, crops and mosaics, each block read once, and errors that name file and scene."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from rv_core.errors import DataError
from rv_pipeline_chip_classification.config import RasterSourceConfig
from rv_pipeline_chip_classification.scenes import row_reader
from rv_pipeline_chip_classification.scenes.crs import project_each
from rv_pipeline_chip_classification.scenes.raster_reader import RasterFile, SourceFieldError, raster_env
from rv_pipeline_chip_classification.scenes.row_reader import RowReader, strips_over
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.scenes.windows import Window, windows_over

WriteImage = Callable[..., str]
Make = Callable[..., np.ndarray]


def open_scene(*uris: str, **options: Any) -> SceneRaster:
    return SceneRaster(RasterSourceConfig(uris=list(uris), **options), "scene-1")


def read_all(*uris: str, **options: Any) -> tuple[np.ndarray, np.ndarray | None]:
    with open_scene(*uris, **options) as raster:
        return raster.read(raster.extent)


# --- channels ---------------------------------------------------------------------------------------------------------


def test_pixels_are_rows_columns_channels_in_the_files_dtype(write_image: WriteImage, pixels: Make) -> None:
    array = pixels(40, 50, 4)
    with open_scene(write_image("a.tif", array, names=["blue", "green", "red", "nir"])) as raster:
        assert raster.extent == Window(0, 0, 40, 50)
        assert raster.dtype == np.uint16
        assert raster.num_channels == 4
        assert raster.channel_names == ("blue", "green", "red", "nir")
        found = raster.read(Window(7, 9, 20, 30))
    assert found.valid is None
    assert (found.values == array[7:27, 9:39]).all()
    assert found.values.flags.c_contiguous


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_channel_order_selects_and_repeats_channels(write_image: WriteImage, pixels: Make, interleave: str) -> None:
    array = pixels(20, 20, 4)
    path = write_image("a.tif", array, interleave=interleave)
    assert (read_all(path, channel_order=[2, 0, 0])[0] == array[..., [2, 0, 0]]).all()


def test_a_channel_that_is_not_there_is_an_error_with_its_field(write_image: WriteImage, pixels: Make) -> None:
    path = write_image("a.tif", pixels(20, 20, 3))
    with pytest.raises(SourceFieldError, match="no channel 3") as raised:
        open_scene(path, channel_order=[0, 3])
    assert raised.value.field == "channel_order"
    assert "the channels 0 to 2" in str(raised.value)


def test_an_undescribed_alpha_band_is_a_mask_and_no_channel(write_image: WriteImage, pixels: Make) -> None:
    array = pixels(20, 20, 4).astype(np.uint8)
    array[..., 3] = 255
    array[3:6, 4:8, 3] = 0
    colors = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    values, valid = read_all(write_image("a.tif", array, colorinterp=colors))
    assert (values == array[..., :3]).all()
    assert valid is not None
    assert (valid == (array[..., 3] > 0)).all()


def test_a_described_alpha_band_is_data(write_image: WriteImage, pixels: Make) -> None:
    array = pixels(20, 20, 4).astype(np.uint8)
    colors = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    values, valid = read_all(write_image("a.tif", array, colorinterp=colors, names=["r", "g", "b", "nir"]))
    assert values.shape[2] == 4
    assert valid is None


def test_an_alpha_band_that_is_asked_for_is_data(write_image: WriteImage, pixels: Make) -> None:
    array = pixels(20, 20, 4).astype(np.uint8)
    colors = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    values, valid = read_all(write_image("a.tif", array, colorinterp=colors), channel_order=[3, 0])
    assert (values == array[..., [3, 0]]).all()
    assert valid is None


# --- validity ---------------------------------------------------------------------------------------------------------


def test_zero_is_data_unless_declared(write_image: WriteImage) -> None:
    assert read_all(write_image("a.tif", np.zeros((20, 20, 2), np.uint8)))[1] is None


def test_the_declared_nodata_value_in_any_channel_makes_a_pixel_invalid(write_image: WriteImage) -> None:
    array = np.full((20, 20, 2), 7, np.int16)
    array[3, 4] = -9999
    array[5, 6, 1] = -9999
    valid = read_all(write_image("a.tif", array, nodata=-9999))[1]
    assert valid is not None
    assert sorted(map(tuple, np.argwhere(~valid).tolist())) == [(3, 4), (5, 6)]
    assert read_all(write_image("a.tif", array, nodata=-9999), channel_order=[0])[1].sum() == 399  # type: ignore[union-attr]


def test_the_config_overrides_the_nodata_value_of_the_file(write_image: WriteImage) -> None:
    array = np.full((20, 20, 1), 7, np.uint8)
    array[0, 0], array[1, 1] = 0, 9
    path = write_image("a.tif", array, nodata=0)
    for nodata, place in ((None, (0, 0)), (9.0, (1, 1))):
        valid = read_all(path, nodata=nodata)[1]
        assert valid is not None
        assert [tuple(index) for index in np.argwhere(~valid)] == [place]


@pytest.mark.parametrize("nodata", [-1.0, 300.0, 7.5])
def test_a_nodata_value_that_no_pixel_can_have_masks_nothing(write_image: WriteImage, nodata: float) -> None:
    assert read_all(write_image("a.tif", np.full((20, 20, 1), 7, np.uint8)), nodata=nodata)[1] is None


def test_nan_and_infinity_are_never_valid(write_image: WriteImage) -> None:
    array = np.ones((20, 20, 2), np.float32)
    array[1, 2, 0], array[3, 4, 1] = np.nan, np.inf
    for options in ({}, {"nodata": np.nan}, {"nodata": -1.0}):
        valid = read_all(write_image("a.tif", array, **options))[1]
        assert valid is not None
        assert sorted(map(tuple, np.argwhere(~valid).tolist())) == [(1, 2), (3, 4)]


def test_an_internal_mask_band_is_honoured(write_image: WriteImage, pixels: Make) -> None:
    mask = np.ones((40, 40), bool)
    mask[10:20, 5:9] = False
    valid = read_all(write_image("a.tif", pixels(40, 40), mask=mask))[1]
    assert valid is not None
    assert (valid == mask).all()


def test_reading_beyond_the_extent_pads_with_invalid_zeros(write_image: WriteImage, pixels: Make) -> None:
    array = pixels(20, 20)
    with open_scene(write_image("a.tif", array)) as raster:
        values, valid = raster.read(Window(15, 18, 10, 10))
        far = raster.read(Window(50, 50, 4, 4))
    assert valid is not None
    assert (values[:5, :2] == array[15:, 18:]).all()
    assert values[5:].sum() == values[:, 2:].sum() == 0
    assert valid.sum() == 10
    assert far.valid is not None
    assert not far.valid.any()


# --- crops ------------------------------------------------------------------------------------------------------------


def test_a_crop_keeps_the_coordinates_of_the_file(write_image: WriteImage, pixels: Make) -> None:
    array = pixels(40, 50)
    with open_scene(write_image("a.tif", array), bbox=[10, 20, 15, 25]) as raster:
        assert raster.extent == Window(10, 20, 15, 25)
        values, valid = raster.read(Window(20, 40, 10, 10))
    assert valid is not None
    assert (values[:5, :5] == array[20:25, 40:45]).all()
    assert valid.sum() == 25


@pytest.mark.parametrize("bbox", [[0, 0, 41, 50], [0, 45, 10, 10]])
def test_a_crop_that_leaves_the_image_is_an_error(write_image: WriteImage, pixels: Make, bbox: list[int]) -> None:
    with pytest.raises(SourceFieldError, match="leaves the image") as raised:
        open_scene(write_image("a.tif", pixels(40, 50)), bbox=bbox)
    assert raised.value.field == "bbox"


# --- errors -----------------------------------------------------------------------------------------------------------


def test_files_that_cannot_be_opened(tmp_path: Path, write_image: WriteImage) -> None:
    noise = tmp_path / "noise.tif"
    noise.write_bytes(bytes(range(256)) * 10)
    for path, why in ((tmp_path / "none.tif", "no such file"), (tmp_path, "a folder"), (noise, "not a raster")):
        with pytest.raises(DataError, match=why) as raised:
            open_scene(str(path))
        assert str(path) in str(raised.value)
        assert "scene-1" in str(raised.value)


def test_complex_and_mixed_pixels_are_refused(write_image: WriteImage) -> None:
    with pytest.raises(DataError, match="complex64"):
        open_scene(write_image("a.tif", np.ones((20, 20, 1), np.complex64)))


def cut_short(path: str, share: float = 0.6) -> str:
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: int(len(data) * share)])
    return path


def test_a_file_that_is_cut_short_names_file_scene_rows_and_cause(write_image: WriteImage, pixels: Make) -> None:
    path = cut_short(write_image("a.tif", pixels(200, 200)))
    with open_scene(path) as raster, pytest.raises(DataError) as raised:
        raster.read(Window(150, 100, 50, 60))
    text = str(raised.value)
    assert "scene-1" in text
    assert f"{path}, rows 150 to 199, columns 100 to 159" in text
    assert "Read failed" not in text
    with open_scene(path) as raster, pytest.raises(DataError):
        raster.read_last_pixels()


def test_a_point_that_does_not_exist_in_a_crs_is_not_a_number_and_others_stay() -> None:
    points = np.array([[0.0, 95.0], [1.0, 2.0]])
    found = project_each(points, "EPSG:4326", "EPSG:3857", where="labels.geojson")
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


# --- strips and rows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("box", [Window(0, 0, 100, 130), Window(5, 17, 61, 90), Window(33, 1, 1, 1)])
@pytest.mark.parametrize("budget", [1, 3_000, 12_000, 10**9])
def test_strips_tile_a_box_and_cut_no_block(monkeypatch: pytest.MonkeyPatch, box: Window, budget: int) -> None:
    monkeypatch.setattr(row_reader, "STRIP_BYTES", budget)
    seen = np.zeros((120, 150), int)
    blocks: dict[tuple[int, int], int] = {}
    for number, strip in enumerate(strips_over(box, (16, 32), 4)):
        assert not strip.is_empty
        assert strip.height * strip.width * 4 <= max(budget, 16 * 32 * 4)
        seen[strip.row_off : strip.row_end, strip.col_off : strip.col_end] += 1
        for row in range(strip.row_off // 16, (strip.row_end - 1) // 16 + 1):
            for col in range(strip.col_off // 32, (strip.col_end - 1) // 32 + 1):
                assert blocks.setdefault((row, col), number) == number
    assert (seen[box.row_off : box.row_end, box.col_off : box.col_end] == 1).all()
    assert seen.sum() == box.height * box.width


class CountingReads:
    """Counts how often each block of each file is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.blocks: dict[tuple[str, int, int], int] = {}
        read = RasterFile.read

        def counted(file: RasterFile, window: Window) -> Any:
            rows, cols = file.block_shape
            for row in range(window.row_off // rows, (window.row_end - 1) // rows + 1):
                for col in range(window.col_off // cols, (window.col_end - 1) // cols + 1):
                    key = (file.uri, row, col)
                    self.blocks[key] = self.blocks.get(key, 0) + 1
            return read(file, window)

        monkeypatch.setattr(RasterFile, "read", counted)

    def assert_each_once(self, expected: int) -> None:
        assert len(self.blocks) == expected
        assert set(self.blocks.values()) == {1}


@pytest.mark.parametrize("budget", [2_000, 20_000, 10**8])
def test_rows_overlap_and_each_block_is_read_once(
    write_image: WriteImage, pixels: Make, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    monkeypatch.setattr(row_reader, "STRIP_BYTES", budget)
    array = pixels(100, 70)
    array[30:50, 5:20] = 0
    file = RasterFile(write_image("a.tif", array, nodata=0), "a", None, None)
    reads = CountingReads(monkeypatch)
    rows = RowReader(file, Window(3, 5, 97, 60))
    for row in range(3, 90, 7):
        found = rows.read(row, 10)
        assert (found.values == array[row : row + 10, 5:65]).all()
        assert (array[row : row + 10, 5:65].all(axis=2) == (found.valid if found.valid is not None else True)).all()
    reads.assert_each_once(7 * 5)


def test_a_strip_of_small_pixels_is_of_no_more_of_them(write_image: WriteImage) -> None:
    path = write_image("a.tif", np.ones((1024, 2048), np.uint8), blockxsize=512, blockysize=512)
    with open_scene(path) as raster:
        parts = [part for part, _ in raster.iter_strips(raster.extent)]
    assert [(part.height, part.width) for part in parts] == [(512, 512)] * 8


def test_strips_that_lie_side_by_side_are_joined_where_they_are_small_and_whole(write_image: WriteImage) -> None:
    path = write_image("a.tif", np.ones((1024, 4096, 2), np.uint16), blockxsize=512, blockysize=512)
    first = Window(0, 100, 512, 412)

    def needed(strip: Window) -> Window:
        if strip.row_off:
            return strip._replace(height=100 + strip.col_off // 1024)
        return first if strip.col_off == 0 else strip

    with open_scene(path) as raster:
        assert len(list(raster.iter_strips(raster.extent, needed))) == 16
        parts = [part for part, _ in raster.iter_strips(raster.extent, needed, joined=True)]
    expected = [Window(0, 100, 512, 924), *(Window(0, col, 512, 1024) for col in (1024, 2048, 3072))]
    assert parts == expected + [Window(512, col, 100 + col // 1024, 1024) for col in (0, 1024, 2048, 3072)]


def test_rows_that_are_not_asked_for_are_not_read(
    write_image: WriteImage, pixels: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_reader, "STRIP_BYTES", 1)
    array = pixels(160, 16)
    file = RasterFile(write_image("a.tif", array), "a", None, None)
    reads = CountingReads(monkeypatch)
    rows = RowReader(file, Window(0, 0, 160, 16))
    for row in (0, 4, 100, 150):
        assert (rows.read(row, 10).values == array[row : row + 10]).all()
    assert {row for _, row, _ in reads.blocks} == {0, 6, 9}


def test_chips_come_in_batches_padded_and_masked_at_the_edge(
    write_image: WriteImage, pixels: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_reader, "STRIP_BYTES", 5_000)
    array = pixels(70, 45)
    array[20:30, 10:15] = 0
    reads = CountingReads(monkeypatch)
    with open_scene(write_image("a.tif", array, nodata=0)) as raster:
        windows = windows_over(raster.extent, size_px=16, stride_px=10)
        batches = list(raster.iter_chips(windows, 7))
    reads.assert_each_once(5 * 3)
    chips = np.concatenate([batch.chips for batch in batches])
    assert [batch.first for batch in batches] == list(range(0, len(windows), 7))
    assert [len(batch.chips) for batch in batches][:-1] == [7] * (len(batches) - 1)
    padded = np.zeros((100, 100, 3), np.uint16)
    padded[:70, :45] = array
    for batch in batches:
        for chip, (row, col, height, width) in zip(batch.chips, windows[batch.first :].tolist(), strict=False):
            expected = padded[row : row + height, col : col + width]
            assert (chip == expected).all()
        if batch.valid is not None:
            assert (batch.valid == (batch.chips != 0).all(axis=3)).all()
        else:
            assert (batch.chips != 0).all()
    assert len(chips) == len(windows)


def test_no_windows_give_no_batches(write_image: WriteImage, pixels: Make) -> None:
    with open_scene(write_image("a.tif", pixels(20, 20))) as raster:
        assert list(raster.iter_chips(np.empty((0, 4), np.int64), 4)) == []


# --- mosaics ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def mosaic(write_image: WriteImage, pixels: Make) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Three files that overlap, leave a gap and have nodata: uris, the pixels expected, where they are valid."""
    whole = pixels(80, 90)
    boxes = [(10, 20, 50, 40), (0, 50, 40, 40), (45, 0, 35, 30)]  # row, col, height, width
    expected, valid = np.zeros_like(whole), np.zeros((80, 90), bool)
    uris = []
    for number, (row, col, height, width) in enumerate(boxes):
        part = whole[row : row + height, col : col + width] + np.uint16(number)
        part[::7, ::5] = 0
        uris.append(write_image(f"{number}.tif", part, nodata=0, origin=(500_000.0 + col, 4_500_000.0 - row)))
        is_free = ~valid[row : row + height, col : col + width] & (part != 0).all(axis=2)
        expected[row : row + height, col : col + width][is_free] = part[is_free]
        valid[row : row + height, col : col + width] |= is_free
    return uris, expected, valid


def test_a_mosaic_is_the_union_and_the_first_valid_pixel_wins(
    mosaic: tuple[list[str], np.ndarray, np.ndarray],
) -> None:
    uris, expected, valid = mosaic
    with open_scene(*uris) as raster:
        assert raster.extent == Window(0, 0, 80, 90)
        assert raster.grid.transform == (1.0, 0.0, 500_000.0, 0.0, -1.0, 4_500_000.0)
        found = raster.read(raster.extent)
        part = raster.read(Window(30, 15, 40, 50))
        raster.read_last_pixels()
    assert found.valid is not None
    assert (found.valid == valid).all()
    assert (found.values[valid] == expected[valid]).all()
    assert (part.values[part.valid] == expected[30:70, 15:65][part.valid]).all()


@pytest.mark.parametrize("budget", [1, 10_000, 10**8])
def test_strips_and_chips_of_a_mosaic_read_each_block_of_each_file_once(
    mosaic: tuple[list[str], np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    monkeypatch.setattr(row_reader, "STRIP_BYTES", budget)
    uris, expected, valid = mosaic
    num_blocks = 4 * 3 + 3 * 3 + 3 * 2
    with open_scene(*uris) as raster:
        reads = CountingReads(monkeypatch)
        seen = np.zeros((80, 90), int)
        for box, pixels in raster.iter_strips(raster.extent):
            place = (slice(box.row_off, box.row_end), slice(box.col_off, box.col_end))
            seen[place] += 1
            strip_valid = np.ones(seen[place].shape, bool) if pixels.valid is None else pixels.valid
            assert (strip_valid == valid[place]).all()
            assert (pixels.values[strip_valid] == expected[place][strip_valid]).all()
        assert (seen == 1).all()
        reads.assert_each_once(num_blocks)
        reads.blocks.clear()
        windows = windows_over(raster.extent, size_px=20, stride_px=15)
        for batch in raster.iter_chips(windows, 6):
            for chip, ok, (row, col, _, _) in zip(
                batch.chips, batch.valid, windows[batch.first :].tolist(), strict=False
            ):
                part = valid[row : row + 20, col : col + 20]
                assert (ok[: part.shape[0], : part.shape[1]] == part).all()
                assert (chip[ok] == expected[row : row + 20, col : col + 20][part]).all()
        reads.assert_each_once(num_blocks)


@pytest.mark.parametrize(
    ("options", "dtype", "why"),
    [
        ({"crs": "EPSG:32617"}, np.uint16, "same CRS"),
        ({"pixel": 2.0}, np.uint16, "pixel size"),
        ({"origin": (500_000.4, 4_500_000.0)}, np.uint16, "one grid"),
        ({}, np.uint8, "dtypes are uint16 and uint8"),
        ({"crs": None}, np.uint16, "same CRS"),
    ],
)
def test_files_that_are_no_mosaic(
    write_image: WriteImage, pixels: Make, options: dict[str, Any], dtype: Any, why: str
) -> None:
    first = write_image("1.tif", pixels(20, 20))
    other = write_image("2.tif", pixels(20, 20).astype(dtype), **options)
    with pytest.raises(DataError, match=re.escape(why)) as raised:
        open_scene(first, other)
    assert first in str(raised.value)
    assert other in str(raised.value)


def test_a_missing_file_of_a_mosaic_is_named(write_image: WriteImage, pixels: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.tif"):
        open_scene(write_image("1.tif", pixels(20, 20)), str(tmp_path / "missing.tif"))


def test_files_with_different_numbers_of_channels_are_no_mosaic(write_image: WriteImage, pixels: Make) -> None:
    with pytest.raises(DataError, match="3 and 2 channels"):
        open_scene(write_image("1.tif", pixels(20, 20, 3)), write_image("2.tif", pixels(20, 20, 2)))


def test_a_strip_of_blocks_stays_decoded_until_the_next_one(write_image: WriteImage, pixels: Make) -> None:
    path = write_image("a.tif", pixels(1024, 1024), blockxsize=256, blockysize=256)
    reads: list[int] = []

    class Counted(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            reads.append(size or 0)
            return super().read(-1 if size is None else size)

    def opener(name: str, mode: str = "rb") -> Counted:
        return Counted(name)

    with raster_env([path]), rasterio.open(path, opener=opener) as dataset:
        dataset.read()
        num_reads = len(reads)
        dataset.read(1)
    assert len(reads) == num_reads > 16


# --- remote files -----------------------------------------------------------------------------------------------------


@contextmanager
def serving(folder: Path, log: Path) -> Iterator[str]:
    """The URL of a folder; a process of its own: GDAL holds the GIL."""
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("range_server.py")), str(folder), str(log)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
    server.terminate()
    server.wait()
    server.stdout.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """(URL of the test's folder, file with the sizes of the bodies sent)."""
    log = tmp_path / "sent.log"
    with serving(tmp_path, log) as url:
        yield url, log


def test_a_server_that_sends_gdal_on_to_another_host_is_refused(
    served: tuple[str, Path], write_image: WriteImage, pixels: Make, tmp_path: Path
) -> None:
    write_image("secret.tif", pixels(20, 20))
    asked = tmp_path / "asked.log"
    with serving(tmp_path, asked) as other:
        port = other.rpartition(":")[2]
        with pytest.raises(DataError, match="another host"):
            open_scene(f"{served[0]}/to/{port}/secret.tif")
    assert not asked.exists()


def test_a_remote_image_is_read_by_ranges(
    served: tuple[str, Path], write_image: WriteImage, pixels: Make, tmp_path: Path
) -> None:
    array = pixels(400, 400)
    write_image("big.tif", array, compress=None, blockxsize=64, blockysize=64)
    url, log = served
    values, _ = read_window(f"{url}/big.tif", Window(130, 200, 30, 30))
    assert (values == array[130:160, 200:230]).all()
    assert sum(map(int, log.read_text().split())) < (tmp_path / "big.tif").stat().st_size / 4


def test_a_remote_image_that_is_missing_is_an_error(served: tuple[str, Path]) -> None:
    with pytest.raises(DataError, match=r"none\.tif"):
        open_scene(f"{served[0]}/none.tif")


def read_window(uri: str, window: Window) -> tuple[np.ndarray, np.ndarray | None]:
    with open_scene(uri) as raster:
        return raster.read(window)


def test_scale_and_offset_tags_are_applied_by_choice(write_image: WriteImage, pixels: Make) -> None:
    array = pixels(40, 50, 3)
    array[3:9, 5:20] = 0
    path = write_image("a.tif", array, nodata=0)
    scales, offsets = (0.0001, 2.0, 1.0), (-0.1, 5.0, 0.0)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = scales, offsets
    stored, valid = read_all(path)
    scaled, its_valid = read_all(path, apply_scale=True)
    assert (stored.dtype, scaled.dtype) == (np.uint16, np.float32)
    assert (scaled == (array * np.array(scales) + np.array(offsets)).astype(np.float32)).all()
    assert (valid == its_valid).all(), "what is no data is a value of the file"
    with open_scene(path, apply_scale=True, channel_order=[1]) as raster:
        assert (raster.scales, raster.dtype) == (((1.0, 0.0),), np.float32)
        strips = [part.values for _, part in raster.iter_strips(raster.extent)]
        assert (np.concatenate(strips) == scaled[..., [1]]).all()


def test_scales_that_cannot_be_applied_are_refused(write_image: WriteImage, pixels: Make) -> None:
    path = write_image("a.tif", pixels(20, 20))
    with rasterio.open(path, "r+") as file:
        file.scales = (1.0, 0.0, 1.0)
    with pytest.raises(SourceFieldError, match="cannot be applied") as raised:
        open_scene(path, apply_scale=True)
    assert raised.value.field == "apply_scale"
    assert open_scene(path).dtype == np.uint16
