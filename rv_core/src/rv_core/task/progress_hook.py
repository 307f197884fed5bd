"""Passing the progress of a task on to plugins that track it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from rv_core.plugins.installed import plugin_manager
from rv_core.plugins.records import HookFailure
from rv_core.task.inputs import TaskRequest

#: A hook that takes a while is called less often, so that it never costs a training more than this share.
_SHARE = 0.05


class ProgressHook:
    """Calls `rv_task_progress` of every plugin; what `EventWriter.on_progress` may be.

    Args:
        request: the task.
        on_failure: told of the first failure of a plugin; later ones say nothing new.
    """

    def __init__(self, request: TaskRequest, on_failure: Callable[[HookFailure], None]) -> None:
        self._request = request
        self._on_failure = on_failure
        self._next_at = 0.0
        self._told: set[str] = set()

    def __call__(self, done: float, total: float, numbers: Mapping[str, Any]) -> None:
        """Tell of progress, unless a slow plugin has just been told; the last one (`done == total`) always."""
        began = time.monotonic()
        if began < self._next_at and done != total:
            return
        told = self._request.for_hooks()
        failures = plugin_manager().call("rv_task_progress", **told, done=done, total=total, numbers=numbers)
        ended = time.monotonic()
        self._next_at = ended + (ended - began) / _SHARE
        for failure in failures:
            self._fail(failure)

    def _fail(self, failure: HookFailure) -> None:
        if failure.plugin not in self._told:
            self._told.add(failure.plugin)
            self._on_failure(failure)


def is_wanted() -> bool:
    """Whether any plugin here implements the hook."""
    return plugin_manager().implements("rv_task_progress")
