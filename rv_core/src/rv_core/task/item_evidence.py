"""What the items of a share leave: the outputs of the item in hand, and the manifests that say what is done."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rv_core.files import uris
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
    from rv_core.files.storage import FileOutput
    from rv_core.pipeline.items import WorkItem
    from rv_core.task.execution import TaskRequest


class ItemEvidence:
    """The evidence of one share of one command: what is done already, and what its items leave.

    Args:
        root_uri: the pipeline's root.
        request: what the task is to do.
        has_items: whether the command has items.
    """

    def __init__(self, root_uri: str, request: TaskRequest, *, has_items: bool) -> None:
        self._root = root_uri
        self._request = request
        self._has_items = has_items
        self._there: set[str] | None = None
        self._entries = {entry["id"]: entry for entry in request.record["items"]}
        self.begin(None)

    def is_done(self, item: WorkItem[Any]) -> bool:
        """Whether the item's manifest is there under its key and its outputs have the recorded sizes."""
        name = manifest_file_name(item.id, item.key)
        if name not in self._manifest_names():
            return False
        manifest = self._read_manifest(name)
        return manifest is not None and output_problem(manifest, self._sizes_of(manifest)) is None

    def begin(self, item: WorkItem[Any] | None) -> None:
        """Start the record of an item; its manifests under other keys go when its first output is touched."""
        self._item = item
        self._outputs: dict[str, FileOutput] = {}
        self._stale_outputs: set[str] = set()
        self._is_retired = False
        self._counts: dict[str, float] = {}
        self._started = (utc_now(), time.monotonic(), time.process_time())

    def record(self, counts: Mapping[str, float]) -> None:
        """Keep numbers for the manifest of the item in hand."""
        self._counts.update(counts)

    def before_output(self, name: str) -> None:
        """The first byte of an output is about to be written."""
        self._retire_manifests()

    def after_output(self, name: str, output: FileOutput) -> None:
        """An output is in place."""
        self._outputs[name] = output

    def finish(self, item: WorkItem[Any]) -> None:
        """Write the item's manifest: from here on it is done."""
        self._retire_manifests()
        for stale in self._stale_outputs - set(self._outputs):
            self._delete(stale)
        manifest = self._manifest(item)
        from rv_core.files import by_uri

        by_uri.write_bytes(uris.join(self._root, manifest.name), manifest.to_text().encode())
        self._manifest_names().add(manifest.name.rsplit("/", 1)[1])

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
        if self._has_items:
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
