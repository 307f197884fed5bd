"""Recorded answers of AWS Batch give the sentences that people read."""

from __future__ import annotations

from typing import Any

import pytest

from rv_runner_batch.observation import Surroundings, forgotten, never_submitted, observe

NOW_S = 1_795_000_600.0
CREATED_MS = 1_795_000_000_000
QUEUE = {
    "jobQueueName": "gpu",
    "jobQueueArn": "arn:gpu",
    "state": "ENABLED",
    "status": "VALID",
    "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "arn:ce"}],
}
ENVIRONMENT = {
    "computeEnvironmentName": "gpu-spot",
    "state": "ENABLED",
    "status": "VALID",
    "computeResources": {"type": "SPOT", "maxvCpus": 16, "instanceTypes": ["g5"]},
}


def around(queue: dict[str, Any] | None = None, environment: dict[str, Any] | None = None) -> Surroundings:
    return Surroundings(
        {"arn:gpu": {**QUEUE, **(queue or {})}}, {"arn:ce": {**ENVIRONMENT, **(environment or {})}}, NOW_S
    )


def detail(status: str, **members: Any) -> dict[str, Any]:
    common = {"jobId": "id-1", "jobName": "n", "jobQueue": "arn:gpu", "createdAt": CREATED_MS, "startedAt": 0}
    return {**common, "status": status, "attempts": [], "container": {}, **members}


def attempt(exit_code: int | None = None, reason: str = "", status_reason: str = "", ran_s: int = 10) -> dict[str, Any]:
    container: dict[str, Any] = {"reason": reason} if reason else {}
    if exit_code is not None:
        container["exitCode"] = exit_code
    times = {"startedAt": CREATED_MS, "stoppedAt": CREATED_MS + ran_s * 1000}
    return {"container": container, "statusReason": status_reason, **times}


def failed(*attempts: dict[str, Any], **members: Any) -> dict[str, Any]:
    times = {"startedAt": CREATED_MS, "stoppedAt": CREATED_MS + 10_000} if attempts else {}
    return detail("FAILED", attempts=list(attempts), **{**times, **members})


HOST = "Host EC2 (instance i-0abc) terminated."
PULL = "CannotPullContainerError: pull access denied"
EXITED = "Essential container in task exited"

