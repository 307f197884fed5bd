"""What a task's log holds when its command raises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

_MODULE = """\
from dataclasses import dataclass
from rv_core import Pipeline, PipelineConfig, command

@dataclass
class BrokenConfig(PipelineConfig):
    def build(self):
        return Broken(self)

class Broken(Pipeline):
    @command()
    def fails(self):
        raise RuntimeError("on purpose")

def get_config(runner, root_uri):
    return BrokenConfig(root_uri=root_uri, name="broken")
"""


@pytest.mark.parametrize("runner", ["inprocess", "local"])
def test_a_traceback_begins_with_the_command_whatever_its_file_is_called(rv: Any, tmp_path: Path, runner: str) -> None:
    if runner == "local":
        pytest.importorskip("rv_runner_local.hooks")
    module = tmp_path / "execution.py"  # one of the files on the way to the command has this name, too
    module.write_text(_MODULE)
    assert rv("run", runner, module, "-a", "root_uri", tmp_path / "out").returncode == 1
    (log,) = (tmp_path / "out").glob(".rv/runs/*/logs/broken.fails.1.log")
    lines = log.read_text().partition("Traceback (most recent call last):\n")[2].splitlines()
    assert lines[0].startswith("  File ") and lines[0].endswith("in fails"), lines
    assert lines[-1] == "RuntimeError: on purpose"


def test_the_cpu_time_of_a_task_is_its_own_also_in_the_process_of_rv_run(rv: Any, tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    busy = "import time\n        end = time.process_time() + 1.0\n        while time.process_time() < end: pass"
    text = _MODULE.replace('raise RuntimeError("on purpose")', busy)
    module.write_text(
        text.replace(
            "    @command()\n    def fails",
            "    @command()\n    def idle(self):\n        pass\n\n    @command(requires=('fails',))\n    def later(self):\n        pass\n\n    @command()\n    def fails",
        )
    )
    assert rv("run", "inprocess", module, "-a", "root_uri", tmp_path / "out").returncode == 0
    costs = {}
    for path in (tmp_path / "out").glob(".rv/runs/*/events/broken.*.jsonl"):
        last = json.loads(path.read_text().splitlines()[-1])
        costs[path.name.split(".")[1]] = last["cpu_s"]
    assert costs["fails"] >= 1.0
    assert costs["later"] < 0.5 and costs["idle"] < 0.5
