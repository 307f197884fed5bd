"""The reference pages say what the code does: they are what the generator writes, and nothing is missing in them."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

_ROOT = Path(__file__).parent.parent.parent
_REFERENCE = _ROOT / "docs" / "reference"
_PACKAGES = sorted(path.parent.name for path in _ROOT.glob("rv_*/pyproject.toml"))


@pytest.fixture(autouse=True)
def every_package() -> None:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"the reference is about all packages; not installed here: {', '.join(missing)}")


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(_ROOT / "docs")
        return importlib.import_module("generate_reference")


def read(page: str) -> str:
    return (_REFERENCE / page).read_text(encoding="utf-8")


def rv(*words: str) -> str:
    argv = [sys.executable, "-m", "rv_core", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout


def test_every_page_is_up_to_date() -> None:
    argv = [sys.executable, str(_ROOT / "docs" / "generate_reference.py"), "--check"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "up to date\n", f"run python docs/generate_reference.py; outdated: {done.stdout}{done.stderr}"


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("reference/hooks.md", "## rv_runners", "## rv_walkers"),
        ("reference/modules.md", "### rv_core/record", "### rv_core/run_records"),
        ("architecture.md", "`by_uri`, ", ""),
        ("images/folders.svg", '<circle class="top"', '<circle class="later"'),
    ],
)
def test_a_page_that_is_not_what_the_code_says_is_found(
    generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str
) -> None:
    docs = shutil.copytree(_ROOT / "docs", tmp_path / "docs")
    text = (docs / file).read_text()
    assert old in text
    (docs / file).write_text(text.replace(old, new, 1))
    monkeypatch.setattr(generator, "DOCS", docs)
    assert generator.outdated() == [file]


def test_words_around_the_generated_table_are_free(
    generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = shutil.copytree(_ROOT / "docs", tmp_path / "docs")
    page = docs / "architecture.md"
    page.write_text(page.read_text().replace("# Architecture", "# The house") + "\nOne line more.\n")
    monkeypatch.setattr(generator, "DOCS", docs)
    assert generator.outdated() == []


def test_every_hook_has_a_heading_and_every_argument_a_row() -> None:
    from rv_core.plugins.validation import KNOWN_HOOKS

    text = read("hooks.md")
    for hook, arguments in KNOWN_HOOKS.items():
        section = text.partition(f"\n## {hook}\n")[2].partition("\n## ")[0]
        assert section, f"{hook} has no heading"
        assert all(argument in section for argument in arguments)


def test_every_error_class_is_there() -> None:
    from rv_core import errors

    names = [n for n, c in vars(errors).items() if isinstance(c, type) and issubclass(c, errors.RvError)]
    assert len(names) > 8
    assert [name for name in names if f"`{name}`" not in read("errors.md")] == []


def test_every_setting_is_there_with_its_variable_and_a_meaning() -> None:
    from rv_core.config.fields import fields_of
    from rv_core.settings.sections import environment_names, known_sections

    text = read("settings.md")
    for section, cls in known_sections().items():
        for key in fields_of(cls):
            (row,) = re.findall(rf"^\| `{key}` .*`{environment_names(section, key)[0]}`.*\|$", text, re.MULTILINE)
            assert not row.endswith("|  |"), f"{section}.{key} has no meaning"


def test_every_option_on_a_help_page_is_there() -> None:
    text = read("cli.md")
    verbs = re.findall(r"^## rv (\S+)$", text, re.MULTILINE)
    listed = re.findall(r"^  ([a-z][a-z-]*)  ", rv("--help"), re.MULTILINE)
    assert set(listed) <= set(verbs)
    for verb in ("run", "check", "status", "plugins"):
        section = text.partition(f"\n## rv {verb}\n")[2].partition("\n## ")[0]
        options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", rv(verb, "--help").partition("Options:")[2]))
        assert {option for option in options - {"--help"} if f"`{option}`" not in section} == set()


def test_every_rule_is_there_with_what_has_to_hold() -> None:
    from rv_core.testing import PipelineConformance, RunnerConformance

    text = read("conformance.md")
    for kit in (RunnerConformance, PipelineConformance):
        for rule in (name for name in dir(kit) if name.startswith("test_")):
            (row,) = re.findall(rf"^\| `{rule}` \| (.*?) \|", text, re.MULTILINE)
            assert row, f"{rule} does not say what has to hold"
