"""The sections about a run itself, which every pipeline has: what ran, when, at what cost, on what, with which versions."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rv_core import ReportText, SummaryTable
from rv_core.redaction import redact_values, redact_words
from rv_core.status.values import RunStatus
from rv_core.wording import count_text, duration_text
from rv_report.advice import advice
from rv_report.charts import MAX_BARS
from rv_report.parts import Folded, Lines, Pairs, Part, Section, Timeline
from rv_report.run_facts import JobFacts, PipelineFacts, TaskFacts, started_tasks

#: The tables of tasks and of inputs end after so many rows, and say so.
MAX_ROWS = 500
#: A config with more lines is cut, and says so.
_MAX_LINES = 5000


def run_sections(status: RunStatus, jobs: Sequence[JobFacts], pipelines: Sequence[PipelineFacts]) -> list[Section]:
    """The sections about a run."""
    return [
        Section("Run", [*_about(status), *_stands_out(status, jobs)]),
        Section("Commands and tasks", list(_work(jobs))),
        Section("Data, config and versions", [*_data(pipelines), *_configs(pipelines), *_versions(status)]),
    ]


def _about(status: RunStatus) -> Iterator[Part]:
    record = status.files.record
    took = status.ended - status.started if status.started and status.ended else 0.0
    pairs = [
        ("run", record.run_id),
        ("runner", record.runner + (f", profile {record.profile}" if record.profile else "")),
        ("started", f"{_moment(status.started)}" if status.started else record.created),
        ("took", duration_text(took) if took else "–"),
        ("who", f"{record.user or 'somebody'} on {record.host or 'an unknown host'}"),
        *((f"root of {name}" if name else "root", root) for name, root in status.files.roots.items()),
        ("command", _command(record.argv)),
        ("code", _code(record.code)),
    ]
    yield Pairs([(name, value) for name, value in pairs if value])
    for note in (status.problem, status.note):
        if note:
            yield ReportText(note, "warning")


def _moment(seconds: float) -> str:
    """A moment in UTC, so that the page says the same wherever it is made."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _command(argv: Sequence[str]) -> str:
    words = redact_words(argv)
    if not words:
        return ""
    name = os.path.basename(words[0])
    words[0] = "rv" if name in ("__main__.py", "-m", "-c", "") else name
    return " ".join(shlex.quote(word) for word in words)


def _code(code: Mapping[str, Any]) -> str:
    if not code.get("sha256"):
        return ""
    return f"{code.get('module', 'a module')}, SHA-256 {str(code['sha256'])[:16]}…"


def _stands_out(status: RunStatus, jobs: Sequence[JobFacts]) -> Iterator[Part]:
    failed = status.failed_tasks()
    for task in failed[:20]:
        yield ReportText(f"{task.task} {task.state}: {task.reason or 'no reason is known'}", "warning")
    if len(failed) > 20:
        yield ReportText(f"… and {count_text(len(failed) - 20, 'more task')} that failed", "warning")
    for text in advice(jobs):
        yield ReportText(text, "warning")


def _work(jobs: Sequence[JobFacts]) -> Iterator[Part]:
    yield SummaryTable(
        ["command", "state", "items done", "before this run", "tasks", "elapsed", "CPU", "peak memory", "why it ran"],
        [_job_row(job) for job in jobs],
    )
    tasks = list(started_tasks(jobs))
    if not tasks:
        yield ReportText("No task of this run has started.", "note")
        return
    yield Timeline(jobs)
    if len(tasks) > MAX_BARS:
        yield ReportText(f"The first {MAX_BARS:,} of {len(tasks):,} tasks are drawn.", "note")
    slowest = sorted(tasks, key=lambda task: -task.duration_s)[:MAX_ROWS]
    title = "All tasks" if len(slowest) == len(tasks) else f"The {len(slowest)} longest of {len(tasks):,} tasks"
    columns = ["task", "state", "started after", "elapsed", "CPU", "peak memory", "items", "attempt", "reason"]
    begin = min(task.started for task in tasks)
    rows = [_task_row(task, begin) for task in slowest]
    yield Folded(f"{title}, the longest first", [SummaryTable(columns, rows)])


def _job_row(job: JobFacts) -> list[Any]:
    return [
        job.job,
        job.state,
        f"{job.num_done:,} of {job.num_items:,}",
        job.num_done_before,
        job.num_tasks,
        duration_text(job.elapsed_s) if job.tasks else "–",
        _seconds(job.cpu_s),
        _mebibytes(job.peak_mib),
        job.decision,
    ]


def _task_row(task: TaskFacts, begin: float) -> list[Any]:
    return [
        task.task,
        task.state,
        duration_text(task.started - begin) or "0:00",
        duration_text(task.duration_s),
        _seconds(task.cpu_s),
        _mebibytes(task.max_rss_mib),
        task.items,
        task.attempt,
        task.reason,
    ]


def _seconds(seconds: float) -> str:
    return f"{seconds:,.1f} s" if seconds else "–"


def _mebibytes(mebibytes: float) -> str:
    return f"{mebibytes:,.0f} MiB" if mebibytes else "–"


def _data(pipelines: Sequence[PipelineFacts]) -> Iterator[Part]:
    prints = {uri: what for pipeline in pipelines for uri, what in pipeline.fingerprints.items()}
    damaged = sum(pipeline.damaged for pipeline in pipelines)
    if damaged:
        yield ReportText(
            f"{count_text(damaged, 'file')} of what is done cannot be read; rv status tells more.", "warning"
        )
    if not prints:
        yield ReportText("The commands of this run read no files from elsewhere.", "note")
        return
    rows = [[uri, what] for uri, what in list(prints.items())[:MAX_ROWS]]
    parts: list[Part] = [SummaryTable(["input", "fingerprint"], rows)]
    if len(prints) > MAX_ROWS:
        parts.append(ReportText(f"The first {MAX_ROWS} of {len(prints):,} inputs.", "note"))
    yield Folded(f"{count_text(len(prints), 'input')} and what tells their content", parts)


def _configs(pipelines: Sequence[PipelineFacts]) -> Iterator[Part]:
    for pipeline in pipelines:
        if pipeline.config is None:
            yield ReportText(f"The config of {pipeline.name} cannot be read.", "warning")
            continue
        lines = json.dumps(redact_values(pipeline.config), indent=2, ensure_ascii=False).split("\n")
        parts: list[Part] = [Lines(lines[:_MAX_LINES], f"Config of {pipeline.name}")]
        if len(lines) > _MAX_LINES:
            parts.append(ReportText(f"The first {_MAX_LINES:,} of {len(lines):,} lines.", "note"))
        yield Folded(f"Config of {pipeline.name}", parts)


def _versions(status: RunStatus) -> Iterator[Part]:
    versions = status.files.record.versions
    if versions:
        rows = [[name, str(version)] for name, version in sorted(versions.items())]
        yield Folded("Versions", [SummaryTable(["package", "version"], rows)])
