"""What was planned is what is run: other runs, other tasks and changed inputs between the plan and the work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rv_core.record.layout import MARKER
from rv_core.record.marker import this_process_marker

MODULE = str(Path(__file__).with_name("held_pipeline.py"))
PROJECT = str(Path(__file__).parents[2])
NAMES = "abcd"


class Copies:
    """Runs of the copying pipeline, all under one root."""

    def __init__(self, folder: Path) -> None:
        self.data, self.root = folder / "data", folder / "root"
        self.planned, self.go = folder / "planned", folder / "go"
        self._started: list[subprocess.Popen[str]] = []
        self.data.mkdir()
        for name in NAMES:
            self.put(name, f"text of {name}")

    def put(self, name: str, text: str) -> None:
        """Write an input and give it times of long ago, as one that comes from an archive."""
        path = self.data / f"{name}.in"
        path.write_text(text)
        os.utime(path, (1_700_000_000, 1_700_000_000))

    def start(self, *words: str, held: bool = False) -> subprocess.Popen[str]:
        """Start `rv run`; one that is held has made its plan when this returns, and goes on with `release`."""
        environ = {**os.environ, "PYTHONPATH": PROJECT}
        if held:
            environ |= {"PLANNED": str(self.planned), "GO": str(self.go)}
        where = ["-a", f"data={self.data}", "-a", f"root_uri={self.root}"]
        argv = [sys.executable, "-m", "rv_core", "run", "inprocess", MODULE, *where, *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        process = subprocess.Popen(argv, env=environ, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload]
        self._started.append(process)
        if held:
            wait_for(self.planned.exists)
        return process  # type: ignore[no-any-return]

    def also_end(self, process: subprocess.Popen[str]) -> None:
        """End a process with the test, too."""
        self._started.append(process)

    def run(self, *words: str, code: int = 0) -> str:
        """What a run that ends with this exit code says."""
        return self.end(self.start(*words), code)

    def release(self, process: subprocess.Popen[str], code: int = 0) -> str:
        """Let a run that is held go on to its end."""
        self.go.touch()
        return self.end(process, code)

    def end(self, process: subprocess.Popen[str], code: int) -> str:
        said = process.communicate(timeout=90)[0]
        assert process.returncode == code, said
        return said

    def joined(self) -> str:
        return (self.root / "join" / "all.txt").read_text()

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def copies(tmp_path: Path) -> Iterator[Copies]:
    made = Copies(tmp_path)
    yield made
    made.close()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def text(prefix: str = "A", suffix: str = ".") -> str:
    return suffix.join(f"{prefix}:text of {name}" for name in NAMES)


def test_a_run_that_ended_between_plan_and_start_is_planned_with(copies: Copies) -> None:
    copies.run()
    held = copies.start("-a", "suffix=/", held=True)  # only the join is to be done
    copies.run("-a", "prefix=B")
    assert copies.joined() == text("B")
    said = copies.release(held)
    assert "planned again, as another run was at work here meanwhile" in said
    assert copies.joined() == text(suffix="/")
    assert "Nothing to do" in copies.run("-a", "suffix=/")


def test_what_another_run_has_done_meanwhile_is_not_done_again(copies: Copies) -> None:
    held = copies.start(held=True)
    copies.run()
    before = (copies.root / "copy" / "a.txt").stat().st_mtime_ns
    assert "Nothing to do" in copies.release(held)
    assert (copies.root / "copy" / "a.txt").stat().st_mtime_ns == before
    assert not (copies.root / MARKER).exists()


def test_what_is_planned_over_a_run_that_is_taken_over_is_planned_after_its_end(copies: Copies) -> None:
    copies.run()
    other = copies.start("-a", "prefix=B", "-a", "sleep_s=3")
    wait_for((copies.root / MARKER).exists)
    held = copies.start("-a", "suffix=/", "--take-over", held=True)
    wait_for(lambda: (copies.root / "copy" / "b.txt").read_text().startswith("B"))
    copies.release(held)
    assert copies.joined() == text(suffix="/")
    assert other.wait(20) == 130


def test_nothing_is_called_done_while_another_run_has_the_root(copies: Copies) -> None:
    copies.run()
    marker = copies.root / MARKER
    marker.write_text(this_process_marker("20261118-110640-abc123", "inprocess", detached=False).to_text())
    said = copies.run(code=2)
    assert "run 20261118-110640-abc123 is still going on here" in said
    marker.unlink()
    assert "Nothing to do" in copies.run()


def test_a_run_that_died_is_cleared_away_before_nothing_is_called_done(copies: Copies) -> None:
    copies.run()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    mine = this_process_marker("20261118-110640-abc123", "inprocess", detached=False)
    (copies.root / MARKER).write_text(mine.to_text().replace(f'"pid": {os.getpid()}', f'"pid": {gone.pid}'))
    assert "Nothing to do" in copies.run()
    assert not (copies.root / MARKER).exists()


def test_a_task_that_is_started_by_hand_does_not_work_beside_a_run(copies: Copies) -> None:
    copies.run()
    (copies.root / "copy" / "a.txt").write_text("cut")
    (copies.root / MARKER).write_text(this_process_marker("other", "inprocess", detached=False).to_text())
    (run_id,) = os.listdir(copies.root / ".rv" / "runs")
    for config in ("pipeline-config.json", f".rv/runs/{run_id}/pipeline-config.json"):
        argv = [sys.executable, "-m", "rv_core", "run-command", str(copies.root / config), "copy"]
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": PROJECT}
        )
        assert done.returncode == 2, done.stdout + done.stderr
        assert "run other is still going on here" in done.stdout + done.stderr
        assert "--take-over" not in done.stdout + done.stderr
    assert (copies.root / "copy" / "a.txt").read_text() == "cut"


def task_by_hand(copies: Copies) -> subprocess.Popen[str]:
    """The task `copy` of the only run, started by hand and stopped between the two outputs of `a`, which were cut."""
    first = copies.root / "copy" / "a.txt"
    first.write_text("cut")
    (run_id,) = os.listdir(copies.root / ".rv" / "runs")
    config = copies.root / ".rv" / "runs" / run_id / "pipeline-config.json"
    argv = [sys.executable, "-m", "rv_core", "run-command", str(config), "copy"]
    environ = {**os.environ, "PYTHONPATH": PROJECT}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    task = subprocess.Popen(argv, env=environ, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload]
    copies.also_end(task)
    wait_for((copies.root / MARKER).exists)
    # Before that it may be stopped on the last step of a write, which nothing takes back.
    wait_for(lambda: first.read_text() != "cut")
    task.send_signal(signal.SIGSTOP)
    return task


def test_a_task_that_is_started_by_hand_keeps_the_root_while_it_works(copies: Copies) -> None:
    copies.run("-a", "sleep_s=0.5")
    task = task_by_hand(copies)
    assert f"process {task.pid} on" in copies.run("-a", "prefix=B", code=2)
    task.send_signal(signal.SIGCONT)
    out, _ = task.communicate(timeout=60)
    assert task.returncode == 0, out
    assert not (copies.root / MARKER).exists()
    assert (copies.root / "copy" / "a.txt").read_text() == "A:text of a"
    copies.run("-a", "prefix=B")


def test_a_task_that_has_lost_the_root_to_a_run_that_is_over_writes_nothing_more(copies: Copies) -> None:
    copies.run("-a", "sleep_s=0.5")
    task = task_by_hand(copies)
    (copies.root / MARKER).unlink()
    copies.run("-a", "prefix=B", "-a", "sleep_s=0")
    before = {path: path.stat().st_mtime_ns for path in (copies.root / "copy").iterdir()}
    task.send_signal(signal.SIGCONT)
    out, _ = task.communicate(timeout=60)
    assert task.returncode == 2, out
    assert "has worked here since this task began" in out
    assert {path: path.stat().st_mtime_ns for path in (copies.root / "copy").iterdir()} == before


def test_an_input_that_is_another_one_than_at_plan_time_is_not_worked_with(copies: Copies) -> None:
    held = copies.start(held=True)
    copies.put("b", "TEXT OF B")  # of the same size, with the same time
    assert "b.in has changed since the run was planned" in copies.release(held, code=1)
    copies.put("b", "text of b")
    copies.run()
    assert copies.joined() == text()


def test_an_input_that_is_replaced_while_a_task_works_with_it_is_told(copies: Copies) -> None:
    process = copies.start("-a", "sleep_s=2")
    wait_for((copies.root / "copy" / "a.txt").exists)
    (copies.data / "a.in").write_text("text of a")  # the same again, as from a second download
    assert "a.in was replaced while the task worked with it" in copies.end(process, 1)
    assert not list((copies.root / ".rv").glob("done/copy/a.*"))


def test_a_new_mode_or_link_of_an_input_does_not_disturb(copies: Copies) -> None:
    process = copies.start("-a", "sleep_s=0.5")
    wait_for((copies.root / "copy" / "a.txt").exists)
    (copies.data / "a.in").chmod(0o600)
    os.link(copies.data / "b.in", copies.data / "b.backup")
    copies.end(process, 0)
    assert copies.joined() == text()
