"""The graph of jobs that a runner gets: values, ids of tasks, and how items are shared among them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rv_core.pipeline.pipeline import CommandInfo

#: The item of a command that has no items.
WHOLE = "all"


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


def split_shares(items: Sequence[Any], num_splits: int, group_of: Callable[[Any], str]) -> list[list[Any]]:
    """Contiguous, balanced shares: sizes differ by at most one, in every group and in all.

    Each group is cut on its own (so that 50 training and 25 validation scenes in 5 splits are 10 + 5 each); the shares
    that get one more rotate from group to group.
    """
    groups: dict[str, list[Any]] = {}
    for item in items:
        groups.setdefault(group_of(item), []).append(item)
    shares: list[list[Any]] = [[] for _ in range(num_splits)]
    offset = 0
    for members in groups.values():
        size, larger = divmod(len(members), num_splits)
        start = 0
        for index in range(num_splits):
            end = start + size + (1 if (index - offset) % num_splits < larger else 0)
            shares[index].extend(members[start:end])
            start = end
        offset = (offset + larger) % num_splits
    return shares


def task_id(job_id: str, split_index: int, num_splits: int) -> str:
    """The id of a task: `pipe1.chip.3-of-5`, or the job's own where the job is a single task."""
    return job_id if num_splits == 1 else f"{job_id}.{split_index + 1}-of-{num_splits}"


def make_tasks(job_id: str, num_splits: int) -> tuple[Task, ...]:
    """The tasks of a job; a single one has the job's own id."""
    return tuple(Task(task_id(job_id, index, num_splits), job_id, index, num_splits) for index in range(num_splits))


_SPLIT = re.compile(r"\.(\d+)-of-(\d+)\Z")


def job_of(task: str) -> str:
    """The id of the job that a task belongs to: `pipe1.chip` of `pipe1.chip.3-of-5`."""
    return _SPLIT.sub("", task)


def split_text(task: str) -> str:
    """Which split a task is, from 1: `split 3 of 5`; "" for a job of a single task."""
    match = _SPLIT.search(task)
    return f"split {match[1]} of {match[2]}" if match else ""


def natural_order(task: str) -> tuple[str, int]:
    """A sort key that puts split 2 before split 10."""
    match = _SPLIT.search(task)
    return (_SPLIT.sub("", task), int(match[1]) if match else 0)
