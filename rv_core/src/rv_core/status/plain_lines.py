"""The display where there is no terminal: dated lines, a bounded number of them, no markup and no control characters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TextIO

from rv_core.plan.shares import split_text
from rv_core.record.events import TaskState
from rv_core.record.progress import BAD_STATES, Change, JobProgress, RunProgress
from rv_core.wording import count_text, duration_text, exit_text, numbers_text, printable, rate_text

PROGRESS_INTERVAL_S = 10.0
#: Jobs of more tasks than this get lines for the job and for failed tasks only.
MAX_TASKS_WITH_LINES = 20
#: So many failed tasks of a job get a line each; after that they are counted in the job's progress lines.
MAX_FAILED_LINES = 10

_TASK_WORDS: dict[TaskState, str] = {
    "submitted": "is submitted",
    "running": "started",
    "done": "is done",
    "skipped": "is skipped",
    "stopped": "was stopped with its state saved",
    "failed": "FAILED",
    "lost": "is LOST",
    "cancelled": "was cancelled",
}


class PlainDisplay:
    """Writes a line for each change of state, and at most one line of progress per job every ten seconds.

    Args:
        stream: where the lines go.
        is_quiet: failures only.
        clock: seconds since 1970.
    """

    def __init__(self, stream: TextIO, *, is_quiet: bool = False, clock: Callable[[], float] = time.time) -> None:
        self._stream = stream
        self._is_quiet = is_quiet
        self._clock = clock
        self._job_states: dict[str, TaskState] = {}
        self._progress_at: dict[str, float] = {}
        self._progress_shown: dict[str, str] = {}
        self._num_failed_lines: dict[str, int] = {}

    def start(self) -> None:
        """Nothing to prepare."""

    def draw(self, progress: RunProgress, changes: Iterable[Change], *, is_last: bool = False) -> None:
        """Write what is new since the last call."""
        by_job: dict[str, list[Change]] = {}
        for change in changes:
            by_job.setdefault(change.job.plan.job, []).append(change)
        for name, job in progress.jobs.items():  # in the order of the plan, for events of a moment have none
            if name in by_job:
                self._draw_job(job, by_job[name])
        for job in progress.jobs.values():
            if job.state == "running" and not is_last:
                self._draw_progress(job)

    def stop(self) -> None:
        """Nothing to put away."""

    def _write(self, text: str, *, is_bad: bool = False) -> None:
        if self._is_quiet and not is_bad:
            return
        date = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self._clock()))
        self._stream.write(f"{date} {printable(text)}\n")
        self._stream.flush()

    def _draw_job(self, job: JobProgress, changes: Iterable[Change]) -> None:
        """A job's start stands before the lines of its tasks, its end after them."""
        if job.state == "running":
            self._draw_job_state(job)
        for change in changes:
            self._draw_task(change)
        if job.state != "running":
            self._draw_job_state(job)

    def _draw_task(self, change: Change) -> None:
        status, plan = change.status, change.job.plan
        word = _TASK_WORDS.get(status.state)
        if word is None or (plan.num_tasks == 1 and status.state not in BAD_STATES):
            return
        is_bad = status.state in BAD_STATES
        if is_bad:
            shown = self._num_failed_lines[plan.job] = self._num_failed_lines.get(plan.job, 0) + 1
            if shown > MAX_FAILED_LINES:
                return
        elif plan.num_tasks > MAX_TASKS_WITH_LINES:
            return
        self._write(f"{_task_name(change)} {word}{_details(change)}", is_bad=is_bad)

    def _draw_job_state(self, job: JobProgress) -> None:
        name, state = job.plan.job, job.state
        before = self._job_states.get(name)
        if before == state or state in ("waiting", "unknown"):
            return
        self._job_states[name] = state
        if state in BAD_STATES and job.plan.num_tasks == 1:
            return  # the line of its only task has said it
        self._write(_job_line(job, self._clock()), is_bad=state in BAD_STATES)
        self._progress_at[name] = self._clock()

    def _draw_progress(self, job: JobProgress) -> None:
        name, now = job.plan.job, self._clock()
        if now - self._progress_at.get(name, float("-inf")) < PROGRESS_INTERVAL_S:
            return
        text = _progress_text(job, now)
        if self._progress_shown.get(name) == _without_times(job):
            return
        self._progress_at[name], self._progress_shown[name] = now, _without_times(job)
        self._write(f"{name}: {text}")


def _task_name(change: Change) -> str:
    split = split_text(change.status.task)
    return f"{change.job.plan.job} ({split})" if split else change.job.plan.job


def _details(change: Change) -> str:
    status = change.status
    if status.state in BAD_STATES:
        parts = [exit_text(status.exit_code), status.reason]
        return ": " + ", ".join(filter(None, parts)) if any(parts) else ""
    if status.state == "done":
        took = duration_text(status.duration_s or status.ended - status.started)
        return f" after {took}" if took else ""
    return f" (attempt {status.attempt})" if status.state == "running" and status.attempt > 1 else ""


def _job_line(job: JobProgress, now: float) -> str:
    name, plan, state = job.plan.job, job.plan, job.state
    items = count_text(plan.items_total, "item")
    if state == "running":
        tasks = f"{plan.num_tasks} tasks, " if plan.num_tasks > 1 else ""
        before = f", {plan.items_done_before} done before" if plan.items_done_before else ""
        return f"{name} started: {tasks}{items}{before}"
    if state == "done":
        now_done = f"{plan.items_total - plan.items_done_before} of {items}" if plan.items_done_before else items
        last = f", {numbers_text(job.numbers)}" if job.is_told_by_numbers else ""
        return f"{name} is done: {now_done} in {duration_text(job.elapsed_s(now)) or 'no time'}{last}"
    num_bad = sum(job.counts[bad] for bad in BAD_STATES)
    if num_bad:
        return f"{name} {state.upper()}: {num_bad} of {count_text(plan.num_tasks, 'task')}, {_items_text(job)}"
    return f"{name} {_TASK_WORDS.get(state, state)}: {_items_text(job)}"


def _items_text(job: JobProgress) -> str:
    return f"{job.items_done} of {count_text(job.plan.items_total, 'item')} done"


def _progress_text(job: JobProgress, now: float) -> str:
    remaining = duration_text(job.remaining_s(now))
    parts = [
        _without_times(job),
        rate_text(job.rate(now)) if job.plan.items_total > 1 else "",
        f"{duration_text(job.elapsed_s(now))} elapsed",
        f"about {remaining} left" if remaining else "",
    ]
    return ", ".join(filter(None, parts))


def _without_times(job: JobProgress) -> str:
    done, total = job.step
    step = f"{done:g} of {total:g}" if total > 1 else _items_text(job)
    num_bad = sum(job.counts[bad] for bad in BAD_STATES)
    return ", ".join(filter(None, [step, numbers_text(job.numbers), f"{num_bad} failed" if num_bad else ""]))
