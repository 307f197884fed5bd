"""Whole runs with `rv run local`: real make, real tasks, real signals."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rv_runner_local.hooks")
from rv_core.machine.process_table import processes_of_run

PROBE = Path(__file__).with_name("probe_pipeline.py")
HELLO = "rv_core.hello"

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="finds processes by their environment in /proc")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH on which there is everything but make and Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "sleep", "env", "ps"):
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    return folder


def run_ids(root: Path) -> list[str]:
    return sorted(path.parent.name for path in root.glob(".rv/runs/*/run.json"))


def events(root: Path, run_id: str = "*") -> dict[str, list[dict[str, Any]]]:
    """Events of all task attempts, by file name."""
    files = [path for path in root.glob(f".rv/runs/{run_id}/events/*.jsonl") if path.stem != "submission"]
    return {path.stem: [json.loads(line) for line in path.read_text().splitlines()] for path in files}


def notes(root: Path, command: str) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in (root / command).glob("*.json")}


def most_at_once(intervals: list[tuple[float, float]]) -> int:
    changes = sorted([(start, 1) for start, _ in intervals] + [(end, -1) for _, end in intervals])
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most


def wait_until(look: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def makefile(root: Path, run_id: str) -> Path:
    return root / ".rv" / "runs" / run_id / "Makefile"


def test_64_splits_run_three_at_a_time_and_all_end(rv: Any, root: Path) -> None:
    done = rv("run", "local", HELLO, "-a", "root_uri", root, "-a", "num_items", 64, "-s", 64, "--jobs", 3)

    assert done.returncode == 0, done.stderr
    assert (root / "gpu_task" / "summary.txt").read_text().startswith("64 greetings")
    tasks = {name: lines for name, lines in events(root).items() if ".cpu_task." in name}
    assert len(tasks) == 64
    assert len({lines[0]["pid"] for lines in tasks.values()}) == 64
    intervals = [(timestamp(lines[0]["time"]), timestamp(lines[-1]["time"])) for lines in tasks.values()]
    assert most_at_once(intervals) <= 3


def timestamp(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    "name",
    ["a b'c\"d", "x$HOME;echo pwned#$(touch pwned)", "100% é日本 `touch pwned` & (x)*?[!a] ~\\"],
    ids=["blank and quotes", "dollar, semicolon and hash", "percent, letters of other scripts and globs"],
)
def test_any_folder_name_works_and_the_makefile_runs_again_anywhere(rv: Any, tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    done = rv("run", "local", HELLO, "-a", "root_uri", root, "--splits", 2)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (root / "gpu_task" / "summary.txt").read_text().startswith("4 greetings")
    (run_id,) = run_ids(root)
    before = (root / "gpu_task" / "summary.txt").stat().st_mtime_ns

    again = subprocess.run(
        ["make", "-f", str(makefile(root, run_id)), "-j2"], cwd="/", capture_output=True, check=False
    )

    assert again.returncode == 0, again.stderr
    assert (root / "gpu_task" / "summary.txt").stat().st_mtime_ns == before
    assert not list(tmp_path.rglob("pwned"))


@pytest.fixture
def slow_run(rv: Any, root: Path) -> Iterator[tuple[subprocess.Popen[str], str, list[Any]]]:
    """A run of six items of 0.4 s each in two splits, with two items done; (process, run id, its command line)."""
    words = ["run", "local", HELLO, "-a", "root_uri", root, "-a", "num_items", 6, "-a", "sleep_s", 0.4, "-s", 2]
    process = rv.start(*words, "--jobs", 2)
    wait_until(lambda: len(list((root / ".rv" / "done" / "cpu_task").glob("*.json"))) >= 2)
    (run_id,) = run_ids(root)
    yield process, run_id, words
    for pid in processes_of_run(run_id):
        os.kill(pid, signal.SIGKILL)


def finished_items(root: Path) -> dict[str, int]:
    done = (root / ".rv" / "done" / "cpu_task").glob("*.json")
    items = [path.name.split(".")[0] for path in done]
    return {item: (root / "cpu_task" / f"{item}.txt").stat().st_mtime_ns for item in items}


@linux_only
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("resume", ["the same command", "make"])
def test_a_run_that_was_ended_leaves_no_process_and_goes_on(
    rv: Any, root: Path, slow_run: Any, signum: signal.Signals, resume: str
) -> None:
    process, run_id, words = slow_run
    assert len(processes_of_run(run_id)) >= 3  # make and two tasks

    process.send_signal(signum)

    out, err = process.communicate(timeout=20)
    assert process.returncode == (-signal.SIGKILL if signum == signal.SIGKILL else 130), out + err
    wait_until(lambda: not processes_of_run(run_id), timeout_s=8)
    last_events = {name: lines[-1]["event"] for name, lines in events(root).items() if lines}
    assert set(last_events.values()) <= {"stopped", "finished"}, last_events
    kept = finished_items(root)
    assert 2 <= len(kept) < 6
    if resume == "make":
        argv = ["make", "-f", str(makefile(root, run_id)), "-j2"]
        assert subprocess.run(argv, cwd="/", check=False, timeout=60).returncode == 0
    else:
        done = rv(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (root / "gpu_task" / "summary.txt").read_text().startswith("6 greetings")
    assert {item: time_ns for item, time_ns in finished_items(root).items() if item in kept} == kept


def test_a_failure_names_the_task_its_exit_code_and_its_last_lines(rv: Any, root: Path) -> None:
    done = rv("run", "local", HELLO, "-a", "root_uri", root, "-a", "fail_on", "item-1", "-s", 4, "--jobs", 2)

    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "hello.cpu_task.2-of-4" in said
    assert "asked to fail on item-1" in said
    assert "make: ***" not in said
    assert not (root / "gpu_task").exists()


def test_with_keep_going_the_others_end_first(rv: Any, root: Path) -> None:
    words = ("-a", "root_uri", root, "-a", "fail_on", "item-0", "-s", 4, "--jobs", 1, "--keep-going")
    assert rv("run", "local", HELLO, *words).returncode == 1
    assert sorted(finished_items(root)) == ["item-1", "item-2", "item-3"]


def test_no_make_exits_with_3_and_says_how_to_install_it(rv: Any, root: Path, tools: Path) -> None:
    done = rv("run", "local", HELLO, "-a", "root_uri", root, env={"PATH": str(tools)})
    assert done.returncode == 3
    assert "apt install make" in done.stderr
    assert "Traceback" not in done.stderr
    assert not root.exists()


def test_tasks_use_this_interpreter_whatever_is_on_the_path(rv: Any, root: Path, tools: Path) -> None:
    make = shutil.which("make")
    assert make
    (tools / "make").symlink_to(make)
    done = rv("run", "local", HELLO, "-a", "root_uri", root, env={"PATH": str(tools), "MAKEFLAGS": "-n"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert (root / "gpu_task" / "summary.txt").exists()


def test_the_setting_names_the_make(rv: Any, root: Path) -> None:
    done = rv("run", "local", HELLO, "-a", "root_uri", root, env={"RV_LOCAL_MAKE": "/no/such/make"})
    assert done.returncode == 3
    assert "/no/such/make" in done.stderr


def test_two_pipelines_of_one_module_run_at_the_same_time(rv: Any, root: Path) -> None:
    arguments = ("-a", "root_uri", root, "-a", "pipelines", 2, "-a", "num_items", 1, "-a", "sleep_s", 0.8)
    done = rv("run", "local", PROBE, *arguments, "--jobs", 2)

    assert done.returncode == 0, done.stdout + done.stderr
    first, second = (notes(root / f"p{number}", "look")["i0"] for number in range(2))
    assert first["start"] < second["end"]
    assert second["start"] < first["end"]
    assert len(list(root.glob("*/.rv/runs/*/Makefile"))) == 1


def test_gpu_tasks_hold_one_device_each_and_all_devices_are_used(rv: Any, root: Path) -> None:
    arguments = ("-a", "root_uri", root, "-a", "num_items", 6, "-a", "sleep_s", 0.15, "-s", 6, "--jobs", 4)
    done = rv("run", "local", PROBE, *arguments, env={"RV_GPUS": "0,1"})

    assert done.returncode == 0, done.stdout + done.stderr
    held = notes(root, "compute").values()
    assert {note["gpu"] for note in held} == {"0", "1"}
    for device in ("0", "1"):
        assert most_at_once([(note["start"], note["end"]) for note in held if note["gpu"] == device]) == 1


@pytest.mark.parametrize(
    "where",
    ["project", pytest.param("profile", marks=pytest.mark.slow), pytest.param("environment", marks=pytest.mark.slow)],
)
def test_the_settings_of_runs_hold_wherever_they_are_set(rv: Any, root: Path, tmp_path: Path, where: str) -> None:
    environ, words = {}, ()
    if where == "environment":
        environ = {"RV_RUN_JOBS": "1", "RV_RUN_GPUS": "3,5"}
    elif where == "project":
        (tmp_path / "rv.toml").write_text('[run]\njobs = 1\ngpus = "3,5"\n')
    else:
        environ, words = {"RV_CONFIG_DIR": str(tmp_path)}, ("--profile", "lab")
        (tmp_path / "lab.toml").write_text('[run]\njobs = 1\ngpus = "3,5"\n')
    arguments = ("-a", "root_uri", root, "-a", "num_items", 4, "-a", "sleep_s", 0.15, "-s", 4)
    done = rv(*words, "run", "local", PROBE, *arguments, env=environ)

    assert done.returncode == 0, done.stdout + done.stderr
    held = notes(root, "compute").values()
    assert most_at_once([(note["start"], note["end"]) for note in held]) == 1
    assert {note["gpu"] for note in held} <= {"3", "5"}
    (record,) = root.glob(".rv/runs/*/run.json")
    assert json.loads(record.read_text())["settings"]["run"] == {"jobs": 1, "grace_s": None, "gpus": "3,5"}


def test_split_tasks_share_the_cores_and_a_single_one_has_them_all(rv: Any, root: Path) -> None:
    done = rv("run", "local", PROBE, "-a", "root_uri", root, "-s", 4, "--jobs", 2)
    assert done.returncode == 0, done.stdout + done.stderr
    cores = len(os.sched_getaffinity(0))
    assert {note["threads"] for note in notes(root, "look").values()} == {str(max(1, cores // 2))}
    assert {note["threads"] for note in notes(root, "finish").values()} == {str(cores)}


def test_a_killed_task_with_an_attempt_left_is_started_again(rv: Any, root: Path, tmp_path: Path) -> None:
    done = rv("run", "local", PROBE, "-a", "root_uri", root, "-a", "dies_once", tmp_path / "flag", "--jobs", 1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {note["attempt"] for note in notes(root, "look").values()} == {"2"}
    assert {"probe0.look.1", "probe0.look.2"} <= set(events(root))


def test_dry_run_prints_a_makefile_that_make_accepts(rv: Any, root: Path, tmp_path: Path, tools: Path) -> None:
    many = ("-a", "num_items", 1000, "-s", 1000)
    done = rv("run", "local", HELLO, "-a", "root_uri", root, *many, "--dry-run", env={"PATH": str(tools)})
    assert done.returncode == 0, done.stderr
    text = done.stdout[done.stdout.index("# Written by rv") :]
    (tmp_path / "M").write_text(text)
    made = subprocess.run(["make", "-n", "-f", str(tmp_path / "M")], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert made.stdout.count("run-command") == 1001
    assert "hello.cpu_task.1000-of-1000" in text
    assert not root.exists()
