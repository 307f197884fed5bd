"""The local Batch: retries, timeouts, stopping jobs in every state, capacity, and the faults that tests can order."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.local_batch.batch_testing import after, on_term, until, wait_for_file

if TYPE_CHECKING:
    from tests.local_batch.aws_setup import Setup
    from tests.local_batch.server import LocalBatch

pytestmark = pytest.mark.s3

Submit = Callable[..., str]
#: The rules of a runner: reclaimed and stopped-with-state-saved jobs are tried again, all else is not.
RULES = [
    {"onStatusReason": "Host EC2*", "action": "RETRY"},
    {"onExitCode": "75", "action": "RETRY"},
    {"onReason": "CannotPullContainerError*", "action": "RETRY"},
    {"onReason": "*", "action": "EXIT"},
]
RETRIED = {"retryStrategy": {"attempts": 3, "evaluateOnExit": RULES}}


# Retries.


def test_attempts_are_numbered_and_each_has_its_own_log_and_exit_code(batch: LocalBatch, submit: Submit) -> None:
    submit("retried", "echo attempt $AWS_BATCH_JOB_ATTEMPT; [ $AWS_BATCH_JOB_ATTEMPT = 3 ] || exit 75", **RETRIED)
    job = batch.wait_for_status("retried")
    assert job["status"] == "SUCCEEDED"
    assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [75, 75, 0]
    assert len({attempt["container"]["logStreamName"] for attempt in job["attempts"]}) == 3
    assert [batch.log_of("retried", i) for i in range(3)] == ["attempt 1", "attempt 2", "attempt 3"]


def test_an_application_error_ends_a_job_whose_rules_say_so(batch: LocalBatch, submit: Submit) -> None:
    submit("wrong", "exit 1", **RETRIED)
    job = batch.wait_for_status("wrong")
    assert (job["status"], len(job["attempts"]), job["container"]["exitCode"]) == ("FAILED", 1, 1)


def test_where_no_rule_fits_attempts_are_used_up(batch: LocalBatch, submit: Submit) -> None:
    submit("no-rule", "exit 1", retryStrategy={"attempts": 3, "evaluateOnExit": RULES[:3]})
    submit("no-rules", "exit 1", retryStrategy={"attempts": 2})
    submit("no-strategy", "exit 1")
    attempts = [len(batch.wait_for_status(name)["attempts"]) for name in ("no-rule", "no-rules", "no-strategy")]
    assert attempts == [3, 2, 1]


def test_the_strategy_of_a_definition_holds_unless_the_job_has_one(batch: LocalBatch, submit: Submit) -> None:
    batch.client("batch").register_job_definition(
        jobDefinitionName="twice",
        type="container",
        containerProperties={
            "image": "x",
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "4"}],
        },
        retryStrategy={"attempts": 2, "evaluateOnExit": [{"onExitCode": "1", "action": "RETRY"}]},
    )
    submit("twice", "exit 1", jobDefinition="twice")
    submit("once", "exit 1", jobDefinition="twice", retryStrategy={"attempts": 1})
    assert len(batch.wait_for_status("twice")["attempts"]) == 2
    assert len(batch.wait_for_status("once")["attempts"]) == 1


def test_a_command_or_an_image_that_is_not_there_fails_the_start(batch: LocalBatch, submit: Submit) -> None:
    from tests.local_batch.images import Image

    batch.images["rv:gone"] = Image(pull_error="manifest for rv:gone not found")
    batch.images["rv:other"] = Image(commands={"hello": ["echo", "from the image"]}, environ={"WHERE": "other"})
    batch.aws.make_definition("gone", image="rv:gone")
    batch.aws.make_definition("other", image="rv:other", command=["hello"])
    batch.aws.make_definition("nowhere", command=["no-such-command"])
    client = batch.client("batch")
    for name in ("gone", "other", "nowhere"):
        client.submit_job(jobName=name, jobQueue="rv-cpu", jobDefinition=name, **RETRIED)
    gone, nowhere = batch.wait_for_status("gone"), batch.wait_for_status("nowhere")
    assert [a["container"]["reason"][:25] for a in gone["attempts"]] == ["CannotPullContainerError:"] * 3
    assert gone["statusReason"] == "Task failed to start"
    assert len(nowhere["attempts"]) == 1
    assert "exitCode" not in nowhere["attempts"][0]["container"]
    batch.wait_for_status("other")
    assert batch.log_of("other") == "from the image"
    submit("which", "echo $WHERE; command -v rv || echo no rv", jobDefinition="other")
    batch.wait_for_status("which")
    assert batch.log_of("which") == "other\nno rv"


# Timeouts.


def test_a_timeout_terminates_an_attempt_and_is_never_retried(
    batch: LocalBatch, submit: Submit, tmp_path: Path
) -> None:
    one_minute = {"timeout": {"attemptDurationSeconds": 60}, **RETRIED}
    began = time.monotonic()
    submit("saved", on_term(tmp_path / "saved", "echo saved; exit 75"), **one_minute)
    submit("stubborn", on_term(tmp_path / "stubborn", "echo no"), **one_minute)
    saved, stubborn = batch.wait_for_status("saved"), batch.wait_for_status("stubborn")
    assert [job["status"] for job in (saved, stubborn)] == ["FAILED", "FAILED"]
    assert [[a["container"]["exitCode"] for a in job["attempts"]] for job in (saved, stubborn)] == [[75], [137]]
    assert (batch.log_of("saved"), batch.log_of("stubborn")) == ("saved", "no")
    assert 0.9 <= time.monotonic() - began < 20  # a minute and the grace of 30 s, a hundred times as fast


def test_a_timeout_is_per_attempt_and_per_child(batch: LocalBatch, submit: Submit) -> None:
    params = {"timeout": {"attemptDurationSeconds": 120}, "retryStrategy": {"attempts": 2}}
    submit("short", "sleep 0.65; exit $((1 - ($AWS_BATCH_JOB_ATTEMPT - 1)))", **params, array=2)
    assert batch.wait_for_status("short")["status"] == "SUCCEEDED"
    assert all(len(batch.job(f"short:{i}")["attempts"]) == 2 for i in range(2))


# Stopping jobs.


def test_cancelling_reaches_what_has_not_started_and_nothing_else(
    batch: LocalBatch, submit: Submit, tmp_path: Path
) -> None:
    client = batch.client("batch")
    with batch.holding("SUBMITTED"):
        submitted = submit("c-submitted")
        client.cancel_job(jobId=submitted, reason="changed my mind")
        job = batch.wait_for_status(submitted)
    assert (job["status"], job["statusReason"], job["isCancelled"]) == ("FAILED", "changed my mind", True)
    with batch.holding("RUNNABLE"):
        runnable = submit("c-runnable")
        batch.wait_for_status(runnable, "RUNNABLE")
        client.cancel_job(jobId=runnable, reason="why")
        assert batch.job(runnable)["status"] == "FAILED"
    with batch.holding("STARTING"):
        starting = submit("c-starting", until(tmp_path / "go"))
        batch.wait_for_status(starting, "STARTING")
        client.cancel_job(jobId=starting, reason="why")
    batch.wait_for_status(starting, "RUNNING")
    client.cancel_job(jobId=starting, reason="why")
    (tmp_path / "go").touch()
    assert batch.wait_for_status(starting)["status"] == "SUCCEEDED"
    client.cancel_job(jobId=starting, reason="why")
    assert batch.job(starting)["status"] == "SUCCEEDED"
    assert not batch.job(starting)["isCancelled"]


@pytest.mark.parametrize("exit_code", [0, 1])
def test_a_pending_job_is_cancelled_when_its_dependencies_have_ended(
    batch: LocalBatch, submit: Submit, tmp_path: Path, exit_code: int
) -> None:
    client = batch.client("batch")
    first = submit("p-first", f"{until(tmp_path / 'go')}; exit {exit_code}")
    plain, array = submit("p-plain", **after(first)), submit("p-array", array=2, **after(first))
    jobs = (plain, array, f"{array}:1")
    for job_id in jobs:
        batch.wait_for_status(job_id, "PENDING")
    client.cancel_job(jobId=plain, reason="why")
    client.terminate_job(jobId=array, reason="why")
    assert [batch.job(job_id)["status"] for job_id in jobs] == ["PENDING"] * 3
    assert (batch.job(plain)["isCancelled"], batch.job(array)["isTerminated"]) == (True, True)
    (tmp_path / "go").touch()
    ended = [batch.wait_for_status(job_id) for job_id in jobs]
    assert [(job["status"], job["statusReason"]) for job in ended] == [("FAILED", "why")] * 3
    assert batch.wait_for_status(first)["container"]["exitCode"] == exit_code


def test_cancelling_an_array_leaves_its_running_children_alone(
    batch: LocalBatch, submit: Submit, tmp_path: Path
) -> None:
    array = submit("a-cancelled", until(tmp_path / "go"), vcpus=4, array=2)
    batch.wait_for_status(f"{array}:0", "RUNNING")
    batch.client("batch").cancel_job(jobId=array, reason="why")
    assert batch.job(f"{array}:1")["status"] == "FAILED"
    assert batch.job(array)["status"] == "PENDING"
    (tmp_path / "go").touch()
    assert batch.wait_for_status(array)["status"] == "FAILED"
    assert batch.job(f"{array}:0")["status"] == "SUCCEEDED"


def test_terminating_reaches_every_state_and_nothing_is_retried(
    batch: LocalBatch, submit: Submit, tmp_path: Path
) -> None:
    client = batch.client("batch")
    array = submit("t-array", on_term(tmp_path / "ready", "exit 75"), vcpus=4, array=2, **RETRIED)
    wait_for_file(tmp_path / "ready")
    client.terminate_job(jobId=array, reason="enough")
    assert batch.wait_for_status(array)["statusReason"] == "enough"
    running, waiting = batch.job(f"{array}:0"), batch.job(f"{array}:1")
    assert (running["statusReason"], len(running["attempts"]), running["isTerminated"]) == ("enough", 1, True)
    assert (waiting["statusReason"], waiting["attempts"]) == ("enough", [])
    with batch.holding("STARTING"):
        starting = submit("t-starting", "exit 0", **RETRIED)
        batch.wait_for_status(starting, "STARTING")
        client.terminate_job(jobId=starting, reason="enough")
        assert batch.wait_for_status(starting)["status"] == "FAILED"
    client.terminate_job(jobId=starting, reason="again")
    assert batch.job(starting)["statusReason"] == "enough"


def test_a_job_that_ignores_term_is_killed_after_the_grace(batch: LocalBatch, submit: Submit, tmp_path: Path) -> None:
    job_id = submit("t-stubborn", on_term(tmp_path / "ready", "echo no"))
    wait_for_file(tmp_path / "ready")
    began = time.monotonic()
    batch.client("batch").terminate_job(jobId=job_id, reason="enough")
    assert batch.wait_for_status(job_id)["attempts"][0]["container"]["exitCode"] == 137
    assert 0.29 <= time.monotonic() - began < 20


# The cloud.


def test_a_reclaimed_job_is_told_and_tried_again(batch: LocalBatch, submit: Submit, tmp_path: Path) -> None:
    script = f"[ $AWS_BATCH_JOB_ATTEMPT = 2 ] && exit 0; {on_term(tmp_path / 'ready', 'echo saved; exit 75')}"
    submit("reclaimed", script, **RETRIED)
    wait_for_file(tmp_path / "ready")
    batch.wait_for_status("reclaimed", "RUNNING")
    instance = batch.reclaim("reclaimed")
    job = batch.wait_for_status("reclaimed")
    first, second = job["attempts"]
    assert job["status"] == "SUCCEEDED"
    assert first["statusReason"] == f"Host EC2 (instance {instance}) terminated."
    assert "exitCode" not in first["container"]
    assert second["container"]["exitCode"] == 0
    assert batch.log_of("reclaimed", 0) == "saved"


def test_a_reclaimed_child_that_ignores_term_is_killed_and_its_siblings_are_not(
    batch: LocalBatch, submit: Submit, tmp_path: Path
) -> None:
    stubborn = f"case $AWS_BATCH_JOB_ARRAY_INDEX$AWS_BATCH_JOB_ATTEMPT in 11) {on_term(tmp_path / 'ready', '')};; esac"
    array = submit("reclaimed-child", stubborn, array=3, **RETRIED)
    wait_for_file(tmp_path / "ready")
    batch.wait_for_status(f"{array}:1", "RUNNING")
    batch.reclaim(f"{array}:1", reports_exit_code=True)
    assert batch.wait_for_status(array)["status"] == "SUCCEEDED"
    assert batch.job(f"{array}:1")["attempts"][0]["container"]["exitCode"] == 137
    assert [len(batch.job(f"{array}:{i}")["attempts"]) for i in range(3)] == [1, 2, 1]


def test_a_job_can_run_out_of_memory_and_be_stopped_without_a_reason(
    batch: LocalBatch, submit: Submit, tmp_path: Path
) -> None:
    for name in ("memory", "stopped"):
        submit(name, f"[ $AWS_BATCH_JOB_ATTEMPT = 2 ] || {{ {on_term(tmp_path / name, 'exit 75')}; }}", **RETRIED)
        wait_for_file(tmp_path / name)
        batch.wait_for_status(name, "RUNNING")
    batch.run_out_of_memory("memory")
    batch.send_signal("stopped", signal.SIGTERM)
    memory, stopped = batch.wait_for_status("memory"), batch.wait_for_status("stopped")
    assert (memory["status"], memory["container"]["exitCode"]) == ("FAILED", 137)
    assert memory["container"]["reason"].startswith("OutOfMemoryError")
    assert [a["container"]["exitCode"] for a in stopped["attempts"]] == [75, 0]
    with pytest.raises(ValueError, match="not RUNNING"):
        batch.reclaim("stopped")
    with pytest.raises(KeyError, match="no job nobody"):
        batch.reclaim("nobody")


def test_jobs_wait_in_runnable_for_vcpus_and_gpus(
    batch: LocalBatch, setup: Setup, submit: Submit, tmp_path: Path
) -> None:
    on_gpu = {"jobQueue": setup.gpu_queue, "jobDefinition": setup.gpu_definition}
    array = submit("vcpus", until(tmp_path / "go"), vcpus=2, array=3)
    first, second = (submit(f"gpu{i}", until(tmp_path / "go"), vcpus=1, **on_gpu) for i in range(2))
    for job_id in (f"{array}:0", f"{array}:1", first):
        batch.wait_for_status(job_id, "RUNNING")
    for job_id in (f"{array}:2", second):
        batch.wait_for_status(job_id, "RUNNABLE")
        assert "statusReason" not in batch.job(job_id)
    (tmp_path / "go").touch()
    for job_id in (array, first, second):
        assert batch.wait_for_status(job_id)["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("resources", "reason"),
    [
        ({"VCPU": "5"}, "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"),
        ({"MEMORY": "9000"}, "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"),
        ({"GPU": "1"}, "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"),
    ],
)
def test_what_no_instance_can_hold_stays_runnable_and_blocks_the_queue(
    batch: LocalBatch, setup: Setup, submit: Submit, resources: dict[str, str], reason: str
) -> None:
    client, queue = batch.client("batch"), f"large-{'-'.join(resources)}"
    batch.aws.make_queue(queue, setup.cpu_environment)
    overrides = {"resourceRequirements": [{"type": kind, "value": value} for kind, value in resources.items()]}
    request = {"jobQueue": queue, "jobDefinition": setup.cpu_definition, "containerOverrides": overrides}
    too_large = client.submit_job(jobName="too-large", **request)["jobId"]
    behind = submit("behind", jobQueue=queue)
    batch.wait_for_status(behind, "RUNNABLE")
    job = batch.job(too_large)
    assert job["status"] == "RUNNABLE"
    assert job["statusReason"].startswith(reason)
    assert "statusReason" not in batch.job(behind)
    client.cancel_job(jobId=too_large, reason="why")
    assert batch.wait_for_status(behind)["status"] == "SUCCEEDED"


def test_jobs_wait_for_a_cloud_without_capacity_and_for_a_disabled_environment(
    batch: LocalBatch, setup: Setup, submit: Submit
) -> None:
    client = batch.client("batch")
    with batch.capacity(setup.cpu_environment, vcpus=0):
        submit("no-capacity")
        assert batch.wait_for(lambda: "CAPACITY:" in batch.job("no-capacity").get("statusReason", ""))
    assert batch.wait_for_status("no-capacity")["status"] == "SUCCEEDED"
    client.update_compute_environment(computeEnvironment=setup.cpu_environment, state="DISABLED")
    submit("disabled")
    batch.wait_for_status("disabled", "RUNNABLE")
    client.update_compute_environment(computeEnvironment=setup.cpu_environment, state="ENABLED")
    assert batch.wait_for_status("disabled")["status"] == "SUCCEEDED"


def test_the_second_environment_of_a_queue_takes_what_the_first_has_no_room_for(
    batch: LocalBatch, setup: Setup, submit: Submit, tmp_path: Path
) -> None:
    batch.aws.make_environment("on-demand", ["optimal"], 4)
    batch.aws.make_queue("both", setup.cpu_environment, "on-demand")
    array = submit("two", f"echo $AWS_BATCH_CE_NAME; {until(tmp_path / 'go')}", vcpus=4, jobQueue="both", array=2)
    for index in range(2):
        batch.wait_for_status(f"{array}:{index}", "RUNNING")
    (tmp_path / "go").touch()
    batch.wait_for_status(array)
    assert [batch.log_of(f"{array}:{i}") for i in range(2)] == [setup.cpu_environment, "on-demand"]
