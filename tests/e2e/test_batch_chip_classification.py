"""The whole chip-classification pipeline on a local AWS Batch, against the same run on this machine."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.local_batch.server import LocalBatch

for _module in ("rv_pipeline_chip_classification", "rv_runner_batch", "rv_runner_local", "moto.server"):
    pytest.importorskip(_module)

pytestmark = pytest.mark.s3
MODULE = Path(__file__).with_name("small_experiment.py")
DATA = "s3://rv-test/data"
#: What a run leaves for the user.
RESULTS = ("chip/", "train/model", "train/metrics", "predict/", "eval/", "bundle/")


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBatch]:
    """A local Batch whose bucket holds the scenes."""
    from tests.local_batch.server import LocalBatch

    running = LocalBatch(tmp_path_factory.mktemp("batch"), grace_s=20.0)
    running.make_setup()
    folder = tmp_path_factory.mktemp("scenes")
    spec = importlib.util.spec_from_file_location("small_experiment", MODULE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.write_scenes(folder)
    for path in folder.iterdir():
        running.client("s3").upload_file(str(path), "rv-test", f"data/{path.name}")
    yield running
    running.stop()


@pytest.fixture
def cloud_rv(rv: Any, batch: LocalBatch, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`rv` with the settings that lead to the local Batch."""
    names = {"CPU_JOB_QUEUE": "rv-cpu", "GPU_JOB_QUEUE": "rv-gpu"}
    names |= {"CPU_JOB_DEFINITION": "rv-cpu", "GPU_JOB_DEFINITION": "rv-gpu"}
    for name, value in {**batch.environ, **{f"RV_BATCH_{n}": v for n, v in names.items()}}.items():
        monkeypatch.setenv(name, value)
    return rv


def words(runner: str, root: str, *more: str) -> list[str]:
    return ["run", runner, str(MODULE), "-a", f"data={DATA}", "-a", f"root_uri={root}", *more]


def results(batch: LocalBatch, prefix: str) -> dict[str, str]:
    """SHA-256 of every result under a root in the bucket."""
    found: dict[str, str] = {}
    for page in batch.client("s3").get_paginator("list_objects_v2").paginate(Bucket="rv-test", Prefix=f"{prefix}/"):
        for entry in page.get("Contents", ()):
            name = entry["Key"].removeprefix(f"{prefix}/")
            if name.startswith(RESULTS):
                data = batch.client("s3").get_object(Bucket="rv-test", Key=entry["Key"])["Body"].read()
                found[name] = hashlib.sha256(data).hexdigest()
    return found


def jobs_since(batch: LocalBatch, count: int) -> dict[str, dict[str, Any]]:
    return {job["tags"]["rv-job"].partition(".")[2]: job for job in batch.jobs()[count:]}


@pytest.mark.slow
def test_batch_gives_the_same_results_as_this_machine_even_if_train_is_reclaimed(
    cloud_rv: Any, batch: LocalBatch
) -> None:
    done = cloud_rv(words("local", "s3://rv-test/local", "--splits", "2"), timeout_s=300)
    assert done.returncode == 0, done.stdout + done.stderr
    before = len(batch.jobs())
    waiting = cloud_rv.start(words("batch", "s3://rv-test/batch", "--splits", "2", "--wait"))
    assert batch.wait_for(lambda: len(batch.jobs()) - before == 6, 60)
    jobs = jobs_since(batch, before)
    assert {name: job["jobQueue"].rpartition("/")[2] for name, job in jobs.items()} == {
        "analyze": "rv-cpu",
        "chip": "rv-cpu",
        "train": "rv-gpu",
        "predict": "rv-gpu",
        "eval": "rv-cpu",
        "bundle": "rv-cpu",
    }
    sizes = {name: job.get("arrayProperties", {}).get("size", 1) for name, job in jobs.items()}
    assert sizes == {"analyze": 2, "chip": 2, "train": 1, "predict": 2, "eval": 1, "bundle": 1}
    parents = {job["jobId"]: name for name, job in jobs.items()}
    edges = {name: {parents[d["jobId"]] for d in job.get("dependsOn", ())} for name, job in jobs.items()}
    assert edges["train"] == {"analyze", "chip"}
    assert edges["predict"] == edges["bundle"] == {"train"}, "the bundle is made beside the predictions"
    reclaim_in_mid_training(batch, jobs["train"])
    out, err = waiting.communicate(timeout=300)
    assert waiting.returncode == 0, out + err
    attempts = batch.job(jobs["train"]["jobId"])["attempts"]
    assert len(attempts) == 2, "it was reclaimed while it trained"
    assert "going on in epoch" in batch.log_of(jobs["train"]["jobId"]), "and went on where it was"
    first, second = results(batch, "local"), results(batch, "batch")
    assert any(name.startswith("train/model") for name in first)
    assert second == first


