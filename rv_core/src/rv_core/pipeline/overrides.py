"""What a pipeline has overridden of `Pipeline`, whose methods `facts`, `smoke` and `summary` came later than its commands."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rv_core.pipeline.pipeline import Pipeline


def is_overridden(pipeline: Pipeline, name: str) -> bool:
    """Whether a pipeline has a method of its own; a command of that name, which it may have had before, is none."""
    method = getattr(type(pipeline), name)
    return method is not getattr(Pipeline, name) and not hasattr(method, "__rv_command__")


def method_of(pipeline: Pipeline, name: str) -> Callable[..., Any]:
    """The method of a pipeline, or of `Pipeline` itself where the pipeline has a command of that name."""
    owner = type(pipeline) if is_overridden(pipeline, name) else Pipeline
    return partial(getattr(owner, name), pipeline)
