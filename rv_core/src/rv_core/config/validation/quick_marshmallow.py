"""marshmallow, imported without compiling what it tells an e-mail address by: that takes longer than all else of it.

Its patterns of letters of all alphabets are compiled when somebody uses them.
"""

from __future__ import annotations

import re
import sys
from types import ModuleType
from typing import Any

__all__ = ["marshmallow"]


class _Pattern:
    """A regular expression that is compiled when it is first used."""

    def __init__(self, pattern: Any, flags: int = 0) -> None:
        self._given = pattern, flags

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # an abstract base class asks everything in it for marks
            raise AttributeError(name)
        return getattr(re.compile(*self._given), name)


class _Re(ModuleType):
    """What `marshmallow` has for `re` while it is imported."""

    def __getattr__(self, name: str) -> Any:
        return getattr(re, name)

    def compile(self, pattern: Any, flags: int = 0) -> Any:
        """A pattern of marshmallow, that waits; that of another module, which it imports or another thread, is compiled."""
        asking = sys._getframe(1).f_globals.get("__name__", "")
        return (_Pattern if asking.startswith("marshmallow.") else re.compile)(pattern, flags)


def _import_quickly() -> None:
    stand_in = sys.modules["re"] = _Re("re")
    try:
        import marshmallow  # noqa: F401
    finally:
        sys.modules["re"] = re
        for module in list(sys.modules.values()):
            if getattr(module, "__dict__", {}).get("re") is stand_in:
                vars(module)["re"] = re


if "marshmallow" not in sys.modules:
    _import_quickly()
import marshmallow  # noqa: E402
