"""A bundle applied to many images, begun on one runner and finished on another: what comes out is what `rv predict` writes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import TinyRun
    from tests.local_batch.server import LocalBatch

pytest.importorskip("rv_pipeline_chip_classification.hooks")

MODULE = "rv_pipeline_chip_classification.apply"


def write_images(folder: Path, count: int, size_px: int = 40) -> None:
    """Images of noise, named with a space so that nothing of a name is taken for something else."""
    from tests.scenes import write_image

    folder.mkdir()
    for number in range(count):
        values = np.random.default_rng(number).integers(1, 255, (size_px, size_px, 3), dtype=np.uint8)
        write_image(folder / f"image {number:03}.tif", values)


def words(runner: str, bundle: str | Path, images: str, root: str | Path, *more: str) -> list[str]:
    return ["run", runner, MODULE, "-a", f"bundle={bundle}", "-a", f"images={images}", "-a", f"root_uri={root}", *more]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def predicted(rv: Any, bundle: Path, images: Path, output: Path) -> dict[str, bytes]:
    listed = images / "list.txt"
    listed.write_text("".join(f"{path}\n" for path in sorted(images.glob("*.tif"))))
    done = rv("predict", bundle, f"@{listed}", "-o", output, timeout_s=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return files(output)


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBatch]:
    from tests.local_batch.server import LocalBatch

    running = LocalBatch(tmp_path_factory.mktemp("batch"), grace_s=20.0)
    running.make_setup()
    yield running
    running.stop()


@pytest.mark.slow
@pytest.mark.s3
def test_200_images_begun_here_and_killed_are_finished_on_batch(
    rv: Any, tiny_run: TinyRun, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("rv_runner_batch", "rv_runner_local", "moto.server"):
        pytest.importorskip(module)
    batch = request.getfixturevalue("batch")
    bundle, images = tiny_run.root / "bundle" / "model-bundle.zip", tmp_path / "images"
    write_images(images, 200)
    expected = predicted(rv, bundle, images, tmp_path / "predicted")
    store = batch.client("s3")
    store.upload_file(str(bundle), "rv-test", "model-bundle.zip")
    for path in images.glob("*.tif"):
        store.upload_file(str(path), "rv-test", f"images/{path.name}")
    listed = tmp_path / "images.txt"
    listed.write_text("".join(f"s3://rv-test/images/{path.name}\n" for path in sorted(images.glob("*.tif"))))
    names = {"CPU_JOB_QUEUE": "rv-cpu", "GPU_JOB_QUEUE": "rv-gpu"}
    names |= {"CPU_JOB_DEFINITION": "rv-cpu", "GPU_JOB_DEFINITION": "rv-gpu"}
    for name, value in {**batch.environ, **{f"RV_BATCH_{n}": v for n, v in names.items()}}.items():
        monkeypatch.setenv(name, value)
    more = ("--splits", "4")
    running = rv.start(words("local", "s3://rv-test/model-bundle.zip", f"@{listed}", "s3://rv-test/out", *more))
    wait_for(lambda: len(manifests(store)) > 20 or running.poll() is not None)
    assert running.poll() is None, "".join(running.communicate())
    os.killpg(running.pid, signal.SIGKILL)
    running.wait(30)
    begun = len(manifests(store))
    assert begun < 200, "it is killed in between"
    line = words("batch", "s3://rv-test/model-bundle.zip", f"@{listed}", "s3://rv-test/out", *more, "--wait")
    done = rv(line, timeout_s=400)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {
        name.removeprefix("out/predict/"): store.get_object(Bucket="rv-test", Key=name)["Body"].read()
        for name in keys(store, "out/predict/")
    }
    assert found == expected
    assert f"{begun} of 200 done" in done.stdout or "items in 4 tasks" in done.stdout, done.stdout


def keys(store: Any, prefix: str) -> list[str]:
    pages = store.get_paginator("list_objects_v2").paginate(Bucket="rv-test", Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", ())]


def manifests(store: Any) -> list[str]:
    return keys(store, "out/.rv/done/predict/")


def wait_for(holds: Callable[[], bool], timeout_s: float = 240.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
