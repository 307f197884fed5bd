"""Fixtures with a local Batch; a test module that wants them has `pytest_plugins = ("tests.local_batch.fixtures",)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.local_batch.aws_setup import Setup
    from tests.local_batch.server import LocalBatch


@pytest.fixture
def start_local_batch(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., LocalBatch]]:
    """`start_local_batch(time_scale=0.01, …)` starts one; the environment of the test then leads to it."""
    pytest.importorskip("boto3", reason="boto3 is not installed")
    pytest.importorskip("moto.server", reason="the local AWS (moto[server]) is not installed")
    from tests.local_batch.server import LocalBatch

    started: list[LocalBatch] = []

    def start(**options: Any) -> LocalBatch:
        batch = LocalBatch(tmp_path_factory.mktemp("local-batch"), **options)
        started.append(batch)
        for name, value in batch.environ.items():
            monkeypatch.setenv(name, value)
        return batch

    yield start
    for batch in started:
        batch.stop()


@pytest.fixture
def local_batch(start_local_batch: Callable[..., LocalBatch]) -> LocalBatch:
    """A local Batch whose seconds last 10 ms: a timeout of 60 s is 0.6 s, the grace after TERM 0.3 s."""
    return start_local_batch(time_scale=0.01)


@pytest.fixture
def batch_setup(local_batch: LocalBatch) -> Setup:
    """Bucket, compute environments, queues and definitions in `local_batch`."""
    return local_batch.make_setup()
