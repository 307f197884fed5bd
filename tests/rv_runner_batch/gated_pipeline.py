"""A pipeline whose tasks wait for files of this machine, so that tests can look at a run in any of its states."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from rv_core import Items, Pipeline, PipelineConfig, command


@dataclass(kw_only=True)
class GatedConfig(PipelineConfig):
    """`gate` is a folder: a task writes `started.NAME` there and waits for `go` or `go.NAME`."""

    gate: str
    num_items: int = 4
    greeting: str = "hello"

    def build(self) -> GatedPipeline:
        return GatedPipeline(self)


def names(config: GatedConfig) -> list[str]:
    return [f"i{index}" for index in range(config.num_items)]


class GatedPipeline(Pipeline):
    @command(items=names, reads=("gate", "greeting"))
    def work(self, items: Items[str]) -> None:
        for item in items:
            self._pass(item)
            self.storage.write_text(f"work/{item}.txt", f"{self.config.greeting} {item}\n")

    @command(requires=("work",), reads=("gate",), gpus=1)
    def train(self) -> None:
        """Counts to 5, and goes on where it was stopped."""
        state = "train/state.json"
        step = json.loads(self.storage.read_text(state))["step"] if self.storage.exists(state) else 0
        log = [step]
        with self.stop_gracefully():
            while step < 5:
                step += 1
                if step == 3 and log[0] == 0:
                    self._pass("train", is_patient=False)
                if self.stop_requested:
                    self.storage.write_text(state, json.dumps({"step": step}))
                    self.stopped()
        self.storage.write_text("train/weights.txt", f"{step}, started from {log[0]}\n")

    @command(requires=("train",), reads=("gate",))
    def report(self) -> None:
        self._pass("report")
        self.storage.write_text("report/all.txt", "done\n")

    def _pass(self, name: str, *, is_patient: bool = True) -> None:
        gate = Path(self.config.gate)
        attempt = os.environ.get("AWS_BATCH_JOB_ATTEMPT", "1")
        (gate / f"started.{name}").write_text(attempt)
        if (gate / f"fail.{name}").exists():
            raise RuntimeError(f"asked to fail on {name}")
        if (gate / f"kill.{name}").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        for _ in range(3000):
            if (gate / "go").exists() or (gate / f"go.{name}").exists() or (not is_patient and self.stop_requested):
                return
            time.sleep(0.02)
        raise TimeoutError(f"nobody opened the gate for {name}")


def get_config(runner: str, root_uri: str, gate: str, num_items: int = 4, greeting: str = "hello") -> GatedConfig:
    return GatedConfig(root_uri=root_uri, gate=gate, num_items=num_items, greeting=greeting)
