"""Fixtures of the batch runner's tests: a local AWS Batch with a set-up, and settings that lead to it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.local_batch.aws_setup import Setup
    from tests.local_batch.server import LocalBatch

QUEUE_SETTINGS = {
    "RV_BATCH_CPU_JOB_QUEUE": "rv-cpu",
    "RV_BATCH_GPU_JOB_QUEUE": "rv-gpu",
    "RV_BATCH_CPU_JOB_DEFINITION": "rv-cpu",
    "RV_BATCH_GPU_JOB_DEFINITION": "rv-gpu",
}


class Cloud:
    """The local Batch with its set-up, and what tests look at in its S3."""

    def __init__(self, batch: LocalBatch, setup: Setup) -> None:
        self.batch = batch
        self.setup = setup
        self._num_roots = 0

    @property
    def environ(self) -> dict[str, str]:
        """What a submitting process needs to find it."""
        return {**self.batch.environ, **QUEUE_SETTINGS}

    def new_root(self) -> str:
        """A root that no other test uses."""
        self._num_roots += 1
        return f"s3://{self.setup.bucket}/root-{self._num_roots}"

    def keys(self, root_uri: str) -> list[str]:
        """Names of all objects under a root, relative to it."""
        bucket, _, prefix = root_uri.removeprefix("s3://").partition("/")
        pages = self.batch.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
        return [entry["Key"].removeprefix(f"{prefix}/") for page in pages for entry in page.get("Contents", ())]

    def is_taken(self, root_uri: str) -> bool:
        """Whether a run has the root: its marker is there and, where it cannot be deleted on a condition, not empty."""
        marker = ".rv/active-run.json"
        return marker in self.keys(root_uri) and bool(self.text(f"{root_uri}/{marker}").strip())

    def manifests(self, root_uri: str, command: str) -> list[str]:
        """The names of what is done of a command."""
        return [key for key in self.keys(root_uri) if key.startswith(f".rv/done/{command}/")]

    def text(self, uri: str) -> str:
        """An object's text."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return self.batch.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode()

    def put(self, uri: str, text: str) -> None:
        """Put an object."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self.batch.client("s3").put_object(Bucket=bucket, Key=key, Body=text.encode())

    def jobs_since(self, count: int) -> list[dict[str, Any]]:
        """JobDetail of the jobs that were submitted after the first so many."""
        return self.batch.jobs()[count:]


@pytest.fixture(scope="module")
def module_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One server for a module; a second of the service lasts 10 ms (timeouts), the grace after TERM 3 s."""
    pytest.importorskip("moto.server", reason="the local AWS (moto[server]) is not installed")
    from tests.local_batch.server import LocalBatch

    running = LocalBatch(tmp_path_factory.mktemp("batch"), time_scale=0.01, grace_s=3.0)
    yield Cloud(running, running.make_setup(cpu_vcpus=4))
    running.stop()


@pytest.fixture
def cloud(module_cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """The local Batch, with the environment of this test leading to it."""
    for name, value in module_cloud.environ.items():
        monkeypatch.setenv(name, value)
    return module_cloud


@pytest.fixture
def rv_here(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`rv_here("run", "batch", …)` runs the command line in this process; gives exit code, stdout and stderr."""
    from rv_core.cli.app import main

    def run(*words: str | os.PathLike[str]) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([os.fspath(word) for word in words])
        return code, *capsys.readouterr()

    return run


class Gate:
    """The folder that tasks of `gated_pipeline` wait at."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def open(self, *names: str) -> None:
        """Let these tasks go on, or all."""
        for name in names:
            (self.folder / f"go.{name}").touch()
        if not names:
            (self.folder / "go").touch()

    def order(self, what: str, name: str) -> Path:
        """`fail` or `kill` a task when it comes to the gate."""
        path = self.folder / f"{what}.{name}"
        path.touch()
        return path

    def wait_for(self, *names: str, timeout_s: float = 20.0) -> None:
        """Wait until these tasks are at the gate."""
        deadline = time.monotonic() + timeout_s
        while not all((self.folder / f"started.{name}").exists() for name in names):
            if time.monotonic() > deadline:
                raise AssertionError(f"at the gate are only {sorted(p.name for p in self.folder.iterdir())}")
            time.sleep(0.02)

    def attempt_of(self, name: str) -> int:
        """Which attempt was here last."""
        return int((self.folder / f"started.{name}").read_text())


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Closed."""
    return Gate(tmp_path / "gate")


@pytest.fixture
def gated(cloud: Cloud, gate: Gate, rv_here: Callable[..., tuple[int, str, str]]) -> Callable[..., Any]:
    """`gated("run", "batch", root, words…)` with the module and the arguments of `gated_pipeline`."""
    module = Path(__file__).parent / "gated_pipeline.py"

    def run(root: str, *words: str, runner: str = "batch") -> tuple[int, str, str]:
        return rv_here("run", runner, module, "-a", "root_uri", root, "-a", "gate", gate.folder, *words)

    return run
