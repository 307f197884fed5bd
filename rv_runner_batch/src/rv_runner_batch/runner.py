"""The `batch` runner: submits a plan to AWS Batch, and asks AWS Batch about it later, from any machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import ClassVar

from rv_core import (
    Capabilities,
    Finding,
    Job,
    Observation,
    Plan,
    RunContext,
    Runner,
    RunnerError,
    RunRecord,
    passed_on,
    submit_in_order,
)
from rv_runner_batch.client import AwsError, BatchClient
from rv_runner_batch.job_settings import job_settings
from rv_runner_batch.observation import WITHDRAWN
from rv_runner_batch.run_jobs import RunJobs, named_jobs, terminate_all
from rv_runner_batch.settings import BatchSettings
from rv_runner_batch.submission import JobRequest, render, requests_of


class BatchRunner(Runner):
    """Submits every job of a plan to AWS Batch and returns; a split job is one array job.

    Args:
        settings: the runner's settings; defaults if None.
        client: asks AWS; one for the settings' region if None.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        is_remote=True, detaches=True, gpu_slots=False, retries_signals=False
    )

    def __init__(self, settings: BatchSettings | None = None, client: BatchClient | None = None) -> None:
        super().__init__(settings or BatchSettings())
        self._client = client or BatchClient(self.settings.region)

    def preflight(self, plan: Plan, context: RunContext) -> Iterable[Finding]:
        """Everything that would keep the plan from running, at once; nothing is submitted.

        The region that boto3 found is noted in the settings, so that the run's record names it.
        """
        from rv_core import __version__
        from rv_runner_batch.preflight import aws_findings, local_findings, plan_of_all, root_findings

        plan = plan if plan.jobs else plan_of_all(context)
        requests = self._requests(plan, context)
        found = [*local_findings(plan, self.settings, requests, context.commands)]
        found += aws_findings(plan, self.settings, self._client, __version__)
        if not any(finding.kind == "environment" for finding in found):
            self._note_region()
            found += root_findings(context)
        return found

    def render(self, plan: Plan, context: RunContext) -> str:
        """The `SubmitJob` requests as JSON."""
        with suppress(AwsError):  # without a region there is still something to show
            self._note_region()
        return render(self._requests(plan, context))

    def run(self, plan: Plan, context: RunContext) -> None:
        """Submit every job after those that it depends on, and write each id down before the next is sent.

        Raises:
            RunnerError: if jobs of this run are there already.
            SubmissionError: if a job is refused; what had been submitted is ended.
        """
        requests = self._requests(plan, context)
        queues = list(dict.fromkeys(str(request.params["jobQueue"]) for request in requests))
        self._refuse_twice(queues, context.run_id)
        submit_in_order(
            plan,
            context,
            {request.key: request for request in requests},
            engine="AWS",
            submit=lambda request, ids: self._client.submit(request.with_ids(ids)),
            withdraw=lambda ids: self._withdraw(ids, queues, context.run_id),
        )

    def _note_region(self) -> None:
        self.settings = replace(self.settings, region=self._client.region)

    def _requests(self, plan: Plan, context: RunContext) -> list[JobRequest]:
        def environ(job: Job) -> Mapping[str, str]:
            # The machines of AWS Batch know their region, but do not tell it to containers.
            region = {"AWS_DEFAULT_REGION": self.settings.region} if self.settings.region else {}
            grace = {"RV_GRACE_S": f"{context.grace_s:g}"}
            secret = passed_on(job_settings(job, self.settings).environment_from)
            return {**region, **grace, **secret, **context.task_environ(job.tasks[0])}

        return requests_of(plan, self.settings, run_id=context.run_id, argv=context.argv, environ=environ)

    def _refuse_twice(self, queues: Iterable[str], run_id: str) -> None:
        try:
            there = named_jobs(self._client, queues, run_id)
        except AwsError as error:
            if error.kind == "denied":
                return  # who may not list may still submit
            raise
        if there:
            raise RunnerError(
                f"run {run_id} was submitted already: {', '.join(sorted(there.values())[:3])}",
                fix="look at it with rv status; a new `rv run` has a new id",
            )

    def _withdraw(self, ids: Sequence[str], queues: Iterable[str], run_id: str) -> None:
        """End what was submitted, also what AWS Batch took although its answer was lost.

        Raises:
            RunnerError: if something is left, or that could not be looked.
        """
        unseen = ""
        try:
            ids = [*(id_ for id_ in named_jobs(self._client, queues, run_id) if id_ not in ids), *ids]
        except AwsError as error:
            unseen = "" if error.kind == "denied" else error.block.what  # who may not list may still submit
        terminate_all(self._client, ids, WITHDRAWN)
        if unseen and not ids:
            raise RunnerError(f"it could not be looked whether jobs are left ({unseen})")

    def split_index(self, environ: Mapping[str, str]) -> int | None:
        """The index of a child of an array job."""
        return _whole(environ.get("AWS_BATCH_JOB_ARRAY_INDEX"))

    def attempt(self, environ: Mapping[str, str]) -> int | None:
        """The number of the attempt, from 1."""
        return _whole(environ.get("AWS_BATCH_JOB_ATTEMPT"))

    def observe(self, run: RunRecord) -> Mapping[str, Observation]:
        """Task id -> its state on AWS Batch, with the reason in words.

        Raises:
            RunnerError: if AWS Batch cannot be asked.
        """
        return self._jobs_of(run).observe()

    def logs(self, run: RunRecord, task: str) -> Iterable[str]:
        """The log lines of a task's last attempt, from CloudWatch.

        Raises:
            RunnerError: if there are none, with the reason.
        """
        return self._jobs_of(run).logs(task)

    def cancel(self, run: RunRecord) -> None:
        """End every job of a run in whatever state it is, dependants first.

        Raises:
            RunnerError: if some could not be ended; the others are.
        """
        self._jobs_of(run).cancel()

    def _jobs_of(self, run: RunRecord) -> RunJobs:
        return RunJobs(run, self.settings, self._client)


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None
