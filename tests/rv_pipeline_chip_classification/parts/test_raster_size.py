"""The size of a raster from the first bytes of its file, against what GDAL says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from rv_pipeline_chip_classification.parts.raster_size import raster_size


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
        "s3://bucket/a.tif",
        f"zip://{tmp_path}/a.zip!b.tif",
        "${NO_SUCH_NAME}/a.tif",
        str(tmp_path),
        "file://x/y",
    ):
        assert raster_size(uri) is None
