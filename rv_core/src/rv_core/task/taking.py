"""Taking over what was done in another root: outputs that are checked, linked or copied, and then manifests of this root."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from rv_core.files import uris
from rv_core.files.storage import FileOutput, Storage
from rv_core.pipeline.items import WorkItem
from rv_core.plan.manifests import Manifest
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
            self._evidence.finish(replace(manifest, taken_from=source_root))

    def close(self) -> None:
        """What was taken is done."""
        self._evidence.close()


def _as_output(plain: Any) -> FileOutput:
    return FileOutput(plain["path"], plain["bytes"], plain["sha256"], bool(plain.get("may_change")))
