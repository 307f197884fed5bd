"""The copying pipeline, held between its plan and its start until a file is there: other things happen in between."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.copy_pipeline import CopyConfig, CopyPipeline, Source

from rv_core import Finding


@dataclass(kw_only=True)
class HeldConfig(CopyConfig):
    def build(self) -> HeldPipeline:
        return HeldPipeline(self)


class HeldPipeline(CopyPipeline):
    def preflight(self, todo: Mapping[str, Sequence[str]]) -> Iterable[Finding]:
        planned, go = os.environ.get("PLANNED"), os.environ.get("GO")
        if planned and go:
            Path(planned).touch()
            end = time.monotonic() + 60
            while not Path(go).exists() and time.monotonic() < end:
                time.sleep(0.02)
        return ()


def get_config(
    runner: str, root_uri: str, data: str, prefix: str = "A", suffix: str = ".", sleep_s: float = 0.0
) -> HeldConfig:
    names = sorted(path.stem for path in Path(data).glob("*.in"))
    sources = [Source(id=name, uri=f"{data}/{name}.in") for name in names]
    return HeldConfig(root_uri=root_uri, name="copies", sources=sources, prefix=prefix, suffix=suffix, sleep_s=sleep_s)
