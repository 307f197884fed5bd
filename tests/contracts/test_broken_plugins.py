"""Plugins that are broken in every way, installed at once: each is explained, and none is fatal to what works."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.plugin_fixtures import Site

pytest_plugins = ("tests.plugin_fixtures",)

_RUNNER = """
@hookimpl
def rv_runners():
    return [RunnerSpec({name!r}, "{package}.runner:Mine")]
"""
_RAISES = """
@hookimpl
def rv_run_finished(run_id):
    raise OSError("no network")
"""


@pytest.fixture
def broken(site: Site) -> Site:
    site.install("rv-newer", "RV_HOOK_API_VERSION = 99\n" + _RUNNER.format(name="newer", package="rv_newer"))
    site.install("rv-older", "RV_HOOK_API_VERSION = 0\n" + _RUNNER.format(name="older", package="rv_older"))
    site.install("rv-ghost", _RUNNER.format(name="ghost", package="rv_ghost"))
    site.install("rv-first", _RUNNER.format(name="twice", package="rv_first"))
    site.install("rv-second", _RUNNER.format(name="twice", package="rv_second"))
    site.install("rv-raises", _RAISES)
    return site


def test_none_is_fatal_to_a_run_and_the_hook_that_raises_is_an_event(rv: Any, broken: Site, tmp_path: Path) -> None:
    root = tmp_path / "root"
    done = rv("run", "inprocess", "rv_core.hello", "-a", "root_uri", root, env=broken.environ())
    assert done.returncode == 0, done.stderr
    assert "3 problems with plugins" in done.stderr
    (events,) = root.glob(".rv/runs/*/events/submission.jsonl")
    failed = [event for event in map(json.loads, events.read_text().splitlines()) if event["event"] == "hook_failed"]
    assert [event["reason"] for event in failed] == [
        "rv_run_finished of plugin 'rv_raises' (rv-raises 1.0) raised OSError: no network"
    ]


def test_each_is_explained_by_check(rv: Any, broken: Site) -> None:
    done = rv("plugins", "check", "--json", env=broken.environ())
    assert done.returncode == 3
    report = json.loads(done.stdout)
    problems = "\n".join(f"{problem['where']} {problem['what']}" for problem in report["problems"])
    assert (
        "written for version 99 of the hooks and this rv-core has version 1; install a newer release of rv-core"
        in problems
    )
    assert "written for version 0 of the hooks" in problems
    assert "install a newer release of the plugin" in problems
    assert "runner 'twice' is declared by plugin 'rv_first' (rv-first 1.0) and by plugin 'rv_second'" in problems
    (target,) = report["targets"]
    assert (target["distribution"], target["target"]) == ("rv-ghost", "rv_ghost.runner:Mine")
    assert "does not exist" in target["problem"]


@pytest.mark.parametrize(
    ("runner", "explanation"),
    [
        ("newer", "install a newer release of rv-core"),
        ("ghost", "rv_ghost.runner:Mine, declared by plugin 'rv_ghost' (rv-ghost 1.0), cannot be imported"),
        ("twice", "neither is usable"),
    ],
)
def test_the_one_that_is_chosen_is_an_error_of_its_plugin(
    rv: Any, broken: Site, tmp_path: Path, runner: str, explanation: str
) -> None:
    done = rv("run", runner, "rv_core.hello", "-a", "root_uri", tmp_path / "root", env=broken.environ())
    assert done.returncode == 3
    assert explanation in done.stderr
    assert "Traceback" not in done.stderr
