"""Tables, JSON and messages of the verbs: for people on a terminal, plain for everything else.

Text of others (names, summaries, values, errors) is printed as it is, never read as markup, and redacted first.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rv_core.errors import EXIT_ENVIRONMENT, RvError
from rv_core.redaction import redact
from rv_core.terminal import json_text, say, shown
from rv_core.wording import count_text, printable

if TYPE_CHECKING:
    from rv_core.plan.decisions import RunPlan
    from rv_core.status.page import Line
    from rv_core.status.results import PipelineSummary


def print_json(value: Any) -> None:
    """Print plain JSON values; control characters of foreign text are escaped, secrets hidden."""
    print(json_text(value))


def print_text(text: str) -> None:
    """Print text; control characters of foreign text are made visible, secrets hidden."""
    say(text)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their headings: a table with colour on a terminal, aligned columns elsewhere."""
    cells = [[printable(redact(cell)) for cell in row] for row in rows]
    if is_plain():
        _print_plain(columns, cells)
    else:
        _print_rich(columns, cells)


def print_lines(lines: Iterable[Line]) -> None:
    """Print lines, with their styles on a terminal only."""
    if is_plain():
        for line in lines:
            say(line.text)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for line in lines:
        console.print(Text.assemble(*line.pieces), soft_wrap=True)


def print_results(found: Sequence[PipelineSummary]) -> None:
    """Print what pipelines say of their results, and of which that cannot be told."""
    from rv_core.status.results import results_lines

    print_lines(results_lines(found))
    for one in found:
        if one.problem:
            warn(f"{one.pipeline}: {one.problem}")


def is_plain() -> bool:
    """Whether the output is no terminal, or `NO_COLOR`, `CI` or a dumb terminal ask for plain text."""
    from rv_core import wording

    return wording.is_plain(sys.stdout)


def _print_plain(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = [list(columns), *map(list, rows)]
    widths = [max(len(row[index]) for row in table) for index in range(len(columns))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_rich(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def warn(text: str) -> None:
    """Print a warning on stderr."""
    say(f"warning: {text}", file=sys.stderr)


def print_error(text: str) -> None:
    """Print a message on stderr; the headline of an error block (`config error: …`) is red on a terminal."""
    from rv_core import wording

    text = shown(text)
    headline, colon, rest = text.partition(": ")
    if colon and "\n" not in headline and not wording.is_plain(sys.stderr):
        text = f"\x1b[1;31m{headline}:\x1b[0m {rest}"
    print(text, file=sys.stderr)


class OutputError(RvError):
    """What a verb prints cannot be written, on a full disk for instance."""

    exit_code = EXIT_ENVIRONMENT
    headline = "output error"


class _Stream:
    """A standard stream that knows what to do where nobody takes what is printed.

    Args:
        stream: the stream.
        goes_on: print the rest to nowhere; a verb that does no more than print ends instead.
    """

    def __init__(self, stream: Any, *, goes_on: bool) -> None:
        self._stream = stream
        self._goes_on = goes_on

    def write(self, text: str) -> int:
        if text == "":
            return 0  # Typer asks so what it has, and would swallow that nothing can be written
        try:
            return int(self._stream.write(text))
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._lose(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lose(self, error: OSError) -> None:
        """Nothing more can be written: what is left in buffers, and what children print, goes to nowhere."""
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        if error.errno == errno.EPIPE:
            if not self._goes_on:
                raise error
            return
        if not self._goes_on:
            what, why = "what is printed cannot be written", error.strerror or str(error)
            raise OutputError(what, why=why, fix="make room there, or send it somewhere else") from error
        if self is not sys.stderr:
            warn(f"what is printed cannot be written ({error.strerror}); the run goes on without")


@contextlib.contextmanager
def own_output(*, goes_on: bool) -> Iterator[None]:
    """Inside it, output that nobody can take (a reader that went away, a full disk) is no bug.

    Args:
        goes_on: whether to go on without it, as a run does; otherwise the verb ends.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Stream(stream, goes_on=goes_on) for stream in before)
    try:
        yield
        sys.stdout.flush()
    finally:
        sys.stdout, sys.stderr = before


def print_plan(run_plan: RunPlan) -> None:
    """One line per command: what will run or is skipped, and why."""
    jobs = {job.id: job for job in run_plan.plan.jobs}
    width = max((len(command.job) for command in run_plan.commands), default=0)
    for command in run_plan.commands:
        if command.decision == "not selected":
            continue
        reasons = list(command.reasons)
        if command.decision == "run":
            size = _size_text(command.num_items, len(command.to_do), len(jobs[command.job].tasks), command.info.items)
            say(f"  {command.job:<{width}}  run   {size}{reasons[0]}")
        else:
            verb = "take" if command.decision in ("taken", "shared") else "skip"
            say(f"  {command.job:<{width}}  {verb}  {reasons[0]}")
        for reason in reasons[1:]:
            say(f"  {'':<{width}}        {reason}")


def _size_text(num_items: int, num_to_do: int, num_tasks: int, items: Any) -> str:
    if items is None:
        return ""
    tasks = f" in {num_tasks} tasks" if num_tasks > 1 else ""
    return f"{num_to_do} of {count_text(num_items, 'item')}{tasks} · "
