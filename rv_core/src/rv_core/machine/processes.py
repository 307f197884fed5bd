"""Starting, waiting for, stopping and finding the processes of a run.

Every process is started as the leader of a session of its own: a terminal's Ctrl-C reaches `rv run` alone, which then
ends all of them in order (`shutdown`). If `rv run` itself is killed, a guard ends them (`lifeline`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rv_core.errors import EXIT_STOPPED, LAST_SIGNAL_CODE, RunnerError
from rv_core.machine.lifeline import Lifeline, read_grace_s
from rv_core.machine.process_table import is_alive
from rv_core.machine.shutdown import Shutdown, end_processes

if TYPE_CHECKING:
    from subprocess import Popen

_active: Shutdown | None = None


def may_restart(exit_code: int) -> bool:
    """Whether a task that ended like this may be started again: it was stopped with its state saved, or died by a signal.

    Args:
        exit_code: as a shell gives it (128 + signal) or as Python does (minus the signal).
    """
    return exit_code == EXIT_STOPPED or exit_code < 0 or 128 < exit_code <= LAST_SIGNAL_CODE


@contextlib.contextmanager
def stop_on_signals(run_id: str, *, grace_s: float | None = None) -> Iterator[None]:
    """Inside it INT, TERM and HUP end every process that was started here for the run.

    TERM goes to all of them, KILL to what is left after the grace or at a second signal. Put it around whatever starts
    tasks with `run_task_process` in threads of its own; `run_in_session` does it by itself. In another thread than the
    main one, and inside another such block, it does nothing.

    Args:
        run_id: also ends what has this `RV_RUN_ID` in its environment; "" for what was started here alone.
        grace_s: seconds between TERM and KILL; `RV_GRACE_S` by default.

    Raises:
        Interrupted: at once in the main thread, wherever that is, unless it waits for a process of the run; then after
            that process has ended. Either way no process of the run is left when the block is left.
    """
    global _active
    if _active is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    shutdown = Shutdown(run_id, read_grace_s() if grace_s is None else grace_s)
    try:
        with shutdown.catching():
            _active = shutdown
            yield
    finally:
        _active = None


def run_in_session(
    argv: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    run_id: str,
    grace_s: float | None = None,
    lifeline: bool = True,
    on_start: Callable[[int], None] | None = None,
    output: str | Path | None = None,
) -> int:
    """Run an engine (make, say) in a session of its own, wait for it, and end whatever it leaves behind.

    Args:
        argv: the command line.
        environ: the whole environment; that of this process by default. `RV_RUN_ID` is added.
        cwd: the folder to start it in; the current one by default.
        run_id: the id of the run.
        grace_s: seconds between TERM and KILL; `RV_GRACE_S`, else 5, by default.
        lifeline: tie what it starts to the life of this process.
        on_start: called with the process id once it runs.
        output: a file to append its standard output and error to; those of this process by default.

    Returns:
        Its exit code, or minus the number of the signal that it died by.

    Raises:
        Interrupted: if INT, TERM or HUP ended it; no process of the run is left then.
        RunnerError: if it cannot be started.
    """
    grace_s = read_grace_s() if grace_s is None else grace_s
    start = _Start(argv, environ=environ, cwd=cwd, run_id=run_id, grace_s=grace_s, output=output)
    with stop_on_signals(run_id, grace_s=grace_s):
        return _run(start, lifeline=lifeline, on_start=on_start)


def run_task_process(
    argv: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    run_id: str,
    grace_s: float | None = None,
    log_path: str | Path | None = None,
) -> int:
    """Run one task in a process group of its own and wait for it; safe to call from several threads at once.

    Inside `stop_on_signals` TERM is passed on to it. Once the run is being ended nothing is started any more.

    Args:
        argv: the command line.
        environ: the whole environment; that of this process by default. `RV_RUN_ID` is added.
        run_id: the id of the run.
        grace_s: seconds between TERM and KILL.
        log_path: a file for what it prints before it opens its own log; that of this process by default.

    Returns:
        Its exit code, minus the number of the signal that it died by, or 75 if it was not started any more.

    Raises:
        RunnerError: if it cannot be started.
    """
    grace_s = read_grace_s() if grace_s is None else grace_s
    return _run(_Start(argv, environ=environ, cwd=None, run_id=run_id, grace_s=grace_s, output=log_path))


def end_processes_of_run(run_id: str, *, grace_s: float | None = None) -> set[int]:
    """End every process of this user that belongs to a run, also one whose `rv run` is gone.

    Returns:
        The processes that could not be ended: none, as a rule. Where the system shows no environments none are found.
    """
    return end_processes(set(), run_id, grace_s=read_grace_s() if grace_s is None else grace_s)


def end_process(pid: int, started: str, *, grace_s: float) -> bool:
    """Ask a process (an `rv run`) to end with TERM, and kill it when it is still there after the grace.

    Args:
        pid: its id.
        started: what `process_started` said of it; another process that has this id now is left alone.
        grace_s: seconds to wait for it; give an `rv run` more than its own grace, so that it can end its tasks.

    Returns:
        Whether it ran and has ended.

    Raises:
        RunnerError: if it belongs to another user.
    """
    import time

    if not is_alive(pid, started):
        return False
    kill_at = time.monotonic() + grace_s
    try:
        os.kill(pid, signal.SIGTERM)
        while is_alive(pid, started):
            if time.monotonic() > kill_at:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
    except ProcessLookupError:
        pass
    except PermissionError as err:
        raise RunnerError(f"process {pid} belongs to another user", fix="ask that user to end the run") from err
    return True


class _Start:
    """How to start one session leader; a value, so that starting it is a single step that can be refused."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        environ: Mapping[str, str] | None,
        cwd: str | Path | None,
        run_id: str,
        grace_s: float,
        output: str | Path | None,
    ) -> None:
        self.argv = list(argv)
        self.environ = {**(os.environ if environ is None else environ), "RV_RUN_ID": run_id}
        self.cwd = cwd
        self.grace_s = grace_s
        self.output = output

    def popen(self, lifeline: Lifeline | None) -> Popen[bytes]:
        import subprocess

        with contextlib.ExitStack() as stack:
            out: IO[Any] | None = stack.enter_context(open(self.output, "ab")) if self.output is not None else None
            stack.enter_context(_interruptible())
            return subprocess.Popen(
                lifeline.argv(self.argv) if lifeline else self.argv,
                env=self.environ,
                cwd=self.cwd,
                stdin=lifeline.write_fd if lifeline else subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def check(self) -> None:
        """Find out here what is missing: the shell that starts the program could only end with 127.

        Raises:
            RunnerError: if the program is not there.
        """
        import shutil

        if shutil.which(self.argv[0], path=self.environ.get("PATH")) is None:
            raise RunnerError(f"cannot start {self.argv[0]}", why="there is no such program, or it may not be executed")


def _run(start: _Start, *, lifeline: bool = True, on_start: Callable[[int], None] | None = None) -> int:
    start.check()
    shutdown = _active
    with contextlib.ExitStack() as stack:
        if shutdown is not None:
            stack.enter_context(shutdown.quiet())
        try:
            tie = stack.enter_context(contextlib.closing(Lifeline(start.grace_s))) if lifeline else None
            process = start.popen(tie) if shutdown is None else shutdown.start(lambda: start.popen(tie))
        except OSError as err:
            raise RunnerError(f"cannot start {start.argv[0]}", why=str(err)) from err
        return EXIT_STOPPED if process is None else _wait(process, shutdown, start.grace_s, on_start)


def _wait(
    process: Popen[bytes], shutdown: Shutdown | None, grace_s: float, on_start: Callable[[int], None] | None
) -> int:
    try:
        if on_start is not None:
            on_start(process.pid)
        return process.wait()
    finally:
        # Also where on_start raised or make was killed: nothing that was started here may outlive this call.
        if (shutdown is None or shutdown.signum is None) and _leaves_something(process):
            end_processes({process.pid}, "", grace_s=grace_s)
        process.wait()
        if shutdown is not None:
            shutdown.forget(process.pid)


def _leaves_something(process: Popen[bytes]) -> bool:
    """Whether it is worth looking at the process table, which takes milliseconds, once for every task."""
    if process.returncode != 0:
        return True
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # macOS says so of a group in which nothing but ended processes are left
    return True


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let a child start with INT at its default where this process ignores it, as a background job of a shell does.

    Handlers are a matter of the main thread; from others a child inherits what is.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
