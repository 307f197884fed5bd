"""Clusters that last as long as a block, and what ends with a test."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.slurm_cluster.cluster import DEBIAN_PACKAGES, SlurmCluster, missing_programs
from tests.slurm_cluster.configuration import ClusterShape

_MAX_TEMPORARY_PATH_BYTES = 80
#: Set by `.ci/run` where Slurm is installed and cannot run; elsewhere a cluster that does not start is a failure.
_IS_LEFT_OUT = bool(os.environ.get("TESTS_WITHOUT_SLURM"))


def skip_without_slurm() -> None:
    """Skip the test that runs where this machine cannot run a cluster."""
    if _IS_LEFT_OUT:
        pytest.skip("TESTS_WITHOUT_SLURM is set: no cluster starts on this machine")
    missing = missing_programs()
    if missing:
        install = f"apt-get install --no-install-recommends {' '.join(DEBIAN_PACKAGES)}"
        pytest.skip(f"Slurm is not installed ({', '.join(missing)}): {install}")


@contextmanager
def running_cluster(**options: Any) -> Iterator[SlurmCluster]:
    """A cluster of its own with the options of `ClusterShape`, stopped and thrown away afterwards."""
    skip_without_slurm()
    # pytest's own folders have names that are too long for a socket
    is_short = len(tempfile.gettempdir()) < _MAX_TEMPORARY_PATH_BYTES
    with tempfile.TemporaryDirectory(
        prefix="slurm-", dir=None if is_short else "/tmp", ignore_cleanup_errors=True
    ) as folder:
        cluster = SlurmCluster(Path(folder), ClusterShape(**options))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


def cancel_everything(cluster: SlurmCluster) -> None:
    """Cancel what is left, and wait until it is gone."""
    ids = [str(job["job_id"]) for job in _unfinished(cluster)]
    if ids:
        cluster.run("scancel", *ids)
        cluster.wait_until(lambda: not _unfinished(cluster))


def _unfinished(cluster: SlurmCluster) -> list[dict[str, Any]]:
    live = ("PENDING", "RUNNING", "COMPLETING", "SUSPENDED", "CONFIGURING")
    return [job for job in cluster.jobs() if job["job_state"] in live]
