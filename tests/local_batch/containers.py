"""A container as a process of this machine: an own session, environment and folder; nothing of it outlives it.

TERM reaches the first process alone, as `docker stop` does; what is left when that has ended is killed, as a
container's other processes are. A process that hides in a session of its own is found by its environment or its
working directory where `/proc` shows them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PROC = Path("/proc")
_CHUNK_BYTES = 1 << 16
#: How long the pipe of a killed session may take to close before its other holders are looked for.
_EOF_WAIT_S = 0.2
#: How long killed processes may take to be gone.
_KILL_WAIT_S = 10.0


class Container:
    """A running process that stands for a container.

    Args:
        command: its words; the first is looked for on the PATH of `environ`.
        environ: its whole environment, without HOME and TMPDIR.
        folder: its disk: made here, removed when it ends; holds working directory, HOME and TMPDIR.
        on_output: gets what it writes, as it comes.

    Raises:
        OSError: if the command cannot be started.
    """

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str], folder: Path, on_output: Callable[[bytes], None]
    ) -> None:
        self._folder = folder
        for name in ("work", "home", "tmp"):
            (folder / name).mkdir(parents=True)
        own = {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
        self._process = subprocess.Popen(
            command,
            cwd=folder / "work",
            env={**own, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            bufsize=0,
        )
        self._on_output = on_output
        self._reader = threading.Thread(target=self._read, name=f"output of {self.pid}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The id of the first process."""
        return self._process.pid

    def send_signal(self, signum: int) -> None:
        """A signal to the first process; nothing if it has ended."""
        self._process.send_signal(signum)

    def kill(self) -> None:
        """KILL to every process."""
        if self._process.poll() is None:
            self._kill_session()

    def wait(self) -> int:
        """Wait for the end; the exit code as Docker gives it, 128 + N after signal N."""
        code = self._process.wait()
        self._kill_session()
        self._reader.join(_EOF_WAIT_S)
        if self._reader.is_alive() or code < 0:
            kill_stragglers(self._folder)
        self._reader.join()
        shutil.rmtree(self._folder, ignore_errors=True)
        return code if code >= 0 else 128 - code

    def _kill_session(self) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)

    def _read(self) -> None:
        with self._process.stdout as pipe:  # type: ignore[union-attr]
            while data := pipe.read(_CHUNK_BYTES):
                self._on_output(data)


def kill_stragglers(folder: Path) -> None:
    """Kill every process whose environment names a folder or that works in it; returns when there is none.

    Raises:
        TimeoutError: if one does not go.
    """
    deadline = time.monotonic() + _KILL_WAIT_S
    while found := [pid for pid in _pids() if _belongs(pid, str(folder))]:
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {found} of {folder} do not end")
        time.sleep(0.005)  # a killed process is there for a moment, and one may have been forked meanwhile


def _pids() -> list[int]:
    names = os.listdir(_PROC) if _PROC.is_dir() else []
    return [int(name) for name in names if name.isdecimal() and int(name) != os.getpid()]


def _belongs(pid: int, folder: str) -> bool:
    try:
        environ = (_PROC / str(pid) / "environ").read_bytes()
        return f"={folder}/".encode() in environ or os.readlink(_PROC / str(pid) / "cwd").startswith(f"{folder}/")
    except OSError:
        return False
