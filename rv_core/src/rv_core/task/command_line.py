"""The command line of a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rv_core.errors import UsageError, unknown_name

USAGE = "rv run-command CONFIG_URI COMMAND [--split-index I --num-splits N] [--runner NAME] [--profile NAME] [-v] [-q]"


@dataclass(frozen=True)
class Invocation:
    """The command line of a task."""

    config_uri: str
    command: str
    split_index: int | None = None
    num_splits: int = 1
    runner: str = ""
    profile: str = ""
    verbosity: int = 0
    traceback: bool = False


def parse(argv: list[str]) -> Invocation:
    """The task that a command line names.

    Raises:
        UsageError: for a missing or unknown word, or a split index outside of its range.
    """
    words: list[str] = []
    values: dict[str, Any] = {}
    rest = iter(argv)
    for word in rest:
        option, _, attached = word.partition("=")
        if option in _VALUE_OPTIONS:
            value = attached or next(rest, None)
            if value is None:
                raise UsageError(f"{option} needs a value", fix=f"usage: {USAGE}")
            values[_VALUE_OPTIONS[option]] = value
        elif word.startswith("-v") and set(word[1:]) == {"v"}:
            values["verbosity"] = values.get("verbosity", 0) + len(word) - 1
        elif word in ("-q", "--quiet"):
            values["verbosity"] = -1
        elif word == "--traceback":
            values["traceback"] = True
        elif word.startswith("-"):
            what, fix = unknown_name("option", word, _VALUE_OPTIONS)
            raise UsageError(what, fix=fix or f"usage: {USAGE}")
        else:
            words.append(word)
    if len(words) != 2:
        raise UsageError(f"expected CONFIG_URI and COMMAND, got {words}", fix=f"usage: {USAGE}")
    return checked(Invocation(config_uri=words[0], command=words[1], **_with_numbers(values)))


_VALUE_OPTIONS = {
    "--split-index": "split_index",
    "--split-ind": "split_index",
    "--num-splits": "num_splits",
    "--runner": "runner",
    "--profile": "profile",
    "-p": "profile",
}


def _with_numbers(values: dict[str, Any]) -> dict[str, Any]:
    for name in ("split_index", "num_splits"):
        if name in values:
            try:
                values[name] = int(values[name])
            except ValueError:
                raise UsageError(f"--{name.replace('_', '-')} {values[name]!r} is not a whole number") from None
    return values


def checked(invocation: Invocation) -> Invocation:
    """The same invocation, if its split index is one of its splits.

    Raises:
        UsageError: if it is not.
    """
    if invocation.num_splits < 1:
        raise UsageError(f"--num-splits {invocation.num_splits} is below 1")
    index = invocation.split_index
    if index is not None and not 0 <= index < invocation.num_splits:
        raise UsageError(
            f"--split-index {index} is outside 0..{invocation.num_splits - 1}",
            why=f"with --num-splits {invocation.num_splits} the first share has index 0",
        )
    return invocation
