"""Loading the hooks of a plugin, as every `rv` command does, imports the core, pluggy and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

_PLUGINS = [
    "rv_pipeline_chip_classification",
    "rv_report",
    "rv_runner_batch",
    "rv_runner_local",
    "rv_runner_slurm",
    "rv_store_s3",
]
_ADDED = """
import importlib, json, sys
import pluggy
before = set(sys.modules)
hooks = importlib.import_module(sys.argv[1])
from pluggy import PluginManager
from rv_core.plugins import hookspecs
manager = PluginManager("rv")
manager.add_hookspecs(hookspecs)
manager.register(hooks)
for name in ("rv_runners", "rv_pipelines", "rv_commands", "rv_configs", "rv_stores"):
    getattr(manager.hook, name)()
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_every_plugin_declares_its_hooks_in_the_group_rv() -> None:
    modules = {point.module for point in entry_points(group="rv")}
    assert {f"{plugin}.hooks" for plugin in _PLUGINS} <= modules


@pytest.mark.parametrize("plugin", _PLUGINS)
def test_hooks_import_the_core_and_nothing_else(plugin: str) -> None:
    argv = [sys.executable, "-c", _ADDED, f"{plugin}.hooks"]
    added = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    own = {"rv_core", plugin, f"{plugin}.hooks"}
    foreign = {name for name in added if name.partition(".")[0] not in {*sys.stdlib_module_names, "rv_core", plugin}}
    assert foreign == set()
    assert {name for name in added if name.startswith(plugin)} <= own
