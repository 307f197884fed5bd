"""Tasks that fail in every way there is."""

from __future__ import annotations

import atexit
import os
import signal
from dataclasses import dataclass

from rv_core import Items, command
from rv_core.files import by_uri, uris
from rv_core.testing.probe_pipelines.base import ProbeConfig, ProbePipeline, item_names

#: What the fault `spoil` spoils, and what is then said of it.
SPOILT = "probe.after.json"


@dataclass(kw_only=True)
class FaultConfig(ProbeConfig):
    """Config of `FaultPipeline`.

    Args:
        fault: `raise`, `exit-7`, `exit-200`, `exit-0`, `kill` or `stop`; `late-kill` dies when all is done and said; `spoil` spoils
            the record that a task of `after` reads before it opens its log; "" for none.
        fault_item: the item at which it happens.
        times: so many attempts are at fault, later ones are not.
    """

    fault: str = ""
    fault_item: str = "item-1"
    times: int = 99

    def build(self) -> FaultPipeline:
        """The pipeline of this config."""
        return FaultPipeline(self)


class FaultPipeline(ProbePipeline):
    """`after` requires `work`, which is at fault for one item, until it is mended; `aside` requires nothing."""

    @command(items=item_names, reads=("fault", "fault_item", "times"))
    def work(self, items: Items[str]) -> None:
        """Write one file per item, unless at fault."""
        for item in items:
            self._work(item)

    @command(requires=("work",), reads=("num_items",))
    def after(self) -> None:
        """Read all files."""
        texts = [self.storage.read_text(f"work/{item}.txt") for item in item_names(self.config)]
        self.storage.write_text("after/all.txt", "".join(texts))

    @command()
    def aside(self) -> None:
        """Depends on nothing."""
        self.storage.write_text("aside/all.txt", "aside\n")

    def _work(self, item: str) -> None:
        print(f"about to work on {item}", flush=True)
        if item == self.config.fault_item and self.config.fault and not self._is_marked("mended"):
            self._fail(item)
        self.storage.write_text(f"work/{item}.txt", f"{item}\n")

    def _fail(self, item: str) -> None:
        number = next(n for n in range(1, 1000) if self._mark_once(f"fault.{n}"))
        if number > self.config.times:
            return
        fault = self.config.fault
        if fault == "raise":
            raise RuntimeError(f"asked to fail on {item}")
        if fault == "stop":
            self.stopped()
        if fault == "spoil":
            record = f".rv/runs/{os.environ['RV_RUN_ID']}/items/{SPOILT}"
            by_uri.write_bytes(uris.join(self.config.root_uri, record), b"spoilt by a probe")
            return
        if fault == "late-kill":
            atexit.register(os.kill, os.getpid(), signal.SIGKILL)
            return
        if fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit({"exit-0": 0, "exit-7": 7, "exit-200": 200}[fault])


@dataclass(kw_only=True)
class RetriedFaultConfig(FaultConfig):
    """Config of `RetriedFaultPipeline`."""

    def build(self) -> RetriedFaultPipeline:
        """The pipeline of this config."""
        return RetriedFaultPipeline(self)


class RetriedFaultPipeline(FaultPipeline):
    """The same with three attempts."""

    @command(items=item_names, reads=("fault", "fault_item", "times"), attempts=3)
    def work(self, items: Items[str]) -> None:
        """Write one file per item, unless at fault."""
        for item in items:
            self._work(item)
