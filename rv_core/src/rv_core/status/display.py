"""What a person sees while a run is on, drawn from the event files alone, so that it is the same for every runner.

On a terminal and in a notebook a table that is redrawn in place (`live_table`, `notebook_table`), anywhere else dated
lines (`plain_lines`).
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, Self, TextIO

from rv_core.record.event_tail import EventTail, Tail
from rv_core.record.events import TaskStatus
from rv_core.record.progress import Change, JobPlan, RunProgress
from rv_core.status.plain_lines import PlainDisplay
from rv_core.terminal import say
from rv_core.wording import is_plain

POLL_INTERVAL_S = 0.25
#: A live table also shows the time that passes, so it is redrawn this often although nothing happened.
REDRAW_INTERVAL_S = 1.0
#: Share of one core that looking and drawing may take.
CPU_SHARE = 0.015


class Drawing(Protocol):
    """One way of showing the progress of a run."""

    def start(self) -> None:
        """Before the first drawing."""

    def draw(self, progress: RunProgress, changes: Iterable[Change], *, is_last: bool = False) -> None:
        """Show the progress; `changes` are the tasks whose state is new."""

    def stop(self) -> None:
        """After the last drawing."""


def make_drawing(
    stream: TextIO, *, is_quiet: bool, live: bool | None = None, clock: Callable[[], float] = time.time
) -> Drawing:
    """The drawing for a stream; rich is imported only for a live one.

    Args:
        stream: where to draw.
        is_quiet: failures only, as plain lines.
        live: force a live (True) or a plain (False) one; None decides by the stream and the environment. A notebook has
            one of its own, beside what tasks print.
        clock: seconds since 1970.
    """
    if not is_quiet and live is not True and "ipykernel" in sys.modules:
        from rv_core.status.notebook_table import NotebookDisplay, is_notebook

        if is_notebook(stream):
            return NotebookDisplay(clock=clock)
    if is_quiet or not (not is_plain(stream) if live is None else live):
        return PlainDisplay(stream, is_quiet=is_quiet, clock=clock)
    from rv_core.status.live_table import LiveDisplay

    return LiveDisplay(stream, clock=clock)


class Display:
    """Shows the progress of a run while the `with` block runs; a thread of its own looks at the event files.

    Showing never disturbs the run: a display that fails says so once and ends.

    Args:
        jobs: the jobs of the plan, in order: `JobPlan`s or (job id, tasks, all items, items done before) tuples.
        run_dirs: local run folders whose events to follow.
        stream: where to draw; stdout if left out.
        quiet: failures only.
        live: force (True) or forbid (False) the live table; None decides by the stream and the environment.
        tails: where events come from instead of `run_dirs`, for instance a store.
        interval_s: seconds between two looks.
        settles: whether tasks still *running* at the end whose process is gone are shown as lost.
    """

    def __init__(
        self,
        jobs: Sequence[JobPlan | tuple[str, int, int, int]],
        run_dirs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
        *,
        stream: TextIO | None = None,
        quiet: bool = False,
        live: bool | None = None,
        tails: Sequence[Tail] | None = None,
        interval_s: float = POLL_INTERVAL_S,
        settles: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        folders = [run_dirs] if isinstance(run_dirs, str | os.PathLike) else list(run_dirs)
        self.progress = RunProgress(job if isinstance(job, JobPlan) else JobPlan(*job) for job in jobs)
        self.problem = ""
        self._tails: Sequence[Tail] = tails if tails is not None else [EventTail(folder) for folder in folders]
        self._stream = stream or sys.stdout
        self._drawing = make_drawing(self._stream, is_quiet=quiet, live=live, clock=clock)
        self._is_live = not isinstance(self._drawing, PlainDisplay)
        self._clock = clock
        self._interval_s = interval_s
        self._settles = settles
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._drawn_at = float("-inf")
        self._thread = threading.Thread(target=self._follow, name="rv-display", daemon=True)

    def __enter__(self) -> Self:
        self._guarded(self._drawing.start)
        self._guarded(self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._guarded(lambda: self._look(is_last=True))
        self._guarded(self._drawing.stop)

    def wait_until_over(self, poll: Callable[[], bool] | None = None) -> None:
        """Block until the run is over as far as events tell, or `poll` (asked every few seconds) says so."""
        ask_at = time.monotonic() + 2.0
        while not (self.progress.is_over() or self.problem or self._stop.is_set()):
            if poll is not None and time.monotonic() >= ask_at:
                if poll():
                    return
                ask_at = time.monotonic() + 2.0
            self._stop.wait(min(self._interval_s, 0.5))

    def _follow(self) -> None:
        pause_s = self._interval_s
        while not self._stop.wait(pause_s) and not self.problem:
            spent = time.thread_time()
            self._guarded(self._look)
            pause_s = max(self._interval_s, (time.thread_time() - spent) / CPU_SHARE)

    def _look(self, *, is_last: bool = False) -> None:
        with self._lock:
            changes = []
            is_news = False
            for tail in self._tails:
                news = tail.poll(whole=is_last)
                is_news = is_news or bool(news)
                changes += self.progress.update(news)
            if is_last and self._settles:
                changes += self.progress.settle(_is_gone)
            now = time.monotonic()
            if is_last or is_news or not self._is_live or now - self._drawn_at >= REDRAW_INTERVAL_S:
                self._drawing.draw(self.progress, changes, is_last=is_last)
                self._drawn_at = now

    def _guarded(self, step: Callable[[], None]) -> None:
        """A display that fails (a closed pipe, a store that does not answer, a bug) must not end the run."""
        if self.problem:
            return
        try:
            step()
        except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on without a display
            self.problem = str(error) or type(error).__name__
            if not isinstance(error, BrokenPipeError):
                say(f"rv: warning: the display ended: {self.problem}; the run goes on", file=sys.stderr)


def _is_gone(status: TaskStatus) -> bool:
    from rv_core.status.look import is_gone

    return is_gone(status)
