"""What a store is, and the one of this machine's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from rv_core.errors import StorageError
from rv_core.files import asking
from rv_core.files.local import FileInfo
from rv_core.files.problems import MissingFileError
from rv_core.files.stores import LocalStore, Store


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
