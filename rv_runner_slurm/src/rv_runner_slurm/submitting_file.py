"""A file that is there while jobs are submitted, so that a submission that was cut short can be told from one that goes on."""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path

from rv_core import Storage, StorageError

#: A submission takes seconds. Where its process is on another machine, one that began longer ago was cut short.
_SUBMITTING_S = 120.0


class SubmittingFile:
    """The file of one run.

    Args:
        folder: the runner's folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "submitting"

    def write(self) -> None:
        """The submission begins."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(f"{os.uname().nodename} {os.getpid()}")

    def remove(self) -> None:
        """Everything is submitted, or nothing is any more."""
        self._path.unlink(missing_ok=True)

    def is_cut_short(self, created: str) -> bool:
        """Whether the submission ended before it was finished.

        Args:
            created: when the run was, ISO 8601.
        """
        try:
            host, _, pid = Storage(str(self._path.parent)).read_text(self._path.name).partition(" ")
        except StorageError:
            return False
        if host == os.uname().nodename and pid.isdigit():
            return not _is_alive(int(pid))
        return time.time() - datetime.fromisoformat(created).timestamp() > _SUBMITTING_S


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
