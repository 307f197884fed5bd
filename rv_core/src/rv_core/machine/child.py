"""A child process that answers one question and ends with this process, however that ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence

from rv_core.machine.lifeline import Lifeline

#: What looks at files keeps nothing that it would have to save.
_GRACE_S = 1.0


def answer_of(argv: Sequence[str], question: str, *, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return what it printed.

    It runs in a session of its own with a guard, so that neither it nor what it starts is left when this process is
    killed while the program waits for something that never comes, such as a pipe that somebody calls an image.

    Args:
        argv: the command line; the path of a file with the question is added to it. The program removes that file.
        question: what it reads.
        timeout_s: how long it may take.

    Raises:
        subprocess.TimeoutExpired: if it takes longer; it is ended then.
        OSError: if it cannot be started.
    """
    with _question_file(question) as path, contextlib.closing(Lifeline(_GRACE_S)) as lifeline:
        process = subprocess.Popen(
            lifeline.argv([*argv, path]),
            stdin=lifeline.write_fd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=timeout_s)
        except BaseException:
            _end(process)
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _end(process: subprocess.Popen[str]) -> None:
    """End the process with all that it started; it is not reaped yet, so the group is still its own."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_GRACE_S)
            return
    process.wait()


@contextlib.contextmanager
def _question_file(question: str) -> Iterator[str]:
    """A file that only this user may read; the program removes it, for this process may be killed before it can."""
    descriptor, path = tempfile.mkstemp(prefix="rv-question-", suffix=".json")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(question)
    try:
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
