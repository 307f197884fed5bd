"""Running a user's module and its functions: whatever they raise is shown as their own lines, without a traceback."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rv_core.config.classes import Config
from rv_core.config.fields import fields_of
from rv_core.config.type_hints import with_subclasses
from rv_core.errors import ConfigError, RvError, nearest
from rv_core.machine import hard_exit

_MAX_FRAMES = 4
#: From Python 3.13 on a near miss is named behind it.
_UNKNOWN_ARGUMENT = re.compile(
    r"(?P<class>\S+)\.__init__\(\) got an unexpected keyword argument '(?P<name>\w+)'(?:\..*)?"
)
#: All of the core: an installation from source lies in no folder of the Python installation.
_OWN_FOLDERS = (os.path.dirname(os.path.dirname(os.path.abspath(__file__))),)


@contextmanager
def explained(what: str, where: str) -> Iterator[None]:
    """Turn what user code raises into a `ConfigError` that shows where in that code.

    Args:
        what: what was being done, for instance "get_config of experiment.py failed".
        where: the file.

    Raises:
        ConfigError: in place of anything but rv's own errors, `KeyboardInterrupt` and `GeneratorExit`.
    """
    try:
        yield
    except RvError:
        raise
    except SyntaxError as err:
        raise ConfigError(
            what, where=_place_of_syntax_error(err, where), why=f"{type(err).__name__}: {err.msg}"
        ) from err
    except (Exception, SystemExit) as err:
        # The file and line of the innermost own frame, then the way there.
        lines = user_lines(err)
        why = "\n       ".join([_message(err), *lines])
        raise ConfigError(what, where=where, why=why, fix=_advice(err)) from err


def call(function: Callable[..., Any], arguments: dict[str, Any], *, what: str, where: str) -> Any:
    """The result of a user's function.

    Raises:
        ConfigError: if it raises.
    """
    with explained(what, where):
        return function(**arguments)


def user_lines(err: BaseException) -> list[str]:
    """`file:line in function: code` of the user's own frames of a traceback, outermost first, the last few only."""
    every = [frame for frame in traceback.extract_tb(err.__traceback__) if not frame.filename.startswith("<")]
    frames = [frame for frame in every if _is_users(frame.filename)] or every[-1:]
    return [f"{_short(frame.filename)}:{frame.lineno} in {frame.name}: {frame.line}" for frame in frames[-_MAX_FRAMES:]]


def _is_users(filename: str) -> bool:
    paths = sysconfig.get_paths()
    not_theirs = (*_OWN_FOLDERS, paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"])
    return not os.path.abspath(filename).startswith(tuple(folder + os.sep for folder in not_theirs))


def _short(filename: str) -> str:
    relative = os.path.relpath(filename)
    return filename if relative.startswith("..") else relative


def _message(err: BaseException) -> str:
    if isinstance(err, SystemExit):
        return f"it ended the program with {hard_exit.called_exit(err)}"
    return f"{type(err).__name__}: {err}"


def _advice(err: BaseException) -> str:
    if isinstance(err, ModuleNotFoundError) and err.name:
        return f"install {err.name.partition('.')[0]!r} into this environment ({sys.prefix}), or mend the import"
    if isinstance(err, ImportError) and "no known parent package" in str(err):
        return "a file of a package is run by its dotted name (package.module), from the folder that holds the package"
    unknown = _UNKNOWN_ARGUMENT.fullmatch(str(err)) if isinstance(err, TypeError) else None
    names = _fields_of(unknown["class"]) if unknown else []
    if unknown and names:
        near = nearest(unknown["name"], names)
        return f"did you mean {near!r}?" if near else f"the fields of {unknown['class']} are {', '.join(names)}"
    return "`--traceback` shows the whole traceback"


def _fields_of(class_name: str) -> list[str]:
    """The fields of the config class of that qualified name; none if there is no such class."""
    classes = [cls for cls in with_subclasses(Config) if cls.__qualname__ == class_name]
    return list(fields_of(classes[-1])) if classes else []


def _place_of_syntax_error(err: SyntaxError, where: str) -> str:
    return f"{_short(err.filename)}:{err.lineno}" if err.filename and err.lineno else where
