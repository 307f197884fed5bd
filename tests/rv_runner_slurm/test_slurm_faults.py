"""What goes wrong on a cluster: nodes that die, programs that fail half-way, jobs that end early, and cancelling."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.slurm_cluster.configuration import QUICK_TO_NOTICE
from tests.slurm_cluster.lifetime import cancel_everything, running_cluster

if TYPE_CHECKING:
    from tests.conftest import RvCli
    from tests.rv_runner_slurm.conftest import FailingProgram, Gate, GatedRun
    from tests.slurm_cluster.cluster import SlurmCluster

pytest_plugins = ("tests.slurm_cluster.fixtures",)
GatedOn = Callable[["SlurmCluster"], "GatedRun"]
Failing = Callable[..., "FailingProgram"]


@pytest.fixture(scope="module")
def fragile_cluster() -> Iterator[SlurmCluster]:
    with running_cluster(conf=QUICK_TO_NOTICE) as cluster:
        yield cluster


@pytest.fixture
def fragile(fragile_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """A cluster that may be broken, and is whole again afterwards."""
    for name, value in fragile_cluster.environ.items():
        monkeypatch.setenv(name, value)
    yield fragile_cluster
    cancel_everything(fragile_cluster)
    for name in fragile_cluster.shape.node_names:
        if fragile_cluster.node_state(name) != "IDLE":
            fragile_cluster.kill_node(name)
            fragile_cluster.start_node(name)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# Nodes.


def test_what_ran_on_a_node_that_died_goes_on_elsewhere(fragile: SlurmCluster, gated_on: GatedOn, gate: Gate) -> None:
    run = gated_on(fragile)
    gate.open("i0")
    run.submit("--splits", "2")
    run.wait_at("i1", "i2")
    node = next(job["nodes"] for job in run.jobs("work") if job["array_task_id"] == 0)
    fragile.kill_node(node)
    assert not is_alive(gate.pid_of("i1"))
    gate.open("i1", "i2", "i3", "train", "report")
    run.slurm.wait_until(lambda: max(job["restart_cnt"] for job in run.jobs("work")) == 1)
    run.wait_for_end()
    run.assert_whole()
    assert gate.attempt_of("i1") == 2
    assert gate.attempt_of("i0") == 1, "what the first attempt had finished was not done again"


@pytest.mark.slow
def test_a_training_whose_node_died_keeps_its_dependants_waiting_and_then_starts_again(
    fragile: SlurmCluster, gated_on: GatedOn, gate: Gate
) -> None:
    run = gated_on(fragile)
    gate.open("i0", "i1", "i2", "i3", "report")
    run.submit()
    run.wait_at("train")
    (job,) = run.jobs("train")
    fragile.kill_node(job["nodes"])
    fragile.wait_until(lambda: run.jobs("train")[0]["restart_cnt"] == 1)
    status = run.status()
    assert status["state"] == "running"
    assert status["tasks"]["gated-slurm.train"]["state"] == "submitted"
    assert "is started again" in status["tasks"]["gated-slurm.train"]["reason"]
    assert status["tasks"]["gated-slurm.report"]["state"] == "waiting"
    gate.open()
    run.wait_for_end()
    run.assert_whole()


def test_without_requeue_a_dead_node_fails_the_task_and_the_same_command_does_the_rest(
    fragile: SlurmCluster, gated_on: GatedOn, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RV_SLURM_REQUEUE", "false")
    run = gated_on(fragile)
    gate.open("i0")
    run.submit("--splits", "2")
    run.wait_at("i1", "i2")
    node = next(job["nodes"] for job in run.jobs("work") if job["array_task_id"] == 0)
    gate.open("i2", "i3")
    fragile.kill_node(node)
    run.wait_for_end()
    status = run.status()
    assert status["state"] == "failed"
    assert status["tasks"]["gated-slurm.work.1-of-2"]["state"] == "failed"
    assert "its node failed; the same command goes on" in status["tasks"]["gated-slurm.work.1-of-2"]["reason"]
    assert status["tasks"]["gated-slurm.report"]["state"] == "cancelled"
    gate.open()
    said = run.submit("--splits", "2", "--wait")
    assert "gated-slurm.work" in said
    run.assert_whole()


def test_jobs_queue_for_nodes_that_are_down(
    fragile: SlurmCluster, gated_on: GatedOn, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm takes jobs while all nodes of a partition are under repair; so does the runner."""
    monkeypatch.setenv("RV_SLURM_PARTITION", "gpu")  # n1 alone
    fragile.kill_node("n1")
    fragile.wait_until(lambda: fragile.node_state("n1").startswith("DOWN"))
    run = gated_on(fragile)
    gate.open()
    run.submit()
    assert run.states() == ["PENDING"] * 3
    fragile.start_node("n1")
    run.wait_for_end()
    run.assert_whole()


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


@pytest.mark.parametrize("name", ["SQUEUE_PARTITION", "SQUEUE_USERS", "SQUEUE_NAMES"])
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


@pytest.mark.parametrize(("name", "value"), [("SBATCH_WAIT", "1"), ("SBATCH_ARRAY_INX", "0-3")])
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
    "name", ["ein größerer Ort", "50%a off", 'it\'s "here" $HOME `id`', "数据", "-o", "a,b;c&d|e#f"]
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


# Tasks that end early.


def test_what_depends_on_a_failed_task_ends_and_nothing_waits_for_ever(
    slurm: SlurmCluster, gated_on: GatedOn, gate: Gate
) -> None:
    run = gated_on(slurm)
    gate.order_failure("i3")
    gate.open()
    run.submit("--splits", "4")
    run.wait_for_end(30)
    assert (run.states("train"), run.states("report")) == (["CANCELLED"], ["CANCELLED"])
    status = run.status()
    assert status["state"] == "failed"
    assert status["tasks"]["gated-slurm.report"]["state"] == "cancelled"


