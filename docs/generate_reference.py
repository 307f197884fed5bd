"""Writes docs/reference/*.md, the drawing and the table of docs/architecture.md from the code.

`python docs/generate_reference.py`, with every package installed. What is about folders and modules is in `house.py`.

`--check` writes nothing and ends with 1 if a page is not what it would write; tests/docs does the same.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import api_pages
import house
from page_parts import arguments_of, page, signature_as_written, table, text_of

DOCS = Path(__file__).parent


def hooks() -> str:
    """Every hook with its signature, and every declaration with its fields."""
    from rv_core.plugins import declarations, hookspecs
    from rv_core.plugins.validation import KNOWN_HOOKS

    parts = [text_of(hookspecs), "", f"This is version {hookspecs.HOOK_API_VERSION} of the hooks.", ""]
    for name in KNOWN_HOOKS:
        function = getattr(hookspecs, name)
        parts += [f"## {name}", "", "```python", f"{name}{_signature(function)}", "```", "", text_of(function), ""]
        parts += table(("argument", "meaning"), list(arguments_of(function).items()))
    parts += ["## What declaring hooks return", ""]
    for cls in (c for name, c in vars(declarations).items() if name.endswith("Spec")):
        parts += [f"### {cls.__name__}", "", text_of(cls), "", *_fields(cls)]
    return page("Hooks", *parts)


def _signature(function: Callable[..., Any]) -> str:
    signature = signature_as_written(function)
    words, is_keyword_only = [], False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not is_keyword_only:
            words.append("*")
            is_keyword_only = True
        default = "" if parameter.default is parameter.empty else f" = {json.dumps(parameter.default)}"
        annotation = "" if parameter.annotation is parameter.empty else f": {parameter.annotation}"
        star = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
        words.append(f"{star}{parameter.name}{annotation}{default.replace('null', 'None')}")
    return f"({', '.join(words)}) -> {signature.return_annotation}"


def _fields(cls: Any) -> list[str]:
    meanings = arguments_of(cls)
    if dataclasses.is_dataclass(cls):
        defaults = {field.name: _default(field) for field in dataclasses.fields(cls)}
    else:  # a named tuple
        defaults = dict.fromkeys(cls._fields, "required")
        defaults |= {name: _shown(value) for name, value in cls._field_defaults.items()}
    rows = [(f"`{name}`", default, meanings.get(name, "")) for name, default in defaults.items()]
    return table(("field", "default", "meaning"), rows)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return _shown(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return f"`{field.default_factory()!r}`"
    return "required"


def _shown(default: object) -> str:
    return f"`{default!r}`".replace("'", '"')


def runners() -> str:
    """What a runner has to know: capabilities, methods, context, and the rules that hold it to them."""
    from rv_core import Capabilities, Observation, RunContext, Runner, RunRecord

    parts = [text_of(sys.modules[Runner.__module__]), "", "## Capabilities", "", text_of(Capabilities), ""]
    parts += _fields(Capabilities)
    for cls in (Runner, RunContext, RunRecord):
        parts += [f"## {cls.__name__}", "", text_of(cls), ""]
        if cls is RunContext:
            parts += table(("attribute", "meaning"), [(f"`{n}`", text) for n, text in arguments_of(cls).items()])
        for name, method in _public_methods(cls):
            parts += [
                f"`{name}`",
                "",
                *(f": {line}" if line else "" for line in [" ".join(text_of(method).split())]),
                "",
            ]
    parts += ["## Observation", "", text_of(Observation), "", *_fields(Observation)]
    return page("Runners", *parts, *_submission())


def _submission() -> Iterator[str]:
    """Every public name of the module for runners that hand jobs to an engine and leave."""
    import rv_core

    module = sys.modules[rv_core.submit_in_order.__module__]
    yield from ("## Submission", "", text_of(module), "")
    for name, function in vars(module).items():
        if name in rv_core.__all__ and inspect.isfunction(function) and function.__module__ == module.__name__:
            yield from (f"`{name}{_signature(function)}`", "", f": {' '.join(text_of(function).split())}", "")
            yield from table(("argument", "meaning"), list(arguments_of(function).items()))


def stores() -> str:
    """What a store has to do."""
    from rv_core import FileInfo, Store

    parts = [text_of(Store), ""]
    for name, method in _public_methods(Store):
        parts += [f"`{name}`", "", f": {' '.join(text_of(method).split())}", ""]
        parts += table(("argument", "meaning"), list(arguments_of(method).items()))
    parts += ["## FileInfo", "", text_of(FileInfo), ""]
    parts += table(("field", "meaning"), [(f"`{name}`", text) for name, text in arguments_of(FileInfo).items()])
    return page("Stores", *parts)


def _public_methods(cls: type) -> Iterator[tuple[str, Any]]:
    for name, member in vars(cls).items():
        if name.startswith("_") or isinstance(member, classmethod):
            continue
        if inspect.isfunction(member):
            yield f"{name}{_signature(member)}", member
        elif isinstance(member, property):
            yield name, member.fget


def rules() -> str:
    """Every rule of the conformance kits."""
    from rv_core.testing import PipelineConformance, RunnerConformance, StoreConformance

    parts = [
        "Every rule is a test of its name; `pytest --rv-runner NAME -k WORD` (or `--rv-store SCHEME`) runs those with a word",
        "in theirs.",
        "",
    ]
    for cls in (RunnerConformance, PipelineConformance, StoreConformance):
        parts += [f"## {cls.__name__}", "", text_of(cls), ""]
        rows = [(f"`{name}`", text_of(rule), _needs(rule)) for name, rule in _rules_of(cls)]
        parts += table(("rule", "what has to hold", "for runners with"), rows)
    return page("Rules of the conformance kits", *parts)


def _rules_of(cls: type) -> Iterator[tuple[str, Any]]:
    for owner in cls.__mro__:
        yield from ((name, member) for name, member in vars(owner).items() if name.startswith("test_"))


def _needs(rule: Any) -> str:
    marks = [mark for mark in getattr(rule, "pytestmark", ()) if mark.name == "rv_needs"]
    return ", ".join(f"`{name}`" for mark in marks for name in mark.args)


def errors() -> str:
    """Exit codes, and every class of expected errors."""
    from rv_core import errors
    from rv_core import errors as module

    codes = {name: value for name, value in vars(module).items() if name.startswith("EXIT_")}
    meanings = {
        "EXIT_DONE": "done, or submitted",
        "EXIT_FAILED": "a task failed, or an unexpected error: a bug in rv or a plugin, with a traceback",
        "EXIT_USAGE": "wrong usage, a wrong config, or a finding of pre-flight; nothing was started",
        "EXIT_ENVIRONMENT": "a plugin or the environment: no such program, no credentials",
        "EXIT_STOPPED": "of a task alone: stopped by TERM with its state saved, run it again",
        "EXIT_INTERRUPTED": "interrupted; the same command goes on from there",
    }
    parts = [text_of(module), "", "## Exit codes", ""]
    parts += table(
        ("code", "meaning"), [(str(value), meanings[name]) for name, value in sorted(codes.items(), key=_last)]
    )
    parts += ["## Errors", ""]
    classes = [cls for cls in vars(module).values() if isinstance(cls, type) and issubclass(cls, module.RvError)]
    rows = [(f"`{c.__name__}`", f"`{c.headline}`", str(c.exit_code), text_of(c)) for c in classes]
    parts += table(("class", "is printed as", "exit code", "when"), rows)
    parts += ["## Narrower errors", "", "Each counts as what it is a kind of, for exit codes and for `except`.", ""]
    parts += api_pages.narrower_errors()
    parts += ["## Finding", "", text_of(errors.Finding), "", *_fields(errors.Finding)]
    return page("Errors and exit codes", *parts)


def _last(pair: tuple[str, int]) -> int:
    return pair[1]


def settings() -> str:
    """Every setting of the core and of the runners of this project."""
    from rv_core.settings import sections as module

    parts = [
        text_of(module),
        "",
        "`rv config settings` shows the value of each and where it comes from. Secret ones are saved nowhere.",
        "",
    ]
    for section, cls in sorted(module.known_sections().items()):
        parts += [f"## [{section}]", "", text_of(cls), "", *_settings_table(section, cls)]
        for nested in _nested(cls):
            parts += [f"### {nested.__name__}", "", text_of(nested), "", *_plain_table(nested)]
    return page("Settings", *parts, *api_pages.variables())


def _settings_table(section: str, cls: type) -> list[str]:
    from rv_core.config.fields import fields_of
    from rv_core.settings.sections import environment_names

    meanings = arguments_of(cls)
    rows = []
    for name, setting in fields_of(cls).items():
        secret = " (secret)" if "Secret()" in repr(setting.type.annotation) else ""
        variables = ", ".join(f"`{v}`" for v in environment_names(section, name, setting.field.metadata))
        value = f"{setting.type.describe()}{secret}"
        rows.append((f"`{name}`", value, _default(setting.field), variables, meanings.get(name, "")))
    return table(("key", "value", "default", "environment", "meaning"), rows)


def _plain_table(cls: type) -> list[str]:
    from rv_core.config.fields import fields_of

    meanings = arguments_of(cls)
    rows = [
        (f"`{name}`", field.type.describe(), _default(field.field), meanings.get(name, ""))
        for name, field in fields_of(cls).items()
    ]
    return table(("key", "value", "default", "meaning"), rows)


def _nested(cls: type) -> list[type]:
    """The config classes of tables inside a section."""
    from rv_core.config.classes import Config
    from rv_core.config.fields import fields_of

    found = []
    for setting in fields_of(cls).values():
        inner = getattr(setting.type, "value", None)
        found += [c for c in getattr(inner, "classes", ()) if isinstance(c, type) and issubclass(c, Config)]
    return found


def configs() -> str:
    """Every config class of this project's pipelines, with its fields."""
    from rv_core.config.field_tables import markdown_of
    from rv_core.config.type_hints import class_of, registered_types

    lead = [
        "Config classes are dataclasses; a module's `get_config` returns one of a pipeline, and `rv config schema NAME` prints",
        "the same as JSON Schema, `--markdown` as a table. Paths are local paths or URIs.",
        "",
    ]
    return page("Config classes", *lead, *(markdown_of(class_of(hint), level=2) for hint in registered_types()))


