"""The display in a notebook: the table of the terminal, updated in place below the cell that runs."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, TextIO

from rich.console import Console

from rv_core.record.progress import Change, RunProgress
from rv_core.status.live_table import run_table

_WIDTH = 110
_PAGE = '<pre style="white-space:pre;overflow-x:auto;line-height:normal">{code}</pre>'


def is_notebook(stream: TextIO) -> bool:
    """Whether a stream is the output of a notebook's cell."""
    kernel = sys.modules.get("ipykernel.iostream")
    return kernel is not None and isinstance(stream, kernel.OutStream)


class NotebookDisplay:
    """Redraws a table below the cell.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._display: Any = import_module("IPython.display")
        self._handle: Any = None

    def start(self) -> None:
        """Make room below the cell."""
        self._handle = self._display.display(self._html(""), display_id=True)

    def draw(self, progress: RunProgress, changes: Iterable[Change], *, is_last: bool = False) -> None:
        """Draw the table anew."""
        console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_jupyter=False)
        console.print(run_table(progress.jobs.values(), self._clock(), width=_WIDTH))
        self._handle.update(self._html(console.export_html(inline_styles=True, code_format="{code}")))

    def stop(self) -> None:
        """The last table stays."""

    def _html(self, code: str) -> Any:
        return self._display.HTML(_PAGE.format(code=code))
