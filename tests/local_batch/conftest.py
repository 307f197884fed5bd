"""Fixtures of the local Batch's own tests: one server for a module, which tests share and leave as they found it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from tests.local_batch.batch_testing import shell

if TYPE_CHECKING:
    from tests.local_batch.aws_setup import Setup
    from tests.local_batch.server import LocalBatch


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBatch]:
    """Each test names its jobs differently and undoes the faults it orders. A second lasts 10 ms."""
    pytest.importorskip("moto.server", reason="the local AWS (moto[server]) is not installed")
    from tests.local_batch.server import LocalBatch

    running = LocalBatch(tmp_path_factory.mktemp("batch"), time_scale=0.01)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def setup(batch: LocalBatch) -> Setup:
    """Queues, definitions and a bucket in it."""
    return batch.make_setup()


@pytest.fixture
def submit(batch: LocalBatch, setup: Setup) -> Callable[..., str]:
    """`submit(name, script, array=3, vcpus=2, **members of the request)` to the CPU queue; returns the job's id."""

    def call(name: str, script: str | Sequence[str] = "true", *, array: int = 0, vcpus: int = 0, **params: Any) -> str:
        overrides: dict[str, Any] = {"command": shell(script) if isinstance(script, str) else list(script)}
        if vcpus:
            overrides["resourceRequirements"] = [{"type": "VCPU", "value": str(vcpus)}]
        if array:
            params["arrayProperties"] = {"size": array}
        request = {"jobQueue": setup.cpu_queue, "jobDefinition": setup.cpu_definition, **params}
        request["containerOverrides"] = {**overrides, **params.get("containerOverrides", {})}
        job_id: str = batch.client("batch").submit_job(jobName=name, **request)["jobId"]
        return job_id

    return call
