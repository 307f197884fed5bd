"""Lifecycle hooks: every plugin is called on its own, and none can fail a run or hold it up."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from rv_core.plugins import lifecycle
from rv_core.plugins.discovery import candidates
from rv_core.plugins.lifecycle import LifecycleHooks
from rv_core.plugins.loading import load, new_manager

if TYPE_CHECKING:
    from tests.plugin_fixtures import Site

pytest_plugins = ("tests.plugin_fixtures",)

NOTES = """
import threading
calls = []
gate = threading.Event()
@hookimpl
def rv_task_started(task, run_id):
    {body}
    calls.append((run_id, task))
"""
TASK: dict[str, object] = {"run_id": "r1", "task": "p.c", "attempt": 1, "root_uri": "out", "key": "k1"}


def hooks_of(*distributions: str, limit_s: float = 5.0) -> LifecycleHooks:
    """The hooks of these distributions alone."""
    manager = new_manager()
    found = [load(manager, c) for c in candidates({}) if c.distribution in distributions]
    assert [plugin.record.error for plugin in found] == [""] * len(distributions)
    return LifecycleHooks(manager, found, limit_s=limit_s)


def module(name: str) -> Any:
    return sys.modules[f"{name}.hooks"]


def test_a_hook_gets_the_arguments_that_it_names(own_site: Site) -> None:
    own_site.install("one", NOTES.format(body="pass"))
    assert hooks_of("one").call("rv_task_started", TASK) == []
    assert module("one").calls == [("r1", "p.c")]


@pytest.mark.parametrize("body", ["raise ValueError('no server')", "raise SystemExit(3)"])
def test_a_hook_that_raises_is_reported_and_the_others_are_called(own_site: Site, body: str) -> None:
    own_site.install("a", NOTES.format(body="pass"))
    own_site.install("b", NOTES.format(body=body), version="0.2")
    own_site.install("c", NOTES.format(body="pass"))
    (failure,) = hooks_of("a", "b", "c").call("rv_task_started", TASK)
    assert (failure.plugin, failure.hook) == ("plugin 'b' (b 0.2)", "rv_task_started")
    assert str(failure).startswith("rv_task_started of plugin 'b' (b 0.2) raised ")
    assert "b/hooks.py" in failure.traceback
    assert module("a").calls == module("c").calls == [("r1", "p.c")]


def test_a_hook_that_hangs_is_left_behind_and_goes_on_by_itself(own_site: Site) -> None:
    own_site.install("slow", NOTES.format(body="gate.wait(20)"))
    own_site.install("swift", NOTES.format(body="pass"))
    hooks = hooks_of("slow", "swift", limit_s=0.05)
    (failure,) = hooks.call("rv_task_started", TASK)
    assert str(failure) == (
        "rv_task_started of plugin 'slow' (slow 1.0) takes over 0.05 s and was left to go on by itself"
    )
    assert (module("slow").calls, module("swift").calls) == ([], [("r1", "p.c")])
    module("slow").gate.set()
    hooks.wait(10)
    assert module("slow").calls == [("r1", "p.c")]


def test_hooks_of_one_plugin_keep_their_order_even_after_one_was_left_behind(own_site: Site) -> None:
    more = "\n@hookimpl\ndef rv_task_finished(task):\n    calls.append(('finished', task))\n"
    own_site.install("slow", NOTES.format(body="gate.wait(20)") + more)
    hooks = hooks_of("slow", limit_s=0.05)
    hooks.call("rv_task_started", TASK)
    (failure,) = hooks.call("rv_task_finished", {**TASK, "duration_s": 1.0})
    assert failure.hook == "rv_task_finished"
    module("slow").gate.set()
    hooks.wait(10)
    assert module("slow").calls == [("r1", "p.c"), ("finished", "p.c")]


def test_the_end_of_the_process_waits_a_bounded_time(own_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[tuple[Any, ...]] = []
    monkeypatch.setattr(lifecycle.atexit, "register", lambda *call: registered.append(call))
    own_site.install("slow", NOTES.format(body="gate.wait(20)"))
    hooks = hooks_of("slow", limit_s=0.02)
    hooks.call("rv_task_started", TASK)
    hooks.call("rv_task_started", TASK)
    assert registered == [(hooks.wait, lifecycle.LAST_WAIT_S)]
    hooks.wait(0.02)
    assert module("slow").calls == []
    module("slow").gate.set()
    hooks.wait(10)


def test_no_thread_is_left_when_the_hooks_have_ended(own_site: Site) -> None:
    own_site.install("one", NOTES.format(body="pass"))
    hooks_of("one").call("rv_task_started", TASK)
    assert [thread for thread in threading.enumerate() if thread.name == "rv-hook"] == []


def test_a_hook_that_no_plugin_implements_costs_nothing(own_site: Site) -> None:
    own_site.install("one", NOTES.format(body="pass"))
    assert hooks_of("one").call("rv_run_finished", {"run_id": "r", "succeeded": True, "summary": {}}) == []
