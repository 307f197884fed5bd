"""From a plan to `SubmitJob` requests, in an order in which every job comes after those that it depends on. Pure.

A request is small whatever the size of the run: it names the run's immutable config and a command, never the config.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rv_core import Job, Plan
from rv_core.redaction import redact_settings
from rv_runner_batch import limits
from rv_runner_batch.job_settings import JobSettings, job_settings
from rv_runner_batch.settings import BatchSettings

#: What ends an attempt but not the job, in this order; anything else ends the job, a signal too: on machines that hold
#: nothing but tasks it is the end of memory, which the next attempt meets again. A timeout is never retried by Batch.
RETRY_RULES: tuple[Mapping[str, str], ...] = (
    {"onStatusReason": "Host EC2*", "action": "RETRY"},  # the spot machine was reclaimed
    {"onExitCode": "75", "action": "RETRY"},  # stopped by TERM with its state saved
    {"onReason": "CannotPullContainerError*", "action": "RETRY"},
    {"onReason": "*", "action": "EXIT"},
)
#: A job that only waits for more jobs than one can depend on.
_JOIN_COMMAND = ("true",)
_HASH_LENGTH = 8


@dataclass(frozen=True)
class JobRequest:
    """One job of AWS Batch.

    Args:
        key: the job's id in the plan; of a join job that of its dependant with `+join-<n>` behind it.
        job: the job of the plan; None for a join job.
        params: the parameters of `SubmitJob`, without `dependsOn`.
        depends_on: keys of the requests that this one comes after; at most 20.
    """

    key: str
    job: Job | None
    params: Mapping[str, Any]
    depends_on: tuple[str, ...]

    def with_ids(self, ids: Mapping[str, str]) -> dict[str, Any]:
        """The parameters of `SubmitJob`.

        Args:
            ids: key -> id that AWS Batch gave, of all that it depends on.
        """
        if not self.depends_on:
            return dict(self.params)
        return {**self.params, "dependsOn": [{"jobId": ids[key]} for key in self.depends_on]}


def requests_of(
    plan: Plan,
    settings: BatchSettings,
    *,
    run_id: str,
    argv: Callable[[Job], Sequence[str]],
    environ: Callable[[Job], Mapping[str, str]],
) -> list[JobRequest]:
    """The requests of a plan, in the order in which they are to be sent.

    Args:
        plan: the plan.
        settings: queues, definitions and what jobs ask for.
        run_id: the id of the run; it enters the names.
        argv: the command line that all tasks of a job share.
        environ: the variables that a job's tasks need.
    """
    requests: list[JobRequest] = []
    for job in plan.jobs:
        own = job_settings(job, settings)
        joins, parents = _joined(job, own, run_id, settings)
        requests += joins
        requests.append(JobRequest(job.id, job, _params(job, own, run_id, argv(job), environ(job)), parents))
    return requests


def render(requests: Sequence[JobRequest]) -> str:
    """The requests as JSON, with the keys of other requests where their ids will be, and without secrets."""
    named = {request.key: f"<id of {request.params['jobName']}>" for request in requests}
    return json.dumps([_shown(request.with_ids(named), request.job) for request in requests], indent=1)


def _shown(params: dict[str, Any], job: Job | None) -> dict[str, Any]:
    """A request as people may see it: values of variables with the name of a secret are hidden."""
    overrides = params["containerOverrides"]
    shown = redact_settings({pair["name"]: pair["value"] for pair in overrides.get("environment", ())})
    variables = [{"name": name, "value": value} for name, value in shown.items()]
    return {**params, "containerOverrides": {**overrides, "environment": variables} if variables else overrides}


def name_prefix(run_id: str) -> str:
    """What the names of all jobs of a run begin with."""
    return f"rv-{run_id}-"


def job_name(run_id: str, job_id: str) -> str:
    """The name of a job: the same for the same run and job, another one for every other.

    Where the job's id holds what names cannot, or is too long, a hash of it keeps the names apart.
    """
    name = name_prefix(run_id) + re.sub(r"[^A-Za-z0-9_-]", "-", job_id)
    # Names of a pipeline may hold dashes too, so the dot between pipeline and command is not the only way to a dash.
    if len(name) <= limits.MAX_NAME_LENGTH and re.fullmatch(r"[A-Za-z0-9_]+\.[A-Za-z0-9_]+", job_id):
        return name
    digest = hashlib.sha256(job_id.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{name[: limits.MAX_NAME_LENGTH - _HASH_LENGTH - 1]}-{digest}"


def _params(job: Job, own: JobSettings, run_id: str, argv: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any]:
    variables = {**environ, **own.environment}
    overrides: dict[str, Any] = {
        "command": list(argv),
        "environment": [{"name": name, "value": value} for name, value in variables.items()],
    }
    # The older members `vcpus` and `memory` do not override the resourceRequirements of a definition.
    requirements = list(_requirements(own))
    if requirements:
        overrides["resourceRequirements"] = requirements
    params = {**_common(job.id, own, run_id), "containerOverrides": overrides}
    params["retryStrategy"] = {"attempts": own.attempts, "evaluateOnExit": [dict(rule) for rule in RETRY_RULES]}
    if own.timeout_s is not None:
        params["timeout"] = {"attemptDurationSeconds": max(limits.MIN_TIMEOUT_S, own.timeout_s)}
    if len(job.tasks) > 1:
        params["arrayProperties"] = {"size": len(job.tasks)}
    return params


def _common(job_id: str, own: JobSettings, run_id: str) -> dict[str, Any]:
    params: dict[str, Any] = {
        "jobName": job_name(run_id, job_id),
        "jobQueue": own.job_queue,
        "jobDefinition": own.job_definition,
        "propagateTags": True,
        "tags": {"rv-run": run_id, "rv-job": job_id[: limits.MAX_TAG_VALUE], **own.tags},
    }
    if own.share_identifier:
        params["shareIdentifier"] = own.share_identifier
    if own.scheduling_priority is not None:
        params["schedulingPriorityOverride"] = own.scheduling_priority
    return params


def _requirements(own: JobSettings) -> Iterator[dict[str, str]]:
    for kind, value in (("VCPU", own.cpus), ("MEMORY", own.memory_mib), ("GPU", own.gpus or None)):
        if value is not None:
            yield {"type": kind, "value": str(value)}


def _joined(
    job: Job, own: JobSettings, run_id: str, settings: BatchSettings
) -> tuple[list[JobRequest], tuple[str, ...]]:
    """Join jobs, as many as it takes, and the at most 20 keys that the job itself then depends on.

    They run on the CPU queue with the CPU definition, and what they ask for is the definition's.
    """
    parents = tuple(job.requires)
    joins: list[JobRequest] = []
    while len(parents) > limits.MAX_DEPENDENCIES:
        level = []
        for start in range(0, len(parents), limits.MAX_DEPENDENCIES):
            group = parents[start : start + limits.MAX_DEPENDENCIES]
            if len(group) == 1:
                level.append(group[0])
                continue
            key = f"{job.id}+join-{len(joins) + 1}"
            joins.append(JobRequest(key, None, _join_params(key, own, run_id, settings), group))
            level.append(key)
        parents = tuple(level)
    return joins, parents


def _join_params(key: str, own: JobSettings, run_id: str, settings: BatchSettings) -> dict[str, Any]:
    params = _common(key, own, run_id)
    params["jobQueue"] = settings.cpu_job_queue or own.job_queue
    params["jobDefinition"] = settings.cpu_job_definition or own.job_definition
    params["containerOverrides"] = {"command": list(_JOIN_COMMAND)}
    params["retryStrategy"] = {"attempts": own.attempts, "evaluateOnExit": [dict(rule) for rule in RETRY_RULES]}
    return params
