r"""Text for people: the one way on which text of others reaches a terminal, a log or JSON that `rv` itself prints.

Names, reasons, exceptions and findings come from files, plugins and users' code. What is printed of them holds no
secret, and no character that a terminal obeys: an escape sequence is shown as `\x1b`, so that it can be read and does
nothing. Line breaks and tabs stay. What a task prints itself is not touched; `rv logs` shows it by the same rules.
"""

from __future__ import annotations

import sys
from typing import Any, TextIO

from rv_core.redaction import redact, redact_values
from rv_core.wording import printable

#: Of a reason or a class name that comes from data: more is no help to anybody.
MAX_LINE_CHARACTERS = 20_000


def shown(text: str, limit: int | None = MAX_LINE_CHARACTERS) -> str:
    """The text as it may be shown: without secrets and control characters, each of its lines cut at a limit.

    Args:
        text: text of others.
        limit: the most characters of a line; None for what is to be used as it is printed, a Makefile for instance.
    """
    return "\n".join(_shown_line(line, limit) for line in redact(text).split("\n"))


def _shown_line(line: str, limit: int | None) -> str:
    return (
        printable(line, limit) if "\t" not in line else "\t".join(printable(part, limit) for part in line.split("\t"))
    )


def say(
    text: str = "", *, file: TextIO | None = None, flush: bool = False, limit: int | None = MAX_LINE_CHARACTERS
) -> None:
    """Print text for people; on the standard output unless a file is given. The limit is that of `shown`."""
    print(shown(text, limit), file=sys.stdout if file is None else file, flush=flush)


def json_text(value: Any) -> str:
    r"""JSON to print, of values that may hold text of others: valid, without secrets, control characters escaped.

    A character that is no letter, digit, sign or plain blank is written as `\uXXXX`, which is the same JSON.
    """
    import json

    ascii_only = not (getattr(sys.stdout, "encoding", "") or "").lower().startswith("utf")
    text = json.dumps(redact_values(value), indent=1, ensure_ascii=ascii_only, default=_redacted_text)
    if text.isprintable():
        return text
    return "".join(c if c == "\n" or c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _redacted_text(value: Any) -> str:
    return redact(str(value))
