"""Calls lifecycle hooks: one plugin at a time, none of which can fail a run or hold it up for over a second.

A hook runs in a thread of its own, so that one that hangs can be left behind. It may go on then, in order with later
hooks of the same plugin; when the process ends it is waited for a little longer, so that a slow message still gets out.
"""

from __future__ import annotations

import atexit
import threading
import time
import traceback
from collections.abc import Callable, Mapping

import pluggy

from rv_core.plugins.loading import LoadedPlugin, cause_of
from rv_core.plugins.records import HookFailure

LIMIT_S = 1.0
#: How long the end of the process waits for hooks that were left behind, all of them together.
LAST_WAIT_S = 5.0


class LifecycleHooks:
    """The lifecycle hooks of all working plugins.

    Args:
        manager: where the plugins are registered.
        plugins: the plugins.
        limit_s: how long a hook may hold up the run.
    """

    def __init__(self, manager: pluggy.PluginManager, plugins: list[LoadedPlugin], *, limit_s: float = LIMIT_S) -> None:
        self._manager = manager
        self._plugins = [plugin for plugin in plugins if plugin.module is not None]
        self._limit_s = limit_s
        self._left_behind: dict[str, threading.Thread] = {}

    def call(self, hook: str, arguments: Mapping[str, object]) -> list[HookFailure]:
        """Call one hook of every plugin that implements it and return what went wrong."""
        failures = []
        for plugin in self._plugins:
            if hook in plugin.record.hooks:
                failure = self._call_one(plugin, hook, arguments)
                failures += [failure] if failure else []
        return failures

    def _call_one(self, plugin: LoadedPlugin, hook: str, arguments: Mapping[str, object]) -> HookFailure | None:
        label = plugin.record.label
        others = [other.module for other in self._plugins if other is not plugin]
        caller = self._manager.subset_hook_caller(hook, remove_plugins=others)
        raised: list[BaseException] = []
        thread = _started(lambda: caller(**arguments), raised, after=self._left_behind.get(label))
        thread.join(self._limit_s)
        if thread.is_alive():
            self._leave_behind(label, thread)
            return HookFailure(label, hook, f"takes over {self._limit_s:g} s and was left to go on by itself")
        if raised:
            trace = "".join(traceback.format_exception(raised[0]))
            return HookFailure(label, hook, f"raised {cause_of(raised[0])}", trace)
        return None

    def _leave_behind(self, label: str, thread: threading.Thread) -> None:
        if not self._left_behind:
            atexit.register(self.wait, LAST_WAIT_S)
        self._left_behind[label] = thread

    def wait(self, limit_s: float) -> None:
        """Give the hooks that were left behind, all together, this long to end."""
        end = time.monotonic() + limit_s
        for thread in self._left_behind.values():
            thread.join(max(0.0, end - time.monotonic()))


def _started(
    call: Callable[[], object], raised: list[BaseException], *, after: threading.Thread | None
) -> threading.Thread:
    """A running thread for one call; no thread waits idle, because a process with threads must not fork."""

    def work() -> None:
        if after is not None:
            after.join()
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - whatever a plugin raises is reported by the caller
            raised.append(error)

    thread = threading.Thread(target=work, name="rv-hook", daemon=True)
    thread.start()
    return thread
