"""A tiny pipeline for trying any runner: `rv run local rv_core.hello -a root_uri out`.

`cpu_task` works through items and can be split; `gpu_task` is marked as wanting a GPU (and does without one where
there is none). Nothing heavy is imported.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import Annotated

from rv_core import Items, Pipeline, PipelineConfig, Range, command


@dataclass(kw_only=True)
class HelloConfig(PipelineConfig):
    """Config of the hello pipeline.

    Args:
        num_items: how many items `cpu_task` works through.
        sleep_s: how long each item takes, in seconds.
        greeting: what is written.
        fail_on: the item that fails, or "" for none.
    """

    num_items: Annotated[int, Range(min=1)] = 4
    sleep_s: Annotated[float, Range(min=0)] = 0.0
    greeting: str = "hello"
    fail_on: str = ""

    def build(self) -> HelloPipeline:
        """The pipeline of this config."""
        return HelloPipeline(self)


def item_names(config: HelloConfig) -> list[str]:
    """The items of `cpu_task`: item-0, item-1 and so on."""
    return [f"item-{index}" for index in range(config.num_items)]


class HelloPipeline(Pipeline):
    """Greets every item, then counts the greetings."""

    def smoke(self, config: HelloConfig) -> HelloConfig:
        """One item."""
        return replace(config, num_items=1)

    @command(items=item_names, reads=("greeting", "sleep_s", "fail_on"))
    def cpu_task(self, names: Items[str]) -> None:
        """Write one file per item."""
        for name in names:
            time.sleep(self.config.sleep_s)
            if name == self.config.fail_on:
                raise RuntimeError(f"asked to fail on {name}")
            self.storage.write_text(f"cpu_task/{name}.txt", f"{self.config.greeting} {name}\n")

    @command(requires=("cpu_task",), reads=("num_items",), gpus=1)
    def gpu_task(self) -> None:
        """Read all greetings and write how many there are and which GPU was seen."""
        greetings = self.storage.read_many(f"cpu_task/item-{i}.txt" for i in range(self.config.num_items))
        device = os.environ.get("CUDA_VISIBLE_DEVICES") or "none"
        self.storage.write_text("gpu_task/summary.txt", f"{len(greetings)} greetings, GPU: {device}\n")
        print(f"{len(greetings)} greetings")


def get_config(
    runner: str, root_uri: str, num_items: int = 4, sleep_s: float = 0.0, greeting: str = "hello", fail_on: str = ""
) -> HelloConfig:
    """The config for `rv run RUNNER rv_core.hello -a root_uri DIR`."""
    return HelloConfig(root_uri=root_uri, num_items=num_items, sleep_s=sleep_s, greeting=greeting, fail_on=fail_on)