def cli() -> str:
    """Every verb of the core and of this project's plugins, with its arguments and options."""
    from typer.main import get_command

    from rv_core.cli.app import app
    from rv_core.cli.verbs import command_of
    from rv_core.plugins.installed import plugin_manager

    root: Any = get_command(app)
    parts = [text_of(root.help), "", *_options(root)]
    for spec in plugin_manager().command_specs().values():
        parts += _verb(f"rv {spec.name}", command_of(spec))
    return page("Command line", *parts)


def _verb(path: str, command: Any, level: int = 2) -> Iterator[str]:
    yield from (f"{'#' * level} {path}", "", _description(command.help or ""), "")
    yield from _arguments(command)
    yield from _options(command)
    for name, child in getattr(command, "commands", {}).items():
        yield from _verb(f"{path} {name}", child, level + 1)


def _description(help_text: str) -> str:
    """Paragraphs as they are, indented lines as code."""
    blocks = []
    for paragraph in text_of(help_text).split("\n\n"):
        lines = paragraph.splitlines()
        plain = [line for line in lines if not line.startswith("  ")]
        code = [line.strip() for line in lines if line.startswith("  ")]
        blocks += [" ".join(plain)] if plain else []
        blocks += ["\n".join(["```console", *(f"$ {line}" for line in code), "```"])] if code else []
    return "\n\n".join(blocks)


