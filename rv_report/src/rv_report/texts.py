"""Text of others on a page: without secrets and control characters. Escaping is the work of the template and markupsafe."""

from __future__ import annotations

from rv_core.redaction import redact
from rv_core.wording import printable

#: Of a class name or a reason that comes from data: more is no help to anybody.
MAX_CHARACTERS = 4000


def clean(text: str) -> str:
    """One line of text as it may be shown."""
    return printable(redact(text), MAX_CHARACTERS)
