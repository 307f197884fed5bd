"""Progress of a prediction on a line of the terminal that is written again and again."""

from __future__ import annotations

import sys
import time

from rv_core.wording import duration_text
from rv_pipeline_chip_classification.control import Unheard


def progress_in_words(done: int, total: int, cells_per_s: float) -> str:
    """How far an image is: share of its cells, and how long the rest will take at this rate."""
    text = f"{100 * done // max(total, 1)} % of {total} cells"
    if cells_per_s <= 0:
        return text
    return f"{text}, {cells_per_s:.0f}/s, {duration_text((total - done) / cells_per_s)} left"


class LiveLine(Unheard):
    """Progress of one image on a terminal; silent elsewhere."""

    def __init__(self, label: str) -> None:
        self._label, self._is_live, self._shown_s = label, sys.stderr.isatty(), 0.0

    def progress(self, done: int, total: int, **numbers: float) -> None:
        """Rewrite the line, at most ten times a second."""
        now = time.monotonic()
        if self._is_live and now - self._shown_s > 0.1:
            self._shown_s = now
            words = progress_in_words(done, total, numbers.get("cells_per_s", 0.0))
            sys.stderr.write(f"\r\x1b[K{self._label}: {words}")
            sys.stderr.flush()

    def __enter__(self) -> LiveLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_live:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
