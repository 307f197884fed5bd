"""Plugins that are broken in every way, installed at once by pip: each is explained, and none is fatal to what works."""

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
def rv_plan_created(run_id):
    raise KeyError("no plan")

@hookimpl
def rv_task_started(task):
    raise ValueError("no task")

@hookimpl
def rv_run_finished(run_id):
    raise OSError("no network")
"""
_IN_RUN = ("rv_plan_created", "KeyError: 'no plan'"), ("rv_run_finished", "OSError: no network")


@pytest.fixture(scope="module")
def broken(pip_installed: Any) -> Site:
    installed: Site = pip_installed(write_broken)
    return installed


def write_broken(site: Site) -> None:
    site.install("rv-newer", "RV_HOOK_API_VERSION = 99\n" + _RUNNER.format(name="newer", package="rv_newer"))
    site.install("rv-older", "RV_HOOK_API_VERSION = 0\n" + _RUNNER.format(name="older", package="rv_older"))
    site.install("rv-ghost", _RUNNER.format(name="ghost", package="rv_ghost"))
    other = {"runner.py": "class Other: ..."}
    site.install("rv-empty", _RUNNER.format(name="empty", package="rv_empty"), files=other)
    site.install("rv-first", _RUNNER.format(name="twice", package="rv_first"))
    site.install("rv-second", _RUNNER.format(name="twice", package="rv_second"))
    site.install("rv-raises", _RAISES)


def raised(hook: str, error: str) -> str:
    return f"{hook} of plugin 'rv_raises' (rv-raises 1.0) raised {error}"


def test_none_is_fatal_to_a_run(rv: Any, broken: Site, tmp_path: Path) -> None:
    done = rv("run", "inprocess", "rv_core.hello", "-a", "root_uri", tmp_path / "root", env=broken.environ())
    assert done.returncode == 0, done.stderr
    assert "done: 5 items" in done.stdout
    headline = "warning: 3 problems with plugins; see rv plugins list\n"
    newer, older, twice = done.stderr.partition(headline)[2].splitlines()[:3]
    assert newer.startswith("  plugin 'rv_newer' (rv-newer 1.0): cannot be loaded: it was written for version 99")
    assert older.startswith("  plugin 'rv_older' (rv-older 1.0): cannot be loaded: it was written for version 0")
    assert twice.startswith(
        "  the runner 'twice' is declared by plugin 'rv_first' (rv-first 1.0) and by plugin 'rv_second'"
    )
    assert "Traceback" not in done.stderr


def test_a_hook_that_raises_is_a_warning_and_an_event(rv: Any, broken: Site, tmp_path: Path) -> None:
    root = tmp_path / "root"
    done = rv("run", "inprocess", "rv_core.hello", "-a", "root_uri", root, env=broken.environ())
    assert done.returncode == 0, done.stderr
    (submission,) = root.glob(".rv/runs/*/events/submission.jsonl")
    (task,) = root.glob(".rv/runs/*/events/hello.gpu_task.1.jsonl")
    (log,) = root.glob(".rv/runs/*/logs/hello.gpu_task.1.log")
    for hook, error in _IN_RUN:
        assert f"warning: {raised(hook, error)}; the run does not depend on it" in done.stderr
    assert reasons(submission) == [raised(hook, error) for hook, error in _IN_RUN]
    assert reasons(task) == [raised("rv_task_started", "ValueError: no task")]
    assert f"{reasons(task)[0]}; the task does not depend on it" in log.read_text()


def reasons(events: Path) -> list[str]:
    found = map(json.loads, events.read_text().splitlines())
    return [event["reason"] for event in found if event["event"] == "hook_failed"]


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
    targets = {(target["distribution"], target["target"]): target["problem"] for target in report["targets"]}
    assert targets == {
        ("rv-empty", "rv_empty.runner:Mine"): "AttributeError: module 'rv_empty.runner' has no attribute 'Mine'",
        ("rv-ghost", "rv_ghost.runner:Mine"): "its module rv_ghost.runner does not exist",
    }


@pytest.mark.parametrize(
    ("runner", "explanation"),
    [
        ("newer", "install a newer release of rv-core"),
        ("older", "install a newer release of the plugin"),
        ("empty", "module 'rv_empty.runner' has no attribute 'Mine'"),
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
