"""Fixtures of the end-to-end tests that need scenes: small ones, and one whole run on them that many tests look at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

TINY = Path(__file__).with_name("tiny_experiment.py")


class TinyRun(NamedTuple):
    """A finished run of `tiny_experiment.py`; tests that change something copy it first.

    Args:
        data: the folder of the scenes.
        root: the root of the run.
    """

    data: Path
    root: Path


@pytest.fixture
def tiny_data(tmp_path: Path) -> Path:
    """Two training scenes, a validation and a test scene of 64 px, each with labels, in a folder of the test."""
    return _write_data(tmp_path / "data")


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """All commands of `tiny_experiment.py`, run once for all tests."""
    pytest.importorskip("rv_pipeline_chip_classification.hooks")
    folder = tmp_path_factory.mktemp("tiny")
    run = TinyRun(_write_data(folder / "data"), folder / "root")
    words = ["run", "inprocess", str(TINY), "-a", f"data={run.data}", "-a", f"root_uri={run.root}"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("RV_", "AWS_", "GDAL_"))}
    environ |= {"RV_CONFIG_DIR": str(folder / "config"), "RV_CACHE_DIR": str(folder / "cache"), "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "rv_core", *words], env=environ, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return run


def _write_data(folder: Path) -> Path:
    pytest.importorskip("rasterio")
    from tests.scenes import write_dataset

    return write_dataset(folder, train=[1, 2], validation=[3], test=[4])
