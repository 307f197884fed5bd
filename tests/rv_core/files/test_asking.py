"""Files over http (a real server on loopback), retries, offline, and stores that are not installed."""

from __future__ import annotations

import base64
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rv_core.errors import EXIT_ENVIRONMENT, ConfigError, StorageError
from rv_core.files import asking, by_uri, stores
from rv_core.files.http_store import _is_same_host
from rv_core.files.problems import MissingFileError
from rv_core.files.storage import Storage
from rv_core.files.stores import SignatureRefusedError, StoreAccessError
from rv_core.plugins import installed
from rv_core.plugins.installed import forget_plugins
from rv_core.redaction import redact

if TYPE_CHECKING:
    from tests.file_servers import WebServer
    from tests.plugin_fixtures import Site

pytest_plugins = ("tests.file_servers", "tests.plugin_fixtures")

_MINE = "@hookimpl\ndef rv_stores(): return [StoreSpec('mine', 'rv_mine.store:Mine', 'a store')]\n"
_STORE = """
from rv_core import StorageError
from rv_core.files.stores import LocalStore
class Mine(LocalStore):
    def stat(self, uri): raise StorageError(f"{self.scheme} here")
    def __init__(self, scheme):
        """


@pytest.fixture
def fresh_site(own_site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site whose plugins are the first that this process sees."""
    monkeypatch.setattr(asking, "_stores", {"file": asking.store_for("a")})
    forget_plugins()
    yield own_site
    forget_plugins()


def test_http_files_are_read_and_identified(web_server: WebServer) -> None:
    web_server.files = {"/a/b.json": b"content", "/a/with%20space.txt": b"x"}
    uri = f"{web_server.url}/a/b.json"
    assert by_uri.read_bytes(uri) == b"content"
    info = by_uri.stat(uri)
    assert info is not None
    assert info.size == 7
    assert info.etag is not None
    assert info.mtime_ns == 1_700_000_000_000_000_000
    assert by_uri.read_text(f"{web_server.url}/a/with space.txt") == "x"


def test_existence_is_asked_by_head_alone(web_server: WebServer) -> None:
    web_server.files = {"/a": b"x" * 1000}
    assert by_uri.exists(f"{web_server.url}/a")
    assert not by_uri.exists(f"{web_server.url}/b")
    assert web_server.requests == [("HEAD", "/a"), ("HEAD", "/b")]


def test_a_server_that_refuses_head_is_asked_for_one_byte(web_server: WebServer) -> None:
    web_server.files = {"/a": b"x" * 1000}
    web_server.refused_methods = {"HEAD"}
    info = by_uri.stat(f"{web_server.url}/a")
    assert info is not None
    assert info.size == 1000
    assert by_uri.stat(f"{web_server.url}/no") is None


def test_a_missing_http_file_is_missing(web_server: WebServer) -> None:
    with pytest.raises(MissingFileError):
        by_uri.read_bytes(f"{web_server.url}/no.json")
    with pytest.raises(MissingFileError):
        by_uri.local_copy(f"{web_server.url}/no.json")
    assert by_uri.read_many([f"{web_server.url}/no.json"]) == {}


def test_http_is_read_only_and_has_no_listing(web_server: WebServer) -> None:
    uri = f"{web_server.url}/a"
    for act in (
        lambda: by_uri.write_bytes(uri, b""),
        lambda: by_uri.write_once(uri, b""),
        lambda: by_uri.delete(uri),
        lambda: Storage(web_server.url).write_text("a", ""),
    ):
        with pytest.raises(StorageError, match="cannot write over http"):
            act()
    with pytest.raises(StorageError, match="cannot list"):
        by_uri.list_files(uri)
    assert web_server.requests == []


@pytest.mark.parametrize("failure", [503, 500, 429, "reset", "cut"])
def test_transient_failures_are_asked_again(web_server: WebServer, failure: int | str) -> None:
    web_server.files = {"/a": b"content" * 100}
    web_server.failures = [failure]
    assert by_uri.read_bytes(f"{web_server.url}/a") == b"content" * 100
    assert web_server.count("GET") == 2


def test_a_download_that_broke_off_starts_again(web_server: WebServer) -> None:
    web_server.files = {"/a.bin": bytes(3_000_000)}
    web_server.failures = [200, "cut"]  # the HEAD, then half a body
    assert by_uri.local_copy(f"{web_server.url}/a.bin").read_bytes() == bytes(3_000_000)
    assert web_server.count("GET") == 2


def test_a_store_that_keeps_failing_could_not_be_asked(web_server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RV_RETRY_S", "0.3")
    web_server.failures = [503] * 100
    uri = f"{web_server.url}/a"
    for act in (by_uri.exists, by_uri.read_bytes):
        with pytest.raises(StorageError, match="503") as raised:
            act(uri)
        assert not isinstance(raised.value, MissingFileError)
        assert raised.value.block.where == uri
    assert 2 < len(web_server.requests) < 20


def test_a_server_that_is_not_there_could_not_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RV_RETRY_S", "0.2")
    start = time.monotonic()
    with pytest.raises(StorageError, match="[Rr]efused") as raised:
        by_uri.exists("http://127.0.0.1:9/a")
    assert "check the network" in raised.value.block.fix
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_not_repeated_and_names_the_rights(web_server: WebServer, status: int) -> None:
    web_server.failures = [status] * 9
    with pytest.raises(StorageError, match=str(status)) as raised:
        by_uri.read_bytes(f"{web_server.url}/a")
    assert "credentials" in raised.value.block.fix
    assert len(web_server.requests) == 1


def test_all_files_that_could_not_be_asked_for_are_named(web_server: WebServer) -> None:
    web_server.files = {"/ok": b"x"}
    web_server.failures = []
    urls = [f"{web_server.url}/{name}" for name in ("ok", "a", "b")]
    web_server.refused_methods = {"GET", "HEAD"}
    with pytest.raises(StorageError, match="3 files could not be asked for") as raised:
        by_uri.read_many(urls)
    assert {finding.where for finding in raised.value.findings} == set(urls)


def test_many_failures_end_early_and_say_how_many_were_not_asked(web_server: WebServer) -> None:
    web_server.refused_methods = {"GET"}
    with pytest.raises(StorageError, match=r"more were not asked") as raised:
        by_uri.read_many([f"{web_server.url}/{index}" for index in range(200)])
    assert len(raised.value.findings) == 8
    assert len(web_server.requests) < 200


def test_a_secret_in_a_variable_does_not_reach_the_message(
    web_server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_TOKEN", "s3cr3t-t0ken")
    web_server.files = {"/a?token=s3cr3t-t0ken": b"x"}
    assert by_uri.read_bytes(f"{web_server.url}/a?token=${{TEST_TOKEN}}") == b"x"
    with pytest.raises(StorageError) as raised:
        by_uri.read_bytes(f"{web_server.url}/no?token=${{TEST_TOKEN}}")
    assert "s3cr3t" not in str(raised.value)
    assert "${TEST_TOKEN}" in str(raised.value)


def test_a_password_in_variables_goes_to_its_server_and_to_no_other(
    web_server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_USER", "ada")
    monkeypatch.setenv("TEST_PASSWORD", "p%2Fss word")
    web_server.files = {"/a": b"x"}
    web_server.redirects = {"/moved": f"{web_server.url}/a"}
    address = web_server.url.replace("://", "://${TEST_USER}:${TEST_PASSWORD}@")

    assert by_uri.read_bytes(f"{address}/a") == b"x"

    basic = "Basic " + base64.b64encode(b"ada:p/ss word").decode()
    assert web_server.authorizations == [basic]
    assert by_uri.read_bytes(f"{address}/moved") == b"x"
    assert web_server.authorizations == [basic, basic]  # not a third time, where it was sent on


def test_a_redirect_to_another_host_is_refused(web_server: WebServer) -> None:
    other = type(web_server)()
    try:
        other.files = {"/a": b"x"}
        web_server.files = {"/b": b"y"}
        elsewhere = other.url.replace("127.0.0.1", "localhost")
        web_server.redirects = {"/port": f"{other.url}/a", "/host": f"{elsewhere}/a", "/here": "/b"}
        for path in ("/port", "/host"):
            for ask in (by_uri.stat, by_uri.read_bytes):
                with pytest.raises(StorageError, match="another host"):
                    ask(f"{web_server.url}{path}")
        assert other.requests == []
        assert by_uri.read_bytes(f"{web_server.url}/here") == b"y"
    finally:
        other.close()


@pytest.mark.parametrize(
    ("old", "new", "is_same"),
    [
        ("http://h/a", "https://h/a", True),
        ("https://h/a", "http://h/a", False),
        ("http://h:80/a", "http://H/b", True),
        ("http://h:8080/a", "http://h/a", False),
        ("http://h/a", "http://h.evil/a", False),
    ],
)
def test_which_redirects_stay_within_a_host(old: str, new: str, is_same: bool) -> None:
    assert _is_same_host(old, new) is is_same


def test_a_password_is_not_in_the_message_of_an_address_that_cannot_be_read() -> None:
    for uri in ("http://ada:pass/wordX@h/x", "http://ada:a:wordX@h:y/x"):
        with pytest.raises(StorageError) as raised:
            by_uri.read_bytes(uri)
        assert "wordX" not in redact(str(raised.value))


def test_offline_every_uri_that_needs_a_network_is_refused_by_name(
    web_server: WebServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RV_OFFLINE", "1")
    for uri in (f"{web_server.url}/a", "s3://bucket/a", "gs://bucket/a"):
        with pytest.raises(StorageError, match="RV_OFFLINE") as raised:
            by_uri.exists(uri)
        assert raised.value.block.where == uri
    assert web_server.requests == []
    by_uri.write_bytes("memory://offline/a", b"x")
    by_uri.write_bytes(f"{tmp_path}/a", b"x")


def test_an_unknown_scheme_names_what_to_install() -> None:
    with pytest.raises(StorageError, match="no installed package serves nosuch://") as raised:
        by_uri.exists("nosuch://a/b")
    assert raised.value.exit_code == EXIT_ENVIRONMENT
    assert "pip install" in raised.value.block.fix


def test_a_scheme_of_this_project_names_its_package(fresh_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "candidates", lambda environ: [])
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(StoreAccessError, match="no installed package serves s3://") as raised:
        by_uri.exists("s3://bucket/a")
    assert raised.value.block.fix == "pip install rv-store-s3"


def test_a_store_that_is_switched_off_says_so(fresh_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh_site.install("rv-store-mine", _MINE)
    monkeypatch.setenv("RV_DISABLE_PLUGINS", "rv-store-mine")
    with pytest.raises(StoreAccessError, match="disabled by RV_DISABLE_PLUGINS"):
        by_uri.exists("mine://a/b")


def test_a_store_whose_library_is_missing_names_its_plugin(fresh_site: Site) -> None:
    fresh_site.install("rv-mine", _MINE, files={"store.py": _STORE + "import no_such_library\n"})
    with pytest.raises(StoreAccessError, match="mine:// cannot be used: plugin 'rv_mine'") as raised:
        by_uri.exists("mine://a/b")
    assert "no_such_library" in str(raised.value)


def test_a_plugin_serves_its_scheme(fresh_site: Site) -> None:
    fresh_site.install("rv-mine", _MINE, files={"store.py": _STORE + "self.scheme = scheme\n"})
    with pytest.raises(StorageError, match="mine here"):
        by_uri.exists("mine://a/b")


def test_a_target_that_cannot_be_imported_is_an_error_of_access(fresh_site: Site) -> None:
    fresh_site.install("rv-mine", _MINE, files={"store.py": "import no_such_library\n"})
    with pytest.raises(StoreAccessError, match="declared by plugin 'rv_mine'"):
        by_uri.exists("mine://a/b")


def test_files_of_this_machine_load_no_plugin(tmp_path: Path) -> None:
    code = f"""
import sys
from rv_core.files import by_uri
assert not by_uri.exists({str(tmp_path)!r} + "/a") and not by_uri.exists("file://" + {str(tmp_path)!r} + "/a")
assert "rv_core.plugins.installed" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_store_that_is_no_object_store_is_written_aside_and_renamed(tmp_path: Path) -> None:
    # "local://" is fsspec's own name for files: for us a plugin as any other.
    root = f"local://{tmp_path}/root"
    bound = Storage(root)
    bound.write_text("a/b.txt", "x")
    with bound.output_file("c/d.bin") as path:
        path.write_bytes(b"y")
    assert by_uri.write_once(f"{root}/e/once", b"1")
    assert not by_uri.write_once(f"{root}/e/once", b"2")
    assert set(bound.list_files()) == {"a/b.txt", "c/d.bin", "e/once"}
    assert bound.input_file("c/d.bin").read_bytes() == b"y"
    by_uri.delete(f"{root}/a/b.txt")
    assert not bound.exists("a/b.txt")


def test_pauses_grow_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RV_RETRY_S", "0")
    assert list(stores.retry_delays()) == []
    monkeypatch.setenv("RV_RETRY_S", "30")
    pauses = stores.retry_delays()
    first, *_, eighth = [next(pauses) for _ in range(8)]
    assert first <= 0.2
    assert 4 <= eighth <= 8


def test_a_retry_time_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RV_RETRY_S", "soon")
    with pytest.raises(ConfigError, match="soon"):
        stores.retry_time_s()


def test_a_path_is_not_taken_for_an_answer() -> None:
    uri = "memory://bucket/403/credentials.json"
    lost = asking.explain(stores.LocalStore(), ConnectionError("bucket/403/credentials.json: reset"), "read", uri)
    assert not isinstance(lost, stores.StoreAccessError)
    assert "check the network" in lost.block.fix
    refused = asking.explain(stores.LocalStore(), OSError("bucket/403/credentials.json: 403"), "read", uri)
    assert isinstance(refused, stores.StoreAccessError)


_SIGNER = """
@hookimpl
def rv_sign_uri(uri):
    return {"/plain": None, "/elsewhere": "http://127.0.0.2/x", "/number": 3}.get("/" + uri.rpartition("/")[2], f"{uri}?sig=good")
"""


def test_addresses_are_signed_when_they_are_opened(fresh_site: Site, web_server: WebServer) -> None:
    fresh_site.install("rv-signer", _SIGNER)
    web_server.files, web_server.signature = {"/a.txt": b"a", "/plain": b"b"}, "good"
    assert by_uri.read_bytes(f"{web_server.url}/a.txt") == b"a"
    with pytest.raises(StoreAccessError, match="403"):
        by_uri.read_bytes(f"{web_server.url}/plain")
    for name, told in (("elsewhere", "it returned another address"), ("number", "it returned int")):
        with pytest.raises(StoreAccessError, match=told):
            by_uri.stat(f"{web_server.url}/{name}")


def test_a_signature_that_is_refused_is_one_error_for_all_files(fresh_site: Site, web_server: WebServer) -> None:
    fresh_site.install("rv-signer", _SIGNER)
    web_server.signature = "another"
    with pytest.raises(SignatureRefusedError) as failure:
        by_uri.stat_many([f"{web_server.url}/{number}.txt" for number in range(20)])
    block = failure.value.block
    assert "and 19 more files" in block.where and "(rv-signer 1.0) gave" in block.why and not block.findings
