"""Progress of a prediction on a line of the terminal that is written again and again."""

from __future__ import annotations

import sys
import time
from typing import NoReturn


class LiveLine:
    """Progress of one image on a terminal; silent elsewhere."""

    key, stop_requested = "", False

    def __init__(self, label: str) -> None:
        self._label, self._is_live, self._shown_s = label, sys.stderr.isatty(), 0.0

    def progress(self, done: int, total: int, **numbers: float) -> None:
        """Rewrite the line, at most ten times a second."""
        now = time.monotonic()
        if self._is_live and now - self._shown_s > 0.1:
            self._shown_s = now
            rate = f", {numbers['cells_per_s']:.0f}/s" if "cells_per_s" in numbers else ""
            sys.stderr.write(f"\r\x1b[K{self._label}: {done} of {total} cells{rate}")
            sys.stderr.flush()

    def record(self, **counts: float) -> None:
        """Nothing keeps counts here."""

    def stopped(self) -> NoReturn:
        """Never called: Ctrl-C ends the process."""
        raise KeyboardInterrupt

    def __enter__(self) -> LiveLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_live:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
