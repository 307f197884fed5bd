"""From an exception to what is printed and to the exit code of `rv`."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from itertools import pairwise
from types import FrameType
from typing import Any

import typer

from rv_core.cli.argv import split_at_verb
from rv_core.cli.output import print_error
from rv_core.errors import (
    EXIT_ENVIRONMENT,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    RvError,
    StorageError,
    UsageError,
    nearest,
)
from rv_core.terminal import say
from rv_core.version import __version__

#: Typer brings its own Click since 0.26 and uses the real one before; both are reached through what Typer exports.
ClickUsageError: type[Exception] = typer.BadParameter.__bases__[0]
ClickError: type[Exception] = ClickUsageError.__bases__[0]

#: Packages that stand between `rv` and the code of a verb: their frames tell a user nothing.
_MACHINERY = ("typer", "click", "runpy", "rv_core.__main__", "rv_core.cli.app")
#: Verbs whose exit code 1 says that a task has failed, or that say nothing of tasks at all.
_OWN_VERBS = frozenset(("run", "check", "status", "logs", "cancel", "plugins", "config"))


def exit_code_of(error: BaseException, argv: Sequence[str]) -> int:
    """Print what an exception means and return the exit code.

    Args:
        error: what a verb raised.
        argv: the words of the command line; with `--traceback` among them expected errors get one, too.
    """
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return EXIT_INTERRUPTED
    try:
        return EXIT_FAILED if isinstance(error, BrokenPipeError) else _explain(error, argv)
    except BrokenPipeError:
        return EXIT_FAILED
    finally:
        _forget_broken_pipes()


def _explain(error: BaseException, argv: Sequence[str]) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        say(str(error.args[0]), file=sys.stderr)
        return EXIT_USAGE
    if isinstance(error, ClickError):
        error = _usage_error(error, argv)
    if isinstance(error, OSError):
        from rv_core.files.problems import TOO_MANY, too_many_files

        error = too_many_files(error) if error.errno in TOO_MANY else error
    if isinstance(error, RvError):
        if "--traceback" in argv:
            print_error("".join(traceback.format_exception(error)))
        print_error(str(error))
        return EXIT_ENVIRONMENT if _is_of_the_place(error, argv) else error.exit_code
    print_error(f"{_user_traceback(error)}{_blame(error)}")
    return EXIT_FAILED


def _is_of_the_place(error: RvError, argv: Sequence[str]) -> bool:
    """Whether files or a store are in the way of one of the core's verbs: 1 would say that a task has failed."""
    return isinstance(error, StorageError) and split_at_verb(list(argv))[1] in _OWN_VERBS


def _forget_broken_pipes() -> None:
    """Where nobody reads the output any more, keep Python from complaining when it flushes at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _usage_error(error: Any, argv: Sequence[str]) -> RvError:
    """A mistake that Click found, in our words: with the usage line and the nearest name."""
    context = getattr(error, "ctx", None)
    if context is None:
        return UsageError(error.format_message())
    help_command = f"{_command_path(context)} --help"
    option = getattr(error, "option_name", "")
    near = nearest(option, _option_names(context)) if option else None
    message = (error.message if near else error.format_message()) + _typed_value(error, argv)
    pieces = " ".join(context.command.collect_usage_pieces(context))
    fix = f"did you mean {near}? {help_command} tells more" if near else help_command
    return UsageError(message.rstrip(".\n\t "), where=f"{_command_path(context)} {pieces}", fix=fix)


def _typed_value(error: Any, argv: Sequence[str]) -> str:
    """The value that an option refuses, for messages of Typer that leave it out; "" where it is not known."""
    if type(error) is not typer.BadParameter:
        return ""
    names = getattr(error.param, "opts", ())
    attached = [word.partition("=")[2] for word in argv if word.partition("=")[0] in names and "=" in word]
    following = [value for word, value in pairwise(argv) if word in names]
    return next((f"; got {value!r}" for value in [*following, *attached] if value not in error.message), "")


def _command_path(context: Any) -> str:
    """`rv plugins show`, without the placeholders of options that Click puts between."""
    names: list[str] = []
    while context is not None:
        names.insert(0, context.info_name or "")
        context = context.parent
    return " ".join(names)


def _option_names(context: Any) -> list[str]:
    return [name for parameter in context.command.get_params(context) for name in parameter.opts if name[:1] == "-"]


def _user_traceback(error: BaseException) -> str:
    """The traceback from the first frame on that belongs to a verb, a plugin or the user."""
    frames = list(traceback.walk_tb(error.__traceback__))
    is_own = [not _is_in(frame, _MACHINERY) for frame, _ in frames]
    first = is_own.index(True) if True in is_own else 0
    start = error.__traceback__
    for _ in range(first):
        start = start.tb_next if start else None
    return "".join(traceback.format_exception(type(error), error, start))


def _is_in(frame: FrameType, packages: tuple[str, ...]) -> bool:
    module = _module_of(frame)
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _blame(error: BaseException) -> str:
    """Whose mistake an unexpected exception is: that of the innermost frame which is not of a library."""
    from rv_core.plugins.installed import plugin_manager

    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        module = _module_of(frame)
        if _is_in(frame, _MACHINERY):
            continue
        owner = plugin_manager().owner_of_module(module)
        if owner is not None and owner.distribution != "rv-core":
            return f"this is a bug in {owner.label}; please report it to its authors with the lines above"
        if module.partition(".")[0] == "rv_core":
            break
        if not _is_library(frame.f_code.co_filename):
            return f"raised by {frame.f_code.co_filename}, line {line}, which is not part of rv"
    return f"this is a bug in rv {__version__}; please report it with the lines above"


def _is_library(path: str) -> bool:
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return path.startswith("<") or any(path.startswith(f"{folder}{os.sep}") for folder in folders if folder)
