"""Jobs as DescribeJobs and ListJobs show them; pure.

`startedAt` of JobDetail is required by the model; botocore and others have met answers without it. A job that has not
started has 0 here, the parent of an array has none, so that a client meets both. An attempt that still runs shows in
`container` alone; `attempts` holds those that have ended.
"""

from __future__ import annotations

from typing import Any

from tests.local_batch.jobs import STATUSES, Job

_ACCOUNT = "123456789012"


def job_arn(job: Job) -> str:
    """The ARN of a job; it has the region of its queue."""
    region = job.spec.queue.split(":")[3]
    return f"arn:aws:batch:{region}:{_ACCOUNT}:job/{job.id}"


def detail_of(job: Job) -> dict[str, Any]:
    """Members of JobDetail."""
    spec = job.spec
    detail = {
        **_common(job),
        "jobQueue": spec.queue,
        "attempts": list(job.attempts),
        "retryStrategy": dict(spec.retry),
        "dependsOn": [dict(dependency) for dependency in spec.depends_on],
        "container": {**spec.container, **_last_container(job)},
        **spec.described,
        "isCancelled": job.is_cancelled,
        "isTerminated": job.is_terminated,
    }
    if spec.timeout_s:
        detail["timeout"] = {"attemptDurationSeconds": spec.timeout_s}
    if not job.children:
        detail["startedAt"] = job.started_ms
    return detail


def summary_of(job: Job) -> dict[str, Any]:
    """Members of JobSummary."""
    summary = _common(job)
    container = {name: value for name, value in _last_container(job).items() if name in ("exitCode", "reason")}
    flags = {"isCancelled": job.is_cancelled, "isTerminated": job.is_terminated}
    summary.update({name: True for name, value in flags.items() if value})
    if container:
        summary["container"] = container
    if "shareIdentifier" in job.spec.described:
        summary["shareIdentifier"] = job.spec.described["shareIdentifier"]
    return summary


def _common(job: Job) -> dict[str, Any]:
    members: dict[str, Any] = {
        "jobArn": job_arn(job),
        "jobId": job.id,
        "jobName": job.spec.name,
        "status": job.status,
        "createdAt": job.created_ms,
        "jobDefinition": job.spec.definition,
    }
    optional = {"statusReason": job.reason, "startedAt": job.started_ms, "stoppedAt": job.stopped_ms}
    members.update({name: value for name, value in optional.items() if value})
    if job.children:
        counts = {status: job.counts[status] for status in STATUSES}
        members["arrayProperties"] = {"size": len(job.children), "statusSummary": counts}
    elif job.parent is not None:
        members["arrayProperties"] = {"index": job.index}
    return members


def _last_container(job: Job) -> dict[str, Any]:
    """What is known of the container that runs, else of the last one."""
    if job.attempt is not None:
        return job.attempt.container_detail()
    return dict(job.attempts[-1]["container"]) if job.attempts else {}
