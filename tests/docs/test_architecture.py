"""What the pages about the house say is there is there: folders, modules, links, and the fields of files on disk."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parent.parent.parent
_CORE = _ROOT / "rv_core" / "src" / "rv_core"
_PAGES = [
    *sorted(_ROOT.glob("*.md")),
    *sorted(_ROOT.glob("rv_*/README.md")),
    *(path for path in sorted(_ROOT.glob("docs/**/*.md")) if "examples" not in path.parts),
]


def written_by_hand(page: str) -> str:
    """A page without its generated block."""
    return re.sub(r"<!-- Written by.*?<!-- To here", "", (_ROOT / "docs" / page).read_text(), flags=re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(_ROOT))


def test_the_walk_comes_through_every_folder() -> None:
    folders = {path.parent.name for path in _CORE.glob("*/__init__.py")}
    assert len(folders) >= 16
    named = set(re.findall(r"`(\w+)`", written_by_hand("architecture.md")))
    assert folders - named == set()


def test_every_module_that_the_walk_names_by_its_folder_is_there() -> None:
    named = set(re.findall(r"`(\w+/\w+)`", written_by_hand("architecture.md")))
    assert {"plan/decisions", "status/rules"} <= named
    assert [name for name in named if not (_CORE / name).with_suffix(".py").is_file()] == ["rv_core/__init__"]


def test_the_walk_and_its_rules_take_two_screens() -> None:
    assert len(written_by_hand("architecture.md").splitlines()) < 100


@pytest.mark.parametrize("page", _PAGES, ids=name_of)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_every_module_on_the_pages_is_there() -> None:
    pages = [page for page in _PAGES if page.name != "CHANGELOG.md"]
    named = {(name, name_of(page)) for page in pages for name in dotted_names(page.read_text(encoding="utf-8"))}
    assert ("rv_core.hello", "docs/write-a-runner.md") in named
    assert [(name, page) for name, page in sorted(named) if not is_there(name)] == []


def dotted_names(text: str) -> Iterator[str]:
    packages = "|".join(path.parent.name for path in sorted(_ROOT.glob("rv_*/pyproject.toml")))
    yield from re.findall(rf"(?<![\w./-])(?:{packages})(?:\.\w+)+", text)


def is_there(dotted: str) -> bool:
    """Whether a dotted name is a module or a folder of modules, or something that one of them names."""
    package, *rest = dotted.split(".")
    path = Path(_ROOT / package / "src" / package, *rest)
    if (path / "__init__.py").is_file() or path.with_suffix(".py").is_file():
        return True
    homes = (path.parent.with_suffix(".py"), path.parent / "__init__.py")
    return any(home.is_file() and re.search(rf"\b{path.name}\b", home.read_text()) for home in homes)


def test_every_field_of_the_files_on_disk_is_on_their_page(rv: Callable[..., Any], tmp_path: Path) -> None:
    rv("run", "inprocess", "rv_core.hello", "-a", "root_uri", str(tmp_path / "out"), "--splits", "2")
    page = written_by_hand("formats.md")
    files = sorted((tmp_path / "out" / ".rv").rglob("*.json*"))
    assert {path.name for path in files} >= {"run.json", "plan.json", "pipeline-config.json", "submission.jsonl"}
    missing = {(path.name, field) for path in files for field in fields_of(path) if f'"{field}"' not in page}
    assert missing == set()


def fields_of(path: Path) -> Iterator[str]:
    """The names of the fields that rv itself gives: of the file, and of the lists of objects in it."""
    text = path.read_text()
    for plain in map(json.loads, text.splitlines() if path.suffix == ".jsonl" else [text]):
        yield from (plain if path.name != "pipeline-config.json" else plain["rv"])
        for value in plain.values():
            if isinstance(value, list):
                yield from (field for entry in value if isinstance(entry, dict) for field in entry)
