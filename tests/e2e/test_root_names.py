"""A root has one name, whatever it was called; and what lies under it goes with it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

COPY = Path(__file__).with_name("copy_pipeline.py")


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return _write_data(tmp_path / "data")


def _write_data(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in "ab":
        (folder / f"{name}.in").write_text(name)
    return folder


@pytest.mark.parametrize(
    "spelling",
    [
        "{root}/",
        pytest.param("{folder}/./x/../root", marks=pytest.mark.slow),
        "${{BASE}}/root/",
        pytest.param("file://{root}/", marks=pytest.mark.slow),
        "{link}",
    ],
)
def test_every_spelling_of_a_root_is_the_same_root(
    rv: Callable[..., Any], tmp_path: Path, data: Path, spelling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BASE", f"{tmp_path}/")
    root, link = tmp_path / "root", tmp_path / "link"
    os.symlink(tmp_path, link)
    first = succeeded(rv("run", "inprocess", COPY, "-a", f"data={data}", "-a", f"root_uri={root}"))
    other = spelling.format(root=root, folder=tmp_path, link=link / "root")
    again = succeeded(rv("run", "inprocess", COPY, "-a", f"data={data}", "-a", f"root_uri={other}"))
    assert "Nothing to do" in again
    assert f"results are under {root}\n" in first
    assert f"at {root}\n" in succeeded(rv("status", other))


def test_what_lies_under_a_root_goes_with_it(rv: Callable[..., Any], tmp_path: Path) -> None:
    root, moved, link = tmp_path / "root", tmp_path / "moved", tmp_path / "link"
    data = _write_data(root / "in")
    os.symlink(tmp_path, link)
    succeeded(rv("run", "inprocess", COPY, "-a", f"data={data}", "-a", f"root_uri={root}"))
    for words in (["-a", f"data={link}/root/in"], ["-a", f"data={root}/./in"]):
        assert "Nothing to do" in succeeded(rv("run", "inprocess", COPY, *words, "-a", f"root_uri={root}"))
    root.rename(moved)
    words = ["-a", f"data={moved}/in", "-a", f"root_uri={moved}"]
    assert "Nothing to do" in succeeded(rv("run", "inprocess", COPY, *words))
    (moved / "in" / "a.in").write_text("changed")
    printed = succeeded(rv("run", "inprocess", COPY, *words))
    assert "a: a.in changed" in printed
    assert "uri" not in printed
    assert (moved / "copy" / "a.txt").read_text() == "A:changed"


def test_a_saved_config_that_lies_in_another_root_is_told(rv: Callable[..., Any], tmp_path: Path, data: Path) -> None:
    root, backup = tmp_path / "root", tmp_path / "backup"
    succeeded(rv("run", "inprocess", COPY, "-a", f"data={data}", "-a", f"root_uri={root}"))
    shutil.copytree(root, backup)
    (run,) = (backup / ".rv" / "runs").iterdir()
    for config in (backup / "pipeline-config.json", run / "pipeline-config.json"):
        refused = rv("run", "inprocess", config, "--set", "prefix=B")
        assert refused.returncode == 2, refused.stdout + refused.stderr
        assert "lies in another root than it names" in refused.stderr
        assert f"--set root_uri={backup}" in refused.stderr
    assert (root / "copy" / "a.txt").read_text() == "A:a"
    words = ["--set", "prefix=B", "--set", f"root_uri={backup}"]
    succeeded(rv("run", "inprocess", backup / "pipeline-config.json", *words))
    assert (backup / "copy" / "a.txt").read_text() == "B:a"
    assert (root / "copy" / "a.txt").read_text() == "A:a"
    # Told by a task that is started by hand, too.
    refused = rv("run-command", run / "pipeline-config.json", "copy")
    assert refused.returncode == 2
    assert f"this run worked under {root}" in refused.stderr
