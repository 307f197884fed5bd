"""Command lines in fresh processes: one that runs, and one that has ended."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SHOWN_LINES = 40


@dataclass(frozen=True)
class Finished:
    """A command line that has ended.

    Args:
        argv: its words.
        code: its exit code; minus the number of a signal.
        out: what it printed to stdout.
        err: what it printed to stderr.
    """

    argv: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Both outputs."""
        return self.out + self.err

    def __str__(self) -> str:
        lines = [f"$ {shlex.join(self.argv)}", *_shortened(self.said), f"(exit code {self.code})"]
        return "\n".join(lines)


class Started:
    """A command line that is running; its output goes to files, so that it never waits for a reader.

    Args:
        argv: its words.
        environ: its environment.
        folder: where it runs and where its output goes.
    """

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str], folder: Path) -> None:
        self.argv = tuple(argv)
        tag = secrets.token_hex(4)
        self._paths = (folder / f".{tag}.out", folder / f".{tag}.err")
        with open(self._paths[0], "wb") as out, open(self._paths[1], "wb") as err:
            self.process = subprocess.Popen(
                self.argv,
                cwd=folder,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    @property
    def out(self) -> str:
        """What it has printed to stdout so far."""
        return self._paths[0].read_text("utf-8", "replace")

    def wait(self, timeout_s: float) -> Finished | None:
        """Wait for its end; None if that does not come in time."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        return self._finished(code)

    def kill(self) -> Finished:
        """End it and what is in its session."""
        if self.is_running:
            os.killpg(self.process.pid, signal.SIGKILL)
        return self._finished(self.process.wait())

    def _finished(self, code: int) -> Finished:
        out, err = (path.read_text("utf-8", "replace") for path in self._paths)
        return Finished(self.argv, code, out, err)


def _shortened(text: str) -> list[str]:
    lines = text.splitlines()
    return lines if len(lines) <= _SHOWN_LINES else ["…", *lines[-_SHOWN_LINES:]]