@pytest.mark.slow
def test_scenes_in_parts_on_batch_give_the_files_of_whole_ones_here(cloud_rv: Any, batch: LocalBatch) -> None:
    bounds = [word for step in ("chip", "predict") for word in ("--set", f"{step}.max_windows_per_item=4")]
    before = len(batch.jobs())
    line = words("batch", "s3://rv-test/parts", "--splits", "3", *bounds, "--wait")
    done = cloud_rv(line, timeout_s=300)
    assert done.returncode == 0, done.stdout + done.stderr
    sizes = {name: job.get("arrayProperties", {}).get("size", 1) for name, job in jobs_since(batch, before).items()}
    assert (sizes["chip"], sizes["predict"], sizes["merge"]) == (3, 3, 2)
    done = cloud_rv(words("local", "s3://rv-test/whole"), timeout_s=300)
    assert done.returncode == 0, done.stdout + done.stderr
    whole, parts = results(batch, "whole"), results(batch, "parts")
    same = {name: digest for name, digest in whole.items() if not name.startswith("chip/")}
    assert {name: digest for name, digest in parts.items() if name in same} == same


def reclaim_in_mid_training(batch: LocalBatch, train: dict[str, Any]) -> None:
    """Take the machine away once some batches are done, as the events on the container's disk tell."""
    batch.wait_for_status(train["jobId"], "RUNNING", timeout_s=120)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for path in batch.folder.rglob("small.train.1.jsonl"):
            if any(json.loads(line)["event"] == "progress" for line in path.read_text().splitlines()):
                batch.reclaim(train["jobId"])
                return
        time.sleep(0.02)
    raise AssertionError("train did not begin")


@pytest.mark.real_data
@pytest.mark.timeout(1200)
def test_the_real_scenes_give_the_same_on_batch_as_on_this_machine(
    cloud_rv: Any, batch: LocalBatch, real_data_dir: Path, tmp_path: Path
) -> None:
    from tests.e2e.real_experiment import write_real_experiment

    folder = real_data_dir / "zion-landsat8-nlcd"
    for path in folder.rglob("*.tif"):
        batch.client("s3").upload_file(str(path), "rv-test", f"real/{path.relative_to(folder)}")
    module = write_real_experiment(tmp_path / "real_experiment.py", folder)
    common = (str(module), "-a", "data=s3://rv-test/real", "--splits", "4")
    before = len(batch.jobs())
    done = cloud_rv(["run", "batch", *common, "-a", "root_uri=s3://rv-test/real-batch", "--wait"], timeout_s=900)
    assert done.returncode == 0, done.stdout + done.stderr
    sizes = {name: job.get("arrayProperties", {}).get("size", 1) for name, job in jobs_since(batch, before).items()}
    assert sizes["chip"] == 4
    done = cloud_rv(["run", "local", *common, "-a", "root_uri=s3://rv-test/real-local"], timeout_s=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert results(batch, "real-batch") == results(batch, "real-local") != {}
