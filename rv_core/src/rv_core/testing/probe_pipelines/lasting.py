"""Tasks that take long: until a rule lets them go, or for a time."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass

from rv_core import Items, command
from rv_core.testing.probe_pipelines.base import _LIMIT_S, _POLL_S, ProbeConfig, ProbePipeline, item_names


@dataclass(kw_only=True)
class HoldConfig(ProbeConfig):
    """Config of `HoldPipeline`.

    Args:
        hold_from: items from this number on are held until the root has the marker `release`.
        child_file: a local file to which a process that the task starts adds a line now and then; "" for none.
    """

    hold_from: int = 0
    child_file: str = ""

    def build(self) -> HoldPipeline:
        """The pipeline of this config."""
        return HoldPipeline(self)


class HoldPipeline(ProbePipeline):
    """`work` waits to be released and shows meanwhile that it lives; `after` requires it."""

    @command(items=item_names, reads=("hold_from", "child_file"))
    def work(self, items: Items[str]) -> None:
        """Write one file per item once it is released."""
        for item in items:
            if int(item.partition("-")[2]) >= self.config.hold_from:
                self._start_child()
                self._hold(item)
            self.storage.write_text(f"work/{item}.txt", f"{item}\n")

    @command(requires=("work",), reads=("num_items",))
    def after(self) -> None:
        """Read all files."""
        texts = [self.storage.read_text(f"work/{item}.txt") for item in item_names(self.config)]
        self.storage.write_text("after/all.txt", "".join(texts))

    def _hold(self, item: str) -> None:
        end = time.monotonic() + _LIMIT_S
        beat = 0
        while not self._is_marked("release"):
            if time.monotonic() > end:
                raise TimeoutError(f"{item} was never released")
            beat += 1
            self._mark(f"beat.{item}.{os.uname().nodename}.{os.getpid()}", str(beat))
            time.sleep(_POLL_S)

    def _start_child(self) -> None:
        if self.config.child_file:
            loop = 'n=0; while [ $n -lt 600 ]; do echo beat >> "$1"; n=$((n + 1)); sleep 0.1; done'
            subprocess.Popen(["/bin/sh", "-c", loop, "child", self.config.child_file], stdin=subprocess.DEVNULL)


@dataclass(kw_only=True)
class SlowConfig(ProbeConfig):
    """Config of `SlowPipeline`."""

    def build(self) -> SlowPipeline:
        """The pipeline of this config."""
        return SlowPipeline(self)


class SlowPipeline(ProbePipeline):
    """A command that takes longer than it may."""

    @command(timeout_s=1)
    def sleep(self) -> None:
        """Sleep far beyond the time limit."""
        time.sleep(_LIMIT_S)
        self.storage.write_text("sleep/all.txt", "")
