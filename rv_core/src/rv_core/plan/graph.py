"""The graph of jobs that a runner gets."""

from __future__ import annotations

from dataclasses import dataclass

from rv_core.pipeline.pipeline import CommandInfo
from rv_core.plan.shares import task_id


@dataclass(frozen=True)
class Resources:
    """What one task of a job wants; None leaves it to the runner."""

    cpus: int | None = None
    memory_mib: int | None = None
    gpus: int = 0
    timeout_s: int | None = None
    attempts: int = 1

    @classmethod
    def of(cls, info: CommandInfo) -> Resources:
        """The resources that a command declares."""
        return cls(info.cpus, info.memory_mib, info.gpus, info.timeout_s, info.attempts)


@dataclass(frozen=True)
class Task:
    """One share of a job: what one process works through.

    Args:
        id: `pipe1.chip.3-of-5`, or the job's id where the job is a single task.
        job: the job's id.
        split_index: from 0.
        num_splits: how many tasks the job has.
    """

    id: str
    job: str
    split_index: int
    num_splits: int


@dataclass(frozen=True)
class Job:
    """One command of one pipeline.

    Args:
        id: `<pipeline>.<command>`.
        pipeline: the pipeline's name.
        command: the command's name.
        tasks: its tasks, by split index.
        requires: ids of the jobs of this plan whose every task must be done first.
        resources: what one task wants.
    """

    id: str
    pipeline: str
    command: str
    tasks: tuple[Task, ...]
    requires: tuple[str, ...]
    resources: Resources


@dataclass(frozen=True)
class Plan:
    """The jobs that are to be run, in an order in which every job comes after those that it requires."""

    jobs: tuple[Job, ...]

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks of all jobs, in order."""
        return tuple(task for job in self.jobs for task in job.tasks)

    def job(self, job_id: str) -> Job:
        """The job with this id.

        Raises:
            KeyError: if the plan has no such job.
        """
        for job in self.jobs:
            if job.id == job_id:
                return job
        raise KeyError(job_id)


def make_tasks(job_id: str, num_splits: int) -> tuple[Task, ...]:
    """The tasks of a job; a single one has the job's own id."""
    return tuple(Task(task_id(job_id, index, num_splits), job_id, index, num_splits) for index in range(num_splits))
