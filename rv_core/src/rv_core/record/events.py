"""Events of a run: read and folded into the state of each task. They are written by `event_writer.EventWriter`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

from rv_core import state_json
from rv_core.files.problems import open_no_stream
from rv_core.record.event_writer import Event
from rv_core.wording import shortened

#: A reason is for people; whoever raises an error with a whole file in its text finds more of it in the log.
MAX_REASON_LENGTH = 2000
#: Neither a process, a byte count nor a number of seconds comes to this.
_TOO_LARGE = 1 << 53

TaskState = Literal[
    "waiting", "submitted", "running", "done", "failed", "stopped", "lost", "skipped", "cancelled", "unknown"
]


def seconds_of(text: str) -> float:
    """The time of an event in seconds since 1970; 0.0 where the text is no ISO 8601 time."""
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return 0.0
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except OverflowError:
        return 0.0


def task_and_attempt(name: str) -> tuple[str, int] | None:
    """The task id and the attempt that an event or log file's name speaks of; None for any other name."""
    stem = name.rsplit(".", 1)[0]
    task, _, attempt = stem.rpartition(".")
    return (task, int(attempt)) if task and attempt.isdecimal() and attempt.isascii() else None


def parse_lines(data: bytes) -> list[Event]:
    """The events of some whole lines; a line that is torn or no event is left out."""
    events = []
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        try:
            event = state_json.parse(line)
        except ValueError:
            continue
        # What an engine was seen to say is never in a file.
        if isinstance(event, dict) and isinstance(event.get("event"), str) and event["event"] != "observed":
            events.append(event)
    return events


def read_events(source: str | os.PathLike[str] | bytes) -> list[Event]:
    """The events of a file (a local path) or of a file's bytes.

    A last line without its end is one that is being written or was cut by a kill; it is left out, and so is any line
    that is no event. A file that does not exist holds no events.
    """
    if isinstance(source, bytes):
        return parse_lines(source)
    try:
        with open(os.fspath(source), "rb", opener=open_no_stream) as file:
            return parse_lines(file.read())
    except FileNotFoundError:
        return []


class TaskStatus(NamedTuple):
    """The state of one task, as far as somebody looked.

    Args:
        task: the task's id.
        state: what it is doing or how it ended.
        attempt: the attempt that the rest speaks of, from 1; 0 before the first.
        done, total: how far its command says it is, in whatever it counts; total 0 = it did not say.
        numbers: the numbers that its command reported last, for instance `{"epoch": 3, "loss": 0.4}`.
        started, ended: seconds since 1970; 0.0 = not yet, or not known.
        updated: when the last event was written, in seconds since 1970.
        reason: why it is in this state, in words; "" where the state says it all.
        exit_code: its own exit code (negative: the number of the signal that ended it); None = none known.
        native_id: the id that the runner's engine gave it.
        host, pid: where it runs or ran.
        process_started: what tells that process from a later one of the same number; "" if it did not say.
        items_done: how many of its items it finished itself, skipped ones not included.
        duration_s, cpu_s, max_rss_mib: what a finished attempt cost; 0.0 = not known.
    """

    task: str
    state: TaskState = "waiting"
    attempt: int = 0
    done: float = 0
    total: float = 0
    numbers: Mapping[str, Any] = {}
    started: float = 0.0
    ended: float = 0.0
    reason: str = ""
    exit_code: int | None = None
    native_id: str = ""
    host: str = ""
    pid: int = 0
    process_started: str = ""
    updated: float = 0.0
    items_done: int = 0
    duration_s: float = 0.0
    cpu_s: float = 0.0
    max_rss_mib: float = 0.0


#: States in which nothing more will happen without a new attempt or a new run.
ENDED_STATES: frozenset[TaskState] = frozenset({"done", "failed", "stopped", "lost", "skipped", "cancelled"})


def fold(events: Iterable[Event], status: TaskStatus | None = None, *, task: str = "") -> TaskStatus:
    """What the events of a task say about its state; later events win, a later attempt starts afresh.

    Args:
        events: events of one task in order of time, of one or several attempts, with what `submission.jsonl` says
            about this task among them or not.
        status: the state before these events.
        task: the task's id, where neither `status` nor an event names it.
    """
    status = status or TaskStatus(task)
    for event in events:
        step = _STEPS.get(event["event"])
        moment = seconds_of(event.get("time", ""))
        if step is not None:
            status = step(status, event, moment)
        status = status._replace(updated=max(moment, status.updated))
    return status


