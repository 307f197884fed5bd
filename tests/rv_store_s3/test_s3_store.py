"""S3 through obstore, against a real S3 server on loopback."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rv_core.errors import StorageError
from rv_core.files import by_uri, fingerprints
from rv_core.files.problems import MissingFileError
from rv_core.files.storage import FileOutput, Storage
from rv_core.machine.folders import scratch_folder

if TYPE_CHECKING:
    from tests.file_servers import WebServer

store = pytest.importorskip("rv_store_s3.store")

pytest_plugins = ("tests.file_servers",)
pytestmark = pytest.mark.s3


def test_objects_are_written_read_listed_and_deleted(s3_root: str) -> None:
    bound = Storage(s3_root)
    bound.write_text("a/t.txt", "héllo")
    bound.write_bytes("a/b c/ü#1.bin", b"x")
    assert bound.read_text("a/t.txt") == "héllo"
    assert bound.read_bytes("a/b c/ü#1.bin") == b"x"
    assert {name: info.size for name, info in bound.list_files().items()} == {"a/t.txt": 6, "a/b c/ü#1.bin": 1}
    assert set(by_uri.list_files(f"{s3_root}/a/")) == {"t.txt", "b c/ü#1.bin"}
    assert set(by_uri.list_files("s3://rv-test")) == {"root/a/t.txt", "root/a/b c/ü#1.bin"}
    assert by_uri.list_files(f"{s3_root}/no") == {}
    bound.delete("a/t.txt")
    bound.delete("a/t.txt")
    assert not bound.exists("a/t.txt")


def test_a_missing_object_is_missing(s3_root: str) -> None:
    assert by_uri.stat(f"{s3_root}/no") is None
    with pytest.raises(MissingFileError):
        by_uri.read_bytes(f"{s3_root}/no")
    by_uri.write_bytes(f"{s3_root}/yes", b"1")
    assert by_uri.read_many([f"{s3_root}/no", f"{s3_root}/yes"]) == {f"{s3_root}/yes": b"1"}


@pytest.mark.parametrize("folder", ["301", "403", "PermanentRedirect", "credentials"])
def test_a_missing_object_is_missing_whatever_its_path_looks_like(s3_root: str, folder: str) -> None:
    with pytest.raises(MissingFileError):
        by_uri.read_bytes(f"{s3_root}/{folder}/no")


def test_a_missing_object_is_missing_however_long_the_answer_took() -> None:
    text = "Error performing GET http://host/b/a in 301.3ms - Server returned non-2xx status code: 404 Not Found: NoSuchKey"
    error = FileNotFoundError(f"Object at location a not found: {text}")
    assert store.S3Store("s3").explain(error, "cannot read 'a'", "s3://b/a") is None


@pytest.mark.parametrize(
    ("status", "fix"), [(301, "AWS_REGION"), (400, ""), (401, "credentials"), (403, "credentials"), (501, "")]
)
def test_what_to_do_is_told_by_the_answer_alone(
    web_server: WebServer, monkeypatch: pytest.MonkeyPatch, status: int, fix: str
) -> None:
    _point_to(web_server, monkeypatch)
    monkeypatch.setenv("RV_RETRY_S", "0.1")
    web_server.failures = [status] * 20
    with pytest.raises(StorageError) as raised:
        by_uri.read_bytes("s3://301/401/credentials.txt")
    assert fix in raised.value.block.fix
    assert bool(fix) == bool(raised.value.block.fix)


def test_a_missing_bucket_is_named(s3_root: str) -> None:
    for act in (
        lambda: by_uri.list_files("s3://no-such-bucket/a"),
        lambda: by_uri.write_bytes("s3://no-such-bucket/a", b""),
        lambda: by_uri.read_bytes("s3://no-such-bucket/a"),
        lambda: by_uri.delete("s3://no-such-bucket/a"),
    ):
        with pytest.raises(StorageError, match="no such bucket") as raised:
            act()
        assert not isinstance(raised.value, MissingFileError)


def test_of_many_writers_at_once_one_creates(s3_root: str) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: by_uri.write_once(f"{s3_root}/marker", b"%d" % n), range(8)))
    assert sum(won) == 1
    assert by_uri.read_bytes(f"{s3_root}/marker") == b"%d" % won.index(True)


def test_an_object_is_replaced_only_where_it_holds_what_was_read(s3_root: str) -> None:
    uri = f"{s3_root}/marker"
    assert not by_uri.swap(uri, b"", b"1")
    by_uri.write_bytes(uri, b"old")
    assert not by_uri.swap(uri, b"other", None)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: by_uri.swap(uri, b"old", b"%d" % n), range(8)))
    assert won.count(True) == 1
    content = b"%d" % won.index(True)
    assert by_uri.read_bytes(uri) == content
    assert by_uri.swap(uri, content, None)
    assert by_uri.read_bytes(uri) == b"\n", "S3 removes nothing on a condition"
    assert by_uri.swap(uri, b"\n", b"2")


def test_large_outputs_are_uploaded_in_parts_and_come_back_whole(s3_root: str) -> None:
    data = os.urandom(1 << 20) * 17
    seen: list[FileOutput] = []
    bound = Storage(s3_root, on_written=lambda _, output: seen.append(output))
    with bound.output_file("big.bin") as path:
        path.write_bytes(data)
    assert seen == [FileOutput("big.bin", len(data), hashlib.sha256(data).hexdigest())]
    copy = bound.input_file("big.bin")
    assert copy.read_bytes() == data
    assert bound.input_file("big.bin") == copy
    assert not list(scratch_folder().glob(".*.tmp"))


def test_an_output_that_fails_is_not_uploaded(s3_root: str) -> None:
    bound = Storage(s3_root)
    with pytest.raises(RuntimeError), bound.output_file("a.bin") as path:
        path.write_bytes(b"half")
        raise RuntimeError
    assert bound.list_files() == {}


def test_an_overwritten_object_is_noticed_by_copy_and_fingerprint(s3_root: str) -> None:
    uri = f"{s3_root}/a.bin"
    by_uri.write_bytes(uri, b"one")
    first = fingerprints.fingerprint_many([uri])[uri]
    assert by_uri.local_copy(uri).read_bytes() == b"one"
    by_uri.write_bytes(uri, b"two")
    second = fingerprints.fingerprint_many([uri])[uri]
    assert by_uri.local_copy(uri).read_bytes() == b"two"
    assert first.token != second.token
    assert first.token.startswith("etag:")


def test_folders_and_missing_inputs_have_fingerprints(s3_root: str) -> None:
    by_uri.write_bytes(f"{s3_root}/f/a", b"1")
    wanted = [f"{s3_root}/f", f"{s3_root}/no"]
    before = fingerprints.fingerprint_many(wanted)
    assert before[wanted[0]].detail == {"kind": "folder", "files": 1, "bytes": 1}
    assert before[wanted[1]].is_missing
    by_uri.write_bytes(f"{s3_root}/f/b", b"1")
    assert fingerprints.fingerprint_many(wanted)[wanted[0]].token != before[wanted[0]].token


def test_a_server_that_is_busy_for_a_moment_is_asked_again(
    web_server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    _point_to(web_server, monkeypatch)
    web_server.files = {"/bucket/a": b"content"}
    web_server.failures = [503, 503]
    assert by_uri.read_bytes("s3://bucket/a") == b"content"
    assert len(web_server.requests) == 3


def test_a_body_that_breaks_off_is_asked_for_again(web_server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    _point_to(web_server, monkeypatch)
    web_server.files = {"/bucket/a.bin": bytes(3_000_000)}
    web_server.failures = [200, "cut", "cut"]
    assert by_uri.local_copy("s3://bucket/a.bin").read_bytes() == bytes(3_000_000)


def test_a_store_that_keeps_failing_could_not_be_asked(web_server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    _point_to(web_server, monkeypatch)
    monkeypatch.setenv("RV_RETRY_S", "0.3")
    web_server.failures = [503] * 100
    for act in (by_uri.exists, by_uri.read_bytes, by_uri.list_files):
        with pytest.raises(StorageError, match="503") as raised:
            act("s3://bucket/a")
        assert not isinstance(raised.value, MissingFileError)
        assert "Debug source" not in str(raised.value)


def test_refused_rights_are_an_error_and_never_a_missing_file(
    web_server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    _point_to(web_server, monkeypatch)
    web_server.failures = [403]
    with pytest.raises(StorageError, match="403") as raised:
        by_uri.exists("s3://bucket/a")
    assert "credentials" in raised.value.block.fix


def test_profiles_are_read_by_boto3(s3_root: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("boto3", reason="boto3 is not installed")
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    config = tmp_path / "config"
    config.write_text(
        f"[profile team]\nregion = eu-central-1\nendpoint_url = {endpoint}\n"
        "aws_access_key_id = key\naws_secret_access_key = secret\n[profile empty]\nregion = eu-central-1\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "team")
    by_uri.write_bytes(f"{s3_root}/a", b"x")
    assert by_uri.read_bytes(f"{s3_root}/a") == b"x"
    for profile, message in (("nobody", "nobody"), ("empty", "no AWS credentials")):
        monkeypatch.setenv("AWS_PROFILE", profile)
        with pytest.raises(StorageError, match=message):
            by_uri.exists(f"{s3_root}/a")


def test_public_buckets_are_read_without_credentials(web_server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", web_server.url)
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
    monkeypatch.setenv("AWS_REQUEST_PAYER", "requester")
    web_server.files = {"/bucket/a": b"x"}
    assert by_uri.read_bytes("s3://bucket/a") == b"x"


def test_the_region_of_a_bucket_is_what_the_server_names(web_server: WebServer, s3_root: str) -> None:
    assert store.bucket_region(f"{web_server.url}/") is None
    assert store.bucket_region("http://127.0.0.1:9/") is None
    with urllib.request.urlopen(
        urllib.request.Request(f"{os.environ['AWS_ENDPOINT_URL']}/rv-test", method="HEAD")
    ) as answer:
        expected = answer.headers.get("x-amz-bucket-region")
    assert store.bucket_region(f"{os.environ['AWS_ENDPOINT_URL']}/rv-test") == expected


def _point_to(web_server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("obstore", reason="the S3 store (obstore) is not installed")
    monkeypatch.setenv("AWS_ENDPOINT_URL", web_server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
