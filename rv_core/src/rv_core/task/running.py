"""Running a task's share – its time, threads, GPU and TERM – and telling how it ended."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, TextIO

from rv_core.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_STOPPED, LAST_SIGNAL_CODE, RvError
from rv_core.pipeline.pipeline import Pipeline, TaskStopped
from rv_core.record.event_writer import EventWriter
from rv_core.task.execution import TaskExecution
from rv_core.task.inputs import TaskRequest

if TYPE_CHECKING:
    from types import TracebackType

    from rv_core.machine.gpu_slots import GpuLease
    from rv_core.plugins.records import HookFailure


def reported(
    request: TaskRequest,
    events: EventWriter,
    execute: Callable[[], None],
    *,
    show_traceback: bool = False,
    cpu_before_s: float = 0.0,
) -> int:
    """Run the task between its `started` and its last event; every way out becomes an exit code and a reason.

    Args:
        request: the task.
        events: where it is reported.
        execute: does its work.
        show_traceback: print the traceback of an expected error too.
        cpu_before_s: CPU time that this process had used for other things before the task.
    """
    from rv_core.machine.process_table import process_started

    started = time.monotonic()
    own_pid = os.getpid()
    try:
        events.write(
            "started",
            run_id=request.run_id,
            task=request.task,
            attempt=request.attempt,
            host=os.uname().nodename,
            pid=own_pid,
            process_started=process_started(own_pid) or "",
        )
        _call_hooks(request, "rv_task_started", events)
        _pass_progress_on(request, events)
        execute()
    except BaseException as error:  # noqa: BLE001 - whatever ends a task is reported, with its traceback in the log
        _end_child(own_pid, error)
        code, event, reason = outcome_of(error, show_traceback=show_traceback)
        events.write(event, reason=reason, exit_code=code)
        _call_hooks(request, "rv_task_failed", events, reason=reason)
        return code
    events.write("finished", **usage(started, cpu_before_s))
    _call_hooks(request, "rv_task_finished", events, duration_s=time.monotonic() - started)
    return EXIT_DONE


def usage(started: float, cpu_before_s: float = 0.0) -> dict[str, float]:
    """Wall time since `started` (of time.monotonic), CPU time and peak memory of this process, for an event.

    Args:
        started: when the task began.
        cpu_before_s: CPU time that is not the task's.
    """
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    scale = 1024 * 1024 if sys.platform == "darwin" else 1024
    return {
        "duration_s": round(time.monotonic() - started, 3),
        "cpu_s": round(used.ru_utime + used.ru_stime - cpu_before_s, 3),
        "max_rss_mib": round(used.ru_maxrss / scale, 1),
    }


def outcome_of(error: BaseException, *, show_traceback: bool = False) -> tuple[int, str, str]:
    """What an exception that ended a task means; prints what the log should hold.

    Returns:
        (exit code, event, reason).
    """
    if isinstance(error, TaskStopped):
        _say(str(error))
        return EXIT_STOPPED, "stopped", str(error)
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED, "stopped", "interrupted"
    if isinstance(error, RvError):
        if show_traceback:
            _print_traceback(error, error.__traceback__)
        _say(str(error))
        return error.exit_code, "failed", redacted(error.one_line())
    if isinstance(error, TaskTimedOut):
        _print_own_frames(error)
        return EXIT_FAILED, "failed", redacted(str(error))
    if isinstance(error, SystemExit):
        from rv_core.machine.hard_exit import called_exit

        _say(f"the command called {called_exit(error)} before it was done")
        return _own_exit_code(error.code), "failed", f"the command called {called_exit(error)}"
    _print_own_frames(error)
    return EXIT_FAILED, "failed", redacted(_reason(error))


#: Reasons are shown in one line, the log holds more of the text; with its mark it is below what readers cut at.
_MAX_REASON = 1_900


def _reason(error: BaseException) -> str:
    """Class and text of an exception, of which some are huge, some empty (a bare `assert`) and some cannot be had."""
    try:
        text = str(error)
    except Exception as other:  # noqa: BLE001 - the `__str__` of an exception raises what it likes
        text = f"its text cannot be had, its __str__ raised {type(other).__name__}"
    from rv_core.wording import shortened

    name = type(error).__name__
    return shortened(f"{name}: {text}" if text else name, _MAX_REASON)


def _end_child(pid: int, error: BaseException) -> None:
    """In a process that the command has forked: end it, with its traceback; how the task ends is its parent's to say.

    What rv itself refuses there, such as a write that no item can be credited with, is told as the task's end.
    """
    if os.getpid() == pid or isinstance(error, RvError):
        return
    try:
        code = outcome_of(error)[0]
        sys.stdout.flush()
    finally:
        os._exit(code)


def _own_exit_code(code: object) -> int:
    """The exit code of a process whose command called `sys.exit(code)`.

    It is what the system would make of it (-1 is 255), but for those codes that say something else of a task: done,
    stopped with its state saved, ended by a signal. A task that is called one of these would be started again.
    """
    number = code & 0xFF if isinstance(code, int) else EXIT_FAILED
    return EXIT_FAILED if number in (EXIT_DONE, EXIT_STOPPED) or 128 <= number <= LAST_SIGNAL_CODE else number


def _say(text: str) -> None:
    """Print for the log, without secrets: it may be put into a store. A full disk must not hide why the task ended."""
    with contextlib.suppress(OSError):
        say(text, file=sys.stderr, flush=True)


def say(text: str, *, file: TextIO, flush: bool = False) -> None:
    """`terminal.say`, imported when a task first has something to say; hidden too is what it was given as secrets."""
    from rv_core import terminal

    _know_secrets()
    terminal.say(text, file=file, flush=flush)


def _know_secrets() -> None:
    from rv_core.redaction import register_environment

    register_environment(os.environ)


#: The way from the start of a task to the command says nothing about the command.
_WAY_TO_THE_COMMAND = "rv_core.task."


def _print_own_frames(error: BaseException) -> None:
    """The traceback of a command, from the command on."""
    first = error.__traceback__
    while first is not None and first.tb_frame.f_globals.get("__name__", "").startswith(_WAY_TO_THE_COMMAND):
        first = first.tb_next
    _print_traceback(error, first or error.__traceback__)


def _print_traceback(error: BaseException, frames: TracebackType | None) -> None:
    import traceback  # most tasks need none

    _say("".join(traceback.format_exception(type(error), error, frames)).rstrip())


def _call_hooks(request: TaskRequest, hook: str, events: EventWriter, **arguments: Any) -> None:
    """Tell the plugins, where the run's record says that there are any that want to know."""
    if not request.record.get("task_hooks"):
        return
    from rv_core.plugins.installed import plugin_manager

    for failure in plugin_manager().call(hook, **request.for_hooks(), **arguments):
        _tell_failure(failure, events)


