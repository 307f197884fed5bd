"""Submissions that fail, are interrupted or come twice, from any shell and to any root; and cancelling."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import RvCli
    from tests.rv_runner_slurm.conftest import FailingProgram, Gate, GatedRun
    from tests.slurm_cluster.cluster import SlurmCluster

pytest_plugins = ("tests.slurm_cluster.fixtures",)
GatedOn = Callable[["SlurmCluster"], "GatedRun"]
Failing = Callable[..., "FailingProgram"]


# Submitting.


@pytest.mark.parametrize("end", ["refuse", "lose"])
def test_a_submission_that_fails_half_way_leaves_nothing_behind(
    slurm: SlurmCluster, gated_on: GatedOn, gate: Gate, failing: Failing, end: str
) -> None:
    """A job is refused, or Slurm takes it and its answer is lost."""
    failing("sbatch").order(end, 3)
    run = gated_on(slurm)
    done = run.run()
    assert done.returncode == 1
    assert "job 3 of 3 could not be submitted; the 2 submitted before it are ended again" in done.stderr
    assert "as ordered" in done.stderr
    assert run.states() == ["CANCELLED"] * (2 + (end == "lose"))
    assert not (run.root / ".rv" / "active-run.json").exists()
    gate.open()
    run.submit("--wait")
    run.assert_whole()


def test_what_a_failed_submission_could_not_end_keeps_the_root_until_it_is_cancelled(
    slurm: SlurmCluster, gated_on: GatedOn, failing: Failing
) -> None:
    failing("sbatch").order("refuse", 3)
    failing("scancel").order("refuse", 4)  # calls are counted together
    run = gated_on(slurm)
    done = run.run()
    assert done.returncode == 1
    assert "what is left could not be ended" in done.stderr
    assert "end what is left with rv cancel" in done.stderr
    again = run.run()
    assert (again.returncode, "is still going on" in again.stderr) == (2, True), again.stderr
    assert run.rv("cancel", run.root).returncode == 0
    assert run.states() == ["CANCELLED"] * 2


def test_a_job_of_somebody_else_that_has_got_an_id_of_the_run_is_neither_shown_nor_ended(
    slurm: SlurmCluster, gated_on: GatedOn
) -> None:
    """A cluster that was set up anew, or has counted up to its largest id, gives ids again."""
    run = gated_on(slurm)
    run.submit()
    other = slurm.submit("#!/bin/sh\nexec sleep 300\n", "--job-name=thesis")
    events = next(run.root.glob(".rv/runs/*/events/submission.jsonl"))
    [own] = run.jobs("work")
    events.write_text(events.read_text().replace(f'"native_id": "{own["job_id"]}"', f'"native_id": "{other}"'))
    slurm.run("scancel", str(own["job_id"]))
    slurm.wait_for_state(other, "RUNNING")
    slurm.wait_until(lambda: run.states("work") == ["CANCELLED"])
    task = run.status()["tasks"]["gated-slurm.work"]
    assert task["state"] in ("failed", "lost"), task  # by the exit code that it may have left
    assert run.rv("cancel", run.root).returncode == 0
    assert slurm.job(other)["job_state"] == "RUNNING"
    assert set(run.states()) == {"CANCELLED"}
    slurm.run("scancel", other)


@pytest.mark.parametrize(
    "around", ["before", *(pytest.param(name, marks=pytest.mark.slow) for name in ("after", "instead"))]
)
def test_what_a_site_prints_around_the_id_of_a_job_is_no_id(
    slurm: SlurmCluster, gated_on: GatedOn, gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, around: str
) -> None:
    wrapper = tmp_path / "site" / "sbatch"
    wrapper.parent.mkdir()
    banner, program = "echo 'Welcome to the supercomputer'; echo", f'{shutil.which("sbatch")} "$@"'
    lines = {"before": [banner, program], "after": [program, banner], "instead": [f"{program} >/dev/null", banner]}
    wrapper.write_text("\n".join(["#!/bin/sh", "set -e", *lines[around], ""]))
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", str(wrapper.parent), prepend=":")
    run = gated_on(slurm)
    gate.open()
    done = run.run("--wait")
    if around != "instead":
        assert done.returncode == 0, done.stderr
        run.assert_whole()
        return
    assert done.returncode == 1
    assert "sbatch printed no id of a job" in done.stderr and "Welcome to the supercomputer" in done.stderr
    # What was submitted all the same is found by its name and ended, and the root is free.
    assert set(run.states()) == {"CANCELLED"}
    assert not (run.root / ".rv" / "active-run.json").exists()


def test_jobs_that_cannot_be_released_are_ended(slurm: SlurmCluster, gated_on: GatedOn, failing: Failing) -> None:
    failing("scontrol", only_for="release").order("refuse", 1)
    run = gated_on(slurm)
    done = run.run()
    assert done.returncode == 1
    assert "the jobs were submitted but could not be released; they are ended again" in done.stderr
    assert run.states() == ["CANCELLED"] * 3
    assert not (run.root / ".rv" / "active-run.json").exists()


@pytest.mark.parametrize("interrupt", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_submission_leaves_nothing_behind(
    slurm: SlurmCluster, gated_on: GatedOn, failing: Failing, interrupt: signal.Signals
) -> None:
    sbatch = failing("sbatch")
    sbatch.order("wait", 2)
    run = gated_on(slurm)
    submitting = run.start()
    slurm.wait_until(lambda: sbatch.is_waiting)
    submitting.send_signal(interrupt)
    sbatch.go_on()
    _, err = submitting.communicate(timeout=60)
    assert submitting.returncode == 130, err
    slurm.wait_until(lambda: set(run.states()) <= {"CANCELLED"}, 10)
    assert run.jobs(), "the first job had been submitted"
    assert not (run.root / ".rv" / "active-run.json").exists()


def test_a_submission_that_was_killed_is_told_as_such_and_the_same_command_starts_anew(
    slurm: SlurmCluster, gated_on: GatedOn, gate: Gate, failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbatch = failing("sbatch")
    sbatch.order("wait", 3)
    run = gated_on(slurm)
    submitting = run.start()
    slurm.wait_until(lambda: sbatch.is_waiting)
    os.killpg(submitting.pid, signal.SIGKILL)
    submitting.wait()
    assert run.states() == ["PENDING", "PENDING"], "and none of them can start: the first is held"
    assert "cut short" in json.dumps(run.status())
    gate.open()
    before = len(run.jobs())
    run.submit("--wait")
    assert sorted(run.states())[:before] == ["CANCELLED"] * before
    run.assert_whole()
    sbatch.go_on()


def test_more_tasks_than_an_array_may_have_are_several_arrays(
    start_slurm: Callable[..., SlurmCluster], gated_on: GatedOn, gate: Gate
) -> None:
    run = gated_on(start_slurm(max_array_size=5))
    gate.open(*(f"i{index}" for index in range(12) if index != 11))
    run.submit("-a", "num_items", 12, "--splits", 12)
    run.wait_at("i11")
    assert len({job["array_job_id"] for job in run.jobs("work")}) == 3
    run.slurm.wait_until(lambda: run.states("work").count("COMPLETED") == 11)
    assert run.states("train") == ["PENDING"]
    tasks = run.status()["tasks"]
    assert tasks["gated-slurm.work.12-of-12"]["state"] == "running"
    assert {tasks[f"gated-slurm.work.{number}-of-12"]["state"] for number in range(1, 12)} == {"done"}
    gate.open()
    run.wait_for_end()
    assert run.status()["state"] == "done"
    assert len(list((run.root / "work").iterdir())) == 12


# What surrounds the person who submits.


@pytest.mark.parametrize(
    "name", ["SQUEUE_PARTITION", *(pytest.param(n, marks=pytest.mark.slow) for n in ("SQUEUE_USERS", "SQUEUE_NAMES"))]
)
def test_filters_in_the_shell_of_the_user_hide_no_job(
    slurm: SlurmCluster, gated_on: GatedOn, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run = gated_on(slurm)
    run.submit()
    run.wait_at("i0")
    monkeypatch.setenv(name, "nobody")
    assert run.status()["state"] == "running"
    assert run.rv("cancel", run.root).returncode == 0
    monkeypatch.delenv(name)
    assert set(run.states()) == {"CANCELLED"}, "it was waited for their end"


@pytest.mark.parametrize(
    ("name", "value"), [("SBATCH_WAIT", "1"), pytest.param("SBATCH_ARRAY_INX", "0-3", marks=pytest.mark.slow)]
)
def test_defaults_of_the_shell_that_are_no_request_are_passed_over(
    slurm: SlurmCluster, gated_on: GatedOn, gate: Gate, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Held jobs do not end, so nobody may wait for them; and a job of one task is no array."""
    monkeypatch.setenv(name, value)
    gate.open()
    run = gated_on(slurm)
    assert run.run("--wait", timeout_s=40).returncode == 0
    run.assert_whole()
    assert len(run.jobs()) == 3


