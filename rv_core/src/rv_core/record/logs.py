"""The logs of a run's tasks: `logs/<task>.<attempt>.log` in run folders on this machine and under remote roots."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from rv_core.errors import StorageError, UsageError, nearest
from rv_core.files import local, uris
from rv_core.files.problems import open_no_stream
from rv_core.plan.shares import natural_order
from rv_core.record.event_tail import TaskBoard
from rv_core.record.events import ENDED_STATES, TaskStatus, task_and_attempt
from rv_core.record.reading import RunFiles, local_dirs, tails
from rv_core.redaction import redact
from rv_core.wording import exit_text, printable

SUFFIX = ".log"
FOLLOW_INTERVAL_S = 0.3
REMOTE_FOLLOW_INTERVAL_S = 5.0
#: So much of the end of a log is looked at for its last lines.
_EXCERPT_BYTES = 65536
_MAX_EXCERPT_LENGTH = 1000
#: Colours and cursor movements that a task's libraries print; they are no text.
_TERMINAL_CODES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")


class TaskLog(NamedTuple):
    """The log of one attempt.

    Args:
        task, attempt: whose it is.
        uri: a path on this machine, or a URI.
        size: bytes.
    """

    task: str
    attempt: int
    uri: str
    size: int


def find_logs(files: RunFiles) -> dict[str, list[TaskLog]]:
    """Every log of a run by task, attempts in order. What lies on this machine goes before its copy in a store."""
    found: dict[tuple[str, int], TaskLog] = {}
    for log in (*_remote_logs(files), *_local_logs(files)):
        found[log.task, log.attempt] = log
    by_task: dict[str, list[TaskLog]] = {}
    for key in sorted(found, key=lambda key: (natural_order(key[0]), key[1])):
        by_task.setdefault(key[0], []).append(found[key])
    return by_task


def _local_logs(files: RunFiles) -> Iterator[TaskLog]:
    for folder in local_dirs(files):
        yield from _logs_in(folder)


def _logs_in(run_dir: str) -> Iterator[TaskLog]:
    folder = os.path.join(run_dir, "logs")
    if not os.path.isdir(folder):
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            named = task_and_attempt(entry.name) if entry.name.endswith(SUFFIX) else None
            info = local.stat(entry.path) if named else None
            if named and info:  # a folder, a pipe or a link that leads nowhere is no log
                yield TaskLog(*named, entry.path, info.size)


def _remote_logs(files: RunFiles) -> Iterator[TaskLog]:
    from rv_core.files import by_uri

    for paths in files.all_paths():
        if uris.is_local(paths.root_uri):
            continue
        folder = uris.join(paths.folder, "logs")
        for name, info in by_uri.list_files(folder).items():
            named = task_and_attempt(name) if name.endswith(SUFFIX) else None
            if named:
                yield TaskLog(*named, uris.join(folder, name), info.size)


def last_lines(uri: str, count: int = 20) -> list[str]:
    """The last lines of a log, safe to print; none if there is no log, or it cannot be read.

    Only line feeds end a line here: a progress bar that rewrites its line a thousand times is one line.

    Args:
        uri: its path or URI; "" for none.
        count: how many lines.
    """
    try:
        start, data = _end_of(uri) if uri else (0, b"")
    except (OSError, StorageError):
        return []
    text = data.decode("utf-8", "replace").rstrip()
    lines = text.split("\n")[1 if start else 0 :] if text else []
    return [printable(clean_line(line), _MAX_EXCERPT_LENGTH) for line in lines[-count:]]


def _end_of(uri: str) -> tuple[int, bytes]:
    """(offset, the bytes from there to the end) of the end of a file."""
    if uris.is_local(uri):
        with open(uris.local_path(uri), "rb", opener=open_no_stream) as file:
            start = max(0, file.seek(0, os.SEEK_END) - _EXCERPT_BYTES)
            file.seek(start)
            return start, file.read()
    from rv_core.files import by_uri

    data = by_uri.read_bytes(uri)
    return max(0, len(data) - _EXCERPT_BYTES), data[-_EXCERPT_BYTES:]


def clean_line(line: str) -> str:
    """A line of a log as it may be printed: no terminal codes, no secrets, of a rewritten line what was there last."""
    shown = line.rstrip("\r\n").rpartition("\r")[2]
    return redact(printable(_TERMINAL_CODES.sub("", shown.expandtabs())))


def resolve_tasks(name: str, files: RunFiles) -> list[str]:
    """The tasks that a user means: one by its id, or those of a job; both also by their end (`train`, `chip.3-of-5`).

    Raises:
        UsageError: if there is none, or if tasks of several jobs end so.
    """
    known = [task.id for task in files.tasks()]
    if name in known:
        return [name]
    meant = [task for task in known if task.endswith(f".{name}")] or [
        task for task in known if _is_split_of(task, name)
    ]
    exact = [task for task in meant if natural_order(task)[0] == name]
    if len({natural_order(task)[0] for task in (exact or meant)}) == 1:
        return exact or meant
    if meant:
        listed = ", ".join(meant[:8]) + (f" and {len(meant) - 8} more" if len(meant) > 8 else "")
        raise UsageError(
            f"{name!r} stands for {len(meant)} tasks", why=listed, fix=f"name one, for instance {meant[0]}"
        )
    shown = ", ".join(known[:8]) + (f" and {len(known) - 8} more" if len(known) > 8 else "") if known else "none"
    near = nearest(name, known) or nearest(name, [task.partition(".")[2] for task in known])
    raise UsageError(
        f"no task named {name!r} in run {files.run_id}; its tasks: {shown}",
        why=_not_in_run(name, files),
        fix=f"did you mean {near!r}?" if near else "",
    )


def _is_split_of(task: str, name: str) -> bool:
    head = natural_order(task)[0]
    return head == name or head.endswith(f".{name}")


def _not_in_run(name: str, files: RunFiles) -> str:
    for _, entry in files.commands():
        if name in (entry["job"], entry["command"]):
            return f"{entry['job']} is not part of this run ({entry['decision']}: {'; '.join(entry['reasons'])})"
    return ""


def choose_attempt(logs: Iterable[TaskLog], attempt: int | None) -> TaskLog:
    """The log of an attempt, the last one if none is named.

    Raises:
        UsageError: if that attempt left no log.
    """
    logs = list(logs)
    if attempt is None:
        return logs[-1]
    for log in logs:
        if log.attempt == attempt:
            return log
    there = ", ".join(str(log.attempt) for log in logs)
    raise UsageError(f"attempt {attempt} of {logs[0].task} left no log", fix=f"attempts with a log: {there}")


def read_lines(log: TaskLog) -> Iterator[str]:
    """The lines of a log, cleaned, one at a time where it lies on this machine."""
    if uris.is_local(log.uri):
        with open(uris.local_path(log.uri), encoding="utf-8", errors="replace", newline="\n") as file:
            yield from map(clean_line, file)
        return
    from rv_core.files import by_uri

    text = by_uri.read_bytes(log.uri).decode("utf-8", "replace")
    yield from map(clean_line, text.removesuffix("\n").split("\n") if text else [])


def why_no_log(status: TaskStatus) -> str:
    """Why a task has no log, in words, from its state."""
    details = ", ".join(filter(None, [exit_text(status.exit_code), status.reason]))
    if status.state in ("waiting", "submitted"):
        return f"the task has not started ({status.state}{': ' + details if details else ''})"
    if status.state == "done" and not status.started:
        return "all its items were done already, so it did not have to run"
    if not status.started:
        return f"the task is {status.state} and never ran{': ' + details if details else ''}"
    return (
        f"the task is {status.state}{': ' + details if details else ''}; its log is not on this machine or was removed"
    )


def follow(
    files: RunFiles, task: str, log: TaskLog | None, *, is_run_over: Callable[[], bool], attempt: int | None = None
) -> Iterator[str]:
    """The lines of a task's log as they are written, over its attempts, until the task ends.

    Args:
        files: the run.
        task: the task's id.
        log: its log so far, if there is one.
        is_run_over: asked every few seconds: whether the run will start nothing more.
        attempt: follow this attempt alone.
    """
    board, sources = TaskBoard(), tails(files)
    reader = _LogReader(log)
    pause_s = FOLLOW_INTERVAL_S if local_dirs(files) else REMOTE_FOLLOW_INTERVAL_S
    ask_at = time.monotonic()
    while True:
        for source in sources:
            board.update(source.poll())
        status = board.status(task)
        has_ended = status.state in ENDED_STATES and status.attempt >= reader.attempt
        if not has_ended and time.monotonic() >= ask_at:
            has_ended, ask_at = is_run_over(), time.monotonic() + 2.0
        yield from reader.new_lines(is_last=has_ended)
        if has_ended:
            return
        if (attempt is None and status.attempt > reader.attempt) or reader.attempt == 0:
            logs = find_logs(files).get(task, [])
            wanted = [found for found in logs if attempt is None or found.attempt == attempt]
            if wanted and wanted[-1].attempt > reader.attempt:
                yield from reader.new_lines(is_last=True)
                reader = _LogReader(wanted[-1])
                continue
        time.sleep(pause_s)


class _LogReader:
    """Reads what was added to a log since the last time."""

    def __init__(self, log: TaskLog | None) -> None:
        self.attempt = log.attempt if log else 0
        self._uri = log.uri if log else ""
        self._offset = 0
        self._rest = b""

    def new_lines(self, *, is_last: bool) -> Iterator[str]:
        """Whole lines only, but for the last look."""
        *lines, self._rest = (self._rest + self._new_bytes()).split(b"\n")
        if is_last and self._rest:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            yield clean_line(line.decode("utf-8", "replace"))

    def _new_bytes(self) -> bytes:
        if not self._uri:
            return b""
        if uris.is_local(self._uri):
            with open(uris.local_path(self._uri), "rb") as file:
                file.seek(self._offset)
                data = file.read()
        else:
            from rv_core.files import by_uri

            data = by_uri.read_bytes(self._uri)[self._offset :]
        self._offset += len(data)
        return data
