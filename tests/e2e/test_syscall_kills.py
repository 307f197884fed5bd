"""Runs that are killed at every system call that changes a folder or waits for the disk; the same command goes on.

strace kills each process of a run at its Nth call of a kind. Afterwards the same command leaves the bytes of a run that
was not disturbed, every manifest is true, and no file of a dead process is left.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rv_core.machine.folders import is_temporary

CALLS = {
    "fsync": ("fsync,fdatasync", 14),
    "rename": ("rename,renameat,renameat2", 10),
    "unlink": ("unlink,unlinkat", 10),
    "link": ("link,linkat", 4),
    "mkdir": ("mkdir,mkdirat", 9),
}
MODULE = "tests.e2e.copy_pipeline"
PROJECT = str(Path(__file__).parents[2])

pytestmark = [
    pytest.mark.random_kills,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace, which kills at a system call, is not installed"),
]


class Killed:
    """A root, and runs of two configs under it."""

    def __init__(self, folder: Path, runner: str) -> None:
        self.root, self.data, self.runner = folder / "root", folder / "data", runner
        self.data.mkdir()
        for name in "abcd":
            (self.data / f"{name}.in").write_text(f"text of {name}")

    def argv(self, prefix: str) -> list[str]:
        where = ["-a", f"data={self.data}", "-a", f"root_uri={self.root}", "-a", f"prefix={prefix}"]
        return [sys.executable, "-m", "rv_core", "run", self.runner, MODULE, *where, "-s", "2", "--jobs", "2"]

    def run(self, prefix: str, *before: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "PYTHONPATH": PROJECT}
        argv = [*before, *self.argv(prefix)]
        return subprocess.run(argv, env=environ, capture_output=True, text=True, check=False, timeout=120)

    def killed(self, prefix: str, call: str, number: int) -> bool:
        """Run with every process killed at its Nth call of a kind; whether the run was harmed by that."""
        names = CALLS[call][0]
        trace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={names}"]
        done = self.run(prefix, *trace, "-e", f"inject={names}:signal=KILL:when={number}")
        self._wait_for_its_tasks()
        return done.returncode != 0

    def _wait_for_its_tasks(self) -> None:
        end = time.monotonic() + 20
        while _processes_with(str(self.root)) and time.monotonic() < end:
            time.sleep(0.05)
        assert not _processes_with(str(self.root)), "a task outlived its run"

    def outputs(self) -> dict[str, bytes]:
        """Everything under the root but rv's own record."""
        paths = [path for path in self.root.rglob("*") if path.is_file()]
        names = {path.relative_to(self.root).as_posix(): path for path in paths}
        return {name: path.read_bytes() for name, path in names.items() if not name.startswith(".rv/")}

    def untrue_manifests(self) -> list[str]:
        """Manifests that name an output with other bytes, or none."""
        found = []
        for path in (self.root / ".rv" / "done").rglob("*.json"):
            for output in json.loads(path.read_text())["outputs"]:
                file = self.root / output["path"]
                if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != output["sha256"]:
                    found.append(f"{path.name}: {output['path']}")
        return found

    def left_behind(self) -> list[str]:
        """Half-written files, and a marker."""
        return [path.name for path in self.root.rglob("*") if is_temporary(path.name) or path.name == "active-run.json"]


def _processes_with(text: str) -> list[str]:
    lines = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if text in line and "rv_core" in line]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("runner", "over_another"),
    [("local", False), ("local", True), ("inprocess", True)],
    ids=["local", "local-over-another-config", "inprocess-over-another-config"],
)
def test_a_run_killed_at_a_system_call_is_finished_by_the_same_command(
    tmp_path: Path, runner: str, call: str, over_another: bool
) -> None:
    runs = Killed(tmp_path, runner)
    assert runs.run("A").returncode == 0
    wanted = runs.outputs()
    shutil.move(runs.root, done := tmp_path / "done")
    num_harmed = 0
    for number in range(1, CALLS[call][1]):
        shutil.rmtree(runs.root, ignore_errors=True)
        if over_another:
            shutil.copytree(done, runs.root)
        num_harmed += runs.killed("B" if over_another else "A", call, number)
        at = f"{call} {number}"
        assert not runs.root.exists() or runs.untrue_manifests() == [], at
        again = runs.run("A")
        assert again.returncode == 0, f"{at}: {again.stdout}{again.stderr}"
        assert runs.outputs() == wanted, at
        assert runs.untrue_manifests() == [], at
        assert runs.left_behind() == [], at
    assert num_harmed > 0 or (call in ("unlink", "link") and not over_another)
