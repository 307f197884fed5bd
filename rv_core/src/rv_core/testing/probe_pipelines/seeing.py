"""What a task sees: its items, its environment, its place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from rv_core import Items, command
from rv_core.testing.probe_pipelines.base import ProbeConfig, ProbePipeline, item_names, log


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
        log.info("info of %s %s", command, item)
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
