"""The state of a run as lines for people: the same words on a terminal and in a file, with styles beside them."""

from __future__ import annotations

import os
import shlex
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rv_core.plan.shares import split_text
from rv_core.record.events import TaskState, TaskStatus
from rv_core.record.run_record import RunRecord
from rv_core.redaction import redact
from rv_core.status.values import JobStatus, RunStatus, RunSummary, created_s
from rv_core.wording import count_text, duration_text, exit_text, numbers_text, printable, rate_text

MAX_FAILED_TASKS = 10
#: Of so many failed tasks the last lines of the log are shown too.
MAX_EXCERPTS = 3
EXCERPT_LINES = 5
#: A split is called slow where it took this many times the median, and at least this long.
_SLOW_FACTOR, _SLOW_AT_LEAST_S = 2.0, 10.0

_STATE_STYLES = {
    "running": "cyan",
    "submitted": "blue",
    "done": "green",
    "failed": "bold red",
    "lost": "bold red",
    "stopped": "yellow",
    "cancelled": "yellow",
    "unknown": "magenta",
}


class Line(NamedTuple):
    """One line: pieces of text, each with the name of a rich style or ""."""

    pieces: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """The line without styles."""
        return "".join(text for text, _ in self.pieces).rstrip()


def line(text: str, style: str = "") -> Line:
    """A line of one style; foreign text in it is made safe to print, and redacted."""
    return Line(((redact(printable(text)), style),))


def status_lines(status: RunStatus, *, root: str, excerpts: dict[str, list[str]], now: float) -> list[Line]:
    """A run: who and when, a line per job, the failed tasks, the next step.

    Args:
        status: the run's state.
        root: the root as the user typed it, for the commands to type.
        excerpts: task -> last lines of its log.
        now: seconds since 1970.
    """
    return [
        *_header(status, now),
        Line(()),
        *_job_table(status.jobs, now),
        *_failed(status, root, excerpts),
        *_notes(status),
        Line(()),
        line(f"next: {next_step(status, root)}"),
    ]


def _header(status: RunStatus, now: float) -> list[Line]:
    record = status.files.record
    took = (
        duration_text((status.ended if status.state != "running" else now) - status.started) if status.started else ""
    )
    ago = f", {duration_text(max(0, now - created_s(record)))} ago" if created_s(record) else ""
    roots = [f"{name} at {root}" for name, root in status.files.roots.items()]
    rows = [
        ("when", f"{moment_text(created_s(record)) or record.created}{ago}{f', took {took}' if took else ''}"),
        ("who", f"{record.user or 'somebody'} on {record.host or 'an unknown host'}"),
        ("runner", record.runner + (f", profile {record.profile}" if record.profile else "")),
        *(("pipeline", root) for root in roots),
    ]
    state = (status.state, _STATE_STYLES.get(status.state, ""))
    return [Line((("run ", ""), (record.run_id, "bold"), ("  ", ""), state)), *(line(f"  {k:<9} {v}") for k, v in rows)]


def _notes(status: RunStatus) -> list[Line]:
    notes = [status.note, status.problem]
    return [Line(()), *(line(note, "yellow") for note in notes if note)] if any(notes) else []


