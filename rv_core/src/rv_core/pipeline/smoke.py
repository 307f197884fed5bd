"""A config with little to do, for a first run of everything: what `rv run --smoke` runs unless a pipeline knows better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rv_core.config.dotted_paths import field_at
from rv_core.pipeline.pipeline import CommandInfo, PipelineConfig

#: What the name of the root gets behind it: a folder beside it, so that any machine that sees the one sees the other.
ROOT_SUFFIX = ".smoke"


def first_of_each_group(config: PipelineConfig, commands: Mapping[str, CommandInfo]) -> PipelineConfig:
    """The config with the first item of each group, where fields of the config name the items.

    Items that a function makes are not known to come from a field, and stay as they are.
    """
    for info in commands.values():
        sources = info.items.values() if isinstance(info.items, Mapping) else [info.items]
        for source in sources:
            if isinstance(source, str):
                config = _with_field(config, source.split("."), list(field_at(config, source))[:1])
    return config


def root_for_smoke(root_uri: str) -> str:
    """The root of a smoke run: beside the root, never in it."""
    return root_uri.rstrip("/") + ROOT_SUFFIX


def _with_field(config: Any, path: list[str], value: Any) -> Any:
    name, *rest = path
    return replace(config, **{name: _with_field(getattr(config, name), rest, value) if rest else value})
