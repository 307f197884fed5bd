"""Which processes are there: one snapshot of the process table, and what can be told from it.

Linux is read from `/proc`; elsewhere `ps` is asked, which knows no sessions and no environments: there a process is
found by its process group alone.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

PROC = "/proc"

#: States of a process that has ended and only waits to be collected by its parent.
_ENDED = frozenset("ZXx")


class ProcessEntry(NamedTuple):
    """One living process.

    Args:
        pid: its id.
        parent: the id of its parent.
        group: the id of its process group.
        session: the id of its session; that of the group where the system does not tell.
    """

    pid: int
    parent: int
    group: int
    session: int


def snapshot() -> dict[int, ProcessEntry]:
    """Every living process of this machine by its id; those that have ended but are not yet collected are left out."""
    if os.path.exists(f"{PROC}/self/stat"):
        return {entry.pid: entry for pid in _pids() if (entry := _read_entry(pid)) is not None}
    return _parse_ps(_ask_ps("-A", "-o", "pid=,ppid=,pgid=,stat="))


def members(table: Mapping[int, ProcessEntry], sessions: Collection[int]) -> set[int]:
    """The processes of some sessions, each named by the id of the process that leads it."""
    return {pid for pid, entry in table.items() if entry.session in sessions or entry.group in sessions}


def ancestors(table: Mapping[int, ProcessEntry], pid: int) -> set[int]:
    """A process and all it descends from."""
    found: set[int] = set()
    while pid in table and pid not in found:
        found.add(pid)
        pid = table[pid].parent
    return found


def processes_of_run(run_id: str, table: Mapping[int, ProcessEntry] | None = None) -> set[int]:
    """The processes of this user whose environment says `RV_RUN_ID=<run_id>`, without this one and its ancestors.

    Empty where the system shows no environments.
    """
    wanted = f"RV_RUN_ID={run_id}".encode()
    table = snapshot() if table is None else table
    found = {pid for pid in table if wanted in _read_environ(pid)}
    return found - ancestors(table, os.getpid()) if found else found


def host_name() -> str:
    """The name of this machine."""
    return os.uname().nodename


def pid_namespace() -> str:
    """Among which processes this one's number counts, `pid:[4026531836]` say; "" where the system does not tell."""
    try:
        return os.readlink(f"{PROC}/self/ns/pid")
    except OSError:
        return ""


def user_name() -> str:
    """The name of this process's user; a container's user need not have one and is then called by its number."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def process_started(pid: int) -> str | None:
    """When a process was started, as text that differs for another process of the same id; None if there is none.

    A process that has ended counts as gone even while its parent has not collected it.
    """
    if os.path.exists(f"{PROC}/self/stat"):
        fields = _stat_fields(pid)
        return None if fields is None or fields[0] in _ENDED else f"{_boot_id()}:{fields[19]}"
    state, _, started = _ask_ps("-p", str(pid), "-o", "stat=,lstart=").strip().partition(" ")
    return started.strip() if state and state[0] not in _ENDED else None


def is_alive(pid: int, started: str | None = None) -> bool:
    """Whether a process still runs.

    Args:
        pid: its id.
        started: what `process_started` said of it; another process that got the same id later does not count. With
            None or "" any process of this id does.
    """
    now = process_started(pid)
    return now is not None and (not started or started == now)


def is_of_this_boot(started: str) -> bool:
    """Whether a process of which `process_started` said this was started since this machine was booted, as far as known."""
    boot = started.partition(":")[0]
    return not os.path.exists(f"{PROC}/self/stat") or boot == _boot_id()


def started_later(pid: int, moment: float) -> bool:
    """Whether a process was started after a moment: then it only got the id of the one that is meant.

    Args:
        pid: its id.
        moment: seconds since 1970; two seconds are allowed for, as times of boot are whole seconds.
    """
    fields = _stat_fields(pid)
    try:
        with open(f"{PROC}/stat", "rb") as file:
            boot = next(int(line.split()[1]) for line in file if line.startswith(b"btime"))
    except (OSError, ValueError, IndexError, StopIteration):
        return False
    return fields is not None and boot + int(fields[19]) / os.sysconf("SC_CLK_TCK") > moment + 2.0


def _pids() -> Iterator[int]:
    with os.scandir(PROC) as entries:
        yield from (int(entry.name) for entry in entries if entry.name.isdigit())


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of `/proc/<pid>/stat` from the state on; the name before it may hold blanks and brackets."""
    try:
        with open(f"{PROC}/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].decode("ascii").split()
    except OSError:
        return None


def _read_entry(pid: int) -> ProcessEntry | None:
    fields = _stat_fields(pid)
    if fields is None or fields[0] in _ENDED:
        return None
    return ProcessEntry(pid, int(fields[1]), int(fields[2]), int(fields[3]))


def _read_environ(pid: int) -> list[bytes]:
    try:
        with open(f"{PROC}/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []  # ended meanwhile, of another user, or no /proc


def _boot_id() -> str:
    """Tells one boot from the next: start times are counted from it."""
    try:
        with open(f"{PROC}/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read(8)
    except OSError:
        return "unknown"


def _ask_ps(*options: str) -> str:
    import subprocess

    environ = {**os.environ, "LC_ALL": "C"}
    answer = subprocess.run(["ps", *options], capture_output=True, text=True, env=environ, check=False)
    return answer.stdout


def _parse_ps(text: str) -> dict[int, ProcessEntry]:
    table = {}
    for line in text.splitlines():
        pid, parent, group, state = line.split()[:4]
        if state[0] not in _ENDED:
            table[int(pid)] = ProcessEntry(int(pid), int(parent), int(group), int(group))
    return table
