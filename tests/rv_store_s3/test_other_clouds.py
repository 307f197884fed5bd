"""`gs://`, `az://` and `abfs://` through obstore, against servers on loopback that answer as the services document."""

from __future__ import annotations

import concurrent.futures
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.rv_store_s3.blob_servers import blob_server

from rv_core.errors import EXIT_ENVIRONMENT, StorageError
from rv_core.files import by_uri
from rv_core.files.problems import MissingFileError

pytest.importorskip("rv_store_s3.hooks")

#: obstore signs what it puts also where it is told to sign nothing.
_NOBODY = {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
_ROOTS = ("gs://rv-test/root", "az://rv-test/root", "abfs://rv-test@account.dfs.core.windows.net/root")


@pytest.fixture(params=_ROOTS)
def root(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with blob_server("rv-test") as url:
        monkeypatch.setenv("GOOGLE_BASE_URL", url)
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps({**_NOBODY, "gcs_base_url": url}))
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", url)
        monkeypatch.setenv("AZURE_SKIP_SIGNATURE", "true")
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
        monkeypatch.setenv("RV_RETRY_S", "1")
        yield request.param


def test_objects_are_written_read_listed_and_deleted(root: str) -> None:
    by_uri.write_bytes(f"{root}/a/t.txt", b"one")
    by_uri.write_bytes(f"{root}/a/b c/\N{LATIN SMALL LETTER U WITH DIAERESIS}.bin", b"x")
    by_uri.write_bytes(f"{root}/ab", b"")
    assert by_uri.read_bytes(f"{root}/a/t.txt") == b"one"
    assert {name: info.size for name, info in by_uri.list_files(f"{root}/a").items()} == {
        "t.txt": 3,
        "b c/\N{LATIN SMALL LETTER U WITH DIAERESIS}.bin": 1,
    }
    by_uri.delete(f"{root}/a/t.txt")
    by_uri.delete(f"{root}/a/t.txt")
    assert not by_uri.exists(f"{root}/a/t.txt")
    with pytest.raises(MissingFileError):
        by_uri.read_bytes(f"{root}/a/t.txt")


def test_of_many_writers_at_once_one_creates(root: str) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: by_uri.write_once(f"{root}/marker", b"%d" % n), range(8)))
    assert sum(won) == 1
    assert by_uri.read_bytes(f"{root}/marker") == b"%d" % won.index(True)


def test_a_missing_bucket_is_named(root: str) -> None:
    with pytest.raises(StorageError, match="no such bucket"):
        by_uri.read_bytes(root.replace("rv-test", "no-test") + "/a")


def test_a_container_without_an_account_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageError, match="storage account") as raised:
        by_uri.exists("az://container/a")
    assert raised.value.exit_code == EXIT_ENVIRONMENT
    assert "AZURE_STORAGE_ACCOUNT_NAME" in raised.value.block.fix


def test_the_account_of_the_uri_goes_before_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []
    obstore = pytest.importorskip("obstore.store")
    monkeypatch.setattr(obstore, "AzureStore", lambda name, **options: made.append({"name": name, **options}))
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "other")
    azure = pytest.importorskip("rv_store_s3.azure")
    azure.AzureStore("abfs").new_bucket("box@mine.dfs.core.windows.net", "abfs://box@mine.dfs.core.windows.net/a")
    azure.AzureStore("az").new_bucket("box", "az://box/a")
    assert [(call["name"], call["account_name"]) for call in made] == [("box", "mine"), ("box", "other")]
