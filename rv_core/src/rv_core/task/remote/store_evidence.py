"""The evidence of a share whose root is in a store, where each request is a wait: outputs and manifests go in batches.

What a command writes from memory is held back for a moment and put together with what the next items write, then come
the manifests of these items, together too. An item's manifest is put after all of its outputs, as everywhere. A process that is
killed loses the batch in hand; one that ends by an error, or is asked to stop, puts what was done before it goes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import RLock
from typing import Any

from rv_core.errors import RvError, StorageError
from rv_core.files import asking, by_uri, uris
from rv_core.files.storage import FileOutput
from rv_core.plan import manifest_index
from rv_core.task.item_evidence import ItemEvidence, Work

#: A batch is put when it is so old, has so many items, or holds so much.
_MAX_AGE_S, _MAX_ITEMS, _MAX_BYTES = 0.5, 64, 16 << 20
#: Manifests that are kept for the index, until so much of them is a part of it: still one request.
_MAX_INDEX_BYTES = 3 << 20
#: Larger outputs are put at once.
_MAX_HELD_BYTES = 1 << 20
#: How long a look at the marker holds for the beginning of an item. What is put is preceded by one of its own.
_LOOK_HOLDS_S = 1.0


class StoreEvidence(ItemEvidence):
    """As `ItemEvidence`, with what the items leave put in batches; arguments as there."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._held: dict[str, tuple[Work, bytes]] = {}
        self._held_since: float | None = None
        self._num_ripe = 0
        self._looked_at = 0.0
        self._lock = RLock()
        self._failed: StorageError | None = None
        #: Items with an output that could not be put, by their identity.
        self._lost: dict[int, Work] = {}
        self._put: dict[str, tuple[bytes, str]] = {}
        self._put_bytes = self._num_parts = 0

    def hold(self, output: FileOutput, data: bytes) -> bool:
        """Take an output of the item in hand, to be put with others.

        Raises:
            TaskError: if it cannot be an output of the item in hand.
            StorageError: if an earlier output could not be put.
        """
        work = self._claim(output.path)
        # What an item leaves that has been in hand for longer may be what it goes on from after a kill.
        is_early = self._has_items and time.monotonic() - work.started[1] < _MAX_AGE_S
        if not is_early or len(data) > _MAX_HELD_BYTES:
            self.put_held()
            return False
        with self._lock:
            self._refuse_after_failure()
            # A copy where the command has a buffer, which it may fill anew before this is put.
            self._held[output.path] = (work, bytes(data))
            work.outputs[output.path] = output
            self._held_since = self._held_since or time.monotonic()
            is_much = sum(len(held) for _, held in self._held.values()) >= _MAX_BYTES
        if is_much:
            self.put_held()
        return True

    def put_held(self) -> None:
        """Put what is held back; whoever looks at the root asks for it.

        Raises:
            StorageError: if an output could not be put. Its item is not done, and the task fails.
            UsageError: if another run has taken the root meanwhile.
        """
        if os.getpid() != self._pid:  # a fork of the command writes nothing
            return
        with self._lock:
            self._refuse_after_failure()
            if not self._held:
                return
            held = dict(self._held)
            self._check_root()
            for work in {id(work): work for work, _ in held.values()}.values():
                self._retire_manifests(work)
            failed = self._put_all({name: data for name, (_, data) in held.items()})[1]
            self._held, self._held_since = {}, None
            if failed:
                self._lost.update({id(held[name][0]): held[name][0] for name in failed})
                self._leave_out(lambda work: id(work) in self._lost)
                self._failed = asking.all_of(failed)
                raise self._failed

    def abandon(self) -> None:
        """Put what the items before have left; how the command ended is more important than what this meets with."""
        if os.getpid() != self._pid or self._problem is not None:
            return
        self._failed = None
        # An item that goes on after an output of it could not be put, and is complete since, is not done.
        self._complete = [work for work in self._complete[: self._num_ripe] if id(work) not in self._lost]
        mine = {id(work) for work in self._complete}
        self._held = {name: held for name, held in self._held.items() if id(held[0]) in mine}
        with suppress(RvError):
            try:
                self.put_held()
            except StorageError:
                self._failed = None
            self._write_manifests()
        self._write_index()

    def close(self) -> None:
        """The command has returned: what is complete is done."""
        super().close()
        self._write_index()

    def _settle(self) -> None:
        self._num_ripe = len(self._complete)
        age_s = time.monotonic() - (self._held_since or time.monotonic())
        if age_s >= _MAX_AGE_S or self._num_ripe >= _MAX_ITEMS or self._has_put_items():
            self._write_manifests()

    def _has_put_items(self) -> bool:
        """Whether some complete item has outputs that are in place: there is nothing to wait for with its manifest."""
        return any(name not in self._held for work in self._complete for name in work.outputs)

    def _look_at_root(self) -> None:
        if time.monotonic() - self._looked_at >= _LOOK_HOLDS_S:
            self._check_root()
            self._looked_at = time.monotonic()

    def _write_manifests(self) -> None:
        self.put_held()
        if not self._complete:
            return
        self._check_root()
        written: dict[str, bytes] = {}
        for work in self._complete:
            assert work.manifest is not None
            self._retire_manifests(work)
            self._delete_stale(work)
            written[work.manifest.name] = work.manifest.to_text().encode()
        tags, failed = self._put_all(written)
        complete, self._complete, self._num_ripe = self._complete, [], 0
        done = [work for work in complete if work.manifest is not None and work.manifest.name not in failed]
        self._manifest_names().update(name.rsplit("/", 1)[1] for name in written if name not in failed)
        self._look_again({name: text for name, text in written.items() if name not in failed})
        self._keep_for_index({name: (written[name], tag) for name, tag in tags.items() if tag})
        for work in done:
            self._on_done(work.item)
        if failed:
            self._failed = asking.all_of(failed)
            raise self._failed

    def _forget(self, item: str) -> None:
        self._leave_out(lambda work: work.item.id == item)
        super()._forget(item)

    def _leave_out(self, is_lost: Callable[[Work], bool]) -> None:
        """Forget complete items."""
        ripe = [work for work in self._complete[: self._num_ripe] if not is_lost(work)]
        later = [work for work in self._complete[self._num_ripe :] if not is_lost(work)]
        self._complete, self._num_ripe = [*ripe, *later], len(ripe)

    def _put_all(self, files: Mapping[str, bytes]) -> tuple[dict[str, str], dict[str, StorageError]]:
        """Put files below the root at the same time; (name -> ETag, name -> what went wrong)."""
        names = {uris.join(self._root, name): name for name in files}

        def put(uri: str) -> str | StorageError:
            try:
                return by_uri.write_bytes(uri, files[names[uri]]) or ""
            except StorageError as err:
                return err

        answers = {names[uri]: answer for uri, answer in asking.ask_many(put, list(names)).items()}
        tags = {name: answer for name, answer in answers.items() if isinstance(answer, str)}
        return tags, {name: answer for name, answer in answers.items() if isinstance(answer, StorageError)}

    def _keep_for_index(self, put: Mapping[str, tuple[bytes, str]]) -> None:
        """Keep manifests until they are a part of the index, so that a task of very many items holds few of them."""
        self._put.update(put)
        self._put_bytes += sum(len(text) for text, _ in put.values())
        if self._put_bytes >= _MAX_INDEX_BYTES:
            self._write_index()

    def _write_index(self) -> None:
        """Leave what spares the next plan a request for each manifest; without it nothing but time is lost."""
        put, self._put, self._put_bytes = self._put, {}, 0
        self._num_parts += 1
        who = f"{self._request.run_id}.{self._request.task}"
        who = who if self._num_parts == 1 else f"{who}.{self._num_parts}"
        with suppress(StorageError):
            manifest_index.write(self._root, self._request.command, who, put)

    def _refuse_after_failure(self) -> None:
        if self._failed is not None:
            raise self._failed
