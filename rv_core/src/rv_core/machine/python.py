"""Starting a module in a process of its own, with this interpreter."""

from __future__ import annotations

import sys


def module_argv(module: str) -> list[str]:
    """The command line that runs a module in a new process of this interpreter.

    `-P` keeps the working directory off the import path: a file there that happens to be called `random.py` would
    take the place of Python's own module, and whoever may write into that folder could have code of theirs run.
    """
    return [sys.executable, "-P", "-m", module]
