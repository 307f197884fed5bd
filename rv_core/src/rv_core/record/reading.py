"""Reads the record of a run and what its events say. JSON only: nothing found under a root is ever imported."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from rv_core import state_json
from rv_core.errors import StorageError, UsageError, unknown_name
from rv_core.files import uris
from rv_core.plan.graph import Task, make_tasks
from rv_core.record.event_tail import EventTail, News, RemoteEventTail, Tail, TaskBoard
from rv_core.record.layout import RUNS_FOLDER, RunPaths, local_run_dir, run_time_s
from rv_core.record.marker import read_marker
from rv_core.record.progress import JobPlan
from rv_core.record.run_record import RunRecord, parse_plan
from rv_core.record.whereabouts import present_roots
from rv_core.wording import typed

#: What a display and the rules of states read of `items/<job>.json`.
_ITEMS_SHAPE = {"items": [{"id": str, "key": str, "group?": str}], "done": [{"id": str, "key": str}]}
#: A run whose record cannot be read may be the newest one, which is what is shown when no other is named.
_OTHER_RUNS = "`rv status` lists every run with --all and shows another one with --run"


class RunFiles(NamedTuple):
    """A run as its immutable record tells it.

    Args:
        paths: where the record that was read is.
        record: `run.json`, its roots being those where the pipelines' records are now.
        plan: `plan.json`.
        recorded_roots: pipeline name -> root as it was when the run was started.
        doubts: what is to be told of how this run was found, for instance that a newer one cannot be read.
    """

    paths: RunPaths
    record: RunRecord
    plan: Mapping[str, Any]
    recorded_roots: Mapping[str, str] = {}
    doubts: tuple[str, ...] = ()

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self.record.run_id

    @property
    def roots(self) -> dict[str, str]:
        """Pipeline name -> root URI, where it is now."""
        return {pipeline["name"]: pipeline["root_uri"] for pipeline in self.record.pipelines}

    @property
    def moved_from(self) -> list[str]:
        """The roots as they were recorded of pipelines whose roots are elsewhere now."""
        roots = self.roots
        return [old for name, old in self.recorded_roots.items() if not uris.is_same_root(old, roots[name])]

    def all_paths(self) -> list[RunPaths]:
        """The run's paths under each of its roots, the first pipeline's first."""
        return [RunPaths(root, self.run_id) for root in dict.fromkeys(self.roots.values())]

    def commands(self) -> list[tuple[str, Mapping[str, Any]]]:
        """(pipeline name, entry of plan.json) of every command of every pipeline, in order."""
        return [(name, entry) for name, pipeline in self.plan["pipelines"].items() for entry in pipeline["commands"]]

    def tasks(self) -> list[Task]:
        """Every planned task, in order."""
        return [task for job in self.plan["jobs"] for task in make_tasks(job["id"], job["num_splits"])]

    def job_plans(self) -> list[JobPlan]:
        """What a display has to know beforehand, for the jobs of this run."""
        entries = {entry["job"]: entry for _, entry in self.commands()}
        return [_job_plan(job, entries[job["id"]]) for job in self.plan["jobs"]]


def _job_plan(job: Mapping[str, Any], entry: Mapping[str, Any]) -> JobPlan:
    num_items, num_to_do = int(entry["num_items"]), int(entry["num_to_do"])
    return JobPlan(job["id"], int(job["num_splits"]), num_items, num_items - num_to_do)


def absolute_root(root: str) -> str:
    """A root as typed, by the one name that it has, `${NAME}` expanded."""
    return uris.expand(uris.placed_root(root, os.getcwd()))


def find_run(root_uri: str, run_id: str | None = None) -> RunFiles:
    """The record of a run: the named one, else the one that is going on, else the newest.

    Args:
        root_uri: an absolute root.
        run_id: a run id, or the beginning of one if no other begins so.

    Raises:
        UsageError: if the root holds no run, or none of this id.
        StorageError: if the record cannot be read.
    """
    if run_id is None:
        marker = read_marker(root_uri)
        if marker is not None and _has_record(RunPaths(root_uri, marker.run_id)):
            return read_run(RunPaths(root_uri, marker.run_id))
    ids = known_run_ids(root_uri)
    if not ids:
        raise no_run_error(root_uri)
    return read_run(RunPaths(root_uri, ids[0] if run_id is None else _named(run_id, ids, root_uri)))


def known_run_ids(root_uri: str) -> list[str]:
    """The ids of all runs of a root, newest first; on this machine without a look at their thousands of events.

    Raises:
        StorageError: if the root cannot be looked at.
    """
    if not uris.is_local(root_uri):
        return run_ids(root_uri)
    return local_run_ids(root_uri)


def local_run_ids(root_uri: str) -> list[str]:
    """The same of a root on this machine: an id sorts behind those of the runs before it, whatever the clock said.

    Raises:
        StorageError: if the root cannot be looked at.
    """
    folder = os.path.join(uris.local_path(root_uri), RUNS_FOLDER)
    try:
        with os.scandir(folder) as entries:
            return sorted((e.name for e in entries if os.path.exists(os.path.join(e.path, "run.json"))), reverse=True)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StorageError("cannot look for runs", where=folder, why=error.strerror or str(error)) from error


def _named(run_id: str, ids: list[str], root_uri: str) -> str:
    if run_id in ids:
        return run_id
    begun = [known for known in ids if known.startswith(run_id)]
    if len(begun) == 1:
        return begun[0]
    what, fix = unknown_name("run", run_id, begun or ids[:10])
    raise UsageError(what, where=root_uri, fix=fix or f"rv status {typed(root_uri)} --all lists them")


def _has_record(paths: RunPaths) -> bool:
    from rv_core.files import by_uri

    return by_uri.exists(paths.run)


def read_run(paths: RunPaths) -> RunFiles:
    """Read `run.json` and `plan.json`.

    Raises:
        StorageError: if one is missing or damaged.
    """
    from rv_core.files import by_uri

    texts = by_uri.read_many([paths.run, paths.plan])
    for uri in (paths.run, paths.plan):
        if uri not in texts:
            raise StorageError(
                f"{uris.name_of(uri)} is missing",
                where=paths.folder,
                fix=f"the run never started: run it again; {_OTHER_RUNS}",
            )
    try:
        return _files(paths, RunRecord.from_text(texts[paths.run]), parse_plan(texts[paths.plan]))
    except ValueError as error:
        raise StorageError(
            "the record of this run is damaged",
            where=paths.folder,
            why=str(error),
            fix=f"the same command as before looks at what is done, and makes a new record; {_OTHER_RUNS}",
        ) from error


def _files(paths: RunPaths, record: RunRecord, plan: Mapping[str, Any]) -> RunFiles:
    from rv_core.files import by_uri

    recorded = {name: uris.expand(pipeline["root_uri"]) for name, pipeline in plan["pipelines"].items()}
    if record.run_id != paths.run_id:
        raise ValueError(f"run.json is that of run {record.run_id}")
    if not recorded:
        raise ValueError("plan.json names no pipeline")
    of_commands = {entry["job"] for pipeline in plan["pipelines"].values() for entry in pipeline["commands"]}
    if lone := [job["id"] for job in plan["jobs"] if job["id"] not in of_commands]:
        raise ValueError(f"plan.json names {lone[0]}, the job of no command")
    jobs = {name: [entry["job"] for entry in pipeline["commands"]] for name, pipeline in plan["pipelines"].items()}
    roots = present_roots(
        recorded,
        paths.root_uri,
        lies_here=lambda name: any(by_uri.exists(paths.items(job)) for job in jobs[name]),
        has_record=lambda root: by_uri.exists(RunPaths(root, paths.run_id).run),
    )
    pipelines = tuple({"name": name, "root_uri": root} for name, root in roots.items())
    return RunFiles(paths, replace(record, pipelines=pipelines), plan, recorded)


def no_run_error(root_uri: str) -> UsageError:
    """The refusal for a root that holds no run, naming roots right below or above it that do."""
    near = _roots_near(root_uri)
    fix = f"did you mean {near[0]}?" if near else "give the root_uri of a pipeline that was run"
    return UsageError("no run found here", where=root_uri, why=f"there is no {RUNS_FOLDER}/ with a run in it", fix=fix)


def _roots_near(root_uri: str) -> list[str]:
    if not uris.is_local(root_uri):
        return []
    here = uris.local_path(root_uri)
    below: Iterable[str] = ()
    with contextlib.suppress(OSError):
        below = sorted(entry.path for entry in os.scandir(here) if entry.is_dir())[:1000]
    above = [os.path.dirname(here), os.path.dirname(os.path.dirname(here))]
    return [folder for folder in (*below, *above) if os.path.isdir(os.path.join(folder, RUNS_FOLDER))]


def read_items(files: RunFiles) -> tuple[dict[str, Mapping[str, Any]], dict[str, str]]:
    """What the commands of a run work through.

    Returns:
        (job id -> `items/<job>.json`, job id -> why that is not known).
    """
    from rv_core.files import by_uri

    roots, found, unknown = files.roots, {}, {}
    places = {entry["job"]: RunPaths(roots[name], files.run_id).items(entry["job"]) for name, entry in files.commands()}
    texts = by_uri.read_many(list(places.values()))
    for _, entry in files.commands():
        job = entry["job"]
        uri = places[job]
        try:
            if uri not in texts:
                raise ValueError("it is missing")
            record = state_json.read(texts[uri], _ITEMS_SHAPE)
            if (len(record["items"]), len(record["done"])) != _planned_sizes(entry):
                raise ValueError("its number of items is another one than in plan.json")
            found[job] = record
        except ValueError as error:
            unknown[job] = f"what it works through is not known: {error} ({uri})"
    return found, unknown


def _planned_sizes(entry: Mapping[str, Any]) -> tuple[int, int]:
    return entry["num_to_do"], entry["num_items"] - entry["num_to_do"]


def local_dirs(files: RunFiles) -> list[str]:
    """The folders on this machine that hold events and logs of a run; none where it ran elsewhere."""
    folders = dict.fromkeys(str(local_run_dir(paths)) for paths in files.all_paths())
    return [folder for folder in folders if os.path.isdir(folder)]


def tails(files: RunFiles) -> list[Tail]:
    """Where the events of a run come from: run folders on this machine, and remote roots that have none here."""
    remote = [paths for paths in files.all_paths() if not uris.is_local(paths.root_uri)]
    here = local_dirs(files)
    elsewhere = [] if here and not files.record.capabilities.get("detaches") else remote
    return [*map(EventTail, here), *(RemoteEventTail(paths.folder) for paths in elsewhere)]


def read_board(files: RunFiles) -> TaskBoard:
    """What all events so far say."""
    merged: News = {}
    for tail in tails(files):
        for stem, events in tail.poll(whole=True).items():
            # The same file may lie here and in the store, where it lags behind.
            if len(events) > len(merged.get(stem, ())):
                merged[stem] = events
    board = TaskBoard()
    board.update(merged)
    return board


def run_ids(root_uri: str) -> list[str]:
    """The ids of all runs of a root in a store, newest first.

    Machines whose clocks differ start runs there. A run is not younger than its record, by the clock of the store.
    """
    from rv_core.files import by_uri

    found = by_uri.list_files(uris.join(root_uri, RUNS_FOLDER))
    written = {
        n.split("/")[0]: info.mtime_ns for n, info in found.items() if n.count("/") == 1 and n.endswith("/run.json")
    }
    return sorted(written, key=lambda run_id: (_started_at_most(run_id, written[run_id]), run_id), reverse=True)


def _started_at_most(run_id: str, written_ns: int | None) -> float:
    moments = [run_time_s(run_id), None if written_ns is None else written_ns / 1e9]
    return min((moment for moment in moments if moment is not None), default=0.0)
