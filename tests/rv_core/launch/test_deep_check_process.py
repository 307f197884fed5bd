"""The process of a deep check ends with the `rv` that asks, however that ends, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import RvCli

MODULE = '''
import os
from dataclasses import dataclass
from rv_core import Pipeline, PipelineConfig, command

def look(config, todo):
    """Waits for a pipe that nobody writes to, as a file that is none would make a library do."""
    with open(config.pid_file, "w") as file:
        file.write(str(os.getpid()))
    open(config.pipe).read()
    return []

@dataclass
class WaitingConfig(PipelineConfig):
    pipe: str
    pid_file: str
    def build(self): return Waiting(self)

class Waiting(Pipeline):
    deep_check = "waiting:look"

    @command()
    def work(self) -> None: ...

def get_config(runner: str, root_uri: str, pipe: str, pid_file: str) -> WaitingConfig:
    return WaitingConfig(root_uri=root_uri, pipe=pipe, pid_file=pid_file)
'''


def wait_until(holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="the state of processes is read from /proc")
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_a_check_that_waits_for_ever_ends_with_rv(
    rv: RvCli, tmp_path: Path, signum: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch, pid_file = tmp_path / "scratch", tmp_path / "pid"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "waiting.py").write_text(MODULE)
    os.mkfifo(tmp_path / "pipe")
    words = [f"root_uri={tmp_path / 'out'}", f"pipe={tmp_path / 'pipe'}", f"pid_file={pid_file}"]
    checking = rv.start("check", "waiting.py", *[word for pair in words for word in ("-a", pair)])
    wait_until(lambda: pid_file.exists() and pid_file.read_text() != "")
    child = int(pid_file.read_text())
    os.kill(checking.pid, signum)
    checking.communicate(timeout=30)
    wait_until(lambda: not is_running(child), 10.0)
    assert list(scratch.iterdir()) == []


def test_a_check_that_takes_too_long_is_ended_with_all_that_it_started() -> None:
    from rv_core.machine.child import answer_of

    started = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        answer_of(["/bin/sh", "-c", "sleep 60 & sleep 60"], "", timeout_s=0.5)
    assert time.monotonic() - started < 20
