"""Whole runs through the command line on a real Slurm."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import RvCli
    from tests.slurm_cluster.cluster import SlurmCluster

pytest_plugins = ("tests.slurm_cluster.fixtures",)
MODULE = Path(__file__).parent / "counting_pipeline.py"
Status = Callable[[Path], dict[str, Any]]


@pytest.fixture
def status(rv: RvCli) -> Status:
    def read(root: Path) -> dict[str, Any]:
        done = rv("status", root, "--json")
        assert done.returncode == 0, done.stderr
        plain: dict[str, Any] = json.loads(done.stdout)
        plain["tasks"] = {task["task"]: task for job in plain["jobs"] for task in job["tasks"]}
        return plain

    return read


def submit(rv: RvCli, root: Path, *words: object, **values: object) -> str:
    arguments = [word for name, value in values.items() for word in ("-a", name, str(value))]
    done = rv("run", "slurm", MODULE, "-a", "root_uri", root, *arguments, *map(str, words))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wait_for_end(slurm: SlurmCluster, timeout_s: float = 60.0) -> None:
    over = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
    slurm.wait_until(lambda: all(job["job_state"] in over for job in slurm.jobs()), timeout_s)


def test_a_run_is_submitted_at_once_and_ends_without_rv(
    slurm: SlurmCluster, rv: RvCli, status: Status, tmp_path: Path
) -> None:
    root = tmp_path / "out"
    said = submit(rv, root, "--splits", "2")
    assert f"rv status {root} --watch" in said
    wait_for_end(slurm)
    assert status(root)["state"] == "done"
    assert (root / "count" / "done").read_text() == "20, begun at 0\n"
    notes = [json.loads(path.read_text()) for path in sorted((root / "note").iterdir())]
    assert [note["SLURM_ARRAY_TASK_ID"] for note in notes] == ["0", "0", "0", "1", "1"]
    assert {note["RV_NUM_THREADS"] for note in notes} == {"1"}  # the CPU that a job gets which asks for none
    assert {note["CUDA_VISIBLE_DEVICES"] for note in notes} == {None}
    assert (root / "devices").read_text() in ("0", "1")


def test_settings_of_the_profile_reach_slurm_and_the_tasks(
    slurm: SlurmCluster, rv: RvCli, tmp_path: Path, isolated_environment: Path
) -> None:
    profile = isolated_environment / "config" / "cluster.toml"
    profile.parent.mkdir(parents=True, exist_ok=True)
    profile.write_text(
        """\
[slurm]
partition = "cpu"
gpu_partition = "gpu"
memory_mib = 100
setup = ["COLOUR='deep blue'", "export COLOUR"]
sbatch_options = ["--nodelist=n2"]

[slurm.commands.note]
cpus = 3
time_limit_s = 600

