"""The stores of the core pass the conformance kit: local files, and memory through fsspec."""

from __future__ import annotations

from pathlib import Path

import pytest

from rv_core.testing import StoreConformance


class TestLocalFiles(StoreConformance):
    unreachable_uri = "file://other-machine/a/b"

    @pytest.fixture
    def rv_store_uri(self, tmp_path: Path) -> str:
        return str(tmp_path / "with space")


class TestMemory(StoreConformance):
    store_uri = "memory://rv-store-conformance"
