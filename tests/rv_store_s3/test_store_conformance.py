"""The stores of this package pass the conformance kit: S3 on a real server, the others on servers of our own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from tests.rv_store_s3.blob_servers import blob_server

from rv_core.testing import StoreConformance

if TYPE_CHECKING:
    from tests.file_servers import WebServer

pytest.importorskip("rv_store_s3.hooks")

pytest_plugins = ("tests.file_servers",)
_ADDRESSES = ("AWS_ENDPOINT_URL", "GOOGLE_BASE_URL", "AZURE_STORAGE_ENDPOINT")
_NOBODY = {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}


class ObjectStoreConformance(StoreConformance):
    @pytest.fixture
    def rv_unreachable_uri(self, rv_store_uri: str, monkeypatch: pytest.MonkeyPatch) -> str:
        for name in _ADDRESSES:
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        return f"{rv_store_uri}/a"

    @pytest.fixture
    def rv_refused_uri(self, rv_store_uri: str, web_server: WebServer, monkeypatch: pytest.MonkeyPatch) -> str:
        web_server.failures = [403] * 20
        for name in _ADDRESSES:
            monkeypatch.setenv(name, web_server.url)
        return f"{rv_store_uri}/a"


@pytest.mark.s3
class TestS3(ObjectStoreConformance):
    @pytest.fixture(autouse=True)
    def rv_store_uri(self, s3_root: str) -> str:
        return s3_root


class TestGoogle(ObjectStoreConformance):
    @pytest.fixture(autouse=True)
    def rv_store_uri(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        with blob_server("rv-test") as url:
            monkeypatch.setenv("GOOGLE_BASE_URL", url)
            monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps({**_NOBODY, "gcs_base_url": url}))
            yield "gs://rv-test/root"


class TestAzure(ObjectStoreConformance):
    @pytest.fixture(autouse=True)
    def rv_store_uri(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        with blob_server("rv-test") as url:
            monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", url)
            monkeypatch.setenv("AZURE_SKIP_SIGNATURE", "true")
            monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
            yield "az://rv-test/root"
