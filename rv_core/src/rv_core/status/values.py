"""What is known of a run, its jobs and its tasks, as values; `look` finds them out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from rv_core.record.event_tail import TaskBoard
from rv_core.record.events import TaskState, TaskStatus, seconds_of
from rv_core.record.marker import Marker
from rv_core.record.progress import BAD_STATES, JobPlan, JobProgress
from rv_core.record.reading import RunFiles
from rv_core.record.run_record import RunRecord
from rv_core.runner.observation import Observation

RunState = Literal["running", "submitted", "done", "failed", "stopped", "cancelled", "lost", "unknown"]


class JobStatus(NamedTuple):
    """The state of one job.

    Args:
        job: its id.
        command: its command.
        state: *unknown* = it cannot be told what it works through, or its engine cannot be asked; *skipped* = not part of this run: done before, or not selected.
        items_done, items_total: items with a manifest under the key of this run, of all its items.
        tasks: its tasks by split index; none for a job that is not part of this run.
        pipeline: its pipeline's name.
        items_done_before: how many items were done before this run.
        reason: why the job is not part of this run, and how many of its items came from elsewhere.
    """

    job: str
    command: str
    state: TaskState
    items_done: int
    items_total: int
    tasks: tuple[TaskStatus, ...]
    pipeline: str = ""
    items_done_before: int = 0
    reason: str = ""

    def progress(self) -> JobProgress:
        """The same as counters, for elapsed time, rate and what remains."""
        progress = JobProgress(JobPlan(self.job, len(self.tasks), self.items_total, self.items_done_before))
        for task in self.tasks:
            progress.update(task, 0)
        progress.items_done_now = max(0, self.items_done - self.items_done_before)
        return progress

    def count(self, *states: TaskState) -> int:
        """How many tasks are in one of these states."""
        return sum(task.state in states for task in self.tasks)


class RunStatus(NamedTuple):
    """The state of a run.

    Args:
        files: its record.
        state: of the run as a whole.
        jobs: every command of its pipelines, in order.
        started: when its first task was started, seconds since 1970; 0.0 = not yet.
        ended: when its last task ended or was heard of; 0.0 = not yet.
        problem: why the runner's engine could not be asked; "" if it was, or need not be.
        note: what is to be said of the run besides, for instance how it was cancelled.
    """

    files: RunFiles
    state: RunState
    jobs: tuple[JobStatus, ...]
    started: float = 0.0
    ended: float = 0.0
    problem: str = ""
    note: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen in it; False where its engine cannot be asked."""
        if self.state == "unknown":
            return not self.problem
        return self.state not in ("running", "submitted")

    def failed_tasks(self) -> list[TaskStatus]:
        """Tasks that failed or were lost, in order of the plan."""
        return [task for job in self.jobs for task in job.tasks if task.state in BAD_STATES]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, not redacted yet."""
        record = self.files.record
        return {
            "run_id": record.run_id,
            "state": self.state,
            "created": record.created,
            "user": record.user,
            "host": record.host,
            "runner": record.runner,
            "argv": list(record.argv),
            "pipelines": self.files.roots,
            "recorded_roots": dict(self.files.recorded_roots),
            "started": self.started or None,
            "ended": self.ended or None,
            "problem": self.problem,
            "note": self.note,
            "jobs": [{**job._asdict(), "tasks": [task._asdict() for task in job.tasks]} for job in self.jobs],
        }


class RunSummary(NamedTuple):
    """One line about a run, from its record and the events of its submission alone."""

    run_id: str
    created: str
    user: str
    host: str
    runner: str
    pipelines: tuple[str, ...]
    state: str
    argv: tuple[str, ...] = ()


class Sighting(NamedTuple):
    """All that was seen of a run besides its record; what states are worked out from.

    Args:
        board: what its events say.
        items: job id -> `items/<job>.json`.
        manifests: root URI -> names of the manifests below their folder.
        observed: task id -> what the runner's engine says.
        observe_problem: why the engine could not be asked.
        marker: the root's marker, if it is this run's.
        is_marker_stale: whether the process that the marker names is gone.
        is_latest: whether no newer run has touched the root.
        is_gone: whether the process of a task that says it runs is gone.
        may_submit: whether tasks that the engine does not show may be submitted still: not where that was cut short.
        unreadable: job id -> why it is not known what the job works through.
    """

    board: TaskBoard
    items: Mapping[str, Mapping[str, Any]]
    manifests: Mapping[str, frozenset[str]]
    observed: Mapping[str, Observation]
    observe_problem: str
    marker: Marker | None
    is_marker_stale: bool
    is_latest: bool
    is_gone: Callable[[TaskStatus], bool]
    may_submit: bool = True
    unreadable: Mapping[str, str] = {}


def created_s(record: RunRecord | RunSummary) -> float:
    """When a run was created, in seconds since 1970."""
    return seconds_of(record.created)
