"""What goes wrong in the cloud: machines taken away, calls throttled or refused, a store that hesitates, and cancelling."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.rv_runner_batch.conftest import Cloud, Gate

pytestmark = pytest.mark.s3
Rv = Callable[..., tuple[int, str, str]]
Gated = Callable[..., tuple[int, str, str]]
HELLO = "rv_core.hello"


@pytest.fixture(autouse=True)
def no_faults_afterwards(cloud: Cloud) -> Iterator[None]:
    yield
    cloud.batch.throttle(0)


def submit(cloud: Cloud, gated: Gated, root: str, *words: str) -> list[dict[str, Any]]:
    """Submit a gated run; its jobs: work, train, report."""
    before = len(cloud.batch.jobs())
    code, _, err = gated(root, *words)
    assert code == 0, err
    return cloud.jobs_since(before)


def tasks_of(rv_here: Rv, root: str) -> dict[str, dict[str, Any]]:
    status = json.loads(rv_here("status", root, "--json")[1])
    return {"run": status, **{task["task"]: task for job in status["jobs"] for task in job["tasks"]}}


# Machines.


def test_a_reclaimed_child_and_a_reclaimed_train_go_on_where_they_stopped(
    cloud: Cloud, gate: Gate, gated: Gated, rv_here: Rv
) -> None:
    root = cloud.new_root()
    work, train, report = submit(cloud, gated, root, "--splits", "2")
    gate.open("i0")
    gate.wait_for("i1", "i2")
    cloud.batch.reclaim(f"{work['jobId']}:0")
    cloud.batch.wait_for_status(f"{work['jobId']}:0", "RUNNABLE", "STARTING", "RUNNING")
    assert cloud.batch.wait_for(lambda: len(cloud.batch.job(f"{work['jobId']}:0")["attempts"]) == 1)
    cloud.batch.wait_for_status(f"{work['jobId']}:0", "RUNNING")
    again = tasks_of(rv_here, root)["gated.work.1-of-2"]
    assert (again["state"], again["attempt"]) == ("running", 2)
    assert "attempt 1 ended: the spot machine was reclaimed (Host EC2 (instance" in again["reason"]
    gate.open("i1", "i2", "i3")
    assert cloud.batch.wait_for_status(work["jobId"])["status"] == "SUCCEEDED"
    gate.wait_for("train")
    cloud.batch.reclaim(train["jobId"])
    gate.open()
    assert cloud.batch.wait_for_status(report["jobId"])["status"] == "SUCCEEDED"
    assert gate.attempt_of("i1") == 2
    assert cloud.text(f"{root}/train/weights.txt") == "5, started from 3\n"
    status = tasks_of(rv_here, root)
    assert status["run"]["state"] == "done"
    child = cloud.batch.job(f"{work['jobId']}:0")
    assert child["attempts"][0]["statusReason"].startswith("Host EC2")
    # What the first attempt had finished was not done again, and nothing is there twice.
    run_id = work["tags"]["rv-run"]
    lines = cloud.text(f"{root}/.rv/runs/{run_id}/events/gated.work.1-of-2.2.jsonl").splitlines()
    items = {e["item"]: e["state"] for e in map(json.loads, lines) if e["event"] == "item"}
    assert items == {"i0": "skipped", "i1": "done"}
    assert len(cloud.manifests(root, "work")) == 4


def test_a_task_stopped_with_its_state_saved_is_retried_without_any_word_of_ec2(
    cloud: Cloud, gate: Gate, gated: Gated
) -> None:
    import signal

    root = cloud.new_root()
    gate.open("i0", "i1", "i2", "i3", "report")
    _, train, report = submit(cloud, gated, root)
    gate.wait_for("train")
    cloud.batch.send_signal(train["jobId"], signal.SIGTERM)
    gate.open("train")
    assert cloud.batch.wait_for_status(report["jobId"])["status"] == "SUCCEEDED"
    attempts = cloud.batch.job(train["jobId"])["attempts"]
    assert [attempt["container"]["exitCode"] for attempt in attempts] == [75, 0]
    assert cloud.text(f"{root}/train/weights.txt") == "5, started from 3\n"


def test_a_task_whose_memory_ran_out_is_not_started_again_though_its_command_declares_attempts(
    cloud: Cloud, rv_here: Rv, tmp_path: Path
) -> None:
    (tmp_path / "hungry.py").write_text(_HUNGRY)
    root, before, hold = cloud.new_root(), len(cloud.batch.jobs()), tmp_path / "hold"
    hold.touch()
    assert rv_here("run", "batch", tmp_path / "hungry.py", "-a", "root_uri", root, "-a", "hold", hold)[0] == 0
    (job_id,) = (job["jobId"] for job in cloud.jobs_since(before))
    cloud.batch.wait_for_status(job_id, "RUNNING")
    cloud.batch.run_out_of_memory(job_id)
    assert cloud.batch.wait_for_status(job_id)["status"] == "FAILED"
    assert len(cloud.batch.job(job_id)["attempts"]) == 1
    assert "out of memory: raise memory_mib" in tasks_of(rv_here, root)["hungry.eat"]["reason"]


_HUNGRY = """
import time
from dataclasses import dataclass
from pathlib import Path
from rv_core import Pipeline, PipelineConfig, command

