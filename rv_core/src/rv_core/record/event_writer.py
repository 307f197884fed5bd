"""What happens in a run, written as JSON Lines by whoever sees it.

A file of events has one writer: `events/<task>.<attempt>.jsonl` is written by that attempt of that task alone,
`events/submission.jsonl` by the process that submitted the run (and by `rv cancel`, which appends one line). Events
inform people; what is done is read from manifests. So an event that cannot be written never fails a task: it is
counted, said once on stderr, and kept in `EventWriter.problem`.

Imports nothing heavy: every task pays for this module.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

from rv_core.errors import StorageError

Event = dict[str, Any]

#: The name, without suffix, of the file that the submitting process writes.
SUBMISSION = "submission"
SUFFIX = ".jsonl"

PROGRESS_INTERVAL_S = 0.2
SYNC_INTERVAL_S = 30.0
#: An object of events that has this size is complete, and the next ones go into another: put whole each time, one object
#: alone would cost the square of its length.
SEGMENT_BYTES = 65536

#: Events that are frequent and change no state: not worth an object of their own in a store.
_QUIET_EVENTS = frozenset({"progress", "item"})
#: Fields that hold names which rv made itself, so that nothing in them has to be made unreadable.
_OWN_FIELDS = frozenset(
    {"time", "event", "run_id", "task", "job", "host", "item", "state", "native_id", "process_started"}
)


def timestamp(seconds: float) -> str:
    """A time in seconds since 1970 as UTC ISO 8601 with milliseconds, for instance `2026-03-01T12:00:00.250Z`."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{milliseconds:03d}Z"


def segment_name(name: str, number: int) -> str:
    """The name of a further object of an event file in a store, counted from 1: `a.1.jsonl`, `a.1+2.jsonl` and so on."""
    return name if number == 1 else f"{name.removesuffix(SUFFIX)}+{number}{SUFFIX}"


def file_name(task: str, attempt: int) -> str:
    """The name of the event file of one attempt of a task, for instance `greet.chip.3-of-5.1.jsonl`."""
    return f"{task}.{attempt}{SUFFIX}"


