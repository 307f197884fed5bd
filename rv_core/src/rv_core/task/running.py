"""Running a task's share: its time, its threads, its GPU, and TERM."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rv_core.pipeline.pipeline import Pipeline, TaskStopped
from rv_core.record.event_writer import EventWriter
from rv_core.task.execution import TaskExecution
from rv_core.task.request import TaskRequest

if TYPE_CHECKING:
    from rv_core.machine.gpu_slots import GpuLease


class TaskTimedOut(BaseException):
    """The task's `timeout_s` is over."""


class StopSignal:
    """Receives TERM: before the command runs it stops the process, afterwards the running task decides.

    Only the first counts: make passes TERM on to tasks that have had it with their group, and a second exception would
    cut short what the first one makes the task do.
    """

    def __init__(self) -> None:
        self.execution: TaskExecution | None = None
        self._has_arrived = False

    def arrived(self, signum: int, frame: object) -> None:
        """The handler of the signal."""
        if self._has_arrived:
            return
        self._has_arrived = True
        if self.execution is None:
            raise TaskStopped("stopped by TERM before the command began")
        self.execution.stop()


def execute(
    pipeline: Pipeline, request: TaskRequest, events: EventWriter, stop: StopSignal | None, *, timeout_s: int | None
) -> None:
    """Work through the task's share, within its time."""
    execution = TaskExecution(pipeline, request, events)
    if stop is not None:
        stop.execution = execution
    try:
        with _time_limit(timeout_s):
            execution.run()
    finally:
        if stop is not None:
            stop.execution = None


@contextlib.contextmanager
def _time_limit(timeout_s: int | None) -> Iterator[None]:
    if timeout_s is None:
        yield
        return

    def over(signum: int, frame: object) -> None:
        raise TaskTimedOut(f"timed out after {timeout_s} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def set_thread_limits(environ: Mapping[str, str]) -> None:
    """Give the numeric libraries that are imported later the threads of this task (`RV_NUM_THREADS`)."""
    if environ.get("RV_NUM_THREADS"):
        from rv_core.machine.cores import thread_environ

        os.environ.update(thread_environ(int(environ["RV_NUM_THREADS"]), environ))


@contextlib.contextmanager
def gpu_lease(count: int) -> Iterator[GpuLease | None]:
    """Hold as many GPUs as the command wants until it ends; commands that want none get none."""
    if not count:
        yield None
        return
    from rv_core.machine.gpu_slots import acquire

    with acquire(count, os.environ, on_wait=print) as lease:
        yield lease
