"""Generated pages and tables about what is called from Python, narrower errors, and variables of the environment."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from page_parts import arguments_of, page, signature_as_written, table, text_of

ROOT = Path(__file__).parent.parent
#: Those that have pages of their own, with their methods.
_ELSEWHERE = {
    "Runner": "runners.md",
    "RunContext": "runners.md",
    "RunRecord": "runners.md",
    "Capabilities": "runners.md",
    "Observation": "runners.md",
    "Store": "stores.md",
    "FileInfo": "stores.md",
    "hookimpl": "hooks.md",
    "HOOK_API_VERSION": "hooks.md",
    "run": "#rv_coreapi",
    "check": "#rv_coreapi",
    "RunResult": "#rv_coreapi",
}
_SAID = {
    "Uri": "Marks a field of a config that holds a local path or a URI; relative ones are made absolute in a saved config."
}
#: Variable -> what it does. Settings have variables besides, named beside each.
USER_VARIABLES = {
    "RV_CONFIG_DIR": "the folder of profiles; `~/.config/rv` (or below `XDG_CONFIG_HOME`) by default.",
    "RV_PROFILE": "the profile that holds where `--profile` names none; `default` by default.",
    "RV_CACHE_DIR": "the folder of downloads, and of the run folders of roots in a store; `~/.cache/rv` (or below "
    "`XDG_CACHE_HOME`) by default.",
    "RV_CACHE_MAX_GIB": "how much the downloads there may take, in GiB; {cache_gib:g} by default.",
    "RV_RETRY_S": "for how many seconds a transient failure of a store is asked again; {retry_s:g} by default.",
    "RV_OFFLINE": "not empty and not `0`: a URI that needs the network is refused at once.",
    "RV_GRACE_S": "the setting `run.grace_s`.",
    "RV_GPUS": "the setting `run.gpus`.",
    "RV_NUM_THREADS": "how many threads a task uses; given to tasks of the runner `local` and of engines, else yours.",
    "RV_DISABLE_PLUGINS": "entry points or distributions that are left out, with commas between them.",
    "RV_STRICT_PLUGINS": "not empty, `0`, `false`, `no` or `off`: a broken plugin ends every verb with exit code 3.",
}
TASK_VARIABLES = {
    "RV_RUN_ID": "the id of the run, by which the processes of a run are known.",
    "RV_RUN_DIR": "the folder of the run on this machine; not set on other machines.",
    "RV_ATTEMPT": "the number of the attempt, from 1, where a runner starts tasks again by itself.",
    "RV_CORE_SLOTS": "`WEIGHT/SLOTS`: how many of the slots for cores the task takes, where the run counts them.",
}


def variables() -> list[str]:
    """The tables of variables of the environment that are no settings."""
    from rv_core.files.download_cache import _DEFAULT_MAX_GIB
    from rv_core.files.stores import _DEFAULT_RETRY_S

    values = {"cache_gib": _DEFAULT_MAX_GIB, "retry_s": _DEFAULT_RETRY_S}
    parts = [
        "## Variables of the environment",
        "",
        "Beside those of settings, which are named with them, rv reads:",
        "",
    ]
    parts += table(("variable", "meaning"), [(f"`{n}`", text.format(**values)) for n, text in USER_VARIABLES.items()])
    parts += ["Tasks get from the runner:", ""]
    return parts + table(("variable", "meaning"), [(f"`{name}`", text) for name, text in TASK_VARIABLES.items()])


def narrower_errors() -> list[str]:
    """A table of the classes of errors outside of `rv_core.errors`, as they stand in the sources."""
    rows = [
        (f"`{name}`", f"`{base}`", f"`{home}`", " ".join(text_of(doc).split()))
        for home, name, base, doc in error_classes()
    ]
    return table(("class", "is a", "in", "when"), rows)


def error_classes() -> Iterator[tuple[str, str, str, str]]:
    """(module, class, base, docstring) of each class below `RvError` that `rv_core.errors` does not hold."""
    known = {"RvError"}
    found = [entry for path in sorted(ROOT.glob("rv_*/src/rv_*/**/*.py")) for entry in _classes_of(path)]
    for _ in range(5):  # a class may come before its base
        known |= {name for _, name, bases, _ in found if known & set(bases)}
    for home, name, bases, doc in found:
        if known & set(bases) and home != "rv_core.errors":
            yield home, name, next(base for base in bases if base in known), doc


def _classes_of(path: Path) -> Iterator[tuple[str, str, list[str], str]]:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts[2:])
    source = path.read_text(encoding="utf-8")
    nodes = ast.parse(source).body if re.search(r"^class \w+\(.*Error", source, re.MULTILINE) else []
    for node in nodes:
        if isinstance(node, ast.ClassDef):
            bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
            yield module, node.name, bases, ast.get_docstring(node) or ""


def python_api() -> str:
    """Every public name of the core, of `rv_core.api` and of the pipeline, with its arguments."""
    import rv_core
    import rv_core.api
    import rv_pipeline_chip_classification as chip

    parts = [
        "What scripts, notebooks and plugins may import; [how to use it](../python.md). Other modules may change at any time.",
        "",
        *_module(rv_core.api, [name for name, _ in _own_functions(rv_core.api)] + ["RunResult"]),
        *_module(rv_core, [name for name in rv_core.__all__ if not name.startswith("__")]),
        *_module(chip, [name for name in chip.__all__ if not name.endswith("Config") and not name.startswith("__")]),
        "The config classes have [a page of their own](configs.md).",
    ]
    return page("Python API", *parts)


def _own_functions(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name, member in vars(module).items():
        if inspect.isfunction(member) and member.__module__ == module.__name__ and not name.startswith("_"):
            yield name, member


def _module(module: ModuleType, names: list[str]) -> Iterator[str]:
    yield from (f"## {module.__name__}", "")
    for name in names:
        yield from (f"### {name}", "")
        if module.__name__ == "rv_core" and name in _ELSEWHERE:
            yield from (f"See [there]({_ELSEWHERE[name]}).", "")
        else:
            yield from _entry(name, getattr(module, name))


def _entry(name: str, member: Any) -> Iterator[str]:
    if name in _SAID:
        yield from (_SAID[name], "")
    elif isinstance(member, type) and issubclass(member, Exception):
        yield from (f"{text_of(member)} See [errors](errors.md).", "")
    elif inspect.isfunction(member):
        yield from ("```python", f"{name}{signature_of(member)}", "```", "", text_of(member), "")
        yield from table(("argument", "meaning"), [(f"`{n}`", text) for n, text in arguments_of(member).items()])
        yield from _endings(member)
    elif isinstance(member, type):
        yield from (text_of(member), "")
        yield from table(("field", "meaning"), [(f"`{n}`", text) for n, text in arguments_of(member).items()])
        yield from _methods(member)
    else:
        yield from (f"One of {', '.join(f'`{value}`' for value in get_args(member))}.", "")


def _methods(cls: type) -> Iterator[str]:
    for name, member in vars(cls).items():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        fields = {field.name for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()
        if name.startswith("_") or name in fields or not inspect.isfunction(function) or not text_of(function):
            continue
        head = f"`{name}`" if isinstance(member, property) else f"`{name}{signature_of(function)}`"
        yield from (head, "", f": {' '.join(text_of(function).split())}", "")


def _endings(function: Any) -> Iterator[str]:
    doc = inspect.cleandoc(function.__doc__ or "")
    for head in ("Returns", "Raises"):
        match = re.search(rf"^{head}:\n((?:[ \t]+.*\n?)+)", doc, re.MULTILINE)
        if match:
            entries = re.findall(r"^    (\S.*(?:\n     +.*)*)", match[1], re.MULTILINE)
            yield from (f"{head}:", "", *(f"- {' '.join(entry.split())}" for entry in entries), "")


def signature_of(function: Any) -> str:
    """A signature as it stands in the source, without `self`."""
    words, is_keyword_only = [], False
    signature = signature_as_written(function)
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and not is_keyword_only:
            words.append("*")
            is_keyword_only = True
        if name not in ("self", "cls"):
            words.append(_parameter(parameter))
    return f"({', '.join(words)}) -> {signature.return_annotation}"


def _parameter(parameter: inspect.Parameter) -> str:
    star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    annotation = "" if parameter.annotation is parameter.empty else f": {parameter.annotation}"
    default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}".replace("'", '"')
    return f"{star}{parameter.name}{annotation}{default}"
