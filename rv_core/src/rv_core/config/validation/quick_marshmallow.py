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
    """What `marshmallow` has for `re`."""

    compile = _Pattern

    def __getattr__(self, name: str) -> Any:
        return getattr(re, name)


if "marshmallow" not in sys.modules:
    sys.modules["re"] = _Re("re")
try:
    import marshmallow
finally:
    sys.modules["re"] = re  # for everyone else who imports it
