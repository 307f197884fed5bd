"""A config with little to do, for a first run of everything: what `rv run --smoke` runs unless a pipeline knows better."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

from rv_core.config.classes import Config
from rv_core.config.dotted_paths import field_at

C = TypeVar("C", bound=Config)

#: What the name of the root gets behind it: a folder beside it, so that any machine that sees the one sees the other.
ROOT_SUFFIX = ".smoke"


def first_of_each_group(config: C, fields: Iterable[str]) -> C:
    """The config with the first item of each group.

    Args:
        config: the config.
        fields: the (dotted) fields that name the items of a group. Items that a function makes are not known to come
            from a field, and stay as they are.
    """
    for name in fields:
        config = _with_field(config, name.split("."), _first(field_at(config, name)))
    return config


def root_for_smoke(root_uri: str) -> str:
    """The root of a smoke run: beside the root, never in it."""
    return root_uri.rstrip("/") + ROOT_SUFFIX


def _first(items: Any) -> Any:
    return dict(list(items.items())[:1]) if isinstance(items, dict) else items[:1]


def _with_field(config: Any, path: list[str], value: Any) -> Any:
    name, *rest = path
    return replace(config, **{name: _with_field(getattr(config, name), rest, value) if rest else value})
