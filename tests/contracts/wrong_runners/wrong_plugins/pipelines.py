"""Pipelines that are wrong on purpose, one fault each."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from rv_core import Items, Pipeline, PipelineConfig, command


@dataclass(kw_only=True)
class NamesConfig(PipelineConfig):
    names: list[str] = field(default_factory=lambda: ["a", "b", "c"])
    greeting: str = "hello"
    pipeline: str = "SoundPipeline"

    def build(self) -> Pipeline:
        return globals()[self.pipeline](self)


class SoundPipeline(Pipeline):
    @command(items="names", reads=("greeting",))
    def greet(self, names: Items[str]) -> None:
        for name in names:
            self.greet_one(name)

    @command(requires=("greet",), reads=("names",))
    def collect(self) -> None:
        texts = [self.storage.read_text(f"greet/{name}.txt") for name in self.config.names]
        self.storage.write_text("collect/all.txt", "".join(texts))

    def greet_one(self, name: str) -> None:
        self.storage.write_text(f"greet/{name}.txt", f"{self.config.greeting} {name}\n")


class WritesPastStoragePipeline(SoundPipeline):
    def greet_one(self, name: str) -> None:
        super().greet_one(name)
        Path(self.config.root_uri, f"{name}.log").write_text("done\n")


class WritesAProcessIdPipeline(SoundPipeline):
    def greet_one(self, name: str) -> None:
        self.storage.write_text(f"greet/{name}.txt", f"{name} {os.getpid()}\n")


class RemembersPipeline(SoundPipeline):
    #: Of the class: an object of its own is what every command gets.
    seen: ClassVar[list[str]] = []

    def greet_one(self, name: str) -> None:
        super().greet_one(name)
        self.seen.append(name)

    @command(requires=("greet",))
    def collect(self) -> None:
        self.storage.write_text("collect/all.txt", " ".join(self.seen))


class SharesAFilePipeline(SoundPipeline):
    def greet_one(self, name: str) -> None:
        super().greet_one(name)
        self.storage.write_text("greet/last.txt", "somebody\n")


class ReadsPastItsDeclarationPipeline(SoundPipeline):
    def __init__(self, config: NamesConfig) -> None:
        super().__init__(config)
        self.greeting = config.greeting

    @command()
    def collect(self) -> None:
        self.storage.write_text("collect/all.txt", self.greeting)


class ForgetsReadsPipeline(SoundPipeline):
    @command(requires=("greet",))
    def collect(self) -> None:
        self.storage.write_text("collect/all.txt", self.config.greeting)


class KeepsTheRootPipeline(SoundPipeline):
    @command(requires=("greet",), reads=("root_uri",))
    def collect(self) -> None:
        self.storage.write_text("collect/all.txt", "all\n")
