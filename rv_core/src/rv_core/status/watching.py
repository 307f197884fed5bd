"""Following a run that another process started: the same display, fed from wherever its events are."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from rv_core.errors import StorageError
from rv_core.files import uris
from rv_core.record.event_tail import News
from rv_core.record.event_writer import SUBMISSION, timestamp
from rv_core.record.marker import is_marker_stale, read_marker
from rv_core.record.reading import RunFiles, local_dirs, tails
from rv_core.record.run_record import RunRecord
from rv_core.runner.loading import runner_of
from rv_core.runner.observation import Observation
from rv_core.status.display import POLL_INTERVAL_S, Display
from rv_core.status.look import run_is_over

REMOTE_INTERVAL_S = 2.0
#: An engine is asked often at first, when much changes, and then ever less often.
FIRST_OBSERVE_INTERVAL_S, OBSERVE_INTERVAL_S = 2.0, 15.0


def watch(files: RunFiles, *, stream: TextIO | None = None, live: bool | None = None, quiet: bool = False) -> None:
    """Show a run until it is over.

    Raises:
        KeyboardInterrupt: if the user has seen enough; the run goes on.
    """
    is_here = bool(local_dirs(files)) and not files.record.capabilities.get("detaches")
    sources = tails(files)
    if files.record.capabilities.get("detaches"):
        sources.append(ObservationTail(files.record))
    interval_s = POLL_INTERVAL_S if is_here else REMOTE_INTERVAL_S
    with Display(
        files.job_plans(), tails=sources, stream=stream, live=live, quiet=quiet, interval_s=interval_s
    ) as display:
        display.wait_until_over(_over_check(files, every_s=0.0 if is_here else 30.0))


def wait_until_over(files: RunFiles, *, quiet: bool = False) -> None:
    """Show a run until nothing more will happen in it, however long a store or an engine does not answer meanwhile.

    Raises:
        KeyboardInterrupt: if the user has seen enough; the run goes on.
    """
    watch(files, quiet=quiet)
    pause_s = FIRST_OBSERVE_INTERVAL_S
    while not _is_surely_over(files):
        # The display has ended too early: it could not look any more, or what had stopped was started again.
        time.sleep(pause_s)
        pause_s = min(OBSERVE_INTERVAL_S, pause_s * 1.5)


def _is_surely_over(files: RunFiles) -> bool:
    try:
        return run_is_over(files.paths.root_uri, files.run_id)
    except StorageError:
        return False


def _over_check(files: RunFiles, *, every_s: float) -> Callable[[], bool]:
    """A check that is cheap where the run is on this machine, and rare where it has to ask a store or an engine."""
    root_uri, ask_at = files.paths.root_uri, time.monotonic() + every_s

    def is_over() -> bool:
        nonlocal ask_at
        if time.monotonic() < ask_at:
            return False
        ask_at = time.monotonic() + every_s
        if uris.is_local(root_uri) and not files.record.capabilities.get("detaches"):
            marker = read_marker(root_uri)
            return marker is None or marker.run_id != files.run_id or is_marker_stale(marker)
        return run_is_over(root_uri, files.run_id)

    return is_over


class ObservationTail:
    """What a runner's engine says of its tasks, as events; asked every 2 s at first, and every 15 s in the long run.

    Args:
        record: the run.
        observe: what to ask; the run's own runner if left out.
    """

    def __init__(self, record: RunRecord, observe: Callable[[], dict[str, Observation]] | None = None) -> None:
        self.problem = ""
        self._record = record
        self._observe = observe
        self._last: dict[str, Observation] = {}
        self._ask_at = float("-inf")
        self._pause_s = FIRST_OBSERVE_INTERVAL_S

    def poll(self, *, whole: bool = False) -> News:
        """See `Tail.poll`; an engine that does not answer is asked again later."""
        if time.monotonic() < self._ask_at and not whole:
            return {}
        self._ask_at = time.monotonic() + self._pause_s
        self._pause_s = min(OBSERVE_INTERVAL_S, self._pause_s * 1.3)
        try:
            observed = dict(self._ask())
        except Exception as error:  # noqa: BLE001 - the network, credentials, a plugin: the next answer may come
            self.problem = str(error)
            return {}
        self.problem = ""
        changed = {task: seen for task, seen in observed.items() if self._last.get(task) != seen}
        self._last = observed
        return {SUBMISSION: [_event(task, seen) for task, seen in changed.items()]} if changed else {}

    def _ask(self) -> dict[str, Observation]:
        if self._observe is None:
            runner = runner_of(self._record)
            self._observe = lambda: dict(runner.observe(self._record))
        return self._observe()


def _event(task: str, seen: Observation) -> dict[str, object]:
    return {
        "time": timestamp(time.time()),
        "event": "observed",
        "task": task,
        "state": seen.state,
        "reason": seen.reason,
        "exit_code": seen.exit_code,
    }