[slurm.commands.devices]
sbatch_options = ["--nodelist=n1"]
"""
    )
    root = tmp_path / "out"
    submit(rv, root, "--profile", "cluster")
    wait_for_end(slurm)
    note = json.loads((root / "note" / "i0.json").read_text())
    assert (note["RV_NUM_THREADS"], note["COLOUR"], note["SLURMD_NODENAME"]) == ("3", "deep blue", "n2")
    jobs = {job["name"].rpartition(".")[2]: job for job in slurm.jobs() if str(root) in job["comment"]}
    assert {name: job["partition"] for name, job in jobs.items()} == {"note": "cpu", "count": "cpu", "devices": "gpu"}
    assert jobs["note"]["time_limit"] == 10


def test_a_failure_stops_what_depends_on_it_and_the_same_command_does_the_rest(
    slurm: SlurmCluster, rv: RvCli, status: Status, tmp_path: Path
) -> None:
    root, fault = tmp_path / "out", tmp_path / "faults" / "i3"
    fault.parent.mkdir()
    fault.touch()
    submit(rv, root, "--splits", "5", faults=fault.parent)
    wait_for_end(slurm)
    seen = status(root)
    assert seen["state"] == "failed"
    assert "asked to fail on i3" in seen["tasks"]["counting.note.4-of-5"]["reason"]
    assert seen["tasks"]["counting.count"]["state"] == "cancelled"
    assert seen["tasks"]["counting.count"]["reason"] == "did not start: counting.note did not end well"
    fault.unlink()
    assert "1 of 5 items · i3: not done yet" in submit(rv, root, "--splits", "5", "--wait", faults=fault.parent)
    assert status(root)["state"] == "done"


@pytest.mark.slow
def test_a_training_whose_node_others_want_saves_its_state_and_goes_on_afterwards(
    start_slurm: Callable[..., SlurmCluster], rv: RvCli, status: Status, tmp_path: Path
) -> None:
    preemption = {
        "PreemptType": "preempt/partition_prio",
        "PreemptMode": "REQUEUE",
        "PartitionName": "urgent Nodes=ALL PriorityTier=10 PreemptMode=OFF",
    }
    slurm = start_slurm(num_nodes=1, conf=preemption)
    root = tmp_path / "out"
    submit(rv, root, pace_s=0.2)

    def counts() -> bool:
        return any(job["name"].endswith("count") and job["job_state"] == "RUNNING" for job in slurm.jobs())

    slurm.wait_until(counts, 60)
    urgent = slurm.submit("#!/bin/sh\nsleep 1\n", "--partition=urgent", "--exclusive")
    slurm.wait_for_state(urgent, "COMPLETED")
    wait_for_end(slurm)
    done, begun = (root / "count" / "done").read_text().split(", begun at ")
    assert (done, int(begun) > 0) == ("20", True)
    assert status(root)["tasks"]["counting.count"]["attempt"] == 2
    assert status(root)["state"] == "done"


def test_what_a_script_prints_is_in_the_logs_where_the_task_has_none(
    slurm: SlurmCluster, rv: RvCli, status: Status, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task whose interpreter does not start has no log of its own."""
    root = tmp_path / "out"
    monkeypatch.setenv("RV_SLURM_SETUP", json.dumps(["echo the module is gone >&2", "exit 3"]))
    submit(rv, root, "note")
    wait_for_end(slurm)
    assert status(root)["tasks"]["counting.note"]["exit_code"] == 3
    logs = rv("logs", root, "counting.note")
    assert "the module is gone" in logs.stdout, logs.stderr


