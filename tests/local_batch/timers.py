"""Things to do at a moment to come."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable


class Timers:
    """A heap of actions by their time; nothing runs by itself."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def add(self, delay_s: float, action: Callable[[], None]) -> None:
        """Do something after a while."""
        heapq.heappush(self._heap, (time.monotonic() + delay_s, next(self._numbers), action))

    def run_due(self) -> float | None:
        """Do what is due.

        Returns:
            How long until the next one; None if there is none.
        """
        while self._heap and self._heap[0][0] <= time.monotonic():
            heapq.heappop(self._heap)[2]()
        return max(0.0, self._heap[0][0] - time.monotonic()) if self._heap else None