@dataclass(kw_only=True)
class HungryConfig(PipelineConfig):
    hold: str

    def build(self):
        return HungryPipeline(self)

class HungryPipeline(Pipeline):
    @command(reads=("hold",), attempts=2)
    def eat(self):
        while Path(self.config.hold).exists():
            time.sleep(0.02)

def get_config(runner: str, root_uri: str, hold: str):
    return HungryConfig(root_uri=root_uri, hold=hold)
"""


def test_a_task_that_runs_too_long_is_not_retried_and_the_same_command_goes_on(
    cloud: Cloud, gate: Gate, gated: Gated, rv_here: Rv, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rv.toml").write_text("[batch.commands.train]\ntimeout_s = 300\n")  # 3 s here
    monkeypatch.chdir(tmp_path)
    root = cloud.new_root()
    gate.open("i0", "i1", "i2", "i3", "report")
    _, train, report = submit(cloud, gated, root)
    assert cloud.batch.wait_for_status(report["jobId"])["status"] == "FAILED"
    assert len(cloud.batch.job(train["jobId"])["attempts"]) == 1
    status = tasks_of(rv_here, root)
    assert status["gated.train"]["state"] == "failed"
    assert "timed out after 5:00; the same command goes on from what is done" in status["gated.train"]["reason"]
    assert status["gated.report"]["reason"] == "did not start: gated.train failed"
    gate.open()
    (tmp_path / "rv.toml").unlink()
    train, report = submit(cloud, gated, root)
    assert train["tags"]["rv-job"] == "gated.train", "the items of work are done"
    assert cloud.batch.wait_for_status(report["jobId"])["status"] == "SUCCEEDED"
    assert cloud.text(f"{root}/train/weights.txt") == "5, started from 3\n"


def test_an_image_that_cannot_be_pulled_is_named(
    cloud: Cloud, gate: Gate, gated: Gated, rv_here: Rv, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.local_batch.images import Image

    cloud.batch.images["nowhere:1"] = Image(pull_error="pull access denied")
    cloud.batch.aws.make_definition("no-image", image="nowhere:1", memory_mib=1024)
    monkeypatch.setenv("RV_BATCH_CPU_JOB_DEFINITION", "no-image")
    root = cloud.new_root()
    work, _, _ = submit(cloud, gated, root)
    assert len(cloud.batch.wait_for_status(work["jobId"], "FAILED")["attempts"]) == 5
    reason = tasks_of(rv_here, root)["gated.work"]["reason"]
    assert reason.startswith(
        "the image cannot be pulled: CannotPullContainerError: pull access denied; it was attempt 5"
    )


# Calls.


def test_throttled_submissions_are_sent_again(cloud: Cloud, gate: Gate, gated: Gated) -> None:
    gate.open()
    cloud.batch.throttle(2, ["SubmitJob"])
    jobs = submit(cloud, gated, cloud.new_root())
    assert [job["tags"]["rv-job"] for job in jobs] == ["gated.work", "gated.train", "gated.report"]
    assert cloud.batch.wait_for_status(jobs[-1]["jobId"])["status"] == "SUCCEEDED"


@pytest.mark.slow
def test_half_of_all_calls_throttled_is_only_slower(cloud: Cloud, gate: Gate, gated: Gated, rv_here: Rv) -> None:
    root = cloud.new_root()
    gate.open()
    cloud.batch.throttle(2)
    _, _, report = submit(cloud, gated, root, "--splits", "2")
    assert cloud.batch.wait_for_status(report["jobId"])["status"] == "SUCCEEDED"
    assert tasks_of(rv_here, root)["run"]["state"] == "done"


@pytest.mark.parametrize("is_accepted", [False, True], ids=["refused", "taken although the answer is lost"])
def test_a_submission_that_fails_halfway_leaves_nothing_running(
    cloud: Cloud, gated: Gated, *, is_accepted: bool
) -> None:
    root, before = cloud.new_root(), len(cloud.batch.jobs())
    cloud.batch.fail_submit_at(3, is_accepted=is_accepted)
    code, _, err = gated(root, "--splits", "2")
    assert code == 1
    assert "submission failed: job 3 of 3 could not be submitted; the 2 submitted before it are ended again" in err
    assert "SubmitJob fails, as ordered" in err
    jobs = cloud.jobs_since(before)
    assert len(jobs) == 2 + is_accepted
    for job in reversed(jobs):
        assert cloud.batch.wait_for_status(job["jobId"])["status"] == "FAILED"
    assert not cloud.is_taken(root), "the same command can be run again"


def test_what_a_failed_submission_could_not_end_keeps_the_root_until_it_is_cancelled(
    cloud: Cloud, gated: Gated, rv_here: Rv, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the same command would submit twice what still runs, and rv cancel would find nothing to end."""
    from rv_runner_batch.client import AwsError, BatchClient

    root, before = cloud.new_root(), len(cloud.batch.jobs())
    cloud.batch.fail_submit_at(2)
    with monkeypatch.context() as offline:

        def fail(*_: Any) -> None:
            raise AwsError("AWS cannot be reached: batch:TerminateJob", kind="network")

        offline.setattr(BatchClient, "terminate", fail)
        code, _, err = gated(root)
    assert (code, "1 of 1 jobs could not be ended" in err) == (1, True)
    assert "end what is left with rv cancel" in err
    (left,) = cloud.jobs_since(before)
    code, _, err = gated(root)
    assert (code, "is still going on" in err, len(cloud.jobs_since(before))) == (2, True, 1)
    assert rv_here("cancel", root)[0] == 0
    assert cloud.batch.wait_for_status(left["jobId"])["status"] == "FAILED"
    assert not cloud.is_taken(root)


