from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rv_core.errors import ConfigError, StorageError
from rv_core.files import by_uri, download_cache
from rv_core.machine.folders import cache_folder, scratch_folder

if TYPE_CHECKING:
    from tests.file_servers import WebServer

pytest_plugins = ("tests.file_servers",)

FETCH = """
import sys
from rv_core.files.by_uri import local_copy
for uri in sys.argv[1:]:
    print(local_copy(uri), flush=True)
"""


def test_a_file_is_downloaded_once_and_checked_every_time(web_server: WebServer) -> None:
    web_server.files = {"/a/scene 1.tif": b"content"}
    web_server.files["/a/scene%201.tif"] = b"content"
    uri = f"{web_server.url}/a/scene 1.tif"
    first = by_uri.local_copy(uri)
    assert by_uri.local_copy(uri) == first
    assert first.read_bytes() == b"content"
    assert first.name == "scene_1.tif"
    assert first.is_relative_to(cache_folder())
    assert (web_server.count("HEAD"), web_server.count("GET")) == (2, 1)


def test_an_overwritten_file_is_noticed(web_server: WebServer) -> None:
    uri = f"{web_server.url}/a"
    for content in (b"one", b"two", b"three"):
        web_server.files = {"/a": content}
        assert by_uri.local_copy(uri).read_bytes() == content


def test_files_of_one_name_in_two_places_are_kept_apart(web_server: WebServer) -> None:
    web_server.files = {"/a/x.tif": b"a", "/b/x.tif": b"b"}
    copies = [by_uri.local_copy(f"{web_server.url}/{folder}/x.tif") for folder in "ab"]
    assert [copy.read_bytes() for copy in copies] == [b"a", b"b"]


def test_a_copy_that_was_changed_or_cut_is_fetched_again(web_server: WebServer) -> None:
    web_server.files = {"/a": b"content"}
    copy = by_uri.local_copy(f"{web_server.url}/a")
    assert not copy.stat().st_mode & 0o222
    for damaged in (b"cont", b"CONTENT"):
        copy.chmod(0o644)
        copy.write_bytes(damaged)
        assert by_uri.local_copy(f"{web_server.url}/a").read_bytes() == b"content"


def test_without_any_mark_of_the_content_a_copy_is_never_trusted(web_server: WebServer) -> None:
    web_server.has_etag = web_server.has_last_modified = False
    for content in (b"one", b"two"):
        web_server.files = {"/a": content}
        assert by_uri.local_copy(f"{web_server.url}/a").read_bytes() == content


def test_parallel_processes_fetch_a_file_once(web_server: WebServer) -> None:
    web_server.files = {"/a.bin": bytes(5_000_000), "/b.bin": b"b"}
    uris = [f"{web_server.url}/a.bin", f"{web_server.url}/b.bin"]
    processes = [
        subprocess.Popen([sys.executable, "-c", FETCH, *uris], stdout=subprocess.PIPE, text=True) for _ in range(8)
    ]
    answers = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 8
    assert len(answers) == 1
    assert web_server.count("GET") == 2


def test_a_download_that_was_killed_leaves_nothing_that_is_trusted(web_server: WebServer) -> None:
    web_server.files = {"/a": b"content"}
    uri = f"{web_server.url}/a"
    code = f"""
import os, signal
from rv_core.files.http_store import HttpStore
def download(store, uri, path):
    open(path, "wb").write(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
HttpStore.download = download
from rv_core.files.by_uri import local_copy
local_copy({uri!r})
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert by_uri.local_copy(uri).read_bytes() == b"content"


def test_the_entries_used_longest_ago_go_first(web_server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RV_CACHE_MAX_GIB", f"{2_500_000 / 2**30:.9f}")
    web_server.files = {f"/{name}": bytes(1_000_000) for name in "abcd"}
    paths = [_fetch_elsewhere(f"{web_server.url}/{name}") for name in "ab"]
    _make_old(paths[0], 50)
    _make_old(paths[1], 100)
    third = _fetch_elsewhere(f"{web_server.url}/c")
    assert [path.exists() for path in (*paths, third)] == [True, False, True]
    _make_old(third, 100)
    _make_old(_fetch_elsewhere(f"{web_server.url}/a"), 10)  # used again: now the youngest
    _fetch_elsewhere(f"{web_server.url}/d")
    assert [path.exists() for path in (*paths, third)] == [True, False, False]


def test_what_a_living_process_uses_is_never_evicted(web_server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RV_CACHE_MAX_GIB", f"{1_500_000 / 2**30:.9f}")
    web_server.files = {f"/{name}": bytes(1_000_000) for name in "ab"}
    mine = by_uri.local_copy(f"{web_server.url}/a")
    _make_old(mine, 1000)
    other = _fetch_elsewhere(f"{web_server.url}/b")
    assert mine.exists()
    assert other.exists()


def test_a_file_larger_than_the_cache_is_not_kept(web_server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RV_CACHE_MAX_GIB", "0")
    web_server.files = {"/a": b"content"}
    for _ in range(2):
        copy = by_uri.local_copy(f"{web_server.url}/a")
        assert copy.read_bytes() == b"content"
        assert copy.is_relative_to(scratch_folder())
    assert web_server.count("GET") == 1
    gone = _fetch_elsewhere(f"{web_server.url}/a")
    assert not gone.exists()


def test_a_limit_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RV_CACHE_MAX_GIB", "lots")
    with pytest.raises(ConfigError, match="lots"):
        download_cache.max_bytes()


def test_a_cache_folder_that_cannot_be_made_names_the_setting(
    web_server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RV_CACHE_DIR", str(tmp_path / "file" / "cache"))
    web_server.files = {"/a": b"content"}
    with pytest.raises(StorageError, match="RV_CACHE_DIR"):
        by_uri.local_copy(f"{web_server.url}/a")


def _fetch_elsewhere(uri: str) -> Path:
    done = subprocess.run([sys.executable, "-c", FETCH, uri], stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip())


def _make_old(path: Path, age_s: int) -> None:
    record = path.parent / "entry.json"
    now_ns = record.stat().st_mtime_ns - age_s * 1_000_000_000
    os.utime(record, ns=(now_ns, now_ns))
