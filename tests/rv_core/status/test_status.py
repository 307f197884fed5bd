from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from rv_core.errors import RvError, StorageError, UsageError
from rv_core.files import by_uri
from rv_core.launch import cancel as cancellation
from rv_core.machine.process_table import process_started
from rv_core.record import logs as run_logs
from rv_core.record.events import TaskStatus
from rv_core.record.reading import absolute_root, find_run, tails
from rv_core.runner import loading
from rv_core.runner.observation import Observation
from rv_core.status import look as status
from rv_core.status import watching
from rv_core.status.look import run_is_over, run_status, runs
from rv_core.status.page import command_text, exit_explanation, next_step, runs_lines, status_lines
from rv_core.status.values import JobStatus

START_S = 1_795_000_000.0
Make = Callable[..., Any]


@pytest.fixture
def gone_pid() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until it is told to end."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    reaper = threading.Thread(target=process.wait, daemon=True)
    reaper.start()
    yield process
    process.kill()
    reaper.join()


def job(root: Any, name: str, run_id: str | None = None) -> JobStatus:
    return next(found for found in run_status(str(root), run_id).jobs if found.command == name)


def task(root: Any, name: str) -> TaskStatus:
    return next(t for found in run_status(str(root)).jobs for t in found.tasks if t.task == f"hello.{name}")


def text_of(root: Any, excerpts: Mapping[str, list[str]] | None = None) -> str:
    found = run_status(str(root))
    lines = status_lines(found, root=str(root), excerpts=dict(excerpts or {}), now=START_S + 100)
    return "\n".join(line.text for line in lines)


# --- tasks and jobs ------------------------------------------------------------------------------------------------


def test_a_task_is_done_when_its_items_have_manifests_whatever_its_events_say(run_folder: Make) -> None:
    run = run_folder()
    run.job("greet", ["a", "b", "c", "d"], splits=2)
    run.write()
    run.finish_item("greet", "a", "b")
    run.started("hello.greet.1-of-2", pid=1, host="elsewhere")
    first, second = job(run.root, "greet").tasks
    assert (first.state, first.items_done, second.state) == ("done", 2, "waiting")


def test_a_manifest_under_another_key_does_not_count(run_folder: Make) -> None:
    run = run_folder()
    run.job("greet", ["a"])
    run.write()
    folder = run.root / ".rv" / "done" / "greet"
    folder.mkdir(parents=True)
    (folder / "a.0000000000000000.json").write_text("{}")
    assert job(run.root, "greet").items_done == 0


def test_items_done_before_the_run_count_for_the_job(run_folder: Make) -> None:
    run = run_folder()
    run.job("greet", ["c", "d"], splits=2, done=["a", "b"])
    run.write()
    run.finish_item("greet", "c")
    found = job(run.root, "greet")
    assert (found.items_done, found.items_total, found.items_done_before, found.state) == (3, 4, 2, "running")


def test_items_whose_names_are_unfit_for_files_are_found(run_folder: Make) -> None:
    run = run_folder()
    run.job("greet", ["a/b ü"])
    run.write()
    run.finish_item("greet", "a/b ü")
    assert job(run.root, "greet").state == "done"


def test_a_job_that_is_not_part_of_the_run_is_skipped_with_the_reason(run_folder: Make) -> None:
    run = run_folder()
    run.job("greet", [], done=["a", "b"], decision="done")
    run.job("train", decision="not selected")
    run.write()
    greet, train = job(run.root, "greet"), job(run.root, "train")
    assert (greet.state, greet.items_done, greet.reason, greet.tasks) == ("skipped", 2, "done before", ())
    assert (train.state, train.items_done, train.reason) == ("skipped", 0, "not selected")


def test_a_failed_task_keeps_its_reason_and_exit_code(run_folder: Make) -> None:
    run = run_folder()
    run.job("greet", ["a"])
    run.write()
    run.started("hello.greet")
    run.event("hello.greet", "failed", 1, reason="ValueError: 3", exit_code=1)
    found = task(run.root, "greet")
    assert (found.state, found.reason, found.exit_code, found.attempt) == ("failed", "ValueError: 3", 1, 1)
    assert run_status(str(run.root)).state == "failed"


def test_what_the_runner_saw_of_a_killed_task_is_told(run_folder: Make, gone_pid: int) -> None:
    run = run_folder()
    run.job("greet", ["a"])
    run.write()
    run.started("hello.greet", pid=gone_pid)
    run.submission("reported", 1, task="hello.greet", exit_code=-9)
    assert (task(run.root, "greet").state, task(run.root, "greet").exit_code) == ("failed", -9)


