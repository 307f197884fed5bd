"""How a run ended: from the manifests, and for what is not done from the events and logs of its tasks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from rv_core.errors import TaskError
from rv_core.files import uris
from rv_core.files.problems import full_disk
from rv_core.plan.claims import SharedOutput, claim, contradicted
from rv_core.plan.decisions import RunPlan
from rv_core.plan.graph import Job
from rv_core.plan.manifests import Manifest, manifest_name, manifests_missing
from rv_core.record.event_writer import SUBMISSION, SUFFIX, Event, file_name
from rv_core.record.events import TaskStatus, fold, read_events, seconds_of
from rv_core.record.layout import RunPaths
from rv_core.wording import count_text

if TYPE_CHECKING:
    from rv_core.status.values import RunStatus


class FailedTask(NamedTuple):
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


class RunOutcome(NamedTuple):
    """What is done of a plan, and what kept the rest.

    Args:
        num_done, num_items: items with a manifest, and planned items.
        num_tasks: planned tasks.
        failed: tasks that were started and failed, in the plan's order, also where all their items have a manifest.
        not_started: jobs that were not started because something they require failed.
        shared: outputs that two items or commands have written; neither counts as done.
    """

    num_done: int
    num_items: int
    num_tasks: int
    failed: tuple[FailedTask, ...]
    not_started: tuple[str, ...]
    shared: tuple[SharedOutput, ...] = ()

    @property
    def succeeded(self) -> bool:
        """Whether every planned item is done, and nothing speaks against that."""
        return self.num_done == self.num_items and not self.failed and not self.shared

    def done_text(self, run_plan: RunPlan, num_taken: int = 0) -> str:
        """How many items a run has done, of how many: `2 of 6 items, 3 were done before, 1 was taken from another root`.

        Args:
            run_plan: the plan.
            num_taken: how many were taken from other roots.
        """
        selected = [command for command in run_plan.commands if command.is_selected]
        num_shared = sum(len(command.shared_items) for command in selected)
        there = sum(command.num_items - len(command.to_do) for command in selected) - num_shared
        if not (there or num_taken or num_shared):
            return count_text(self.num_items, "item")
        before = max(0, there - num_taken)
        parts = [
            f"{self.num_items - num_shared} of {self.num_items + before + num_taken} items",
            f"{before} {_were(before)} done before" if before else "",
            f"{num_taken} {_were(num_taken)} taken from other roots" if num_taken else "",
            f"{num_shared} {_were(num_shared)} shared with another pipeline of this run" if num_shared else "",
        ]
        return ", ".join(filter(None, parts))

    def summary(self, duration_s: float) -> dict[str, Any]:
        """The numbers that hooks and events get."""
        return {
            "done": self.num_done,
            "failed": len(self.failed),
            "tasks": self.num_tasks,
            "duration_s": round(duration_s, 1),
            "failed_tasks": [task.task for task in self.failed],
        }


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


@contextmanager
def roots_stay(paths: Mapping[str, RunPaths]) -> Iterator[None]:
    """While a run is going on: whatever fails for it, a root that was removed meanwhile is what is told.

    Args:
        paths: pipeline -> where the record of the run was written.

    Raises:
        TaskError: naming the root whose record is not there any more.
    """
    try:
        yield
    except Exception as error:
        expect_roots(paths, error)
        raise


def expect_roots(paths: Mapping[str, RunPaths], error: Exception | None = None) -> None:
    """Look whether the record of the run is still where it was written; without it nothing can be said to be done.

    Raises:
        TaskError: naming the root that has lost it; from `error`, if that is given.
    """
    from rv_core.files import by_uri

    for of_run in paths.values():
        if not by_uri.exists(of_run.run):
            raise TaskError(
                f"the record of run {of_run.run_id} was removed while the run was going on",
                where=of_run.root_uri,
                why=f"there is no {of_run.run} any more: without it nothing counts as done",
                fix="leave the root in its place and run the same command again: it does what is not there",
            ) from error


def reject_shared_outputs(run_plan: RunPlan, paths: Mapping[str, RunPaths]) -> tuple[SharedOutput, ...]:
    """Find outputs that two items or commands have written, and delete the manifests of both: neither is done.

    Raises:
        StorageError: if the manifests cannot be read or deleted.
    """
    from rv_core.files import by_uri

    found: list[SharedOutput] = []
    for name, root_uri in run_plan.roots.items():
        owners = dict(run_plan.owners.get(name, {}))
        commands = [command for command in run_plan.commands if command.pipeline == name and command.is_selected]
        names = [manifest_name(c.command, i.id, i.key) for c in commands for i in (*c.to_do, *c.shared_items)]
        if len(names) + len(owners) < 2:
            continue
        texts = by_uri.read_many([uris.join(root_uri, manifest) for manifest in names])
        shared = claim(owners, _readable(texts.values()))
        for owner in contradicted(shared):
            by_uri.delete(uris.join(paths[name].root_uri, manifest_name(*owner)))
        found += shared
    return tuple(found)


def _readable(texts: Iterable[bytes]) -> Iterator[Manifest]:
    for text in texts:
        with suppress(ValueError, KeyError, TypeError):  # a damaged manifest is no manifest
            yield Manifest.from_text(text)


def outcome_of_run(run_plan: RunPlan, paths: Mapping[str, RunPaths], run_dir: str) -> RunOutcome:
    """Look at what the planned jobs left behind: one listing a command, and how every task says that it ended."""
    shared = reject_shared_outputs(run_plan, paths)
    num_done, num_items = _count_shared(run_plan, paths)
    failed: list[FailedTask] = []
    not_started: list[str] = []
    reported = _reported_failures(run_dir)
    for job in run_plan.plan.jobs:
        entries = [{"id": item.id, "key": item.key} for item in run_plan.of(job.id).to_do]
        missing = manifests_missing(paths[job.pipeline].root_uri, job.command, entries)
        num_items += len(entries)
        num_done += len(entries) - len(missing)
        started = list(_failed_tasks(job, run_dir, reported, is_done=not missing))
        failed += started
        if missing and not started:
            not_started.append(job.id)
    return RunOutcome(num_done, num_items, len(run_plan.plan.tasks), tuple(failed), tuple(not_started), shared)


def outcome_of_status(run_plan: RunPlan, paths: Mapping[str, RunPaths], status: RunStatus) -> RunOutcome:
    """The same for a run that an engine elsewhere has worked on: of what is not done, the state tells why."""
    from rv_core.record.logs import find_logs

    shared = reject_shared_outputs(run_plan, paths)
    num_done, num_items = _count_shared(run_plan, paths)
    failed: list[FailedTask] = []
    not_started: list[str] = []
    states = {job.job: job for job in status.jobs}
    logs = find_logs(status.files)
    for job in run_plan.plan.jobs:
        entries = [{"id": item.id, "key": item.key} for item in run_plan.of(job.id).to_do]
        missing = manifests_missing(paths[job.pipeline].root_uri, job.command, entries)
        num_items += len(entries)
        num_done += len(entries) - len(missing)
        tasks = [task for task in states[job.id].tasks if task.state != "done"]
        started = [task for task in tasks if task.attempt or task.started or task.exit_code]
        failed += [
            FailedTask(
                t.task, t.state, t.exit_code, t.reason, t.attempt, logs[t.task][-1].uri if t.task in logs else ""
            )
            for t in started
        ]
        if missing and not started:
            reason = next((task.reason for task in tasks if task.reason), "")
            not_started.append(f"{job.id} ({reason})" if reason else job.id)
    return RunOutcome(num_done, num_items, len(run_plan.plan.tasks), tuple(failed), tuple(not_started), shared)


def _count_shared(run_plan: RunPlan, paths: Mapping[str, RunPaths]) -> tuple[int, int]:
    """(done, all) of what jobs of other pipelines of the run do for a root too."""
    num_done = num_items = 0
    for command in run_plan.commands:
        if items := command.shared_items:
            entries = [{"id": item.id, "key": item.key} for item in items]
            num_items += len(entries)
            missing = manifests_missing(paths[command.pipeline].root_uri, command.command, entries)
            num_done += len(entries) - len(missing)
    return num_done, num_items


def _reported_failures(run_dir: str) -> dict[str, list[Event]]:
    """Task -> what its runner reported of failures: what a task cannot say itself, that a signal ended it."""
    found: dict[str, list[Event]] = {}
    for event in read_events(os.path.join(run_dir, "events", SUBMISSION + SUFFIX)):
        if event.get("exit_code") and isinstance(event.get("task"), str):
            found.setdefault(event["task"], []).append(event)
    return found


def _failed_tasks(
    job: Job, run_dir: str, reported: Mapping[str, list[Event]], *, is_done: bool
) -> Iterator[FailedTask]:
    """The tasks of a job that were started and did not end well; where all is done, those that failed all the same."""
    for task in job.tasks:
        attempt, own = _last_attempt(run_dir, task.id)
        if own is None and task.id not in reported:
            continue
        own = own or TaskStatus(task.id)  # it ended before it could say anything
        later = [event for event in reported.get(task.id, ()) if seconds_of(event.get("time", "")) >= own.started]
        status = fold(later, own)
        if status.state == "failed" or not (status.state == "done" or is_done):
            state = "lost" if status.state == "running" else status.state
            reason = status.reason or (_why_lost(run_dir) if state == "lost" else "")
            log = os.path.join(run_dir, "logs", f"{task.id}.{attempt}.log")
            yield FailedTask(task.id, state, status.exit_code, reason, attempt, log if os.path.exists(log) else "")


def _why_lost(run_dir: str) -> str:
    full = full_disk(run_dir)
    return f"its process ended without a word; {full}" if full else "its process ended without a word (killed?)"


def _last_attempt(run_dir: str, task: str) -> tuple[int, TaskStatus | None]:
    attempt = 0
    while os.path.exists(os.path.join(run_dir, "events", file_name(task, attempt + 1))):
        attempt += 1
    if not attempt:
        return 0, None
    return attempt, fold(read_events(os.path.join(run_dir, "events", file_name(task, attempt))), task=task)
