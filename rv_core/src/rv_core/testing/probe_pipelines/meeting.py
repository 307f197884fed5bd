"""Tasks that need others beside them, or must be alone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rv_core import Items, command
from rv_core.files import by_uri
from rv_core.testing.probe_pipelines.base import _POLL_S, ProbeConfig, ProbePipeline, item_names


@dataclass(kw_only=True)
class MeetConfig(ProbeConfig):
    """Config of `MeetPipeline`.

    Args:
        patience_s: how long an item waits for the others.
    """

    patience_s: float = 30.0

    def build(self) -> MeetPipeline:
        """The pipeline of this config."""
        return MeetPipeline(self)


class MeetPipeline(ProbePipeline):
    """Every item waits until all others have begun: only tasks that run at the same time get through."""

    @command(items=item_names, reads=("num_items", "patience_s"))
    def meet(self, items: Items[str]) -> None:
        """Wait for the others."""
        for item in items:
            self._mark(f"here.{item}")
            self._wait_for([f"here.{other}" for other in item_names(self.config)])
            self.storage.write_text(f"meet/{item}.txt", "met\n")

    def _wait_for(self, names: list[str]) -> None:
        end = time.monotonic() + self.config.patience_s
        while not all(map(self._is_marked, names)):
            if time.monotonic() > end:
                raise TimeoutError("the others did not come")
            time.sleep(_POLL_S)


@dataclass(kw_only=True)
class AloneConfig(ProbeConfig):
    """Config of `AlonePipeline`."""

    def build(self) -> AlonePipeline:
        """The pipeline of this config."""
        return AlonePipeline(self)


class AlonePipeline(ProbePipeline):
    """Two items at once are a failure: of `alone` and `wide` always, of `on_gpu` where they have one device."""

    @command(items=item_names)
    def alone(self, items: Items[str]) -> None:
        """Fail if another item is being worked on."""
        for item in items:
            with self._only_one("alone"):
                time.sleep(_POLL_S)
            self.storage.write_text(f"alone/{item}.txt", "")

    @command(items=item_names, cpus=4096)
    def wide(self, items: Items[str]) -> None:
        """Fail if another item is being worked on, though each wants all the cores that there are."""
        for item in items:
            with self._only_one("wide"):
                time.sleep(10 * _POLL_S)
            self.storage.write_text(f"wide/{item}.txt", "")

    @command(items=item_names, gpus=1)
    def on_gpu(self, items: Items[str]) -> None:
        """Note the device that this task sees; fail if another task has it."""
        for item in items:
            device = os.environ.get("CUDA_VISIBLE_DEVICES", "")
            if device:
                with self._only_one(f"gpu.{os.uname().nodename}.{device.replace('/', '_')}"):
                    time.sleep(2 * _POLL_S)
            self.storage.write_text(f"on_gpu/{item}.txt", device)

    @contextmanager
    def _only_one(self, name: str) -> Iterator[None]:
        if not self._mark_once(name):
            raise RuntimeError(f"two tasks at once: {name}")
        try:
            yield
        finally:
            by_uri.delete(self._marker(name))