def test_a_task_whose_process_is_gone_without_a_word_is_lost(run_folder: Make, gone_pid: int) -> None:
    run = run_folder()
    run.job("greet", ["a"])
    run.write()
    run.started("hello.greet", pid=gone_pid)
    found = task(run.root, "greet")
    assert (found.state, found.reason) == ("lost", "its process ended without a word (killed?)")


def test_a_task_is_lost_when_another_process_has_got_its_id(run_folder: Make, sleeper: subprocess.Popen[bytes]) -> None:
    run = run_folder()
    run.job("greet", ["a"])
    run.write()
    old = TaskStatus("hello.greet", "running", host=os.uname().nodename, pid=sleeper.pid, started=time.time() - 3600)
    assert status.is_gone(old)
    assert not status.is_gone(TaskStatus("t", "running", host=old.host, pid=sleeper.pid, started=time.time()))


def test_a_task_is_not_lost_because_the_clock_was_set_forward_after_it_began(sleeper: subprocess.Popen[bytes]) -> None:
    began = time.time() - 3600  # what its clock said, an hour behind
    own = TaskStatus("t", "running", host=os.uname().nodename, pid=sleeper.pid, started=began)
    assert not status.is_gone(own._replace(process_started=process_started(sleeper.pid) or ""))
    assert status.is_gone(own._replace(process_started="another boot:17"))


def test_a_task_on_another_machine_is_never_called_lost(run_folder: Make, gone_pid: int) -> None:
    run = run_folder()
    run.job("greet", ["a"])
    run.write()
    run.started("hello.greet", pid=gone_pid, host="elsewhere")
    assert task(run.root, "greet").state == "running"


def test_success_that_only_the_runner_claims_is_a_failure(run_folder: Make) -> None:
    run = run_folder()
    run.job("greet", ["a", "b"])
    run.write()
    run.submission("reported", 1, task="hello.greet", exit_code=0)
    found = task(run.root, "greet")
    assert (found.state, found.reason) == ("failed", "it ended without an error, but 2 of its 2 items are not done")


