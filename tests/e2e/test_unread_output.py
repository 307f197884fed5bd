"""Output that nobody can take, and places in which `rv` cannot work: never a traceback, never a wrong exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import RvCli

RV = [sys.executable, "-P", "-m", "rv_core"]
HELLO = ["rv_core.hello", "-a", "root_uri", "out", "-a", "num_items", "3"]


def run_into(folder: Path, target: str, *words: str, environ: Mapping[str, str] | None = None) -> tuple[int, str]:
    """(exit code, standard error) of a command whose standard output goes to a file or a closed pipe."""
    if target == "closed pipe":
        reading, writing = os.pipe()
        os.close(reading)
    else:
        writing = os.open(target, os.O_WRONLY)
    try:
        done = subprocess.run(
            [*RV, *words],
            cwd=folder,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, **(environ or {})},
        )
    finally:
        os.close(writing)
    return done.returncode, done.stderr


@pytest.mark.parametrize("runner", ["local", "inprocess"])
@pytest.mark.parametrize("target", ["closed pipe", "/dev/full"])
def test_a_run_ends_with_its_own_exit_code_though_nobody_takes_its_output(
    tmp_path: Path, runner: str, target: str
) -> None:
    if not os.path.exists("/dev/full") and target == "/dev/full":
        pytest.skip("there is no /dev/full here")
    code, err = run_into(tmp_path, target, "run", runner, *HELLO)
    assert code == 0, err
    assert "Traceback" not in err
    assert len(list((tmp_path / "out" / "cpu_task").iterdir())) == 3
    assert ("cannot be written (No space left on device); the run goes on" in err) is (target == "/dev/full")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize("words", [("status", "out"), ("plugins",), ("config", "settings"), ("--help",)])
def test_what_only_prints_says_that_it_could_not(rv: RvCli, tmp_path: Path, words: tuple[str, ...]) -> None:
    rv("run", "inprocess", *HELLO, cwd=tmp_path)
    code, err = run_into(tmp_path, "/dev/full", *words)
    assert (code, err.splitlines()[0]) == (3, "output error: what is printed cannot be written")


def test_a_store_that_cannot_be_read_is_no_failed_task(rv: RvCli, tmp_path: Path) -> None:
    (tmp_path / "out" / ".rv").mkdir(parents=True)
    (tmp_path / "out" / ".rv" / "runs").write_text("not a folder")
    for words in (("status", "out"), ("run", "local", *HELLO)):
        done = rv(*words, cwd=tmp_path)
        assert done.returncode in (2, 3), done.stderr
        assert "Traceback" not in done.stderr
