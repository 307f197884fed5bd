"""Several pipelines in one run: what is equal is done once, by the first of them, and put under every root."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rv_core.cli.app import main
from rv_core.plan.manifests import Manifest

SWEEP = """
from dataclasses import dataclass
from rv_core.hello import HelloConfig, HelloPipeline


@dataclass(kw_only=True)
class OtherConfig(HelloConfig):
    def build(self):
        return HelloPipeline(self)


def get_configs(runner: str, root: str, fail_on: str = "", counts: str = "3,4,4", is_other: bool = False):
    classes = [HelloConfig, OtherConfig if is_other else HelloConfig, HelloConfig]
    return [
        classes[i](root_uri=f"{root}/r{i}", name=f"r{i}", num_items=int(count), fail_on=fail_on)
        for i, count in enumerate(counts.split(","))
    ]
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    (tmp_path / "sweep.py").write_text(SWEEP)

    def run(*words: str, runner: str = "inprocess") -> tuple[int, str, str]:
        code = main(["run", runner, str(tmp_path / "sweep.py"), "-a", f"root={tmp_path}", *words])
        return code, *capsys.readouterr()

    return run


def made_and_taken(root: Path) -> tuple[set[str], dict[str, str]]:
    """What was made in a root, and from where the rest comes."""
    texts = (path.read_bytes() for path in (root / ".rv" / "done").rglob("*.json"))
    manifests = [Manifest.from_text(text) for text in texts]
    taken = {m.item: Path(m.taken_from).name for m in manifests if m.taken_from}
    return {m.item for m in manifests if not m.taken_from}, taken


def test_equal_work_of_one_run_is_done_once(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("-s", "2")
    assert code == 0
    assert "r0.cpu_task  run   3 of 3 items in 2 tasks" in out
    assert f"also for {tmp_path}/r1, {tmp_path}/r2" in out
    assert "r1.cpu_task  run   1 of 4 items · item-3: not done yet" in out
    assert "r2.gpu_task  take  done by r1.gpu_task" in out
    assert "done: 6 of 14 items, 8 were shared with another pipeline of this run" in out
    first, second = dict.fromkeys(("item-0", "item-1", "item-2"), "r0"), {"item-3": "r1", "all": "r1"}
    assert made_and_taken(tmp_path / "r0") == ({*first, "all"}, {})
    assert made_and_taken(tmp_path / "r1") == ({"item-3", "all"}, first)
    assert made_and_taken(tmp_path / "r2") == (set(), first | second)
    for number in range(3):
        assert main(["status", str(tmp_path / f"r{number}"), "--verify"]) == 0
    capsys.readouterr()
    assert main(["status", str(tmp_path / "r2"), "--json"]) == 0
    jobs = {job["job"]: job for job in json.loads(capsys.readouterr().out)["jobs"]}
    assert (jobs["r2.gpu_task"]["state"], jobs["r2.gpu_task"]["reason"]) == ("skipped", "done by r1.gpu_task")
    assert jobs["r1.cpu_task"]["reason"] == "3 done by r0.cpu_task"
    assert main(["logs", str(tmp_path / "r0"), "gpu_task"]) == 2  # two pipelines have a job of this name
    assert "'gpu_task' stands for 2 tasks" in capsys.readouterr().err


def test_the_plan_orders_every_job_after_those_that_do_what_it_requires(run: Run) -> None:
    code, out, _ = run("--dry-run", "--json")
    assert code == 0
    plan = json.loads(out)
    assert {job["id"]: job["requires"] for job in plan["jobs"]} == {
        "r0.cpu_task": [],
        "r0.gpu_task": ["r0.cpu_task"],
        "r1.cpu_task": [],
        "r1.gpu_task": ["r0.cpu_task", "r1.cpu_task"],
    }
    tasks = [item for job in plan["jobs"] for task in job["tasks"] for item in task["items"]]
    assert Counter(tasks) == {"item-0": 1, "item-1": 1, "item-2": 1, "item-3": 1, "all": 2}
    entry = plan["pipelines"]["r2"]["commands"][0]
    assert (entry["decision"], entry["num_to_do"], entry["shared"]) == (
        "shared",
        0,
        {"r0.cpu_task": 3, "r1.cpu_task": 1},
    )


def test_what_the_first_one_fails_at_keeps_the_others_and_is_told(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run("-a", "fail_on=item-2", "--keep-going")
    assert code == 1
    assert "not started: r0.gpu_task, r1.gpu_task" in err
    assert "6 of 14 items are not done" in err
    assert main(["status", str(tmp_path / "r2")]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "r1.gpu_task waiting 0/1 did not start: r0.cpu_task is not done (failed)" in lines
    assert "r2.cpu_task failed 3/4 done by r0.cpu_task, r1.cpu_task" in lines
    assert made_and_taken(tmp_path / "r2") == (set(), {"item-0": "r0", "item-1": "r0", "item-3": "r1"})


def test_what_one_root_of_the_run_has_done_the_others_take(tmp_path: Path, run: Run) -> None:
    assert run("-a", "counts=4")[0] == 0
    code, out, _ = run("-a", "counts=4,4")
    assert code == 0
    assert f"r1.cpu_task  take  taken from {tmp_path}/r0 (all 4 items)" in out
    shutil.rmtree(tmp_path / "r0")
    code, out, _ = run("-a", "counts=4,4")
    assert f"r0.cpu_task  take  taken from {tmp_path}/r1 (all 4 items)" in out
    assert run("-a", "counts=4,4", "--rerun")[0] == 0
    assert made_and_taken(tmp_path / "r1") == (set(), {**{f"item-{n}": "r0" for n in range(4)}, "all": "r0"})


def test_a_task_that_starts_again_gives_what_it_had_done_but_not_given(tmp_path: Path, run: Run, rv: Any) -> None:
    assert run("-a", "counts=2,2", runner="local")[0] == 0
    shutil.rmtree(tmp_path / "r1" / ".rv" / "done" / "cpu_task")
    shutil.rmtree(tmp_path / "r1" / "cpu_task")
    (record,) = (tmp_path / "r0" / ".rv" / "runs").iterdir()
    done = rv("run-command", record / "pipeline-config.json", "cpu_task")
    assert done.returncode == 0, done.stderr
    assert made_and_taken(tmp_path / "r1")[1] == {"item-0": "r0", "item-1": "r0", "all": "r0"}
    assert (tmp_path / "r1" / "cpu_task" / "item-1.txt").read_text() == "hello item-1\n"
    assert not (tmp_path / "r1" / ".rv" / "active-run.json").exists()


def test_the_work_of_another_kind_of_pipeline_is_not_equal(run: Run) -> None:
    _, out, _ = run("-a", "counts=2,2", "-a", "is_other=true", "--dry-run")
    assert "done by" not in out
    assert "r1.cpu_task  run   2 of 2 items" in out
