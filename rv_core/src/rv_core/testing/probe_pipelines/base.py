"""The small pipelines that the rules of the conformance kit run. They need no more than the core.

Each leaves evidence under its root: notes of what a task saw, and markers by which rules and tasks talk to each other.
A marker is written past the storage of the task, so that it is no output and nothing is done again because of it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated

from rv_core import Pipeline, PipelineConfig, Range
from rv_core.files import by_uri, uris

#: How long a task goes on that a rule forgets to end.
_LIMIT_S = 120.0
_POLL_S = 0.1
log = logging.getLogger("rv_core.testing")


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
        return uris.join(self.config.root_uri, "markers", name)

    def _mark(self, name: str, text: str = "") -> None:
        by_uri.write_bytes(self._marker(name), text.encode())

    def _mark_once(self, name: str) -> bool:
        return by_uri.write_once(self._marker(name), b"")

    def _is_marked(self, name: str) -> bool:
        return by_uri.exists(self._marker(name))
