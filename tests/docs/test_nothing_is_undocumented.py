"""What a user or a plugin's author can name has its place in the documentation: a new thing without one fails here."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.docs.verb_tree import commands

_ROOT = Path(__file__).parent.parent.parent
_PACKAGES = sorted(path.parent.name for path in _ROOT.glob("rv_*/pyproject.toml"))
_SOURCES = sorted(path for path in _ROOT.glob("rv_*/src/rv_*/**/*.py") if "testing" not in path.parts)
#: An attribute of a plugin's module, and words of names that are put together.
_NO_VARIABLES = {"RV_HOOK_API_VERSION"}


@pytest.fixture(autouse=True)
def every_package() -> None:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"the documentation is about all packages; not installed here: {', '.join(missing)}")


def page(name: str) -> str:
    return (_ROOT / "docs" / name).read_text(encoding="utf-8")


def rows(text: str) -> dict[str, str]:
    """First word of the first cell -> last cell, of every row of the tables of a text."""
    found = re.findall(r"^\| `([^`]+)`.* \| (.*?) \|$", text.replace("\\|", "|"), re.MULTILINE)
    return {name.split()[0]: meaning.strip() for name, meaning in found}


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"no heading {heading}"
    return found[1]


def test_every_option_and_argument_of_every_verb_says_what_it_means() -> None:
    text, wrong, seen = page("reference/cli.md"), [], 0
    for words, command in commands():
        meanings = rows(section(text, "Command line" if words == "rv" else words))
        for parameter in command.params:
            if parameter.param_type_name == "argument":
                name = parameter.metavar or parameter.name.upper()
            else:
                name = parameter.opts[0]
            seen += 1
            wrong += [f"{words} {name}"] if not meanings.get(name.split()[0]) else []
    assert seen > 100
    assert wrong == []


def test_every_hook_is_documented_with_what_it_returns() -> None:
    from rv_core.plugins import hookspecs
    from rv_core.plugins.validation import KNOWN_HOOKS

    text = page("reference/hooks.md")
    returned = {name for hook in KNOWN_HOOKS for name in re.findall(r"\w+Spec", str(annotation(hookspecs, hook)))}
    assert len(returned) >= 6
    for name in returned:
        assert section(text, name).strip(), name
    for hook, arguments in KNOWN_HOOKS.items():
        for argument in arguments:
            assert re.search(rf"\b{argument}\b", section(text, hook)), f"{hook}({argument})"


def annotation(module: Any, hook: str) -> Any:
    return getattr(module, hook).__annotations__["return"]


def test_every_field_of_every_config_class_has_a_meaning() -> None:
    from rv_core.config.fields import fields_of
    from rv_core.config.type_hints import class_of, registered_types

    text, seen = page("reference/configs.md"), set()
    waiting = [class_of(hint) for hint in registered_types()]
    while waiting:
        cls = waiting.pop()
        if cls not in seen:
            seen.add(cls)
            waiting += [inner for field in fields_of(cls).values() for inner in classes_in(field.type)]
    assert len(seen) > 15
    missing = [
        f"{cls.__name__}.{name}"
        for cls in seen
        for name in fields_of(cls)
        if has_section(text, cls) and not rows(section(text, cls.__name__)).get(name)
    ]
    assert missing == []
    assert [cls.__name__ for cls in seen if not has_section(text, cls) and has_own_fields(cls)] == []


def classes_in(kind: Any) -> Iterator[type]:
    """The config classes that a field's type names, in lists and mappings too."""
    yield from (cls for cls in getattr(kind, "classes", ()) if isinstance(cls, type))
    for name in ("item", "value", "inner"):
        if getattr(kind, name, None) is not None:
            yield from classes_in(getattr(kind, name))


def has_section(text: str, cls: type) -> bool:
    return f"\n## {cls.__name__}\n" in text


def has_own_fields(cls: type) -> bool:
    """Whether it is no base class, which stands for those below it."""
    return not cls.__subclasses__()


def test_every_table_of_settings_is_documented_with_its_own_keys() -> None:
    from rv_core.config.fields import fields_of
    from rv_core.settings.sections import known_sections

    text = page("reference/settings.md")
    for name, cls in known_sections().items():
        own = text.partition(f"\n## [{name}]\n")[2].partition("\n## ")[0]
        assert own, name
        for nested in (inner for field in fields_of(cls).values() for inner in classes_in(field.type)):
            assert set(fields_of(nested)) <= set(rows(section(own, nested.__name__)))


def test_every_variable_of_the_environment_is_on_the_page_of_settings() -> None:
    named = {name for path in _SOURCES for name in re.findall(r"[\"'](RV_[A-Z][A-Z_]*)[\"']", path.read_text())}
    assert len(named) > 12
    text = page("reference/settings.md")
    assert sorted(name for name in named - _NO_VARIABLES if f"`{name}`" not in text) == []


def test_every_error_class_of_every_package_is_on_the_page_of_errors() -> None:
    classes = {
        found for path in _SOURCES for found in re.findall(r"^class (\w+)\((.*)\):$", path.read_text(), re.MULTILINE)
    }
    names = {name for name, bases in classes if re.search(r"\bRvError\b", bases)}
    while more := {name for name, bases in classes if names & set(re.findall(r"\w+", bases))} - names:
        names |= more
    assert len(names) > 15
    meanings = rows(page("reference/errors.md"))
    assert sorted(name for name in names if not meanings.get(name)) == []


def test_every_kind_of_event_is_on_the_page_of_formats() -> None:
    from rv_core.record.events import _STEPS

    told = section(page("formats.md"), "Events: `events/*.jsonl`")
    documented = {name for line in re.findall(r'"event": ([^,]*)', told) for name in re.findall(r'"(\w+)"', line)}
    written = set().union(*(written_events(path) for path in _SOURCES))
    assert {"started", "item", "finished", "cancelled"} <= written
    assert written | (set(_STEPS) - {"observed"}) == documented  # `observed` is never written


def written_events(path: Path) -> set[str]:
    """The kinds of events that a module writes: `….write("kind", …)` of an EventWriter, or an object with `"event"`."""
    text = path.read_text()
    if "event" not in text.lower():
        return set()
    found = set(re.findall(r'"event": "(\w+)"', text)) - {"observed"}
    return found | set(re.findall(r'(?:events|writer)\.write\(\s*"(\w+)"', text))


@pytest.mark.parametrize("module", ["rv_core", "rv_core.api", "rv_pipeline_chip_classification"])
def test_every_public_name_has_a_heading(module: str) -> None:
    found = importlib.import_module(module)
    public = getattr(found, "__all__", None) or own_names(found)
    text = page("reference/python.md").partition(f"\n## {module}\n")[2].partition("\n## ")[0]
    headings = {*re.findall(r"^### (\w+)$", text, re.MULTILINE), "__version__"}
    configs = set(re.findall(r"^## (\w+)$", page("reference/configs.md"), re.MULTILINE)) | {
        "LabelsConfig",
        "RasterConfig",
    }
    assert len(public) > 5
    assert sorted(set(public) - headings - configs) == []


def own_names(module: Any) -> list[str]:
    return [n for n, m in vars(module).items() if getattr(m, "__module__", "") == module.__name__ and n[0] != "_"]
