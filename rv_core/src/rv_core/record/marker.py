"""The marker of the one unfinished run of a root.

It is only ever created where there is none, and replaced or removed where it still is what was read: of any number of
processes that take a root at once one gets it, whatever lay there before.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import NamedTuple

from rv_core import state_json
from rv_core.errors import RunnerError, UsageError
from rv_core.files import uris
from rv_core.record.layout import MARKER, utc_now

_MAX_TRIES = 20
_SHAPE = {
    "run_id": str,
    "runner": str,
    "host": str,
    "pid": range(1 << 31),
    "process_started": str,
    "created": str,
    "detached?": bool,
    "pid_namespace?": str,
    "submitting?": bool,
}
#: An empty marker that stays so for so long is not being written: it is damaged.
_HALF_WRITTEN_S = 3.0


class Marker(NamedTuple):
    """`.rv/active-run.json`: the one unfinished run of a root.

    Args:
        run_id: the run.
        runner: its runner.
        host: the machine of the process that runs or submits it.
        pid: that process, by the number that it has among those that it sees.
        process_started: what tells it from a later one of the same number.
        created: when the root was taken.
        detached: whether the run goes on without that process.
        pid_namespace: among which processes the number counts: two containers may have one host name; "" if unknown.
        submitting: whether what goes on without that process is still being submitted by it.
    """

    run_id: str
    runner: str
    host: str
    pid: int
    process_started: str
    created: str
    detached: bool = False
    pid_namespace: str = ""
    submitting: bool = False

    def to_text(self) -> str:
        """The marker as JSON."""
        return json.dumps(self._asdict()) + "\n"


def marker_uri(root_uri: str) -> str:
    """Where the marker of a root is."""
    return uris.join(root_uri, MARKER)


def read_marker(root_uri: str) -> Marker | None:
    """The marker of a root, or None if there is none (an empty or damaged one counts as none)."""
    content = _content(marker_uri(root_uri))
    return None if content is None else parse_marker(content)


def parse_marker(content: bytes) -> Marker | None:
    """The marker in the content of its file; None if that is empty or damaged."""
    try:
        plain = state_json.read(content, _SHAPE)
    except ValueError:
        return None
    marker = Marker(**{name: plain[name] for name in Marker._fields if name in plain})
    return marker if _is_name(marker.run_id) else None


def _is_name(run_id: str) -> bool:
    return run_id not in ("", ".", "..") and "/" not in run_id and run_id.isprintable()


def _content(uri: str) -> bytes | None:
    from rv_core.files import by_uri
    from rv_core.files.problems import MissingFileError

    try:
        return by_uri.read_bytes(uri)
    except MissingFileError:
        return None


def _written(uri: str) -> bytes | None:
    """What a marker holds; one that is empty may just be written, in a store that does not do so at one stroke."""
    end = time.monotonic() + _HALF_WRITTEN_S
    while (found := _content(uri)) == b"" and time.monotonic() < end:
        time.sleep(0.05)
    return found


def this_process_marker(run_id: str, runner: str, *, detached: bool, pid: int | None = None) -> Marker:
    """The marker that this process would set, for itself or for another process of this machine."""
    from rv_core.machine.process_table import host_name, pid_namespace, process_started

    pid = os.getpid() if pid is None else pid
    started = str(process_started(pid))
    return Marker(run_id, runner, host_name(), pid, started, utc_now(), detached, pid_namespace(), submitting=detached)


def is_here(marker: Marker) -> bool:
    """Whether the process of a marker would be seen here if it were still there."""
    from rv_core.machine.process_table import host_name, is_of_this_boot, pid_namespace

    if marker.host != host_name():
        return False
    is_visible = marker.pid_namespace in ("", pid_namespace())
    # Numbers of namespaces begin anew with every boot, and no process outlives one.
    return is_visible or not is_of_this_boot(marker.process_started)


def is_stale(marker: Marker, is_running: Callable[[Marker], bool]) -> bool:
    """Whether the run of a marker is over although its marker is still there.

    Args:
        marker: the marker.
        is_running: asked for a run whose process tells nothing: it goes on without one, or cannot be seen from here.
    """
    from rv_core.machine.process_table import is_alive

    is_attended = is_here(marker) and is_alive(marker.pid, marker.process_started)
    if marker.detached:
        # The process that submitted it may still be at it, or wait for its end.
        return not (is_attended and marker.pid != os.getpid()) and not is_running(marker)
    return not is_attended and (is_here(marker) or not is_running(marker))


def acquire_marker(
    root_uri: str,
    mine: Marker,
    *,
    take_over: Callable[[Marker], None] | None,
    is_running: Callable[[Marker], bool],
) -> None:
    """Make `mine` the one unfinished run of a root; where a marker of the same run is alive that one stays.

    Args:
        root_uri: the root.
        mine: the marker to set.
        take_over: ends the run that is in the way, where the user asked for that; raises `already_running` if it is
            another one than was meant.
        is_running: see `is_stale`.

    Raises:
        UsageError: if another run is unfinished and still going on, also one that was faster a moment ago.
        RunnerError: if processes of a run that was killed cannot be ended.
    """
    from rv_core.files import by_uri

    uri, text = marker_uri(root_uri), mine.to_text().encode()
    for _ in range(_MAX_TRIES):
        if by_uri.write_once(uri, text):
            return
        found = _written(uri)
        if found is None:
            continue
        other = parse_marker(found)
        if other is not None:
            is_over = is_stale(other, is_running)
            if other == mine or (other.run_id == mine.run_id and not is_over):
                return  # the answer to our own write may have been lost
            if not is_over:
                if take_over is None:
                    raise already_running(root_uri, other)
                take_over(other)
            elif not other.detached and other.run_id != mine.run_id:
                end_leftovers(other)
        if by_uri.swap(uri, found, text):
            return
    raise UsageError(
        "this root cannot be taken",
        where=uri,
        why=f"its marker changed {_MAX_TRIES} times meanwhile",
        fix="run the command again",
    )


def end_leftovers(other: Marker) -> None:
    """End what a run whose own process is gone may have left: dying tasks must not race those of the next run.

    Raises:
        RunnerError: if something of it cannot be ended.
    """
    from rv_core.machine.processes import end_processes_of_run

    if is_here(other) and (left := end_processes_of_run(other.run_id)):
        raise RunnerError(
            f"run {other.run_id} was killed, and what it has left cannot be ended",
            why=f"processes {', '.join(map(str, sorted(left)))} are still there",
            fix="end them, then run the command again",
        )


def already_running(root_uri: str, other: Marker, *, may_take_over: bool = True) -> UsageError:
    """The refusal to work under a root where another run is still going on.

    Args:
        root_uri: the root.
        other: the marker of that run.
        may_take_over: whether what was refused knows `--take-over`; a task that is started by hand does not.
    """
    from rv_core.wording import typed

    process = "" if other.detached else f", process {other.pid} on {other.host}"
    if not (other.detached or is_here(other)):
        process += ", which cannot be seen from here"
    return UsageError(
        f"run {other.run_id} is still going on here (runner {other.runner}, since {other.created}{process})",
        where=root_uri,
        why="two runs on one root would undo each other's work",
        fix=f"watch it with `rv status {typed(root_uri)} --watch`, or end it with `rv cancel {typed(root_uri)}`"
        + (" or --take-over" if may_take_over else ""),
    )


def release_marker(root_uri: str, run_id: str) -> None:
    """Remove the marker if it is this run's; whatever has come in its place meanwhile stays."""
    from rv_core.files import by_uri

    uri = marker_uri(root_uri)
    found = _content(uri)
    marker = None if found is None else parse_marker(found)
    if found is not None and marker is not None and marker.run_id == run_id:
        by_uri.swap(uri, found, None)


def note_submitted(root_uri: str, run_id: str) -> None:
    """Say in the marker of this run, if it still is, that all of it is submitted."""
    from rv_core.files import by_uri

    uri = marker_uri(root_uri)
    found = _content(uri)
    marker = None if found is None else parse_marker(found)
    if found is not None and marker is not None and marker.run_id == run_id and marker.submitting:
        by_uri.swap(uri, found, marker._replace(submitting=False).to_text().encode())


def is_marker_stale(marker: Marker) -> bool:
    """Whether the process that a marker names is known to be gone; a detached run has none."""
    return is_stale(marker, lambda _: True)
