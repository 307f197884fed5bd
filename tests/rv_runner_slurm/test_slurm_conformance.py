"""The runner `slurm` passes the conformance kit, on a real Slurm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rv_core.testing import RunnerConformance

if TYPE_CHECKING:
    from tests.slurm_cluster.cluster import SlurmCluster

pytest_plugins = ("tests.slurm_cluster.fixtures",)


@pytest.fixture(scope="module")
def rv_environ(session_slurm: SlurmCluster) -> dict[str, str]:
    return session_slurm.environ


class TestSlurm(RunnerConformance):
    runner_name = "slurm"