def _tell_failure(failure: HookFailure, events: EventWriter) -> None:
    _say(f"rv: warning: {failure}; the task does not depend on it")
    events.write("hook_failed", hook=failure.hook, reason=redacted(str(failure)))


def _pass_progress_on(request: TaskRequest, events: EventWriter) -> None:
    if not request.record.get("task_hooks"):
        return
    from rv_core.task.progress_hook import ProgressHook, is_wanted

    if is_wanted():
        events.on_progress = ProgressHook(request, lambda failure: _tell_failure(failure, events))


def redacted(text: str) -> str:
    """The text without secrets; the patterns are compiled when a task first has something to say."""
    from rv_core.redaction import redact

    _know_secrets()
    return redact(text)


class TaskTimedOut(BaseException):
    """The task's `timeout_s` is over."""


class StopSignal:
    """Receives TERM: before the command runs it stops the process, while it runs the running task decides.

    Behind the command there is nothing to stop: how it ended is still written down. Only the first signal counts: make
    passes TERM on to tasks that have had it with their group, and a second exception would cut short what the first one
    makes the task do.
    """

    def __init__(self) -> None:
        self.execution: TaskExecution | None = None
        self.is_over = False
        self.has_arrived = False

    def arrived(self, signum: int, frame: object) -> None:
        """The handler of the signal."""
        if self.has_arrived:
            return
        self.has_arrived = True
        if self.is_over:
            return
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
            stop.is_over = True


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


@contextlib.contextmanager
def core_lease(environ: MutableMapping[str, str]) -> Iterator[None]:
    """Hold as many cores as the task counts for, where the run counts them; what it starts knows nothing of that."""
    wanted = environ.pop("RV_CORE_SLOTS", "")
    if not wanted:
        yield
        return
    from rv_core.machine.core_slots import core_slots

    with core_slots(wanted, environ["RV_RUN_DIR"], on_wait=print):
        yield
