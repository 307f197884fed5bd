"""The sources stay in folders that one can look over: few files in each, short ones, and nothing run by importing one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent.parent
_SOURCES = sorted(path for path in _ROOT.glob("rv_*/src/rv_*") if path.is_dir() and path.suffix != ".egg-info")
_FILES = sorted(path for source in _SOURCES for path in source.rglob("*.py"))
_FOLDERS = sorted({path.parent for path in _FILES})
_MAX_FILES, _MAX_LINES = 14, 350
#: Those export the names that others write against.
_FACADES = {source / "__init__.py" for source in _SOURCES} | {
    _ROOT / "rv_core" / "src" / "rv_core" / "testing" / "__init__.py"
}


def named(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(_ROOT)) for path in paths]


def test_every_package_is_looked_at() -> None:
    assert {source.name for source in _SOURCES} == {path.parent.name for path in _ROOT.glob("rv_*/pyproject.toml")}
    assert len(_FOLDERS) > 20


@pytest.mark.parametrize("source", _SOURCES, ids=lambda path: path.name)
def test_no_folder_holds_more_files_than_one_can_look_over(source: Path) -> None:
    folders = [folder for folder in _FOLDERS if folder.is_relative_to(source)]
    assert named([folder for folder in folders if len(list(folder.glob("*.py"))) > _MAX_FILES]) == []


def test_no_file_is_longer_than_its_topic() -> None:
    assert named([path for path in _FILES if len(path.read_text().splitlines()) > _MAX_LINES]) == []


def test_importing_a_folder_imports_nothing_else() -> None:
    inits = [path for path in _FILES if path.name == "__init__.py" and path not in _FACADES]
    assert named([path for path in inits if len(ast.parse(path.read_text()).body) != 1]) == []


def test_every_folder_and_every_module_says_what_it_holds() -> None:
    documented = [path for path in _FILES if ast.get_docstring(ast.parse(path.read_text()))]
    assert named(sorted(set(_FILES) - set(documented))) == []
