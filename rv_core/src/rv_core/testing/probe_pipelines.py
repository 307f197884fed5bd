"""The small pipelines that the rules of the conformance kit run. They need no more than the core.

Each leaves evidence under its root: notes of what a task saw, and markers by which rules and tasks talk to each other.
A marker is written past the storage of the task, so that it is no output and nothing is done again because of it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from rv_core import Items, Pipeline, PipelineConfig, Range, command
from rv_core.files import storage, uris

#: How long a task goes on that a rule forgets to end.
_LIMIT_S = 120.0
_POLL_S = 0.1
_log = logging.getLogger("rv_core.testing")


@dataclass(kw_only=True)
class ProbeConfig(PipelineConfig):
    """Base of the probes' configs.

    Args:
        num_items: how many items a command with items has: item-0, item-1 and so on.
    """

    num_items: Annotated[int, Range(min=1)] = 3


def item_names(config: ProbeConfig) -> list[str]:
    """The items of every probe."""
    return [f"item-{index}" for index in range(config.num_items)]


class ProbePipeline(Pipeline):
    """What the probes share: markers under the root."""

    def _marker(self, name: str) -> str:
        return uris.join(self._config.root_uri, "markers", name)

    def _mark(self, name: str, text: str = "") -> None:
        storage.write_bytes(self._marker(name), text.encode())

    def _mark_once(self, name: str) -> bool:
        return storage.write_once(self._marker(name), b"")

    def _is_marked(self, name: str) -> bool:
        return storage.exists(self._marker(name))


# --- what a task sees ---------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class SurveyConfig(ProbeConfig):
    """Config of `SurveyPipeline`.

    Args:
        text: a text that every task writes down as it got it.
    """

    text: str = ""

    def build(self) -> SurveyPipeline:
        """The pipeline of this config."""
        return SurveyPipeline(self)


class SurveyPipeline(ProbePipeline):
    """A diamond: `first` before `left` and `right`, both before `last`. Every task notes what it sees and prints."""

    @command(items=item_names, reads=("text",))
    def first(self, items: Items[str]) -> None:
        """Note what every item's task sees."""
        for item in items:
            self._note("first", item)

    @command(items=item_names, requires=("first",), reads=("text",))
    def left(self, items: Items[str]) -> None:
        """Read what `first` wrote for the same item."""
        for item in items:
            self.storage.read_text(f"first/{item}.json")
            self._note("left", item)

    @command(requires=("first",), reads=("num_items", "text"))
    def right(self) -> None:
        """Read what `first` wrote for all items."""
        for item in item_names(self.config):
            self.storage.read_text(f"first/{item}.json")
        self._note("right", "all")

    @command(requires=("left", "right"), reads=("num_items", "text"))
    def last(self) -> None:
        """Read everything and write which items were there."""
        found = [json.loads(self.storage.read_text(f"left/{item}.json"))["item"] for item in item_names(self.config)]
        self.storage.read_text("right/all.json")
        self._note("last", "all", items=found)

    def _note(self, command: str, item: str, **more: Any) -> None:
        print(f"stdout of {command} {item}")
        print(f"stderr of {command} {item}", file=sys.stderr)
        _log.info("info of %s %s", command, item)
        sys.stdout.flush()
        subprocess.run(["/bin/sh", "-c", f"echo child of {command} {item}"], check=True)
        note = {
            "item": item,
            "pipeline": self.config.name,
            "text": self.config.text,
            "argv": sys.argv,
            "environ": seen_environ(),
            "pid": os.getpid(),
            "host": os.uname().nodename,
            **more,
        }
        self.storage.write_text(f"{command}/{item}.json", json.dumps(note))


def seen_environ() -> dict[str, str]:
    """The variables that rules look at; no others, which may be secret."""
    names = ("PATH", "HOME", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
    own = ("RV_RUN_ID", "RV_ATTEMPT", "RV_PROFILE")
    return {
        name: value for name, value in os.environ.items() if name in (*names, *own) or name.startswith("CONFORMANCE_")
    }


# --- what fails -----------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class FaultConfig(ProbeConfig):
    """Config of `FaultPipeline`.

    Args:
        fault: `raise`, `exit-7`, `exit-0`, `kill` or `stop`; "" for none.
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
        if fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit({"exit-0": 0, "exit-7": 7}[fault])


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


# --- what takes long ------------------------------------------------------------------------------------------------------


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


# --- what needs others, or must be alone ----------------------------------------------------------------------------------


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
    """Two items at once are a failure: those of `alone` always, those of `on_gpu` where they have one device."""

    @command(items=item_names)
    def alone(self, items: Items[str]) -> None:
        """Fail if another item is being worked on."""
        for item in items:
            with self._only_one("alone"):
                time.sleep(_POLL_S)
            self.storage.write_text(f"alone/{item}.txt", "")

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
            storage.delete(self._marker(name))


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