@pytest.mark.parametrize("moment", ["read_board", "_observe"])
def test_a_task_that_finishes_while_one_looks_is_done(
    run_folder: Make, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    run = run_folder()
    run.job("greet", ["a"])
    run.write()
    run.started("hello.greet", pid=os.getpid())
    look = getattr(status, moment)

    def finish_and_look(what: Any) -> Any:
        run.finish_item("greet", "a")
        run.event("hello.greet", "finished", 2, duration_s=2.0)
        return look(what)

    monkeypatch.setattr(status, moment, finish_and_look)
    (found,) = job(run.root, "greet").tasks
    assert (found.state, found.items_done, found.reason) == ("done", 1, "")


def test_items_that_were_removed_after_a_task_finished_are_told(run_folder: Make) -> None:
    run = run_folder()
    run.job("greet", ["a", "b"])
    run.write()
    run.finish_item("greet", "a")
    run.started("hello.greet")
    run.event("hello.greet", "finished", 2, duration_s=2.0)
    found = job(run.root, "greet")
    assert (found.state, found.items_done) == ("done", 1)
    assert found.tasks[0].reason == "1 of its 2 items were removed or replaced since"
    assert "does again what was removed" in next_step(run_status(str(run.root)), str(run.root))


def test_an_older_run_shows_what_it_did_although_a_newer_one_replaced_it(run_folder: Make) -> None:
    old = run_folder(run_id="20260101-000000-aaaaaa")
    old.job("greet", ["a", "b"])
    old.write()
    old.started("hello.greet")
    for name in ("a", "b"):
        old.event("hello.greet", "item", 1, item=name, state="done")
    old.event("hello.greet", "finished", 2)
    new = run_folder(run_id="20260202-000000-bbbbbb")
    new.job("greet", ["a", "b"])
    new.write()
    assert job(old.root, "greet", old.run_id).items_done == 2
    assert job(old.root, "greet").items_done == 0


def test_tasks_behind_a_failed_job_say_what_they_wait_for(run_folder: Make) -> None:
    run = run_folder()
    run.job("greet", ["a"])
    run.job("train", requires=["greet"])
    run.write()
    run.marker()
    run.started("hello.greet")
    run.event("hello.greet", "failed", 1, reason="x", exit_code=1)
    assert task(run.root, "train").reason == "waits: hello.greet is not done (failed)"
    (run.root / ".rv" / "active-run.json").unlink()
    assert task(run.root, "train").reason == "did not start: hello.greet is not done (failed)"


def test_splits_are_the_same_shares_that_tasks_work_through(run_folder: Make) -> None:
    run = run_folder()
    run.job("greet", [f"n{i}" for i in range(7)], splits=3)
    run.write()
    run.finish_item("greet", "n0", "n1", "n2", "n3")
    assert [t.items_done for t in job(run.root, "greet").tasks] == [3, 1, 0]


# --- the run as a whole ----------------------------------------------------------------------------------------------


def one_job(run_folder: Make, **options: Any) -> Any:
    run = run_folder(**options)
    run.job("greet", ["a"])
    return run.write()


def test_a_run_whose_process_lives_is_running(run_folder: Make) -> None:
    run = one_job(run_folder)
    run.marker()
    assert run_status(str(run.root)).state == "submitted"
    run.started("hello.greet")
    assert run_status(str(run.root)).state == "running"
    assert not run_is_over(str(run.root), run.run_id)


def test_a_run_whose_process_was_killed_is_lost_and_says_so(run_folder: Make, gone_pid: int) -> None:
    run = one_job(run_folder)
    run.marker(pid=gone_pid, started="boot:1")
    run.started("hello.greet", pid=gone_pid)
    found = run_status(str(run.root))
    assert found.state == "lost"
    assert f"the process that ran it ({gone_pid} on" in found.note
    assert run_is_over(str(run.root), run.run_id)


def test_a_run_that_was_interrupted_is_stopped(run_folder: Make) -> None:
    run = one_job(run_folder)
    run.started("hello.greet")
    run.event("hello.greet", "stopped", 1, reason="stopped by TERM", exit_code=75)
    assert run_status(str(run.root)).state == "stopped"


def test_a_cancelled_run_says_who_cancelled_it(run_folder: Make) -> None:
    run = one_job(run_folder)
    run.submission("cancelled", 1, reason="cancelled by process 7 on host")
    found = run_status(str(run.root))
    assert (found.state, found.note) == ("cancelled", "cancelled by process 7 on host")
    assert found.jobs[0].state == "cancelled"


def test_a_run_with_all_items_done_is_done_however_it_got_there(run_folder: Make) -> None:
    run = one_job(run_folder)
    run.submission("cancelled", 1)
    run.finish_item("greet", "a")
    assert run_status(str(run.root)).state == "done"


def test_the_run_that_is_going_on_is_shown_before_a_newer_record(run_folder: Make) -> None:
    active = one_job(run_folder, run_id="20260101-000000-aaaaaa")
    active.marker()
    one_job(run_folder, run_id="20260202-000000-bbbbbb")
    assert run_status(str(active.root)).files.run_id == "20260101-000000-aaaaaa"


def test_a_run_is_found_by_the_beginning_of_its_id(run_folder: Make) -> None:
    run = one_job(run_folder, run_id="20260101-000000-aaaaaa")
    assert find_run(str(run.root), "20260101").run_id == run.run_id
    with pytest.raises(UsageError, match="no run named '2027'") as caught:
        find_run(str(run.root), "2027")
    assert "--all" in str(caught.value)


def test_a_folder_without_a_run_names_one_nearby(run_folder: Make, tmp_path: Path) -> None:
    run = one_job(run_folder)
    with pytest.raises(UsageError, match="no run found here") as caught:
        find_run(str(tmp_path))
    assert str(run.root) in str(caught.value)
    with pytest.raises(UsageError, match="no run found here"):
        find_run(str(tmp_path / "nothing" / "at" / "all"))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("damage", ["{", "[]", '{"run_id": 1}', '{"format": 1, "pipelines": [], "jobs": []}'])
@pytest.mark.parametrize("name", ["run.json", "plan.json"])
def test_a_damaged_record_is_one_clear_error(run_folder: Make, name: str, damage: str) -> None:
    run = one_job(run_folder)
    (run.dir / name).write_text(damage)
    with pytest.raises(StorageError, match="damaged"):
        run_status(str(run.root), run.run_id)


def test_a_record_without_a_plan_says_that_the_run_never_started(run_folder: Make) -> None:
    run = one_job(run_folder)
    (run.dir / "plan.json").unlink()
    with pytest.raises(StorageError, match=r"plan\.json is missing"):
        run_status(str(run.root))


def test_status_imports_no_code_that_lies_under_the_root(run_folder: Make) -> None:
    run = one_job(run_folder)
    (run.root / "rv_planted.py").write_text("raise SystemExit('imported')")
    before = set(sys.modules)
    run_status(str(run.root))
    assert not [name for name in set(sys.modules) - before if "planted" in name]


def test_a_run_over_two_roots_shows_both(run_folder: Make, tmp_path: Path) -> None:
    run = one_job(run_folder)
    plan = json.loads((run.dir / "plan.json").read_text())
    other = tmp_path / "other"
    entry = {**plan["pipelines"]["hello"]["commands"][0], "job": "second.greet"}
    plan["pipelines"]["second"] = {"root_uri": str(other), "commands": [entry]}
    plan["jobs"].append({**plan["jobs"][0], "id": "second.greet", "pipeline": "second"})
    (run.dir / "plan.json").write_text(json.dumps(plan))
    record = other / ".rv" / "runs" / run.run_id / "items" / "second.greet.json"
    record.parent.mkdir(parents=True)
    record.write_text((run.dir / "items" / "hello.greet.json").read_text())
    manifest = other / ".rv" / "done" / "greet" / f"a.{run.key('a')}.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    assert [(j.job, j.state) for j in run_status(str(run.root)).jobs] == [
        ("hello.greet", "waiting"),
        ("second.greet", "done"),
    ]


