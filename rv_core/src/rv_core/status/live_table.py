"""The display on a terminal: a table with a line per job, drawn with rich. The only module besides `cli` to import it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rv_core.record.events import TaskState, TaskStatus
from rv_core.record.progress import Change, JobProgress, RunProgress, by_pipeline
from rv_core.wording import count_text, duration_text, exit_text, numbers_text, printable, rate_text

STYLES: dict[TaskState, str] = {
    "waiting": "dim",
    "submitted": "blue",
    "running": "cyan",
    "done": "green",
    "skipped": "green",
    "failed": "bold red",
    "lost": "bold red",
    "stopped": "yellow",
    "cancelled": "yellow",
    "unknown": "magenta",
}
MAX_FAILED_SHOWN = 5
_BAR_WIDTH, _PADDING = 16, 2
_COLUMNS = ("job", "state", "", "done", "rate", "time", "left")
#: Columns that a narrow terminal goes without, in this order; the names of jobs are cut before the last of them goes.
_GIVEN_UP_FIRST = ("", "rate", "left", "time")
_SHORTEST_NAME = 12
#: Jobs in these states are left out first where the terminal is too low for all.
_LEFT_OUT_FIRST: Sequence[TaskState] = ("done", "waiting", "submitted", "cancelled", "running")


class LiveDisplay:
    """Redraws a table in place.

    Args:
        stream: the terminal.
        console: a console to use instead of one made for the stream.
        clock: seconds since 1970.
    """

    def __init__(
        self, stream: TextIO | None, *, console: Console | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._console = console or Console(file=stream)
        self._clock = clock
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="ellipsis")
        self._drawn_at = float("-inf")

    def start(self) -> None:
        """Take over the lower lines of the terminal."""
        self._live.start()

    def draw(self, progress: RunProgress, changes: Iterable[Change], *, is_last: bool = False) -> None:
        """Draw the table anew."""
        height = None if is_last else max(4, self._console.height - 2 - MAX_FAILED_SHOWN)
        table = run_table(progress.jobs.values(), self._clock(), max_rows=height, width=self._console.width)
        self._live.update(table, refresh=True)

    def stop(self) -> None:
        """Leave the last table on the screen and give the terminal back."""
        self._live.stop()


def run_table(
    jobs: Iterable[JobProgress], now: float, *, max_rows: int | None = None, width: int | None = None
) -> RenderableType:
    """The table of all jobs; below it the numbers of those that run or have ended as one task, and failed ones.

    Where there are more jobs than lines, and several pipelines, a line is a pipeline, and below stands how far all are.

    Args:
        jobs: in the order of the plan.
        now: seconds since 1970.
        max_rows: so many jobs at most; the others are counted in a last line.
        width: columns of the terminal; None is wide enough for everything.
    """
    jobs = list(jobs)
    is_crowded = max_rows is not None and len(jobs) > max_rows
    pipelines = by_pipeline(jobs) if is_crowded else []
    lines = pipelines if len(pipelines) > 1 else jobs
    shown = _fitting(lines, max_rows)
    rows = [_cells(job, now) for job in shown]
    heads = ("job" if lines is jobs else "pipeline", *_COLUMNS[1:])
    widths = [max([len(name), *(_width_of(row[place]) for row in rows)]) for place, name in enumerate(heads)]
    kept = _columns_for(widths, width)
    table = Table(box=None, pad_edge=False, show_header=True, header_style="dim", padding=(0, _PADDING, 0, 0))
    rest = sum(widths[place] + _PADDING for place in kept[1:]) + _PADDING
    name_width = widths[0] if width is None else max(1, min(widths[0], width - rest))
    table.add_column(heads[0], no_wrap=True, width=name_width)
    for place in kept[1:]:
        side: Literal["left", "right"] = "right" if place > 2 else "left"
        table.add_column(_COLUMNS[place], no_wrap=True, width=widths[place], justify=side)
    for job, row in zip(shown, rows, strict=True):
        table.add_row(_end_of(printable(job.plan.job), name_width), *(row[place] for place in kept[1:]))
    left_out = len(lines) - len(shown)
    noun = "more job" if lines is jobs else "more pipeline"
    below = [Text(f"… and {count_text(left_out, noun)}", style="dim")] if left_out else []
    below += [] if lines is jobs else [Text(_totals(pipelines, jobs), style="dim")]
    return Group(table, *below, *_note_lines(shown, width), *_failed_lines(jobs))


def _totals(pipelines: Sequence[JobProgress], jobs: Sequence[JobProgress]) -> str:
    """How far all are: `6 pipelines, 18 jobs: 4 done, 2 running, 12 waiting; 40/66 items`."""
    states = Counter(job.state for job in jobs)
    ordered = ", ".join(f"{states[state]} {state}" for state in STYLES if states[state])
    items = sum(job.items_done for job in jobs), sum(job.plan.items_total for job in jobs)
    return f"{count_text(len(pipelines), 'pipeline')}, {count_text(len(jobs), 'job')}: {ordered}; {items[0]}/{items[1]} items"


def _end_of(name: str, width: int) -> Text:
    """A name that may be too long: its end, which is the command, tells more than its beginning."""
    return Text(name if len(name) <= width else f"…{name[len(name) - width + 1 :]}")


def _width_of(cell: RenderableType) -> int:
    return cell.cell_len if isinstance(cell, Text) else _BAR_WIDTH


def _columns_for(widths: Sequence[int], width: int | None) -> list[int]:
    """The columns, by their places, that a terminal has room for; names of jobs may be cut to fit."""
    kept = list(range(len(widths)))
    for name in _GIVEN_UP_FIRST:
        name_width = widths[0] if not name else min(widths[0], _SHORTEST_NAME)
        needed = name_width + _PADDING + sum(widths[place] + _PADDING for place in kept[1:])
        if width is None or needed <= width:
            break
        kept.remove(_COLUMNS.index(name))
    return kept


def _cells(job: JobProgress, now: float) -> list[RenderableType]:
    state = job.state
    style = STYLES[state]
    return [
        Text(printable(job.plan.job)),
        Text(state, style=style),
        ProgressBar(total=1.0, completed=job.fraction(), width=_BAR_WIDTH, complete_style=style, finished_style=style),
        Text(job.count_text),
        Text(rate_text(job.rate(now)) if job.plan.items_total > 1 else ""),
        Text(duration_text(job.elapsed_s(now))),
        Text(duration_text(job.remaining_s(now))),
    ]


def _note_lines(jobs: Iterable[JobProgress], width: int | None) -> list[Text]:
    """What jobs report, a line each: in the table it would leave no room on a terminal of 80 columns.

    Where a line is too long the name of its job is cut before the numbers are, of which the first tell most.
    """
    lines = []
    for job in jobs:
        notes = _notes(job) if job.state == "running" or job.is_told_by_numbers else ""
        if notes:
            name = printable(job.plan.job)
            if width is not None:
                name = _end_of(name, max(_SHORTEST_NAME, width - len(notes) - 2)).plain
            lines.append(Text(f"{name}: {notes}", style="dim", no_wrap=True, overflow="ellipsis"))
    return lines


def _notes(job: JobProgress) -> str:
    counts = job.counts
    parts = [numbers_text(job.numbers)] if job.numbers else []
    if job.plan.num_tasks > 1 and job.state != "done":
        states: tuple[TaskState, ...] = ("running", "submitted", "failed", "lost", "stopped", "unknown")
        parts += [f"{counts[state]} {state}" for state in states if counts[state]]
    return "  ".join(parts)


def _fitting(jobs: list[JobProgress], max_rows: int | None) -> list[JobProgress]:
    if max_rows is None or len(jobs) <= max_rows:
        return jobs
    order = {state: rank for rank, state in enumerate(_LEFT_OUT_FIRST)}
    by_worth = sorted(jobs, key=lambda job: -order.get(job.state, len(order)))
    kept = {id(job) for job in by_worth[:max_rows]}
    return [job for job in jobs if id(job) in kept]


def _failed_lines(jobs: Iterable[JobProgress]) -> list[Text]:
    failed = [task for job in jobs for task in job.bad_tasks()]
    lines = [_failed_line(task) for task in failed[:MAX_FAILED_SHOWN]]
    hidden = len(failed) - len(lines)
    return [*lines, Text(f"… and {count_text(hidden, 'more failed task')}", style="red")] if hidden else lines


def _failed_line(task: TaskStatus) -> Text:
    why = ", ".join(filter(None, [exit_text(task.exit_code), task.reason]))
    return Text(
        f"{printable(task.task)} {task.state}: {printable(why)}", style="red", no_wrap=True, overflow="ellipsis"
    )
