"""Fields of JSON that somebody else wrote, read with their type and their bounds: model descriptions and bundles. Pure.

Nothing is converted: `"32"`, `true` and `32.0` are no whole number. Every function raises ValueError with the name of
the field and its value, cut short.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rv_core.wording import printable

#: Of names of classes, channels, backbones and versions.
MAX_TEXT_CHARACTERS = 1000


def integer_of(plain: Mapping[str, Any], name: str, low: int, high: int) -> int:
    """A whole number from `low` to `high`."""
    value = plain[name]
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} is {_shown(value)} and must be a whole number from {low} to {high}")
    return value


def boolean_of(plain: Mapping[str, Any], name: str) -> bool:
    """True or false."""
    value = plain[name]
    if type(value) is not bool:
        raise ValueError(f"{name} is {_shown(value)} and must be true or false")
    return value


def number_of(plain: Mapping[str, Any], name: str) -> float:
    """A finite number."""
    return _finite(name, plain[name])


def numbers_of(plain: Mapping[str, Any], name: str, max_count: int) -> tuple[float, ...]:
    """A list of finite numbers."""
    return tuple(_finite(f"{name}[{index}]", value) for index, value in enumerate(list_of(plain, name, max_count)))


def text_of(plain: Mapping[str, Any], name: str) -> str:
    """Text of a bounded length that can be written as UTF-8."""
    return _text(name, plain[name])


def list_of(plain: Mapping[str, Any], name: str, max_count: int) -> list[Any]:
    """A list of at most so many values of any type."""
    value = plain[name]
    if not isinstance(value, list) or len(value) > max_count:
        what = f"a list of {len(value)}" if isinstance(value, list) else _shown(value)
        raise ValueError(f"{name} is {what} and must be a list of at most {max_count}")
    return value


def mapping_of(plain: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object of JSON."""
    value = plain[name]
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {_shown(value)} and must be an object")
    return value


def texts_by_name(plain: Mapping[str, Any], name: str) -> dict[str, str]:
    """An object whose names and values are text."""
    return {
        _text(f"a name of {name}", key): _text(f"{name}.{key}", value) for key, value in mapping_of(plain, name).items()
    }


def _finite(name: str, value: Any) -> float:
    # A whole number may be too large for a float, which is an OverflowError and no comparison.
    is_number = type(value) is float or (type(value) is int and abs(value) < 1 << 64)
    if not is_number or not math.isfinite(value):
        raise ValueError(f"{name} is {_shown(value)} and must be a finite number")
    return float(value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT_CHARACTERS:
        raise ValueError(f"{name[:80]} is {_shown(value)} and must be text of at most {MAX_TEXT_CHARACTERS} characters")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"{name[:80]} is {_shown(value)}, which is no text: half of a character (a lone surrogate)")
    return value


def _shown(value: Any) -> str:
    return printable(repr(value) if isinstance(value, str | int | float | bool | None) else type(value).__name__, 60)
