"""A pipeline for the tests of local runs: every item notes when, where and with what it was worked on."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rv_core import Items, Pipeline, PipelineConfig, command


@dataclass(kw_only=True)
class ProbeConfig(PipelineConfig):
    num_items: int = 4
    sleep_s: float = 0.0
    dies_once: str = ""  # a file: the first attempt that finds it missing makes it and dies by KILL

    def build(self) -> ProbePipeline:
        return ProbePipeline(self)


def names(config: ProbeConfig) -> list[str]:
    return [f"i{index}" for index in range(config.num_items)]


class ProbePipeline(Pipeline):
    @command(items=names, reads=("sleep_s", "dies_once"), attempts=2)
    def look(self, items: Items[str]) -> None:
        for item in items:
            with self._noted(f"look/{item}.json"):
                flag = self.config.dies_once
                if flag and not Path(flag).exists():
                    Path(flag).touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(self.config.sleep_s)

    @command(items=names, requires=("look",), reads=("sleep_s",), gpus=1)
    def compute(self, items: Items[str]) -> None:
        for item in items:
            with self._noted(f"compute/{item}.json"):
                time.sleep(self.config.sleep_s)

    @command(requires=("compute",))
    def finish(self) -> None:
        with self._noted("finish/all.json"):
            pass

    @contextmanager
    def _noted(self, name: str) -> Iterator[None]:
        note = {
            "start": time.time(),
            "pid": os.getpid(),
            "attempt": os.environ.get("RV_ATTEMPT"),
            "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "threads": os.environ.get("OMP_NUM_THREADS"),
        }
        yield
        self.storage.write_text(name, json.dumps({**note, "end": time.time()}))


def get_configs(
    runner: str, root_uri: str, pipelines: int = 1, num_items: int = 4, sleep_s: float = 0.0, dies_once: str = ""
) -> list[ProbeConfig]:
    roots = [root_uri] if pipelines == 1 else [f"{root_uri}/p{number}" for number in range(pipelines)]
    return [
        # Each with work of its own: what is equal would be done once.
        ProbeConfig(
            root_uri=root,
            name=f"probe{number}",
            num_items=num_items,
            sleep_s=sleep_s + number / 1000,
            dies_once=dies_once,
        )
        for number, root in enumerate(roots)
    ]