def moment_text(seconds: float) -> str:
    """A moment in local time, `2026-03-01 12:03:04`; "" for none."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else ""


def _job_table(jobs: Sequence[JobStatus], now: float) -> list[Line]:
    rows = [("job", "state", "items", "time", "rate", ""), *(_job_row(job, now) for job in jobs)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = []
    for index, row in enumerate(rows):
        left = f"  {row[0]:<{widths[0]}}  "
        right = f"  {row[2]:>{widths[2]}}  {row[3]:>{widths[3]}}  {row[4]:>{widths[4]}}  {row[5]}"
        styles = ("dim",) * 3 if index == 0 else ("", _STATE_STYLES.get(row[1], "dim"), "")
        texts = (left, f"{row[1]:<{widths[1]}}", right)
        lines.append(Line(tuple(zip(texts, styles, strict=True))))
    return lines


def _job_row(job: JobStatus, now: float) -> tuple[str, str, str, str, str, str]:
    progress = job.progress()
    rate = rate_text(progress.rate(now)) if job.items_total > 1 and job.tasks else ""
    items = f"{job.items_done}/{job.items_total}"
    elapsed = duration_text(progress.elapsed_s(now)) if job.tasks else ""
    return printable(job.job), job.state, items, elapsed, rate, redact(printable(_job_notes(job, now)))


def _job_notes(job: JobStatus, now: float) -> str:
    if not job.tasks:
        return job.reason
    progress = job.progress()
    counts = Counter(task.state for task in job.tasks)
    remaining = duration_text(progress.remaining_s(now))
    parts = [
        _counts_text(counts) if len(job.tasks) > 1 and job.state != "done" else "",
        f"{len(job.tasks)} tasks" if len(job.tasks) > 1 and job.state == "done" else "",
        f"step {progress.count_text}" if progress.step[1] > 1 and job.state == "running" else "",
        numbers_text(progress.numbers) if len(job.tasks) == 1 or job.state == "running" else "",
        f"about {remaining} left" if remaining else "",
        _slow_note(job.tasks),
        _common_reason(job.tasks),
        job.reason,
    ]
    return ", ".join(filter(None, parts))


def _counts_text(counts: Counter[TaskState]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items(), key=lambda entry: -entry[1]))


def _common_reason(tasks: Iterable[TaskStatus]) -> str:
    """Why tasks wait, or what else is to be known of them; why they failed or were cancelled is told below the table."""
    told_below = ("failed", "lost", "cancelled")
    reasons = Counter(task.reason for task in tasks if task.reason and task.state not in told_below)
    return "; ".join(reason for reason, _ in reasons.most_common(2))


def _slow_note(tasks: Sequence[TaskStatus]) -> str:
    took = {task.task: task.duration_s or task.ended - task.started for task in tasks if task.state == "done"}
    if len(took) < 3:
        return ""
    slowest = max(took, key=lambda task: took[task])
    median = statistics.median(took.values())
    if took[slowest] < _SLOW_AT_LEAST_S or took[slowest] < _SLOW_FACTOR * median:
        return ""
    return f"{split_text(slowest)} took {duration_text(took[slowest])}, the median is {duration_text(median)}"


def _failed(status: RunStatus, root: str, excerpts: dict[str, list[str]]) -> list[Line]:
    failed = status.failed_tasks()
    if not failed:
        return []
    lines = [Line(()), line("failed tasks", "bold")]
    for task in failed[:MAX_FAILED_TASKS]:
        lines += _failed_task(task, status, root, excerpts.get(task.task, []))
    hidden = len(failed) - MAX_FAILED_TASKS
    return [*lines, line(f"  and {count_text(hidden, 'more failed task')}: --json lists all")] if hidden > 0 else lines


def _failed_task(task: TaskStatus, status: RunStatus, root: str, excerpt: Sequence[str]) -> list[Line]:
    facts = [
        split_text(task.task),
        exit_explanation(task.exit_code, task.reason),
        count_text(task.attempt, "attempt") if task.attempt else "",
        f"on {task.host}" if task.host and task.host != status.files.record.host else "",
    ]
    log = f"rv logs {shlex.quote(root)} {task.task} --run {status.files.run_id}"
    return [
        Line((("  ", ""), (printable(task.task), "bold"), (f" {task.state}", "red"))),
        line("    " + ", ".join(filter(None, facts))) if any(facts) else Line(()),
        *([line(f"    {task.reason}", "red")] if task.reason else []),
        *(line(f"    | {text}", "dim") for text in excerpt),
        line(f"    log: {log}"),
    ]


def exit_explanation(exit_code: int | None, reason: str = "") -> str:
    """An exit code in words, with the usual cause where the reason does not tell."""
    text = exit_text(exit_code)
    is_killed = exit_code in (-9, 137)
    return f"{text}, often because memory ran out" if is_killed and "memory" not in reason.lower() else text


def next_step(status: RunStatus, root: str) -> str:
    """What a person would do now."""
    quoted = shlex.quote(root)
    if status.state == "done" and any(job.state == "done" and job.items_done < job.items_total for job in status.jobs):
        return f"the same command does again what was removed or replaced: {command_text(status.files.record)}"
    if status.state == "done":
        return f"nothing is left to do; results are under {', '.join(dict.fromkeys(status.files.roots.values()))}"
    if status.state in ("running", "submitted"):
        return f"rv status {quoted} --watch follows it, rv cancel {quoted} ends it"
    if status.state == "unknown" and not status.problem:
        return f"the same command looks at everything, and does what is not done: {command_text(status.files.record)}"
    if status.state == "unknown":
        return f"make it possible to ask {status.files.record.runner}, then run rv status {quoted} again"
    return f"the same command goes on from here: {command_text(status.files.record)}"


def command_text(record: RunRecord) -> str:
    """The command line of a run as it can be typed again, with its folder where that is another one than here."""
    if not record.argv:
        return "rv run …"
    words = [os.path.basename(record.argv[0]) or "rv", *record.argv[1:]]
    if words[0] in ("__main__.py", "-m", "-c"):
        words[0] = "rv"
    command = " ".join(shlex.quote(word) for word in words)
    return command if record.cwd in ("", os.getcwd()) else f"{command} (in {record.cwd})"


def runs_lines(summaries: Sequence[RunSummary]) -> list[Line]:
    """A table of runs."""
    head = ("run", "state", "when", "who", "runner", "pipelines")
    rows = [head, *(_run_row(summary) for summary in summaries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = []
    for index, row in enumerate(rows):
        cells = [f"{cell:<{width}}  " for cell, width in zip(row, widths, strict=True)]
        styles = ["dim"] * len(head) if index == 0 else ["", _STATE_STYLES.get(row[1], ""), "", "", "", ""]
        lines.append(Line(tuple(zip(cells, styles, strict=True))))
    return lines


def _run_row(summary: RunSummary) -> tuple[str, ...]:
    who = f"{summary.user}@{summary.host}" if summary.user or summary.host else ""
    when = moment_text(created_s(summary)) or summary.created
    cells = (summary.run_id, summary.state, when, who, summary.runner, ", ".join(summary.pipelines))
    return tuple(redact(printable(cell)) for cell in cells)