def test_findings_come_all_at_once_and_nothing_is_submitted(
    slurm: SlurmCluster, rv: RvCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RV_SLURM_PARTITION", "cpus")
    monkeypatch.setenv("RV_SLURM_GPU_PARTITION", "nowhere")
    before = len(slurm.jobs())
    done = rv("run", "slurm", MODULE, "-a", "root_uri", tmp_path / "out")
    assert done.returncode == 2
    assert "slurm.partition: the cluster has no partition 'cpus'; did you mean 'cpu'?" in done.stderr
    assert "slurm.gpu_partition: the cluster has no partition 'nowhere'; the cluster has: cpu, gpu" in done.stderr
    assert len(slurm.jobs()) == before
    assert not (tmp_path / "out" / ".rv" / "active-run.json").exists()


def test_options_that_would_break_a_run_are_refused_before_the_cluster_is_asked(
    rv: RvCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RV_SLURM_SBATCH_OPTIONS", '["--mail-type=FAIL", "--array=0-9"]')
    for words in (("check", "--runner", "slurm"), ("run", "slurm")):
        done = rv(*words, MODULE, "-a", "root_uri", tmp_path / "out")
        assert done.returncode == 2
        assert "slurm.sbatch_options: '--array=0-9' is not for settings: rv run --splits says" in done.stderr
        assert "mail-type" not in done.stderr
    assert not (tmp_path / "out" / ".rv" / "active-run.json").exists()


def test_a_request_that_no_node_can_meet_is_refused_before_anything_is_submitted(
    slurm: SlurmCluster, rv: RvCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RV_SLURM_CPUS", "64")
    before = len(slurm.jobs())
    done = rv("run", "slurm", MODULE, "-a", "root_uri", tmp_path / "out")
    assert done.returncode == 2
    assert "counting.note: Slurm refuses its job:" in done.stderr
    assert "--cpus-per-task=64" in done.stderr
    assert len(slurm.jobs()) == before


def test_while_all_nodes_are_drained_a_run_is_submitted_and_waits_with_a_warning(
    slurm: SlurmCluster, rv: RvCli, status: Status, tmp_path: Path
) -> None:
    for name in ("n1", "n2"):
        slurm.run("scontrol", "update", f"NodeName={name}", "State=DRAIN", "Reason=maintenance")
    try:
        done = rv("run", "slurm", MODULE, "-a", "root_uri", tmp_path / "out")
        assert done.returncode == 0, done.stderr
        assert "no node that is up can run its job at the moment, which will wait; sinfo -R" in done.stderr
        slurm.wait_until(lambda: "DRAINED" in status(tmp_path / "out")["tasks"]["counting.note"]["reason"], 20)
    finally:
        for name in ("n1", "n2"):
            slurm.run("scontrol", "update", f"NodeName={name}", "State=RESUME")
    wait_for_end(slurm)
    assert status(tmp_path / "out")["state"] == "done"


def test_on_a_cluster_without_gpus_the_setting_that_does_without_is_named_and_helps(
    start_slurm: Callable[..., SlurmCluster], rv: RvCli, tmp_path: Path, isolated_environment: Path
) -> None:
    start_slurm(num_nodes=1, num_gpus=0)
    words = ("run", "slurm", MODULE, "-a", "root_uri", tmp_path / "out", "--wait")
    done = rv(*words)
    assert (done.returncode, "set slurm.commands.devices.gpus = 0" in done.stderr) == (2, True), done.stderr
    profile = isolated_environment / "config" / "default.toml"
    profile.parent.mkdir(parents=True, exist_ok=True)
    profile.write_text("[slurm.commands.devices]\ngpus = 0\n")
    done = rv(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out" / "devices").read_text() == "none"


def test_a_root_that_slurm_cannot_write_to_is_refused(slurm: SlurmCluster, rv: RvCli, tmp_path: Path) -> None:
    done = rv("run", "slurm", MODULE, "-a", "root_uri", tmp_path / "back\\slash")
    assert (done.returncode, "backslash" in done.stderr) == (2, True), done.stderr


def test_without_slurm_here_the_next_step_is_told(rv: RvCli, tmp_path: Path) -> None:
    done = rv("run", "slurm", MODULE, "-a", "root_uri", tmp_path / "out", env={"PATH": str(tmp_path)})
    assert done.returncode == 3
    assert "scontrol is not on the PATH" in done.stderr
    assert "login node" in done.stderr


def test_a_dry_run_shows_the_calls_of_sbatch_and_needs_no_slurm(rv: RvCli, tmp_path: Path) -> None:
    words = ("run", "slurm", MODULE, "-a", "root_uri", tmp_path / "out", "--splits", "3", "--dry-run")
    done = rv(*words, env={"PATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert "--array=0-2" in done.stdout
    assert "'--dependency=afterok:<id of counting.note>'" in done.stdout
    assert not (tmp_path / "out").exists()


def test_submitting_imports_neither_arrays_nor_models(slurm: SlurmCluster, rv: RvCli, tmp_path: Path) -> None:
    done = rv("run", "slurm", MODULE, "-a", "root_uri", tmp_path / "out", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "rv_runner_slurm.submission" in imported
    assert not imported & {"torch", "rasterio", "numpy", "boto3"}


def test_a_run_begun_on_this_machine_goes_on_on_the_cluster(
    slurm: SlurmCluster, rv: RvCli, status: Status, tmp_path: Path
) -> None:
    root = tmp_path / "out"
    first = rv("run", "inprocess", MODULE, "-a", "root_uri", root, "note")
    assert first.returncode == 0, first.stderr
    assert "counting.note     skip" in submit(rv, root, "--wait")
    assert status(root)["state"] == "done"


@pytest.mark.slow
def test_before_its_time_limit_a_task_saves_its_state_and_slurm_goes_on_with_it(
    slurm: SlurmCluster, rv: RvCli, status: Status, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RV_SLURM_TIME_LIMIT_S", "180")
    monkeypatch.setenv("RV_SLURM_STOP_BEFORE_LIMIT_S", "20")
    root = tmp_path / "out"
    submit(rv, root, pace_s=13)  # 260 s in all

    def is_asked_again() -> bool:
        return any(job["restart_cnt"] == 1 and job["job_state"] == "PENDING" for job in slurm.jobs())

    slurm.wait_until(is_asked_again, 240)
    task = status(root)["tasks"]["counting.count"]
    assert task["state"] == "submitted"
    assert "is started again" in task["reason"]
    wait_for_end(slurm, 240)
    done, begun = (root / "count" / "done").read_text().split(", begun at ")
    assert (done, int(begun) > 0) == ("20", True)
    assert status(root)["state"] == "done"
