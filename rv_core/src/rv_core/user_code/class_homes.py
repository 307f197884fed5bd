"""Where the classes of config objects come from, so that a fresh process can import them: the code that travels."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from rv_core.config.classes import Config
from rv_core.config.values import walk
from rv_core.user_code.archive import describe_code, pack_module
from rv_core.user_code.shipping import path_of, ship

_INSTALLED = ("site-packages", "dist-packages")


def code_of_objects(configs: Iterable[Config]) -> tuple[dict[str, Any], bytes]:
    """What a saved config says of the code of some config objects.

    Returns:
        (the `code` of the saved config, the zip); empty where all their classes are installed, or in a notebook.
    """
    classes = dict.fromkeys(type(part) for config in configs for _, part in walk(config))
    modules = list(_own_modules(dict.fromkeys(cls.__module__ for cls in classes)))
    if not modules:
        return {}, b""
    first = modules[0]
    place = _place_of(first)
    is_file = os.path.isfile(place)
    sha256, data = pack_module(place, first.__name__) if is_file else ("", b"")
    code = describe_code(first.__name__, sha256, os.path.dirname(place) if is_file else place)
    if len(modules) == 1 and is_file:
        return code, data
    return ship(first, code, [module.__name__ for module in modules[1:]])


def _own_modules(names: Iterable[str]) -> Iterator[ModuleType]:
    """The top-level modules that lie in the folder of the script or in the working directory, where no task looks."""
    here = {os.path.realpath(folder or os.getcwd()) for folder in (sys.path[0], os.getcwd())}
    for name in dict.fromkeys(name.partition(".")[0] for name in names):
        module = sys.modules.get(name)
        if name == "__main__" or module is None or not (place := _place_of(module)):
            continue
        folder = os.path.realpath(os.path.dirname(place))
        if folder in here and not any(part in folder.split(os.sep) for part in _INSTALLED):
            yield module


def _place_of(module: ModuleType) -> str:
    return path_of(getattr(module, "__file__", None), getattr(module, "__path__", None))
