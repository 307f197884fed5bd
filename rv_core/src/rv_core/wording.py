"""How durations, rates, numbers and foreign text are worded for people. Pure."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any, TextIO

#: A number of a progress event whose name says that it counts: shown without digits after the point.
_MAX_NUMBERS = 6
_MAX_NAME_LENGTH = 40


def printable(text: str, limit: int | None = None) -> str:
    r"""Foreign text for one line of a terminal: control and escape characters become a space or `\\x1b`, the rest stays.

    Args:
        text: a name, a reason or a log line that somebody else wrote.
        limit: cut after this many characters, with a mark.
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " if c in "\n\r\t" else _escaped(c) for c in text)
    return text if limit is None or len(text) <= limit else text[: max(limit - 1, 0)] + "…"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def shortened(text: str, limit: int) -> str:
    """The text, or its first `limit` characters with how many there were: `ValueError: xxx… (1000012 characters)`."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def duration_text(seconds: float) -> str:
    """A duration as `0.4 s`, `0:42`, `1:02:03` or `2 d 3 h`; "" for a negative or unknown one."""
    if not 0 <= seconds < float("inf"):
        return ""
    if 0 < seconds < 1:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def rate_text(per_second: float) -> str:
    """A rate in the unit that makes it readable: `12/s`, `3.1/min`, `0.5/h`; "" for none."""
    if not 0 < per_second < float("inf"):
        return ""
    for factor, unit in ((1, "s"), (60, "min")):
        if per_second * factor >= 1:
            return f"{_short_number(per_second * factor)}/{unit}"
    return f"{_short_number(per_second * 3600)}/h"


def numbers_text(numbers: Mapping[str, Any], limit: int = _MAX_NUMBERS) -> str:
    """The numbers of a progress event as `epoch 3/8  val_f1 0.871  loss 0.412`, at most six of them, in their order.

    A number whose name is that of another one with `num_` before and `s` behind is how many there are of it.
    """
    totals = {f"num_{name}s": name for name in numbers}
    of = {totals[name]: f"/{_number_text(value)}" for name, value in numbers.items() if name in totals}
    pairs = [(name, value) for name, value in numbers.items() if name not in totals][:limit]
    return "  ".join(
        f"{printable(str(name), _MAX_NAME_LENGTH)} {_number_text(value)}{of.get(name, '')}" for name, value in pairs
    )


def cell_text(value: Any) -> str:
    """A value of a table: `0.812`, `1,200`, `forest`; `–` for one that is not defined."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if value == 0 or 1e-3 <= abs(value) < 1e3 else f"{value:.4g}"


def count_text(count: int, noun: str) -> str:
    """A count with its noun: `1 task`, `5 tasks`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def exit_text(exit_code: int | None) -> str:
    """An exit code in words: `exit code 1`, `killed by SIGKILL`, `exit code 137 (SIGKILL)`; "" for none."""
    if exit_code is None:
        return ""
    if exit_code < 0:
        return f"killed by {_signal_name(-exit_code)}"
    if exit_code == 75:
        return "exit code 75 (stopped with its state saved)"
    if 128 < exit_code < 128 + 65:
        return f"exit code {exit_code} ({_signal_name(exit_code - 128)})"
    return f"exit code {exit_code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _number_text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return printable(str(value), 24)
    return printable(str(value), 24) if isinstance(value, int) else f"{value:.4g}"


def _short_number(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def is_plain(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a stream gets plain lines: it is no terminal, or `NO_COLOR`, `CI` or a dumb terminal ask for it."""
    if environ.get("NO_COLOR") or environ.get("CI") or environ.get("TERM") == "dumb":
        return True
    try:
        return not stream.isatty()
    except (AttributeError, ValueError):
        return True


def typed(text: str) -> str:
    """A root, say, as it is to be typed in a command line that is advised; most need no quotes."""
    import shlex

    return shlex.quote(text)
