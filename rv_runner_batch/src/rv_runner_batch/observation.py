"""What AWS Batch says of a job, in words: what it waits for, or what ended it. Pure.

The texts of AWS are passed on but not relied upon: of all reasons only `Host EC2…` of a reclaimed machine and
`CannotPullContainerError…` are documented, as patterns of retry rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rv_core import Observation, TaskState, exit_code_text
from rv_core.wording import duration_text
from rv_runner_batch import limits
from rv_runner_batch.placement import environment_problem, environments_of, never_placed, queue_problem, wants_of

#: States of AWS Batch in the order in which a job goes through them.
STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
#: What our own TerminateJob gives as the reason.
CANCELLED = "cancelled by rv"
#: The same where not every job of a run could be submitted.
WITHDRAWN = "the submission of its run failed"
_STATES: Mapping[str, TaskState] = {
    "SUBMITTED": "submitted",
    "PENDING": "waiting",
    "RUNNABLE": "submitted",
    "STARTING": "submitted",
    "RUNNING": "running",
    "SUCCEEDED": "done",
    "FAILED": "failed",
}
#: The service's own codes of what keeps a job from being placed, in words.
_BLOCKED = {
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY": "waits for capacity: EC2 has none of the instance types at the moment",
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE": "asks for more vCPUs than the compute environment may have",
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT": "asks for more than any instance of the compute environment has",
    "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS": "the compute environment's service role lacks permissions",
}
_EXITS = {
    126: "the program of the image cannot be run",
    127: "the image has no such program; is it built from docker/Dockerfile?",
}
_SUBMITTED_LATELY_S = 300.0
_SUBMITTED_LONG_AGO_S = float(limits.JOB_RETENTION_S)


@dataclass(frozen=True)
class Surroundings:
    """What has to be known to say why a job waits.

    Args:
        queues: name and ARN -> JobQueueDetail.
        environments: name and ARN -> ComputeEnvironmentDetail.
        now_s: seconds since 1970.
    """

    queues: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    environments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    now_s: float = 0.0


def observe(detail: Mapping[str, Any], around: Surroundings, *, failed_upstream: Sequence[str] = ()) -> Observation:
    """What is to be said of a plain job or of a child.

    Args:
        detail: JobDetail. A JobSummary does, too, and says less.
        around: queues and compute environments.
        failed_upstream: ids of the jobs that it depends on and that have failed.
    """
    status, attempts = detail["status"], detail.get("attempts", ())
    state, exit_code = _STATES[status], None
    if status == "FAILED":
        state, reason, exit_code = _why_failed(detail, failed_upstream)
    elif status in ("SUCCEEDED", "RUNNING"):
        reason = _before(attempts) if status == "RUNNING" else ""
    else:
        reason = "; ".join(filter(None, [_why_not_running(detail, around), _before(attempts)]))
    is_over = status in ("SUCCEEDED", "FAILED")
    return Observation(
        state=state,
        reason=reason,
        exit_code=0 if status == "SUCCEEDED" else exit_code,
        attempt=_attempt_number(detail, status, len(attempts)),
        native_id=detail["jobId"],
        started=(detail.get("startedAt") or 0) / 1000,
        ended=(detail.get("stoppedAt") or 0) / 1000 if is_over else 0.0,
    )


def forgotten(native_id: str, age_s: float) -> Observation:
    """What is to be said of a job that AWS Batch does not know.

    Args:
        native_id: its id.
        age_s: how long ago its run was submitted.
    """
    if age_s < _SUBMITTED_LATELY_S:
        return Observation("submitted", "was submitted a moment ago", native_id=native_id)
    if age_s < _SUBMITTED_LONG_AGO_S:
        reason = "AWS Batch knows no job of this id; is this another account or region than it was submitted to?"
        return Observation("unknown", reason, native_id=native_id)
    reason = "AWS Batch has forgotten this job, as it does some days after a job has ended"
    return Observation("lost", reason, native_id=native_id)


def never_submitted(age_s: float) -> Observation | None:
    """What is to be said of a job that has no id; None while its submission may still be going on."""
    if age_s < _SUBMITTED_LATELY_S:
        return None
    return Observation("lost", "was never submitted: the submission was cut short; the same command goes on")


def _attempt_number(detail: Mapping[str, Any], status: str, num_ended: int) -> int:
    if status in ("SUCCEEDED", "FAILED"):
        return num_ended
    if status == "RUNNING":
        return num_ended + 1 if "attempts" in detail else 0
    return num_ended + 1 if num_ended else 0


def _why_not_running(detail: Mapping[str, Any], around: Surroundings) -> str:
    status = detail["status"]
    since = _since(detail, around)
    if status == "SUBMITTED":
        return "AWS Batch is looking at what it depends on"
    if status == "PENDING":
        return "waits for the jobs before it"
    if status == "STARTING":
        return f"is starting: the image is pulled{since}"
    return f"{_why_runnable(detail, around)}{since}"


def _since(detail: Mapping[str, Any], around: Surroundings) -> str:
    created_s = (detail.get("createdAt") or 0) / 1000
    waited_s = around.now_s - created_s
    return f" (for {duration_text(waited_s)})" if created_s and waited_s >= 60 else ""


def _why_runnable(detail: Mapping[str, Any], around: Surroundings) -> str:
    queue = around.queues.get(detail.get("jobQueue", ""))
    said = detail.get("statusReason") or ""
    if queue is None:
        return _in_words(said) or "waits for capacity"
    environments = environments_of(queue, around.environments)
    problem = queue_problem(queue) or _no_environment(environments)
    if problem:
        return f"cannot start: {problem}"
    wants = wants_of(detail.get("container", {}))
    never = never_placed(wants, environments)
    if never:
        return f"can never start: it asks for {wants}, and {never}"
    return _in_words(said) or f"waits for capacity in {queue['jobQueueName']}"


def _no_environment(environments: Sequence[Mapping[str, Any]]) -> str:
    problems = [environment_problem(environment) for environment in environments]
    return "; ".join(problems) if problems and all(problems) else ""


def _in_words(said: str) -> str:
    for code, words in _BLOCKED.items():
        if said.startswith(code):
            never = "" if code.startswith("CAPACITY") else "can never start: it "
            return f"{never}{words} ({said})" if not words.startswith("the ") else f"cannot start: {words} ({said})"
    return ""


def _before(attempts: Sequence[Mapping[str, Any]]) -> str:
    """What ended the attempt before the one that goes on or is to come."""
    if not attempts:
        return ""
    reason, _ = _why_attempt_failed(attempts[-1], 0)
    return f"attempt {len(attempts)} ended: {reason}" if reason else ""


def _why_failed(detail: Mapping[str, Any], failed_upstream: Sequence[str]) -> tuple[TaskState, str, int | None]:
    attempts = detail.get("attempts", ())
    said = detail.get("statusReason") or ""
    is_ours = detail.get("isTerminated") or detail.get("isCancelled") or said.startswith((CANCELLED, WITHDRAWN))
    timeout_s = detail.get("timeout", {}).get("attemptDurationSeconds", 0)
    last = attempts[-1] if attempts else _as_attempt(detail)
    reason, exit_code = _why_attempt_failed(last, timeout_s)
    if is_ours:
        return "cancelled", said or CANCELLED, exit_code
    if not detail.get("startedAt") and not attempts:
        return "failed", _why_never_started(detail, failed_upstream), exit_code
    if reason and len(attempts) > 1:
        reason = f"{reason}; it was attempt {len(attempts)}, and there are no more"
    return "failed", reason, exit_code


def _as_attempt(detail: Mapping[str, Any]) -> dict[str, Any]:
    """A JobSummary, which has no attempts, as its last attempt."""
    members = ("container", "startedAt", "stoppedAt", "statusReason")
    return {name: detail[name] for name in members if name in detail}


def _why_never_started(detail: Mapping[str, Any], failed_upstream: Sequence[str]) -> str:
    if failed_upstream:
        return f"did not start: {', '.join(failed_upstream)} failed"
    said = detail.get("statusReason") or (detail.get("container") or {}).get("reason") or "no reason given"
    return f"did not start: {_in_words(said) or said}"


def _why_attempt_failed(attempt: Mapping[str, Any], timeout_s: float) -> tuple[str, int | None]:
    """(reason, exit code) of an attempt; "" where its own exit code and its own last words say it all."""
    container = attempt.get("container") or {}
    exit_code, said = container.get("exitCode"), container.get("reason") or ""
    status_reason = attempt.get("statusReason") or ""
    if status_reason.startswith("Host EC2"):
        return f"the spot machine was reclaimed ({status_reason})", exit_code
    if said.startswith("CannotPullContainerError"):
        return f"the image cannot be pulled: {said}", exit_code
    if "OutOfMemory" in said:
        return f"out of memory: raise memory_mib ({said})", exit_code
    if _has_timed_out(attempt, status_reason, timeout_s):
        limit = f" after {duration_text(timeout_s)}" if timeout_s else ""
        return f"timed out{limit}; the same command goes on from what is done", exit_code
    return exit_code_text(exit_code, _EXITS) or _by_words(exit_code, said, status_reason), exit_code


def _has_timed_out(attempt: Mapping[str, Any], status_reason: str, timeout_s: float) -> bool:
    if "timeout" in status_reason.lower():
        return True
    ran_s = ((attempt.get("stoppedAt") or 0) - (attempt.get("startedAt") or 0)) / 1000
    return bool(timeout_s and attempt.get("startedAt") and ran_s >= timeout_s)


def _by_words(exit_code: int | None, said: str, status_reason: str) -> str:
    if said:
        return said
    return "" if exit_code else status_reason
