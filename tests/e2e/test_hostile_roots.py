"""A root from somebody else: its links lead no write and no deletion outside, and its damaged code is one clear error."""

from __future__ import annotations

import json
import os
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import RvCli

PIPELINE = """
from dataclasses import dataclass
from rv_core import Items, Pipeline, PipelineConfig, command

@dataclass
class PlainConfig(PipelineConfig):
    names: list[str]
    text: str = "x"
    def build(self): return Plain(self)

class Plain(Pipeline):
    @command(items="names", reads=("text",))
    def work(self, names: Items[str]) -> None:
        for name in names:
            self.storage.write_text(f"work/{name}.txt", self.config.text)

def get_config(runner: str, root_uri: str, text: str = "x") -> PlainConfig:
    return PlainConfig(root_uri=root_uri, names=["a", "b"], text=text)
"""
RUN = ("run", "inprocess", "plain.py", "-a", "root_uri=out")


@pytest.fixture(autouse=True)
def root(rv: RvCli, tmp_path: Path) -> Path:
    """A root with a run that is done, and a folder of a user's outside of it."""
    (tmp_path / "plain.py").write_text(PIPELINE)
    assert rv(*RUN).returncode == 0
    (tmp_path / "outside").mkdir()
    return tmp_path / "out"


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def moved_outside(root: Path, path: Path) -> Path:
    """What lies at a path is outside of the root, and a link to it is in its place."""
    outside = root.parent / "outside" / "moved"
    shutil.move(path, outside)
    path.symlink_to(outside)
    return outside


@pytest.mark.parametrize("name", [".rv", ".rv/runs", ".rv/code", ".rv/done", ".rv/done/work"])
def test_a_folder_of_the_state_that_is_a_link_outside_is_not_written_through(rv: RvCli, root: Path, name: str) -> None:
    outside = moved_outside(root, root / name)
    for archive in outside.rglob("*.zip"):
        archive.unlink()  # one that is there is not written again
    before = files_of(outside)
    done = rv(*RUN, "-a", "text=y")
    assert done.returncode == 2, done.stderr
    assert "is a link that leads out of the root" in done.stdout + done.stderr
    assert files_of(outside) == before


def test_the_record_of_an_earlier_run_that_is_a_link_outside_is_not_added_to(rv: RvCli, root: Path) -> None:
    (events,) = root.glob(".rv/runs/*/events")
    outside = moved_outside(root, events)
    before = files_of(outside)
    for words in (["cancel", "out"], ["status", "out"], ["logs", "out", "work"], [*RUN, "-a", "text=y"]):
        assert "Traceback" not in rv(*words).stderr
    assert files_of(outside) == before


def test_a_marker_that_is_a_link_outside_is_not_written_through(rv: RvCli, root: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "outside" / "theirs.json"
    theirs.write_text("{}")
    (root / ".rv/active-run.json").symlink_to(theirs)
    for words in ([*RUN, "-a", "text=y"], [*RUN, "-a", "text=y", "--take-over"], ["cancel", "out"]):
        done = rv(*words)
        assert "Traceback" not in done.stderr
        assert theirs.read_text() == "{}"


@pytest.mark.parametrize(
    "name", [Path(".rv", "done"), Path(".rv", "done", "work"), Path(".rv", "done", "work", "deeper")]
)
def test_what_lies_outside_is_no_evidence_and_is_not_walked_through(rv: RvCli, root: Path, name: Path) -> None:
    if (root / name).exists():
        shutil.rmtree(root / name)
    (root / name).symlink_to("/usr")
    began = time.monotonic()
    done = rv("status", "out")
    assert time.monotonic() - began < 5
    assert "Traceback" not in done.stderr
    if name.name != "deeper":
        assert "removed or replaced" in done.stdout and "nothing is left to do" not in done.stdout


def test_an_old_manifest_deletes_nothing_behind_a_link(rv: RvCli, root: Path, tmp_path: Path) -> None:
    thesis = tmp_path / "outside" / "thesis.txt"
    thesis.write_text("mine")
    (root / "link").symlink_to(thesis.parent)
    for path in (root / ".rv" / "done" / "work").glob("a.*.json"):
        manifest = json.loads(path.read_text())
        manifest["outputs"].append({**manifest["outputs"][0], "path": "link/thesis.txt", "bytes": 4})
        path.write_text(json.dumps(manifest))
    assert rv(*RUN, "-a", "text=y").returncode == 0
    assert thesis.read_text() == "mine"
    assert (root / "work/a.txt").read_text() == "y"


def cut(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-40])


