"""The main job on real scenes: `rv demo` with the Landsat and land-cover set (see RV_TEST_DATA)."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rv_pipeline_chip_classification.hooks")
pytest.importorskip("rv_runner_local.hooks")
pytestmark = pytest.mark.real_data


@pytest.mark.timeout(900)
def test_the_demo_on_real_scenes_learns_and_redoes_only_what_it_must(
    rv: Callable[..., Any], real_data_dir: Path, tmp_path: Path
) -> None:
    data = tmp_path / "zion"
    shutil.copytree(real_data_dir / "zion-landsat8-nlcd", data)
    words = ["demo", str(tmp_path / "out"), "--data", str(data), "--splits", "2"]
    started = time.monotonic()
    first = rv(words, timeout_s=800)
    print(f"first run: {time.monotonic() - started:.0f} s")
    assert first.returncode == 0, first.stdout + first.stderr
    print(first.stdout)
    scores = json.loads((tmp_path / "out" / "results" / "eval" / "test" / "eval.json").read_text())["overall"]
    assert scores["accuracy"] >= 0.72
    found = re.search(r"always '[a-z_]+' (0\.\d+)$", first.stdout, re.MULTILINE)
    assert found is not None
    assert abs(float(found[1]) - 0.395) < 0.001

    started = time.monotonic()
    again = rv([*words[:-1], "3"])
    print(f"second run: {time.monotonic() - started:.2f} s")
    assert "Nothing to do" in again.stdout

    module = tmp_path / "out" / "experiment.py"
    planned = rv("run", "local", module, "--dry-run", "-a", "num_epochs=21")
    assert "demo.chip     skip" in planned.stdout
    assert "train.num_epochs" in planned.stdout

    change_one_pixel(data / "scenes" / "zion_r0c1.tif")
    planned = rv("run", "local", module, "--dry-run")
    assert "demo.chip     run   1 of 6 items · zion_r0c1: zion_r0c1.tif changed" in planned.stdout


@pytest.mark.timeout(900)
def test_the_demo_takes_polygon_labels_too(rv: Callable[..., Any], real_data_dir: Path, tmp_path: Path) -> None:
    data = real_data_dir / "atlanta-spacenet-buildings"
    done = rv("demo", tmp_path / "out", "--data", data, "--num-epochs", "3", timeout_s=600)
    assert done.returncode == 0, done.stdout + done.stderr
    scores = json.loads((tmp_path / "out" / "results" / "eval" / "test" / "eval.json").read_text())["overall"]
    assert scores["coverage"] == {"labelled": 196, "predicted": 196, "matched": 196, "without_data": 0}


def change_one_pixel(path: Path) -> None:
    import rasterio
    from rasterio.windows import Window

    with rasterio.open(path, "r+") as raster:
        window = Window(5, 5, 1, 1)
        raster.write(raster.read(window=window) + 1, window=window)
