"""Code that is not rv's own must not end rv's process without a word, and with an exit code that says "done"."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


class HardExit(SystemExit):
    """`os._exit(code)` was called in the process of `rv` itself, by a module, a command or a plugin.

    Args:
        code: the exit code that was asked for.
    """

    #: What was called, for messages: of any other `SystemExit` it is `sys.exit`.
    called = "os._exit"


@contextmanager
def hard_exits_raise() -> Iterator[None]:
    """Make `os._exit` raise `HardExit`, so that what it would have ended is told as what has failed.

    Processes that are forked meanwhile end as ever, and so does whatever calls it in another thread: there an exception
    would end that thread alone.
    """
    before, owner = os._exit, os.getpid()

    def exit_now(status: int) -> NoReturn:
        if os.getpid() == owner and threading.current_thread() is threading.main_thread():
            raise HardExit(status)
        before(status)

    os._exit = exit_now
    try:
        yield
    finally:
        os._exit = before


def called_exit(error: SystemExit) -> str:
    """The call that raised it, as it was written: `sys.exit(3)`."""
    return f"{getattr(error, 'called', 'sys.exit')}({error.code!r})"