def test_a_killed_training_goes_on_where_it_stopped_within_its_attempts(
    slurm: SlurmCluster, gated_on: GatedOn, gate: Gate
) -> None:
    run = gated_on(slurm)
    gate.open("i0", "i1", "i2", "i3")
    run.submit()
    run.wait_at("train")
    os.kill(gate.pid_of("train"), signal.SIGTERM)
    run.wait_at("report")
    os.kill(gate.pid_of("report"), signal.SIGKILL)
    run.wait_for_end()
    assert (run.root / "train" / "weights.txt").read_text() == "5, started from 3\n"
    status = run.status()
    assert status["tasks"]["gated-slurm.report"]["state"] == "failed"
    assert status["tasks"]["gated-slurm.report"]["exit_code"] == 137
    gate.open()
    run.submit("--wait")
    run.assert_whole()


def test_a_requeue_by_the_administrator_lets_a_training_save_its_state(
    slurm: SlurmCluster, gated_on: GatedOn, gate: Gate
) -> None:
    run = gated_on(slurm)
    gate.open("i0", "i1", "i2", "i3", "report")
    run.submit()
    run.wait_at("train")
    (job,) = run.jobs("train")
    assert slurm.run("scontrol", "requeue", str(job["job_id"])).returncode == 0
    run.wait_for_end()
    assert run.jobs("train")[0]["restart_cnt"] == 1
    assert (run.root / "train" / "weights.txt").read_text() == "5, started from 3\n"
    run.assert_whole()


@pytest.mark.slow
def test_a_task_that_runs_into_its_time_limit_fails_and_the_same_command_goes_on(
    slurm: SlurmCluster, gated_on: GatedOn, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute is the least limit, and Slurm looks twice a minute."""
    monkeypatch.setenv("RV_SLURM_TIME_LIMIT_S", "60")
    run = gated_on(slurm)
    gate.open("i0", "i1")
    run.submit()
    run.wait_at("i2")
    run.wait_for_end(150)
    assert run.states("work") == ["TIMEOUT"]
    status = run.status()
    assert status["state"] == "failed"
    assert "ran out of its time limit" in status["tasks"]["gated-slurm.work"]["reason"]
    gate.open()
    run.submit("--wait")
    run.assert_whole()


# A cluster that forgets, or does not answer.


def test_what_the_cluster_has_forgotten_is_known_by_what_it_left(
    start_slurm: Callable[..., SlurmCluster], gated_on: GatedOn, gate: Gate
) -> None:
    run = gated_on(start_slurm(conf={"MinJobAge": 2}))
    gate.order_failure("i3")
    gate.open()
    run.submit("--splits", "4")
    run.wait_for_end()
    run.slurm.wait_until(lambda: not run.jobs(), 120)
    status = run.status()
    assert status["state"] == "failed"
    states = {name: task["state"] for name, task in status["tasks"].items()}
    assert states["gated-slurm.work.1-of-4"] == "done"
    assert states["gated-slurm.work.4-of-4"] == "failed"
    assert status["tasks"]["gated-slurm.work.4-of-4"]["exit_code"] == 1
    assert states["gated-slurm.report"] in ("cancelled", "lost")
    (gate.folder / "fail.i3").unlink()
    run.submit("--splits", "4", "--wait")
    run.assert_whole()


@pytest.mark.slow
def test_a_run_whose_first_jobs_are_forgotten_goes_on(
    start_slurm: Callable[..., SlurmCluster], gated_on: GatedOn, gate: Gate
) -> None:
    run = gated_on(start_slurm(conf={"MinJobAge": 2}))
    gate.open("i0", "i1", "i2", "i3")
    run.submit("--splits", "2")
    run.wait_at("train")
    run.slurm.wait_until(lambda: not run.jobs("work"), 120)
    status = run.status()
    assert status["state"] == "running"
    assert status["tasks"]["gated-slurm.train"]["state"] == "running"
    gate.open()
    run.wait_for_end()
    run.assert_whole()


def test_a_cluster_that_does_not_answer_is_a_state_of_its_own(
    fragile: SlurmCluster, gated_on: GatedOn, gate: Gate
) -> None:
    run = gated_on(fragile)
    run.submit()
    run.wait_at("i0")
    fragile.stop_controller()
    try:
        status = run.status()
        assert status["state"] == "unknown"
        assert status["tasks"]["gated-slurm.train"]["state"] == "unknown"
        assert status["problem"].startswith("could not ask slurm: ")
        assert run.run().returncode == 3
        cancelled = run.rv("cancel", run.root)
        assert cancelled.returncode == 3, cancelled.stdout + cancelled.stderr
        assert is_alive(gate.pid_of("i0"))
    finally:
        fragile.start_controller()
    assert run.status()["state"] == "running"
    gate.open()
    run.wait_for_end()
    run.assert_whole()


def test_waiting_outlives_a_cluster_that_does_not_answer_for_a_while(
    fragile: SlurmCluster, gated_on: GatedOn, gate: Gate, tmp_path: Path
) -> None:
    run = gated_on(fragile)
    waiting = run.start("--wait")
    run.wait_at("i0")
    fragile.stop_controller()
    fragile.wait_until(lambda: fragile.run("squeue").returncode != 0)
    gate.open()
    fragile.start_controller()
    out, err = waiting.communicate(timeout=90)
    assert waiting.returncode == 0, out + err
    run.assert_whole()


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
        assert not is_alive(gate.pid_of("i0"))
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
