"""rasterio comes without boto3, and gets it when it asks for credentials: for the objects of S3 that GDAL reads."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(find_spec("boto3") is None, reason="boto3 is not installed")

_LOADED = """
import sys
from rv_pipeline_chip_classification.raster_files.rasterio_import import import_rasterio
import_rasterio()
import rasterio
assert "rasterio.session" in sys.modules and "boto3" not in sys.modules
with rasterio.Env(GDAL_CACHEMAX=1), rasterio.MemoryFile() as file:
    file.open(driver="GTiff", width=2, height=2, count=1, dtype="uint8", crs="EPSG:4326").close()
assert "boto3" not in sys.modules
"""
_CREDENTIALS = """
import os, sys
os.environ |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "eu-west-1"}
from rasterio.session import AWSSession
with rasterio.Env() as env:
    assert isinstance(env.session, AWSSession)
    assert env.session.credentials["aws_access_key_id"] == "key"
import boto3
assert boto3.__file__ and boto3.Session().region_name == "eu-west-1"
"""
_KEYS_AND_FILES = """
import os, sys
os.environ |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
from rv_pipeline_chip_classification.raster_files.rasterio_import import import_rasterio
import_rasterio()
import rasterio
from rv_pipeline_chip_classification.config import RasterSourceConfig
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
place = {"crs": "EPSG:32618", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 4_500_000)}
rasterio.open(sys.argv[1], "w", driver="GTiff", width=2, height=2, count=1, dtype="uint8", **place).close()
with SceneRaster(RasterSourceConfig(uris=[sys.argv[1]]), "a") as raster:
    assert raster.read(raster.extent).values.shape == (2, 2, 1)
assert "boto3" not in sys.modules
"""
_KEYS_AND_S3 = """
import os
os.environ |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "eu-west-1"}
os.environ |= {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "RV_RETRY_S": "0"}
from rasterio.env import getenv
from rv_pipeline_chip_classification.raster_files.gdal_env import gdal_env
from rv_pipeline_chip_classification.scenes.raster_reader import raster_env
with raster_env(["s3://bucket/image.jp2"]):
    assert getenv()["AWS_ACCESS_KEY_ID"] == "key" and getenv()["AWS_REGION"] == "eu-west-1"
    with gdal_env(reads_s3=True, GDAL_CACHEMAX=1) as inner:
        assert type(inner.session).__name__ == "DummySession" and getenv()["AWS_ACCESS_KEY_ID"] == "key"
"""
_LOADED_BEFORE = """
import boto3
from rv_pipeline_chip_classification.raster_files.rasterio_import import import_rasterio
import_rasterio()
import rasterio.session
assert rasterio.session.boto3 is boto3
"""


@pytest.mark.parametrize("program", [_LOADED, _LOADED + _CREDENTIALS, _LOADED_BEFORE, _KEYS_AND_FILES, _KEYS_AND_S3])
def test_boto3_is_imported_when_it_is_used(program: str, tmp_path: Path) -> None:
    argv = [sys.executable, "-c", program, str(tmp_path / "image.tif")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
