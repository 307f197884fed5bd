"""URIs and AWS settings in GDAL's words."""

from __future__ import annotations

import pytest

from rv_core.errors import ConfigError, DataError
from rv_pipeline_chip_classification.raster_files.gdal_paths import gdal_options, gdal_path


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/data/a b.tif", "/data/a b.tif"),
        ("file:///data/a%20b.tif", "/data/a b.tif"),
        ("https://host/a.tif?x=1", "/vsicurl/https://host/a.tif?x=1"),
        ("http://host:80/a.tif", "/vsicurl/http://host:80/a.tif"),
        ("s3://bucket/k/a.tif", "/vsis3/bucket/k/a.tif"),
        ("gs://bucket/a.tif", "/vsigs/bucket/a.tif"),
        ("az://container/a.tif", "/vsiaz/container/a.tif"),
        ("zip:///data/a.zip!x/a.tif", "/vsizip/{/data/a.zip}/x/a.tif"),
        ("zip+https://host/a.zip!a.tif", "/vsizip/{/vsicurl/https://host/a.zip}/a.tif"),
        ("gzip:///data/a.tif.gz", "/vsigzip//data/a.tif.gz"),
    ],
)
def test_paths(uri: str, expected: str) -> None:
    assert gdal_path(uri) == expected


@pytest.mark.parametrize("uri", ["<VRTDataset/>", "/vsimem/a.tif", "NETCDF:a.nc:x", "ftp://host/a.tif", "vrt:///a.tif"])
def test_what_is_no_file_is_refused(uri: str) -> None:
    with pytest.raises(DataError):
        gdal_path(uri)


def test_variables_are_filled_in_when_a_file_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="SCENES"):
        gdal_path("${SCENES}/a.tif")
    monkeypatch.setenv("SCENES", "s3://bucket")
    assert gdal_path("${SCENES}/a.tif") == "/vsis3/bucket/a.tif"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, {}),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:5000/"},
            {"AWS_S3_ENDPOINT": "127.0.0.1:5000", "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE"},
        ),
        (
            {"AWS_ENDPOINT_URL": "http://other", "AWS_ENDPOINT_URL_S3": "https://s3.example/base"},
            {"AWS_S3_ENDPOINT": "s3.example/base", "AWS_HTTPS": "YES", "AWS_VIRTUAL_HOSTING": "FALSE"},
        ),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, {"AWS_REGION": "eu-west-1"}),
        ({"AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "us-east-1"}, {}),
    ],
)
def test_aws_settings_that_gdal_does_not_know(environ: dict[str, str], expected: dict[str, str]) -> None:
    options = gdal_options(environ, is_remote=True)
    assert {name: value for name, value in options.items() if name.startswith("AWS_")} == expected


def test_local_files_need_no_aws_and_what_the_user_has_set_stays() -> None:
    options = gdal_options({"AWS_ENDPOINT_URL": "http://x", "GDAL_CACHEMAX": "512"}, is_remote=False)
    assert options == {"GDAL_VRT_ENABLE_PYTHON": "NO"}
