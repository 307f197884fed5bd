"""rasterio, imported without boto3 until that is asked for credentials.

rasterio imports boto3 wherever it is installed, also where every image is a local file, and that takes longer than rasterio.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any


def import_rasterio() -> None:
    """Import rasterio so that it imports boto3 when it first uses it; to be called before anything else imports it."""
    if "rasterio" in sys.modules or "boto3" in sys.modules or find_spec("boto3") is None:
        return
    sys.modules["boto3"] = _Boto3("boto3")
    try:
        import_module("rasterio.session")
    finally:
        # Everyone else who imports it gets the real one.
        del sys.modules["boto3"]


class _Boto3(ModuleType):
    """What `rasterio.session` has for boto3."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module("boto3"), name)
