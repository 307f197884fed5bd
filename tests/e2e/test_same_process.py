"""A task is the same process everywhere: what lies in the working directory, and what a check says, hold for tasks too."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.e2e.blocks import findings_of

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


def test_a_module_that_cannot_be_imported_from_its_archive_is_found_in_the_check(rv: RvCli, tmp_path: Path) -> None:
    top = 'SCENES = (Path(__file__).parent / "scenes.csv").read_text().split(",")'
    write_module(tmp_path, top=top)
    (tmp_path / "scenes.csv").write_text("a,b")
    for words in (("check", "exp.py"), ("run", "local", "exp.py")):
        done = rv(*words, cwd=tmp_path)
        assert done.returncode == 2, done.stdout
        assert "NotADirectoryError" in done.stderr
        assert "scenes.csv" in done.stderr
        assert "deep_check.py" not in done.stderr
        assert "exp.py:5" in done.stderr
        assert "__file__" in done.stderr
    assert not (tmp_path / "out").exists()
    assert rv("run", "inprocess", "exp.py", cwd=tmp_path).returncode == 0


def test_what_a_module_does_only_in_tasks_is_shown_as_it_is(rv: RvCli, tmp_path: Path) -> None:
    """The module raises where the variable of a task is set, which no check has."""
    top = "import os\nif 'RV_RUN_ID' in os.environ: raise RuntimeError('not in a task, please')"
    write_module(tmp_path, top=top)
    done = rv("run", "local", "exp.py", cwd=tmp_path)
    assert done.returncode == 1
    assert "RuntimeError: not in a task, please" in done.stderr
    assert "exp.py:6" in done.stderr
    assert "not installed" not in done.stderr


POST_INIT = """
    lr: float = 0.1
    tags: list[str] = field(default_factory=list)
    def __post_init__(self):
        {body}
"""


@pytest.mark.parametrize(
    ("body", "where", "values"),
    [("self.lr = self.lr * 2", "lr", "0.2 becomes 0.4"), ("self.tags = self.tags + ['x']", "tags", "['x'] becomes")],
)
def test_a_post_init_that_changes_what_it_is_given_is_found(
    rv: RvCli, tmp_path: Path, body: str, where: str, values: str
) -> None:
    write_module(tmp_path, fields=POST_INIT.format(body=body))
    for words in (("check", "exp.py"), ("run", "inprocess", "exp.py"), ("run", "local", "exp.py")):
        done = rv(*words, cwd=tmp_path)
        assert done.returncode == 2
        found = findings_of(done.stderr)
        assert list(found) == [where]
        assert found[where].startswith(f"C.__post_init__ changes it each time the config is loaded: {values}")


def test_a_post_init_that_fills_in_what_is_missing_is_fine(rv: RvCli, tmp_path: Path) -> None:
    body = "self.tags = sorted(set(self.tags) | {'x'}); self.lr = min(self.lr, 0.05)"
    write_module(tmp_path, fields=POST_INIT.format(body=body))
    done = rv("run", "local", "exp.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


CHANGES = """
from dataclasses import dataclass, field
from rv_core import Config, Items, Pipeline, PipelineConfig, command

@dataclass
class Inner(Config):
    lr: float = 0.1
    tags: list[str] = field(default_factory=list)
@dataclass
class One(Config):
    id: str
@dataclass
class C(PipelineConfig):
    ones: list[One]
    inner: Inner = field(default_factory=Inner)
    def build(self): return P(self)
class P(Pipeline):
    @command(items="ones", reads=("inner",))
    def change(self, ones: Items[One]) -> None:
        for one in ones:
            name = one.id
            {change}
            self.storage.write_text(f"change/{{name}}.txt", f"{{one.id}} {{self.config.inner}}")
    @command(items="ones", requires=("change",))
    def look(self, ones: Items[One]) -> None:
        for one in ones: self.storage.write_text(f"look/{{one.id}}.txt", str(getattr(self, "own", "nothing")))
def get_config(runner, root_uri: str = "out"): return C(root_uri=root_uri, ones=[One(id="a"), One(id="b")])
"""


@pytest.mark.parametrize("runner", ["local", "inprocess"])
@pytest.mark.parametrize("change", ["self.config.inner.lr = 5.0", "self.config.inner.tags.append(name)"])
def test_a_command_that_changes_what_it_reads_fails_by_every_runner(
    rv: RvCli, tmp_path: Path, runner: str, change: str
) -> None:
    (tmp_path / "exp.py").write_text(CHANGES.format(change=change))
    done = rv("run", runner, "exp.py", cwd=tmp_path)
    assert done.returncode == 1
    assert "the command 'change' changed config.inner" in done.stderr
    assert not list((tmp_path / "out").glob(".rv/done/change/*"))


@pytest.mark.parametrize("runner", ["local", "inprocess"])
def test_what_a_command_keeps_in_itself_or_changes_in_an_item_reaches_no_other(
    rv: RvCli, tmp_path: Path, runner: str
) -> None:
    (tmp_path / "exp.py").write_text(CHANGES.format(change="self.own = one.id = 'changed'"))
    assert rv("run", runner, "exp.py", cwd=tmp_path).returncode == 0
    assert {path.name: path.read_text() for path in (tmp_path / "out" / "look").iterdir()} == {
        "a.txt": "nothing",
        "b.txt": "nothing",
    }