def emptied(archive: Path) -> None:
    archive.write_bytes(b"")


def removed(archive: Path) -> None:
    archive.unlink()


def climbing(archive: Path) -> None:
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("../climbed.py", "x = 1")


def absolute(archive: Path) -> None:
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(f"{archive.parents[3]}/climbed.py", "x = 1")


def other_code(archive: Path) -> None:
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("plain.py", "raise SystemExit('other code ran')")


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        pytest.param(emptied, marks=pytest.mark.slow),
        removed,
        climbing,
        pytest.param(absolute, marks=pytest.mark.slow),
        other_code,
    ],
)
def test_code_of_a_root_that_is_damaged_is_one_block_and_nothing_of_it_runs(
    rv: RvCli, root: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    (archive,) = (root / ".rv/code").iterdir()
    damage(archive)
    # Where the module still lies as it was, its archive is not needed.
    (tmp_path / "plain.py").unlink()
    shutil.rmtree(tmp_path / "out/work")
    for words in (["check", "out/pipeline-config.json"], ["run", "inprocess", "out/pipeline-config.json"]):
        done = rv(*words)
        text = done.stdout + done.stderr
        assert done.returncode in (2, 3), text
        assert text.count(" error: ") == 1 and "where:" in text and "Traceback" not in text, text
        assert "other code ran" not in text
    assert not (tmp_path / "climbed.py").exists() and not (tmp_path / "out/climbed.py").exists()
    assert rv("config", "show", "out/pipeline-config.json").returncode == 0
    assert "plain.work" in rv("status", "out").stdout


@pytest.mark.parametrize("field", ["names", "text"])
def test_a_saved_config_of_great_depth_is_one_block(rv: RvCli, root: Path, field: str) -> None:
    path = root / "pipeline-config.json"
    saved = json.loads(path.read_text())
    saved["config"][field] = "@"
    path.write_text(json.dumps(saved).replace('"@"', "[" * 100_000 + "]" * 100_000))
    for words in (["check"], ["run", "inprocess"], ["config", "show"]):
        done = rv(*words, path)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr and len(done.stderr) < 2_000 and "pipeline-config.json" in done.stderr


def put_no_file(path: Path, kind: str) -> None:
    """What is opened like a file, and never ends or never begins."""
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_not_read_in_place_of_a_saved_config_or_of_settings(
    rv: RvCli, root: Path, kind: str
) -> None:
    put_no_file(root / "pipeline-config.json", kind)
    done = rv("run", "inprocess", root / "pipeline-config.json", timeout_s=30)
    assert done.returncode == 3 and "it is a pipe, a device or a socket" in done.stderr, done.stderr
    put_no_file(root.parent / "rv.toml", kind)
    done = rv(*RUN, timeout_s=30)
    assert done.returncode == 2 and "it is a pipe, a device or a socket" in done.stderr, done.stderr


def test_a_config_that_the_user_names_may_be_a_pipe(rv: RvCli, root: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "made.json")
    running = rv.start("run", "inprocess", "made.json")
    (tmp_path / "made.json").write_bytes((root / "pipeline-config.json").read_bytes())
    out, err = running.communicate(timeout=30)
    assert running.returncode == 0 and "Nothing to do" in out, err
    (tmp_path / "given.json").symlink_to("/dev/stdin")
    done = rv("run", "inprocess", "given.json", stdin=(root / "pipeline-config.json").read_text())
    assert done.returncode == 0 and "Nothing to do" in done.stdout, done.stderr
