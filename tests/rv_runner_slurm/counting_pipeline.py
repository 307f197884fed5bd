"""A pipeline whose tasks tell where they ran, and one that goes on where it was stopped."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from rv_core import Items, Pipeline, PipelineConfig, command


@dataclass(kw_only=True)
class CountingConfig(PipelineConfig):
    """`pace_s`: how long each of the 20 steps of `count` takes; `faults`: a folder with a file for every item to fail."""

    num_items: int = 5
    pace_s: float = 0.0
    faults: str = "/nowhere"

    def build(self) -> CountingPipeline:
        return CountingPipeline(self)


class CountingPipeline(Pipeline):
    @command(items=lambda config: [f"i{n}" for n in range(config.num_items)], reads=("faults",))
    def note(self, items: Items[str]) -> None:
        for item in items:
            if Path(self.config.faults, item).exists():
                raise RuntimeError(f"asked to fail on {item}")
            names = ("SLURM_ARRAY_TASK_ID", "SLURMD_NODENAME", "RV_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "COLOUR")
            seen = {name: os.environ.get(name) for name in names}
            self.storage.write_text(f"note/{item}.json", json.dumps({**seen, "threads": len(os.sched_getaffinity(0))}))

    @command(requires=("note",), reads=("pace_s",), attempts=3)
    def count(self) -> None:
        step = json.loads(self.storage.read_text("count/state")) if self.storage.exists("count/state") else 0
        begun = step
        with self.stop_gracefully():
            while step < 20:
                time.sleep(self.config.pace_s)
                step += 1
                if self.stop_requested:
                    self.storage.write_text("count/state", json.dumps(step))
                    self.stopped()
        self.storage.write_text("count/done", f"{step}, begun at {begun}\n")

    @command(requires=("count",), gpus=1)
    def devices(self) -> None:
        self.storage.write_text("devices", os.environ.get("CUDA_VISIBLE_DEVICES", "none"))


def get_config(
    runner: str, root_uri: str, num_items: int = 5, pace_s: float = 0.0, faults: str = "/nowhere"
) -> CountingConfig:
    return CountingConfig(root_uri=root_uri, num_items=num_items, pace_s=pace_s, faults=faults)
