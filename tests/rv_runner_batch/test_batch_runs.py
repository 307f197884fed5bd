"""Whole runs on a local AWS Batch: what is submitted, how it ends, and what status and logs say of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.rv_runner_batch.conftest import Cloud, Gate

pytestmark = pytest.mark.s3
Rv = Callable[..., tuple[int, str, str]]
HELLO = "rv_core.hello"


def run_id_of(out: str) -> str:
    return next(line.split()[1] for line in out.splitlines() if line.startswith("run "))


def status_of(rv_here: Rv, root: str) -> dict[str, Any]:
    return dict(json.loads(rv_here("status", root, "--json")[1]))


def tasks_of(status: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {task["task"]: task for job in status["jobs"] for task in job["tasks"]}


def test_a_run_is_submitted_waited_for_and_done(cloud: Cloud, rv_here: Rv) -> None:
    root, before = cloud.new_root(), len(cloud.batch.jobs())
    code, out, err = rv_here("run", "batch", HELLO, "-a", "root_uri", root, "--splits", "3", "--wait")
    assert code == 0, err
    run_id = run_id_of(out)
    assert out.splitlines()[-1] == f"done: 5 items; results are under {root}"
    cpu, gpu = cloud.jobs_since(before)
    assert cpu["jobName"] == f"rv-{run_id}-hello-cpu_task"
    assert (cpu["jobQueue"].rpartition("/")[2], cpu["arrayProperties"]["size"]) == ("rv-cpu", 3)
    assert (gpu["jobQueue"].rpartition("/")[2], gpu["dependsOn"]) == ("rv-gpu", [{"jobId": cpu["jobId"]}])
    config = f"{root}/.rv/runs/{run_id}/pipeline-config.json"
    command = ["rv", "run-command", config, "cpu_task", "--runner", "batch"]
    assert cpu["container"]["command"] == [*command, "--num-splits", "3"]
    assert cloud.text(f"{root}/cpu_task/item-3.txt") == "hello item-3\n"
    assert cloud.text(f"{root}/gpu_task/summary.txt").startswith("4 greetings")
    assert f".rv/runs/{run_id}/logs/hello.gpu_task.1.log" in cloud.keys(root)
    assert not cloud.is_taken(root)
    events = [json.loads(line) for line in cloud.text(f"{root}/.rv/runs/{run_id}/events/submission.jsonl").splitlines()]
    submitted = {event["job"]: event["native_id"] for event in events if event["event"] == "submitted"}
    assert submitted == {"hello.cpu_task": cpu["jobId"], "hello.gpu_task": gpu["jobId"]}
    assert events[-1]["event"] == "run_finished"
    record = json.loads(cloud.text(f"{root}/.rv/runs/{run_id}/run.json"))
    assert record["settings"]["batch"]["region"] == "us-east-1"
    assert not any("AWS_SECRET" in json.dumps(job["container"]) for job in (cpu, gpu))
    state = status_of(rv_here, root)
    assert (state["state"], {task["state"] for task in tasks_of(state).values()}) == ("done", {"done"})


def test_a_root_is_the_same_with_slashes_at_its_end(cloud: Cloud, rv_here: Rv) -> None:
    root = cloud.new_root()
    words = ["run", "batch", HELLO, "-a", "num_items=1", "--wait", "-a"]
    code, out, err = rv_here(*words, f"root_uri={root}/")
    assert code == 0, err
    assert out.splitlines()[-1] == f"done: 2 items; results are under {root}"
    for spelling in (f"{root}//", root.replace("/root", "//root")):
        assert rv_here(*words, f"root_uri={spelling}")[1].splitlines()[-1].startswith("Nothing to do")
    assert status_of(rv_here, f"{root}/")["state"] == "done"


def test_submission_returns_at_once_and_any_machine_can_watch_the_rest(
    cloud: Cloud, gate: Gate, gated: Callable[..., Any], rv_here: Rv, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    root = cloud.new_root()
    with cloud.batch.capacity(cloud.setup.cpu_environment, vcpus=2):
        code, out, err = gated(root, "--splits", "4")
        assert code == 0, err
        assert f"watch it with: rv status {root} --watch" in out
        gate.wait_for("i0", "i1")
        for name in ("CPU_JOB_QUEUE", "GPU_JOB_QUEUE", "CPU_JOB_DEFINITION", "GPU_JOB_DEFINITION"):
            monkeypatch.delenv(f"RV_BATCH_{name}")  # another machine has no settings
        monkeypatch.setenv("RV_CACHE_DIR", str(tmp_path / "another-cache"))
        state = status_of(rv_here, root)
        tasks = tasks_of(state)
        assert state["state"] == "running"
        assert [tasks[f"gated.work.{i}-of-4"]["state"] for i in (1, 2, 3, 4)] == ["running"] * 2 + ["submitted"] * 2
        assert tasks["gated.work.4-of-4"]["reason"] == "waits for capacity in rv-cpu"
        assert tasks["gated.work.1-of-4"]["native_id"].endswith(":0")
        assert (tasks["gated.train"]["state"], tasks["gated.train"]["reason"]) == (
            "waiting",
            "waits for the jobs before it",
        )
        gate.open()
        code, out, err = rv_here("status", root, "--watch")
    assert code == 0, err
    assert "gated.report is done" in out
    assert "next: nothing is left to do" in out


def test_an_error_of_the_command_is_not_retried_and_explained(cloud: Cloud, rv_here: Rv) -> None:
    root, before = cloud.new_root(), len(cloud.batch.jobs())
    code, out, err = rv_here(
        "run", "batch", HELLO, "-a", "root_uri", root, "-a", "fail_on", "item-1", "--splits", "4", "--wait"
    )
    assert code == 1
    assert "hello.cpu_task.2-of-4 failed with exit code 1: RuntimeError: asked to fail on item-1" in err
    assert "  | RuntimeError: asked to fail on item-1" in err
    assert "not started: hello.gpu_task (did not start: hello.cpu_task failed)" in err
    assert "2 of 5 items are not done" in err
    cpu, gpu = cloud.jobs_since(before)
    assert [job["status"] for job in (cpu, gpu)] == ["FAILED", "FAILED"]
    assert len(cloud.batch.job(f"{cpu['jobId']}:1")["attempts"]) == 1
    state = status_of(rv_here, root)
    failed = tasks_of(state)["hello.cpu_task.2-of-4"]
    assert (failed["state"], failed["exit_code"], failed["reason"]) == (
        "failed",
        1,
        "RuntimeError: asked to fail on item-1",
    )
    assert tasks_of(state)["hello.gpu_task"]["reason"] == "did not start: hello.cpu_task failed"
    shown = rv_here("status", root)[1]
    assert "split 2 of 4, exit code 1, 1 attempt" in shown
    code, out, err = rv_here("logs", root, "cpu_task.2-of-4")
    assert code == 0
    assert 'raise RuntimeError(f"asked to fail on {name}")' in out
    assert "hello.cpu_task.2-of-4 failed: RuntimeError: asked to fail on item-1" in err


def test_what_only_batch_knows_is_told_logs_from_cloudwatch_included(
    cloud: Cloud, gate: Gate, gated: Callable[..., Any], rv_here: Rv
) -> None:
    root, before = cloud.new_root(), len(cloud.batch.jobs())
    code, _, err = gated(root, "--splits", "2", "-a", "num_items", "2")
    assert code == 0, err
    gate.wait_for("i0", "i1")
    job_id = cloud.jobs_since(before)[0]["jobId"]
    cloud.batch.run_out_of_memory(f"{job_id}:1")
    gate.open("i0")
    cloud.batch.wait_for_status(job_id, "FAILED")
    task = tasks_of(status_of(rv_here, root))["gated.work.2-of-2"]
    assert (task["state"], task["exit_code"]) == ("failed", 137)
    assert task["reason"].startswith("out of memory: raise memory_mib")
    # KILL left no time to put the log into the store; what the task printed is in CloudWatch, and it printed nothing.
    code, _, err = rv_here("logs", root, "work.2-of-2")
    assert code == 2
    assert "out of memory" in err


def test_the_log_of_a_task_that_could_not_put_it_comes_from_cloudwatch(
    cloud: Cloud, rv_here: Rv, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, before = cloud.new_root(), len(cloud.batch.jobs())
    assert rv_here("run", "batch", HELLO, "-a", "root_uri", root)[0] == 0
    cloud.batch.wait_for_status(cloud.jobs_since(before)[-1]["jobId"], "SUCCEEDED")
    run_id = cloud.jobs_since(before)[0]["tags"]["rv-run"]
    bucket, _, prefix = root.removeprefix("s3://").partition("/")
    cloud.batch.client("s3").delete_object(Bucket=bucket, Key=f"{prefix}/.rv/runs/{run_id}/logs/hello.gpu_task.1.log")
    assert rv_here("logs", root, "gpu_task") == (0, "4 greetings\n", "")


@pytest.mark.slow
def test_what_one_job_does_for_several_roots_their_jobs_wait_for(cloud: Cloud, rv_here: Rv, tmp_path: Any) -> None:
    (tmp_path / "sweep.py").write_text(
        "from rv_core.hello import HelloConfig\n"
        "def get_configs(root_uri: str):\n"
        "    return [HelloConfig(root_uri=f'{root_uri}/r{n}', name=f'r{n}', num_items=n) for n in (1, 2)]\n"
    )
    root, before = cloud.new_root(), len(cloud.batch.jobs())
    code, _, err = rv_here("run", "batch", tmp_path / "sweep.py", "-a", "root_uri", root, "--wait")
    assert code == 0, err
    jobs = cloud.jobs_since(before)
    by_id = {job["jobId"]: job["tags"]["rv-job"] for job in jobs}
    edges = {by_id[job["jobId"]]: {by_id[d["jobId"]] for d in job.get("dependsOn", ())} for job in jobs}
    assert edges == {
        "r1.cpu_task": set(),
        "r1.gpu_task": {"r1.cpu_task"},
        "r2.cpu_task": set(),
        "r2.gpu_task": {"r1.cpu_task", "r2.cpu_task"},
    }
    assert cloud.text(f"{root}/r2/cpu_task/item-0.txt") == "hello item-0\n"
    assert '"taken_from"' in next(
        cloud.text(f"{root}/r2/{k}") for k in cloud.keys(f"{root}/r2") if "/item-0." in k and "done" in k
    )


def test_two_pipelines_are_one_run_and_do_not_wait_for_each_other(cloud: Cloud, rv_here: Rv, tmp_path: Any) -> None:
    (tmp_path / "twins.py").write_text(
        "from rv_core.hello import HelloConfig\n"
        "def get_configs(root_uri: str):\n"
        "    names = ('one', 'two')\n"
        "    return [HelloConfig(root_uri=f'{root_uri}/{n}', name=n, num_items=1, greeting=n) for n in names]\n"
    )
    root, before = cloud.new_root(), len(cloud.batch.jobs())
    code, _, err = rv_here("run", "batch", tmp_path / "twins.py", "-a", "root_uri", root)
    assert code == 0, err
    jobs = cloud.jobs_since(before)
    assert {cloud.batch.wait_for_status(job["jobId"])["status"] for job in jobs} == {"SUCCEEDED"}
    by_id = {job["jobId"]: job["tags"]["rv-job"] for job in jobs}
    edges = {by_id[job["jobId"]]: [by_id[d["jobId"]] for d in job.get("dependsOn", ())] for job in jobs}
    assert edges == {
        "one.cpu_task": [],
        "one.gpu_task": ["one.cpu_task"],
        "two.cpu_task": [],
        "two.gpu_task": ["two.cpu_task"],
    }
    assert {job["tags"]["rv-run"] for job in jobs} == {jobs[0]["tags"]["rv-run"]}


def test_per_command_settings_reach_the_job(
    cloud: Cloud, rv_here: Rv, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rv.toml").write_text(
        '[batch]\nattempts = 2\n[batch.commands.cpu_task]\ncpus = 2\nmemory_mib = 700\nenvironment = { GREETING = "x" }\n'
        '[batch.commands."hello.gpu_task"]\ntimeout_s = 7200\n'
    )
    monkeypatch.chdir(tmp_path)
    root, before = cloud.new_root(), len(cloud.batch.jobs())
    code, _, err = rv_here("run", "batch", HELLO, "-a", "root_uri", root)
    assert code == 0, err
    cpu, gpu = cloud.jobs_since(before)
    assert cloud.batch.wait_for_status(gpu["jobId"])["status"] == "SUCCEEDED"
    asked = {entry["type"]: entry["value"] for entry in cpu["container"]["resourceRequirements"]}
    assert asked == {"VCPU": "2", "MEMORY": "700"}
    assert {"name": "GREETING", "value": "x"} in cpu["container"]["environment"]
    assert cpu["retryStrategy"]["attempts"] == 2
    assert gpu["timeout"] == {"attemptDurationSeconds": 7200}
    # The run's record holds them, and status from another machine reads them back.
    monkeypatch.chdir("/")
    assert status_of(rv_here, root)["state"] == "done"


def test_a_large_array_is_planned_submitted_and_described_in_seconds(cloud: Cloud, rv_here: Rv) -> None:
    import time

    root, before = cloud.new_root(), len(cloud.batch.jobs())
    started = time.monotonic()
    with cloud.batch.holding("RUNNABLE"):
        code, _, err = rv_here(
            "run", "batch", HELLO, "-a", "root_uri", root, "-a", "num_items", "10000", "--splits", "10000"
        )
        assert code == 0, err
        submitted_s = time.monotonic() - started
        assert cloud.jobs_since(before)[0]["arrayProperties"]["size"] == 10_000
        num_calls = len(cloud.batch.calls)
        state = status_of(rv_here, root)
        described_s = time.monotonic() - started - submitted_s
        assert len(tasks_of(state)) == 10_001
        assert {task["state"] for name, task in tasks_of(state).items() if "cpu" in name} == {"submitted"}
        batch_calls = [call.operation for call in cloud.batch.calls[num_calls:] if call.operation]
        assert len(batch_calls) < 15, batch_calls
        assert rv_here("cancel", root)[0] == 0
    assert submitted_s < 15
    assert described_s < 15
    assert {job["status"] for job in cloud.jobs_since(before)} <= {"FAILED", "PENDING"}


def test_more_parents_than_a_job_may_have_are_joined_and_cancelled_with_the_rest(
    cloud: Cloud, rv_here: Rv, tmp_path: Any
) -> None:
    commands = "".join(f"    @command()\n    def c{i}(self): pass\n" for i in range(23))
    (tmp_path / "wide.py").write_text(
        "from dataclasses import dataclass\nfrom rv_core import Pipeline, PipelineConfig, command\n"
        "@dataclass(kw_only=True)\nclass WideConfig(PipelineConfig):\n    def build(self): return Wide(self)\n"
        f"class Wide(Pipeline):\n{commands}"
        f"    @command(requires={tuple(f'c{i}' for i in range(23))!r})\n    def last(self): pass\n"
        "def get_config(root_uri: str): return WideConfig(root_uri=root_uri)\n"
    )
    root, before = cloud.new_root(), len(cloud.batch.jobs())
    with cloud.batch.holding("SUBMITTED"):
        code, _, err = rv_here("run", "batch", tmp_path / "wide.py", "-a", "root_uri", root)
        assert code == 0, err
        jobs = cloud.jobs_since(before)
        assert [len(job.get("dependsOn", ())) for job in jobs[23:]] == [20, 3, 2]
        assert [job["container"]["command"] for job in jobs[23:25]] == [["true"], ["true"]]
        assert rv_here("cancel", root)[0] == 0
    for job in jobs:
        assert cloud.batch.wait_for_status(job["jobId"])["status"] == "FAILED"
