"""Finding a `__post_init__` that gives another config each time the config is loaded.

A config is built again in every process that reads it. What is made of the values once more then must be what they were
made of before; otherwise every task, and every run of the saved config, works with other values than those shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rv_core.config.classes import Config
from rv_core.config.dotted_paths import join
from rv_core.config.fields import fields_of
from rv_core.config.values import normalised, to_plain, walk
from rv_core.errors import Finding

_MAX_CHARACTERS = 60


def post_init_findings(given: Config, loaded: Config) -> list[Finding]:
    """An error for every field that is another one each time the config is loaded.

    Args:
        given: the config as its function returned it.
        loaded: the config that loading its values gives.
    """
    # Only these can change anything, and building a config of many items once more takes a while.
    if not any(hasattr(type(part), "__post_init__") for _, part in walk(loaded)):
        return []
    changed = list(_differences(loaded, normalised(loaded), ""))
    first = {path: (before, after) for path, _, before, after in _differences(given, loaded, "")}
    return [_finding(path, cls, *first.get(path, (before, after))) for path, cls, before, after in changed]


def _differences(first: Any, second: Any, path: str, owner: str = "") -> Iterator[tuple[str, str, Any, Any]]:
    """(path, class with the `__post_init__`, value, value) of what differs, as far inside as objects correspond."""
    if isinstance(first, Config) and type(first) is type(second):
        cls = type(first)
        owner = cls.__name__ if hasattr(cls, "__post_init__") else owner
        for name in fields_of(cls):
            yield from _differences(getattr(first, name), getattr(second, name), join(path, name), owner)
    elif isinstance(first, list | tuple) and isinstance(second, list | tuple) and len(first) == len(second):
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            yield from _differences(one, other, join(path, index), owner)
    elif to_plain(first) != to_plain(second):
        yield path, owner, to_plain(first), to_plain(second)


def _finding(path: str, cls: str, before: Any, after: Any) -> Finding:
    what = f"{cls}.__post_init__ changes it each time the config is loaded: {_shown(before)} becomes {_shown(after)}"
    return Finding(
        path, what, "compute it in get_config, or in a property of another name; every task loads the config"
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_CHARACTERS else f"{text[: _MAX_CHARACTERS - 1]}…"
