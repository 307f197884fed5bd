"""Remote GeoTIFFs: the pixels of local ones, each byte asked for once, and what is said where a server fails."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rv_core.errors import RvError
from rv_core.files.storage import Storage
from rv_pipeline_chip_classification.commands.chip import chip_scene
from rv_pipeline_chip_classification.config import (
    ChipConfig,
    ClassConfig,
    GeoJsonLabelsConfig,
    MaskConfig,
    RasterSourceConfig,
    RasterStackConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.labels.class_raster import open_class_raster
from rv_pipeline_chip_classification.raster_files import remote_files
from rv_pipeline_chip_classification.raster_files.remote_bytes import PIECE_BYTES, RemoteBytes, pieces_of
from rv_pipeline_chip_classification.scenes import row_reader
from rv_pipeline_chip_classification.scenes.raster_reader import raster_env
from rv_pipeline_chip_classification.scenes.row_reader import RowReader
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.scenes.windows import Window

if TYPE_CHECKING:
    from tests.file_servers import WebServer

pytest_plugins = ("tests.file_servers",)
SERVER = Path(__file__).parents[2] / "benchmarks" / "slow_server.py"


class Served:
    """The test's folder on a web server, a process of its own, that tells what it was asked for."""

    def __init__(self, folder: Path) -> None:
        argv = [sys.executable, str(SERVER), str(folder), "0", "1e12"]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def requests(self) -> list[tuple[str, str, int, int]]:
        """(method, path, first byte, last byte) of what has come since the last call."""
        with urllib.request.urlopen(f"{self.url}/requests") as answer:
            return [tuple(request) for request in json.load(answer)]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    server = Served(tmp_path)
    yield server
    server.close()


@pytest.fixture
def bands(write_image: Callable[..., str], pixels: Callable[..., np.ndarray]) -> list[str]:
    """Two bands of 10 m, one of 20 m and a mask of 20 m, in small blocks."""
    options: dict[str, Any] = {"blockxsize": 64, "blockysize": 64, "compress": None}
    fine = pixels(640, 640, 2).astype(np.uint16) * 7
    coarse = pixels(320, 320, 1)
    write_image("B02.tif", fine[..., :1], **options)
    write_image("B03.tif", fine[..., 1:], **options)
    write_image("B11.tif", coarse, pixel=2.0, **options)
    write_image("mask.tif", (coarse > 40).astype(np.uint8), pixel=2.0, **options)
    return ["B02.tif", "B03.tif", "B11.tif"]


def stack(base: str, bands: list[str]) -> RasterStackConfig:
    sources = [RasterSourceConfig(uris=[f"{base}/{name}"], name=name[:3]) for name in bands]
    sources[0].mask = MaskConfig(uri=f"{base}/mask.tif", valid_values=[1])
    return RasterStackConfig(sources=sources)


def strips(config: RasterStackConfig, box: Window | None = None) -> list[np.ndarray]:
    with SceneRaster(config, "a") as raster:
        read = [pixels for _, pixels in raster.iter_strips(box or raster.extent)]
        return [part for pixels in read for part in (pixels.values, pixels.valid) if part is not None]


def rows(config: RasterStackConfig) -> list[np.ndarray]:
    with SceneRaster(config, "a") as raster:
        reader = raster.rows(raster.extent)
        return [reader.read(row, 40).values for row in range(80, 600, 30)]


