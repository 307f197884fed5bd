"""The marker of the one unfinished run of a root."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass

from rv_core.errors import UsageError
from rv_core.files import uris
from rv_core.record.layout import MARKER, utc_now


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
    from rv_core.files import by_uri

    uri = uris.join(root_uri, MARKER)
    if not by_uri.exists(uri):
        return None
    try:
        plain = json.loads(by_uri.read_bytes(uri))
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
    from rv_core.files import by_uri

    uri = uris.join(root_uri, MARKER)
    for _ in range(3):
        if by_uri.write_once(uri, mine.to_text().encode()):
            return
        other = read_marker(root_uri)
        if other is not None and not is_stale(other, is_detached_running):
            if take_over is None:
                raise _already_running(root_uri, other)
            take_over(other)
        elif other is not None and not other.detached:
            end_leftovers(other)
        by_uri.delete(uri)
    raise UsageError("another run took this root at the same moment", where=root_uri, fix="run the command again")


def end_leftovers(other: Marker) -> None:
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
    from rv_core.files import by_uri

    marker = read_marker(root_uri)
    if marker is not None and marker.run_id == run_id:
        by_uri.delete(uris.join(root_uri, MARKER))


def is_marker_stale(marker: Marker) -> bool:
    """Whether the process that a marker names is known to be gone; a detached run has none."""
    return is_stale(marker, lambda _: True)
