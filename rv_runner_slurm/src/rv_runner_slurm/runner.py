"""The `slurm` runner: submits a plan to a Slurm cluster, and asks the cluster about it later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
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
    misspelt_tables,
    passed_on,
    submit_in_order,
)
from rv_runner_slurm import client
from rv_runner_slurm.job_settings import job_settings
from rv_runner_slurm.run_jobs import FOLDER, RunJobs, end_jobs, unrecorded_jobs
from rv_runner_slurm.settings import SlurmSettings
from rv_runner_slurm.submission import (
    DEFAULT_MAX_ARRAY_SIZE,
    NAME_PREFIX,
    JobRequest,
    RunFacts,
    comment_of,
    name_prefix,
    render,
    requests_of,
)
from rv_runner_slurm.submitting_file import SubmittingFile


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

    def preflight(self, plan: Plan, context: RunContext) -> Iterable[Finding]:
        """Everything that would keep the plan from running; a dry run asks no cluster.

        Raises:
            SlurmError: if the cluster cannot be asked.
        """
        from rv_runner_slurm.preflight import (
            cluster_findings,
            folder_findings,
            option_findings,
            variable_findings,
        )

        found = [*misspelt_tables("slurm", self.settings.commands, context.commands)]
        found += folder_findings(context.run_dir)
        found += variable_findings(plan, self.settings)
        found += (not_ours := [*option_findings(plan, self.settings)])
        if not context.is_dry_run and not not_ours:
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
        try:
            submit_in_order(
                plan,
                context,
                {request.key: request for request in requests},
                engine="Slurm",
                submit=lambda request, ids: client.submit(request.argv_options(ids), request.script, request.environ),
                withdraw=lambda ids: _withdraw(context.run_id, ids),
                release=lambda ids: client.release(ids[request.key] for request in requests if request.is_held),
            )
        finally:
            submitting.remove()

    def _requests(self, plan: Plan, context: RunContext, largest_array: int) -> list[JobRequest]:
        def environ(job: Job) -> Mapping[str, str]:
            return {
                **passed_on(job_settings(job, self.settings).environment_from),
                **context.task_environ(job.tasks[0]),
            }

        facts = RunFacts(
            run_id=context.run_id,
            folder=context.run_dir / FOLDER,
            argv=context.argv,
            environ=environ,
            root_of=lambda pipeline: context.configs[pipeline].root_uri,
            max_array_size=largest_array,
        )
        return requests_of(plan, self.settings, facts)

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


def _end_leftovers(comments: set[str]) -> None:
    """End jobs that a submission to the same root left held when it was killed."""
    ours = (record for record in client.own_jobs() if record.name.startswith(NAME_PREFIX))
    held = [record for record in ours if record.reason == "JobHeldUser" and record.comment in comments]
    if held:
        end_jobs((record.job_id for record in held), NAME_PREFIX)


def _withdraw(run_id: str, ids: Sequence[str]) -> None:
    """End what was submitted, also what Slurm took although its answer was lost.

    Raises:
        RunnerError: if something is left.
    """
    try:
        end_jobs([*unrecorded_jobs(run_id, ids), *ids], name_prefix(run_id))
    except RunnerError as error:
        raise RunnerError(f"what is left could not be ended ({error.block.what})") from error
