"""The record of a run under its root: ids, layout, what is written once, and the marker of the one unfinished run."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rv_core.errors import UsageError
from rv_core.files import uris

if TYPE_CHECKING:
    from pathlib import Path

    from rv_core.graph import Plan

RUNS_FOLDER = ".rv/runs"
MARKER = ".rv/active-run.json"


def new_run_id() -> str:
    """A run id that sorts by time, also within a second: `20261123-121500-3fa9c1`.

    The last part is the fraction of the second in 4096ths and three random digits, hexadecimal.
    """
    now = time.time()
    fraction = int(now % 1 * 4096)
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{fraction:03x}{secrets.token_hex(2)[:3]}"


def utc_now() -> str:
    """This moment in UTC, ISO 8601, with seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@dataclass(frozen=True)
class RunPaths:
    """Where the record of one run is, under one root."""

    root_uri: str
    run_id: str

    @property
    def folder(self) -> str:
        """URI of the run's folder."""
        return uris.join(self.root_uri, RUNS_FOLDER, self.run_id)

    @property
    def config(self) -> str:
        """URI of the immutable config that the run's tasks read."""
        return uris.join(self.folder, "pipeline-config.json")

    @property
    def plan(self) -> str:
        """URI of plan.json."""
        return uris.join(self.folder, "plan.json")

    @property
    def run(self) -> str:
        """URI of run.json."""
        return uris.join(self.folder, "run.json")

    @property
    def submission(self) -> str:
        """URI of the events that the submitting process writes."""
        return uris.join(self.folder, "events", "submission.jsonl")

    def items(self, job: str) -> str:
        """URI of the items of a job."""
        return uris.join(self.folder, "items", f"{job}.json")

    @classmethod
    def of_config(cls, config_uri: str) -> RunPaths | None:
        """The run whose immutable config this is, or None if the URI is another config."""
        parts = config_uri.rstrip("/").split("/")
        if len(parts) >= 5 and parts[-1] == "pipeline-config.json" and parts[-4:-2] == [".rv", "runs"]:
            return cls("/".join(parts[:-4]) or "/", parts[-2])
        return None


def local_run_dir(paths: RunPaths) -> str:
    """The folder on this machine for logs, live events and the Makefile of a run: its own where the root is local."""
    if uris.is_local(paths.root_uri):
        return uris.local_path(paths.folder)
    from rv_core.machine.folders import cache_folder

    return os.path.join(cache_folder(), "runs", paths.run_id)


@dataclass(frozen=True)
class RunRecord:
    """`run.json`: who started what, when, how, with which versions. Written once, before anything starts.

    `required` is what tasks on other machines must find there (see `task_environment`); empty for other runners.
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
        from rv_core.submitted_run import read_plan

        return read_plan(self)

    def native_ids(self) -> dict[str, str]:
        """Job (or task) -> the engine's own id, as `RunContext.report` recorded it last, in the order of submission.

        Raises:
            StorageError: if they cannot be read.
        """
        from rv_core.submitted_run import read_native_ids

        return read_native_ids(self)

    def to_text(self) -> str:
        """The record as JSON."""
        return json.dumps(self.__dict__, ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_text(cls, text: str | bytes) -> RunRecord:
        """Read one back; fields of a newer version are left out."""
        plain = json.loads(text)
        known = {name: plain[name] for name in cls.__dataclass_fields__ if name in plain}
        return cls(**{**known, "pipelines": tuple(plain["pipelines"]), "argv": tuple(plain.get("argv", ()))})


def run_ids(root_uri: str) -> list[str]:
    """The ids of all runs of a root, newest first."""
    from rv_core.files import storage

    names = storage.list_files(uris.join(root_uri, RUNS_FOLDER))
    return sorted({name.split("/")[0] for name in names if name.endswith("/run.json")}, reverse=True)


@dataclass(frozen=True)
class Marker:
    """`.rv/active-run.json`: the one unfinished run of a root."""

    run_id: str
    runner: str
    host: str
    pid: int
    process_started: str
    created: str
    detached: bool = False

    def to_text(self) -> str:
        """The marker as JSON."""
        return json.dumps(self.__dict__) + "\n"


def read_marker(root_uri: str) -> Marker | None:
    """The marker of a root, or None if there is none (a damaged one counts as none)."""
    from rv_core.files import storage

    uri = uris.join(root_uri, MARKER)
    if not storage.exists(uri):
        return None
    try:
        plain = json.loads(storage.read_bytes(uri))
        return Marker(**{name: plain[name] for name in Marker.__dataclass_fields__ if name in plain})
    except (ValueError, TypeError):
        return None


def this_process_marker(run_id: str, runner: str, *, detached: bool) -> Marker:
    """The marker that this process would set."""
    from rv_core.machine.process_table import host_name, process_started

    pid = os.getpid()
    return Marker(run_id, runner, host_name(), pid, str(process_started(pid)), utc_now(), detached)


def is_stale(marker: Marker, is_detached_running: Callable[[Marker], bool]) -> bool:
    """Whether the run of a marker is over although its marker is still there.

    Args:
        marker: the marker.
        is_detached_running: asked for a run that goes on without the process that submitted it.
    """
    from rv_core.machine.process_table import host_name, is_alive

    is_here = marker.host == host_name()
    if marker.detached:
        # The process that submitted it may still be at it, or wait for its end.
        is_attended = is_here and marker.pid != os.getpid() and is_alive(marker.pid, marker.process_started)
        return not is_attended and not is_detached_running(marker)
    return is_here and not is_alive(marker.pid, marker.process_started)


def acquire_marker(
    root_uri: str,
    mine: Marker,
    *,
    take_over: Callable[[Marker], None] | None,
    is_detached_running: Callable[[Marker], bool],
) -> None:
    """Make `mine` the one unfinished run of a root.

    Args:
        root_uri: the root.
        mine: the marker to set.
        take_over: ends the run that is in the way, where the user asked for that.
        is_detached_running: see `is_stale`.

    Raises:
        UsageError: if another run is unfinished and still going on.
    """
    from rv_core.files import storage

    uri = uris.join(root_uri, MARKER)
    for _ in range(3):
        if storage.write_once(uri, mine.to_text().encode()):
            return
        other = read_marker(root_uri)
        if other is not None and not is_stale(other, is_detached_running):
            if take_over is None:
                raise _already_running(root_uri, other)
            take_over(other)
        elif other is not None and not other.detached:
            _end_leftovers(other)
        storage.delete(uri)
    raise UsageError("another run took this root at the same moment", where=root_uri, fix="run the command again")


def _end_leftovers(other: Marker) -> None:
    """End what a run whose own process is gone may have left: dying tasks must not race those of the next run."""
    from rv_core.machine.process_table import host_name
    from rv_core.machine.processes import end_processes_of_run

    if other.host == host_name():
        end_processes_of_run(other.run_id)


def _already_running(root_uri: str, other: Marker) -> UsageError:
    process = "" if other.detached else f", process {other.pid} on {other.host}"
    return UsageError(
        f"run {other.run_id} is still going on here (runner {other.runner}, since {other.created}{process})",
        where=root_uri,
        why="two runs on one root would undo each other's work",
        fix=f"watch it with `rv status {root_uri} --watch`, end it with `rv cancel {root_uri}`, or use --take-over",
    )


def release_marker(root_uri: str, run_id: str) -> None:
    """Remove the marker if it is this run's."""
    from rv_core.files import storage

    marker = read_marker(root_uri)
    if marker is not None and marker.run_id == run_id:
        storage.delete(uris.join(root_uri, MARKER))
