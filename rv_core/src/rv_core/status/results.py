"""What the pipelines of a run say of their results, as values and as lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rv_core.files import uris
from rv_core.pipeline.summary import Summary, SummaryTable, Value
from rv_core.status.page import Line, line
from rv_core.wording import cell_text, printable, shortened, typed

MAX_ROWS = 60
#: Of more pipelines than this only the numbers and warnings are shown: they are compared, not read.
MAX_IN_FULL = 3
_MAX_CELL = 40


class PipelineSummary(NamedTuple):
    """The results of one pipeline of a run.

    Args:
        pipeline: its name.
        root_uri: where they lie.
        summary: what it says of them; None if that cannot be told.
        problem: why not; "" if it can.
    """

    pipeline: str
    root_uri: str
    summary: Summary | None = None
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; command lines name the root."""
        plain = None if self.summary is None else self.summary.to_json()
        if plain is not None:
            plain["commands"] = {what: filled(text, self.root_uri) for what, text in plain["commands"].items()}
        return {"pipeline": self.pipeline, "root_uri": self.root_uri, "problem": self.problem, "summary": plain}


def filled(command_line: str, root: str) -> str:
    """A command line of a summary with the root in place of `{root}`, quoted where a shell needs that."""
    return command_line.replace("{root}", typed(root))


def results_lines(found: Sequence[PipelineSummary]) -> Iterator[Line]:
    """The lines about what pipelines say: in full, or of many pipelines the numbers and warnings."""
    told = [(one, one.summary) for one in found if one.summary is not None]
    width = max((len(one.pipeline) for one, _ in told), default=0)
    for index, (one, summary) in enumerate(told):
        if len(told) <= MAX_IN_FULL:
            yield from (Line(()), *summary_lines(summary, root=one.root_uri, title=f"results of {one.pipeline}"))
            continue
        yield from () if index else (Line(()),)
        yield line(f"{one.pipeline:<{width}}  {numbers_line(summary.numbers)}")
        yield from (line(f"{'':<{width}}  warning: {text}", "bold yellow") for text in summary.warnings)


def summary_lines(summary: Summary, *, root: str, title: str) -> list[Line]:
    """The lines of a summary.

    Args:
        summary: what a pipeline says.
        root: where the files lie, and what is typed for `{root}`.
        title: what stands above it.
    """
    lines = [line(title, "bold")]
    if summary.numbers:
        lines.append(line(f"  {numbers_line(summary.numbers)}"))
    for table in summary.tables:
        lines += [Line(()), *_table_lines(table)]
    warnings = [line(f"  warning: {text}", "bold yellow") for text in summary.warnings]
    notes = [line(f"  {text}") for text in summary.notes]
    lines += [Line(()), *warnings, *notes] if warnings or notes else []
    if summary.files:
        lines += [Line(()), *_pairs({what: uris.join(root, name) for name, what in summary.files.items()})]
    for what, command in summary.commands.items():
        lines += [Line(()), line(f"  {what}:"), line(f"    {filled(command, root)}")]
    return lines


def numbers_line(numbers: Mapping[str, Value]) -> str:
    """The numbers in one line: `test macro F1 0.712, test accuracy 0.758`."""
    return ", ".join(f"{name} {cell_text(value)}" for name, value in numbers.items())


def _pairs(pairs: Mapping[str, str]) -> list[Line]:
    width = max(map(len, pairs))
    return [line(f"  {what:<{width}}  {value}") for what, value in pairs.items()]


def _table_lines(table: SummaryTable) -> list[Line]:
    rows = [[_cell(value) for value in row] for row in table.rows[:MAX_ROWS]]
    columns = [_cell(name) for name in table.columns]
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    is_text = [any(isinstance(row[index], str) for row in table.rows) for index in range(len(columns))]
    lines = [line(f"  {table.title}")] if table.title else []
    lines.append(line(_row(columns, widths, is_text), "dim"))
    lines += [line(_row(row, widths, is_text)) for row in rows]
    hidden = len(table.rows) - len(rows)
    return [*lines, line(f"  … and {hidden} more: --json lists all", "dim")] if hidden > 0 else lines


def _cell(value: Value) -> str:
    return shortened(printable(cell_text(value)), _MAX_CELL)


def _row(cells: Sequence[str], widths: Sequence[int], is_text: Iterable[bool]) -> str:
    placed = zip(cells, widths, is_text, strict=True)
    return "  " + "  ".join(f"{cell:<{width}}" if text else f"{cell:>{width}}" for cell, width, text in placed).rstrip()
