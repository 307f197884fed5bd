"""Keeps one daemon and all that it starts: what leaves its parent comes to this process, so nothing escapes it.

Run as `python keeper.py COMMAND…`. Ends with its daemon. TERM, or the end of whoever started it, kills every process
below it, the way a machine dies. A daemon of Slurm that is killed leaves the steps it started behind, and these have
cut every tie but this one.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def descendants(root_pid: int) -> set[int]:
    """Every process below one, as /proc shows them now."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            parents[int(folder.name)] = _parent(folder)
    found = {root_pid}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {root_pid}


def _parent(folder: Path) -> int:
    try:
        stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended meanwhile
        return 0
    return int(stat.rpartition(")")[2].split()[1])


def kill_below(root_pid: int) -> None:
    """Kill every process below one, and what these start meanwhile, until there is none."""
    while pids := descendants(root_pid):
        for pid in pids:
            _kill(pid)
        _reap()


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _reap() -> int:
    """Wait for the end of one child; its pid, -1 where there is none."""
    try:
        return os.waitpid(-1, 0)[0]
    except ChildProcessError:
        return -1


def main(argv: list[str]) -> int:
    """Start the daemon and wait for its end or for TERM."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        daemon = subprocess.Popen(argv)
        while _reap() != daemon.pid:
            pass
        return 1
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        kill_below(os.getpid())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
