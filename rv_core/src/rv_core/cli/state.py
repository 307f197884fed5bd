"""The options that every verb has."""

from __future__ import annotations

from typing import NamedTuple


class GlobalOptions(NamedTuple):
    """The global options; a verb finds them in the `obj` of its Typer context.

    Args:
        profile: `-p/--profile`, or None for the default one.
        verbosity: `-v` counted; -1 for `-q/--quiet`.
        traceback: whether expected errors show one.
    """

    profile: str | None = None
    verbosity: int = 0
    traceback: bool = False