ANSWERS = {
    "just submitted": (detail("SUBMITTED"), "submitted", "AWS Batch is looking at what it depends on"),
    "pending": (detail("PENDING"), "waiting", "waits for the jobs before it"),
    "waiting for capacity": (detail("RUNNABLE"), "submitted", "waits for capacity in gpu (for 10:00)"),
    "no instances to be had": (
        detail("RUNNABLE", statusReason="CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill"),
        "submitted",
        (
            "waits for capacity: EC2 has none of the instance types at the moment "
            "(CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill) (for 10:00)"
        ),
    ),
    "larger than the environment": (
        detail("RUNNABLE", container={"resourceRequirements": [{"type": "VCPU", "value": "64"}]}),
        "submitted",
        "can never start: it asks for 64 vCPUs, and gpu-spot has at most 16 vCPUs (for 10:00)",
    ),
    "larger than any instance": (
        detail("RUNNABLE", statusReason="MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"),
        "submitted",
        (
            "can never start: it asks for more than any instance of the compute environment has "
            "(MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT) (for 10:00)"
        ),
    ),
    "service role": (
        detail("RUNNABLE", statusReason="MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS"),
        "submitted",
        (
            "cannot start: the compute environment's service role lacks permissions "
            "(MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS) (for 10:00)"
        ),
    ),
    "starting": (detail("STARTING"), "submitted", "is starting: the image is pulled (for 10:00)"),
    "running again": (
        detail("RUNNING", startedAt=CREATED_MS, attempts=[attempt(143, "", HOST)]),
        "running",
        f"attempt 1 ended: the spot machine was reclaimed ({HOST})",
    ),
    "waiting again": (
        detail("RUNNABLE", attempts=[attempt(75)]),
        "submitted",
        "waits for capacity in gpu (for 10:00); attempt 1 ended: was stopped with its state saved",
    ),
    "reclaimed for good": (
        failed(attempt(None, "", HOST), attempt(None, "", HOST)),
        "failed",
        f"the spot machine was reclaimed ({HOST}); it was attempt 2, and there are no more",
    ),
    "image": (failed(attempt(None, PULL, "Task failed to start")), "failed", f"the image cannot be pulled: {PULL}"),
    "out of memory": (
        failed(attempt(137, "OutOfMemoryError: Container killed due to memory usage", EXITED)),
        "failed",
        "out of memory: raise memory_mib (OutOfMemoryError: Container killed due to memory usage)",
    ),
    "killed": (
        failed(attempt(137, "", EXITED)),
        "failed",
        "killed, most often because memory ran out: raise memory_mib",
    ),
    "no such program": (
        failed(attempt(127, "", EXITED)),
        "failed",
        "the image has no such program; is it built from docker/Dockerfile?",
    ),
    "its own error": (failed(attempt(1, "", EXITED)), "failed", ""),
    "timed out, said": (
        failed(attempt(137, "", "Job attempt duration exceeded timeout"), timeout={"attemptDurationSeconds": 600}),
        "failed",
        "timed out after 10:00; the same command goes on from what is done",
    ),
    "timed out, seen": (
        failed(attempt(75, "", "whatever AWS says", ran_s=601), timeout={"attemptDurationSeconds": 600}),
        "failed",
        "timed out after 10:00; the same command goes on from what is done",
    ),
    "terminated": (
        failed(attempt(143, "", "cancelled by rv"), isTerminated=True, statusReason="cancelled by rv"),
        "cancelled",
        "cancelled by rv",
    ),
    "withdrawn": (
        failed(statusReason="the submission of its run failed"),
        "cancelled",
        "the submission of its run failed",
    ),
    "never placed": (
        failed(statusReason="MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"),
        "failed",
        (
            "did not start: can never start: it asks for more vCPUs than the compute environment may have "
            "(MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE)"
        ),
    ),
    "done": (detail("SUCCEEDED", startedAt=CREATED_MS, stoppedAt=CREATED_MS + 1000, attempts=[attempt(0)]), "done", ""),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_each_answer_becomes_a_state_and_a_sentence(name: str) -> None:
    answer, state, reason = ANSWERS[name]
    seen = observe(answer, around())
    assert (seen.state, seen.reason) == (state, reason)


def test_a_failed_dependency_is_named_whatever_aws_says() -> None:
    seen = observe(failed(statusReason="Dependent Job failed"), around(), failed_upstream=["pipe1.chip"])
    assert (seen.state, seen.reason) == ("failed", "did not start: pipe1.chip failed")


@pytest.mark.parametrize(
    ("queue", "environment", "said"),
    [
        ({"state": "DISABLED"}, {}, "cannot start: the job queue gpu is disabled"),
        ({}, {"state": "DISABLED"}, "cannot start: the compute environment gpu-spot is disabled"),
        (
            {},
            {"status": "INVALID", "statusReason": "CLIENT_ERROR - no role"},
            "cannot start: the compute environment gpu-spot is INVALID: CLIENT_ERROR - no role",
        ),
    ],
)
def test_what_starts_nothing_is_named(queue: dict[str, Any], environment: dict[str, Any], said: str) -> None:
    assert observe(detail("RUNNABLE"), around(queue, environment)).reason == f"{said} (for 10:00)"


def test_without_a_look_at_queues_the_answers_own_words_are_translated() -> None:
    blind = Surroundings(now_s=NOW_S)
    assert observe(detail("RUNNABLE"), blind).reason == "waits for capacity (for 10:00)"


def test_numbers_come_along() -> None:
    seen = observe(failed(attempt(75), attempt(3, "", EXITED)), around())
    assert (seen.attempt, seen.exit_code, seen.native_id) == (2, 3, "id-1")
    assert (seen.started, seen.ended) == (CREATED_MS / 1000, CREATED_MS / 1000 + 10)
    running = observe(detail("RUNNING", startedAt=CREATED_MS, attempts=[attempt(75)]), around())
    assert (running.attempt, running.exit_code, running.ended) == (2, None, 0.0)


def test_a_summary_says_less_and_is_enough() -> None:
    summary = {
        "jobId": "id-1:3",
        "status": "FAILED",
        "startedAt": CREATED_MS,
        "stoppedAt": CREATED_MS + 1,
        "container": {"exitCode": 137, "reason": "OutOfMemoryError: x"},
    }
    seen = observe(summary, around())
    assert (seen.state, seen.exit_code, seen.reason) == (
        "failed",
        137,
        "out of memory: raise memory_mib (OutOfMemoryError: x)",
    )
    assert observe({"jobId": "id-1:4", "status": "RUNNING", "startedAt": CREATED_MS}, around()).state == "running"


def test_a_job_that_batch_does_not_know_is_new_elsewhere_or_long_over() -> None:
    assert [forgotten("id", age_s).state for age_s in (10, 86_400, 30 * 86_400)] == ["submitted", "unknown", "lost"]
    assert "another account or region" in forgotten("id", 86_400).reason


def test_a_job_without_an_id_is_lost_once_nobody_can_be_submitting_any_more() -> None:
    assert never_submitted(10) is None
    seen = never_submitted(3600)
    assert seen is not None
    assert (seen.state, seen.reason.partition(":")[0]) == ("lost", "was never submitted")
