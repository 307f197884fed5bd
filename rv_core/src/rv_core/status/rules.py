"""The rules that make states out of what was seen of a run. Pure.

Of a task: that it failed, else the manifests of its items, else what its runner's engine says, else its last event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rv_core.plan.graph import make_tasks
from rv_core.plan.manifests import DONE_FOLDER, manifest_name
from rv_core.plan.shares import split_shares
from rv_core.record.events import ENDED_STATES, TaskState, TaskStatus
from rv_core.record.progress import state_of_counts
from rv_core.record.reading import RunFiles
from rv_core.runner.observation import Observation
from rv_core.status.values import JobStatus, RunState, RunStatus, Sighting


def work_out(files: RunFiles, seen: Sighting) -> RunStatus:
    """The state of a run, its jobs and its tasks."""
    jobs = tuple(_job_statuses(files, seen))
    tasks = [task for job in jobs for task in job.tasks]
    return RunStatus(
        files=files,
        state=_run_state(files, jobs, seen),
        jobs=jobs,
        started=min((task.started for task in tasks if task.started), default=0.0),
        ended=max((task.ended or task.updated for task in tasks), default=0.0),
        problem=seen.observe_problem,
        note="; ".join(filter(None, [_note(seen), *files.doubts, _moved_note(files)])),
    )


def _job_statuses(files: RunFiles, seen: Sighting) -> Iterable[JobStatus]:
    planned = {job["id"]: job for job in files.plan["jobs"]}
    roots = files.roots
    ended: dict[str, TaskState] = {}
    for pipeline, entry in files.commands():
        job, there = entry["job"], seen.manifests.get(roots[pipeline], frozenset())
        if job in planned:
            status = _planned_job(pipeline, entry, planned[job], there, seen, ended)
        else:
            status = _other_job(pipeline, entry, there, seen, ended)
        ended[job] = status.state
        yield status


def _other_job(
    pipeline: str, entry: Mapping[str, Any], there: frozenset[str], seen: Sighting, ended: Mapping[str, TaskState]
) -> JobStatus:
    """A command without a job: it was done before, taken, not asked for, or a job of another pipeline does it."""
    record = seen.items.get(entry["job"], {"items": (), "done": ()})
    num_done = sum(_is_done(entry["command"], item, there) for item in (*record["items"], *record["done"]))
    is_selected = entry["decision"] != "not selected"
    reason = _why_left_alone(entry) if is_selected else "not selected"
    state: TaskState = "skipped"
    if num_done < entry["num_items"] and (shared := entry.get("shared")):
        state = next((ended[job] for job in shared if ended.get(job, "done") != "done"), "waiting")
    if is_selected and entry["job"] in seen.unreadable:
        state, reason = "unknown", seen.unreadable[entry["job"]]
    return JobStatus(
        entry["job"], entry["command"], state, num_done, int(entry["num_items"]), (), pipeline, num_done, reason
    )


def _why_left_alone(entry: Mapping[str, Any]) -> str:
    elsewhere = _elsewhere(entry)
    num_elsewhere = sum(sum(entry.get(kind, {}).values()) for kind in ("taken", "shared"))
    if len(elsewhere) == 1 and num_elsewhere == entry["num_items"]:
        return elsewhere[0].partition(" ")[2]
    return ", ".join([*(["done before"] if num_elsewhere < entry["num_items"] else []), *elsewhere])


def _elsewhere(entry: Mapping[str, Any]) -> list[str]:
    """How many items of a command were taken from other roots, and how many other jobs do: `3 taken from /data/a`."""
    told = (("taken", "taken from"), ("shared", "done by"))
    return [f"{sum(entry[kind].values())} {what} {', '.join(entry[kind])}" for kind, what in told if entry.get(kind)]


def _planned_job(
    pipeline: str,
    entry: Mapping[str, Any],
    planned: Mapping[str, Any],
    there: frozenset[str],
    seen: Sighting,
    ended: Mapping[str, TaskState],
) -> JobStatus:
    command, num_splits = entry["command"], int(planned["num_splits"])
    why_unknown = seen.unreadable.get(entry["job"], "")
    record = seen.items.get(entry["job"], {"items": (), "done": ()})
    shares = split_shares(record["items"], num_splits, lambda item: str(item.get("group", "")))
    blocked = _blocking(planned.get("requires", ()), ended)
    tasks, num_done = [], sum(_is_done(command, item, there) for item in record["done"])
    for task, share in zip(make_tasks(entry["job"], num_splits), shares, strict=True):
        present = sum(_is_done(command, item, there) for item in share)
        if why_unknown:
            tasks.append(_task_of_unknown_items(task.id, why_unknown, seen))
        else:
            tasks.append(_task_status(task.id, len(share), present, blocked, seen))
        num_done += present if seen.is_latest and not why_unknown else max(present, seen.board.items_done(task.id))
    counts = Counter(task.state for task in tasks)
    return JobStatus(
        job=entry["job"],
        command=command,
        state=state_of_counts(counts, num_splits),
        items_done=min(num_done, int(entry["num_items"])),
        items_total=int(entry["num_items"]),
        tasks=tuple(tasks),
        pipeline=pipeline,
        items_done_before=int(entry["num_items"]) - int(entry["num_to_do"]),
        reason=", ".join(_elsewhere(entry)),
    )


def _is_done(command: str, item: Mapping[str, Any], there: frozenset[str]) -> bool:
    return manifest_name(command, item["id"], item["key"]).removeprefix(f"{DONE_FOLDER}/") in there


def _blocking(requires: Iterable[str], ended: Mapping[str, TaskState]) -> str:
    """Why tasks of a job cannot start: a required job that ended without being done; "" if nothing is in the way."""
    for job in requires:
        state = ended.get(job, "done")
        if state not in ("done", "skipped", "running", "submitted"):
            return f"{job} is not done ({state})"
    return ""


def _task_status(task: str, num_items: int, num_present: int, blocked: str, seen: Sighting) -> TaskStatus:
    """The state of one task: failed if it or its runner says so, else its items' manifests, its runner, its last event."""
    own = seen.board.own_status(task)
    status = seen.board.status(task)
    missing = num_items - num_present
    observed = seen.observed.get(task)
    told = status if observed is None else _with_observation(status, observed)
    if missing == 0 and told.state != "failed":
        return status._replace(state="done", reason="", exit_code=0, items_done=num_present)
    status = told._replace(items_done=max(num_present, seen.board.items_done(task)))
    if status.state == "done":
        return _done_without_manifests(status, own, missing, num_items)
    if status.state not in ENDED_STATES and observed is None and seen.observe_problem:
        return status._replace(state="unknown", reason=seen.observe_problem)
    if status.state == "running" and observed is None and seen.is_gone(status):
        return status._replace(state="lost", reason=status.reason or "its process ended without a word (killed?)")
    if status.state == "waiting":
        return status._replace(reason=status.reason or _why_waiting(blocked, seen))
    return status


