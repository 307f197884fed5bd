"""Ending a run from outside: the process that runs it, or what its runner left to an engine."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from rv_core.errors import RunnerError, StorageError, UsageError
from rv_core.files import uris
from rv_core.record.event_writer import EventWriter
from rv_core.record.layout import RunPaths
from rv_core.record.marker import Marker, end_leftovers, is_here, is_stale, read_marker, release_marker
from rv_core.record.reading import RunFiles, find_run, local_dirs, read_run

#: What an `rv run` gets beyond the grace of its tasks, to end them and to write down how they ended.
_EXTRA_GRACE_S = 10.0


class Cancellation(NamedTuple):
    """What a request to cancel came to.

    Args:
        run_id: the run that it was about; "" if there was none.
        is_cancelled: whether something was ended.
        message: what happened, for people.
    """

    run_id: str
    is_cancelled: bool
    message: str


def cancel(root_uri: str, run_id: str | None = None) -> Cancellation:
    """End the run that is going on under a root; nothing to end is no error.

    Args:
        root_uri: an absolute root.
        run_id: only if it is this run.

    Raises:
        UsageError: if the root holds no such run, or the run's process is on another machine.
        RunnerError: if its engine refuses, or its process belongs to another user.
    """
    marker = read_marker(root_uri)
    is_meant = marker is not None and run_id in (None, marker.run_id) and not is_stale(marker, lambda _: True)
    if marker is not None and is_meant and _files_of(root_uri, marker) is None:
        # It has only just taken the root, or its record is damaged: there is a process to end all the same.
        cancel_run(root_uri, marker)
        return Cancellation(marker.run_id, True, f"run {marker.run_id} is cancelled; what was done stays done")
    files = find_run(root_uri, run_id)
    if marker is None or marker.run_id != files.run_id:
        return Cancellation(files.run_id, False, f"nothing to cancel: run {files.run_id} has ended")
    if not marker.detached and is_stale(marker, lambda _: True):
        end_leftovers(marker)
        release_marker(root_uri, marker.run_id)
        gone = f"its process ({marker.pid} on {marker.host}) is gone"
        return Cancellation(files.run_id, False, f"nothing to cancel: run {files.run_id} is over, {gone}")
    if marker.detached and _is_over(root_uri, marker):
        _release(files)
        return Cancellation(files.run_id, False, f"nothing to cancel: run {files.run_id} has ended")
    cancel_run(root_uri, marker)
    return Cancellation(files.run_id, True, f"run {files.run_id} is cancelled; what was done stays done")


def cancel_run(root_uri: str, marker: Marker, *, takes_over: bool = False) -> str:
    """End the run of a marker, note that in its events, and give its roots free.

    Args:
        root_uri: a root of it.
        marker: its marker.
        takes_over: another run takes the root: one that cannot be ended from here then loses it all the same, and its
            tasks write nothing more.

    Returns:
        What to tell of a run that could not be ended, else "".

    Raises:
        UsageError: if its process is out of reach, and no other run takes the root.
        RunnerError: if its engine refuses, or its process belongs to another user.
    """
    files = _files_of(root_uri, marker)
    left_alone = ""
    if marker.detached and files is not None:
        _cancel_detached(files)
    elif is_here(marker):
        _end(marker, files)
    elif takes_over:
        left_alone = (
            f"run {marker.run_id} (process {marker.pid} on {marker.host}) cannot be ended from here; "
            "it has lost this root, and its tasks stop before they put anything in place"
        )
    else:
        raise _out_of_reach(root_uri, marker)
    if files is None:
        release_marker(root_uri, marker.run_id)
    else:
        note_cancelled(files)
        _release(files)
    return left_alone


def _files_of(root_uri: str, marker: Marker) -> RunFiles | None:
    """The record of the run of a marker; None for one that has not written it yet, or whose record is damaged."""
    try:
        return read_run(RunPaths(root_uri, marker.run_id))
    except StorageError:
        return None


def _end(marker: Marker, files: RunFiles | None) -> None:
    from rv_core.machine.lifeline import read_grace_s
    from rv_core.machine.processes import end_process

    own_grace_s = None if files is None else files.record.settings.get("run", {}).get("grace_s")
    grace_s = read_grace_s() if own_grace_s is None else float(own_grace_s)
    end_process(marker.pid, marker.process_started, grace_s=grace_s + _EXTRA_GRACE_S)
    end_leftovers(marker)


def _out_of_reach(root_uri: str, marker: Marker) -> UsageError:
    from rv_core.machine.process_table import host_name
    from rv_core.wording import typed

    where = f"on {marker.host}"
    if marker.host == host_name():
        where = f"in another container on {marker.host}"
    return UsageError(
        f"run {marker.run_id} runs {where} (process {marker.pid}), which cannot be reached from here ({host_name()})",
        where=root_uri,
        fix=f"{where}: rv cancel {typed(root_uri)}; if that is gone for good, --take-over gives the root to the next run",
    )


def note_cancelled(files: RunFiles) -> None:
    """Append `cancelled` to the events of the run's submission, under every root and in its folders on this machine."""
    from rv_core.machine.process_table import host_name, user_name

    reason = f"cancelled by {user_name()} on {host_name()}"
    remote = [paths for paths in files.all_paths() if not uris.is_local(paths.root_uri)]
    for folder in local_dirs(files):
        with EventWriter(os.path.join(folder, "events", "submission.jsonl")) as events:
            events.write("cancelled", reason=reason)
    for paths in remote:
        _append_remote(paths, reason)


def _append_remote(paths: RunPaths, reason: str) -> None:
    """A store cannot append: what is there is put again with one line more. Its writer is gone by now."""
    import json

    from rv_core.files import by_uri
    from rv_core.record.event_writer import timestamp

    before = by_uri.read_bytes(paths.submission) if by_uri.exists(paths.submission) else b""
    line = json.dumps({"time": timestamp(time.time()), "event": "cancelled", "reason": reason})
    by_uri.write_bytes(paths.submission, before[: before.rfind(b"\n") + 1] + line.encode() + b"\n")


def _cancel_detached(files: RunFiles) -> None:
    from rv_core.runner.loading import runner_of

    runner = runner_of(files.record)
    if not runner.capabilities.cancels:
        raise RunnerError(
            f"the runner {files.record.runner} cannot cancel a run", fix="end it with the tools of its engine"
        )
    runner.cancel(files.record)


def _is_over(root_uri: str, marker: Marker) -> bool:
    from rv_core.status.look import run_is_over

    return run_is_over(root_uri, marker.run_id)


def _release(files: RunFiles) -> None:
    for paths in files.all_paths():
        release_marker(paths.root_uri, files.run_id)
