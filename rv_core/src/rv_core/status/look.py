"""What state a run, its jobs and its tasks are in: looks at the root, the events and the runner's engine.

How states follow from what was seen is in `rules`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from rv_core.errors import RvError, UsageError
from rv_core.files import uris
from rv_core.machine.process_table import is_alive
from rv_core.plan.manifests import DONE_FOLDER
from rv_core.record.event_tail import TaskBoard
from rv_core.record.events import ENDED_STATES, TaskStatus, parse_lines, seconds_of
from rv_core.record.layout import RunPaths
from rv_core.record.marker import Marker, is_here, is_marker_stale, read_marker
from rv_core.record.reading import RunFiles, find_run, known_run_ids, read_board, read_items
from rv_core.record.run_record import RunRecord
from rv_core.runner.loading import runner_of
from rv_core.runner.observation import Observation
from rv_core.status.rules import work_out
from rv_core.status.values import RunStatus, RunSummary, Sighting

#: After so many seconds without a word of any task a run that cannot be seen from here starts nothing more.
_QUIET_S = 60.0
#: How long after a run was begun its engine may not show yet what was submitted.
_SHOWN_LATE_S = 15.0


def run_status(root_uri: str, run_id: str | None = None) -> RunStatus:
    """Look at a run: one listing of manifests per root, its events, and its runner's engine if it goes on by itself.

    Raises:
        UsageError: if there is no such run.
        StorageError: if the root cannot be read.
    """
    return status_of(find_run(root_uri, run_id))


def status_of(files: RunFiles) -> RunStatus:
    """The state of a run whose record was read."""
    return work_out(files, _look(files))


def _look(files: RunFiles) -> Sighting:
    from rv_core.files import by_uri

    observed, problem = _observe(files.record)
    board = read_board(files)
    items, unreadable = read_items(files)
    # Last, as a task writes them before it says that it is done: seen the other way round it is done without them.
    root_uris = dict.fromkeys(files.roots.values())
    listed = {root: frozenset(by_uri.list_files(uris.join(root, DONE_FOLDER))) for root in root_uris}
    marker = _marker_of(files)
    newest = [files.run_id] if marker is not None else known_run_ids(files.paths.root_uri)[:1]
    return Sighting(
        board=board,
        items=items,
        manifests=listed,
        observed=observed,
        observe_problem=problem,
        marker=marker,
        is_marker_stale=marker is not None and (is_marker_stale(marker) or _has_ended_elsewhere(marker, files, board)),
        is_latest=newest in ([], [files.run_id]),
        is_gone=is_gone,
        may_submit=marker is None or _may_submit(marker),
        unreadable=unreadable,
    )


def _has_ended_elsewhere(marker: Marker, files: RunFiles, board: TaskBoard) -> bool:
    """Whether a run whose process cannot be seen from here has ended by what its tasks say of themselves."""
    if marker.detached or is_here(marker):
        return False
    tasks = [board.status(task.id) for task in files.tasks()]
    if board.is_over() or all(task.state in ENDED_STATES for task in tasks):
        return True
    if any(task.state in ("running", "submitted") for task in tasks):
        return False
    # What depends on a task that has failed or was stopped never starts; what does not would have started by now.
    is_broken = any(task.state in ENDED_STATES and task.state != "done" for task in tasks)
    return is_broken and time.time() - max(task.updated for task in tasks) > _QUIET_S


def _may_submit(marker: Marker) -> bool:
    """Whether more of a run may be submitted or started; its engine is given some time to show what has been."""
    if not marker.submitting:
        return True
    is_young = time.time() - seconds_of(marker.created) < _SHOWN_LATE_S
    return is_young or not is_here(marker) or is_alive(marker.pid, marker.process_started)


def _marker_of(files: RunFiles) -> Marker | None:
    for paths in files.all_paths():
        marker = read_marker(paths.root_uri)
        if marker is not None and marker.run_id == files.run_id:
            return marker
    return None


def _observe(record: RunRecord) -> tuple[Mapping[str, Observation], str]:
    """What the engine of a runner that detaches says, or why it could not be asked."""
    if not record.capabilities.get("detaches"):
        return {}, ""
    try:
        return runner_of(record).observe(record), ""
    except Exception as error:  # noqa: BLE001 - no plugin, no credentials, no network: all the same answer
        what = error.block.what if isinstance(error, RvError) else str(error) or type(error).__name__
        return {}, f"could not ask {record.runner}: {what}"


def is_gone(status: TaskStatus) -> bool:
    """Whether the process of a task that says it runs on this machine is gone; False for other machines."""
    from rv_core.machine.process_table import host_name, is_alive, started_later

    if status.host != host_name() or status.pid <= 0 or status.pid == os.getpid():
        return False
    if status.process_started:
        return not is_alive(status.pid, status.process_started)
    # By the clock, for what an older version wrote: whoever sets it forward meanwhile makes the process a later one.
    return not is_alive(status.pid) or started_later(status.pid, status.started)


def run_is_over(root_uri: str, run_id: str) -> bool:
    """Whether nothing more will happen in a run; one that cannot be asked about counts as going on.

    Raises:
        StorageError: if the root cannot be read.
    """
    try:
        return run_status(root_uri, run_id).is_over
    except UsageError:
        return True  # its record was removed


def runs(root_uri: str) -> list[RunSummary]:
    """Every run of a root, newest first: one listing and one concurrent read.

    Raises:
        StorageError: if the root cannot be read.
    """
    from rv_core.files import by_uri

    paths = [RunPaths(root_uri, run_id) for run_id in known_run_ids(root_uri)]
    texts = by_uri.read_many([uri for path in paths for uri in (path.run, path.submission)])
    marker = read_marker(root_uri)
    return [_summary(path, texts, marker) for path in paths]


def _summary(paths: RunPaths, texts: Mapping[str, bytes], marker: Marker | None) -> RunSummary:
    try:
        record = RunRecord.from_text(texts[paths.run])
    except (KeyError, ValueError):
        return RunSummary(paths.run_id, "", "", "", "", (), "damaged record")
    return RunSummary(
        run_id=record.run_id,
        created=record.created,
        user=record.user,
        host=record.host,
        runner=record.runner,
        pipelines=tuple(str(pipeline.get("name", "")) for pipeline in record.pipelines),
        state=_summary_state(record, parse_lines(texts.get(paths.submission, b"")), marker),
        argv=record.argv,
    )


def _summary_state(record: RunRecord, events: list[dict[str, Any]], marker: Marker | None) -> str:
    last = next((event for event in reversed(events) if event["event"] in ("run_finished", "cancelled")), None)
    if last is not None:
        return "cancelled" if last["event"] == "cancelled" else "done" if last.get("succeeded") else "failed"
    if marker is not None and marker.run_id == record.run_id and not is_marker_stale(marker):
        return "submitted" if marker.detached else "running"
    return "lost" if marker is not None and marker.run_id == record.run_id else "stopped"