@pytest.mark.parametrize("failing", [1, 3])
def test_what_a_failed_submission_never_reached_does_not_count_as_going_on(
    cloud: Cloud, rv_here: Rv, tmp_path: Path, failing: int
) -> None:
    (tmp_path / "twins.py").write_text(
        "from rv_core.hello import HelloConfig\n"
        "def get_configs(root_uri: str):\n"
        "    names = ('one', 'two')\n"
        "    return [HelloConfig(root_uri=f'{root_uri}/{n}', name=n, num_items=1, greeting=n) for n in names]\n"
    )
    root = cloud.new_root()
    cloud.batch.fail_submit_at(failing)
    with cloud.batch.holding("SUBMITTED"):
        assert rv_here("run", "batch", tmp_path / "twins.py", "-a", "root_uri", root)[0] == 1
    code, out, _ = rv_here("status", f"{root}/one", "--watch")
    assert (code, out.splitlines()[0].split()[-1]) == (0, "stopped"), out
    assert "did not start: the run ended before" in out
    assert "the same command goes on from here" in out


def test_a_job_whose_first_submission_was_answered_with_an_error_of_the_service_is_there_once(
    cloud: Cloud, gate: Gate, gated: Gated
) -> None:
    gate.open()
    cloud.batch.fail_submit_at(1, code="ServerException", status=500)
    jobs = submit(cloud, gated, cloud.new_root())
    assert len(jobs) == 3
    assert cloud.batch.wait_for_status(jobs[-1]["jobId"])["status"] == "SUCCEEDED"


