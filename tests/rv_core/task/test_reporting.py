"""What a task's log holds when its command raises."""

from __future__ import annotations

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
        pytest.importorskip("rv_runner_local")
    module = tmp_path / "execution.py"  # one of the files on the way to the command has this name, too
    module.write_text(_MODULE)
    assert rv("run", runner, module, "-a", "root_uri", tmp_path / "out").returncode == 1
    (log,) = (tmp_path / "out").glob(".rv/runs/*/logs/broken.fails.1.log")
    lines = log.read_text().partition("Traceback (most recent call last):\n")[2].splitlines()
    assert lines[0].startswith("  File ") and lines[0].endswith("in fails"), lines
    assert lines[-1] == "RuntimeError: on purpose"
