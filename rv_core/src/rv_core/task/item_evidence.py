"""What the items of a share leave: the outputs of the item in hand, and the manifests that say what is done."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rv_core.errors import UsageError
from rv_core.files import by_uri, uris
from rv_core.plan.manifests import (
    DONE_FOLDER,
    Manifest,
    done_names,
    is_named,
    manifest_at,
    manifest_file_name,
    names_of_item,
    output_json,
    output_problem,
)
from rv_core.record.layout import utc_now
from rv_core.task.inputs import RootCheck
from rv_core.version import __version__, python_version

if TYPE_CHECKING:
    from rv_core.errors import TaskError
    from rv_core.files.storage import FileOutput
    from rv_core.pipeline.items import WorkItem
    from rv_core.task.input_watch import InputWatch
    from rv_core.task.inputs import TaskRequest


@dataclass(repr=False, eq=False)
class Work:
    """One item from the moment when it is in hand: what is known of it when its manifest is written."""

    item: WorkItem[Any]
    started: tuple[str, float, float]
    outputs: dict[str, FileOutput] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    #: Outputs of earlier manifests of the item: name -> (size in bytes, when the manifest was written).
    earlier: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    inputs: InputWatch | None = None
    is_retired: bool = False
    manifest: Manifest | None = None


class ItemEvidence:
    """The evidence of one share of one command: what is done already, and what its items leave.

    An item that is complete is done at once where its outputs show that the command works on one item after the other:
    when the next one is begun. The last item, an item without outputs and whatever comes after one are done when the
    command has returned, so that a task that fails behind its loop, or asked for items ahead, leaves no untrue manifest.

    Args:
        root_uri: the pipeline's root.
        request: what the task is to do.
        has_items: whether the command has items.
        on_done: called with every item whose manifest was written.
        siblings: commands that may have had an item of the same id: their manifests of it are retired too.
    """

    def __init__(
        self,
        root_uri: str,
        request: TaskRequest,
        *,
        has_items: bool,
        on_done: Callable[[WorkItem[Any]], object],
        siblings: Sequence[str] = (),
    ) -> None:
        self._root = root_uri
        self._request = request
        self._has_items, self._on_done, self._siblings = has_items, on_done, siblings
        self._there: set[str] | None = None
        self._entries = {entry["id"]: entry for entry in request.record["items"]}
        self._in_hand: Work | None = None
        self._complete: list[Work] = []
        self._has_begun = False
        self._being_written: dict[str, Work] = {}
        self._written_by: dict[str, str] = {}
        self._problem: TaskError | None = None
        self._pid = os.getpid()
        self._check_root = RootCheck(root_uri, request.run_id)

    def is_done(self, item: WorkItem[Any]) -> bool:
        """Whether the item's manifest is there under its key and its outputs have the recorded sizes."""
        name = manifest_file_name(item.id, item.key)
        if name not in self._manifest_names():
            return False
        manifest = self._read_manifest(name)
        return manifest is not None and output_problem(manifest, self._sizes_of(manifest)) is None

    def begin(self, item: WorkItem[Any]) -> None:
        """The item is in hand; those before it that have outputs are done."""
        if self._in_hand is not None and self._in_hand.outputs:
            raise self._wrong("asked_again", item.id)
        if all(work.outputs for work in self._complete):
            self._settle()
        self._has_begun = True
        self._look_at_root()
        self._in_hand = Work(item, (utc_now(), time.monotonic(), time.process_time()), inputs=self._inputs_of(item))
        if self._in_hand.inputs is not None:
            self._in_hand.inputs.begin()

    def record(self, counts: Mapping[str, float]) -> None:
        """Keep numbers for the manifest of the item in hand."""
        if self._in_hand is not None:
            self._in_hand.counts.update(counts)

    def before_output(self, name: str) -> None:
        """The first byte of an output is about to be written.

        Raises:
            TaskError: if it cannot be an output of the item in hand.
        """
        work = self._claim(name)
        self._check_root()
        self._retire_manifests(work)
        self._being_written[name] = work

    def _claim(self, name: str) -> Work:
        """The item in hand, if an output can be its own."""
        if os.getpid() != self._pid:
            raise self._wrong("written_elsewhere", name)
        work = self._in_hand
        if work is None:
            raise self._wrong("no_item_in_hand", name, is_begun=self._has_begun)
        writer = self._written_by.setdefault(name, work.item.id)
        if writer != work.item.id:
            self._forget(writer)
            raise self._wrong("shared_output", name, writer, work.item.id)
        return work

    def before_placing(self, name: str) -> None:
        """An output that took its time is written and about to be put in place, unless another run has taken the root."""
        self._check_root()

    def after_output(self, name: str, output: FileOutput) -> None:
        """An output is in place.

        Raises:
            TaskError: if the item that was in hand at its beginning no longer is.
        """
        begun, now = self._being_written.pop(name, self._in_hand), self._in_hand
        if begun is None or begun is not now:
            raise self._wrong("written_late", name, begun.item.id if begun else "", now.item.id if now else "")
        begun.outputs[name] = output

    def finish(self, taken: Manifest | None = None) -> None:
        """The item in hand is complete.

        Args:
            taken: the manifest of an item that was done elsewhere and is taken over with all that it says.

        Raises:
            TaskError: if an input of it has changed since the plan.
        """
        work = self._in_hand
        assert work is not None
        if work.inputs is not None:
            work.inputs.end()
        outputs = tuple(output_json(output) for output in work.outputs.values())
        work.manifest = self._manifest(work, outputs) if taken is None else taken._replace(outputs=outputs)
        self._in_hand = None
        self._complete.append(work)

    def close(self) -> None:
        """The command has returned: what is complete is done.

        Raises:
            TaskError: if an output was written that belongs to no item, also where the command has swallowed the error.
        """
        if self._problem is not None:
            raise self._problem
        self._write_manifests()

    def hold(self, output: FileOutput, data: bytes) -> bool:
        """Take an output to put it later; here they are put at once, by whoever asks."""
        return False

    def put_held(self) -> None:
        """Put what is held back: somebody looks at the root."""

    def abandon(self) -> None:
        """The command ends by an exception; what counted as done before stays so."""

    def _settle(self) -> None:
        """What is complete may be done from here on."""
        self._write_manifests()

    def _look_at_root(self) -> None:
        """Refuse to begin an item under a root that another run has taken."""
        self._check_root()

    def _wrong(self, what: str, *arguments: Any, **named: Any) -> TaskError:
        """An error of `misuse`, kept for `close`: in a pool of threads it may never be seen."""
        from rv_core.task import misuse

        error: TaskError = getattr(misuse, what)(self._request.command, *arguments, **named)
        self._problem = self._problem or error
        return error

    def _inputs_of(self, item: WorkItem[Any]) -> InputWatch | None:
        record = self._request.record
        states = record.get("input_states")  # a record of 0.1.0 has none
        if not states:
            return None
        from rv_core.task.input_watch import InputWatch

        own = self._entries[item.id]["inputs"] if self._has_items else {}
        return InputWatch(states, {**record["inputs"], **own}, self._root)

    @cached_property
    def _named(self) -> Callable[[Any], Any]:
        """Names URIs under the root in plain values as the plan has: relative to it, or in full."""
        named = [self._request.record["inputs"], *(entry["inputs"] for entry in self._entries.values())]
        if not any(uri.startswith("./") for inputs in named for uri in inputs):
            return lambda plain: plain
        from rv_core.plan.keys import InRoot

        return InRoot(self._root, (f"{self._root}/",))

    def _write_manifests(self) -> None:
        """Write the manifests of what is complete, in order: from here on it is done, if the root is still this run's."""
        if not self._complete:
            return
        written: dict[str, bytes] = {}
        for work in self._complete:
            self._check_root()
            manifest = work.manifest
            assert manifest is not None
            self._retire_manifests(work)
            self._delete_stale(work)
            written[manifest.name] = manifest.to_text().encode()
            by_uri.write_bytes(uris.join(self._root, manifest.name), written[manifest.name])
            self._manifest_names().add(manifest.name.rsplit("/", 1)[1])
        complete, self._complete = self._complete, []
        self._look_again(written)
        for work in complete:
            self._on_done(work.item)

    def _look_again(self, written: Mapping[str, bytes]) -> None:
        """Take back what was written since the last look if another run has the root: it may have replaced the outputs."""
        try:
            self._check_root()
        except UsageError:
            for name, text in written.items():
                if by_uri.read_bytes(uris.join(self._root, name)) == text:
                    self._delete(name)
            raise

    def _retire_manifests(self, work: Work) -> None:
        """Delete the manifests of an item under every key, before the first of its outputs changes.

        Else a run that is interrupted, and then goes back to an earlier config, finds its manifest beside outputs of the
        later one. A task that writes nothing and fails leaves what was done before.
        """
        if work.is_retired:
            return
        for name in names_of_item(list(self._manifest_names()), work.item.id):
            self._remember_outputs(work, name)
            self._delete(f"{DONE_FOLDER}/{self._request.command}/{name}")
            self._manifest_names().discard(name)
        for command in self._siblings:
            for name in names_of_item(done_names(self._root, command), work.item.id):
                self._delete(f"{DONE_FOLDER}/{command}/{name}")
        work.is_retired = True  # not before: where one cannot be deleted, the next try begins with it

    def _forget(self, item: str) -> None:
        """Take back that an item of the share is done."""
        name = manifest_file_name(item, self._entries[item]["key"])
        self._delete(f"{DONE_FOLDER}/{self._request.command}/{name}")
        self._manifest_names().discard(name)

    def _remember_outputs(self, work: Work, name: str) -> None:
        manifest = self._read_manifest(name)
        if manifest is None or not manifest.outputs:
            return
        info = by_uri.stat(uris.join(self._root, DONE_FOLDER, self._request.command, name))
        written_ns = info.mtime_ns if info else None
        work.earlier.update({output["path"]: (output["bytes"], written_ns) for output in manifest.outputs})

    def _delete_stale(self, work: Work) -> None:
        """Delete outputs of earlier manifests of an item that it no longer writes, unless they are somebody else's now."""
        for path in work.earlier.keys() - self._written_by.keys():
            size, written_ns = work.earlier[path]
            info = by_uri.stat(uris.join(self._root, path))
            if info is None or info.size != size:
                continue
            changed_ns = info.mtime_ns or 0
            # What was written after the manifest that names it was not written by the item; a store may know seconds only.
            is_later = bool(changed_ns and written_ns) and changed_ns > (written_ns or 0)
            if not is_later and not (changed_ns % 1_000_000_000 == 0 and is_named(self._root, path)):
                self._delete(path)

    def _manifest_names(self) -> set[str]:
        if self._there is None:
            self._there = done_names(self._root, self._request.command)
        return self._there

    def _read_manifest(self, name: str) -> Manifest | None:
        return manifest_at(uris.join(self._root, DONE_FOLDER, self._request.command, name))

    def _sizes_of(self, manifest: Manifest) -> dict[str, int]:
        places = {uris.join(self._root, output["path"]): output["path"] for output in manifest.outputs}
        return {places[uri]: info.size for uri, info in by_uri.stat_many(places).items()}

    def _delete(self, name: str) -> None:
        from rv_core.files import local

        # What lies behind a link out of the root is not ours, whoever wrote its name into a manifest.
        root = uris.expand(self._root)
        if not (uris.is_local(root) and local.leaves_folder(uris.local_path(root), name.split("/")[:-1])):
            by_uri.delete(uris.join(self._root, name))

    def _manifest(self, work: Work, outputs: tuple[Mapping[str, Any], ...]) -> Manifest:
        from rv_core.config.values import to_short

        item = work.item
        started, monotonic, cpu = work.started
        record = self._request.record
        parts = {name: record[name] for name in ("version", "reads", "inputs", "requires")}
        if self._has_items:
            inputs = self._entries[item.id]["inputs"]
            parts |= {"item": self._named(to_short(item.value)), "item_inputs": inputs}
        return Manifest(
            command=self._request.command,
            item=item.id,
            key=item.key,
            outputs=outputs,
            parts=parts,
            counts=dict(work.counts),
            timings={
                "started": started,
                "ended": utc_now(),
                "duration_s": round(time.monotonic() - monotonic, 3),
                "cpu_s": round(time.process_time() - cpu, 3),
            },
            versions={"python": python_version(), "rv-core": __version__},
            run_id=self._request.run_id,
            task=self._request.task,
            attempt=self._request.attempt,
        )
