"""Plugins hear of the end of a run that nobody waited for: once, from whoever first sees it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from rv_core.launch.end_of_run import is_first_to_tell, tell_of_end
from rv_core.plugins.installed import forget_plugins
from rv_core.plugins.records import HookFailure
from rv_core.runner.observation import Observation
from rv_core.status.look import run_status, status_of

if TYPE_CHECKING:
    from tests.plugin_fixtures import Site
    from tests.rv_core.conftest import RunFolder

pytest_plugins = ("tests.plugin_fixtures",)

HOOK = """
    import json, os

    @hookimpl
    def rv_run_finished(run_id, succeeded, summary):
        with open(os.environ["TOLD"], "a") as file:
            file.write(json.dumps([run_id, succeeded, summary]) + "\\n")
"""
Make = Callable[..., "RunFolder"]


class Engine:
    """Answers for the cluster that a run was left to."""

    def __init__(self, state: str) -> None:
        self.state = state

    def observe(self, record: object) -> dict[str, Observation]:
        return {"hello.greet": Observation(self.state, reason="no memory", exit_code=137)}  # type: ignore[arg-type]


@pytest.fixture
def told(own_site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Callable[..., list[Any]]]:
    """Install the hook; gives what it was told."""
    path = tmp_path / "told"
    monkeypatch.setenv("TOLD", str(path))
    own_site.install("rv-tell", HOOK, package="tell")
    forget_plugins()
    yield lambda: [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    forget_plugins()


def left_alone(run_folder: Make, monkeypatch: pytest.MonkeyPatch, state: str) -> RunFolder:
    run = run_folder(runner="far", capabilities={"detaches": True})
    run.job("greet", ["a", "b"])
    run.write()
    monkeypatch.setattr("rv_core.status.look.runner_of", lambda record: Engine(state))
    return run


def look(run: RunFolder) -> list[HookFailure]:
    failures: list[HookFailure] = []
    tell_of_end(run_status(str(run.root)), failures.append)
    return failures


def test_the_first_look_after_the_end_tells_and_no_other_does(
    run_folder: Make, told: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = left_alone(run_folder, monkeypatch, "running")
    run.marker(detached=True)
    assert look(run) == []
    assert told() == []
    monkeypatch.setattr("rv_core.status.look.runner_of", lambda record: Engine("failed"))
    assert look(run) == look(run) == []
    assert told() == [
        [
            run.run_id,
            False,
            {"done": 0, "failed": 1, "tasks": 1, "duration_s": 0.0, "failed_tasks": ["hello.greet"]},
        ]
    ]


def test_a_run_that_is_done_has_succeeded(
    run_folder: Make, told: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = left_alone(run_folder, monkeypatch, "done")
    run.finish_item("greet", "a", "b")
    run.started("hello.greet")
    run.event("hello.greet", "finished", 3.0)
    look(run)
    ((_, succeeded, summary),) = told()
    assert succeeded
    assert (summary["done"], summary["failed"]) == (2, 0)


def test_who_has_no_plugin_for_it_leaves_the_telling_to_others(
    run_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = left_alone(run_folder, monkeypatch, "failed")
    look(run)
    assert is_first_to_tell(run_status(str(run.root)).files.paths)


def test_runs_that_somebody_waits_for_are_left_to_him(run_folder: Make, told: Callable[..., list[Any]]) -> None:
    run = run_folder()
    run.job("greet", ["a"])
    run.write()
    assert status_of(run_status(str(run.root)).files).state == "stopped"
    look(run)
    assert told() == []


def test_a_run_over_several_roots_is_told_of_once_whichever_is_looked_at(
    run_folder: Make, told: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = left_alone(run_folder, monkeypatch, "failed")
    seen = run_status(str(run.root))
    other = seen._replace(files=seen.files._replace(paths=seen.files.paths._replace(root_uri=f"{run.root}-b")))
    for status in (other, seen):
        tell_of_end(status, print)
    assert len(told()) == 1


def test_of_many_who_look_at_once_one_tells(run_folder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    run = left_alone(run_folder, monkeypatch, "failed")
    paths = run_status(str(run.root)).files.paths
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: is_first_to_tell(paths), range(8))) == 1
