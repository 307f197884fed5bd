"""A pipeline whose tasks wait for files that tests make, so that these can look at a run in any of its states."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from rv_core import Items, Pipeline, PipelineConfig, command

_PATIENCE_S = 120.0


@dataclass(kw_only=True)
class GatedSlurmConfig(PipelineConfig):
    """`gate` is a folder: a task writes `started.NAME` there and waits for `go` or `go.NAME`."""

    gate: str
    num_items: int = 4

    def build(self) -> GatedSlurmPipeline:
        return GatedSlurmPipeline(self)


def names(config: GatedSlurmConfig) -> list[str]:
    return [f"i{index}" for index in range(config.num_items)]


class GatedSlurmPipeline(Pipeline):
    @command(items=names, reads=("gate",))
    def work(self, items: Items[str]) -> None:
        for item in items:
            self.storage.write_text(f"work/{item}.txt", "whole\n" * 10_000)
            self._pass(item)

    @command(requires=("work",), reads=("gate",), attempts=3)
    def train(self) -> None:
        """Counts to 5, and goes on where it was stopped."""
        state = "train/state.json"
        step = json.loads(self.storage.read_text(state))["step"] if self.storage.exists(state) else 0
        begun = step
        with self.stop_gracefully():
            while step < 5:
                step += 1
                if step == 3 and begun == 0:
                    self._pass("train", is_patient=False)
                if self.stop_requested:
                    self.storage.write_text(state, json.dumps({"step": step}))
                    self.stopped()
        self.storage.write_text("train/weights.txt", f"{step}, started from {begun}\n")

    @command(requires=("train",), reads=("gate",))
    def report(self) -> None:
        self._pass("report")
        self.storage.write_text("report/all.txt", "done\n")

    def _pass(self, name: str, *, is_patient: bool = True) -> None:
        gate = Path(self.config.gate)
        (gate / f"started.{name}").write_text(f"{os.environ['RV_ATTEMPT']} {os.getpid()}")
        if (gate / f"fail.{name}").exists():
            raise RuntimeError(f"asked to fail on {name}")
        end_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end_s:
            if (gate / "go").exists() or (gate / f"go.{name}").exists() or (not is_patient and self.stop_requested):
                return
            time.sleep(0.02)
        raise TimeoutError(f"nobody opened the gate for {name}")


def get_config(runner: str, root_uri: str, gate: str, num_items: int = 4) -> GatedSlurmConfig:
    return GatedSlurmConfig(root_uri=root_uri, gate=gate, num_items=num_items)
