"""How far each job of a run is, counted up event by event, so that ten thousand tasks cost nothing while they are quiet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rv_core.plan.shares import job_of, natural_order
from rv_core.record.event_tail import News, TaskBoard
from rv_core.record.events import ENDED_STATES, TaskState, TaskStatus

#: The time left is told once so many seconds and steps were seen, or this share or number of items is done.
_STEADY_S, _STEADY_STEPS, _STEADY_SHARE, _STEADY_ITEMS = 5.0, 2, 0.05, 3
#: States that a task does not leave for the better without the user.
BAD_STATES: frozenset[TaskState] = frozenset({"failed", "lost"})


class JobPlan(NamedTuple):
    """What a display has to know of a job beforehand.

    Args:
        job: its id.
        num_tasks: how many tasks were planned.
        items_total: all its items, those already done before this run included; 1 for a command without items.
        items_done_before: how many were done before this run.
    """

    job: str
    num_tasks: int
    items_total: int
    items_done_before: int = 0


_BY_WEIGHT: tuple[TaskState, ...] = ("running", "failed", "lost", "cancelled", "stopped", "submitted", "unknown")


def state_of_counts(counts: Mapping[TaskState, int], num_tasks: int) -> TaskState:
    """A job's state: what its tasks are doing, and the worst of their ends once none of them runs.

    Args:
        counts: how many tasks are in each state; those not counted are waiting.
        num_tasks: how many tasks the job has; one without tasks is done.
    """
    num_done = counts.get("done", 0) + counts.get("skipped", 0)
    if num_done >= num_tasks:
        return "done"
    state: TaskState = next((state for state in _BY_WEIGHT if counts.get(state, 0) > 0), "waiting")
    return "running" if num_done and state in ("waiting", "submitted") else state


@dataclass
class JobProgress:
    """The counters of one job.

    Args:
        plan: what was planned.
        tasks: the last state of every task that has been heard of.
        items: how many items of this run are done, by task.
        first_step: how far a task was when it first said so, and when; (0, 0) before.
    """

    plan: JobPlan
    tasks: dict[str, TaskStatus] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    counts: Counter[TaskState] = field(default_factory=Counter)
    items_done_now: int = 0
    started: float = 0.0
    ended: float = 0.0
    latest: TaskStatus | None = None
    first_step: tuple[float, float] = (0.0, 0.0)

    def update(self, status: TaskStatus, items_done: int) -> TaskState | None:
        """Take in a task's new state; gives the state that it had before."""
        before = self.tasks.get(status.task)
        if before is not None:
            self.counts[before.state] -= 1
        self.counts[status.state] += 1
        self.items_done_now += items_done - self.items.get(status.task, 0)
        self.tasks[status.task], self.items[status.task] = status, items_done
        self.started = min(filter(None, (self.started, status.started)), default=0.0)
        self.ended = max(self.ended, status.ended)
        if self.latest is None or status.updated >= self.latest.updated:
            self.latest = status
        if not self.first_step[1] and status.done > 0:
            self.first_step = status.done, status.updated
        return before.state if before else None

    @property
    def state(self) -> TaskState:
        """See `state_of_counts`."""
        return state_of_counts(self.counts, self.plan.num_tasks)

    @property
    def items_done(self) -> int:
        """Items done of `plan.items_total`; a finished job has all of them."""
        if self.state == "done":
            return self.plan.items_total
        # A command without items has no event of an item; each of its finished tasks is one.
        counted = max(self.items_done_now, self.counts["done"])
        return min(self.plan.items_total, self.plan.items_done_before + counted)

    @property
    def numbers(self) -> Mapping[str, Any]:
        """The numbers that the task heard of last has reported."""
        return self.latest.numbers if self.latest else {}

    @property
    def is_told_by_numbers(self) -> bool:
        """Whether the last numbers that it reported are its result: those of a single item that is done."""
        is_single = self.plan.num_tasks == 1 and self.plan.items_total == 1
        return is_single and self.state == "done" and bool(self.numbers)

    @property
    def step(self) -> tuple[float, float]:
        """(done, total) that a job of a single item reports of itself, for instance epochs; (0, 0) for other jobs."""
        is_single = self.plan.num_tasks == 1 and self.plan.items_total == 1
        return (self.latest.done, self.latest.total) if is_single and self.latest else (0, 0)

    @property
    def count_text(self) -> str:
        """How far it is as `12/75`: items, or the steps that a job of a single item reports."""
        done, total = self.step
        if total > 1 and self.state != "done":
            return f"{done:g}/{total:g}"
        return f"{self.items_done}/{self.plan.items_total}"

    def elapsed_s(self, now: float) -> float:
        """Seconds from its first task's start to its last one's end (or now); -1 before the start."""
        if not self.started:
            return -1.0
        # A lost task has no end, only a last event.
        last_sign = self.latest.updated if self.latest else 0.0
        end = now if self.state == "running" else self.ended or last_sign
        return max(0.0, end - self.started)

    def rate(self, now: float) -> float:
        """Items per second since the job started, those done before not counted; 0 = none yet."""
        elapsed = self.elapsed_s(now)
        done = self.items_done - self.plan.items_done_before
        return done / elapsed if elapsed > 0 and done > 0 else 0.0

    def remaining_s(self, now: float) -> float:
        """Seconds left if it goes on like this; -1 where nothing can be said, or not yet: a start tells little."""
        if self.state != "running":
            return -1.0
        done, total = self.step
        if total > 0 and 0 < done <= total:
            return self._remaining_of_steps(done, total, now)
        rate, num_now = self.rate(now), self.items_done - self.plan.items_done_before
        is_steady = num_now >= _STEADY_ITEMS or num_now >= _STEADY_SHARE * self.plan.items_total
        return (self.plan.items_total - self.items_done) / rate if rate > 0 and is_steady else -1.0

    def _remaining_of_steps(self, done: float, total: float, now: float) -> float:
        """By the pace since the first step that was seen: before it lie imports, and of a resumed task what was saved."""
        first_done, first_at = self.first_step
        seen_s = (self.latest.updated if self.latest else now) - first_at
        if done - first_done >= _STEADY_STEPS and seen_s >= _STEADY_S:
            return seen_s * (total - done) / (done - first_done)
        elapsed = self.elapsed_s(now)
        return elapsed * (total - done) / done if done >= _STEADY_SHARE * total and elapsed >= _STEADY_S else -1.0

    def fraction(self) -> float:
        """How much of it is done, 0 to 1."""
        done, total = self.step
        if self.state != "done" and total > 0:
            return min(1.0, done / total)
        return self.items_done / self.plan.items_total if self.plan.items_total else 1.0

    def bad_tasks(self) -> list[TaskStatus]:
        """Tasks that failed or were lost, by split."""
        if not any(self.counts[state] > 0 for state in BAD_STATES):
            return []
        return sorted((t for t in self.tasks.values() if t.state in BAD_STATES), key=lambda t: natural_order(t.task))