def test_a_run_of_ten_thousand_tasks_is_looked_at_in_seconds(run_folder: Make) -> None:
    num = 10_000
    run = run_folder()
    run.job("greet", [f"n{i}" for i in range(num)], splits=num)
    run.write()
    folder = run.root / ".rv" / "done" / "greet"
    folder.mkdir(parents=True)
    for i in range(0, num, 2):
        (folder / f"n{i}.{run.key(f'n{i}')}.json").touch()
    before = time.process_time()
    found = run_status(str(run.root))
    assert time.process_time() - before < 3
    assert found.jobs[0].items_done == num // 2


# --- runners that detach --------------------------------------------------------------------------------------------


class Engine:
    """A runner that submitted a run somewhere."""

    def __init__(self, observed: dict[str, Observation] | Exception, logs: list[str] | None = None) -> None:
        self.observed = observed
        self.cancelled: list[str] = []
        self.capabilities = type("C", (), {"cancels": True})
        self._logs = logs or []

    def observe(self, record: Any) -> dict[str, Observation]:
        if isinstance(self.observed, Exception):
            raise self.observed
        return self.observed

    def logs(self, record: Any, task: str) -> list[str]:
        return self._logs

    def cancel(self, record: Any) -> None:
        self.cancelled.append(record.run_id)


