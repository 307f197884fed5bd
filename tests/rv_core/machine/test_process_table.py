"""What can be told of processes from /proc and from ps."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rv_core.machine import process_table
from rv_core.machine.process_table import (
    ProcessEntry,
    ancestors,
    host_name,
    is_alive,
    members,
    process_started,
    processes_of_run,
    snapshot,
)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"], env={**os.environ, "RV_RUN_ID": "table-test"}, start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.fixture(params=["proc", "ps"])
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "proc" and sys.platform != "linux":
        pytest.skip("no /proc")
    if request.param == "ps":
        monkeypatch.setattr(process_table, "PROC", "/no/proc")
    return str(request.param)


def test_a_living_process_is_alive_and_keeps_its_start(source: str, child: subprocess.Popen[bytes]) -> None:
    started = process_started(child.pid)
    assert started
    assert process_started(child.pid) == started
    assert is_alive(child.pid, started)
    assert is_alive(child.pid)
    assert is_alive(child.pid, "")


def test_another_process_with_the_same_id_is_not_it(source: str, child: subprocess.Popen[bytes]) -> None:
    assert not is_alive(child.pid, "another start")


def test_a_process_that_waits_to_be_collected_is_gone(source: str, child: subprocess.Popen[bytes]) -> None:
    started = process_started(child.pid)
    child.kill()
    deadline = time.monotonic() + 5
    while is_alive(child.pid, started):
        assert time.monotonic() < deadline
    assert process_started(child.pid) is None
    assert child.pid not in snapshot()


def test_a_process_that_never_was_is_gone(source: str) -> None:
    assert process_started(2**22 + 1) is None
    assert not is_alive(2**22 + 1, "x")


def test_the_snapshot_knows_parent_group_and_session(source: str, child: subprocess.Popen[bytes]) -> None:
    entry = snapshot()[child.pid]
    assert entry == ProcessEntry(child.pid, parent=os.getpid(), group=child.pid, session=child.pid)
    assert members(snapshot(), {child.pid}) == {child.pid}


def test_ancestors_hold_the_process_itself_and_end_at_the_top() -> None:
    table = {1: ProcessEntry(1, 0, 1, 1), 5: ProcessEntry(5, 1, 5, 5), 7: ProcessEntry(7, 5, 5, 5)}
    assert ancestors(table, 7) == {7, 5, 1}
    assert ancestors(table, 99) == set()


def test_a_group_or_a_session_counts_as_membership() -> None:
    table = {3: ProcessEntry(3, 1, 3, 9), 4: ProcessEntry(4, 1, 9, 8), 5: ProcessEntry(5, 1, 5, 5)}
    assert members(table, {9}) == {3, 4}


@pytest.mark.skipif(sys.platform != "linux", reason="environments are read from /proc")
def test_processes_of_a_run_are_those_with_exactly_its_id(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RV_RUN_ID", "table-test")  # of this process, which never counts
    assert processes_of_run("table-test") == {child.pid}
    assert processes_of_run("table-tes") == set()


def test_without_proc_no_environment_is_known(monkeypatch: pytest.MonkeyPatch, child: subprocess.Popen[bytes]) -> None:
    monkeypatch.setattr(process_table, "PROC", "/no/proc")
    assert processes_of_run("table-test") == set()


def test_names_with_blanks_and_brackets_do_not_confuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, state in (("self", "R"), ("7", "S"), ("8", "Z")):
        (tmp_path / folder).mkdir()
        fields = " ".join(["3", "4", "5", *["0"] * 15, "4242", "0"])
        (tmp_path / folder / "stat").write_text(f"7 (a) (b S 1) {state} {fields}\n")
    monkeypatch.setattr(process_table, "PROC", str(tmp_path))

    assert snapshot() == {7: ProcessEntry(7, 3, 4, 5)}
    assert process_started(7) == "unknown:4242"
    assert process_started(8) is None


def test_host_name_is_that_of_this_machine() -> None:
    assert host_name() == os.uname().nodename
