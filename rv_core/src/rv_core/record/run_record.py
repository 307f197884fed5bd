"""`run.json`, and what else a run left about itself: its plan, and the ids that its runner's engine gave."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rv_core import state_json
from rv_core.errors import StorageError
from rv_core.files import by_uri, uris
from rv_core.plan.graph import Job, Plan, Resources, make_tasks
from rv_core.record.events import parse_lines, read_events
from rv_core.record.layout import RunPaths, local_run_dir

if TYPE_CHECKING:
    from pathlib import Path

#: The lifecycle hooks that tasks call.
TASK_HOOKS = ("rv_task_started", "rv_task_progress", "rv_task_finished", "rv_task_failed")
#: No plan has more tasks in a job; a number beyond is damage.
_MAX_SPLITS = 1_000_000
_RUN_SHAPE = {
    "run_id": str,
    "runner": str,
    "created": str,
    "pipelines": [{"name": str, "root_uri": str}],
    "user?": str,
    "host?": str,
    "pid?": int,
    "argv?": [str],
    "cwd?": str,
    "capabilities?": {"detaches?": bool},
    "profile?": str,
    "settings?": {str: dict, "run?": {"grace_s?": (float, type(None))}},
    "versions?": dict,
    "options?": dict,
    "code?": dict,
    "task_hooks?": bool,
    "required?": {str: {str: str}},
    "files?": {str: str},
}
_COMMAND_SHAPE = {
    "command": str,
    "job": str,
    "decision": str,
    "reasons": [str],
    "num_items": range(1 << 40),
    "num_to_do": range(1 << 40),
    "taken?": {str: range(1 << 40)},
    "shared?": {str: range(1 << 40)},
    "also_for?": {str: range(1 << 40)},
}
_JOB_SHAPE = {
    "id": str,
    "pipeline": str,
    "command": str,
    "requires?": [str],
    "num_splits": range(1, _MAX_SPLITS + 1),
    "resources": dict,
}
_PLAN_SHAPE = {"pipelines": {str: {"root_uri": str, "commands": [_COMMAND_SHAPE]}}, "jobs": [_JOB_SHAPE]}


def parse_plan(text: str | bytes) -> dict[str, Any]:
    """The content of plan.json.

    Raises:
        ValueError: if it is no plan, or contradicts itself.
    """
    plan: dict[str, Any] = state_json.read(text, _PLAN_SHAPE)
    entries = {entry["job"]: entry for pipeline in plan["pipelines"].values() for entry in pipeline["commands"]}
    for entry in entries.values():
        if entry["num_to_do"] > entry["num_items"]:
            raise ValueError(f"{entry['job']} has {entry['num_to_do']} of {entry['num_items']} items to do")
    for job in plan["jobs"]:
        num_items = entries.get(job["id"], {}).get("num_to_do", _MAX_SPLITS)
        if job["num_splits"] > max(1, num_items):
            raise ValueError(f"{job['id']} has {job['num_splits']} splits and {num_items} items")
    return plan


@dataclass(frozen=True)
class RunRecord:
    """`run.json`: who started what, when, how, with which versions. Written once, before anything starts.

    `required` is what tasks on other machines must find there (see `task.environment`); empty for other runners. `files`
    are the other files of the record that are written once, by name relative to its folder, with their SHA-256.
    """

    run_id: str
    runner: str
    created: str
    pipelines: tuple[Mapping[str, str], ...]
    user: str = ""
    host: str = ""
    pid: int = 0
    argv: tuple[str, ...] = ()
    cwd: str = ""
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    profile: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    code: Mapping[str, Any] = field(default_factory=dict)
    task_hooks: bool = False
    required: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def run_dir(self) -> Path:
        """The folder on this machine for the runner's own files: what `RunContext.run_dir` was."""
        from pathlib import Path  # tasks do without it

        return Path(local_run_dir(RunPaths(self.pipelines[0]["root_uri"], self.run_id)))

    def plan(self) -> Plan:
        """The plan that the runner was given.

        Raises:
            StorageError: if it cannot be read.
        """
        uri = RunPaths(self.pipelines[0]["root_uri"], self.run_id).plan
        try:
            plain = parse_plan(by_uri.read_bytes(uri))
        except ValueError as error:
            raise StorageError("the plan of this run is damaged", where=uri, why=str(error)) from error
        return Plan(
            tuple(
                Job(
                    id=job["id"],
                    pipeline=job["pipeline"],
                    command=job["command"],
                    tasks=make_tasks(job["id"], job["num_splits"]),
                    requires=tuple(job.get("requires", ())),
                    resources=_resources(job["resources"]),
                )
                for job in plain["jobs"]
            )
        )

    def native_ids(self) -> dict[str, str]:
        """Job (or task) -> the engine's own id, as `RunContext.report` recorded it last, in the order of submission.

        Raises:
            StorageError: if they cannot be read.
        """
        found: dict[str, str] = {}
        for pipeline in self.pipelines:
            paths = RunPaths(pipeline["root_uri"], self.run_id)
            texts = by_uri.read_many([paths.submission])
            # Where the store refused them, they are still on the machine that submitted.
            here = [] if uris.is_local(paths.root_uri) else read_events(_local_copy(paths))
            for event in (*here, *parse_lines(texts.get(paths.submission, b""))):
                what = event.get("job") or event.get("task")
                if event["event"] == "submitted" and what and event.get("native_id"):
                    found[str(what)] = str(event["native_id"])
        return found

    def to_text(self) -> str:
        """The record as JSON."""
        return json.dumps(self.__dict__, ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_text(cls, text: str | bytes) -> RunRecord:
        """Read one back; fields of a newer version are left out.

        Raises:
            ValueError: if it is no record of a run.
        """
        plain = state_json.read(text, _RUN_SHAPE, raw=("argv", "cwd"))
        if not plain["pipelines"]:
            raise ValueError("pipelines is empty")
        known = {name: plain[name] for name in cls.__dataclass_fields__ if name in plain}
        return cls(**{**known, "pipelines": tuple(plain["pipelines"]), "argv": tuple(plain.get("argv", ()))})


def _resources(plain: Mapping[str, Any]) -> Resources:
    return Resources(**{name: plain[name] for name in Resources.__dataclass_fields__ if name in plain})


def _local_copy(paths: RunPaths) -> str:
    return os.path.join(local_run_dir(paths), "events", "submission.jsonl")
