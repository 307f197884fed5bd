"""GPU slots: real processes, pretended devices."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rv_core.errors import TaskError
from rv_core.machine import gpu_slots
from rv_core.machine.gpu_slots import acquire, known_devices, lock_folder

LISTING = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-11111111-2222-3333-4444-555555555555)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-66666666-7777-8888-9999-000000000000)
"""
MIG_LISTING = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-11111111-2222-3333-4444-555555555555)
  MIG 3g.20gb     Device  0: (UUID: MIG-aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee)
  MIG 3g.20gb     Device  1: (UUID: MIG-ffffffff-bbbb-cccc-dddd-eeeeeeeeeeee)
"""

#: Holds `argv[2]` devices of argv[1]'s folder for argv[3] seconds; prints when it got and gave back which.
HOLDER = """
import json, os, sys, time
from pathlib import Path
from rv_core.machine.gpu_slots import acquire
said = []
lease = acquire(int(sys.argv[2]), folder=Path(sys.argv[1]), on_wait=said.append)
got = time.monotonic()
print(json.dumps({"devices": os.environ["CUDA_VISIBLE_DEVICES"], "got": got, "said": said}), flush=True)
time.sleep(float(sys.argv[3]))
print(json.dumps(time.monotonic()), flush=True)
"""


@pytest.fixture(autouse=True)
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_slots, "_DRIVER_TRACES", ())
    monkeypatch.setattr(gpu_slots, "_driver_devices", lambda: ())


def hold(folder: Path, seconds: float, *, count: int = 1, gpus: str = "0,1") -> subprocess.Popen[str]:
    environ = {**os.environ, "RV_GPUS": gpus}
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), str(count), str(seconds)],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    )


def result(process: subprocess.Popen[str]) -> tuple[str, float, float, list[str]]:
    out, _ = process.communicate(timeout=20)
    first, last = out.splitlines()
    start = json.loads(first)
    return start["devices"], start["got"], json.loads(last), start["said"]


def test_tasks_of_unequal_length_never_share_a_device_and_use_both(tmp_path: Path) -> None:
    long_one = hold(tmp_path, 2.0)
    while not list(tmp_path.iterdir()):  # it may be the last to come to a device where the machine is busy
        time.sleep(0.01)
    short_ones = [hold(tmp_path, length) for length in (0.05, 0.1, 0.05, 0.1, 0.05)]
    results = [result(process) for process in (long_one, *short_ones)]

    by_device: dict[str, list[tuple[float, float]]] = {}
    for device, got, gave, _ in results:
        by_device.setdefault(device, []).append((got, gave))
    assert set(by_device) == {"0", "1"}
    for intervals in by_device.values():
        ordered = sorted(intervals)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(ordered))
    # Given back as they end, not in turns: the short ones pass while the long one holds its device.
    assert max(map(len, by_device.values())) >= 4


def test_whoever_waits_is_told_once_which_devices_are_in_use(tmp_path: Path) -> None:
    first = hold(tmp_path, 0.4, gpus="0")
    assert first.stdout is not None
    first.stdout.readline()
    second = hold(tmp_path, 0.0, gpus="0")

    assert result(second)[3] == ["waiting for a GPU: 0 in use"]
    first.communicate()


def test_a_killed_task_gives_its_device_back(tmp_path: Path) -> None:
    first = hold(tmp_path, 60, gpus="0")
    assert first.stdout is not None
    first.stdout.readline()
    first.send_signal(signal.SIGKILL)
    first.communicate()

    assert result(hold(tmp_path, 0.0, gpus="0"))[3] == []


def test_tasks_that_want_both_devices_take_turns_with_those_that_want_one(tmp_path: Path) -> None:
    processes = [hold(tmp_path, 0.05, count=count) for count in (2, 1, 2, 1, 2)]
    assert sorted(result(process)[0] for process in processes).count("0,1") == 3


def test_a_waiting_task_can_be_stopped(tmp_path: Path) -> None:
    first = hold(tmp_path, 60, gpus="0")
    assert first.stdout is not None
    first.stdout.readline()
    waiting = [hold(tmp_path, 0, gpus="0") for _ in range(2)]
    time.sleep(0.3)

    for process in waiting:
        process.terminate()

    assert [process.wait(timeout=5) for process in waiting] == [-signal.SIGTERM] * 2
    first.kill()
    for process in (first, *waiting):
        process.communicate()


def test_the_task_sees_its_device_alone_and_the_rest_afterwards(tmp_path: Path) -> None:
    environ = {"RV_GPUS": "3,5", "CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5"}
    with acquire(1, environ, folder=tmp_path) as lease:
        assert lease.devices == ("3",)
        assert environ["CUDA_VISIBLE_DEVICES"] == "3"
        with acquire(1, other := {"RV_GPUS": "3,5"}, folder=tmp_path):
            assert other["CUDA_VISIBLE_DEVICES"] == "5"
        assert "CUDA_VISIBLE_DEVICES" not in other
    assert environ["CUDA_VISIBLE_DEVICES"] == "0,1,2,3,4,5"


def test_no_gpu_wanted_changes_nothing(tmp_path: Path) -> None:
    environ = {"RV_GPUS": "0"}
    assert acquire(0, environ, folder=tmp_path).devices == ()
    assert environ == {"RV_GPUS": "0"}


def test_without_a_device_the_task_runs_on_the_cpu(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    assert acquire(1, environ, folder=tmp_path).devices == ()
    assert environ == {}  # devices of another make stay visible


@pytest.mark.parametrize("text", ["", "none", " None "])
def test_rv_gpus_none_hides_every_device(text: str, tmp_path: Path) -> None:
    environ = {"RV_GPUS": text, "CUDA_VISIBLE_DEVICES": "0"}
    with acquire(2, environ, folder=tmp_path) as lease:
        assert lease.devices == ()
        assert environ["CUDA_VISIBLE_DEVICES"] == ""
    assert environ["CUDA_VISIBLE_DEVICES"] == "0"


def test_more_than_there_are_is_refused_with_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="wants 3 GPUs, and only 2 may be used here: 0, 1"):
        acquire(3, {"RV_GPUS": "0,1"}, folder=tmp_path)


@pytest.mark.parametrize("text", ["0,,1", "0;1", "-1", "../x", "0 1"])
def test_an_unreadable_rv_gpus_is_refused(text: str) -> None:
    with pytest.raises(TaskError, match="names no device"):
        known_devices({"RV_GPUS": text})


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("0,1", ("0", "1")), ("", ()), ("-1", ()), ("1,-1,0", ("1",)), ("NoDevFiles", ("NoDevFiles",)), ("2,2", ("2",))],
)
def test_cuda_visible_devices_is_read_as_cuda_does(visible: str, expected: tuple[str, ...]) -> None:
    assert known_devices({"CUDA_VISIBLE_DEVICES": visible}) == expected


def test_rv_gpus_goes_before_cuda_visible_devices_and_counts_each_once() -> None:
    environ = {"RV_GPUS": " GPU-11111111 ,1,1", "CUDA_VISIBLE_DEVICES": "7"}
    assert known_devices(environ) == ("GPU-11111111", "1")


def test_devices_are_those_that_the_driver_lists() -> None:
    assert known_devices({}, LISTING) == ("0", "1")
    assert known_devices({}, MIG_LISTING) == (
        "MIG-aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "MIG-ffffffff-bbbb-cccc-dddd-eeeeeeeeeeee",
    )


def test_device_files_stand_in_for_a_missing_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_slots, "_driver_devices", lambda: ("0", "1", "10"))
    assert known_devices({}, "") == ("0", "1", "10")


def test_a_number_and_its_uuid_are_one_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_slots, "_ask_driver", lambda: LISTING)
    by_uuid = {"RV_GPUS": "GPU-11111111-2222-3333-4444-555555555555,GPU-66666666-7777-8888-9999-000000000000"}
    with acquire(1, {"RV_GPUS": "0"}, folder=tmp_path), acquire(1, by_uuid, folder=tmp_path):
        assert by_uuid["CUDA_VISIBLE_DEVICES"] == "GPU-66666666-7777-8888-9999-000000000000"


def test_a_driver_without_its_tool_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpu_slots, "_DRIVER_TRACES", (tmp_path,))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert known_devices({}) == ()


@pytest.mark.parametrize(("script", "expected"), [(f"cat <<'E'\n{LISTING}E", ("0", "1")), ("exit 9", ())])
def test_the_driver_is_asked_through_its_tool(
    script: str, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setattr(gpu_slots, "_DRIVER_TRACES", (tmp_path,))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert known_devices({}) == expected


def test_locks_are_in_a_private_folder_whatever_tmpdir_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    folder = lock_folder()
    assert folder.parent == Path("/tmp")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert lock_folder() == folder


def test_a_link_in_place_of_the_folder_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpu_slots, "_LOCK_PARENT", tmp_path)
    lock_folder().rmdir()
    (tmp_path / lock_folder_name()).symlink_to(tmp_path)
    with pytest.raises(TaskError, match="is not a folder of this user"):
        lock_folder()


def lock_folder_name() -> str:
    return f"rv-gpu-{os.getuid()}-{os.uname().nodename}"
