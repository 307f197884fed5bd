"""What the docstring of a config class says of it and of its fields, for help, schemas and the reference."""

from __future__ import annotations

import re

from rv_core.config.fields import fields_of

_ARGUMENT = r"(?P<indent> +)\*{0,2}(?P<names>\w+(?:, \w+)*)(?: \([^)]*\))?:\s+(?P<text>.*)\Z"


def descriptions_of(cls: type) -> dict[str, str]:
    """Field -> what the `Args:` of the class's docstring (or of its bases') say about it."""
    found: dict[str, str] = {}
    for owner in reversed(cls.__mro__):
        doc = owner.__dict__.get("__doc__") or ""
        found.update(_arguments_of(doc))
    return {name: text for name, text in found.items() if name in fields_of(cls)}


def _arguments_of(doc: str) -> dict[str, str]:
    lines = iter(doc.expandtabs().splitlines())
    for line in lines:
        if line.strip() in ("Args:", "Attributes:"):
            break
    found: dict[str, str] = {}
    names: list[str] = []
    indent = -1
    for line in lines:
        match = re.match(_ARGUMENT, line)
        depth = len(line) - len(line.lstrip())
        if match and (indent < 0 or depth == indent):
            indent, names = depth, match["names"].split(", ")
            found.update(dict.fromkeys(names, match["text"].strip()))
        elif line.strip() and depth > indent >= 0:
            found.update({name: f"{found[name]} {line.strip()}" for name in names})
        elif line.strip():
            break
    return found


def summary_of(cls: type) -> str:
    """The first line of a class's own docstring; "" where there is none (dataclasses write a signature there)."""
    doc = (cls.__dict__.get("__doc__") or "").strip()
    return "" if doc.startswith(f"{cls.__name__}(") else doc.partition("\n")[0]