def _arguments(command: Any) -> list[str]:
    found = [p for p in command.params if p.param_type_name == "argument"]
    return table(("argument", "meaning"), [(_name_of(p), getattr(p, "help", None) or "") for p in found])


def _name_of(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return f"`{name}`" + ("…" if argument.nargs == -1 else "") + ("" if argument.required else " (optional)")


def _options(command: Any) -> list[str]:
    found = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    rows = []
    for option in found:
        names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
        value = "" if option.is_flag or option.count else f" `{option.metavar or option.name.upper()}`"
        needed = " (required)" if option.required else ""
        rows.append((f"{names}{value}", f"{option.help or ''}{needed}"))
    return table(("option", "meaning"), rows)


def modules() -> str:
    """Every folder and every module of every package with the first line of its docstring."""
    lead = "Every module with the first line of its docstring; [how they fit](../architecture.md)."
    return page("Modules", lead, "", *house.modules_page())


def drawing() -> str:
    """The folders of the core and which of them uses which, as an SVG."""
    return house.drawing()


def architecture() -> str:
    """The page about the house with its table of folders brought up to date; the rest of it is written by hand."""
    return house.with_block((DOCS / "architecture.md").read_text(encoding="utf-8"), house.folders_table())


PAGES: Mapping[str, Callable[[], str]] = {
    "architecture.md": architecture,
    "images/folders.svg": drawing,
    "reference/cli.md": cli,
    "reference/configs.md": configs,
    "reference/conformance.md": rules,
    "reference/errors.md": errors,
    "reference/hooks.md": hooks,
    "reference/modules.md": modules,
    "reference/python.md": api_pages.python_api,
    "reference/runners.md": runners,
    "reference/settings.md": settings,
    "reference/stores.md": stores,
}


def outdated() -> list[str]:
    """The names of the files below docs/ that are not what they should be."""
    wrong = []
    for name, render in PAGES.items():
        path = DOCS / name
        if not path.exists() or path.read_text(encoding="utf-8") != render():
            wrong.append(name)
    return wrong


def main(words: list[str]) -> int:
    """Write the files, or with `--check` tell which would change."""
    wrong = outdated()
    if "--check" in words:
        print("\n".join(wrong) or "up to date")
        return 1 if wrong else 0
    for name in wrong:
        (DOCS / name).parent.mkdir(exist_ok=True)
        (DOCS / name).write_text(PAGES[name](), encoding="utf-8")
        print(f"wrote {DOCS / name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
