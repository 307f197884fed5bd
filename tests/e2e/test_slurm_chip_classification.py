"""The whole chip-classification pipeline on a real Slurm, against the same run by `local` on this machine."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import RvCli
    from tests.slurm_cluster.cluster import SlurmCluster

for _module in ("rv_pipeline_chip_classification", "rv_runner_slurm", "rv_runner_local"):
    pytest.importorskip(_module)

pytest_plugins = ("tests.slurm_cluster.fixtures",)
MODULE = Path(__file__).with_name("small_experiment.py")
#: What a run leaves for the user.
RESULTS = ("chip/", "train/model", "train/metrics", "predict/", "eval/", "bundle/")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    spec = importlib.util.spec_from_file_location("small_experiment", MODULE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.write_scenes(folder)
    return folder


def words(runner: str, scenes: Path, root: Path, *more: str) -> list[str]:
    return ["run", runner, str(MODULE), "-a", f"data={scenes}", "-a", f"root_uri={root}", "--splits", "2", *more]


def results(root: Path) -> dict[str, str]:
    """SHA-256 of every result under a root."""
    names = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    return {n: hashlib.sha256(p.read_bytes()).hexdigest() for n, p in names.items() if n.startswith(RESULTS)}


def jobs_of(slurm: SlurmCluster, root: Path) -> dict[str, dict[str, Any]]:
    """Command -> a job of it."""
    return {job["name"].rpartition(".")[2]: job for job in slurm.jobs() if job["comment"] == f"rv {root}"}


def run_locally(rv: RvCli, scenes: Path, root: Path, *more: str) -> dict[str, str]:
    done = rv(words("local", scenes, root, *more), timeout_s=300)
    assert done.returncode == 0, done.stdout + done.stderr
    found = results(root)
    assert any(name.startswith("train/model") for name in found)
    return found


@pytest.mark.slow
def test_slurm_gives_the_same_results_as_this_machine(
    slurm: SlurmCluster, rv: RvCli, scenes: Path, tmp_path: Path
) -> None:
    done = rv(words("slurm", scenes, tmp_path / "slurm", "--wait"), timeout_s=300)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = jobs_of(slurm, tmp_path / "slurm")
    assert {name for name, job in jobs.items() if job["array_job_id"]} == {"analyze", "chip", "predict"}
    assert {name for name, job in jobs.items() if "gpu" in job["tres_per_node"]} == {"train", "predict"}
    assert results(tmp_path / "slurm") == run_locally(rv, scenes, tmp_path / "local")


@pytest.mark.slow
def test_scenes_in_parts_on_slurm_give_the_files_of_whole_ones_here(
    slurm: SlurmCluster, rv: RvCli, scenes: Path, tmp_path: Path
) -> None:
    bounds = [word for step in ("chip", "predict") for word in ("--set", f"{step}.max_windows_per_item=4")]
    done = rv(words("slurm", scenes, tmp_path / "slurm", *bounds, "--wait"), timeout_s=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "merge" in jobs_of(slurm, tmp_path / "slurm")
    whole = run_locally(rv, scenes, tmp_path / "local")
    same = {name: digest for name, digest in whole.items() if not name.startswith("chip/")}
    assert {name: digest for name, digest in results(tmp_path / "slurm").items() if name in same} == same


@pytest.mark.slow
def test_the_demo_waits_for_the_cluster_and_shows_the_results(slurm: SlurmCluster, rv: RvCli, tmp_path: Path) -> None:
    done = rv("demo", tmp_path / "demo", "--runner", "slurm", "--num-epochs", "1", timeout_s=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(jobs_of(slurm, tmp_path / "demo" / "results")) == 6
    assert f"Results are in {tmp_path / 'demo' / 'results'}" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_node_that_dies_while_it_trains_changes_nothing_in_the_results(
    start_slurm: Callable[..., SlurmCluster], rv: RvCli, scenes: Path, tmp_path: Path
) -> None:
    from tests.slurm_cluster.configuration import QUICK_TO_NOTICE

    cluster = start_slurm(conf=QUICK_TO_NOTICE, num_gpus=1)
    root = tmp_path / "slurm"
    saved_often = ("-a", "checkpoint_every_s=0.05", "-a", "num_epochs=40")
    waiting = rv.start(words("slurm", scenes, root, *saved_often, "--wait"))
    events = root / ".rv" / "runs"

    def is_training() -> bool:
        files = list(events.glob("*/events/*.train.1.jsonl"))
        return sum('"progress"' in line for f in files for line in f.read_text().splitlines()) > 2

    cluster.wait_until(is_training, 120)
    cluster.kill_node("n1")
    cluster.wait_until(lambda: any(job["restart_cnt"] for job in cluster.jobs()), 120)
    cluster.start_node("n1")
    out, err = waiting.communicate(timeout=300)
    assert waiting.returncode == 0, out + err
    logs = "".join(path.read_text() for path in events.glob("*/logs/*.train.2.log"))
    assert "going on in epoch" in logs, logs
    assert results(root) == run_locally(rv, scenes, tmp_path / "local", *saved_often)


@pytest.mark.real_data
@pytest.mark.timeout(1200)
def test_the_real_scenes_give_the_same_on_slurm_as_on_this_machine(
    slurm: SlurmCluster, rv: RvCli, real_data_dir: Path, tmp_path: Path
) -> None:
    from tests.e2e.real_experiment import write_real_experiment

    folder = real_data_dir / "zion-landsat8-nlcd"
    module = write_real_experiment(tmp_path / "real_experiment.py", folder)
    found: dict[str, Any] = {}
    for runner, more in (("slurm", ["--wait"]), ("local", [])):
        root = tmp_path / runner
        given = ("-a", f"data={folder}", "-a", f"root_uri={root}")
        done = rv(["run", runner, str(module), *given, "--splits", "4", *more], timeout_s=900)
        assert done.returncode == 0, done.stdout + done.stderr
        found[runner] = results(root)
    assert found["slurm"] == found["local"] != {}
