"""How many threads each task may use, so that tasks that run side by side share the cores instead of fighting for them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

#: What the numeric libraries read when they are loaded. GDAL is left alone: it decodes on one thread unless asked.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
#: For how many turns, as a power of two, threads of OpenBLAS wait for work before they sleep. With its own 26 each of them
#: takes 0.08 s when numpy is imported; with this they are as fast at small products.
_TURNS = {"OPENBLAS_THREAD_TIMEOUT": "16"}


def thread_share(cores: int, *, jobs: int, num_tasks: int) -> int:
    """The number of threads of one task, at least 1.

    Args:
        cores: the cores that the run may use.
        jobs: how many tasks run at once at most.
        num_tasks: how many tasks the job of this one has; the only task of a job gets all cores.
    """
    if num_tasks <= 1:
        return max(1, cores)
    return max(1, cores // max(1, min(jobs, num_tasks)))


def thread_environ(num_threads: int, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """What tells the numeric libraries how many threads to use, and not to let them wait on a core.

    Args:
        num_threads: the share of this task.
        given: the environment as it is; what the user set there stays.
    """
    wanted = {**dict.fromkeys(THREAD_VARIABLES, str(num_threads)), **_TURNS}
    return {name: value for name, value in wanted.items() if not (given or {}).get(name)}


def available_cores() -> int:
    """The cores that this process may use: those of its affinity, fewer where a control group limits its share of time."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    return cores_within(cores, quota_cores())


def cores_within(cores: int, quota: float | None) -> int:
    """Whole cores under a quota, at least 1: 2.5 cores of time are 2 threads that never wait for the third.

    Args:
        cores: the cores there are.
        quota: cores' worth of time that may be used, or None for no limit.
    """
    return max(1, cores if quota is None else min(cores, int(quota)))


def quota_cores(proc_self: Path = Path("/proc/self"), cgroups: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Cores' worth of time that the control groups of this process leave it, in version 2 and in version 1; None if all.

    Args:
        proc_self: where the kernel describes this process.
        cgroups: where the control groups are mounted.
    """
    quotas = [_quota_v2(_read(folder / "cpu.max")) for folder in _levels(cgroups, _group(proc_self, ""))]
    for controller in ("cpu", "cpu,cpuacct"):
        folders = _levels(cgroups / controller, _group(proc_self, "cpu"))
        quotas += [_quota_v1(_read(f / "cpu.cfs_quota_us"), _read(f / "cpu.cfs_period_us")) for f in folders]
    return min((quota for quota in quotas if quota is not None), default=None)


def _group(proc_self: Path, controller: str) -> str:
    """The path of this process's group for a controller of version 1, or with "" of version 2."""
    for line in _read(proc_self / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path
    return "/"


def _levels(mount: Path, group: str) -> Iterable[Path]:
    """The folders of a group and of all above it; each may have a limit of its own."""
    inside = PurePosixPath(group.lstrip("/"))
    return [mount / inside, *(mount / parent for parent in inside.parents)]


def _quota_v2(text: str) -> float | None:
    words = text.split()
    return int(words[0]) / int(words[1]) if len(words) == 2 and words[0] != "max" else None


def _quota_v1(quota_us: str, period_us: str) -> float | None:
    quota = int(quota_us or -1)
    return quota / int(period_us) if quota > 0 and period_us.strip() not in ("", "0") else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
