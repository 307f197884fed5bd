"""The shipped pipelines pass the conformance kit for pipelines, and the kit finds what is wrong with others."""

from __future__ import annotations

from typing import Any, ClassVar

from rv_core.hello import HelloConfig
from rv_core.testing import PipelineConformance


class TestHello(PipelineConformance):
    changed_fields: ClassVar[dict[str, Any]] = {"greeting": "good morning", "num_items": 5}

    def make_config(self, root_uri: str) -> HelloConfig:
        return HelloConfig(root_uri=root_uri, num_items=4)
