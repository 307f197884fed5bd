"""What `RunContext.run_task` does for runners that start processes here."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rv_core import Capabilities, RunContext, Task
from rv_core.plan.graph import Job
from rv_core.runner.context import ended_by


@dataclass
class Scripted(RunContext):
    """Runs a line of Python in place of a task."""

    code: str = ""

    def argv(self, what: Task | Job) -> list[str]:
        return [sys.executable, "-S", "-c", self.code]


@pytest.fixture
def reports() -> list[Mapping[str, Any]]:
    return []


def context_of(code: str, reports: list[Mapping[str, Any]], folder: Path, **more: Any) -> Scripted:
    return Scripted(
        "run-1", "mine", Capabilities(), {}, folder, code=code, grace_s=1.0, on_report=reports.append, **more
    )


def task(job: str) -> Task:
    return Task(job, job, 0, 1)


def test_an_exit_code_of_its_own_is_returned_and_reported(reports: list[Any], tmp_path: Path) -> None:
    assert context_of("raise SystemExit(7)", reports, tmp_path).run_task(task("p.a")) == 7
    assert reports == [{"event": "reported", "task": "p.a", "exit_code": 7}]


def test_a_signal_is_reported_in_words(reports: list[Any], tmp_path: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert context_of(code, reports, tmp_path).run_task(task("p.a")) == -9
    (report,) = reports
    assert report["exit_code"] == -9
    assert report["reason"].startswith("ended by SIGKILL")


@pytest.mark.parametrize("code", [0, 75])
def test_what_the_task_says_itself_is_not_reported(reports: list[Any], tmp_path: Path, code: int) -> None:
    assert context_of(f"raise SystemExit({code})", reports, tmp_path).run_task(task("p.a")) == code
    assert reports == []


def test_a_task_that_was_stopped_is_started_again_and_its_last_end_counts(reports: list[Any], tmp_path: Path) -> None:
    code = "import os; raise SystemExit(75 if os.environ['RV_ATTEMPT'] < '3' else 0)"
    assert context_of(code, reports, tmp_path, attempts_by_job={"p.a": 3}).run_task(task("p.a")) == 0
    assert context_of(code, reports, tmp_path, attempts_by_job={"p.a": 2}).run_task(task("p.a")) == 75


def test_what_requires_a_failed_job_is_not_started_nor_what_requires_that(reports: list[Any], tmp_path: Path) -> None:
    started = tmp_path / "started"
    code = f"open({str(started)!r}, 'a').write('x'); raise SystemExit(1)"
    context = context_of(code, reports, tmp_path, requires_by_job={"p.b": ("p.a",), "p.c": ("p.b",)})
    assert [context.run_task(task(job)) for job in ("p.a", "p.b", "p.c", "p.other")] == [1, 1, 1, 1]
    assert started.read_text() == "xx"
    assert [report["task"] for report in reports] == ["p.a", "p.other"]


@pytest.mark.parametrize(
    ("code", "words"), [(-15, "ended by SIGTERM"), (143, "ended by SIGTERM"), (1, ""), (255, ""), (-500, "")]
)
def test_a_signal_has_a_name(code: int, words: str) -> None:
    assert ended_by(code) == words


@pytest.mark.parametrize(
    ("verbosity", "printed"), [(0, ["careful"]), (1, ["news", "careful"]), (2, ["detail", "news", "careful"])]
)
def test_verbosity_decides_which_logs_of_libraries_are_printed(verbosity: int, printed: list[str]) -> None:
    code = (
        "from rv_core.task.log import print_library_logs\n"
        f"print_library_logs({verbosity})\n"
        "import logging\n"
        "log = logging.getLogger('some.library')\n"
        "log.debug('detail'); log.info('news'); log.warning('careful')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [line.rpartition(" ")[2] for line in done.stderr.splitlines()] == printed
