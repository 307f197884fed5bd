"""How a run ended: from the manifests, and for what is not done from the events and logs of its tasks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rv_core.files.problems import full_disk
from rv_core.plan.decisions import RunPlan
from rv_core.plan.graph import Job
from rv_core.plan.manifests import manifests_missing
from rv_core.record.event_writer import SUBMISSION, SUFFIX, file_name
from rv_core.record.events import TaskStatus, fold, read_events
from rv_core.record.layout import RunPaths

if TYPE_CHECKING:
    from rv_core.status.values import RunStatus


@dataclass(frozen=True)
class FailedTask:
    """A task that did not do all its items.

    Args:
        task: its id.
        state: failed, stopped, lost or waiting.
        exit_code: its own exit code, or None where it left none.
        reason: why, in words.
        attempts: how often it was started.
        log: the path or URI of its last log, or "".
    """

    task: str
    state: str
    exit_code: int | None
    reason: str
    attempts: int
    log: str


@dataclass(frozen=True)
class RunOutcome:
    """What is done of a plan, and what kept the rest.

    Args:
        num_done, num_items: items with a manifest, and planned items.
        num_tasks: planned tasks.
        failed: tasks that were started and failed, in the plan's order.
        not_started: jobs that were not started because something they require failed.
    """

    num_done: int
    num_items: int
    num_tasks: int
    failed: tuple[FailedTask, ...]
    not_started: tuple[str, ...]

    @property
    def succeeded(self) -> bool:
        """Whether every planned item is done."""
        return self.num_done == self.num_items

    def summary(self, duration_s: float) -> dict[str, Any]:
        """The numbers that hooks and events get."""
        return {
            "done": self.num_done,
            "failed": len(self.failed),
            "tasks": self.num_tasks,
            "duration_s": round(duration_s, 1),
            "failed_tasks": [task.task for task in self.failed],
        }


def outcome_of_run(run_plan: RunPlan, paths: Mapping[str, RunPaths], run_dir: str) -> RunOutcome:
    """Look at what the planned jobs left behind: one listing a command, and events only of what is not done."""
    num_done = num_items = 0
    failed: list[FailedTask] = []
    not_started: list[str] = []
    for job in run_plan.plan.jobs:
        entries = [{"id": item.id, "key": item.key} for item in run_plan.of(job.id).to_do]
        missing = manifests_missing(paths[job.pipeline].root_uri, job.command, entries)
        num_items += len(entries)
        num_done += len(entries) - len(missing)
        if missing:
            started = _failed_tasks(job, run_dir)
            failed += started
            if not started:
                not_started.append(job.id)
    return RunOutcome(num_done, num_items, len(run_plan.plan.tasks), tuple(failed), tuple(not_started))


def outcome_of_status(run_plan: RunPlan, paths: Mapping[str, RunPaths], status: RunStatus) -> RunOutcome:
    """The same for a run that an engine elsewhere has worked on: of what is not done, the state tells why."""
    from rv_core.record.logs import find_logs

    num_done = num_items = 0
    failed: list[FailedTask] = []
    not_started: list[str] = []
    states = {job.job: job for job in status.jobs}
    logs = find_logs(status.files)
    for job in run_plan.plan.jobs:
        entries = [{"id": item.id, "key": item.key} for item in run_plan.of(job.id).to_do]
        missing = manifests_missing(paths[job.pipeline].root_uri, job.command, entries)
        num_items += len(entries)
        num_done += len(entries) - len(missing)
        tasks = [task for task in states[job.id].tasks if task.state != "done"] if missing else []
        started = [task for task in tasks if task.attempt or task.started]
        failed += [
            FailedTask(
                t.task, t.state, t.exit_code, t.reason, t.attempt, logs[t.task][-1].uri if t.task in logs else ""
            )
            for t in started
        ]
        if missing and not started:
            reason = next((task.reason for task in tasks if task.reason), "")
            not_started.append(f"{job.id} ({reason})" if reason else job.id)
    return RunOutcome(num_done, num_items, len(run_plan.plan.tasks), tuple(failed), tuple(not_started))


def _failed_tasks(job: Job, run_dir: str) -> list[FailedTask]:
    found = []
    for task in job.tasks:
        attempt, status = _last_attempt(run_dir, task.id)
        if status is not None and status.state != "done":
            state = "lost" if status.state == "running" else status.state
            reason = status.reason or (_why_lost(run_dir) if state == "lost" else "")
            log = os.path.join(run_dir, "logs", f"{task.id}.{attempt}.log")
            found.append(
                FailedTask(task.id, state, status.exit_code, reason, attempt, log if os.path.exists(log) else "")
            )
    return found


def _why_lost(run_dir: str) -> str:
    full = full_disk(run_dir)
    return f"its process ended without a word; {full}" if full else "its process ended without a word (killed?)"


def _last_attempt(run_dir: str, task: str) -> tuple[int, TaskStatus | None]:
    attempt = 0
    while os.path.exists(os.path.join(run_dir, "events", file_name(task, attempt + 1))):
        attempt += 1
    if not attempt:
        return 0, None
    own = fold(read_events(os.path.join(run_dir, "events", file_name(task, attempt))), task=task)
    # What a task cannot say itself, that a signal ended it, its runner may have seen.
    reported = read_events(os.path.join(run_dir, "events", SUBMISSION + SUFFIX))
    return attempt, fold([e for e in reported if e.get("task") == task and e.get("exit_code")], own, task=task)
