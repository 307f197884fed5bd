"""A pipeline for the tests of what counts as done: how a command walks through its share is given as code."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from rv_core import Items, Pipeline, PipelineConfig, Storage, Summary, command


@dataclass(kw_only=True)
class ShareConfig(PipelineConfig):
    names: list[str] = field(default_factory=lambda: list("abcd"))
    salt: int = 0

    def build(self) -> SharePipeline:
        return SharePipeline(self)


class SharePipeline(Pipeline):
    @command(items="names", reads=("salt",))
    def work(self, names: Items[str]) -> None:
        # Not a field that enters the key: the same items are worked on again in another way.
        body = os.environ["WORK_BODY"]
        exec(body, {**globals(), "self": self, "names": names, "write": self.write, "fail_at": self.fail_at})

    @command(requires=("work",), reads=("names",))
    def join(self) -> None:
        texts = [self.storage.read_text(f"work/{name}.txt") for name in self.config.names]
        self.storage.write_text("join.txt", ",".join(texts))

    def write(self, name: str) -> None:
        self.storage.write_text(f"work/{name}.txt", name)

    def fail_at(self, name: str) -> None:
        if name == os.environ.get("FAIL_AT"):
            os.kill(os.getpid(), signal.SIGKILL)


class TimedPipeline(SharePipeline):
    @command(items="names", reads=("salt",), timeout_s=1)
    def work(self, names: Items[str]) -> None:
        exec(os.environ["WORK_BODY"], {**globals(), "self": self, "names": names, "write": self.write})


@dataclass(kw_only=True)
class TimedConfig(ShareConfig):
    def build(self) -> TimedPipeline:
        return TimedPipeline(self)


class SummedPipeline(SharePipeline):
    def summary(self, storage: Storage, done: Collection[str]) -> Summary | None:
        return Summary({"joined": storage.read_text("join.txt")}) if "join" in done else None


@dataclass(kw_only=True)
class SummedConfig(ShareConfig):
    def build(self) -> SummedPipeline:
        return SummedPipeline(self)


CLASSES = {"share": ShareConfig, "timed": TimedConfig, "summed": SummedConfig}


def get_config(runner: str, root_uri: str, kind: str = "share", timed: bool = False, salt: int = 0) -> ShareConfig:
    return CLASSES["timed" if timed else kind](root_uri=root_uri, salt=salt)


__all__ = ["ThreadPoolExecutor", "itertools", "multiprocessing", "time"]
