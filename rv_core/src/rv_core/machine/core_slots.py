"""How many tasks of a run fit on this machine: one that wants four cores counts as four of them.

What starts tasks (make, say) counts them, whatever they want. So where a command of the plan wants more than one core, or
more than its share of the memory, every task takes as many slots as it weighs before its pipeline is imported, and holds
them until its process ends; the system releases them even after KILL. Who came first is served first.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

VARIABLE = "RV_CORE_SLOTS"
_FILE = "cores.lock"
_POLL_S = 0.1


def weight_of(cpus: int | None, memory_mib: int | None, *, slots: int, machine_mib: float) -> int:
    """How many slots a task takes: its cores, or its share of the memory where that is more; all of them at most.

    Args:
        cpus: cores that the task wants, or None.
        memory_mib: memory that it wants, or None.
        slots: all there are.
        machine_mib: memory of this machine; 0 where that is not known.
    """
    by_memory = math.ceil(memory_mib * slots / machine_mib) if memory_mib and machine_mib else 1
    return max(1, min(slots, max(cpus or 1, by_memory)))


def available_memory_mib() -> float:
    """The memory of this machine, less where a control group allows less; 0 where that is not known."""
    try:
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (ValueError, OSError):
        return 0.0
    limits = [_limit_mib(Path("/sys/fs/cgroup") / name) for name in ("memory.max", "memory/memory.limit_in_bytes")]
    return min([physical, *(limit for limit in limits if limit)])


def _limit_mib(path: Path) -> float:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return 0.0
    return int(text) / 2**20 if text.isdigit() else 0.0


@contextlib.contextmanager
def core_slots(wanted: str, run_dir: str, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold slots of a run until the end of the block, waiting until they are free.

    Args:
        wanted: how many of how many, as in `4/8`.
        run_dir: the run's folder on this machine, where the slots are bytes of a file that are locked.
        on_wait: called once with a line for the user where some are not free.
    """
    count, slots = map(int, wanted.split("/"))
    descriptor = os.open(os.path.join(run_dir, _FILE), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _take(descriptor, count, slots, on_wait)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, count: int, slots: int, on_wait: Callable[[str], None]) -> None:
    """One process looks at a time; the others stand in line (the byte behind the slots) and use no CPU."""
    is_told = False
    if not _try_byte(descriptor, slots):
        is_told = True
        on_wait(f"waiting for {count} of {slots} cores")
        fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, slots)
    while not _try_bytes(descriptor, count, slots):
        if not is_told:
            is_told = True
            on_wait(f"waiting for {count} of {slots} cores")
        time.sleep(_POLL_S)
    fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, slots)


def _try_bytes(descriptor: int, count: int, slots: int) -> bool:
    """Lock so many bytes, or none."""
    held = []
    for byte in range(slots):
        if _try_byte(descriptor, byte):
            held.append(byte)
        if len(held) == count:
            return True
    for byte in held:
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, byte)
    return False


def _try_byte(descriptor: int, byte: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except OSError:  # BlockingIOError or PermissionError, as the system likes
        return False
    return True
