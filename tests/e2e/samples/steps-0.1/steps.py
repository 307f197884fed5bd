"""A user's own module, given by path: reads numbers, works on each, adds them up. Environment variables stop it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from rv_core import Config, Items, Pipeline, PipelineConfig, Uri, command


@dataclass(kw_only=True)
class Tile(Config):
    id: str
    uri: Uri


@dataclass(kw_only=True)
class Rule(Config):
    is_abstract: ClassVar[bool] = True


@dataclass(kw_only=True)
class Times(Rule):
    factor: int = 1


@dataclass(kw_only=True)
class StepsConfig(PipelineConfig):
    tiles: list[Tile] = field(default_factory=list)
    rule: Rule = field(default_factory=Times)
    title: str = "total"

    def build(self) -> StepsPipeline:
        return StepsPipeline(self)


class StepsPipeline(Pipeline):
    @command(items="tiles")
    def read(self, tiles: Items[Tile]) -> None:
        for tile in tiles:
            number = int(Path(os.path.expandvars(tile.uri)).read_text())
            self.storage.write_text(f"read/{tile.id}.txt", f"{number}\n")
            self.record(number=number)

    @command(items="tiles", requires=("read",), reads=("rule",))
    def scale(self, tiles: Items[Tile]) -> None:
        for tile in tiles:
            print("scaling", tile.id)
            number = int(self.storage.read_text(f"read/{tile.id}.txt"))
            if os.environ.get("STEPS_FAIL_ON") == tile.id:
                raise RuntimeError(f"asked to fail on {tile.id}")
            self.storage.write_text(f"scale/{tile.id}.txt", f"{number * self.config.rule.factor}\n")
            if os.environ.get("STEPS_STOP_AT") == tile.id:
                print("stopping at", tile.id)
                time.sleep(600)
            self.storage.write_text(f"scale/{tile.id}.unit.txt", "m\n")

    @command(requires=("scale",), reads=("tiles", "title"))
    def total(self) -> None:
        numbers = [int(self.storage.read_text(f"scale/{tile.id}.txt")) for tile in self.config.tiles]
        self.storage.write_text("total/total.txt", f"{self.config.title}: {sum(numbers)}\n")
        print("added", len(numbers))


def get_config(runner: str, root_uri: str) -> StepsConfig:
    tiles = [Tile(id=name, uri=f"${{STEPS_DATA}}/{name}.txt") for name in ("a", "b", "c", "d", "e")]
    return StepsConfig(root_uri=root_uri, name="steps", tiles=tiles, rule=Times(factor=3))
