"""The `slurm` runner: submits a plan to a Slurm cluster, and asks the cluster about it later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import ClassVar

from rv_core import Capabilities, Finding, Job, Observation, Plan, RunContext, Runner, RunnerError, RunRecord
from rv_runner_slurm import client
from rv_runner_slurm.client import SlurmError
from rv_runner_slurm.run_jobs import FOLDER, RunJobs, end_jobs, unrecorded_jobs
from rv_runner_slurm.settings import SlurmSettings
from rv_runner_slurm.submission import DEFAULT_MAX_ARRAY_SIZE, JobRequest, RunFacts, comment_of, render, requests_of
from rv_runner_slurm.submitting_file import SubmittingFile


class SubmissionError(RunnerError):
    """Not every job could be submitted; those that were are ended again."""

    exit_code = 1
    headline = "submission failed"


class SlurmRunner(Runner):
    """Submits every job of a plan to Slurm and returns; a split job is an array.

    The nodes see the run's folder and this interpreter: they share a file system with the machine that submits.

    Args:
        settings: the runner's settings; defaults if None.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(detaches=True)

    def __init__(self, settings: SlurmSettings | None = None) -> None:
        super().__init__(settings or SlurmSettings())

    @cached_property
    def _max_array_size(self) -> int:
        return client.max_array_size() or DEFAULT_MAX_ARRAY_SIZE

    # --- before and at submission -----------------------------------------------------------------------------------

    def preflight(self, plan: Plan, context: RunContext) -> Iterable[Finding]:
        """Everything that would keep the plan from running; a dry run asks no cluster.

        Raises:
            SlurmError: if the cluster cannot be asked.
        """
        from rv_runner_slurm.preflight import cluster_findings, folder_findings, settings_findings

        commands = [name for config in context.configs.values() for name in type(config.build()).commands()]
        found = [*settings_findings(plan, self.settings, commands), *folder_findings(context.run_dir)]
        if not context.is_dry_run:
            found += cluster_findings(plan, self.settings, self._requests(plan, context, self._max_array_size))
        return found

    def render(self, plan: Plan, context: RunContext) -> str:
        """The calls of sbatch."""
        return render(self._requests(plan, context, DEFAULT_MAX_ARRAY_SIZE))

    def run(self, plan: Plan, context: RunContext) -> None:
        """Submit every job after those that it requires, and let the first ones start once everything is there.

        Raises:
            SubmissionError: if a job is refused; what had been submitted is ended.
            SlurmError: if the cluster cannot be asked.
        """
        requests = self._requests(plan, context, self._max_array_size)
        _end_leftovers({comment_of(config.root_uri) for config in context.configs.values()})
        submitting = SubmittingFile(context.run_dir / FOLDER)
        submitting.write()
        ids: dict[str, str] = {}
        try:
            for request in requests:
                ids[request.key] = client.submit(request.argv_options(ids), request.script, request.environ)
                context.report(_reported(request), event="submitted", native_id=ids[request.key])
            client.release(ids[request.key] for request in requests if request.is_held)
        except BaseException as error:
            left = _withdraw(context.run_id, ids)
            if not isinstance(error, SlurmError) and not left:
                raise
            raise _submission_error(error, len(ids), len(requests), left) from error
        finally:
            submitting.remove()

    def _requests(self, plan: Plan, context: RunContext, largest_array: int) -> list[JobRequest]:
        def environ(job: Job) -> Mapping[str, str]:
            return context.task_environ(job.tasks[0])

        facts = RunFacts(
            run_id=context.run_id,
            folder=context.run_dir / FOLDER,
            argv=context.argv,
            environ=environ,
            root_of=lambda pipeline: context.configs[pipeline].root_uri,
            max_array_size=largest_array,
        )
        return requests_of(plan, self.settings, facts)

    # --- afterwards -------------------------------------------------------------------------------------------------

    def observe(self, run: RunRecord) -> Mapping[str, Observation]:
        """Task id -> its state on the cluster, with the reason in words.

        Raises:
            SlurmError: if the cluster cannot be asked.
        """
        return RunJobs(run).observe()

    def logs(self, run: RunRecord, task: str) -> Iterable[str]:
        """What the script of a task printed.

        Raises:
            RunnerError: if there is nothing.
        """
        return RunJobs(run).logs(task)

    def cancel(self, run: RunRecord) -> None:
        """End every job of a run in whatever state it is, dependants first.

        Raises:
            RunnerError: if some do not end.
        """
        RunJobs(run).cancel()


def _reported(request: JobRequest) -> Job | str:
    return request.job if request.key == request.job.id else request.key


def _end_leftovers(comments: set[str]) -> None:
    """End jobs that a submission to the same root left held when it was killed."""
    held = [record for record in client.own_jobs() if record.reason == "JobHeldUser" and record.comment in comments]
    if held:
        end_jobs(record.job_id for record in held)


def _withdraw(run_id: str, ids: Mapping[str, str]) -> str:
    """End what was submitted, dependants first, also what Slurm took although its answer was lost.

    Returns:
        What could not be ended, in words; "" if nothing is left.
    """
    try:
        end_jobs([*unrecorded_jobs(run_id, ids), *reversed(list(ids.values()))])
    except RunnerError as error:
        return f"what is left could not be ended ({error.block.what})"
    return ""


def _submission_error(error: BaseException, num_submitted: int, num_jobs: int, left: str) -> SubmissionError:
    undone = f"the {num_submitted} submitted before it are ended again" if num_submitted else "none was before it"
    if num_submitted == num_jobs:
        what = f"the jobs were submitted but could not be released; {left or 'they are ended again'}"
    else:
        what = f"job {num_submitted + 1} of {num_jobs} could not be submitted; {left or undone}"
    said = [error.block.what, error.block.why] if isinstance(error, RunnerError) else [type(error).__name__, str(error)]
    fix = (error.block.fix if isinstance(error, RunnerError) else "") or "mend what Slurm refuses, and run it again"
    found = SubmissionError(
        what, why=": ".join(filter(None, said)), fix=f"end what is left with rv cancel; then: {fix}" if left else fix
    )
    found.leaves_running = bool(left)
    return found