@pytest.mark.parametrize(
    "name",
    [
        'it\'s "here" $HOME `id`, 50%a off',
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("ein größerer Ort", "数据", "-o", "a,b;c&d|e#f")),
    ],
)
def test_a_root_may_have_any_name(
    slurm: SlurmCluster, rv: RvCli, gate: Gate, tmp_path: Path, name: str, gated_on: GatedOn
) -> None:
    run = gated_on(slurm)
    run.root = tmp_path / name / "out"
    gate.open()
    run.submit("--splits", "2")
    slurm.wait_until(lambda: run.status()["state"] in ("done", "failed"), 60)
    run.assert_whole()
    logs = rv("logs", run.root, "gated-slurm.work.1-of-2")
    assert logs.returncode == 0, logs.stderr
    outputs = sorted(path.name for path in run.root.glob(".rv/runs/*/slurm/*.out"))
    assert outputs == [f"gated-slurm.{key}.out" for key in ("report", "train", "work.0", "work.1")]


# Cancelling.


def in_state(run: GatedRun, state: str) -> None:
    """Bring the jobs of `work` of a run that was submitted in two splits into a state."""
    if state == "no room":
        run.slurm.wait_until(lambda: {"Resources", "Priority"} & {job["state_reason"] for job in run.jobs("work")})
        return
    run.wait_at("i0", "i2")
    if state == "started again":
        run.slurm.run("scontrol", "requeue", str(run.jobs("work")[0]["array_job_id"]))
        run.slurm.wait_until(lambda: {job["state_reason"] for job in run.jobs("work")} == {"BeginTime"})


