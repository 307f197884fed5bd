"""The sweep of the page on sweeps costs what the page says, and the pictures of the documentation can be made."""

from __future__ import annotations

import json
import resource
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.docs.guide_blocks import File, blocks
from tests.docs.make_pictures import IMAGES, PICTURES, write_pictures
from tests.docs.page_fences import ROOT, steps_text
from tests.e2e.conftest import TinyRun

from rv_core import api
from rv_core.plan.manifests import Manifest

pytest.importorskip("rv_pipeline_chip_classification.hooks")
pytest.importorskip("rv_report.hooks")

Rv = Callable[..., Any]
RATES = ["0.0001", "0.0003", "0.001", "0.003", "0.01", "0.03"]


def children_cpu_s() -> float:
    """User and system time of every process that was waited for, and of those that these waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def done_by_itself(roots: Path) -> Iterator[str]:
    """The command of each item that was done under the root in which it lies, not put there or taken."""
    for path in roots.glob("*/.rv/done/**/*.json"):
        if not Manifest.from_text(path.read_bytes()).taken_from:
            yield path.relative_to(roots).parts[3]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_six_learning_rates_are_one_chip_and_six_trainings(
    rv: Rv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # threads that wait for each other would be measured too
    assert rv("demo", "land", "--no-run").returncode == 0
    (module,) = (step for step in blocks(steps_text(ROOT / "docs" / "sweeps.md")) if isinstance(step, File))
    (tmp_path / module.path).write_text(module.text)

    before_s = children_cpu_s()
    done = rv("run", "local", "land/sweep.py", "analyze", "chip", "train", timeout_s=1200)
    whole_s = children_cpu_s() - before_s

    assert done.returncode == 0, done.stdout + done.stderr
    assert Counter(done_by_itself(tmp_path / "sweep")) == {"analyze": 4, "chip": 6, "train": 6}
    tasks_s: Counter[str] = Counter()
    for job in api.status(str(tmp_path / "sweep" / "lr-0.001")).jobs:
        tasks_s[job.job.partition(".")[2]] += sum(task.cpu_s or 0 for task in job.tasks)
    one_chip_and_six_trainings_s = tasks_s["chip"] + tasks_s["train"]
    ratio = whole_s / one_chip_and_six_trainings_s
    print(f"{whole_s:.1f} s of CPU, {ratio:.2f} times that of the tasks of chip and train; at most 1.1 is aimed at")

    compared = rv("compare", "sweep", "--json")
    assert compared.returncode == 0, compared.stderr
    found = json.loads(compared.stdout)
    assert found["config"] == [{"where": "train.learning_rate", "values": RATES}]
    assert found["data"] == found["code"] == found["versions"] == []


@pytest.mark.slow
def test_the_pictures_are_made_of_what_the_pages_show(rv: Rv, tiny_run: TinyRun, tmp_path: Path) -> None:
    from PIL import Image

    copy = shutil.copytree(tiny_run.root, tmp_path / "copy")
    assert rv("compare", tiny_run.root, copy, "--html", "sweep.html").returncode == 0
    assert rv("report", tiny_run.root, "-o", "report.html").returncode == 0
    (tmp_path / "images").mkdir()
    alone = [picture._replace(heading=picture.heading.rpartition(": ")[2]) for picture in PICTURES]
    write_pictures(tmp_path, tmp_path / "images", alone)
    for picture in PICTURES:
        with Image.open(tmp_path / "images" / picture.name) as made, Image.open(IMAGES / picture.name) as shown:
            assert made.size == shown.size
            assert len(made.getcolors(1_000_000)) > 20
