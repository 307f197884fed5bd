"""Taking over what was done in another root: outputs that are checked, linked or copied, then manifests of this root.

The process that plans does so for what is there before a run begins; a task does so for other pipelines of its run, which
need what it does.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

from rv_core.files import by_uri, uris
from rv_core.files.storage import FileOutput, Storage
from rv_core.pipeline.items import WorkItem
from rv_core.plan.manifests import Manifest, manifest_name
from rv_core.record.layout import RESERVED
from rv_core.task.inputs import TaskRequest
from rv_core.task.item_evidence import ItemEvidence


class Taker:
    """Takes items of one command over into a root, as a task would leave them there. For one thread.

    Args:
        root_uri: the root that gets them; it must be the run's.
        run_id: the run.
        command: the command.
        items: id -> key of those that may be taken.
    """

    def __init__(self, root_uri: str, run_id: str, command: str, items: dict[str, str]) -> None:
        entries = [{"id": name, "key": key, "inputs": {}} for name, key in items.items()]
        request = TaskRequest("", command, 0, 1, 1, run_id, {"items": entries}, root_uri)
        self._evidence = ItemEvidence(root_uri, request, has_items=True, on_done=lambda item: None)
        self._storage = Storage(
            root_uri,
            attempt_tag=f"taken.{os.getpid()}",
            reserved=RESERVED,
            on_output=self._evidence.before_output,
            on_written=self._evidence.after_output,
        )

    def take(self, item: WorkItem[Any], source_root: str, manifest: Manifest) -> None:
        """Take one item over; it counts as done when the next one is taken, or with `close`.

        Nothing in the root is touched before all its outputs are there, aside, and are what the manifest says.

        Args:
            item: the item.
            source_root: the root that has done it; it is only read.
            manifest: the manifest there.

        Raises:
            UnusableSourceError: if an output there is missing, unreadable or not as recorded.
            StorageError: if the root cannot be written to.
            UsageError: if another run has taken the root.
        """
        with ExitStack() as stack:
            copies = [
                stack.enter_context(self._storage.copied(uris.join(source_root, output["path"]), _as_output(output)))
                for output in manifest.outputs
            ]
            self._evidence.begin(item)
            for put in copies:
                put()
            self._evidence.finish(manifest._replace(taken_from=source_root))

    def is_done(self, item: WorkItem[Any]) -> bool:
        """Whether the item is done in the root that gets it."""
        return self._evidence.is_done(item)

    def close(self) -> None:
        """What was taken is done."""
        self._evidence.close()


class Gifts:
    """What a task does for other roots of its run too: put there as soon as it is done here.

    Args:
        root_uri: the root of the task.
        request: the task; its record names the other roots.
    """

    def __init__(self, root_uri: str, request: TaskRequest) -> None:
        self._root = root_uri
        self._request = request
        self._wanted = {root: frozenset(names) for root, names in request.record["also_for"].items()}
        self._takers: dict[str, Taker] = {}

    def give(self, item: WorkItem[Any]) -> None:
        """Put an item that is done here under the roots that need it and have it not yet.

        Raises:
            StorageError: if it cannot be written there, or an output here is not what the manifest says any more.
            UsageError: if another run has taken such a root.
        """
        roots = [root for root, wanted in self._wanted.items() if item.id in wanted]
        takers = [taker for taker in map(self._taker, roots) if not taker.is_done(item)]
        if not takers:
            return
        name = manifest_name(self._request.command, item.id, item.key)
        manifest = Manifest.from_text(by_uri.read_bytes(uris.join(self._root, name)))
        for taker in takers:
            taker.take(item, self._root, manifest)
            taker.close()

    def _taker(self, root_uri: str) -> Taker:
        if root_uri not in self._takers:
            items = {entry["id"]: entry["key"] for entry in self._request.record["items"]}
            self._takers[root_uri] = Taker(root_uri, self._request.run_id, self._request.command, items)
        return self._takers[root_uri]


def _as_output(plain: Any) -> FileOutput:
    return FileOutput(plain["path"], plain["bytes"], plain["sha256"], bool(plain.get("may_change")))
