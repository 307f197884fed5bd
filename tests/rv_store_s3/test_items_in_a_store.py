"""What items leave in a store is put together, each manifest after its outputs, and read without a request for each."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.conftest import RvCli

from rv_core import Items, Pipeline, PipelineConfig, command, run
from rv_core.errors import StorageError
from rv_core.files import asking, by_uri
from rv_core.plan import manifest_index
from rv_core.plan.manifests import DONE_FOLDER, DoneState, read_done
from rv_core.task.remote import store_evidence

pytest.importorskip("rv_store_s3.store")

pytest_plugins = ("tests.file_servers",)
pytestmark = pytest.mark.s3
INDEX = manifest_index.INDEX_FOLDER


@dataclass(kw_only=True)
class ManyConfig(PipelineConfig):
    pipeline: ClassVar[str] = f"{__name__}:Many"
    count: int = 20
    fail_on: int = -1
    looks_at: int = -1
    shares_at: int = -1
    goes_on_at: int = -1
    content: str = "{}\n"


class Many(Pipeline):
    @command(
        items=lambda config: list(range(config.count)),
        reads=("fail_on", "looks_at", "shares_at", "goes_on_at", "content"),
    )
    def count(self, numbers: Items[int]) -> None:
        """Two small files for each item."""
        for number in numbers:
            self.storage.write_text(f"count/{number}.txt", f"{number}\n")
            if number == self.config.looks_at:
                assert by_uri.read_text(self.storage.uri(f"count/{number}.txt")) == f"{number}\n"
            if number == self.config.shares_at:
                self.storage.write_text("count/0.txt", "mine\n")
            if number == self.config.fail_on:
                raise RuntimeError("asked to")
            buffer = bytearray(self.config.content.encode())
            self.storage.write_bytes(f"count/{number}.json", buffer)
            buffer[:] = b"another use of it"
            if number == self.config.goes_on_at:
                with suppress(StorageError):
                    self.storage.exists("anything")


class Store:
    """What is asked of the store of a root, and what it is to refuse."""

    def __init__(self, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.reads, self.writes, self.refused, self.deletes = root, [], [], "", True
        store: Any = asking.store_for(root)
        for name, seen in (("read", self.reads), ("write", self.writes)):
            monkeypatch.setattr(store, name, self._watched(getattr(store, name), seen))
        delete = store.delete
        monkeypatch.setattr(store, "delete", lambda uri: delete(uri) if self.deletes else self._refuse())

    def _refuse(self) -> None:
        raise PermissionError("refused")

    def _watched(self, method: Callable[..., Any], seen: list[str]) -> Callable[..., Any]:
        def watched(uri: str, *arguments: Any) -> Any:
            name = uri.removeprefix(f"{self.root}/")
            if self.refused and name == self.refused and arguments:
                self._refuse()
            answer = method(uri, *arguments)
            seen.append(name)
            return answer

        return watched

    def done(self) -> DoneState:
        return read_done(self.root, ["count"])

    def is_done(self) -> set[int]:
        """The items whose manifest is there."""
        return {int(name.split(".")[0]) for name in by_uri.list_files(f"{self.root}/{DONE_FOLDER}/count")}

    def index(self) -> str:
        (name,) = by_uri.list_files(f"{self.root}/{INDEX}")
        return f"{self.root}/{INDEX}/{name}"


@pytest.fixture
def store(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    return Store(s3_root, monkeypatch)


def run_of(store: Store, **fields: Any) -> Any:
    return run(ManyConfig(root_uri=store.root, **fields), runner="inprocess", quiet=True)


def test_each_manifest_is_put_after_the_outputs_of_its_item(store: Store) -> None:
    run_of(store, looks_at=7)
    for number in range(20):
        places = [store.writes.index(f"count/{number}.{kind}") for kind in ("txt", "json")]
        manifest = next(i for i, name in enumerate(store.writes) if name.startswith(f"{DONE_FOLDER}/count/{number}."))
        assert max(places) < manifest
    # Together: the first manifest comes after outputs of later items.
    first = next(i for i, name in enumerate(store.writes) if name.startswith(DONE_FOLDER))
    assert {"count/2.txt", "count/3.txt"} <= set(store.writes[:first])
    store.reads.clear()
    done = store.done()
    assert len(done.manifests["count"]) == 20
    assert [name for name in store.reads if name.startswith(DONE_FOLDER)] == []


def test_what_was_done_before_an_error_stays_done(store: Store) -> None:
    assert run_of(store, fail_on=12).state == "failed"
    assert store.is_done() == set(range(12))
    assert len(store.done().manifests["count"]) == 12


def test_an_output_that_cannot_be_put_fails_its_item_and_the_task(store: Store) -> None:
    store.refused = "count/5.json"
    (failed,) = run_of(store).failed
    assert "5.json" in failed.reason
    assert 5 not in store.is_done()
    assert all(by_uri.exists(f"{store.root}/count/{number}.json") for number in store.is_done())
    store.refused = ""
    assert run_of(store).state == "done"
    assert store.is_done() == set(range(20))


def test_an_item_that_goes_on_after_an_output_could_not_be_put_is_not_done(store: Store) -> None:
    store.refused = "count/2.json"
    assert run_of(store, count=5, goes_on_at=2).state == "failed"
    assert store.is_done() == {0, 1}


def test_outputs_stay_where_their_manifest_cannot_be_removed(store: Store) -> None:
    run_of(store, count=3)
    store.deletes = False
    assert run_of(store, count=3, content="[]\n").state == "failed"
    assert {by_uri.read_text(f"{store.root}/count/{number}.json") for number in range(3)} == {"{}\n"}
    assert all(len(keys) == 1 for keys in store.done().manifests["count"].values())


def test_of_two_items_that_write_one_file_neither_is_done(store: Store) -> None:
    (failed,) = run_of(store, shares_at=4).failed
    assert "count/0.txt" in failed.reason
    assert not store.is_done() & {0, 4}


def test_items_that_take_longer_are_done_one_by_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_evidence, "_MAX_AGE_S", 0.0)
    run_of(store, count=3)
    names = [name.rpartition("/")[2].split(".")[0] for name in store.writes if not name.startswith(".rv/runs")]
    assert [name for name in names if name.isdecimal()] == ["0"] * 3 + ["1"] * 3 + ["2"] * 3


def _edited(text: bytes) -> bytes:
    header, *lines = text.decode().splitlines(keepends=True)
    return "".join([header, *(line.replace("count/3.txt", "count/4.txt") for line in lines)]).encode()


def _signed(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    """Entries that were changed by whoever wrote the digest too."""

    def edit(text: bytes) -> bytes:
        entries = [json.loads(line) for line in text.splitlines()[1:]]
        for entry in entries:
            change(entry)
        return manifest_index._to_text("count", entries)

    return edit


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda text: text[:-100],
    "empty": lambda text: b"",
    "deep": lambda text: b"[" * 100_000,
    "another format": lambda text: text.replace(b'"format": 1', b'"format": 2'),
    "edited": _edited,
    "another command": lambda text: text.replace(b'"command": "count"', b'"command": "other"', 1),
    "another ETag": _signed(lambda entry: entry.update(etag='"0"')),
    "another size": _signed(lambda entry: entry.update(text=entry["text"] + " ")),
    "another type": _signed(lambda entry: entry.update(text=1, name=[])),
    "no entries": lambda text: manifest_index._to_text("count", [1, None, "a"]),
}


def test_a_damaged_index_is_none(store: Store) -> None:
    run_of(store)
    before, index = store.done(), store.index()
    whole = by_uri.read_bytes(index)
    for name, damage in DAMAGES.items():
        by_uri.write_bytes(index, damage(whole))
        store.reads.clear()
        assert store.done() == before, name
        assert len([read for read in store.reads if read.startswith(DONE_FOLDER)]) == 20, name


def test_manifests_that_others_have_written_or_removed_count_as_they_are(store: Store) -> None:
    run_of(store)
    folder = f"{store.root}/{DONE_FOLDER}/count"
    written, removed = (next(n for n in by_uri.list_files(folder) if n.startswith(f"{i}.")) for i in (3, 4))
    text = by_uri.read_text(f"{folder}/{written}").replace('"attempt": 1', '"attempt": 2')
    by_uri.write_bytes(f"{folder}/{written}", text.encode())
    by_uri.delete(f"{folder}/{removed}")
    store.reads.clear()
    manifests = store.done().manifests["count"]
    assert "4" not in manifests
    assert [manifest.attempt for manifest in manifests["3"].values()] == [2]
    assert [name for name in store.reads if name.startswith(DONE_FOLDER)] == [f"{DONE_FOLDER}/count/{written}"]


def test_a_task_of_many_items_leaves_its_index_in_parts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_evidence, "_MAX_ITEMS", 16)
    monkeypatch.setattr(store_evidence, "_MAX_INDEX_BYTES", 40_000)
    kept: list[int] = []
    keep = store_evidence.StoreEvidence._keep_for_index

    def watched(self: Any, put: Any) -> None:
        keep(self, put)
        kept.append(sum(len(text) for text, _ in self._put.values()))

    monkeypatch.setattr(store_evidence.StoreEvidence, "_keep_for_index", watched)
    run_of(store, count=96)
    assert max(kept) < 40_000
    # Each is there before the manifests of later items.
    places = [place for place, name in enumerate(store.writes) if name.startswith(INDEX)]
    assert len({store.writes[place] for place in places}) == len(places) > 1
    assert any(name.startswith(DONE_FOLDER) for name in store.writes[places[0] :])
    store.reads.clear()
    assert len(store.done().manifests["count"]) == 96
    assert len([name for name in store.reads if name.startswith(DONE_FOLDER)]) < 16


def test_many_indexes_become_one(store: Store) -> None:
    run_of(store)
    text = by_uri.read_bytes(store.index())
    for number in range(6):
        by_uri.write_bytes(f"{store.root}/{INDEX}/count/old-{number}.jsonl", text if number else b"damaged")
    before = store.done()
    manifest_index.put_together(store.root, ["count"])
    assert store.index().rpartition("/")[2].startswith("all-")
    store.reads.clear()
    assert store.done() == before
    assert [name for name in store.reads if name.startswith(DONE_FOLDER)] == []


MODULE = """
import os, signal
from dataclasses import dataclass
from rv_core import Items, Pipeline, PipelineConfig, command

