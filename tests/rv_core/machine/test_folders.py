from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rv_core.machine import folders

SCRATCH = "from rv_core.machine.folders import scratch_folder; f = scratch_folder(); (f / 'a').touch(); print(f)"


def test_the_cache_is_where_the_setting_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RV_CACHE_DIR", str(tmp_path / "c"))
    assert folders.cache_folder() == tmp_path / "c"
    assert folders.cache_subfolder("runs", "r1") == tmp_path / "c" / "runs" / "r1"
    assert (tmp_path / "c" / "runs" / "r1").is_dir()


def test_without_a_setting_it_is_where_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RV_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/ada/.cache")
    assert folders.cache_folder() == Path("/home/ada/.cache/rv")


def test_the_scratch_folder_is_one_per_process_and_gone_at_its_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    command = [sys.executable, "-c", SCRATCH]
    found = {subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert len(found) == 2
    assert all(folder.startswith(str(tmp_path)) for folder in found)
    assert list(tmp_path.iterdir()) == []
    assert folders.scratch_folder() == folders.scratch_folder()


def test_scratch_of_killed_processes_is_removed_by_the_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    code = f"{SCRATCH}; import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    (left,) = tmp_path.iterdir()
    living = tmp_path / left.name.replace(left.name.split("-")[-2], str(os.getpid()))
    living.mkdir()
    subprocess.run([sys.executable, "-c", SCRATCH], check=True, capture_output=True)
    assert list(tmp_path.iterdir()) == [living]


def test_a_forked_child_leaves_its_parents_scratch_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    code = f"""
{SCRATCH}
import os, sys
if os.fork() == 0:
    sys.exit()
os.wait()
print((f / "a").exists())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True"


def test_a_process_is_alive_until_it_has_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    assert folders.pid_exists(process.pid)
    process.wait()
    assert not folders.pid_exists(process.pid)
    assert folders.pid_exists(1)