def _started(status: TaskStatus, event: Event, moment: float) -> TaskStatus:
    return TaskStatus(
        task=str(event.get("task") or status.task),
        state="running",
        attempt=_int(event.get("attempt")) or status.attempt or 1,
        started=moment,
        native_id=status.native_id,
        host=str(event.get("host") or ""),
        pid=_int(event.get("pid")),
        process_started=str(event.get("process_started") or ""),
    )


def _progressed(status: TaskStatus, event: Event, moment: float) -> TaskStatus:
    numbers = event.get("numbers")
    return status._replace(
        done=_float(event.get("done")),
        total=_float(event.get("total")),
        numbers=numbers if isinstance(numbers, dict) else {},
    )


def _item(status: TaskStatus, event: Event, moment: float) -> TaskStatus:
    return status._replace(items_done=status.items_done + 1) if event.get("state") == "done" else status


def _finished(status: TaskStatus, event: Event, moment: float) -> TaskStatus:
    costs = {name: _float(event.get(name)) for name in ("duration_s", "cpu_s", "max_rss_mib")}
    return status._replace(state="done", ended=moment, reason="", exit_code=0, **costs)  # type: ignore[arg-type]


def _failed(status: TaskStatus, event: Event, moment: float) -> TaskStatus:
    state: TaskState = "stopped" if event["event"] == "stopped" else "failed"
    reason, exit_code = _reason(event), _code(event.get("exit_code"))
    return status._replace(state=state, ended=moment, reason=reason, exit_code=exit_code)


def _submitted(status: TaskStatus, event: Event, moment: float) -> TaskStatus:
    native_id = str(event.get("native_id") or status.native_id)
    state: TaskState = "submitted" if status.state == "waiting" else status.state
    return status._replace(task=status.task or str(event.get("task") or ""), state=state, native_id=native_id)


def _reported(status: TaskStatus, event: Event, moment: float) -> TaskStatus:
    """What the runner saw. The task's own account of its end, where there is one, says more and stays."""
    native_id = str(event.get("native_id") or status.native_id)
    status = status._replace(task=status.task or str(event.get("task") or ""), native_id=native_id)
    exit_code = _code(event.get("exit_code"))
    if status.state == "done" and exit_code not in (None, 0):
        said = _reason(event) or f"its process ended with exit code {exit_code}"
        return status._replace(state="failed", exit_code=exit_code, reason=f"after it had finished: {said}")
    if exit_code is None or (status.state in ENDED_STATES and status.exit_code is not None):
        return status._replace(reason=status.reason or _reason(event))
    state: TaskState = "done" if exit_code == 0 else "stopped" if exit_code == 75 else "failed"
    reason = status.reason or _reason(event)
    return status._replace(state=state, ended=status.ended or moment, exit_code=exit_code, reason=reason)


def _observed(status: TaskStatus, event: Event, moment: float) -> TaskStatus:
    """What an engine was asked for, by somebody who looks on; never written to a file."""
    reason = _reason(event) or (status.reason if status.state == event["state"] else "")
    exit_code = _code(event.get("exit_code"))
    ended = (status.ended or moment) if event["state"] in ENDED_STATES else 0.0
    status = status._replace(task=status.task or str(event["task"]), state=event["state"], reason=reason, ended=ended)
    return status if exit_code is None else status._replace(exit_code=exit_code)


def _cancelled(status: TaskStatus, event: Event, moment: float) -> TaskStatus:
    if status.state in ENDED_STATES:
        return status
    return status._replace(state="cancelled", ended=moment, reason=_reason(event) or "cancelled")


_STEPS: dict[str, Callable[[TaskStatus, Event, float], TaskStatus]] = {
    "started": _started,
    "progress": _progressed,
    "item": _item,
    "finished": _finished,
    "failed": _failed,
    "stopped": _failed,
    "submitted": _submitted,
    "reported": _reported,
    "observed": _observed,
    "cancelled": _cancelled,
}


def _reason(event: Event) -> str:
    return shortened(str(event.get("reason") or ""), MAX_REASON_LENGTH)


def _int(value: Any) -> int:
    return value if type(value) is int and 0 <= value < _TOO_LARGE else 0


def _code(value: Any) -> int | None:
    return value if type(value) is int and abs(value) < _TOO_LARGE else None


def _float(value: Any) -> float:
    """A number that something may be counted or measured in; 0.0 for anything else, such as infinity."""
    if isinstance(value, str):
        return 0.0
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return number if abs(number) < _TOO_LARGE else 0.0
