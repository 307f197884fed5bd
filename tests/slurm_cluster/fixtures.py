"""Fixtures with a real Slurm; a module that wants them has `pytest_plugins = ("tests.slurm_cluster.fixtures",)`.

Where Slurm is not installed, the tests that ask for one are skipped, with the line that installs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from tests.slurm_cluster.lifetime import cancel_everything, running_cluster

if TYPE_CHECKING:
    from tests.slurm_cluster.cluster import SlurmCluster


@pytest.fixture(scope="session")
def session_slurm() -> Iterator[SlurmCluster]:
    """Two nodes of 4 CPUs, two pretended GPUs, for all tests that break nothing."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def slurm(session_slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """The cluster of the session; the environment of the test leads to it, and its jobs end with it."""
    for name, value in session_slurm.environ.items():
        monkeypatch.setenv(name, value)
    yield session_slurm
    cancel_everything(session_slurm)


@pytest.fixture
def start_slurm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SlurmCluster]]:
    """`start_slurm(max_array_size=5, …)` starts a cluster for this test; its environment then leads there."""
    with ExitStack() as stack:

        def start(**options: Any) -> SlurmCluster:
            cluster = stack.enter_context(running_cluster(**options))
            for name, value in cluster.environ.items():
                monkeypatch.setenv(name, value)
            return cluster

        yield start
