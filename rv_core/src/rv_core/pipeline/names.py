"""Names of pipelines: what is allowed, and what those that were given none are called."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from rv_core.errors import Finding

MAX_CHARACTERS = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def problem_with_name(name: object) -> str | None:
    """What is wrong with a pipeline's name, or None. "" is fine: such a pipeline is named after its class."""
    if not isinstance(name, str) or name == "" or _NAME.match(name):
        return None
    return (
        f"{name!r} is not a name: it must start with a letter or digit and go on with letters, digits, '-' or '_', "
        f"{MAX_CHARACTERS} at most"
    )


def name_of_class(class_name: str) -> str:
    """The name of an unnamed pipeline: `ChipClassificationConfig` is `chip-classification`."""
    words = _WORD.findall(class_name.removesuffix("Config"))
    return "-".join(word.lower() for word in words)[:MAX_CHARACTERS].rstrip("-") or "pipeline"


def name_pipelines(
    names: Sequence[str], class_names: Sequence[str], *, run_name: str | None = None
) -> tuple[list[str], list[Finding]]:
    """The names of the pipelines of one run, all different.

    Args:
        names: the names that were given; "" for none.
        class_names: the names of their classes.
        run_name: `--pipeline-run-name`: the name of a single pipeline, a prefix of the names of several.

    Returns:
        (names, findings); the findings name equal names, and names that are not allowed.
    """
    given = _without_equal_defaults(names, [name_of_class(name) for name in class_names])
    if run_name is not None:
        given = [run_name] if len(given) == 1 else [f"{run_name}-{name}" for name in given]
    findings = [Finding("name", problem) for name in given if (problem := problem_with_name(name))]
    if run_name == "":
        findings.append(Finding("--pipeline-run-name", "the name is empty"))
    for name, count in Counter(given).items():
        if count > 1:
            findings.append(Finding("name", f"{count} pipelines are named {name!r}", "give each a name of its own"))
    return given, findings


def _without_equal_defaults(names: Sequence[str], defaults: Sequence[str]) -> list[str]:
    taken = {name for name in names if name}
    unnamed = Counter(default for name, default in zip(names, defaults, strict=True) if not name)
    found: list[str] = []
    for name, default in zip(names, defaults, strict=True):
        chosen = name or (default if unnamed[default] == 1 and default not in taken else _numbered(default, taken))
        taken.add(chosen)
        found.append(chosen)
    return found


def _numbered(name: str, taken: set[str]) -> str:
    number = 1
    while f"{name}-{number}" in taken:
        number += 1
    return f"{name}-{number}"