class EventWriter:
    """Appends events to one file, a whole line at a time, and keeps a copy of it in an object store up to date.

    May be used from several threads. Without an event, `sync` is not called by itself: a process that is quiet for
    long may call it from a timer.

    Args:
        path_or_uri: the event file: a local path, or a URI for a run that has no folder on this machine.
        remote_uri: where the same events are put: at once when a state changes, else at most every 30 s. What exceeds
            64 KiB goes into further objects (`segment_name`), but for `submission.jsonl`.
        clock: the time in seconds since 1970.
    """

    def __init__(
        self,
        path_or_uri: str | os.PathLike[str],
        *,
        remote_uri: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        target = os.fspath(path_or_uri)
        is_remote = "://" in target and not target.startswith("file://")
        self.remote_uri = target if is_remote else remote_uri
        self.problem = ""
        #: Called with (done, total, numbers) after progress was written: as often as that, and not in between.
        self.on_progress: Callable[[Any, Any, Mapping[str, Any]], None] | None = None
        self._clock = clock
        self._lock = threading.Lock()
        self._copy: list[bytes] | None = [] if self.remote_uri else None
        self._segment = 1
        self._synced = (0, float("-inf"))  # (lines of the segment put, when)
        self._progress_at = float("-inf")
        self._held_progress: Event | None = None
        self._is_torn = False
        self._path = "" if is_remote else target.removeprefix("file://")
        self._descriptor = self._open(self._path) if self._path else -1

    def write(self, event: str, **fields: Any) -> None:
        """Append one event; the time is added. Texts are redacted, values that are not JSON become text."""
        with self._lock:
            self._release_progress()
            self._append({"time": timestamp(self._clock()), "event": event, **fields})
        self.sync(is_urgent=event not in _QUIET_EVENTS)

    def progress(self, done: float, total: float, numbers: Mapping[str, Any] | None = None) -> None:
        """Report progress. At most 5 a second are written; the last one (`done == total`) always is."""
        now = self._clock()
        line = {
            "time": timestamp(now),
            "event": "progress",
            "done": _number(done),
            "total": _number(total),
            "numbers": {str(name): _number(value) for name, value in (numbers or {}).items()},
        }
        with self._lock:
            if done != total and 0 <= now - self._progress_at < PROGRESS_INTERVAL_S:
                self._held_progress = line
                return
            self._held_progress = None
            self._progress_at = now
            self._append(line)
        self.sync()
        if self.on_progress is not None:
            self.on_progress(line["done"], line["total"], line["numbers"])

    def sync(self, *, is_urgent: bool = False) -> None:
        """Put the events of the last segment to the remote URI, if there is one, something is new, and it is due or urgent."""
        if self._copy is None:
            return
        with self._lock:
            num_lines, (num_put, put_at) = len(self._copy), self._synced
            if num_lines == num_put or not (is_urgent or self._clock() - put_at >= SYNC_INTERVAL_S):
                return
            data, now = b"".join(self._copy), self._clock()
            if not self._put(data):
                self._synced = (num_put, now)
                return
            self._synced = (num_lines, now)
            if len(data) >= SEGMENT_BYTES and not self.remote_uri.endswith(f"/{SUBMISSION}{SUFFIX}"):
                self._copy.clear()
                self._segment += 1
                self._synced = (0, now)

    def close(self) -> None:
        """Write what was held back, put the last lines and close the file. Closing twice does nothing."""
        with self._lock:
            self._release_progress()
        self.sync(is_urgent=True)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def reopen(self) -> None:
        """Open the file again where it was closed: something happened after what was to be the end."""
        if self._descriptor < 0 and self._path:
            self._descriptor = self._open(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _release_progress(self) -> None:
        if self._held_progress is not None:
            self._append(self._held_progress)
            self._held_progress = None

    def _append(self, event: Event) -> None:
        text = json.dumps(_redacted(event), ensure_ascii=False, default=_plain)
        # An undecodable byte of a file name or an exit message arrives as a lone surrogate.
        line = text.encode("utf-8", "backslashreplace") + b"\n"
        if self._copy is not None:
            self._copy.append(line)
        if self._descriptor >= 0:
            self._append_line(line)

    def _append_line(self, line: bytes) -> None:
        line = b"\n" + line if self._is_torn else line
        try:
            self._is_torn = os.write(self._descriptor, line) != len(line)
        except OSError as error:
            self._say_once(f"cannot write an event: {error}")

    def _open(self, path: str) -> int:
        from rv_core.files.stores import refuse_links_out

        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            refuse_links_out(path)
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            descriptor = os.open(path, flags, 0o666)
            size = os.fstat(descriptor).st_size
            self._is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        except (OSError, StorageError) as error:
            self._say_once(f"cannot write events: {error}")
            return -1
        return descriptor

    def _put(self, data: bytes) -> bool:
        from rv_core.files import by_uri

        try:
            by_uri.write_bytes(segment_name(self.remote_uri, self._segment), data)
        except Exception as error:  # noqa: BLE001 - stores raise errors of their own; none of them may fail a task
            self._say_once(f"cannot put events to {self.remote_uri}: {error}")
            return False
        return True

    def _say_once(self, problem: str) -> None:
        if not self.problem:
            print(f"rv: warning: {_redact(problem)}", file=sys.stderr)
        self.problem = problem


def _number(value: Any) -> Any:
    """A JSON number, from a numpy or torch scalar too; what JSON cannot hold (NaN, infinity) as text."""
    if isinstance(value, bool | int | str) or value is None:
        return value
    number = float(value)
    return number if abs(number) < float("inf") else str(number)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


def _redact(text: str) -> str:
    from rv_core.redaction import redact

    return redact(text)


def _redacted(event: Event) -> Event:
    return {name: value if name in _OWN_FIELDS else _redacted_value(value) for name, value in event.items()}


def _redacted_value(value: Any) -> Any:
    if isinstance(value, str):
        return _redact(value) if value else value
    if isinstance(value, Mapping):
        return {str(name): _redacted_value(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted_value(inner) for inner in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return str(value)
    return value