def test_a_job_that_was_taken_although_the_answer_was_lost_runs_once(
    cloud: Cloud, gate: Gate, gated: Gated, rv_here: Rv
) -> None:
    """SubmitJob has no token that would tell that it is repeated: two arrays would cost twice."""
    root = cloud.new_root()
    cloud.batch.fail_submit_at(1, code="ServerException", status=500, is_accepted=True)
    with cloud.batch.holding("SUBMITTED"):
        lost, work, *others = submit(cloud, gated, root, "--splits", "2")
    assert [job["tags"]["rv-job"] for job in (lost, work, *others)] == [
        "gated.work",
        "gated.work",
        "gated.train",
        "gated.report",
    ]
    ended = cloud.batch.wait_for_status(lost["jobId"])
    assert (ended["status"], "was submitted twice" in ended["statusReason"]) == ("FAILED", True)
    gate.open()
    cloud.batch.wait_for_status(others[-1]["jobId"])
    assert cloud.batch.job(f"{lost['jobId']}:0")["attempts"] == [], "it never had a machine"
    assert tasks_of(rv_here, root)["run"]["state"] == "done"


def test_throttled_submissions_are_not_looked_for(cloud: Cloud, gate: Gate, gated: Gated) -> None:
    gate.open()
    cloud.batch.throttle(2, ["SubmitJob"])
    before = len(cloud.batch.calls_of("ListJobs"))
    jobs = submit(cloud, gated, cloud.new_root())
    assert len(cloud.batch.calls_of("ListJobs")) - before == 2, "one for each queue, before the first is submitted"
    cloud.batch.wait_for_status(jobs[-1]["jobId"])


def test_a_job_that_was_taken_twice_does_no_harm(cloud: Cloud, gate: Gate, gated: Gated, rv_here: Rv) -> None:
    root = cloud.new_root()
    jobs = submit(cloud, gated, root, "--splits", "2")
    (request,) = [call.params for call in cloud.batch.calls_of("SubmitJob")[-3:] if "arrayProperties" in call.params]
    twin = cloud.batch.client("batch").submit_job(**request)["jobId"]
    gate.open()
    for job_id in (twin, *(job["jobId"] for job in jobs)):
        assert cloud.batch.wait_for_status(job_id)["status"] == "SUCCEEDED"
    assert tasks_of(rv_here, root)["run"]["state"] == "done"
    assert len(cloud.manifests(root, "work")) == 4


