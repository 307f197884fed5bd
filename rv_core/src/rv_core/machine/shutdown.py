"""What happens to the processes of a run when INT, TERM or HUP reaches the process that started them.

One thread does all the ending, so that the signal handler itself does next to nothing and can deadlock with nothing.
It learns of a signal from the interpreter's wake-up pipe, even while the main thread waits in C code.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Protocol, TypeVar

from rv_core.machine.process_table import ancestors, members, processes_of_run, snapshot

_POLL_S = 0.05
#: How long to go on looking after KILL: a process in an uninterruptible wait cannot be ended by anybody.
_GIVE_UP_S = 5.0
_OVER = b"\0"


class _HasPid(Protocol):
    @property
    def pid(self) -> int: ...


_Process = TypeVar("_Process", bound=_HasPid)


class Interrupted(KeyboardInterrupt):
    """INT, TERM or HUP ended the run; every process of it is gone by the time this is raised to the caller.

    Args:
        signum: the number of the signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"ended by {signal.Signals(signum).name}")
        self.signum = signum


class Shutdown:
    """The sessions that this process has started for a run, and how they are ended together.

    Args:
        run_id: the run; processes that carry it in their environment are ended even if they left their session.
        grace_s: seconds between TERM and KILL.
    """

    def __init__(self, run_id: str, grace_s: float) -> None:
        self.signum: int | None = None
        self._raises = True
        self._is_over = False
        self._run_id = run_id
        self._grace_s = grace_s
        self._sessions: set[int] = set()
        self._starting = threading.Lock()
        self._ended = threading.Event()
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._write_fd, False)
        self._signals = {int(s) for s in _caught_signals()}
        self._thread = threading.Thread(target=self._serve, name="rv-shutdown", daemon=True)

    def start(self, popen: Callable[[], _Process]) -> _Process | None:
        """Start a process that leads a session and look after it; None if the run is being ended."""
        with self._starting:
            if self.signum is not None:
                return None
            process = popen()
            self._sessions.add(process.pid)
            return process

    def forget(self, session: int) -> None:
        """A session is over; while the run is being ended nothing is forgotten."""
        with self._starting:
            if self.signum is None:
                self._sessions.discard(session)

    def wait_until_ended(self) -> None:
        """Where a signal came: wait until no process of the run is left."""
        if self.signum is not None:
            self._ended.wait()

    @contextlib.contextmanager
    def catching(self) -> Iterator[Shutdown]:
        """Install the handlers, in the main thread only; put back what was there before at the end.

        Raises:
            Interrupted: if a signal came, once every process is gone.
        """
        self._thread.start()
        wakeup_fd = signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        before = {signum: signal.signal(signum, self._handle) for signum in self._signals}
        try:
            yield self
        finally:
            self._raises = False
            self.wait_until_ended()
            for signum, handler in before.items():
                signal.signal(signum, handler)
            signal.set_wakeup_fd(wakeup_fd)
            self._close()
        if self.signum is not None:
            raise Interrupted(self.signum)

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Hold back the exception, though not the ending, while the main thread starts a process and waits for it.

        Raises:
            Interrupted: at the end, if a signal came and this is the main thread.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        raises, self._raises = self._raises, False
        try:
            yield
        finally:
            self._raises = raises
        if self.signum is not None:
            self.wait_until_ended()
            raise Interrupted(self.signum)

    def _handle(self, signum: int, _frame: FrameType | None) -> None:
        self.signum = self.signum or signum
        if self._raises:
            raise Interrupted(signum)

    def _serve(self) -> None:
        while not self._is_over:
            received = os.read(self._read_fd, 1)[0]
            if received in self._signals:
                self.signum = self.signum or received
                with self._starting:
                    sessions = set(self._sessions)
                end_processes(sessions, self._run_id, grace_s=self._grace_s, is_hurried=self._second_signal)
                self._ended.set()

    def _close(self) -> None:
        self._is_over = True
        os.write(self._write_fd, _OVER)
        self._thread.join()
        os.close(self._read_fd)
        os.close(self._write_fd)

    def _second_signal(self) -> bool:
        """Whether another signal came within one poll."""
        ready, _, _ = select.select([self._read_fd], [], [], _POLL_S)
        return bool(ready) and os.read(self._read_fd, 1)[0] in self._signals


def end_processes(
    sessions: set[int], run_id: str, *, grace_s: float, is_hurried: Callable[[], bool] | None = None
) -> set[int]:
    """End every process of some sessions and of a run: TERM at once, KILL after the grace.

    Args:
        sessions: ids of the processes that lead them.
        run_id: also those of this user with this `RV_RUN_ID`, wherever they are; "" for the sessions alone.
        grace_s: seconds between TERM and KILL.
        is_hurried: asked between two looks, taking its time; True stands for the end of the grace.

    Returns:
        The processes that are still there 5 s after KILL, which is none but for those that nothing can end.
    """
    is_hurried = is_hurried or _pause
    asked = {pid for pid, entry in snapshot().items() if entry.group in sessions}
    for session in sessions:
        _signal(os.killpg, session, signal.SIGTERM)
    kill_at = time.monotonic() + grace_s
    while left := _living(sessions, run_id):
        now = time.monotonic()
        if now > kill_at + _GIVE_UP_S:
            break
        # Parents have the lower ids, as a rule: a shell that restarts a task must not see it end first.
        for pid in sorted(left if now >= kill_at else left - asked):
            _signal(os.kill, pid, signal.SIGKILL if now >= kill_at else signal.SIGTERM)
        asked |= left
        if is_hurried():
            kill_at = min(kill_at, time.monotonic())
    return left


def _living(sessions: set[int], run_id: str) -> set[int]:
    table = snapshot()
    found = members(table, sessions)
    if run_id:
        found |= processes_of_run(run_id, table)
    return found - ancestors(table, os.getpid())


def _signal(send: Callable[[int, int], None], target: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        send(target, signum)


def _pause() -> bool:
    time.sleep(_POLL_S)
    return False


def _caught_signals() -> list[signal.Signals]:
    """Those that are not ignored already: what `nohup` or a background job of a shell ignores stays ignored."""
    wanted = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    return [signum for signum in wanted if signal.getsignal(signum) is not signal.SIG_IGN]
