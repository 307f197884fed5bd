"""The jobs of a run that was submitted: their ids as they were recorded, what AWS Batch says of them, their logs, their end."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rv_core import Job, Observation, RunnerError, RunRecord
from rv_runner_batch import limits
from rv_runner_batch.client import AwsError, BatchClient
from rv_runner_batch.observation import CANCELLED, STATUSES, Surroundings, forgotten, never_submitted, observe
from rv_runner_batch.placement import environment_names
from rv_runner_batch.settings import BatchSettings
from rv_runner_batch.submission import job_name, name_prefix

_OVER = ("SUCCEEDED", "FAILED")
#: States whose reason and attempts only JobDetail tells; a hundred children of each array are asked about, these first.
_TOLD_MORE = ("FAILED", "RUNNABLE", "RUNNING")
_DEFAULT_LOG_GROUP = "/aws/batch/job"


def queues_of(settings: BatchSettings) -> list[str]:
    """Every queue that the settings name."""
    own = [command.job_queue for command in settings.commands.values()]
    return [name for name in dict.fromkeys((settings.cpu_job_queue, settings.gpu_job_queue, *own)) if name]


def named_jobs(client: BatchClient, queues: Iterable[str], run_id: str) -> dict[str, str]:
    """Job id -> name of every job in the queues that bears the name of a run.

    Raises:
        AwsError: if AWS Batch cannot be asked.
    """
    return {
        job["jobId"]: job["jobName"]
        for queue in queues
        for job in client.named(queue, name_prefix(run_id))
        if job["jobName"].startswith(name_prefix(run_id))
    }


class RunJobs:
    """The jobs of one run.

    Args:
        run: its record.
        settings: the settings that it was submitted with.
        client: asks AWS.
    """

    def __init__(self, run: RunRecord, settings: BatchSettings, client: BatchClient) -> None:
        self._run = run
        self._settings = settings
        self._client = client
        self._jobs = run.plan().jobs

    def observe(self) -> dict[str, Observation]:
        """Task id -> what AWS Batch says of it: one call for a hundred jobs, and a few for each array.

        Raises:
            AwsError: if it cannot be asked.
        """
        ids = self._ids()
        details = self._client.describe(ids[job.id] for job in self._jobs if job.id in ids)
        children = {
            job.id: self._children(details[ids[job.id]])
            for job in self._jobs
            if len(job.tasks) > 1 and ids.get(job.id) in details
        }
        around = self._surroundings(details, children)
        failed = {job.id for job in self._jobs if details.get(ids.get(job.id, ""), {}).get("status") == "FAILED"}
        found: dict[str, Observation] = {}
        for job in self._jobs:
            upstream = [name for name in job.requires if name in failed]
            detail = details.get(ids.get(job.id, ""))
            if detail is None:
                found.update(self._unknown(job, ids.get(job.id, "")))
                continue
            own = children.get(job.id, {})
            for task in job.tasks:
                seen = observe(own.get(task.split_index, detail), around, failed_upstream=upstream)
                found[task.id] = seen
        return found

    def _ids(self) -> dict[str, str]:
        """Job -> id as recorded; where one is missing, the queues are asked for a job of its name."""
        ids = self._run.native_ids()
        missing = [job for job in self._jobs if job.id not in ids]
        if missing:
            by_name = {name: id_ for id_, name in self._named().items()}
            names = {job.id: job_name(self._run.run_id, job.id) for job in missing}
            ids.update({job: by_name[name] for job, name in names.items() if name in by_name})
        return ids

    def _named(self) -> dict[str, str]:
        return named_jobs(self._client, queues_of(self._settings), self._run.run_id)

    def _unknown(self, job: Job, native_id: str) -> Iterator[tuple[str, Observation]]:
        age_s = time.time() - datetime.fromisoformat(self._run.created).timestamp()
        seen = forgotten(native_id, age_s) if native_id else never_submitted(age_s)
        return ((task.id, seen) for task in job.tasks if seen is not None)

    def _children(self, parent: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
        """Index -> what is known of a child, its parent's queue, requests and timeout included; {} before there are any."""
        array = parent.get("arrayProperties", {})
        counts = {status: int(array.get("statusSummary", {}).get(status, 0)) for status in STATUSES}
        if not any(counts.values()):
            return {}
        summaries = self._summaries(parent, counts, int(array.get("size", 0)))
        found = {
            index: {
                **{name: parent[name] for name in ("jobQueue", "timeout") if name in parent},
                **summary,
                "container": {**parent.get("container", {}), **summary.get("container", {})},
            }
            for index, summary in summaries.items()
        }
        interesting = [c["jobId"] for status in _TOLD_MORE for c in found.values() if c["status"] == status]
        details = self._client.describe(interesting[: limits.MAX_DESCRIBED_JOBS])
        return {index: details.get(child["jobId"], child) for index, child in found.items()}

    def _summaries(self, parent: Mapping[str, Any], counts: Mapping[str, int], size: int) -> dict[int, dict[str, Any]]:
        """Index -> JobSummary. The most frequent state is not listed but inferred, if the numbers agree.

        States are listed in the order in which a job goes through them, so that none slips by between two lists.
        """
        frequent = max(STATUSES, key=lambda status: counts[status])
        found: dict[int, dict[str, Any]] = {}
        for status in STATUSES:
            if counts[status] and status != frequent:
                found.update(self._listed(parent["jobId"], status))
        rest = [index for index in range(size) if index not in found]
        if len(rest) != counts[frequent]:
            found.update(self._listed(parent["jobId"], frequent))
            return found
        common = {"status": frequent, "createdAt": parent.get("createdAt", 0)}
        return {**found, **{index: {**common, "jobId": f"{parent['jobId']}:{index}"} for index in rest}}

    def _listed(self, array_id: str, status: str) -> dict[int, dict[str, Any]]:
        return {int(c["jobId"].rpartition(":")[2]): c for c in self._client.children(array_id, status)}

    def _surroundings(
        self, details: Mapping[str, Mapping[str, Any]], children: Mapping[str, Mapping[int, Mapping[str, Any]]]
    ) -> Surroundings:
        """Queues and compute environments of the jobs that wait; nothing is asked where none does."""
        every = [*details.values(), *(child for own in children.values() for child in own.values())]
        waiting = {detail["jobQueue"] for detail in every if detail["status"] == "RUNNABLE" and "jobQueue" in detail}
        if not waiting:
            return Surroundings(now_s=time.time())
        try:
            queues = self._client.queues(waiting)
            environments = self._client.environments(environment_names(queues.values()))
            return Surroundings(queues, environments, time.time())
        except AwsError as error:
            if error.kind != "denied":
                raise
            return Surroundings(now_s=time.time())

    def logs(self, task_id: str) -> Iterator[str]:
        """The log lines of a task's last attempt, as CloudWatch has them.

        Raises:
            RunnerError: if there are none, with the reason.
        """
        detail = self._detail_of(task_id)
        container = detail.get("container", {})
        config = container.get("logConfiguration", {})
        if config.get("logDriver", "awslogs") != "awslogs":
            raise RunnerError(f"the job definition sends logs to {config['logDriver']}, not to CloudWatch")
        ended = [attempt.get("container", {}).get("logStreamName") for attempt in detail.get("attempts", ())]
        stream = container.get("logStreamName") or next((name for name in reversed(ended) if name), None)
        if stream is None:
            reason = observe(detail, Surroundings(now_s=time.time())).reason
            raise RunnerError(f"{task_id} has no log stream", why=reason or f"it is {detail['status']}")
        return self._client.log_lines(config.get("options", {}).get("awslogs-group", _DEFAULT_LOG_GROUP), stream)

    def _detail_of(self, task_id: str) -> dict[str, Any]:
        job, task = next((job, task) for job in self._jobs for task in job.tasks if task.id == task_id)
        ids = self._ids()
        if job.id not in ids:
            raise RunnerError(f"{job.id} was not submitted to AWS Batch")
        own_id = f"{ids[job.id]}:{task.split_index}" if len(job.tasks) > 1 else ids[job.id]
        found = self._client.describe([own_id])
        if own_id not in found:
            raise RunnerError(f"AWS Batch knows no job {own_id}", why="finished jobs are forgotten after some days")
        return found[own_id]

    def cancel(self, reason: str = CANCELLED) -> int:
        """End every job that has not ended, dependants first; how many.

        Raises:
            RunnerError: if some could not be ended; the others are.
        """
        recorded = list(self._run.native_ids().values())
        every = [*(id_ for id_ in self._named() if id_ not in recorded), *reversed(recorded)]
        details = self._client.describe(every)
        alive = [id_ for id_ in every if id_ in details and details[id_]["status"] not in _OVER]
        terminate_all(self._client, alive, reason)
        return len(alive)


def terminate_all(client: BatchClient, ids: Sequence[str], reason: str) -> None:
    """End jobs in the order given, every one of them even where one cannot be ended.

    Raises:
        RunnerError: naming those that could not be ended.
    """
    problems: dict[str, str] = {}
    for job_id in ids:
        try:
            client.terminate(job_id, reason)
        except AwsError as error:
            problems[job_id] = error.block.what
    if problems:
        raise RunnerError(
            f"{len(problems)} of {len(ids)} jobs could not be ended: {', '.join(problems)}",
            why="; ".join(dict.fromkeys(problems.values())),
            fix="run rv cancel again, or end them in the AWS console",
        )
