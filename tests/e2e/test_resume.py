"""What is redone and what is not, after a change, a crash, or with another number of splits; the real CLI throughout."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

MODULE = str(Path(__file__).with_name("copy_pipeline.py"))
NAMES = ("a", "b", "c", "d")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.in").write_text(f"text of {name}")
    return folder


@pytest.fixture(params=["inprocess", "local"])
def runner(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "local":
        pytest.importorskip("rv_runner_local.hooks")
    yield request.param


def command_line(runner: str, data: Path, *more: str) -> list[str]:
    root = data.parent / "root"
    return [
        sys.executable,
        "-m",
        "rv_core",
        "run",
        runner,
        MODULE,
        "-a",
        "data",
        str(data),
        "-a",
        f"root_uri={root}",
        *more,
    ]


def run(runner: str, data: Path, *more: str, code: int = 0) -> str:
    done = subprocess.run(command_line(runner, data, *more), check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def joined(data: Path) -> str:
    return (data.parent / "root" / "join" / "all.txt").read_text()


def expected(prefix: str = "A", suffix: str = ".", **texts: str) -> str:
    return suffix.join(f"{prefix}:{texts.get(name, f'text of {name}')}" for name in NAMES)


def test_a_second_run_does_nothing_and_says_why(runner: str, data: Path) -> None:
    run(runner, data, "--splits", "2")
    assert joined(data) == expected()
    again = run(runner, data, "--splits", "3")
    assert "skip  all 4 items already done" in again
    assert "Nothing to do" in again


def test_a_changed_field_reruns_only_what_reads_it(runner: str, data: Path) -> None:
    run(runner, data)
    output = run(runner, data, "-a", "suffix=/")
    assert "copies.copy  skip" in output
    assert 'suffix "." → "/"' in output
    assert joined(data) == expected(suffix="/")


def test_a_changed_input_reruns_its_item_alone(runner: str, data: Path) -> None:
    run(runner, data)
    before = (data.parent / "root" / "copy" / "a.txt").stat().st_mtime_ns
    (data / "b.in").write_text("another b text")
    output = run(runner, data, "--splits", "4")
    assert "1 of 4 items · b: b.in changed" in output
    assert joined(data) == expected(b="another b text")
    assert (data.parent / "root" / "copy" / "a.txt").stat().st_mtime_ns == before


def test_touching_an_input_reruns_nothing(data: Path) -> None:
    run("inprocess", data)
    os.utime(data / "c.in", (1, 1))
    assert "Nothing to do" in run("inprocess", data)


def test_a_deleted_output_is_made_again(data: Path) -> None:
    run("inprocess", data)
    (data.parent / "root" / "copy" / "d.txt").unlink()
    assert "d: copy/d.txt is missing" in run("inprocess", data)
    assert "Nothing to do" in run("inprocess", data)


def test_rerun_runs_again_what_is_done(data: Path) -> None:
    run("inprocess", data)
    output = run("inprocess", data, "join", "--rerun")
    assert "asked for by --rerun" in output
    assert "joined 4" in output
    assert "copies.copy" not in output


def test_after_a_half_written_other_config_the_first_one_is_not_taken_for_done(data: Path) -> None:
    """Run A, change to B, kill it while an item is half written, back to A: never a result of B."""
    run("inprocess", data)
    process = start("inprocess", data, "-a", "prefix=B", "-a", "sleep_s=30")
    wait_for(lambda: (data.parent / "root" / "copy" / "a.txt").read_text().startswith("B"))
    process.kill()
    process.wait()
    output = run("inprocess", data)
    assert "a: " in output
    assert joined(data) == expected()
    assert "Nothing to do" in run("inprocess", data)


def test_killed_at_random_moments_the_same_command_finishes(runner: str, data: Path) -> None:
    chance = random.Random(7)
    for _ in range(4):
        process = start(runner, data, "--splits", "2", "-a", "sleep_s=0.15")
        time.sleep(chance.uniform(0.3, 1.5))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kill_stragglers(data)
    run(runner, data, "--splits", "3", "-a", "sleep_s=0.15")
    assert joined(data) == expected()
    left = [p.name for p in (data.parent / "root").rglob("*.tmp")]
    assert left == []


def test_a_run_that_is_going_on_is_not_joined_by_a_second_one(data: Path) -> None:
    process = start("inprocess", data, "-a", "sleep_s=30")
    wait_for((data.parent / "root" / ".rv" / "active-run.json").exists)
    output = run("inprocess", data, code=2)
    assert "is still going on here" in output
    assert f"process {process.pid}" in output
    output = run("inprocess", data, "--take-over")
    assert joined(data) == expected()
    assert process.wait(10) == 130


def test_an_interrupted_run_keeps_what_is_done(runner: str, data: Path) -> None:
    process = start(runner, data, "-a", "sleep_s=0.4")
    done = data.parent / "root" / ".rv" / "done" / "copy"
    wait_for(lambda: done.exists() and any(not path.name.startswith(".") for path in done.iterdir()))
    process.send_signal(signal.SIGINT)
    assert process.wait(15) == 130
    output = run(runner, data, "-a", "sleep_s=0.4")
    assert "of 4 items" in output
    assert "4 of 4 items" not in output
    assert joined(data) == expected()


def test_the_saved_config_alone_is_enough_for_a_task(data: Path, tmp_path: Path) -> None:
    run("inprocess", data)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (data.parent / "root" / "copy" / "a.txt").unlink()
    config = str(data.parent / "root" / "pipeline-config.json")
    done = subprocess.run(
        [sys.executable, "-m", "rv_core", "run_command", config, "copy"],
        cwd=elsewhere,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (data.parent / "root" / "copy" / "a.txt").exists()


def test_a_task_refuses_to_start_before_what_it_requires(data: Path) -> None:
    run("inprocess", data)
    for manifest in (data.parent / "root" / ".rv" / "done" / "copy").glob("b.*"):
        manifest.unlink()
    config = str(data.parent / "root" / "pipeline-config.json")
    done = subprocess.run(
        [sys.executable, "-m", "rv_core", "run-command", config, "join"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "join cannot start: copies.copy is not done for b" in done.stderr


def test_the_record_of_a_run_names_who_what_and_when(data: Path) -> None:
    run("inprocess", data)
    runs = list((data.parent / "root" / ".rv" / "runs").iterdir())
    assert len(runs) == 1
    record = json.loads((runs[0] / "run.json").read_text())
    assert record["runner"] == "inprocess"
    assert record["pipelines"] == [{"name": "copies", "root_uri": str(data.parent / "root")}]
    assert {"python", "rv-core", "marshmallow"} <= set(record["versions"])  # the needs of plugins, torch, likewise
    items = json.loads((runs[0] / "items" / "copies.copy.json").read_text())
    assert [item["id"] for item in items["items"]] == list(NAMES)
    manifest = json.loads(next((data.parent / "root" / ".rv" / "done" / "copy").glob("a.*.json")).read_text())
    assert [output["path"] for output in manifest["outputs"]] == ["copy/a.txt", "copy/a.second.txt"]
    assert manifest["counts"] == {"letters": 9}


def start(runner: str, data: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command_line(runner, data, *more),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def kill_stragglers(data: Path) -> None:
    """KILL whatever of the run is left, as a crash of the machine would."""
    from rv_core.machine.process_table import processes_of_run

    for run_dir in (data.parent / "root" / ".rv" / "runs").glob("*"):
        for pid in processes_of_run(run_dir.name):
            os.kill(pid, signal.SIGKILL)


def wait_for(condition: object, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