@pytest.mark.parametrize("state", ["no room", "running", "started again"])
def test_a_run_is_cancelled_in_every_state(slurm: SlurmCluster, gated_on: GatedOn, gate: Gate, state: str) -> None:
    run = gated_on(slurm)
    if state == "no room":
        for _ in range(2):
            slurm.submit("sleep 300", "--exclusive")
    run.submit("--splits", "2")
    in_state(run, state)
    done = run.rv("cancel", run.root)
    assert done.returncode == 0, done.stderr
    assert "is cancelled; what was done stays done" in done.stdout
    assert set(run.states()) == {"CANCELLED"}
    if state == "running":
        assert not gate.is_alive("i0")
    assert run.status()["state"] == "cancelled"
    again = run.rv("cancel", run.root)
    assert (again.returncode, "nothing to cancel" in again.stdout) == (0, True)
    assert not (run.root / ".rv" / "active-run.json").exists()


@pytest.mark.slow
def test_cancelling_what_the_cluster_has_partly_forgotten_ends_the_rest(
    start_slurm: Callable[..., SlurmCluster], gated_on: GatedOn, gate: Gate
) -> None:
    run = gated_on(start_slurm(conf={"MinJobAge": 2}))
    gate.open("i0", "i1", "i2", "i3")
    run.submit()
    run.wait_at("train")
    run.slurm.wait_until(lambda: not run.jobs("work"), 120)
    done = run.rv("cancel", run.root)
    assert done.returncode == 0, done.stderr
    assert set(run.states()) == {"CANCELLED"}
    assert run.status()["state"] == "cancelled"


def test_cancelling_while_somebody_waits_ends_the_waiting(slurm: SlurmCluster, gated_on: GatedOn) -> None:
    run = gated_on(slurm)
    waiting = run.start("--wait")
    run.wait_at("i0")
    assert run.rv("cancel", run.root).returncode == 0
    out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 1, out + err
    assert run.status()["state"] == "cancelled"


def test_interrupting_the_waiting_leaves_the_run_alone(slurm: SlurmCluster, gated_on: GatedOn, gate: Gate) -> None:
    run = gated_on(slurm)
    waiting = run.start("--wait")
    run.wait_at("i0")
    slurm.wait_until(lambda: not list(run.root.glob(".rv/runs/*/slurm/submitting")))
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=60)
    assert (waiting.returncode, f"the run goes on; rv status {run.root} shows how it is" in err) == (130, True), err
    gate.open()
    run.wait_for_end()
    run.assert_whole()
    assert {job["restart_cnt"] for job in run.jobs()} == {0}


# Twice.


def test_what_still_runs_is_not_submitted_twice(slurm: SlurmCluster, gated_on: GatedOn, gate: Gate) -> None:
    run = gated_on(slurm)
    run.submit()
    run.wait_at("i0")
    done = run.run()
    assert done.returncode == 2
    assert "is still going on here (runner slurm" in done.stderr
    assert len(run.jobs()) == 3
    gate.open()
    run.wait_for_end()
    assert "Nothing to do" in run.submit()


def test_taking_over_cancels_what_runs_and_submits_what_is_left(
    slurm: SlurmCluster, gated_on: GatedOn, gate: Gate
) -> None:
    run = gated_on(slurm)
    gate.open("i0")
    run.submit("--splits", "4")
    slurm.wait_until(lambda: "COMPLETED" in run.states("work"))
    first = {job["array_job_id"] for job in run.jobs("work")}
    said = run.submit("--splits", "4", "--take-over")
    assert "3 of 4 items in 3 tasks" in said
    old = [job for job in run.jobs("work") if job["array_job_id"] in first]
    assert sorted(job["job_state"] for job in old) == ["CANCELLED"] * 3 + ["COMPLETED"]
    gate.open()
    run.wait_for_end()
    run.assert_whole()
