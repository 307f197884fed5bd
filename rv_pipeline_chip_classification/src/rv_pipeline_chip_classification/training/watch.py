"""What a training looks at between two batches: whether to save, to stop, or to report."""

from __future__ import annotations

import time
from collections.abc import Callable

from rv_pipeline_chip_classification.control import Control

_REPORT_EVERY_S = 0.25


class Watch:
    """Saves the state when it is time, and before the task ends on request.

    Args:
        control: the task.
        save: writes a checkpoint.
        every_s: seconds between checkpoints.
    """

    def __init__(self, control: Control, save: Callable[[], None], every_s: float) -> None:
        self.control = control
        self._save, self._every_s = save, every_s
        self._saved_s = time.monotonic()

    def look(self) -> None:
        """To be called where the state is whole; does not return if the task was asked to stop."""
        if self.control.stop_requested:
            self._save()
            self.control.stopped()
        if time.monotonic() - self._saved_s >= self._every_s:
            self._save()
            self._saved_s = time.monotonic()


class Pace:
    """Chips per second of one epoch, and when the next report is due: the first one at once, short epochs share one."""

    def __init__(self) -> None:
        self._reported_s = float("-inf")
        self.start_epoch()

    def start_epoch(self) -> None:
        """Count anew."""
        self._started_s = time.monotonic()
        self._num_chips = 0

    def count(self, num_chips: int) -> None:
        """Some more chips are done."""
        self._num_chips += num_chips

    def is_due(self) -> bool:
        """Whether it is time to report; if so, the clock starts anew."""
        now_s = time.monotonic()
        is_due = now_s - self._reported_s >= _REPORT_EVERY_S
        if is_due:
            self._reported_s = now_s
        return is_due

    @property
    def chips_per_s(self) -> float:
        """In this epoch so far."""
        return self._num_chips / max(1e-9, time.monotonic() - self._started_s)
