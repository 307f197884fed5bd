"""One task from its first item to its last: what is done is skipped, what gets done is recorded in manifests.

The same code serves a process of its own (`process`) and the `inprocess` runner (`in_process`).
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rv_core.errors import TaskError
from rv_core.files import uris
from rv_core.pipeline.guard import as_command
from rv_core.pipeline.items import Items, WorkItem, items_by_id
from rv_core.pipeline.pipeline import Pipeline, TaskStopped
from rv_core.plan.graph import WHOLE, split_shares
from rv_core.plan.manifests import (
    DONE_FOLDER,
    Manifest,
    done_names,
    item_file_name,
    manifest_file_name,
    output_json,
    output_problem,
)
from rv_core.record.layout import utc_now
from rv_core.version import __version__

if TYPE_CHECKING:
    from rv_core.files.storage import FileOutput, Storage
    from rv_core.record.event_writer import EventWriter


@dataclass(frozen=True)
class TaskRequest:
    """Which share of which command is to be done, and what was planned for it.

    Args:
        task: the task's id.
        command: the command's name.
        split_index, num_splits: the share.
        attempt: the number of this attempt, from 1.
        run_id: the run, or "" for a task that is run by hand.
        record: `items/<job>.json` of the command.
    """

    task: str
    command: str
    split_index: int
    num_splits: int
    attempt: int
    run_id: str
    record: Mapping[str, Any]


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
        self._graceful = 0
        self._there: set[str] | None = None
        self._items_done = 0
        self._num_items = 1
        self._entries = {entry["id"]: entry for entry in request.record["items"]}
        self._start_item()

    def run(self) -> None:
        """Work through the share.

        Raises:
            TaskError: if the command returns before all its items are worked through.
            TaskStopped: if TERM arrived; what was finished before stays done.
        """
        with as_command(self._pipeline, self._info, self._storage(), self):
            method = getattr(self._pipeline, self._info.name)
            if self._info.items is None:
                self._run_whole(method)
            else:
                self._run_items(method)

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
        self._counts.update(counts)

    def is_done(self, item: WorkItem[Any]) -> bool:
        """Whether the item's manifest is there under its key and its outputs have the recorded sizes."""
        name = manifest_file_name(item.id, item.key)
        if name not in self._manifest_names():
            return False
        manifest = self._read_manifest(name)
        if manifest is None or output_problem(manifest, self._sizes_of(manifest)) is not None:
            return False
        self._items_done += 1
        self._events.write("item", item=item.id, state="skipped")
        return True

    def begin(self, item: WorkItem[Any]) -> None:
        """Start the record of an item; its manifests under other keys go when its first output is touched."""
        self._start_item(item)
        self.key = item.key

    def finish(self, item: WorkItem[Any]) -> None:
        """Write the item's manifest: from here on it is done."""
        self._retire_manifests()
        for stale in self._stale_outputs - set(self._outputs):
            self._delete(stale)
        manifest = self._manifest(item)
        from rv_core.files import by_uri

        by_uri.write_bytes(uris.join(self._root, manifest.name), manifest.to_text().encode())
        self._manifest_names().add(manifest.name.rsplit("/", 1)[1])
        self._items_done += 1
        self._events.write("item", item=item.id, state="done")
        if self._info.items is not None:
            self._events.progress(self._items_done, self._num_items, {})

    def _storage(self) -> Storage:
        """The files of the root, for this attempt; what is written through it are outputs of the item in hand."""
        from rv_core.files.storage import Storage

        tag = f"{self._request.task}.{self._request.attempt}.{os.getpid()}"
        return Storage(self._root, attempt_tag=tag, on_output=self._before_output, on_written=self._after_output)

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

    def _run_items(self, method: Callable[[Items[Any]], None]) -> None:
        share = self._share()
        self._num_items = len(share)
        items: Items[Any] = Items(share, self)
        method(items)
        if items.num_left:
            raise TaskError(
                f"{self._request.command} returned with {items.num_left} of {len(share)} items not worked through",
                fix="a command has to loop over all of its items; asking for the next one marks the one before as done",
            )

    def _share(self) -> list[WorkItem[Any]]:
        request = self._request
        entries = split_shares(request.record["items"], request.num_splits, lambda entry: str(entry["group"]))
        values = items_by_id(self._pipeline, request.command)
        return [
            WorkItem(entry["id"], entry["key"], entry["group"], values[entry["id"]][1])
            for entry in entries[request.split_index]
        ]

    def _start_item(self, item: WorkItem[Any] | None = None) -> None:
        self._item = item
        self._outputs: dict[str, FileOutput] = {}
        self._stale_outputs: set[str] = set()
        self._is_retired = False
        self._counts: dict[str, float] = {}
        self._started = (utc_now(), time.monotonic(), time.process_time())

    def _before_output(self, name: str) -> None:
        self._retire_manifests()

    def _after_output(self, name: str, output: FileOutput) -> None:
        self._outputs[name] = output

    def _retire_manifests(self) -> None:
        """Delete the manifests of the item in hand under every key, before the first of its outputs changes.

        Otherwise, with outputs of another config half written, going back to the first config would find its manifest.
        """
        if self._is_retired or self._item is None:
            return
        self._is_retired = True
        prefix = f"{item_file_name(self._item.id)}."
        for name in [
            n for n in self._manifest_names() if n.startswith(prefix) and n.count(".") == prefix.count(".") + 1
        ]:
            manifest = self._read_manifest(name)
            if manifest is not None:
                self._stale_outputs |= {output["path"] for output in manifest.outputs}
            self._delete(f"{DONE_FOLDER}/{self._request.command}/{name}")
            self._manifest_names().discard(name)

    def _manifest_names(self) -> set[str]:
        if self._there is None:
            self._there = done_names(self._root, self._request.command)
        return self._there

    def _read_manifest(self, name: str) -> Manifest | None:
        from rv_core.files import by_uri

        uri = uris.join(self._root, DONE_FOLDER, self._request.command, name)
        try:
            return Manifest.from_text(by_uri.read_bytes(uri)) if by_uri.exists(uri) else None
        except (ValueError, KeyError, TypeError):
            return None

    def _sizes_of(self, manifest: Manifest) -> dict[str, int]:
        from rv_core.files import by_uri

        infos = {o["path"]: by_uri.stat(uris.join(self._root, o["path"])) for o in manifest.outputs}
        return {path: info.size for path, info in infos.items() if info is not None}

    def _delete(self, name: str) -> None:
        from rv_core.files import by_uri

        by_uri.delete(uris.join(self._root, name))

    def _manifest(self, item: WorkItem[Any]) -> Manifest:
        from rv_core.config.values import to_plain

        started, monotonic, cpu = self._started
        record = self._request.record
        parts = {name: record[name] for name in ("version", "reads", "inputs", "requires")}
        if self._info.items is not None:
            parts |= {"item": to_plain(item.value), "item_inputs": self._entries[item.id]["inputs"]}
        return Manifest(
            command=self._request.command,
            item=item.id,
            key=item.key,
            outputs=tuple(output_json(output) for output in self._outputs.values()),
            parts=parts,
            counts=dict(self._counts),
            timings={
                "started": started,
                "ended": utc_now(),
                "duration_s": round(time.monotonic() - monotonic, 3),
                "cpu_s": round(time.process_time() - cpu, 3),
            },
            versions={"python": platform_version(), "rv-core": __version__},
            run_id=self._request.run_id,
            task=self._request.task,
            attempt=self._request.attempt,
        )


def platform_version() -> str:
    """The version of Python, for instance `3.11.7`; with the implementation's name where that is not CPython."""
    version = ".".join(map(str, sys.version_info[:3]))
    return version if sys.implementation.name == "cpython" else f"{platform.python_implementation()} {version}"
