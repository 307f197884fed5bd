"""The size of a raster from the first bytes of its file, against what GDAL says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from rv_core.errors import StorageError
from rv_pipeline_chip_classification.parts.raster_size import ask_for_sizes, raster_size

if TYPE_CHECKING:
    from tests.file_servers import WebServer

pytest_plugins = ("tests.file_servers",)


@pytest.mark.parametrize(
    "options",
    [{}, {"BIGTIFF": "YES"}, {"ENDIANNESS": "BIG"}, {"BIGTIFF": "YES", "ENDIANNESS": "BIG"}, {"tiled": False}],
    ids=["tiled", "big", "big-endian", "both", "striped"],
)
def test_the_size_of_a_tiff_is_that_which_gdal_says(write_image: Any, options: dict[str, Any]) -> None:
    path = write_image("a.tif", np.ones((70_001, 2), np.uint8), **options)
    with rasterio.open(path) as file:
        assert raster_size(path) == (file.height, file.width) == (70_001, 2)


def test_overviews_and_a_mask_are_not_the_image(write_image: Any) -> None:
    path = write_image("a.tif", np.ones((64, 96), np.uint8), mask=np.ones((64, 96), bool))
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4])
    assert raster_size(path) == raster_size(Path(path).as_uri()) == (64, 96)


def test_a_virtual_dataset_says_its_size(write_image: Any, tmp_path: Path) -> None:
    rasterio.shutil.copy(write_image("a.tif", np.ones((30, 40), np.uint8)), tmp_path / "a.vrt", driver="VRT")
    assert raster_size(str(tmp_path / "a.vrt")) == (30, 40)


@pytest.mark.parametrize(
    "data", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff" * 4, b"II+\0" * 40, b"<VRTDataset", b"\x89PNG" * 9]
)
def test_of_anything_else_it_is_not_known(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.tif").write_bytes(data)
    assert raster_size(str(tmp_path / "a.tif")) is None
    for uri in (
        f"zip://{tmp_path}/a.zip!b.tif",
        "${NO_SUCH_NAME}/a.tif",
        str(tmp_path),
        "file://x/y",
    ):
        assert raster_size(uri) is None


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_remote_file_is_asked_for_its_first_bytes_once(
    write_image: Any, web_server: WebServer, knows_ranges: bool
) -> None:
    """And for others where its directory lies behind the pixels, if the server has parts of files."""
    web_server.knows_ranges = knows_ranges
    images = {name: Path(write_image(f"{name}.tif", np.ones((300, 200), np.uint8))) for name in "ab"}
    with rasterio.open(images["b"], "r+") as file:
        file.update_tags(note="x" * 5000)  # too long for its place: the directory moves to the end
    images["c"] = Path(write_image("c.tif", np.random.default_rng(0).integers(0, 255, (300, 200), np.uint8)))
    with rasterio.open(images["c"], "r+") as file:
        file.update_tags(note="x" * 5000)
    web_server.files |= {f"/{name}.tif": path.read_bytes() for name, path in images.items()}
    uris = [f"{web_server.url}/{name}.tif" for name in "abc"]
    ask_for_sizes([*uris, f"{web_server.url}/missing.tif", f"zip://{web_server.url}/a.zip!b.tif"])
    num_requests = len(web_server.requests)
    # A server without ranges is asked for each once more, by a connection of its own.
    assert num_requests <= (6 if knows_ranges else 12)
    last = (300, 200) if knows_ranges else None
    assert [raster_size(uri) for uri in uris] == [(300, 200), (300, 200), last]
    assert raster_size(f"{web_server.url}/missing.tif") is None
    assert len(web_server.requests) == num_requests


def test_a_server_that_refuses_is_an_error_and_asked_again_later(web_server: WebServer, write_image: Any) -> None:
    web_server.files["/late.tif"] = Path(write_image("late.tif", np.ones((30, 20), np.uint8))).read_bytes()
    web_server.failures = [403, 403]
    with pytest.raises(StorageError, match="403"):
        raster_size(f"{web_server.url}/late.tif")
    assert raster_size(f"{web_server.url}/late.tif") == (30, 20)
