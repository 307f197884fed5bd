"""What a store is, and the one of this machine's files."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rv_core.errors import StorageError
from rv_core.files import asking, by_uri, stores
from rv_core.files.local import FileInfo
from rv_core.files.problems import MissingFileError
from rv_core.files.stores import LocalStore, Store
from rv_core.machine.folders import text_digest

if TYPE_CHECKING:
    from tests.file_servers import WebServer

pytest_plugins = ("tests.file_servers",)


def test_a_store_that_lacks_a_method_cannot_be_made() -> None:
    class Half(LocalStore, Store):
        stat = Store.stat

    with pytest.raises(TypeError, match="stat"):
        Half()


@pytest.mark.parametrize("uri", ["a/b.txt", "/a/b.txt", "file:///a/b.txt", "FILE:///a"])
def test_paths_and_file_uris_are_served_by_one_local_store(uri: str) -> None:
    assert asking.store_for(uri) is asking.store_for("elsewhere")


def test_offline_local_files_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RV_OFFLINE", "1")
    assert isinstance(asking.store_for("a"), LocalStore)


def test_a_local_file_is_copied_in_and_out_whole(tmp_path: Path) -> None:
    store = asking.store_for("a")
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    store.upload(str(tmp_path / "a"), f"file://{tmp_path}/b%20c/d")
    info = store.download(f"{tmp_path}/b c/d", str(tmp_path / "e"))
    assert isinstance(info, FileInfo)
    assert info == store.stat(f"{tmp_path}/b c/d")
    assert (tmp_path / "e").read_bytes() == b"x" * 3_000_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b c", "e"]


def test_copying_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        asking.store_for("a").download(str(tmp_path / "no"), str(tmp_path / "a"))


def test_a_file_of_another_machine_is_refused() -> None:
    with pytest.raises(StorageError, match="not a file on this machine"):
        asking.store_for("file://other/a").read("file://other/a")


@pytest.mark.parametrize("base", ["", "file://", "local://", "memory://"])
def test_a_file_is_replaced_only_where_it_holds_what_was_read(tmp_path: Path, base: str) -> None:
    uri = f"{base}{tmp_path}/a/marker"
    assert not by_uri.swap(uri, b"", b"1")
    assert by_uri.write_once(uri, b"1")
    assert not by_uri.swap(uri, b"2", b"3")
    assert not by_uri.swap(uri, b"2", None)
    assert by_uri.swap(uri, b"1", b"2")
    assert by_uri.read_bytes(uri) == b"2"
    assert by_uri.swap(uri, b"2", None)
    assert not by_uri.exists(uri)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("base", ["", "local://", "memory://"])
def test_of_many_that_replace_a_file_at_once_one_does(tmp_path: Path, base: str) -> None:
    uri = f"{base}{tmp_path}/marker"
    by_uri.write_bytes(uri, b"old")
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: by_uri.swap(uri, b"old", b"%d" % number), range(8)))
    assert won.count(True) == 1
    assert by_uri.read_bytes(uri) == b"%d" % won.index(True)


def test_a_claim_that_was_left_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "_ABANDONED_S", 0.3)
    uri = f"local://{tmp_path}/marker"
    by_uri.write_bytes(uri, b"old")
    (tmp_path / f".marker.{text_digest('old')}.claim.tmp").write_bytes(b"of a process that was killed")
    assert by_uri.swap(uri, b"old", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["marker"]


def test_a_file_system_without_locks_still_compares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    (tmp_path / "marker").write_bytes(b"old")
    assert not by_uri.swap(f"{tmp_path}/marker", b"other", b"new")
    assert by_uri.swap(f"{tmp_path}/marker", b"old", b"new")


def test_a_part_is_what_was_asked_for_and_no_more(web_server: WebServer) -> None:
    web_server.files = {"/a": b"0123456789" * 10}
    uri = f"{web_server.url}/a"
    assert by_uri.read_range(uri, 10, 15) == b"01234"
    web_server.sends_too_much = True
    assert by_uri.read_range(uri, 10, 15) == b"01234"
    assert by_uri.read_range(uri, 12, 14) == b"23"
    web_server.range_offset = 3
    assert by_uri.read_range(uri, 10, 15) is None


def test_a_part_is_asked_for_again_where_the_network_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    store = asking.store_for("http://255.255.255.255/a")
    with pytest.raises(OSError) as caught:
        store.read_range("http://255.255.255.255/a", 0, 5)
    assert store.is_transient(caught.value)
