"""A task is the same process everywhere: what lies in the working directory, and what a check says, hold for tasks too."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import RvCli

GREET = """
from dataclasses import dataclass, field
from pathlib import Path
from rv_core import Config, Items, Pipeline, PipelineConfig, command
{top}

@dataclass
class C(PipelineConfig):
    names: list[str]
{fields}
    def build(self): return P(self)

class P(Pipeline):
    @command(items="names")
    def up(self, names: Items[str]) -> None:
        for n in names: self.storage.write_text(f"up/{{n}}.txt", n)

def get_config(runner, root_uri: str = "out"):
    return C(root_uri=root_uri, names=["a", "b"])
"""
RAISES = "raise SystemExit('a file of the working directory was run')\n"


def write_module(folder: Path, *, name: str = "exp.py", top: str = "", fields: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(GREET.format(top=top, fields=fields))
    return path


@pytest.mark.parametrize("name", ["random", "types", "json", "typing", "enum", "signal", "dataclasses", "token"])
def test_a_file_of_the_working_directory_replaces_no_module_in_tasks(rv: RvCli, tmp_path: Path, name: str) -> None:
    module = write_module(tmp_path / "code")
    here = tmp_path / "here"
    here.mkdir()
    (here / f"{name}.py").write_text(RAISES)
    done = rv("run", "local", module, "-a", "root_uri", tmp_path / "out", "-s", "2", cwd=here)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "up" / "a.txt").read_text() == "a"


def test_the_makefile_of_a_run_works_from_a_folder_with_such_a_file(rv: RvCli, tmp_path: Path) -> None:
    module = write_module(tmp_path / "code")
    assert rv("run", "local", module, "-a", "root_uri", tmp_path / "out").returncode == 0
    (makefile,) = (tmp_path / "out").glob(".rv/runs/*/Makefile")
    for manifest in (tmp_path / "out").glob(".rv/done/*/*"):
        manifest.unlink()
    here = tmp_path / "here"
    here.mkdir()
    (here / "types.py").write_text(RAISES)
    made = subprocess.run(
        ["make", "-f", str(makefile), "all"], cwd=here, capture_output=True, text=True, check=False, timeout=60
    )
    assert made.returncode == 0, made.stdout + made.stderr


def test_a_package_of_the_working_directory_is_found_by_tasks_though_the_directory_is_not_on_the_path(
    rv: RvCli, tmp_path: Path
) -> None:
    write_module(tmp_path / "pkg")
    (tmp_path / "pkg" / "__init__.py").touch()
    done = rv("run", "local", "pkg.exp", "-a", "root_uri", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