def test_batch_that_does_not_answer_is_a_state_of_its_own(
    cloud: Cloud, gate: Gate, gated: Gated, rv_here: Rv, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = cloud.new_root()
    jobs = submit(cloud, gated, root)
    gate.wait_for("i0")
    monkeypatch.setenv("AWS_ENDPOINT_URL_BATCH", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    status = tasks_of(rv_here, root)
    assert status["run"]["state"] == "unknown"
    assert status["gated.train"]["state"] == "unknown"
    assert status["run"]["problem"].startswith("could not ask batch: AWS cannot be reached: batch:DescribeJobs")
    code, _, err = gated(root)
    assert (code, "AWS: AWS cannot be reached: batch:Describe" in err) == (3, True), err
    monkeypatch.delenv("AWS_ENDPOINT_URL_BATCH")
    gate.open()
    assert cloud.batch.wait_for_status(jobs[-1]["jobId"])["status"] == "SUCCEEDED"


# The store.


def test_a_store_that_is_busy_or_late_is_asked_again(cloud: Cloud, gate: Gate, gated: Gated, rv_here: Rv) -> None:
    root = cloud.new_root()
    bucket_and_prefix = root.removeprefix("s3://")
    cloud.batch.s3_unavailable(f"{bucket_and_prefix}/*", times=10)
    cloud.batch.s3_not_seen_after_write(f"{bucket_and_prefix}/.rv/runs/*/pipeline-config.json", times=2)
    cloud.batch.s3_not_seen_after_write(f"{bucket_and_prefix}/.rv/runs/*/plan.json", times=2)
    cloud.batch.s3_not_seen_after_write(f"{bucket_and_prefix}/.rv/runs/*/items/*", times=1)
    cloud.batch.s3_not_seen_after_write(f"{bucket_and_prefix}/.rv/runs/*/run.json", times=2)
    cloud.batch.s3_not_seen_after_write(f"{bucket_and_prefix}/.rv/code/*", times=2)
    gate.open()
    jobs = submit(cloud, gated, root, "--splits", "2")
    cloud.batch.s3_unavailable(f"{bucket_and_prefix}/*", times=10)
    assert cloud.batch.wait_for_status(jobs[-1]["jobId"])["status"] == "SUCCEEDED"
    assert tasks_of(rv_here, root)["run"]["state"] == "done"
    assert all(len(cloud.batch.job(job["jobId"])["attempts"]) <= 1 for job in jobs), "no attempt was wasted"


# Twice, and not at all.


def test_what_still_runs_is_not_submitted_twice(cloud: Cloud, gate: Gate, gated: Gated, rv_here: Rv) -> None:
    root = cloud.new_root()
    jobs = submit(cloud, gated, root)
    before = len(cloud.batch.jobs())
    gate.wait_for("i0")
    code, _, err = gated(root)
    assert code == 2
    assert "is still going on here (runner batch" in err
    assert len(cloud.batch.jobs()) == before
    gate.open()
    cloud.batch.wait_for_status(jobs[-1]["jobId"])
    code, out, _ = gated(root)
    assert (code, "Nothing to do" in out) == (0, True)


def test_a_run_that_was_left_alone_and_ended_does_not_block_the_next(cloud: Cloud, gate: Gate, gated: Gated) -> None:
    root = cloud.new_root()
    flag = gate.order("fail", "i0")
    jobs = submit(cloud, gated, root)
    cloud.batch.wait_for_status(jobs[-1]["jobId"], "FAILED")
    flag.unlink()
    gate.open()
    jobs = submit(cloud, gated, root)
    assert cloud.batch.wait_for_status(jobs[-1]["jobId"])["status"] == "SUCCEEDED"


def test_the_same_run_is_refused_at_its_second_submission(cloud: Cloud) -> None:
    from rv_core.errors import RunnerError
    from rv_runner_batch.client import BatchClient
    from rv_runner_batch.runner import BatchRunner
    from rv_runner_batch.settings import BatchSettings

    plan, context = planned_hello(cloud)
    settings = BatchSettings(
        cpu_job_queue="rv-cpu", gpu_job_queue="rv-gpu", cpu_job_definition="rv-cpu", gpu_job_definition="rv-gpu"
    )
    runner = BatchRunner(settings, BatchClient("us-east-1"))
    before = len(cloud.batch.jobs())
    with cloud.batch.holding("SUBMITTED"):
        runner.run(plan, context)
        with pytest.raises(RunnerError, match="was submitted already"):
            runner.run(plan, context)
        assert len(cloud.batch.jobs()) - before == 2
        for job in cloud.jobs_since(before):
            cloud.batch.client("batch").terminate_job(jobId=job["jobId"], reason="test")


def planned_hello(cloud: Cloud) -> tuple[Any, Any]:
    from pathlib import Path

    from rv_core.hello import HelloConfig
    from rv_core.plan.planning import plan_pipelines
    from rv_core.record.layout import RunPaths, new_run_id
    from rv_core.runner.context import RunContext
    from rv_runner_batch.runner import BatchRunner

    config = HelloConfig(root_uri=cloud.new_root(), name="hello")
    plan = plan_pipelines({"hello": config.build()}).plan
    run_id = new_run_id()
    uris = {"hello": RunPaths(config.root_uri, run_id).config}
    return plan, RunContext(run_id, "batch", BatchRunner.capabilities, uris, Path("/tmp"), configs={"hello": config})


@pytest.mark.parametrize("state", ["SUBMITTED", "RUNNABLE", "STARTING", "RUNNING"])
def test_a_run_is_cancelled_in_every_state(cloud: Cloud, gate: Gate, gated: Gated, rv_here: Rv, state: str) -> None:
    from contextlib import nullcontext

    root = cloud.new_root()
    with cloud.batch.holding(state) if state != "RUNNING" else nullcontext():
        jobs = submit(cloud, gated, root, "--splits", "2")
        if state == "RUNNING":
            gate.wait_for("i0", "i2")
        elif state != "SUBMITTED":
            cloud.batch.wait_for_status(f"{jobs[0]['jobId']}:0", state)
        num_calls = len(cloud.batch.calls)
        code, out, err = rv_here("cancel", root)
        assert (code, "is cancelled; what was done stays done" in out) == (0, True), err
        calls = cloud.batch.calls[num_calls:]
        ended = [call.params["jobId"] for call in calls if call.operation == "TerminateJob"]
        assert ended == [job["jobId"] for job in reversed(jobs)], "dependants first"
    for job in jobs:
        assert cloud.batch.wait_for_status(job["jobId"])["status"] == "FAILED"
    assert all(len(cloud.batch.job(f"{jobs[0]['jobId']}:{i}")["attempts"]) <= 1 for i in (0, 1)), "not retried"
    status = tasks_of(rv_here, root)
    assert status["run"]["state"] == "cancelled"
    assert status["run"]["note"].startswith("cancelled by ")
    code, out, _ = rv_here("cancel", root)
    assert (code, "nothing to cancel" in out) == (0, True)
    assert not cloud.is_taken(root)


def test_taking_over_cancels_what_runs_and_submits_what_is_left(cloud: Cloud, gate: Gate, gated: Gated) -> None:
    root = cloud.new_root()
    gate.open("i0")
    jobs = submit(cloud, gated, root, "--splits", "4")
    cloud.batch.wait_for_status(f"{jobs[0]['jobId']}:0", "SUCCEEDED")
    before = len(cloud.batch.jobs())
    code, out, err = gated(root, "--splits", "4", "--take-over")
    assert code == 0, err
    assert "gated.work    run   3 of 4 items in 3 tasks" in out
    assert cloud.batch.wait_for_status(jobs[0]["jobId"])["status"] == "FAILED"
    gate.open()
    work, _, report = cloud.jobs_since(before)
    assert work["arrayProperties"]["size"] == 3
    assert cloud.batch.wait_for_status(report["jobId"])["status"] == "SUCCEEDED"


def test_cancelling_while_somebody_waits_ends_the_waiting(cloud: Cloud, gate: Gate, rv: Any, rv_here: Rv) -> None:
    from pathlib import Path

    root = cloud.new_root()
    module = Path(__file__).parent / "gated_pipeline.py"
    waiting = rv.start("run", "batch", module, "-a", "root_uri", root, "-a", "gate", gate.folder, "--wait")
    gate.wait_for("i0")
    assert rv_here("cancel", root)[0] == 0
    out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 1, out + err
    assert tasks_of(rv_here, root)["run"]["state"] == "cancelled"


def test_interrupting_the_waiting_leaves_the_run_alone(cloud: Cloud, gate: Gate, rv: Any, rv_here: Rv) -> None:
    import signal
    from pathlib import Path

    root, before = cloud.new_root(), len(cloud.batch.jobs())
    module = Path(__file__).parent / "gated_pipeline.py"
    waiting = rv.start("run", "batch", module, "-a", "root_uri", root, "-a", "gate", gate.folder, "--wait")
    gate.wait_for("i0")
    time.sleep(0.3)  # it has gone from submitting to waiting
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=30)
    assert (waiting.returncode, f"the run goes on; rv status {root} shows how it is" in err) == (130, True), err
    gate.open()
    work, _, report = cloud.jobs_since(before)
    assert cloud.batch.wait_for_status(report["jobId"])["status"] == "SUCCEEDED"
    # The local AWS Batch runs its jobs on this machine: none of them was stopped and started again.
    assert len(cloud.batch.wait_for_status(work["jobId"])["attempts"]) == 1
