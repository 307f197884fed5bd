"""`rv` and `python -m rv_core`.

What every task pays for (`run-command`) and what scripts ask often (`--version`) is done before Typer is imported.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    Args:
        argv: the words without the program's name; those of this process if left out.
    """
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _open_missing_streams()
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:  # while modules are imported; later each verb deals with it
        return 130


def _run(words: list[str]) -> int:
    is_task, rest = words[:1] == ["run-command"], words[1:]  # as makefiles and engines start one
    if not is_task:
        from rv_core.cli.argv import RUN_COMMAND, split_at_verb

        leading, verb, behind = split_at_verb(words)
        if "--version" in leading:
            from rv_core.version import __version__

            print(f"rv {__version__}")
            return 0
        is_task, rest = verb == RUN_COMMAND, [*leading, *behind]
    if is_task:
        with _kept():
            _import_without("inspect", "dataclasses")
            _import_without("ipaddress", "urllib.parse")
            from rv_core.task.process import main as run_task
        return run_task(rest)
    with _kept():
        from rv_core.cli.app import main as run_app
    return _run_to_its_end(run_app, words) if verb == "run" else run_app(words)


@contextlib.contextmanager
def _kept() -> Iterator[None]:
    """Imports: what they make stays, so it is not looked through for garbage, now or later (a tenth of a task's start)."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _import_without(seldom_used: str, name: str) -> None:
    """Import a module so that another, which it hardly ever asks for anything, is imported when it does ask.

    With `inspect`, which `dataclasses` of Python 3.11 asks for the signature of a class without a docstring alone, comes
    a sixth of what a task imports.
    """
    if name in sys.modules or seldom_used in sys.modules:
        return
    sys.modules[seldom_used] = _ImportedWhenUsed(seldom_used)
    try:
        import_module(name)
    finally:
        del sys.modules[seldom_used]  # everyone else who imports it gets the real one


class _ImportedWhenUsed(ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self.__name__), name)


def _run_to_its_end(run_app: Callable[[Sequence[str]], int], words: list[str]) -> int:
    """`rv run`: TERM and HUP end it as Ctrl-C does, wherever it is, and take no exit code back that is settled."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    _on_signals(interrupt)
    code = 130
    try:
        code = run_app(words)
    finally:
        _on_signals(lambda *_: os._exit(code))
    return code


def _on_signals(handle: Callable[..., None]) -> None:
    """Let TERM and HUP do something; what `nohup` ignores stays ignored."""
    for signum in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) is not signal.SIG_IGN:
            with contextlib.suppress(ValueError):  # no handler is set but in the main thread
                signal.signal(signum, handle)


def _open_missing_streams() -> None:
    """Give a process that was started with closed standard streams (`>&-`) the null device for them.

    Otherwise the next file that is opened gets the number of a standard stream, and children write into it.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


if __name__ == "__main__":
    sys.exit(main())
