"""Before torch is loaded, OpenMP is told how its threads wait."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from rv_pipeline_chip_classification.model.openmp import wait_passively

#: Ends the process where torch is about to be loaded, and tells what OpenMP would read.
CODE = """
import os, sys
from importlib.abc import MetaPathFinder

class Watch(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"))
            sys.stdout.flush()
            os._exit(0)

sys.meta_path.insert(0, Watch())
import rv_pipeline_chip_classification as p
config = p.ChipClassificationConfig(
    root_uri=sys.argv[1], classes=p.ClassConfig(names=["a", "b"]), dataset=p.DatasetConfig(train_scenes=[])
)
getattr(config.build(), sys.argv[2])(*([[]] if sys.argv[2] == "predict" else []))
"""


def policy_of(command: str, root: Path, environ: Mapping[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(root), command], capture_output=True, text=True, check=True, env=dict(environ)
    )
    return done.stdout.strip()


@pytest.mark.parametrize("command", ["train", "predict"])
def test_threads_wait_passively_when_torch_is_loaded(command: str, tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    assert policy_of(command, tmp_path, environ) == "passive"
    assert policy_of(command, tmp_path, {**environ, "OMP_WAIT_POLICY": "active"}) == "active"


def test_what_the_user_says_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    wait_passively()
    assert os.environ["OMP_WAIT_POLICY"] == "active"
