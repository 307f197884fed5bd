"""Roots that an earlier release left, in `samples`: found done, shown, and gone on with by the code of today."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.stored_roots import contents, put_in_place

SAMPLES = Path(__file__).parent / "samples"
HELLO_RUN = "20261129-021720-c4fead"
FAILED_RUN, KILLED_RUN = "20261129-021725-7be32d", "20261129-021729-fc44ca"


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    """The root of a finished run of `rv_core.hello`."""
    return put_in_place(SAMPLES / "hello-0.1", tmp_path / "hello-0.1")


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a run that was killed while item `d` of `scale` was half written."""
    root = put_in_place(SAMPLES / "steps-0.1", tmp_path / "steps-0.1")
    monkeypatch.setenv("STEPS_DATA", str(root.parent / "data"))
    return root


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def status_of(rv: Callable[..., Any], root: Path, *more: str) -> Any:
    return json.loads(succeeded(rv("status", root, "--json", *more)))


def run_copy(root: Path, run_id: str) -> Path:
    return root / ".rv" / "runs" / run_id / "pipeline-config.json"


@pytest.mark.parametrize("module", ["rv_core.hello", "the saved config"])
def test_a_finished_root_is_found_done_and_stays_as_it_is(rv: Callable[..., Any], hello: Path, module: str) -> None:
    before = contents(hello)
    words = [hello / "pipeline-config.json"]
    if module == "rv_core.hello":
        words = [module, "-a", f"root_uri={hello}", "-a", "num_items=3"]
    printed = succeeded(rv("run", "inprocess", words))
    assert "hello.cpu_task  skip  all 3 items already done" in printed
    assert "hello.gpu_task  skip  already done" in printed
    assert "Nothing to do" in printed
    assert contents(hello) == before


def test_a_finished_run_is_shown_as_done_with_its_logs(rv: Callable[..., Any], hello: Path) -> None:
    shown = status_of(rv, hello)
    assert (shown["run_id"], shown["state"], shown["runner"], shown["user"]) == (HELLO_RUN, "done", "local", "ada")
    jobs = {job["job"]: (job["state"], job["items_done"], job["items_total"]) for job in shown["jobs"]}
    assert jobs == {"hello.cpu_task": ("done", 3, 3), "hello.gpu_task": ("done", 1, 1)}
    tasks = {task["task"]: task for job in shown["jobs"] for task in job["tasks"]}
    assert list(tasks) == ["hello.cpu_task.1-of-2", "hello.cpu_task.2-of-2", "hello.gpu_task"]
    assert all(task["cpu_s"] > 0 for task in tasks.values()), "told by the event `finished` alone"
    assert succeeded(rv("logs", hello, "hello.gpu_task")) == "3 greetings\n"


@pytest.mark.parametrize("version", ["0.1.0", "0.0.7", "99.0"])
def test_a_task_reads_the_config_of_an_earlier_run_whatever_version_wrote_it(
    rv: Callable[..., Any], hello: Path, version: str
) -> None:
    config = run_copy(hello, HELLO_RUN)
    text = config.read_text()
    assert '"rv_core": "0.1.0"' in text
    config.write_text(text.replace('"rv_core": "0.1.0"', f'"rv_core": "{version}"'))
    (manifest,) = (hello / ".rv" / "done" / "gpu_task").iterdir()
    manifest.unlink()
    (hello / "gpu_task" / "summary.txt").unlink()
    greetings = {path: path.stat().st_mtime_ns for path in (hello / "cpu_task").iterdir()}
    as_the_runner = {"RV_RUN_ID": HELLO_RUN, "RV_RUN_DIR": str(config.parent), "RV_ATTEMPT": "2"}
    for command in ("cpu_task", "gpu_task"):
        succeeded(rv("run-command", config, command, "--runner", "local", env=as_the_runner))
    assert (hello / "gpu_task" / "summary.txt").read_text() == "3 greetings, GPU: none\n"
    assert manifest.exists()
    assert {path: path.stat().st_mtime_ns for path in greetings} == greetings


def test_a_run_that_failed_and_one_that_was_killed_are_told_apart(rv: Callable[..., Any], steps: Path) -> None:
    states = {run["run_id"]: run["state"] for run in status_of(rv, steps, "--all")}
    assert states == {FAILED_RUN: "failed", KILLED_RUN: "lost"}
    log = succeeded(rv("logs", steps, "steps.scale.1-of-2", "--run", FAILED_RUN))
    assert log.startswith("scaling a\nscaling b\nscaling c\n")
    assert log.endswith("RuntimeError: asked to fail on c\n")
    jobs = {job["command"]: (job["items_done"], job["items_total"]) for job in status_of(rv, steps)["jobs"]}
    assert jobs == {"read": (5, 5), "scale": (3, 5), "total": (0, 1)}


@pytest.mark.parametrize("runner", ["inprocess", "local"])
@pytest.mark.parametrize("module", ["steps.py", "root/pipeline-config.json"])
def test_a_killed_run_is_gone_on_with_where_it_stopped(
    rv: Callable[..., Any], steps: Path, runner: str, module: str
) -> None:
    if runner == "local":
        pytest.importorskip("rv_runner_local.hooks")
    before = contents(steps)
    words = ["-a", "root_uri=root"] if module == "steps.py" else []
    printed = succeeded(rv("run", runner, module, *words, cwd=steps.parent))
    assert "steps.read   skip  all 5 items already done" in printed
    assert "steps.scale  run   2 of 5 items · d, e: not done yet" in printed
    check_the_end(steps, before)
    assert "Nothing to do" in succeeded(rv("run", runner, module, *words, cwd=steps.parent))


def test_a_killed_run_is_finished_by_the_makefile_that_it_left(rv: Callable[..., Any], steps: Path) -> None:
    before = contents(steps)
    makefile = run_copy(steps, KILLED_RUN).with_name("Makefile")
    done = subprocess.run(["make", "-j2", "-f", makefile, "all"], check=False, capture_output=True, text=True)
    succeeded(done)
    check_the_end(steps, before)
    shown = status_of(rv, steps)
    assert (shown["run_id"], shown["state"]) == (KILLED_RUN, "done")
    printed = succeeded(rv("run", "inprocess", "steps.py", "-a", "root_uri=root", cwd=steps.parent))
    assert "Nothing to do" in printed


def check_the_end(root: Path, before: dict[str, bytes]) -> None:
    """What was missing is there under the keys that the run had planned, and nothing that was done has changed."""
    after = contents(root)
    done = {name for name in before if name.startswith((".rv/done/", "read/", "scale/"))} - {"scale/d.txt"}
    assert {name: after[name] for name in done} == {name: before[name] for name in done}
    assert after["total/total.txt"] == b"total: 165\n"
    items = run_copy(root, KILLED_RUN).parent / "items"
    planned = {
        f".rv/done/{command}/{item['id']}.{item['key']}.json"
        for command in ("read", "scale", "total")
        for record in [json.loads((items / f"steps.{command}.json").read_text())]
        for item in [*record["items"], *record["done"]]
    }
    assert {name for name in after if name.startswith(".rv/done/")} == planned