@dataclass
class DyingConfig(PipelineConfig):
    def build(self): return Dying(self)

class Dying(Pipeline):
    @command(items=lambda config: list(range(100)))
    def count(self, numbers: Items[int]) -> None:
        for number in numbers:
            self.storage.write_text(f"count/{number}.txt", f"{number}")
            if number == 80 and "DIES" in os.environ:
                os.kill(os.getpid(), getattr(signal, os.environ["DIES"]))

def get_config(root_uri: str) -> DyingConfig:
    return DyingConfig(root_uri=root_uri)
"""


@pytest.fixture
def dying(rv: RvCli, tmp_path: Path, s3_root: str) -> Iterator[Callable[..., Any]]:
    (tmp_path / "dying.py").write_text(MODULE)
    yield lambda **environ: rv(
        "run", "inprocess", "dying.py", "-a", f"root_uri={s3_root}", env={**os.environ, **environ}
    )


@pytest.mark.parametrize(("signal", "code", "least"), [("SIGKILL", -9, 64), ("SIGTERM", 130, 80)])
def test_a_task_that_is_ended_leaves_manifests_with_their_outputs_alone(
    dying: Callable[..., Any], s3_root: str, signal: str, code: int, least: int
) -> None:
    assert dying(DIES=signal).returncode == code
    done = {name.split(".")[0] for name in by_uri.list_files(f"{s3_root}/{DONE_FOLDER}/count")}
    there = {name.split(".")[0] for name in by_uri.list_files(f"{s3_root}/count")}
    assert least <= len(done) <= 80 and done <= there
    again = dying()
    assert again.returncode == 0 and f"{100 - len(done)} of 100 items" in again.stdout
