from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rv_core.errors import ConfigError, StorageError
from rv_core.files import by_uri, fingerprints, local
from rv_core.files.fingerprints import ContentHashes, fingerprint_many

if TYPE_CHECKING:
    from tests.file_servers import WebServer

pytest_plugins = ("tests.file_servers",)
OLD_S = 1_700_000_000.0


@pytest.fixture
def read_paths(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose content is read."""
    read: list[str] = []
    digest = local.digest

    def noted(path: str) -> tuple[int, str]:
        read.append(path)
        return digest(path)

    monkeypatch.setattr(local, "digest", noted)
    return read


def _token(uri: object, cache: ContentHashes | None = None) -> str:
    return fingerprint_many([str(uri)], cache)[str(uri)].token


def _write(path: Path, content: bytes, mtime_s: float = OLD_S) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (mtime_s, mtime_s))
    return path


def test_the_token_of_a_local_file_is_the_hash_of_its_content(tmp_path: Path) -> None:
    path = _write(tmp_path / "a", b"content")
    expected = f"sha256:{hashlib.sha256(b'content').hexdigest()}"
    assert _token(path) == expected
    assert _token(f"file://{path}") == expected
    detail = fingerprint_many([str(path)])[str(path)].detail
    assert detail["bytes"] == 7
    assert json.loads(json.dumps(detail)) == detail


def test_a_touch_and_a_copy_change_nothing(tmp_path: Path) -> None:
    path = _write(tmp_path / "a", b"content")
    before = _token(path)
    os.utime(path)
    shutil.copy(path, tmp_path / "b")
    assert _token(path) == _token(tmp_path / "b") == before


def test_an_unchanged_file_is_never_read_again(tmp_path: Path, read_paths: list[str]) -> None:
    paths = [str(_write(tmp_path / f"{index}", b"%d" % index)) for index in range(5)]
    first = fingerprint_many(paths, ContentHashes.of_root("root"))
    assert sorted(read_paths) == sorted(paths)
    read_paths.clear()
    assert fingerprint_many(paths, ContentHashes.of_root("root")) == first
    assert read_paths == []
    fingerprint_many(paths, ContentHashes.of_root("another root"))
    assert len(read_paths) == 5


def test_a_touched_file_is_read_and_then_known_again(tmp_path: Path, read_paths: list[str]) -> None:
    path = _write(tmp_path / "a", b"content")
    for _ in range(2):
        os.utime(path, (OLD_S + 10, OLD_S + 10))
        assert _token(path, ContentHashes.of_root("r")).startswith("sha256:")
    read_paths.clear()
    _token(path, ContentHashes.of_root("r"))
    assert read_paths == []


@pytest.mark.parametrize("keeps_time", [True, False])
def test_a_change_of_equal_size_is_seen(tmp_path: Path, keeps_time: bool) -> None:
    path = _write(tmp_path / "a", b"one")
    before = _token(path, ContentHashes.of_root("r"))
    _write(path, b"two", OLD_S if keeps_time else OLD_S + 1)
    assert _token(path, ContentHashes.of_root("r")) != before


def test_a_file_that_is_younger_than_two_seconds_is_not_remembered(tmp_path: Path, read_paths: list[str]) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"just now")
    _token(path, ContentHashes.of_root("r"))
    _token(path, ContentHashes.of_root("r"))
    assert len(read_paths) == 2
    os.utime(path, (time.time() + 3600, time.time() + 3600))
    _token(path, ContentHashes.of_root("r"))
    _token(path, ContentHashes.of_root("r"))
    assert len(read_paths) == 4


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path / "a", b"one")
    digest = local.digest
    left = [b"two", b"three"]

    def changing(name: str) -> tuple[int, str]:
        answer = digest(name)
        if left:
            _write(path, left.pop(0), OLD_S + 10 - len(left))
        return answer

    monkeypatch.setattr(local, "digest", changing)
    assert _token(path, ContentHashes.of_root("r")) == f"sha256:{hashlib.sha256(b'three').hexdigest()}"


def test_a_missing_file_is_missing_and_no_error(tmp_path: Path) -> None:
    _write(tmp_path / "file", b"")
    wanted = [str(tmp_path / "no"), str(tmp_path / "no" / "folder"), str(tmp_path / "file" / "x"), "memory://no/a"]
    found = fingerprint_many(wanted)
    assert list(found) == wanted
    assert {fingerprint.token for fingerprint in found.values()} == {fingerprints.MISSING}
    assert all(fingerprint.is_missing for fingerprint in found.values())


def test_the_token_of_a_folder_follows_names_and_contents(tmp_path: Path, read_paths: list[str]) -> None:
    folder = tmp_path / "f"
    _write(folder / "a", b"1")
    _write(folder / "sub" / "b", b"2")
    cache = ContentHashes.of_root("r")
    tokens = [_token(folder, cache)]
    read_paths.clear()
    assert _token(folder, cache) == tokens[0]
    assert read_paths == []
    os.utime(folder / "a", (OLD_S + 5, OLD_S + 5))
    assert _token(folder, cache) == tokens[0]
    _write(folder / "a", b"3")
    tokens.append(_token(folder, cache))
    (folder / "a").rename(folder / "c")
    tokens.append(_token(folder, cache))
    (folder / "c").unlink()
    tokens.append(_token(folder, cache))
    assert len(set(tokens)) == 4


def test_what_cannot_be_read_is_an_error_that_names_all(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    wanted = [str(tmp_path / name) for name in ("pipe", "loop")]
    with pytest.raises(StorageError, match="2 files") as raised:
        fingerprint_many([*wanted, str(_write(tmp_path / "ok", b""))])
    assert sorted(finding.where for finding in raised.value.findings) == sorted(wanted)


def test_large_files_are_hashed_at_the_same_time(tmp_path: Path) -> None:
    contents = {str(tmp_path / str(index)): bytes([index]) * 3_000_000 for index in range(4)}
    for path, content in contents.items():
        _write(Path(path), content)
    found = fingerprint_many(contents)
    assert {path: f"sha256:{hashlib.sha256(content).hexdigest()}" for path, content in contents.items()} == {
        path: fingerprint.token for path, fingerprint in found.items()
    }


def test_variables_are_filled_in_and_stay_out_of_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path / "a", b"x")
    monkeypatch.setenv("TEST_DATA", str(tmp_path))
    found = fingerprint_many(["${TEST_DATA}/a", str(path)])
    assert found["${TEST_DATA}/a"] == found[str(path)]
    assert str(tmp_path) not in json.dumps(found["${TEST_DATA}/a"].detail)
    with pytest.raises(ConfigError, match="TEST_NOT_SET"):
        fingerprint_many(["${TEST_NOT_SET}/a"])


def test_a_file_in_an_archive_has_the_fingerprint_of_the_archive(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.zip", b"zip")
    assert _token(f"zip://{path}!/x.tif") == _token(path)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"format": 99, "files": {"a": 1}}', '{"format": 1, "files": {"a": 1}}', '{"format": 1}', "\xff"],
)
def test_a_cache_that_cannot_be_read_is_started_anew(tmp_path: Path, text: str) -> None:
    path = _write(tmp_path / "a", b"x")
    cache = ContentHashes.of_root("r")
    assert cache.path is not None
    before = _token(path, cache)
    Path(cache.path).write_text(text, encoding="latin-1")
    assert _token(path, ContentHashes.of_root("r")) == before
    assert json.loads(Path(cache.path).read_text())["files"].keys() == {str(path)}


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path / "file", b"")
    monkeypatch.setenv("RV_CACHE_DIR", str(tmp_path / "file" / "cache"))
    cache = ContentHashes.of_root("r")
    assert _token(_write(tmp_path / "a", b"x"), cache).startswith("sha256:")
    assert not cache.save()


def test_a_cache_that_has_not_changed_is_not_written(tmp_path: Path) -> None:
    path = _write(tmp_path / "a", b"x")
    cache = ContentHashes.of_root("r")
    _token(path, cache)
    assert cache.path is not None
    written = os.stat(cache.path)
    _token(path, ContentHashes.of_root("r"))
    assert os.stat(cache.path).st_ino == written.st_ino


def test_a_cache_that_has_grown_too_large_keeps_what_was_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "_MAX_ENTRIES", 3)
    for round_index in range(2):
        paths = [str(_write(tmp_path / f"{round_index}-{index}", b"x")) for index in range(3)]
        fingerprint_many(paths, ContentHashes.of_root("r"))
    cache = ContentHashes.of_root("r")
    assert cache.path is not None
    assert set(json.loads(Path(cache.path).read_text())["files"]) == set(paths)


def test_ten_thousand_known_files_take_a_tenth_of_a_second(tmp_path: Path) -> None:
    paths = [str(_write(tmp_path / f"{index}", b"x")) for index in range(1_000)]
    fingerprint_many(paths, ContentHashes.of_root("r"))
    times_s: list[float] = []
    for _ in range(5):
        start = time.process_time()
        fingerprint_many(paths, ContentHashes.of_root("r"))
        times_s.append(time.process_time() - start)
    assert 10 * min(times_s) < 0.5  # 0.07 s where this was written; room for slow machines


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=2, max_size=4))
def test_tokens_are_equal_exactly_if_contents_are(tmp_path: Path, contents: list[bytes]) -> None:
    paths = [str(_write(tmp_path / str(index), content)) for index, content in enumerate(contents)]
    found = fingerprint_many(paths)
    assert len({found[path].token for path in paths}) == len(set(contents))


def test_http_files_are_known_by_etag_or_time_and_size(web_server: WebServer) -> None:
    uri = f"{web_server.url}/a"
    web_server.files = {"/a": b"one"}
    assert _token(uri).startswith("etag:")
    web_server.has_etag = False
    assert _token(uri) == "modified:1700000000000000000:3"
    assert web_server.count("GET") == 0
    web_server.has_last_modified = False
    assert _token(uri) == f"sha256:{hashlib.sha256(b'one').hexdigest()}"
    assert fingerprint_many([f"{web_server.url}/no"])[f"{web_server.url}/no"].is_missing


def test_a_large_http_file_without_any_mark_says_what_is_not_seen(
    web_server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "_MAX_HASHED_BYTES", 2)
    web_server.files = {"/a": b"one"}
    web_server.has_etag = web_server.has_last_modified = False
    found = fingerprint_many([f"{web_server.url}/a"])[f"{web_server.url}/a"]
    assert found.token == "size:3"
    assert "not seen" in found.detail["note"]


def test_a_store_that_cannot_be_asked_is_an_error_and_not_missing(
    web_server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RV_RETRY_S", "0.1")
    web_server.failures = [503] * 50
    with pytest.raises(StorageError, match="503"):
        fingerprint_many([f"{web_server.url}/a"])


def test_remote_folders_are_known_by_their_listing(tmp_path: Path) -> None:
    root = f"memory://{tmp_path.name}-fingerprints"
    by_uri.write_bytes(f"{root}/a", b"1")
    before = fingerprint_many([root])[root]
    assert before.detail == {"kind": "folder", "files": 1, "bytes": 1}
    by_uri.write_bytes(f"{root}/b", b"2")
    assert fingerprint_many([root])[root].token != before.token
