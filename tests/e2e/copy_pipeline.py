"""A pipeline for the end-to-end tests: copies files with a setting, then joins the copies. Nothing heavy."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from rv_core import Items, Pipeline, PipelineConfig, Uri, command
from rv_core.config.classes import Config


@dataclass(kw_only=True)
class Source(Config):
    id: str
    uri: Uri


@dataclass(kw_only=True)
class CopyConfig(PipelineConfig):
    sources: list[Source] = field(default_factory=list)
    prefix: str = "A"
    suffix: str = "."
    sleep_s: float = 0.0

    def build(self) -> CopyPipeline:
        return CopyPipeline(self)


class CopyPipeline(Pipeline):
    @command(items="sources", reads=("prefix", "sleep_s"))
    def copy(self, sources: Items[Source]) -> None:
        for source in sources:
            text = Path(source.uri).read_text()
            self.storage.write_text(f"copy/{source.id}.txt", f"{self.config.prefix}:{text}")
            time.sleep(self.config.sleep_s)
            self.storage.write_text(f"copy/{source.id}.second.txt", f"{self.config.prefix}:{text}")
            self.record(letters=len(text))

    @command(requires=("copy",), reads=("sources", "suffix"))
    def join(self) -> None:
        parts = []
        for source in self.config.sources:
            both = [self.storage.read_text(f"copy/{source.id}{part}.txt") for part in ("", ".second")]
            assert both[0] == both[1], f"half of another run: {both}"
            parts.append(both[0])
        self.storage.write_text("join/all.txt", self.config.suffix.join(parts))
        print("joined", len(parts), "in process", os.getpid())


def get_config(
    runner: str, root_uri: str, data: str, prefix: str = "A", suffix: str = ".", sleep_s: float = 0.0
) -> CopyConfig:
    names = sorted(path.stem for path in Path(data).glob("*.in"))
    return CopyConfig(
        root_uri=root_uri,
        name="copies",
        sources=[Source(id=name, uri=f"{data}/{name}.in") for name in names],
        prefix=prefix,
        suffix=suffix,
        sleep_s=sleep_s,
    )
