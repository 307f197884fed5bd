"""A config class as Markdown: what it is, and a table of its fields, for the reference and `rv config schema --markdown`."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

from rv_core.config.classes import Config
from rv_core.config.docstrings import descriptions_of, summary_of
from rv_core.config.fields import ConfigField, fields_of
from rv_core.config.type_hints import hint_of
from rv_core.config.values import to_plain

_HEAD = ("field", "value", "default", "meaning")
_LONGEST_DEFAULT = 60


def markdown_of(cls: type[Config], *, level: int = 1) -> str:
    """A config class as a section: heading, type hint, docstring, and a table of the fields.

    Args:
        cls: the class.
        level: of the heading.
    """
    meanings = descriptions_of(cls)
    rows = [
        (f"`{name}`", field.type.describe(), _default_of(field), meanings.get(name, ""))
        for name, field in fields_of(cls).items()
    ]
    lines = [_HEAD, ("---",) * len(_HEAD), *rows] if rows else []
    table = "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)
    text = f"In a saved config: `type_hint` is `{hint_of(cls)}`."
    parts = (f"{'#' * level} {cls.__name__}", _text_of(cls), text, table)
    return "\n\n".join(filter(None, parts)) + "\n"


def _text_of(cls: type) -> str:
    """The docstring without its sections; nothing where a class has none of its own."""
    if not summary_of(cls):
        return ""
    doc = inspect.cleandoc(cls.__doc__ or "")
    return re.split(r"^(?:Args|Attributes|Raises):\s*$", doc, maxsplit=1, flags=re.MULTILINE)[0].strip()


def _default_of(field: ConfigField) -> str:
    if field.is_required:
        return "required"
    value = field.default()
    if isinstance(value, Config):
        return f"`{type(value).__name__}()`"
    text = json.dumps(to_plain(value), ensure_ascii=False)
    return f"`{text}`" if len(text) <= _LONGEST_DEFAULT else "several"


def _cell(text: Any) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")
