"""What `rv plugins new` writes, and what it refuses."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from rv_core.errors import UsageError
from rv_core.scaffold.rendering import KINDS, new_plugin, render, write

_LONGEST = "abcdefghij-abcdefghij-abcdefgh"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["ab", "two-words", _LONGEST])
def test_every_file_is_whole_and_keeps_to_the_style(kind: str, name: str) -> None:
    for path, text in render(new_plugin(name, kind)).items():
        assert "${" not in text.replace("${{ matrix", "")
        assert max(map(len, text.splitlines()), default=0) <= 120, path
        assert not text or text.endswith("\n"), path
        if path.endswith(".py"):
            ast.parse(text)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["ab", _LONGEST])
def test_ruff_has_nothing_to_say(tmp_path: Path, kind: str, name: str) -> None:
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent))
    if ruff is None:
        pytest.skip("ruff is not installed here")
    folder, _ = write(new_plugin(name, kind), tmp_path)
    for words in (["check"], ["format", "--check"]):
        done = subprocess.run([ruff, *words, "."], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_the_package_declares_its_entry_point_and_the_core_that_wrote_it(kind: str) -> None:
    from rv_core import __version__

    plugin = new_plugin("two-words", kind)
    files = render(plugin)
    project = tomllib.loads(files["pyproject.toml"])["project"]
    assert project["entry-points"]["rv"] == {"two_words": f"{plugin.package}.hooks"}
    assert f"src/{plugin.package}/hooks.py" in files
    (requirement,) = project["dependencies"]
    assert requirement.startswith(f"rv-core>={__version__.rpartition('.')[0]},<")
    assert {"README.md", "noxfile.py", ".gitignore", ".github/workflows/checks.yml"} <= set(files)


def test_the_name_may_be_that_of_the_distribution() -> None:
    assert new_plugin("rv-runner-threads", "runner") == new_plugin("threads", "runner")


@pytest.mark.parametrize(
    ("name", "near"),
    [("My_Runner", "my-runner"), ("a b", "a-b"), ("", ""), ("9lives", "lives"), ("../x", "x"), ("x" * 31, "x" * 30)],
)
def test_a_name_that_no_package_can_have_is_refused_with_one_that_it_can(name: str, near: str) -> None:
    with pytest.raises(UsageError) as caught:
        new_plugin(name, "runner")
    assert caught.value.block.fix == (f"did you mean {near!r}?" if near else "")


def test_an_unknown_kind_is_refused_with_the_near_miss() -> None:
    with pytest.raises(UsageError, match="no kind of plugin named 'runer'; known: commands, pipeline, runner"):
        new_plugin("x", "runer")


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "rv-runner-x").mkdir()
    with pytest.raises(UsageError, match="is there already"):
        write(new_plugin("x", "runner"), tmp_path)
    assert list((tmp_path / "rv-runner-x").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write(new_plugin("x", "runner"), tmp_path / "file")


def test_the_command_line_writes_lists_and_says_what_comes_next(rv: Any, tmp_path: Path) -> None:
    done = rv("plugins", "new", "threads", "--kind", "runner", "--into", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "src/rv_runner_threads/runner.py" in done.stdout
    assert f"next: cd {tmp_path}/rv-runner-threads" in done.stdout
    assert (tmp_path / "rv-runner-threads" / "pyproject.toml").is_file()


def test_a_name_that_an_installed_plugin_has_is_refused(rv: Any, tmp_path: Path) -> None:
    done = rv("plugins", "new", "inprocess", "--kind", "runner", "--into", tmp_path)
    assert done.returncode == 2
    assert "there is a runner 'inprocess' already" in done.stderr
    assert list(tmp_path.iterdir()) == []
