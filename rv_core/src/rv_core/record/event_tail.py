"""Following the events of a run as they are written, and what they add up to for each task."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from rv_core.record.event_writer import SUBMISSION, SUFFIX, Event
from rv_core.record.events import TaskStatus, fold, parse_lines, seconds_of, task_and_attempt

#: Stem of an event file (`submission`, or `<task>.<attempt>`) -> its new events, in order.
News = dict[str, list[Event]]

#: A folder of 10,000 files takes some 5 ms to list; listing it again waits so long that it takes 1 % of a core.
_LISTING_SHARE = 0.01
#: A folder whose time changed this shortly before it was listed may have got another file within the same tick.
_MTIME_TICK_NS = 100_000_000
_SEGMENT = re.compile(r"(.*\.\d+)\+(\d{1,9})\.jsonl", re.ASCII)
_LAST_EVENTS = frozenset({"finished", "failed", "stopped"})


class Tail(Protocol):
    """Where new events come from."""

    def poll(self, *, whole: bool = False) -> News:
        """The events that were added since the last call.

        Args:
            whole: look at every file, also at those that seem to have ended or are listed rarely: for the last look.
        """


class EventTail:
    """Follows the event files of a run folder on this machine; each poll reads only what was appended.

    Cheap for ten thousand tasks: the folder is listed only after it changed and at most for 1 % of the time, and only
    files whose task has not ended are looked at again.

    Args:
        run_dir: the run folder; its events are in `events/` below. It need not exist yet.
    """

    def __init__(self, run_dir: str | os.PathLike[str]) -> None:
        self._folder = os.path.join(os.fspath(run_dir), "events")
        self._offsets: dict[str, int] = {}
        self._growing: set[str] = set()
        self._listed_mtime_ns = -1
        self._list_again_at = 0.0

    def poll(self, *, whole: bool = False) -> News:
        """See `Tail.poll`."""
        self._list(is_forced=whole)
        names = list(self._offsets) if whole else list(self._growing)
        found = ((name, self._read(name)) for name in names)
        return {name.removesuffix(SUFFIX): events for name, events in found if events}

    def _list(self, *, is_forced: bool) -> None:
        now = time.monotonic()
        if now < self._list_again_at and not is_forced:
            return
        try:
            started_ns, mtime_ns = time.time_ns(), os.stat(self._folder).st_mtime_ns
            if mtime_ns == self._listed_mtime_ns and not is_forced:
                return
            with os.scandir(self._folder) as entries:
                new = [e.name for e in entries if e.name.endswith(SUFFIX) and e.name not in self._offsets]
        except OSError:
            return
        self._offsets.update(dict.fromkeys(new, 0))
        self._growing.update(new)
        self._listed_mtime_ns = mtime_ns if started_ns - mtime_ns > _MTIME_TICK_NS else -1
        self._list_again_at = now + (time.monotonic() - now) / _LISTING_SHARE

    def _read(self, name: str) -> list[Event]:
        path, offset = os.path.join(self._folder, name), self._offsets[name]
        try:
            if os.stat(path).st_size <= offset:
                return []
            with open(path, "rb") as file:
                file.seek(offset)
                data = file.read()
        except OSError:
            return []
        whole_lines = data[: data.rfind(b"\n") + 1]
        self._offsets[name] = offset + len(whole_lines)
        events = parse_lines(whole_lines)
        if events and events[-1]["event"] in _LAST_EVENTS:
            self._growing.discard(name)
        return events


class RemoteEventTail:
    """Follows the event files of a run under a root that is not on this machine; each poll lists and reads what changed.

    Args:
        run_uri: the run's folder, for instance `s3://bucket/out/.rv/runs/<run_id>`.
    """

    def __init__(self, run_uri: str) -> None:
        self._prefix = run_uri.rstrip("/") + "/events/"
        self._versions: dict[str, object] = {}
        self._num_read: dict[str, int] = {}

    def poll(self, *, whole: bool = False) -> News:
        """See `Tail.poll`; one listing and one concurrent read.

        Raises:
            StorageError: if the store cannot be asked.
        """
        from rv_core.files import by_uri

        listed = {name: info for name, info in by_uri.list_files(self._prefix).items() if name.endswith(SUFFIX)}
        changed = [name for name, info in listed.items() if self._versions.get(name) != info]
        contents = by_uri.read_many([self._prefix + name for name in changed])
        self._versions.update({name: listed[name] for name in changed})
        news: News = {}
        for stem, _, name in sorted((*_stem_and_segment(name), name) for name in changed):
            if events := self._new_events(name, contents.get(self._prefix + name, b"")):
                news.setdefault(stem, []).extend(events)
        return news

    def _new_events(self, name: str, data: bytes) -> list[Event]:
        events = parse_lines(data[: data.rfind(b"\n") + 1])
        new = events[self._num_read.get(name, 0) :]
        self._num_read[name] = max(len(events), self._num_read.get(name, 0))
        return new


def _stem_and_segment(name: str) -> tuple[str, int]:
    """Which events an object of a store holds, and which part of them: see `event_writer.segment_name`."""
    found = _SEGMENT.fullmatch(name)
    return (found[1], int(found[2])) if found else (name.removesuffix(SUFFIX), 1)


@dataclass
class _TaskAccount:
    own: TaskStatus
    items: set[str] = field(default_factory=set)
    reports: list[Event] = field(default_factory=list)


class TaskBoard:
    """What the events of a run say about each of its tasks. Feed it with the news of a `Tail`.

    A task's own events count before what the runner reports; a report that is older than the latest attempt is about
    an earlier one and no longer counts.
    """

    def __init__(self) -> None:
        self.run_events: list[Event] = []
        self._accounts: dict[str, _TaskAccount] = {}

    def update(self, news: Mapping[str, list[Event]]) -> set[str]:
        """Take in new events; gives the ids of the tasks that they are about."""
        changed: set[str] = set()
        for stem, events in sorted(news.items(), key=_by_attempt):
            if stem == SUBMISSION:
                changed.update(self._take_submission(events))
            elif named := task_and_attempt(stem + SUFFIX):
                self._take_own(*named, events)
                changed.add(named[0])
        return changed

    def tasks(self) -> Iterator[str]:
        """Ids of the tasks that any event speaks of."""
        return iter(self._accounts)

    def status(self, task: str) -> TaskStatus:
        """The state of a task; *waiting* if no event speaks of it. A cancelled run cancels what had not ended."""
        account = self._accounts.get(task) or _TaskAccount(TaskStatus(task))
        since = account.own.started
        ends = [event for event in self.run_events if event["event"] == "cancelled"]
        later = [event for event in (*account.reports, *ends) if seconds_of(event.get("time", "")) >= since]
        return fold(later, account.own)._replace(updated=account.own.updated)

    def own_status(self, task: str) -> TaskStatus:
        """What a task said of itself, without what its runner reports."""
        account = self._accounts.get(task)
        return account.own if account else TaskStatus(task)

    def items_done(self, task: str) -> int:
        """How many items of the task its events call done, over all attempts; an item counts once."""
        account = self._accounts.get(task)
        return len(account.items) if account else 0

    def is_cancelled(self) -> bool:
        """Whether the run was cancelled."""
        return any(event["event"] == "cancelled" for event in self.run_events)

    def is_over(self) -> bool:
        """Whether the submitting process wrote that the run has ended or was cancelled."""
        return any(event["event"] in ("run_finished", "cancelled") for event in self.run_events)

    def _account(self, task: str) -> _TaskAccount:
        return self._accounts.setdefault(task, _TaskAccount(TaskStatus(task)))

    def _take_own(self, task: str, attempt: int, events: list[Event]) -> None:
        account = self._account(task)
        account.items.update(str(event.get("item")) for event in events if event["event"] == "item")
        if attempt > account.own.attempt:
            account.own = TaskStatus(task, attempt=attempt, native_id=account.own.native_id)
        if attempt == account.own.attempt:
            account.own = fold(events, account.own)

    def _take_submission(self, events: Iterable[Event]) -> Iterator[str]:
        for event in events:
            task = event.get("task")
            if isinstance(task, str) and task:
                self._account(task).reports.append(event)
                yield task
            else:
                self.run_events.append(event)


def _by_attempt(entry: tuple[str, list[Event]]) -> int:
    named = task_and_attempt(entry[0] + SUFFIX)
    return named[1] if named else 0
