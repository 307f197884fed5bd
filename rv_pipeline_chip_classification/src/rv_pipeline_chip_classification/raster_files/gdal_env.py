"""The settings of GDAL for the time of a block, and which credentials they hold."""

from __future__ import annotations

from typing import Any

import rasterio
from rasterio.env import getenv, hasenv
from rasterio.session import AWSSession, DummySession


def gdal_env(*, reads_s3: bool = False, **options: Any) -> rasterio.Env:
    """The environment of rasterio, without a session of boto3 where none is needed.

    With keys in the environment rasterio makes a session each time: 0.02 s, and the import of boto3 before the first.
    GDAL needs one for the objects of S3 that it reads itself; from the environment alone it has no region that a file
    of AWS says.

    Args:
        reads_s3: whether it may read such objects in the block; those of an outer one keep the credentials from there.
        options: settings of GDAL.
    """
    needs_session = reads_s3 and not (hasenv() and AWSSession.hascreds(getenv()))
    return rasterio.Env(None if needs_session else DummySession(), **options)
