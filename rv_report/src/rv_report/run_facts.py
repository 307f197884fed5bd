"""What a report tells of a run besides its results: facts gathered from its record, its tasks and its manifests."""

from __future__ import annotations

import json
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rv_core.errors import StorageError
from rv_core.files import by_uri, uris
from rv_core.status.values import JobStatus, RunStatus

_RUNS, _DONE = ".rv/runs", ".rv/done"


@dataclass(frozen=True)
class TaskFacts:
    """One task that was started.

    Args:
        task: its id.
        state: how it ended, or what it does.
        started, ended: seconds since 1970; `ended` is the end of the run where it has none of its own.
        cpu_s: seconds of CPU of its last attempt; 0.0 = not known.
        max_rss_mib: its peak memory; 0.0 = not known.
        attempt: of how many attempts this is the last.
        items: how many items it finished.
        reason: why it is in this state.
    """

    task: str
    state: str
    started: float
    ended: float
    cpu_s: float = 0.0
    max_rss_mib: float = 0.0
    attempt: int = 1
    items: int = 0
    reason: str = ""

    @property
    def duration_s(self) -> float:
        """From its start to its end, in seconds."""
        return max(0.0, self.ended - self.started)


@dataclass(frozen=True)
class JobFacts:
    """One command of one pipeline.

    Args:
        job: its id.
        state: of the job.
        num_items, num_done, num_done_before: of its items; the last were done before this run.
        tasks: those that were started, by split index.
        num_tasks: how many were planned; 0 where it was not part of the run.
        decision: why it ran, or why it did not.
        memory_mib: what it asked for; None for nothing.
    """

    job: str
    state: str
    num_items: int
    num_done: int
    num_done_before: int
    tasks: tuple[TaskFacts, ...] = ()
    num_tasks: int = 0
    decision: str = ""
    memory_mib: float | None = None

    @property
    def cpu_s(self) -> float:
        """Seconds of CPU of all its tasks."""
        return sum(task.cpu_s for task in self.tasks)

    @property
    def peak_mib(self) -> float:
        """The largest peak memory of a task; 0.0 = none is known."""
        return max((task.max_rss_mib for task in self.tasks), default=0.0)

    @property
    def elapsed_s(self) -> float:
        """From its first start to its last end."""
        if not self.tasks:
            return 0.0
        return max(task.ended for task in self.tasks) - min(task.started for task in self.tasks)

    def median_s(self) -> float:
        """The median time of its tasks that are done; 0.0 where there is none."""
        done = [task.duration_s for task in self.tasks if task.state == "done"]
        return statistics.median(done) if done else 0.0


def job_facts(status: RunStatus) -> list[JobFacts]:
    """The jobs of a run in the order of its plan."""
    plan = status.files.plan
    decisions = {entry["job"]: entry["reasons"] for _, entry in status.files.commands()}
    resources = {job["id"]: job["resources"] for job in plan["jobs"]}
    return [_job(status, job, decisions.get(job.job, ()), resources.get(job.job, {})) for job in status.jobs]


def _job(status: RunStatus, job: JobStatus, reasons: Sequence[str], resources: Mapping[str, Any]) -> JobFacts:
    memory = resources.get("memory_mib")
    return JobFacts(
        job=job.job,
        state=job.state,
        num_items=job.items_total,
        num_done=job.items_done,
        num_done_before=job.items_done_before,
        tasks=tuple(
            TaskFacts(
                task=task.task,
                state=task.state,
                started=task.started,
                ended=task.ended or task.updated or status.ended,
                cpu_s=task.cpu_s,
                max_rss_mib=task.max_rss_mib,
                attempt=task.attempt,
                items=task.items_done,
                reason=task.reason,
            )
            for task in job.tasks
            if task.started
        ),
        num_tasks=len(job.tasks),
        decision=("" if job.tasks else job.reason) or "; ".join(reasons),
        memory_mib=memory if isinstance(memory, int | float) else None,
    )


@dataclass(frozen=True)
class PipelineFacts:
    """What a pipeline of a run was made of.

    Args:
        name: its name.
        root_uri: where it lies.
        config: the run's config as plain values; None where it cannot be read.
        fingerprints: URI of an input -> what tells its content, of what lies under the root.
        damaged: how many files of the record could not be read.
    """

    name: str
    root_uri: str
    config: Mapping[str, Any] | None
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    damaged: int = 0


def pipeline_facts(status: RunStatus) -> list[PipelineFacts]:
    """The pipelines of a run.

    Raises:
        StorageError: if a root cannot be read.
    """
    return [_pipeline(status, name, root_uri) for name, root_uri in status.files.roots.items()]


def _pipeline(status: RunStatus, name: str, root_uri: str) -> PipelineFacts:
    run_id = status.files.run_id
    jobs = [entry["job"] for pipeline, entry in status.files.commands() if pipeline == name]
    keys = _keys([uris.join(root_uri, _RUNS, run_id, "items", f"{job}.json") for job in jobs])
    manifests, damaged = _manifests(root_uri, keys)
    inputs: dict[str, str] = {}
    for manifest in manifests:
        parts = manifest.get("parts")
        for part in ("inputs", "item_inputs"):
            found = parts.get(part) if isinstance(parts, dict) else None
            inputs |= {str(uri): str(print_) for uri, print_ in found.items()} if isinstance(found, dict) else {}
    config = _config(uris.join(root_uri, _RUNS, run_id, "pipeline-config.json"))
    return PipelineFacts(name, root_uri, config, dict(sorted(inputs.items())), damaged)


def _config(uri: str) -> Mapping[str, Any] | None:
    try:
        plain = json.loads(by_uri.read_bytes(uri))["config"]
    except (StorageError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return plain if isinstance(plain, dict) else None


def _keys(places: Sequence[str]) -> set[str]:
    """The keys of the items of a run, whether it did them or they were done before; what is damaged names none."""
    found = set()
    for text in by_uri.read_many(places).values():
        plain = _object(text) or {}
        for part in (plain.get("items"), plain.get("done")):
            found |= (
                {str(entry.get("key")) for entry in part if isinstance(entry, dict)}
                if isinstance(part, list)
                else set()
            )
    return found


def _manifests(root_uri: str, keys: Collection[str]) -> tuple[list[dict[str, Any]], int]:
    """The newest manifest of each item under one of these keys, and how many files are none; of any if there are none."""
    folder = uris.join(root_uri, _DONE)
    names = [uris.join(folder, name) for name in by_uri.list_files(folder) if name.endswith(".json")]
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    damaged = 0
    for text in by_uri.read_many(names).values():
        manifest = _object(text)
        if manifest is None:
            damaged += 1
            continue
        if keys and str(manifest.get("key")) not in keys:
            continue
        place = (str(manifest.get("command")), str(manifest.get("item")))
        if place not in newest or _ended(newest[place]) < _ended(manifest):
            newest[place] = manifest
    return list(newest.values()), damaged


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return plain if isinstance(plain, dict) else None


def _ended(manifest: Mapping[str, Any]) -> str:
    timings = manifest.get("timings")
    return str(timings.get("ended", "")) if isinstance(timings, dict) else ""


def started_tasks(jobs: Sequence[JobFacts]) -> Iterator[TaskFacts]:
    """Every task that was started, job by job."""
    return (task for job in jobs for task in job.tasks)