def _task_of_unknown_items(task: str, why: str, seen: Sighting) -> TaskStatus:
    """A task of which nobody knows what it works through: that it runs, or how it failed; never that it is done."""
    status = seen.board.status(task)._replace(items_done=seen.board.items_done(task))
    observed = seen.observed.get(task)
    if observed is not None:
        status = _with_observation(status, observed)
    if status.state == "running" and observed is None and seen.is_gone(status):
        return status._replace(state="lost", reason=status.reason or "its process ended without a word (killed?)")
    if status.state in ("waiting", "done"):
        said = "it says that it is done, but " if status.state == "done" else ""
        return status._replace(state="unknown", reason=said + why)
    return status


def _with_observation(status: TaskStatus, observed: Observation) -> TaskStatus:
    """What the engine says counts before the last event; what the task said of its own end explains more."""
    reasons = [status.reason if status.state == observed.state else "", observed.reason]
    return status._replace(
        state=observed.state,
        reason="; ".join(dict.fromkeys(filter(None, reasons))),
        exit_code=observed.exit_code if observed.exit_code is not None else status.exit_code,
        attempt=max(status.attempt, observed.attempt),
        native_id=observed.native_id or status.native_id,
        started=status.started or observed.started,
        ended=observed.ended or status.ended,
    )


def _done_without_manifests(status: TaskStatus, own: TaskStatus, missing: int, num_items: int) -> TaskStatus:
    if own.state == "done":
        return status._replace(reason=f"{missing} of its {num_items} items were removed or replaced since")
    reason = f"it ended without an error, but {missing} of its {num_items} items are not done"
    return status._replace(state="failed", reason=reason)


def _why_waiting(blocked: str, seen: Sighting) -> str:
    is_over = seen.marker is None or seen.is_marker_stale or seen.board.is_over()
    if blocked:
        return f"did not start: {blocked}" if is_over else f"waits: {blocked}"
    return "did not start: the run ended before" if is_over else ""


def _run_state(files: RunFiles, jobs: Sequence[JobStatus], seen: Sighting) -> RunState:
    states = [job.state for job in jobs if job.tasks]
    if all(state == "done" for state in states):
        return "done" if states or all(job.state != "unknown" for job in jobs) else "unknown"
    if _is_going_on(files, jobs, seen):
        return "running" if any(state not in ("submitted", "waiting") for state in states) else "submitted"
    return _state_of_what_is_over(jobs, seen)


def _state_of_what_is_over(jobs: Sequence[JobStatus], seen: Sighting) -> RunState:
    """Of a run that is not done and in which nothing more happens, as far as can be told."""
    if seen.board.is_cancelled():
        return "cancelled"
    is_unknown = any(job.count("unknown") for job in jobs)
    if any(job.count("failed") for job in jobs) and not (is_unknown and seen.observe_problem):
        return "failed"
    if is_unknown:
        return "unknown"
    # A run that is interrupted takes its marker away; one that is killed leaves it.
    return "lost" if seen.marker is not None or any(job.count("lost") for job in jobs) else "stopped"


def _is_going_on(files: RunFiles, jobs: Sequence[JobStatus], seen: Sighting) -> bool:
    if not files.record.capabilities.get("detaches"):
        return seen.marker is not None and not seen.is_marker_stale
    if seen.observe_problem or (seen.board.is_over() and not seen.observed):
        return False
    requires = {job["id"]: job.get("requires", ()) for job in files.plan["jobs"]}
    states = {job.job: job.state for job in jobs}
    return any(
        task.state in ("running", "submitted")
        or (task.state == "waiting" and _may_start(task.task, seen) and not _blocking(requires[job.job], states))
        for job in jobs
        for task in job.tasks
    )


def _may_start(task: str, seen: Sighting) -> bool:
    """Whether a waiting task has been submitted or still may be: who submits has the root's marker until all is."""
    return (seen.marker is not None and seen.may_submit) or task in seen.observed


def _moved_note(files: RunFiles) -> str:
    moved = files.moved_from
    return (
        f"it ran with the root {', '.join(dict.fromkeys(moved))}, and is looked at where it lies now" if moved else ""
    )


def _note(seen: Sighting) -> str:
    cancelled = [event for event in seen.board.run_events if event["event"] == "cancelled"]
    if cancelled:
        return str(cancelled[-1].get("reason") or "cancelled")
    marker = seen.marker
    if marker is not None and seen.is_marker_stale and not seen.board.is_over():
        return f"the process that ran it ({marker.pid} on {marker.host}) is gone"
    return ""
