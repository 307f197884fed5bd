"""`rv report ROOT`: what is told of a run, whatever its pipeline is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.rv_report.conftest import check_page

Rv = Callable[..., Any]

SLOW_SPLIT = """
import time
from dataclasses import dataclass
from rv_core import Items, Pipeline, PipelineConfig, Summary, SummaryTable, command

@dataclass
class SlowConfig(PipelineConfig):
    names: list[str]
    fail: str = ""
    def build(self):
        return SlowPipeline(self)

class SlowPipeline(Pipeline):
    @command(items="names", reads=("fail",))
    def work(self, names: Items[str]) -> None:
        for name in names:
            time.sleep(1.1 if name == "large" else 0.01)
            if name == self.config.fail:
                raise RuntimeError("asked to <b>fail</b>")
            self.storage.write_text(f"work/{name}.txt", name)

    def summary(self, storage, done):
        return Summary(numbers={"items": len(self.config.names)}, warnings=["only <i>four</i>"],
                       tables=[SummaryTable(["name", "length"], [[n, len(n)] for n in self.config.names], "names")])

def get_config(runner, root_uri, fail: str = ""):
    return SlowConfig(root_uri=root_uri, name="slow", names=["a", "b", "large", "c"], fail=fail)
"""


def test_the_page_tells_of_the_run_and_asks_for_nothing(rv: Rv, hello_root: Path, tmp_path: Path) -> None:
    done = rv("report", hello_root, "-o", "page.html")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = check_page(text)
    assert len(text) < 200_000
    for words in ("hello.cpu_task", "5 of 5", "hello.gpu_task", "1 of 1", "inprocess", "rv-core", "not done yet"):
        assert words in page.text, words
    assert len([r for r in page.of("rect") if "bar done" in (r["class"] or "")]) == 4
    assert "<script>alert" not in text
    assert "<script>alert(1)</script>\\\\u001b[31m" in page.text.replace("\\u001b", "\\\\u001b")
    assert "{{ 7 * 7 }}" in page.text


def test_the_root_stays_as_it_is(rv: Rv, hello_root: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in hello_root.rglob("*")}
    assert rv("report", hello_root).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in hello_root.rglob("*")} == before


def test_a_page_is_replaced_and_another_file_is_not(rv: Rv, hello_root: Path, tmp_path: Path) -> None:
    assert rv("report", hello_root).returncode == 0
    assert rv("report", hello_root).returncode == 0
    (tmp_path / "mine.html").write_text("<!doctype html><p>mine")
    refused = rv("report", hello_root, "-o", "mine.html")
    assert refused.returncode == 2
    assert "no page of rv report" in refused.stderr
    assert (tmp_path / "mine.html").read_text() == "<!doctype html><p>mine"


def test_where_no_run_is_and_where_no_page_can_go_it_says_so(rv: Rv, hello_root: Path, tmp_path: Path) -> None:
    missing = rv("report", tmp_path / "nowhere")
    assert (missing.returncode, missing.stderr.splitlines()[0]) == (2, "usage error: no run found here")
    (tmp_path / "file").write_text("")
    unwritable = rv("report", hello_root, "-o", "file/page.html")
    assert unwritable.returncode != 0
    assert "Traceback" not in unwritable.stderr


def test_what_stands_out_and_what_the_pipeline_says_is_told(rv: Rv, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW_SPLIT)
    run = rv("run", "inprocess", "slow.py", "-a", "root_uri=out", "--splits", "4")
    assert run.returncode == 0, run.stderr
    assert rv("report", "out").returncode == 0
    page = check_page((tmp_path / "report.html").read_text())
    assert "slow.work.3-of-4 took" in page.text
    assert "the median of the other tasks of slow.work" in page.text
    assert "only <i>four</i>" in page.text
    assert "large 5" in page.text


def test_a_failed_run_says_why_and_what_was_skipped(rv: Rv, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW_SPLIT)
    assert rv("run", "inprocess", "slow.py", "-a", "root_uri=out", "-a", "fail=b").returncode == 1
    assert rv("report", "out").returncode == 0
    page = check_page((tmp_path / "report.html").read_text())
    assert "slow.work failed: RuntimeError: asked to <b>fail</b>" in page.text
    assert "1 of 4" in page.text


def test_a_second_run_tells_what_was_done_before(rv: Rv, hello_root: Path, tmp_path: Path) -> None:
    root = shutil.copytree(hello_root, tmp_path / "root")
    again = rv("run", "inprocess", "hello", "-a", f"root_uri={root}", "-a", "num_items=6", "-a", "greeting=hi")
    assert again.returncode == 0, again.stderr
    assert (
        rv("run", "inprocess", "hello", "-a", f"root_uri={root}", "-a", "num_items=8", "-a", "greeting=hi").returncode
        == 0
    )
    assert rv("report", root).returncode == 0
    page = check_page((tmp_path / "report.html").read_text())
    assert "8 of 8 6 1" in page.text
    first = min(path.name for path in (root / ".rv" / "runs").iterdir())
    assert rv("report", root, "--run", first, "-o", "first.html").returncode == 0
    assert first in check_page((tmp_path / "first.html").read_text()).text


def test_damaged_records_are_counted_and_shown_around(rv: Rv, hello_root: Path, tmp_path: Path) -> None:
    root = shutil.copytree(hello_root, tmp_path / "root")
    manifests = sorted((root / ".rv" / "done" / "cpu_task").iterdir())
    manifests[0].write_text("{")
    manifests[1].write_text(json.dumps({"parts": 3, "timings": [], "command": {}}))
    (config,) = (root / ".rv" / "runs").glob("*/pipeline-config.json")
    config.write_text("[]")
    assert rv("report", root).returncode == 0
    page = check_page((tmp_path / "report.html").read_text())
    assert "1 file of what is done cannot be read" in page.text
    assert "The config of hello cannot be read" in page.text


@pytest.mark.parametrize("words", [("--help",), ("report", "--help")])
def test_help_is_given(rv: Rv, words: tuple[str, ...]) -> None:
    done = rv(*words)
    assert done.returncode == 0
    assert "report" in done.stdout
