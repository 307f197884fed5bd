"""What both plugins do: hand the points of the training of this process to a tracker, without holding it up."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from rv_trackers.points import Points


@dataclass(frozen=True)
class Work:
    """What is trained, as hooks are told of it: the same again where a killed run goes on."""

    root_uri: str
    task: str
    key: str

    @property
    def id(self) -> str:
        """One name for it in a tracker."""
        digest = hashlib.sha256(f"{self.root_uri}\n{self.task}\n{self.key}".encode()).hexdigest()
        return f"{self.task}-{digest[:12]}"


class Sink(Protocol):
    """The run of a tracker that a training belongs to."""

    last_steps: Mapping[str, int]

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Add a point to some curves."""

    def close(self, *, succeeded: bool) -> None:
        """Say how the training ended."""


class Tracker:
    """Passes on what a training reports.

    Args:
        open_sink: begins the run of the tracker, or finds it; called when a training first reports an epoch.
    """

    def __init__(self, open_sink: Callable[[Work], Sink]) -> None:
        self._open_sink = open_sink
        self._worker = _Worker()
        self._sink: Sink | None = None
        self._points = Points({})

    def note(self, work: Work, numbers: Mapping[str, float]) -> None:
        """Take what a task reports; one that reports no epoch is no training. What went wrong before is raised."""
        if "epoch" in numbers:
            known = dict(numbers)
            self._worker.do(lambda: self._write(work, known))

    def _write(self, work: Work, numbers: Mapping[str, float]) -> None:
        if self._sink is None:
            self._sink = self._open_sink(work)
            self._points = Points(self._sink.last_steps)
        for step, point in self._points.of(numbers):
            self._sink.write(step, point)

    def finish(self, *, succeeded: bool) -> None:
        """Wait until all is written; rv leaves a hook behind that takes too long."""
        self._worker.do(lambda: self._close(succeeded))
        self._worker.wait()

    def _close(self, succeeded: bool) -> None:
        if self._sink is not None:
            for step, point in self._points.rest():
                self._sink.write(step, point)
            self._sink.close(succeeded=succeeded)
        self._sink = None


#: The hook returns before the work begins, which would slow it down: rv calls hooks less often that take long.
_DELAY_S = 0.02


class _Worker:
    """Does calls in order in a thread of its own, because libraries of trackers take seconds to import."""

    def __init__(self) -> None:
        self._calls = deque[Callable[[], None]]()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def do(self, call: Callable[[], None]) -> None:
        with self._lock:
            self._calls.append(call)
            if self._thread is None:
                self._thread = threading.Timer(_DELAY_S, self._work)
                self._thread.daemon = True
                self._thread.start()
        self._raise_error()

    def wait(self) -> None:
        thread = self._thread
        if thread is not None:
            thread.join()
        self._raise_error()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._calls:
                    # No thread waits for work: a process with threads should not fork.
                    self._thread = None
                    return
                call = self._calls.popleft()
            try:
                call()
            except Exception as error:
                self._error = error

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error
