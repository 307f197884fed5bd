"""A record is read where it lies: under a root that was moved, copied, mounted or renamed, and with parts missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rv_core.record.logs import find_logs
from rv_core.record.reading import find_run
from rv_core.record.whereabouts import present_roots
from rv_core.status.look import run_is_over, run_status
from rv_core.status.page import next_step, status_lines

Make = Callable[..., Any]


def text_of(root: Path) -> str:
    return "\n".join(line.text for line in status_lines(run_status(str(root)), root=str(root), excerpts={}, now=0.0))


def failed_run(run_folder: Make) -> Any:
    """The record of a run in which the first of two tasks has done its item and the second has failed."""
    run = run_folder()
    run.job("greet", ["a", "b"], splits=2)
    run.write()
    run.finish_item("greet", "a")
    run.started("hello.greet.1-of-2")
    run.event("hello.greet.1-of-2", "finished", 1)
    run.started("hello.greet.2-of-2")
    run.event("hello.greet.2-of-2", "failed", 2, reason="ValueError: 3", exit_code=1)
    run.log("hello.greet.2-of-2", "what it printed\n")
    return run


def test_a_failed_run_is_failed_where_its_root_was_moved_to(run_folder: Make, tmp_path: Path) -> None:
    run = failed_run(run_folder)
    moved = tmp_path / "moved"
    run.root.rename(moved)
    found = run_status(str(moved))
    assert (found.state, [task.state for task in found.jobs[0].tasks]) == ("failed", ["done", "failed"])
    assert found.jobs[0].items_done == 1
    assert list(find_logs(found.files)) == ["hello.greet.2-of-2"]
    assert f"it ran with the root {run.root}" in text_of(moved)
    assert found.to_json()["pipelines"] == {"hello": str(moved)}
    assert found.to_json()["recorded_roots"] == {"hello": str(run.root)}


def test_a_copy_tells_of_itself_and_not_of_the_original(run_folder: Make, tmp_path: Path) -> None:
    run = failed_run(run_folder)
    copy = tmp_path / "copy"
    shutil.copytree(run.root, copy)
    shutil.rmtree(run.root / ".rv" / "done")
    assert run_status(str(copy)).jobs[0].items_done == 1
    assert run_status(str(run.root)).jobs[0].items_done == 0


def test_a_root_behind_a_link_is_not_called_moved(run_folder: Make, tmp_path: Path) -> None:
    run = failed_run(run_folder)
    (tmp_path / "link").symlink_to(run.root)
    assert run_status(str(tmp_path / "link")).note == ""


def test_a_run_that_goes_on_is_running_where_it_is_seen_through_another_mount(run_folder: Make, tmp_path: Path) -> None:
    run = failed_run(run_folder)
    run.marker()
    run.root.rename(tmp_path / "mounted")
    assert run_status(str(tmp_path / "mounted")).state == "running"


@pytest.mark.parametrize(
    "damage", ["missing", "", "{", "[]", '{"items": [], "done": []}', '{"items": [{}], "done": []}']
)
def test_a_job_whose_items_are_not_known_is_never_done(run_folder: Make, damage: str) -> None:
    run = run_folder()
    run.job("greet", ["a", "b"], splits=2)
    run.write()
    run.finish_item("greet", "a", "b")
    run.started("hello.greet.1-of-2")
    run.event("hello.greet.1-of-2", "finished", 1)
    items = run.dir / "items" / "hello.greet.json"
    items.unlink()
    if damage != "missing":
        items.write_text(damage)
    found = run_status(str(run.root))
    first, second = found.jobs[0].tasks
    assert (found.state, found.jobs[0].state, first.state, second.state) == ("unknown",) * 4
    assert first.reason.startswith("it says that it is done, but what it works through is not known: ")
    assert str(items) in second.reason
    assert next_step(found, "out").startswith("the same command looks at everything")
    assert run_is_over(str(run.root), run.run_id)


def test_a_failed_task_of_unknown_items_has_failed(run_folder: Make) -> None:
    run = failed_run(run_folder)
    (run.dir / "items" / "hello.greet.json").unlink()
    found = run_status(str(run.root))
    assert (found.state, [task.state for task in found.jobs[0].tasks]) == ("failed", ["unknown", "failed"])


def test_what_was_done_before_is_unknown_without_its_record(run_folder: Make) -> None:
    run = run_folder()
    run.job("greet", [], done=["a"], decision="done")
    run.write()
    (run.dir / "items" / "hello.greet.json").unlink()
    found = run_status(str(run.root))
    assert (found.state, found.jobs[0].state) == ("unknown", "unknown")


def test_two_roots_that_moved_together_are_both_found(run_folder: Make, tmp_path: Path) -> None:
    run = run_folder()
    run.job("greet", ["a"])
    run.write()
    run.finish_item("greet", "a")
    plan = json.loads((run.dir / "plan.json").read_text())
    other = {"command": "stay", "job": "world.stay", "key": "k", "decision": "run", "reasons": [], "requires": []}
    commands = [{**other, "num_items": 1, "num_to_do": 1}]
    plan["pipelines"]["world"] = {"root_uri": str(tmp_path / "second"), "commands": commands}
    (run.dir / "plan.json").write_text(json.dumps(plan))
    second = tmp_path / "second" / ".rv" / "runs" / run.run_id
    shutil.copytree(run.dir, second)
    (second / "items" / "hello.greet.json").rename(second / "items" / "world.stay.json")
    there = tmp_path / "there"
    there.mkdir()
    run.root.rename(there / "root")
    (tmp_path / "second").rename(there / "second")
    for look in ("root", "second"):
        files = find_run(str(there / look))
        assert files.roots == {"hello": str(there / "root"), "world": str(there / "second")}
        assert len(files.moved_from) == 2


@pytest.mark.parametrize(
    ("recorded", "here", "own", "records", "found"),
    [
        ({"a": "/x/o"}, "/x/o", "", "", {"a": "/x/o"}),
        ({"a": "/x/o"}, "/y/p", "", "", {"a": "/y/p"}),
        ({"a": "s3://b/x"}, "s3://b/y", "", "", {"a": "s3://b/y"}),
        ({"a": "/x/a", "b": "/x/b"}, "/y/a", "a", "/y/b", {"a": "/y/a", "b": "/y/b"}),
        ({"a": "/x/a", "b": "/z/b"}, "/y/a", "a", "/z/b", {"a": "/y/a", "b": "/z/b"}),
        ({"a": "/x/a", "b": "/x/b"}, "/x/new", "a", "/x/b", {"a": "/x/new", "b": "/x/b"}),
        ({"a": "/x/a", "b": "/x/b"}, "/y/a", "a", "", {"a": "/y/a", "b": "/x/b"}),
    ],
)
def test_roots_are_where_their_record_lies(
    recorded: dict[str, str], here: str, own: str, records: str, found: dict[str, str]
) -> None:
    roots = present_roots(recorded, here, lies_here=lambda name: name == own, has_record=lambda root: root == records)
    assert roots == found
