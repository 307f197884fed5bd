"""The chip-classification pipeline passes the conformance kit for pipelines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

pytest.importorskip("torch")
from tests.e2e.small_experiment import get_config, write_scenes

from rv_core.pipeline.pipeline import PipelineConfig
from rv_core.testing import PipelineConformance

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module", autouse=True)
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, size_px=64)
    TestChipClassification.data = str(folder)
    yield
    TestChipClassification.data = ""


class TestChipClassification(PipelineConformance):
    changed_fields: ClassVar[dict[str, Any]] = {"seed": 1, "train.num_epochs": 1}
    data: ClassVar[str] = ""

    def make_config(self, root_uri: str) -> PipelineConfig:
        return get_config("inprocess", self.data, root_uri, num_epochs=2)