@pytest.mark.parametrize(
    ("scheme", "read"), [("http", strips), ("http", rows), pytest.param("s3", rows, marks=pytest.mark.s3)]
)
def test_pixels_are_those_of_local_files_and_each_byte_comes_once(
    served: Served,
    bands: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    read: Callable[..., Any],
) -> None:
    monkeypatch.setattr(row_reader, "STRIP_BYTES", 1 << 19)
    expected = read(stack(str(tmp_path), bands))
    (tmp_path / "bucket").symlink_to(tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", served.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    found = read(stack("s3://bucket" if scheme == "s3" else f"{served.url}/bucket", bands))
    assert len(found) == len(expected) > 1
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    asked = served.requests()
    for name in [*bands, "mask.tif"]:
        times = np.zeros((tmp_path / name).stat().st_size, np.int64)
        spans = [
            (first, last)
            for method, path, first, last in asked
            if (method, path) == ("GET", f"/bucket/{name}") and last > 1
        ]
        for first, last in spans:
            times[first : last + 1] += 1
        assert times.max() == 1 and times.mean() > 0.8
        # 100 blocks of 8 KiB; the header is one request.
        assert len(spans) < 12 and sum(first == 0 for first, _ in spans) == 1
        assert {path for method, path, *_ in asked if method == "HEAD" and name in path} == {
            f"/bucket/{name}", f"/bucket/{name}.aux.xml", f"/bucket/{name}.msk",
        }  # fmt: skip


def test_what_lies_outside_of_a_box_is_not_fetched(served: Served, bands: list[str], tmp_path: Path) -> None:
    box = Window(256, 256, 128, 128)
    expected = strips(stack(str(tmp_path), bands), box)
    assert all(np.array_equal(*pair) for pair in zip(strips(stack(served.url, bands), box), expected, strict=True))
    fetched = sum(last - first + 1 for method, _, first, last in served.requests() if method == "GET")
    assert fetched < 4 * 65_536 + 400_000 < sum((tmp_path / name).stat().st_size for name in bands)


def test_labels_on_another_grid_are_read_once(served: Served, bands: list[str], tmp_path: Path) -> None:
    def label_rows(base: str) -> np.ndarray:
        with raster_env([f"{base}/mask.tif"]):
            source = open_class_raster(f"{base}/mask.tif", "a", grid, class_values=(1,))
            reader = RowReader(source, grid.extent)
            read = np.concatenate([reader.read(row, 64).values for row in range(0, 640, 64)])
            source.close()
            return read

    with SceneRaster(RasterSourceConfig(uris=[str(tmp_path / "B02.tif")]), "a") as raster:
        grid = raster.grid
    assert np.array_equal(label_rows(served.url), label_rows(str(tmp_path)))
    asked = [(first, last) for method, _, first, last in served.requests() if method == "GET" and last > 1]
    assert sum(last - first + 1 for first, last in asked) <= (tmp_path / "mask.tif").stat().st_size


def test_labels_and_an_area_of_interest_are_fetched_once(served: Served, bands: list[str], tmp_path: Path) -> None:
    (tmp_path / "labels.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    square = [[500_000, 4_500_000], [500_640, 4_500_000], [500_640, 4_499_360], [500_000, 4_500_000]]
    area = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [square]}}
    crs = {"type": "name", "properties": {"name": "EPSG:32618"}}
    (tmp_path / "aoi.geojson").write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [area]}))
    labels = GeoJsonLabelsConfig(uri=f"{served.url}/labels.geojson", background_class="a")
    scene = SceneConfig(id="a", raster=stack(served.url, bands), labels=labels, aoi_uris=[f"{served.url}/aoi.geojson"])
    for number in range(2):  # as another task of this machine reads the same scene
        storage = Storage(str(tmp_path / f"root{number}"))
        assert chip_scene(scene, "train", ClassConfig(names=["a", "b"]), ChipConfig(chip_size_px=64), 0, storage)
    fetched = [path for method, path, *_ in served.requests() if method == "GET" and path.endswith(".geojson")]
    assert sorted(fetched) == ["/aoi.geojson", "/labels.geojson"]


def test_a_file_with_others_beside_it_is_left_to_gdal(served: Served, bands: list[str], tmp_path: Path) -> None:
    (tmp_path / "B02.tif.aux.xml").write_text("<PAMDataset><Metadata/></PAMDataset>")
    with SceneRaster(stack(served.url, bands), "a"):
        held = remote_files._held.stack[-1]
    assert [uri.rpartition("/")[2] for uri in held] == ["B03.tif", "B11.tif", "mask.tif"]
    assert "/B02.xml" in {path for _, path, *_ in served.requests()}  # a name that GDAL alone tries


def test_a_server_that_fails_while_pixels_are_read_is_told(
    web_server: WebServer, bands: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RV_RETRY_S", "0")
    web_server.files = {f"/{name}": (tmp_path / name).read_bytes() for name in [*bands, "mask.tif"]}
    with SceneRaster(stack(web_server.url, bands), "a") as raster:
        raster.read(Window(0, 0, 9, 9))
        web_server.failures = [503] * 200
        with pytest.raises(RvError, match="503") as failure:
            raster.read(Window(600, 600, 40, 40))
    assert "vsiriopener" not in str(failure.value)


def test_spans_become_requests() -> None:
    assert list(pieces_of([])) == []
    assert list(pieces_of([(0, 10), (14, 20), (20, 30), (100_000, 100_010)])) == [(0, 30), (100_000, 100_010)]
    assert list(pieces_of([(50, 60), (0, 10)])) == [(50, 60), (0, 10)]
    large = PIECE_BYTES + 5
    assert list(pieces_of([(0, large), (large, large + 1)])) == [(0, large), (large, large + 1)]


def test_bytes_that_nobody_announced_are_fetched_too(served: Served, tmp_path: Path) -> None:
    data = np.random.default_rng(0).bytes(20_000_000)
    (tmp_path / "x.bin").write_bytes(data)
    file = RemoteBytes(f"{served.url}/x.bin", data[:65_536], len(data))
    file.announce([(begin, begin + 100_000) for begin in range(1_000_000, 19_000_000, 100_000)])
    for begin, count in ((0, 10), (65_530, 20), (1_000_000, 250_000), (15_000_000, 10), (70_000, 5), (19_999_990, 50)):
        assert file.read(begin, count) == data[begin : begin + count]
    for begin in range(1_000_000, 19_000_000, 700_000):
        assert file.read(begin, 700_000) == data[begin : begin + 700_000]
    kept = sum(piece.end - piece.begin for piece in file._pieces.values())
    assert kept < 16_000_000
    file.close()
