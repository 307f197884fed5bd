"""What goes wrong on a cluster: nodes that die, jobs that end early or are forgotten, a controller that is down."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.rv_runner_slurm.conftest import FailingProgram, Gate, GatedRun
    from tests.slurm_cluster.cluster import SlurmCluster

pytest_plugins = ("tests.slurm_cluster.fixtures",)
GatedOn = Callable[["SlurmCluster"], "GatedRun"]
Failing = Callable[..., "FailingProgram"]


# Nodes.


def test_what_ran_on_a_node_that_died_goes_on_elsewhere(fragile: SlurmCluster, gated_on: GatedOn, gate: Gate) -> None:
    run = gated_on(fragile)
    gate.open("i0")
    run.submit("--splits", "2")
    run.wait_at("i1", "i2")
    node = next(job["nodes"] for job in run.jobs("work") if job["array_task_id"] == 0)
    fragile.kill_node(node)
    assert not gate.is_alive("i1")
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
        assert gate.is_alive("i0")
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


def test_a_squeue_that_names_no_job_once_makes_no_run_lost_and_no_cancel_empty(
    slurm: SlurmCluster, gated_on: GatedOn, gate: Gate, failing: Failing
) -> None:
    run = gated_on(slurm)
    run.submit()
    run.wait_at("i0")
    squeue = failing("squeue")
    for call in range(1, 60, 2):
        squeue.order("mute", call)
    state = run.status()["state"]
    cancelled = run.rv("cancel", run.root)
    squeue.heal()
    assert state == "running"
    assert cancelled.returncode == 0, cancelled.stdout + cancelled.stderr
    assert not gate.is_alive("i0")
