"""The throw-away Slurm itself: what tests of the runner rest on."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.slurm_cluster.configuration import QUICK_TO_NOTICE
from tests.slurm_cluster.lifetime import skip_without_slurm

if TYPE_CHECKING:
    from tests.slurm_cluster.cluster import SlurmCluster

pytest_plugins = ("tests.slurm_cluster.fixtures",)
REPOSITORY = Path(__file__).parents[2]


def processes_with(word: str) -> list[int]:
    """Processes that have a word in their command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            try:
                line = (folder / "cmdline").read_bytes()
            except OSError:  # it has ended meanwhile
                continue
            if word.encode() in line:
                found.append(int(folder.name))
    return found


def test_a_job_runs_on_an_idle_node(slurm: SlurmCluster, tmp_path: Path) -> None:
    assert [slurm.node_state(name) for name in ("n1", "n2")] == ["IDLE", "IDLE"]
    job_id = slurm.submit("echo $SLURMD_NODENAME; exit 3", "--nodelist=n2", output=tmp_path / "out")
    job = slurm.wait_for_state(job_id, "FAILED")
    assert job["exit_code"] >> 8 == 3
    assert (tmp_path / "out").read_text() == "n2\n"


def test_each_job_with_a_gpu_sees_another_device(slurm: SlurmCluster, tmp_path: Path) -> None:
    script = f"echo $CUDA_VISIBLE_DEVICES; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    outputs = [tmp_path / f"out{number}" for number in range(3)]
    ids = [slurm.submit(script, "--partition=gpu", "--gres=gpu:1", output=output) for output in outputs]
    slurm.wait_until(lambda: all(output.exists() and output.read_text() for output in outputs[:2]))
    assert slurm.job(ids[2])["job_state"] == "PENDING"
    (tmp_path / "go").touch()
    for job_id in ids:
        slurm.wait_for_state(job_id, "COMPLETED")
    assert sorted(output.read_text() for output in outputs[:2]) == ["0\n", "1\n"]
    assert outputs[2].read_text() in ("0\n", "1\n")


def test_a_failed_test_shows_the_cluster(slurm: SlurmCluster) -> None:
    job_id = slurm.submit("true", "--hold")
    with pytest.raises(TimeoutError, match=rf"(?s){job_id} PENDING JobHeldUser.*== slurmctld.log"):
        slurm.wait_until(lambda: False, timeout_s=0.0)


def test_an_array_has_the_size_that_the_cluster_was_started_with(start_slurm: Callable[..., SlurmCluster]) -> None:
    cluster = start_slurm(num_nodes=1, num_gpus=0, max_array_size=5)
    with pytest.raises(RuntimeError, match="Invalid job array specification"):
        cluster.submit("true", "--array=0-5")
    cluster.submit("true", "--array=0-4")


def test_stopping_leaves_no_process(start_slurm: Callable[..., SlurmCluster], tmp_path: Path) -> None:
    cluster = start_slurm(num_nodes=1)
    stubborn = f"trap '' TERM; setsid sh -c 'touch {tmp_path}/up; sleep 100; : {tmp_path}'"
    cluster.submit(f"({stubborn}) & {stubborn}")
    cluster.wait_until((tmp_path / "up").exists)
    assert len(processes_with(str(tmp_path))) >= 2
    assert processes_with(str(cluster.state_dir))
    cluster.stop()
    cluster.stop()
    assert processes_with(str(tmp_path)) == []
    assert processes_with(str(cluster.state_dir)) == []


@pytest.mark.slow
def test_what_a_dead_node_ran_is_requeued(start_slurm: Callable[..., SlurmCluster], tmp_path: Path) -> None:
    cluster = start_slurm(conf=QUICK_TO_NOTICE)
    script = f"echo $SLURMD_NODENAME >> {tmp_path}/seen; sh -c 'sleep 100; : {tmp_path}'"
    again = cluster.submit(script, "--requeue")
    lost = cluster.submit(script, "--no-requeue")
    cluster.wait_until(lambda: len(processes_with(f"sleep 100; : {tmp_path}")) == 2)
    node = cluster.job(again)["nodes"]
    assert cluster.job(lost)["nodes"] == node
    cluster.kill_node(node)
    assert processes_with(str(tmp_path)) == []
    assert cluster.wait_for_state(lost, "NODE_FAIL")["restart_cnt"] == 0
    assert cluster.job(again)["restart_cnt"] == 1
    assert cluster.node_state(node).startswith("DOWN")
    job = cluster.wait_for_state(again, "RUNNING")
    assert job["nodes"] != node
    cluster.start_node(node)
    assert cluster.wait_for_state(cluster.submit("true", f"--nodelist={node}"), "COMPLETED")


def test_jobs_outlive_the_controller(start_slurm: Callable[..., SlurmCluster], tmp_path: Path) -> None:
    cluster = start_slurm(num_nodes=1, conf=QUICK_TO_NOTICE)
    job_id = cluster.submit(f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; touch {tmp_path}/ended")
    cluster.wait_for_state(job_id, "RUNNING")
    cluster.stop_controller()
    with pytest.raises(OSError, match="slurm_load_jobs"):
        cluster.jobs()
    (tmp_path / "go").touch()
    cluster.wait_until((tmp_path / "ended").exists)
    cluster.start_controller()
    cluster.wait_for_state(job_id, "COMPLETED")


_STARTS_ONE = """
import sys, time
from pathlib import Path
from tests.slurm_cluster.cluster import SlurmCluster
cluster = SlurmCluster(Path(sys.argv[1]))
cluster.start()
job_id = cluster.submit("sleep 100")
cluster.wait_for_state(job_id, "RUNNING")
print(cluster.job(job_id)["user_name"], flush=True)
time.sleep(100)
"""


def starter(folder: Path, *python: str) -> subprocess.Popen[str]:
    """A process that starts a cluster, prints who runs a job on it, and waits."""
    argv = [*python, "-c", _STARTS_ONE, str(folder)]
    return subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("user", [getpass.getuser(), "nobody"])
def test_a_cluster_ends_with_who_started_it(user: str) -> None:
    skip_without_slurm()
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    try:
        process = starter(folder, *(python_of_nobody(folder) if user == "nobody" else [sys.executable]))
        assert process.stdout is not None
        assert process.stdout.readline().strip() == user
        assert processes_with(str(folder))
        process.kill()
        process.communicate()
        wait_until(lambda: not processes_with(str(folder)))
    finally:
        shutil.rmtree(folder)


def python_of_nobody(folder: Path) -> list[str]:
    """A command line that starts Python as a plain user, who then owns the folder; skips where there is none."""
    setpriv = shutil.which("setpriv")
    if os.getuid() != 0 or setpriv is None:
        pytest.skip("only root can become another user")
    nobody = pwd.getpwnam("nobody")
    as_nobody = [setpriv, f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    for python in (sys.executable, "/usr/bin/python3"):  # that of a virtual environment may be root's alone
        starts = [*as_nobody, "test", "-x", python, "-a", "-r", __file__]
        if subprocess.run(starts, check=False).returncode == 0:
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            return [*as_nobody, python]
    pytest.skip("a plain user can run no Python here, or not read this checkout")


def wait_until(predicate: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not predicate():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
