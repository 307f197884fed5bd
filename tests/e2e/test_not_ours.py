"""What is not rv's own under a root is not deleted, overwritten or followed; what is rv's own is not left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rv_core.machine.folders import host_label

COPY = Path(__file__).with_name("copy_pipeline.py")


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def words(tmp_path: Path) -> list[object]:
    """A run of two items under `root`."""
    data = tmp_path / "data"
    data.mkdir()
    for name in "ab":
        (data / f"{name}.in").write_text(name)
    return ["run", "inprocess", COPY, "-a", f"data={data}", "-a", f"root_uri={tmp_path / 'root'}"]


@pytest.fixture
def dead_pid() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_hidden_temporary_files_of_others_stay(rv: Callable[..., Any], tmp_path: Path, words: list[object]) -> None:
    root = tmp_path / "root"
    names = [".draft.tmp", "notes/.session.tmp", ".rv-like.1-2.tmp", "copy/.a.txt.123.tmp"]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("precious")
    succeeded(rv(*words))
    succeeded(rv(*words))
    assert [(root / name).read_text() for name in names] == ["precious"] * len(names)


def test_nothing_to_do_tidies_up_after_a_run_that_was_killed(
    rv: Callable[..., Any], tmp_path: Path, words: list[object], dead_pid: int
) -> None:
    root = tmp_path / "root"
    succeeded(rv(*words))
    of_other_run = (root / "pipeline-config.json").read_text().replace('"prefix": "A"', '"prefix": "B"')
    (root / "pipeline-config.json").write_text(of_other_run)
    dead = [
        f".pipeline-config.json.{host_label()}-{dead_pid}-7.tmp",
        f"copy/.a.txt.t-1.{host_label()}-{dead_pid}-0.tmp",
    ]
    kept = [f"copy/.b.txt.{host_label()}-{os.getpid()}-3.tmp", "copy/.b.txt.elsewhere-77-3.tmp"]
    for name in (*dead, *kept):
        (root / name).write_text("half")
    assert "Nothing to do" in succeeded(rv(*words))
    assert not any((root / name).exists() for name in dead)
    # The first belongs to a process that lives, the second to a machine that cannot be asked.
    assert all((root / name).exists() for name in kept)
    assert json.loads((root / "pipeline-config.json").read_text())["config"]["prefix"] == "A"


@pytest.mark.parametrize("content", ['{"raster vision": "my experiment"}', "not JSON", "[]", "[" * 100_000])
def test_a_config_of_somebody_else_is_not_replaced(
    rv: Callable[..., Any], tmp_path: Path, words: list[object], content: str
) -> None:
    foreign = tmp_path / "root" / "pipeline-config.json"
    foreign.parent.mkdir()
    foreign.write_text(content)
    refused = rv(*words)
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert f"{foreign} is there, was not written by rv and would be replaced" in refused.stderr
    assert os.listdir(foreign.parent) == ["pipeline-config.json"]
    assert foreign.read_text() == content


def test_a_damaged_config_of_our_own_is_replaced(rv: Callable[..., Any], tmp_path: Path, words: list[object]) -> None:
    config = tmp_path / "root" / "pipeline-config.json"
    succeeded(rv(*words))
    config.write_text("")
    succeeded(rv(*words))
    assert json.loads(config.read_text())["config"]["prefix"] == "A"


def test_an_old_manifest_deletes_nothing_behind_a_link(
    rv: Callable[..., Any], tmp_path: Path, words: list[object]
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    (outside / "thesis.txt").write_text("precious")
    succeeded(rv(*words))
    os.symlink(outside, root / "link")
    (manifest,) = (root / ".rv" / "done" / "copy").glob("a.*.json")
    hostile = json.loads(manifest.read_text())
    hostile["outputs"].append({"path": "link/thesis.txt", "bytes": 8, "sha256": "0" * 64})
    manifest.write_text(json.dumps(hostile))
    succeeded(rv(*words, "-a", "prefix=B"))
    assert (outside / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize("folder", [".rv", ".rv/runs", ".rv/done", ".rv/done/copy", ".rv/code"])
def test_a_state_folder_that_leads_out_of_the_root_is_refused(
    rv: Callable[..., Any], tmp_path: Path, words: list[object], folder: str
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    succeeded(rv(*words))
    shutil.rmtree(root / folder, ignore_errors=True)
    os.symlink(outside, root / folder)
    refused = rv(*words, "-a", "prefix=B")
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert f"{root}/{folder} is a link that leads out of the root" in refused.stderr
    assert os.listdir(outside) == []


@pytest.mark.parametrize("name", [".rv/done/spoil/x.json", ".rv", "pipeline-config.json"])
def test_a_command_cannot_write_into_the_record_of_runs(rv: Any, tmp_path: Path, name: str) -> None:
    module = tmp_path / "spoiler.py"
    module.write_text(
        "from dataclasses import dataclass\n"
        "from rv_core import Pipeline, PipelineConfig, command\n"
        "class Spoiler(Pipeline):\n"
        "    @command()\n"
        "    def spoil(self):\n"
        f"        self.storage.write_text({name!r}, 'mine')\n"
        "@dataclass(kw_only=True)\n"
        "class SpoilerConfig(PipelineConfig):\n"
        "    pipeline = 'spoiler:Spoiler'\n"
        "def get_config(runner, root_uri):\n"
        "    return SpoilerConfig(root_uri=root_uri)\n"
    )
    done = rv("run", "inprocess", module, "-a", f"root_uri={tmp_path / 'root'}")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"refused name {name!r}" in done.stderr and "the record of runs is kept there" in done.stderr
