"""rasterio comes without boto3, and gets it when it asks for credentials."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

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
_LOADED_BEFORE = """
import boto3
from rv_pipeline_chip_classification.raster_files.rasterio_import import import_rasterio
import_rasterio()
import rasterio.session
assert rasterio.session.boto3 is boto3
"""


@pytest.mark.parametrize("program", [_LOADED, _LOADED + _CREDENTIALS, _LOADED_BEFORE])
def test_boto3_is_imported_when_it_is_used(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
