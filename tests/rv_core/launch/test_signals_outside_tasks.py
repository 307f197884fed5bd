"""TERM and HUP outside of any task: while a run is planned, begun or closed, and when its exit code is settled."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RvCli

MODULE = """
import atexit, os, signal
from dataclasses import dataclass
from rv_core import Pipeline, PipelineConfig, command
from rv_core.launch import execute
from rv_core.record import marker

def end(*_):
    os.kill(os.getpid(), signal.{signal})

def ended_before(module, name):
    real = getattr(module, name)
    def call(*arguments, **named):
        setattr(module, name, real)
        end()
        return real(*arguments, **named)
    setattr(module, name, call)

{at}

@dataclass
class C(PipelineConfig):
    def build(self): return P(self)

class P(Pipeline):
    @command()
    def up(self) -> None:
        self.storage.write_text("up.txt", "up")

def get_config(runner, root_uri: str = "out"):
    return C(root_uri=root_uri)
"""
MOMENTS = {
    "the module is imported": ("end()", ""),
    "the root is taken": ("ended_before(execute, 'write_record')", "interrupted"),
    "the last task has ended": ("ended_before(execute, 'outcome_of_run')", "interrupted"),
    "the root is given free": ("ended_before(marker, 'release_marker')", ""),
}


def write_module(folder: Path, at: str, signal: str) -> None:
    (folder / "exp.py").write_text(MODULE.format(at=at, signal=signal))


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_ends_a_run_with_130_and_leaves_the_root_free(rv: RvCli, tmp_path: Path, moment: str) -> None:
    at, said = MOMENTS[moment]
    write_module(tmp_path, at, "SIGHUP" if moment == "the root is taken" else "SIGTERM")
    done = rv("run", "inprocess", "exp.py", cwd=tmp_path)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert said in done.stderr
    assert not (tmp_path / "out" / ".rv" / "active-run.json").exists()


def test_a_signal_after_the_end_takes_no_exit_code_back(rv: RvCli, tmp_path: Path) -> None:
    write_module(tmp_path, "atexit.register(end)", "SIGTERM")
    done = rv("run", "inprocess", "exp.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "done: 1 item" in done.stdout
    assert os.listdir(tmp_path / "out" / ".rv" / "runs") != []
