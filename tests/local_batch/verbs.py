"""The five job verbs: the documented limits first, then the effect."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tests.local_batch import limits
from tests.local_batch.account import Account
from tests.local_batch.answers import detail_of, job_arn, summary_of
from tests.local_batch.api_model import ApiError
from tests.local_batch.faults import Faults
from tests.local_batch.jobs import Job
from tests.local_batch.scheduler import Scheduler
from tests.local_batch.submission import spec_of

Params = Mapping[str, Any]
Answer = dict[str, Any]


class Verbs:
    """SubmitJob, DescribeJobs, ListJobs, CancelJob, TerminateJob.

    Args:
        account: queues and definitions.
        scheduler: the jobs.
        faults: what is to go wrong.
    """

    def __init__(self, account: Account, scheduler: Scheduler, faults: Faults) -> None:
        self._account = account
        self._scheduler = scheduler
        self._faults = faults
        self.answers: dict[str, Callable[[Params], Answer]] = {
            "SubmitJob": self._submit,
            "DescribeJobs": self._describe,
            "ListJobs": self._list,
            "CancelJob": self._cancel,
            "TerminateJob": self._terminate,
        }

    def _submit(self, params: Params) -> Answer:
        error, is_accepted = self._faults.submit_error()
        if error is not None and not is_accepted:
            raise error
        queue = self._queue(params["jobQueue"])
        definition = self._account.definition(params["jobDefinition"])
        if definition is None:
            raise ApiError(f"JobDefinition {params['jobDefinition']} not found")
        _refuse(limits.queue_problems(params, queue))
        if "containerProperties" not in definition:
            raise ApiError("the local Batch covers definitions with containerProperties alone")
        _refuse(self._missing_dependencies(params))
        job = self._scheduler.submit(spec_of(params, queue, definition))
        if error is not None:
            raise error
        return {"jobArn": job_arn(job), "jobName": job.spec.name, "jobId": job.id}

    def _describe(self, params: Params) -> Answer:
        with self._scheduler.changed:
            found = [self._scheduler.find(job_id) for job_id in dict.fromkeys(params["jobs"])]
            return {"jobs": [detail_of(job) for job in found if job is not None]}

    def _list(self, params: Params) -> Answer:
        with self._scheduler.changed:
            jobs = self._listed(params)
            page_size = limits.MAX_FILTERED_PAGE if "filters" in params else limits.MAX_PAGE
            page_size = min(page_size, params.get("maxResults", page_size))
            rest = _after(jobs, params.get("nextToken", ""))
            answer: Answer = {"jobSummaryList": [summary_of(job) for job in rest[:page_size]]}
            if len(rest) > page_size:
                answer["nextToken"] = _token(rest[page_size - 1])
            return answer

    def _cancel(self, params: Params) -> Answer:
        self._scheduler.cancel(self._job(params["jobId"]), params["reason"])
        return {}

    def _terminate(self, params: Params) -> Answer:
        self._scheduler.terminate(self._job(params["jobId"]), params["reason"])
        return {}

    def _listed(self, params: Params) -> list[Job]:
        if "arrayJobId" in params:
            return _with_status(self._job(params["arrayJobId"]).children, params)
        if "jobQueue" not in params:
            return []  # a multi-node job: there are none
        queue = self._queue(params["jobQueue"])["jobQueueArn"]
        jobs = [job for job in reversed(self._scheduler.submitted_jobs()) if job.spec.queue == queue]
        [chosen] = params.get("filters") or [None]
        if chosen is None:
            return _with_status(jobs, params)
        jobs = [job for job in jobs if any(_FILTERS[chosen["name"]](job, value) for value in chosen["values"])]
        with_status = chosen["name"] == "SHARE_IDENTIFIER" and "jobStatus" in params
        return _with_status(jobs, params) if with_status else jobs

    def _queue(self, reference: str) -> dict[str, Any]:
        queue = self._account.queue(reference)
        if queue is None:
            raise ApiError(f"JobQueue {reference} not found")
        return queue

    def _job(self, job_id: str) -> Job:
        job = self._scheduler.find(job_id)
        if job is None:
            raise ApiError(f"Job {job_id} not found")
        return job

    def _missing_dependencies(self, params: Params) -> list[str]:
        size = params.get("arrayProperties", {}).get("size", 0)
        problems = []
        for dependency in params.get("dependsOn", ()):
            if "jobId" in dependency:
                other = self._scheduler.find(dependency["jobId"])
                if other is None:
                    problems.append(f"dependsOn: job {dependency['jobId']} not found")
                elif dependency.get("type") == "N_TO_N" and len(other.children) != size:
                    problems.append(f"dependsOn: N_TO_N needs an array of {size}; {other.id} has {len(other.children)}")
        return problems


def _refuse(problems: Iterable[str]) -> None:
    message = limits.joined(problems)
    if message:
        raise ApiError(message)


def _with_status(jobs: Iterable[Job], params: Params) -> list[Job]:
    status = params.get("jobStatus", "RUNNING")
    return [job for job in jobs if job.status == status]


def _token(last: Job) -> str:
    return base64.urlsafe_b64encode(f"{last.sequence}:{last.index}".encode()).decode()


def _after(jobs: list[Job], token: str) -> list[Job]:
    """What comes after the last one shown: older jobs, children with higher indices."""
    if not token:
        return jobs
    try:
        sequence, index = map(int, base64.urlsafe_b64decode(token).decode().split(":"))
    except ValueError as error:
        raise ApiError("nextToken is not one that was given out") from error
    return [job for job in jobs if job.sequence < sequence or (job.sequence == sequence and job.index > index)]


def _fits(value: str, pattern: str) -> bool:
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern


#: Whether a job fits a value of a filter.
_FILTERS: dict[str, Callable[[Job, str], bool]] = {
    "JOB_NAME": lambda job, value: _fits(job.spec.name.lower(), value.lower()),
    "JOB_DEFINITION": lambda job, value: value == job.spec.definition or _fits(job.spec.definition_name, value),
    "BEFORE_CREATED_AT": lambda job, value: job.created_ms < int(value),
    "AFTER_CREATED_AT": lambda job, value: job.created_ms > int(value),
    "SHARE_IDENTIFIER": lambda job, value: _fits(job.spec.described.get("shareIdentifier", ""), value),
}
