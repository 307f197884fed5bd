"""One task from its first item to its last: what is done is skipped, what gets done is recorded in manifests.

The same code serves a process of its own (`process`) and the `inprocess` runner (`in_process`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rv_core.errors import TaskError
from rv_core.files import uris
from rv_core.pipeline.guard import ConfigWatch, as_command
from rv_core.pipeline.items import Items, WorkItem, items_by_id
from rv_core.pipeline.pipeline import Pipeline, TaskStopped, siblings_of
from rv_core.plan.shares import WHOLE, split_shares
from rv_core.record.layout import RESERVED
from rv_core.task.inputs import TaskRequest
from rv_core.task.item_evidence import ItemEvidence

if TYPE_CHECKING:
    from rv_core.files.storage import Storage
    from rv_core.record.event_writer import EventWriter
    from rv_core.task.taking import Gifts


class TaskExecution:
    """Runs one share of one command and writes its manifests; what `Items` and the pipeline's methods report to.

    Args:
        pipeline: the pipeline, built from the run's config.
        request: what to do.
        events: where to report.
    """

    def __init__(self, pipeline: Pipeline, request: TaskRequest, events: EventWriter) -> None:
        self.key = ""
        self.stop_requested = False
        self._pipeline = pipeline
        self._request = request
        self._events = events
        self._info = type(pipeline).commands()[request.command]
        self._root: str = pipeline.config.root_uri
        self._config = ConfigWatch(pipeline.config, self._info)
        self._graceful = 0
        self._items_done = 0
        self._num_items = 1
        self._gifts = self._gifts_of(request)
        self._evidence = _evidence_class(self._root)(
            self._root,
            request,
            has_items=self._info.items is not None,
            on_done=self._done,
            siblings=siblings_of(type(pipeline).commands(), request.command),
        )

    def run(self) -> None:
        """Work through the share.

        Raises:
            TaskError: if the command returns before all its items are worked through, or writes outputs past them.
            TaskStopped: if TERM arrived; what was finished before stays done.
        """
        with as_command(self._pipeline, self._info, self._storage(), self):
            method = getattr(self._pipeline, self._info.name)
            try:
                if self._info.items is None:
                    self._run_whole(method)
                else:
                    self._run_items(method)
            except BaseException:
                self._evidence.abandon()
                raise

    def stop(self) -> None:
        """Called when TERM arrives (in the main thread): stop here, or tell the command if it saves its state itself."""
        self.stop_requested = True
        if not self._graceful:
            raise TaskStopped("stopped by TERM")

    @contextmanager
    def stop_gracefully(self) -> Iterator[None]:
        """A context in which TERM only sets `stop_requested`; leaving it without having stopped stops the task."""
        self._graceful += 1
        try:
            yield
        finally:
            self._graceful -= 1
        if self.stop_requested and not self._graceful:
            raise TaskStopped("stopped by TERM")

    def progress(self, done: int, total: int, numbers: Mapping[str, float]) -> None:
        """Report progress: of the whole command, or within the item in hand."""
        if self._info.items is None:
            self._events.progress(done, total, numbers)
        else:
            share = done / total if total else 0.0
            self._events.progress(self._items_done + min(share, 0.999), self._num_items, numbers)

    def record(self, counts: Mapping[str, float]) -> None:
        """Keep numbers for the manifest of the item in hand."""
        self._evidence.record(counts)

    def is_done(self, item: WorkItem[Any]) -> bool:
        """Whether the item's manifest is there under its key and its outputs have the recorded sizes."""
        if not self._evidence.is_done(item):
            return False
        self._give(item)
        self._items_done += 1
        self._events.write("item", item=item.id, state="skipped")
        return True

    def begin(self, item: WorkItem[Any]) -> None:
        """The item is in hand from here on."""
        self._evidence.begin(item)
        self.key = item.key

    def finish(self, item: WorkItem[Any]) -> None:
        """The item is complete; it counts as done when that is certain (see `ItemEvidence`)."""
        self._config.check(is_end=False)
        self._evidence.finish()

    def _give(self, item: WorkItem[Any]) -> None:
        """What was done for other pipelines of the run too is put under their roots."""
        if self._gifts is not None:
            self._gifts.give(item)

    def _done(self, item: WorkItem[Any]) -> None:
        self._give(item)
        self._items_done += 1
        self._events.write("item", item=item.id, state="done")
        if self._info.items is not None:
            self._events.progress(self._items_done, self._num_items, {})

    def _gifts_of(self, request: TaskRequest) -> Gifts | None:
        if not request.record.get("also_for"):
            return None
        from rv_core.task.taking import Gifts

        return Gifts(self._root, request)

    def _storage(self) -> Storage:
        """The files of the root, for this attempt; what is written through it are outputs of the item in hand."""
        from rv_core.files.storage import Storage

        tag = f"{self._request.task}.{self._request.attempt}.{os.getpid()}"
        return Storage(
            self._root,
            attempt_tag=tag,
            reserved=RESERVED,
            on_output=self._evidence.before_output,
            on_placing=self._evidence.before_placing,
            on_written=self._evidence.after_output,
            on_bytes=self._evidence.hold,
            on_look=self._evidence.put_held,
        )

    def _run_whole(self, method: Callable[[], None]) -> None:
        entries = [*self._request.record["items"], *self._request.record["done"]]
        item: WorkItem[None] = WorkItem(WHOLE, entries[0]["key"], "", None)
        if self.is_done(item):
            return
        self.begin(item)
        method()
        if self.stop_requested:
            raise TaskStopped("stopped by TERM")
        self.finish(item)
        self._close()

    def _run_items(self, method: Callable[[Items[Any]], None]) -> None:
        share = self._share()
        self._num_items = len(share)
        items: Items[Any] = Items(share, self)
        method(items)
        if items.num_left:
            raise TaskError(
                f"{self._request.command} returned with {items.num_left} of {len(share)} items not worked through",
                fix="a command has to loop over all of its items",
            )
        self._close()

    def _close(self) -> None:
        self._config.check(is_end=True)
        self._evidence.close()

    def _share(self) -> list[WorkItem[Any]]:
        request = self._request
        entries = split_shares(request.record["items"], request.num_splits, lambda entry: str(entry["group"]))
        values = items_by_id(self._pipeline, request.command)
        if strange := next((entry["id"] for entry in entries[request.split_index] if entry["id"] not in values), None):
            raise TaskError(
                f"the record of this run names an item that {request.command} does not have: {strange}",
                fix="run the same command as before: it makes a new record",
            )
        return [
            WorkItem(entry["id"], entry["key"], entry["group"], values[entry["id"]][1])
            for entry in entries[request.split_index]
        ]


def _evidence_class(root_uri: str) -> type[ItemEvidence]:
    """What keeps the evidence of a share: another class where the root is in a store, and each request is a wait."""
    if uris.scheme_of(uris.expand(root_uri)) in ("", "file", "memory"):
        return ItemEvidence
    from rv_core.task.remote.store_evidence import StoreEvidence

    return StoreEvidence