def by_pipeline(jobs: Iterable[JobProgress]) -> list[JobProgress]:
    """The jobs of each pipeline taken together, as if they were one job with the pipeline's name.

    Its numbers are those that one of its running jobs has reported last.
    """
    groups: dict[str, list[JobProgress]] = {}
    for job in jobs:
        groups.setdefault(job.plan.job.rpartition(".")[0], []).append(job)
    return [_together(name, members) for name, members in groups.items()]


def _together(name: str, jobs: Sequence[JobProgress]) -> JobProgress:
    plans = [job.plan for job in jobs]
    whole = JobProgress(
        JobPlan(
            name,
            sum(plan.num_tasks for plan in plans),
            sum(plan.items_total for plan in plans),
            sum(plan.items_done_before for plan in plans),
        )
    )
    for job in jobs:
        whole.counts.update(job.counts)
        whole.items_done_now += job.items_done - job.plan.items_done_before
    whole.started = min((job.started for job in jobs if job.started), default=0.0)
    whole.ended = max(job.ended for job in jobs)
    heard_of = [job.latest for job in jobs if job.latest is not None and job.state == "running"]
    whole.latest = max(heard_of, key=lambda status: status.updated, default=None)
    return whole


class Change(NamedTuple):
    """A task went from one state to another."""

    job: JobProgress
    before: TaskState | None
    status: TaskStatus


class RunProgress:
    """The progress of all jobs of a run, fed with the news of a tail."""

    def __init__(self, jobs: Iterable[JobPlan]) -> None:
        self.jobs = {plan.job: JobProgress(plan) for plan in jobs}
        self.board = TaskBoard()

    def update(self, news: News) -> list[Change]:
        """Take in new events; gives the tasks whose state changed, in the order of the events' files."""
        was_cancelled = self.board.is_cancelled()
        changed = self.board.update(news)
        if self.board.is_cancelled() and not was_cancelled:
            changed |= {task for job in self.jobs.values() for task in job.tasks}
        return self._take([self.board.status(task) for task in sorted(changed, key=natural_order)])

    def settle(self, is_gone: Callable[[TaskStatus], bool]) -> list[Change]:
        """Call tasks *lost* that say they run while their process is gone; for the last look."""
        running = [t for job in self.jobs.values() for t in job.tasks.values() if t.state == "running"]
        lost = [t for t in running if is_gone(t)]
        return self._take([t._replace(state="lost", reason="its process ended without a word (killed?)") for t in lost])

    def is_over(self) -> bool:
        """Whether every job has ended, or the submitting process wrote that the run has."""
        return self.board.is_over() or all(job.state in ENDED_STATES for job in self.jobs.values())

    def _take(self, statuses: Iterable[TaskStatus]) -> list[Change]:
        changes = []
        for status in statuses:
            job = self.jobs.get(job_of(status.task))
            if job is None:
                continue
            before = job.update(status, self.board.items_done(status.task))
            if before != status.state:
                changes.append(Change(job, before, status))
        return changes
