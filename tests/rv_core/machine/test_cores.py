"""Threads per task, and the cores they are shared out from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rv_core.machine.cores import (
    THREAD_VARIABLES,
    available_cores,
    cores_within,
    quota_cores,
    thread_environ,
    thread_share,
)


@pytest.mark.parametrize(
    ("cores", "jobs", "num_tasks", "expected"),
    [
        (16, 16, 1, 16),  # not split: all cores
        (16, 16, 4, 4),
        (16, 4, 100, 4),
        (16, 5, 100, 3),
        (2, 8, 8, 1),  # never none
        (0, 1, 1, 1),
        (8, 1, 5, 8),  # one at a time
    ],
)
def test_cores_are_shared_by_the_tasks_that_run_at_once(cores: int, jobs: int, num_tasks: int, expected: int) -> None:
    assert thread_share(cores, jobs=jobs, num_tasks=num_tasks) == expected


@given(cores=st.integers(1, 256), jobs=st.integers(1, 256), num_tasks=st.integers(1, 10_000))
def test_tasks_at_once_never_use_more_threads_than_cores_unless_one_each(cores: int, jobs: int, num_tasks: int) -> None:
    threads = thread_share(cores, jobs=jobs, num_tasks=num_tasks)
    at_once = min(jobs, num_tasks)
    assert threads >= 1
    assert threads * at_once <= max(cores, at_once)


def test_the_environment_names_every_library() -> None:
    threads_wait = {"OPENBLAS_THREAD_TIMEOUT": "16"}
    assert thread_environ(3) == {**dict.fromkeys(THREAD_VARIABLES, "3"), **threads_wait}
    assert {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"} <= set(thread_environ(1))


def test_what_the_user_set_stays() -> None:
    given = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "", "OPENBLAS_THREAD_TIMEOUT": "26"}
    environ = thread_environ(3, given)
    assert not {"OMP_NUM_THREADS", "OPENBLAS_THREAD_TIMEOUT"} & set(environ)
    assert environ["MKL_NUM_THREADS"] == "3"


@pytest.mark.parametrize(("quota", "expected"), [(None, 8), (2.5, 2), (0.5, 1), (100.0, 8)])
def test_a_quota_lowers_the_cores_but_not_below_one(quota: float | None, expected: int) -> None:
    assert cores_within(8, quota) == expected


def test_cores_of_this_machine_are_within_its_affinity() -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


def describe(tmp_path: Path, cgroup: str, files: dict[str, str]) -> tuple[Path, Path]:
    """A /proc/self and a /sys/fs/cgroup with these contents."""
    proc, mount = tmp_path / "proc", tmp_path / "cgroup"
    proc.mkdir()
    (proc / "cgroup").write_text(cgroup)
    for name, text in files.items():
        (mount / name).parent.mkdir(parents=True, exist_ok=True)
        (mount / name).write_text(text)
    return proc, mount


def test_the_tightest_level_of_version_2_counts(tmp_path: Path) -> None:
    files = {"cpu.max": "max 100000\n", "a/cpu.max": "150000 100000\n", "a/b/cpu.max": "800000 100000\n"}
    assert quota_cores(*describe(tmp_path, "0::/a/b\n", files)) == 1.5


def test_version_1_is_read_in_its_own_folder(tmp_path: Path) -> None:
    files = {"cpu,cpuacct/box/cpu.cfs_quota_us": "50000\n", "cpu,cpuacct/box/cpu.cfs_period_us": "100000\n"}
    assert quota_cores(*describe(tmp_path, "4:memory:/box\n3:cpu,cpuacct:/box\n0::/\n", files)) == 0.5


def test_no_limit_is_none(tmp_path: Path) -> None:
    files = {"cpu.max": "max 100000\n", "cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}
    assert quota_cores(*describe(tmp_path, "1:cpu:/\n0::/\n", files)) is None


def test_no_control_groups_is_none(tmp_path: Path) -> None:
    assert quota_cores(tmp_path / "nothing", tmp_path / "nowhere") is None


def test_a_container_sees_its_own_group_as_the_top(tmp_path: Path) -> None:
    assert quota_cores(*describe(tmp_path, "0::/\n", {"cpu.max": "200000 100000\n"})) == 2.0
