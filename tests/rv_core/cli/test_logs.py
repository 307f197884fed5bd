"""`rv logs` of all tasks of a job."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from rv_core.cli.app import main

TALKING = """
import time
from dataclasses import dataclass, field
from pathlib import Path
from rv_core import Items, Pipeline, PipelineConfig, command


@dataclass(kw_only=True)
class TalkConfig(PipelineConfig):
    gate: str = ""

    def build(self):
        return Talk(self)


class Talk(Pipeline):
    @command(items=lambda config: ["a", "b", "c"], reads=("gate",))
    def talk(self, names: Items[str]) -> None:
        for name in names:
            print(f"this is {name}")
            while self.config.gate and not Path(self.config.gate).exists():
                time.sleep(0.01)
            print(f"that was {name}")

    @command(requires=("talk",))
    def end(self) -> None:
        print("the end")


def get_config(runner: str, root_uri: str, gate: str = "") -> TalkConfig:
    return TalkConfig(root_uri=root_uri, gate=gate)
"""


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    (tmp_path / "talking.py").write_text(TALKING)
    return [str(tmp_path / "talking.py"), "-a", f"root_uri={tmp_path / 'out'}", "-s", "3"]


def test_a_job_stands_for_all_its_tasks(tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    root = str(tmp_path / "out")
    assert main(["run", "inprocess", *words]) == 0
    capsys.readouterr()
    for name in ("talk", "talk.talk"):
        assert main(["logs", root, name]) == 0
        assert capsys.readouterr().out.splitlines() == [
            *("talk.talk.1-of-3:", "this is a", "that was a"),
            *("talk.talk.2-of-3:", "this is b", "that was b"),
            *("talk.talk.3-of-3:", "this is c", "that was c"),
        ]
    assert main(["logs", root, "talk.3-of-3"]) == 0
    assert capsys.readouterr().out == "this is c\nthat was c\n"
    assert main(["logs", root, "talk", "--attempt", "1"]) == 2
    assert "--attempt goes with one task, and the job has 3" in capsys.readouterr().err


def test_all_tasks_of_a_job_are_followed_while_they_run(rv: Any, tmp_path: Path, words: list[str]) -> None:
    pytest.importorskip("rv_runner_local.hooks")
    gate, root = tmp_path / "gate", tmp_path / "out"
    running = rv.start("run", "local", *words, "-a", f"gate={gate}", "-j", "3")
    while not list(root.glob(".rv/runs/*/run.json")) and running.poll() is None:
        time.sleep(0.05)
    following = rv.start("logs", root, "talk", "--follow")
    first = [following.stdout.readline() for _ in range(3)]
    assert sorted(first) == [f"split {n} of 3 | this is {name}\n" for n, name in enumerate("abc", 1)]
    gate.touch()
    drained = threading.Thread(target=running.communicate)
    drained.start()
    rest = following.communicate(timeout=60)[0].splitlines()
    drained.join()
    assert sorted(rest) == [f"split {n} of 3 | that was {name}" for n, name in enumerate("abc", 1)]
    assert following.returncode == 0