@pytest.fixture
def detached(run_folder: Make, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A run of two jobs that an engine has; its answer is given."""

    def make(observed: dict[str, Observation] | Exception, **options: Any) -> Any:
        run = run_folder(runner="far", capabilities={"detaches": True, "is_remote": True})
        run.job("greet", ["a", "b"], splits=2)
        run.job("train", requires=["greet"])
        run.write()
        run.marker(detached=True, pid=1, started="x")
        run.engine = Engine(observed, **options)
        for module in (status, watching, loading):
            monkeypatch.setattr(module, "runner_of", lambda record: run.engine)
        return run

    return make


def test_the_engine_is_asked_for_tasks_without_manifests(detached: Make) -> None:
    run = detached(
        {
            "hello.greet.1-of-2": Observation("running", attempt=2),
            "hello.greet.2-of-2": Observation("submitted", "waits for 8 vCPU, the queue has 4"),
        }
    )
    first, second = job(run.root, "greet").tasks
    assert (first.state, first.attempt) == ("running", 2)
    assert (second.state, second.reason) == ("submitted", "waits for 8 vCPU, the queue has 4")
    assert run_status(str(run.root)).state == "running"


def test_manifests_go_before_what_the_engine_says_unless_that_is_a_failure(detached: Make) -> None:
    run = detached({"hello.greet.1-of-2": Observation("running")})
    run.finish_item("greet", "a")
    assert job(run.root, "greet").tasks[0].state == "done"
    detached({"hello.greet.1-of-2": Observation("failed", "Host EC2 terminated", 137)})
    failed = job(run.root, "greet").tasks[0]
    assert (failed.state, failed.exit_code, failed.reason) == ("failed", 137, "Host EC2 terminated")


def test_the_reasons_of_task_and_engine_are_both_told(detached: Make) -> None:
    run = detached({"hello.greet.1-of-2": Observation("failed", "Essential container exited", 1)})
    run.started("hello.greet.1-of-2", host="far-away")
    run.event("hello.greet.1-of-2", "failed", 1, reason="ValueError: 3", exit_code=1)
    found = job(run.root, "greet").tasks[0]
    assert found.reason == "ValueError: 3; Essential container exited"


def test_an_engine_that_cannot_be_asked_makes_tasks_unknown_not_failed(detached: Make) -> None:
    run = detached(ConnectionError("no credentials"))
    run.finish_item("greet", "a")
    found = run_status(str(run.root))
    assert [t.state for t in found.jobs[0].tasks] == ["done", "unknown"]
    assert found.jobs[0].tasks[1].reason == "could not ask far: no credentials"
    assert found.state == "unknown"
    assert not run_is_over(str(run.root), run.run_id)


def test_a_detached_run_goes_on_while_a_task_can_still_start(detached: Make) -> None:
    run = detached({})
    run.finish_item("greet", "a", "b")
    assert run_status(str(run.root)).state == "running"
    run.engine.observed = {"hello.train": Observation("failed", "OutOfMemoryError", 137)}
    assert run_status(str(run.root)).state == "failed"


def test_a_detached_run_is_over_when_what_is_left_can_never_start(detached: Make) -> None:
    run = detached({f"hello.greet.{n}-of-2": Observation("failed", exit_code=1) for n in (1, 2)})
    assert run_status(str(run.root)).state == "failed"
    assert run_is_over(str(run.root), run.run_id)


def test_a_runner_that_is_not_installed_is_named(run_folder: Make) -> None:
    run = run_folder(runner="nowhere", capabilities={"detaches": True})
    run.job("greet", ["a"])
    run.write()
    found = run_status(str(run.root))
    assert found.state == "unknown"
    assert "no runner named 'nowhere'" in found.problem


def test_observations_become_events_once(detached: Make) -> None:
    run = detached({"hello.greet.1-of-2": Observation("running")})
    tail = watching.ObservationTail(run.record)
    (event,) = tail.poll()["submission"]
    assert (event["task"], event["state"]) == ("hello.greet.1-of-2", "running")
    assert tail.poll() == {}
    assert tail.poll(whole=True) == {}
    run.engine.observed = ConnectionError("gone")
    assert tail.poll(whole=True) == {}
    assert tail.problem == "gone"


# --- all runs --------------------------------------------------------------------------------------------------------


def test_all_runs_are_listed_newest_first_with_how_they_ended(run_folder: Make, gone_pid: int) -> None:
    ends = [("01", "run_finished", True), ("02", "run_finished", False), ("03", "cancelled", None), ("04", None, None)]
    for day, event, succeeded in ends:
        run = one_job(run_folder, run_id=f"202601{day}-000000-aaaaaa")
        if event:
            run.submission(event, succeeded=succeeded)
    lost = one_job(run_folder, run_id="20260105-000000-aaaaaa")
    lost.marker(pid=gone_pid, started="boot:1")
    states = {summary.run_id[6:8]: summary.state for summary in runs(str(lost.root))}
    assert states == {"05": "lost", "04": "stopped", "03": "cancelled", "02": "failed", "01": "done"}
    assert list(states) == ["05", "04", "03", "02", "01"]
    lost.marker()
    assert runs(str(lost.root))[0].state == "running"
    (lost.dir / "run.json").write_text("{")
    assert runs(str(lost.root))[0].state == "damaged record"
    with pytest.raises(StorageError, match="lists every run with --all and shows another one with --run"):
        run_status(str(lost.root))
    table = [line.text.split() for line in runs_lines(runs(str(lost.root))[1:])]
    assert table[0] == ["run", "state", "when", "who", "runner", "pipelines"]
    assert table[1][:2] == ["20260104-000000-aaaaaa", "stopped"]


# --- wording of the view -----------------------------------------------------------------------------------------------


def test_the_view_names_run_jobs_failed_tasks_and_the_next_step(run_folder: Make) -> None:
    run = run_folder()
    run.job("greet", ["a", "b", "c"], splits=3)
    run.job("train", requires=["greet"])
    run.write()
    run.finish_item("greet", "a", "c")
    for n in (1, 3):
        run.started(f"hello.greet.{n}-of-3")
        run.event(f"hello.greet.{n}-of-3", "finished", 30 if n == 3 else 2, duration_s=30.0 if n == 3 else 2.0)
    for attempt in (1, 2):
        run.started("hello.greet.2-of-3", attempt, attempt=attempt)
        run.event(
            "hello.greet.2-of-3", "failed", attempt + 0.5, attempt=attempt, reason="[red]DataError[/]", exit_code=137
        )
    text = text_of(run.root, {"hello.greet.2-of-3": ["last words"]})
    assert f"run {run.run_id}  failed" in text
    assert "ada on " in text
    assert f"hello at {run.root}" in text
    assert "hello.greet  failed     2/3  0:30" in text
    assert "2 done, 1 failed" in text
    assert "hello.train  waiting    0/1" in text
    assert "did not start: hello.greet is not done (failed)" in text
    assert (
        "hello.greet.2-of-3 failed\n    split 2 of 3, exit code 137 (SIGKILL), often because memory ran out, 2 attempts"
        in text
    )
    assert "    [red]DataError[/]\n    | last words\n" in text
    assert f"log: rv logs {run.root} hello.greet.2-of-3 --run {run.run_id}" in text
    assert text.endswith("next: the same command goes on from here: rv run local experiment.py -s 5")


def test_a_split_that_took_much_longer_than_the_others_is_named(run_folder: Make) -> None:
    run = run_folder()
    run.job("greet", ["a", "b", "c"], splits=3)
    run.write()
    run.finish_item("greet", "a", "b", "c")
    for n, seconds in ((1, 10.0), (2, 48.0), (3, 12.0)):
        run.started(f"hello.greet.{n}-of-3")
        run.event(f"hello.greet.{n}-of-3", "finished", seconds, duration_s=seconds)
    assert "split 2 of 3 took 0:48, the median is 0:12" in text_of(run.root)


def test_many_failed_tasks_are_cut_short(run_folder: Make) -> None:
    run = run_folder()
    run.job("greet", [f"n{i}" for i in range(14)], splits=14)
    run.write()
    for n in range(1, 15):
        run.started(f"hello.greet.{n}-of-14")
        run.event(f"hello.greet.{n}-of-14", "failed", 1, reason="x", exit_code=1)
    text = text_of(run.root)
    assert text.count("rv logs") == 10
    assert "and 4 more failed tasks: --json lists all" in text


def test_the_next_step_depends_on_the_state(run_folder: Make, detached: Make) -> None:
    run = one_job(run_folder)
    run.marker()
    assert "rv cancel" in next_step(run_status(str(run.root)), "out dir")
    assert "'out dir'" in next_step(run_status(str(run.root)), "out dir")
    run.finish_item("greet", "a")
    assert next_step(run_status(str(run.root)), "out").startswith("nothing is left to do; results are under")


def test_the_command_to_type_again_names_its_folder_if_that_is_another_one(run_folder: Make) -> None:
    run = one_job(run_folder)
    record = run.record
    assert command_text(record) == "rv run local experiment.py -s 5"
    moved = type(record)(**{**record.__dict__, "cwd": "/else where", "argv": ("/x/rv_core/__main__.py", "run", "a b")})
    assert command_text(moved) == "rv run 'a b' (in /else where)"


def test_a_kill_is_explained_unless_the_reason_does_it() -> None:
    assert exit_explanation(-9).endswith("often because memory ran out")
    assert exit_explanation(137, "OutOfMemory") == "exit code 137 (SIGKILL)"
    assert exit_explanation(1) == "exit code 1"


def test_the_json_of_a_status_is_plain(run_folder: Make) -> None:
    run = one_job(run_folder)
    plain = json.loads(json.dumps(run_status(str(run.root)).to_json()))
    assert plain["jobs"][0]["tasks"][0]["state"] == "waiting"
    assert plain["pipelines"] == {"hello": str(run.root)}


def test_roots_may_be_relative_and_hold_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WHERE", "/data")
    assert absolute_root("out/") == str(tmp_path / "out")
    assert absolute_root("${WHERE}/out") == "/data/out"
    assert absolute_root("s3://bucket/out") == "s3://bucket/out"


# --- logs ------------------------------------------------------------------------------------------------------------


def with_logs(run_folder: Make) -> Any:
    run = run_folder()
    run.job("greet", ["a", "b"], splits=2)
    run.job("train", requires=["greet"])
    run.job("eval", decision="done", items=[], done=["all"])
    run.write()
    run.log("hello.greet.1-of-2", "first\n", 1)
    run.log("hello.greet.1-of-2", "one\ntwo\n", 2)
    run.log("hello.train", "epoch 1\n")
    (run.dir / "logs" / "make.log").write_text("no task")
    return run


def test_logs_are_found_by_task_with_their_attempts(run_folder: Make) -> None:
    files = find_run(str(with_logs(run_folder).root))
    found = run_logs.find_logs(files)
    assert [(log.task, log.attempt) for logs in found.values() for log in logs] == [
        ("hello.greet.1-of-2", 1),
        ("hello.greet.1-of-2", 2),
        ("hello.train", 1),
    ]
    log = run_logs.choose_attempt(found["hello.greet.1-of-2"], None)
    assert list(run_logs.read_lines(log)) == ["one", "two"]
    assert run_logs.choose_attempt(found["hello.greet.1-of-2"], 1).attempt == 1
    with pytest.raises(UsageError, match="attempt 3 of hello.greet.1-of-2 left no log"):
        run_logs.choose_attempt(found["hello.greet.1-of-2"], 3)


def test_a_task_or_a_job_may_be_named_by_the_end_of_its_id(run_folder: Make) -> None:
    files = find_run(str(with_logs(run_folder).root))
    assert run_logs.resolve_tasks("hello.train", files) == ["hello.train"]
    assert run_logs.resolve_tasks("train", files) == ["hello.train"]
    assert run_logs.resolve_tasks("greet.2-of-2", files) == ["hello.greet.2-of-2"]
    assert run_logs.resolve_tasks("greet", files) == ["hello.greet.1-of-2", "hello.greet.2-of-2"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hello.trian", "did you mean 'hello.train'"),
        ("eval", "hello.eval is not part of this run"),
        ("x", "its tasks: hello.greet.1-of-2, hello.greet.2-of-2, hello.train"),
    ],
)
def test_a_task_that_is_not_meant_clearly_is_refused_with_what_there_is(run_folder: Make, name: str, said: str) -> None:
    files = find_run(str(with_logs(run_folder).root))
    with pytest.raises(UsageError) as caught:
        run_logs.resolve_tasks(name, files)
    assert said in str(caught.value)


def test_the_last_lines_of_a_log_are_safe_to_print(run_folder: Make) -> None:
    run = with_logs(run_folder)
    lines = [f"line {n}" for n in range(100)]
    lines += ["\x1b[31mred\x1b[0m [bold]", " 10%|#   \r 90%|### ", "at https://ada:hunter22@host/x"]
    run.log("hello.train", "\n".join(lines), 2)
    log = str(run.dir / "logs" / "hello.train.2.log")
    excerpt = run_logs.last_lines(log, 5)
    assert excerpt[:4] == ["line 98", "line 99", "red [bold]", " 90%|### "]
    assert "hunter22" not in excerpt[4]
    assert run_logs.last_lines(str(run.dir / "logs" / "hello.unknown.1.log")) == []
    run.log("hello.empty", "")
    assert run_logs.last_lines(str(run.dir / "logs" / "hello.empty.1.log")) == []
    assert len(run_logs.last_lines(log)) == 20


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (TaskStatus("t"), "has not started (waiting)"),
        (TaskStatus("t", "submitted", reason="the queue is disabled"), "submitted: the queue is disabled"),
        (TaskStatus("t", "done"), "all its items were done already"),
        (TaskStatus("t", "failed", started=1.0, exit_code=-9), "killed by SIGKILL"),
    ],
)
def test_the_reason_for_a_missing_log_is_told(found: TaskStatus, said: str) -> None:
    assert said in run_logs.why_no_log(found)


def follow_lines(files: Any, name: str, is_run_over: Callable[[], bool] = lambda: False) -> list[str]:
    logs = run_logs.find_logs(files).get(name)
    return list(run_logs.follow(files, name, logs[-1] if logs else None, is_run_over=is_run_over))


def test_following_a_log_goes_on_until_the_task_ends(run_folder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_logs, "FOLLOW_INTERVAL_S", 0.01)
    run = with_logs(run_folder)
    run.started("hello.train")
    steps = iter(
        [lambda: run.log("hello.train", "epoch 1\nepo"), lambda: run.log("hello.train", "epoch 1\nepoch 2\nend")]
    )

    def sleep(seconds: float) -> None:
        next(steps, lambda: run.event("hello.train", "finished", 3))()

    monkeypatch.setattr(run_logs.time, "sleep", sleep)
    assert follow_lines(find_run(str(run.root)), "hello.train") == ["epoch 1", "epoch 2", "end"]


def test_following_goes_over_to_the_next_attempt(run_folder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    run = with_logs(run_folder)
    run.started("hello.train")

    def second_attempt() -> None:
        run.log("hello.train", "again\n", 2)
        run.started("hello.train", 5, attempt=2)

    steps = iter([second_attempt, lambda: None, lambda: run.event("hello.train", "finished", 6, attempt=2)])
    # New files are looked for at most for 1 % of the time, so some has to pass.
    wait = threading.Event().wait
    monkeypatch.setattr(run_logs.time, "sleep", lambda seconds: (wait(0.05), next(steps)()))
    assert follow_lines(find_run(str(run.root)), "hello.train") == ["epoch 1", "again"]


def test_following_a_task_that_never_starts_ends_with_the_run(
    run_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_logs.time, "sleep", lambda seconds: None)
    run = with_logs(run_folder)
    assert follow_lines(find_run(str(run.root)), "hello.greet.2-of-2", lambda: True) == []


# --- cancelling ------------------------------------------------------------------------------------------------------


def test_cancelling_ends_the_process_of_the_run_and_notes_it(
    run_folder: Make, sleeper: subprocess.Popen[bytes]
) -> None:
    run = one_job(run_folder)
    run.marker(pid=sleeper.pid, started=str(process_started(sleeper.pid)))
    outcome = cancellation.cancel(str(run.root))
    assert outcome.is_cancelled
    assert process_started(sleeper.pid) is None
    assert not (run.root / ".rv" / "active-run.json").exists()
    found = run_status(str(run.root))
    assert found.state == "cancelled"
    assert found.note.startswith("cancelled by ")


def test_cancelling_again_does_nothing_and_says_so(run_folder: Make) -> None:
    run = one_job(run_folder)
    outcome = cancellation.cancel(str(run.root))
    assert not outcome.is_cancelled
    assert outcome.message == f"nothing to cancel: run {run.run_id} has ended"
    assert not (run.dir / "events").exists()


def test_cancelling_a_run_whose_process_is_gone_frees_the_root(run_folder: Make, gone_pid: int) -> None:
    run = one_job(run_folder)
    run.marker(pid=gone_pid, started="boot:1")
    outcome = cancellation.cancel(str(run.root))
    assert not outcome.is_cancelled
    assert f"its process ({gone_pid} on" in outcome.message
    assert not (run.root / ".rv" / "active-run.json").exists()


def test_cancelling_another_run_leaves_the_active_one_alone(run_folder: Make, sleeper: subprocess.Popen[bytes]) -> None:
    one_job(run_folder, run_id="20260101-000000-aaaaaa")
    active = one_job(run_folder, run_id="20260202-000000-bbbbbb")
    active.marker(pid=sleeper.pid)
    assert not cancellation.cancel(str(active.root), "20260101-000000-aaaaaa").is_cancelled
    assert process_started(sleeper.pid) is not None


def test_a_run_on_another_machine_is_not_cancelled_from_here(run_folder: Make) -> None:
    run = one_job(run_folder)
    run.marker(host="far-away", pid=4711, started="x")
    with pytest.raises(UsageError, match="runs on far-away"):
        cancellation.cancel(str(run.root))
    assert (run.root / ".rv" / "active-run.json").exists()


def test_cancelling_a_detached_run_asks_its_runner(detached: Make) -> None:
    run = detached({"hello.greet.1-of-2": Observation("running")})
    assert cancellation.cancel(str(run.root)).is_cancelled
    assert run.engine.cancelled == [run.run_id]
    assert not (run.root / ".rv" / "active-run.json").exists()
    assert not cancellation.cancel(str(run.root)).is_cancelled


def test_a_detached_run_that_has_ended_only_frees_the_root(detached: Make) -> None:
    run = detached({f"hello.greet.{n}-of-2": Observation("failed", exit_code=1) for n in (1, 2)})
    assert not cancellation.cancel(str(run.root)).is_cancelled
    assert run.engine.cancelled == []


def test_a_runner_that_cannot_cancel_is_an_error(detached: Make) -> None:
    run = detached({"hello.greet.1-of-2": Observation("running")})
    run.engine.capabilities.cancels = False
    with pytest.raises(RvError, match="cannot cancel"):
        cancellation.cancel(str(run.root))


# --- roots that are not on this machine ------------------------------------------------------------------------------


def upload(run: Any, uri: str) -> None:
    for path in sorted(run.root.rglob("*")):
        if path.is_file():
            text = path.read_text().replace(json.dumps(str(run.root)), json.dumps(uri))
            by_uri.write_bytes(f"{uri}/{path.relative_to(run.root)}", text.encode())


def test_a_remote_root_is_read_from_its_store(run_folder: Make) -> None:
    run = with_logs(run_folder)
    run.finish_item("greet", "a")
    run.started("hello.greet.2-of-2", host="elsewhere")
    run.event("hello.greet.2-of-2", "failed", 1, reason="x", exit_code=1)
    uri = f"memory://status-{os.getpid()}/root"
    upload(run, uri)
    found = run_status(uri)
    assert [t.state for t in found.jobs[0].tasks] == ["done", "failed"]
    logs = run_logs.find_logs(found.files)["hello.train"]
    assert list(run_logs.read_lines(logs[0])) == ["epoch 1"]
    cancellation.note_cancelled(found.files)
    assert run_status(uri).note.startswith("cancelled by")


def test_events_on_this_machine_go_before_their_copies_in_the_store(
    run_folder: Make, isolated_environment: Path
) -> None:
    run = one_job(run_folder)
    run.started("hello.greet", host="elsewhere")
    uri = f"memory://status-local-{os.getpid()}/root"
    upload(run, uri)
    local = isolated_environment / "cache" / "runs" / run.run_id / "events"
    local.mkdir(parents=True)
    run.event("hello.greet", "failed", 1, reason="newer", exit_code=1)
    for path in (run.dir / "events").iterdir():
        (local / path.name).write_bytes(path.read_bytes())
    assert run_status(uri).jobs[0].tasks[0].reason == "newer"
    assert len(tails(find_run(uri))) == 1


def test_a_root_that_cannot_be_looked_at_is_not_called_empty(tmp_path: Path) -> None:
    (tmp_path / ".rv").mkdir()
    (tmp_path / ".rv" / "runs").symlink_to(tmp_path / ".rv" / "runs")
    with pytest.raises(StorageError, match="cannot look for runs"):
        find_run(str(tmp_path))
