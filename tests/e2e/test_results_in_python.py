"""What the page of chip classification shows for Python, on a finished run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import TinyRun

README = Path(__file__).parent.parent.parent / "rv_pipeline_chip_classification" / "README.md"


def test_the_block_of_the_page_runs_as_printed(tiny_run: TinyRun, tmp_path: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "out").symlink_to(tiny_run.root)
    shutil.copy(next(tiny_run.data.glob("*.tif")), tmp_path / "image.tif")
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    first, *_, last = done.stdout.splitlines()
    assert re.match(r"[\d.]+ \{'epoch': ", first)
    assert re.search(r"\] \(\d+, \d+\) \(\d+, \d+, \d+\) \(", last)


@pytest.mark.slow
def test_frames_hold_what_the_records_do(tiny_run: TinyRun) -> None:
    geopandas = pytest.importorskip("geopandas")
    from rv_pipeline_chip_classification import results

    found = results(str(tiny_run.root))
    (scene_id,) = [name for name in found.scene_ids if name in found.metrics["test"]["per_scene"]][:1]
    records = found.predictions(scene_id)
    frame = records.frame()
    assert isinstance(frame, geopandas.GeoDataFrame)
    assert frame["class_name"].tolist() == [record["class_name"] for record in records]
    assert frame.geometry.is_valid.all()
    assert len(found.history.frame()) == len(found.history)
