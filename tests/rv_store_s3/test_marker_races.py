"""Several processes want one root in S3 at the same moment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.marker_races import run_races

pytest.importorskip("rv_store_s3.store")

pytest_plugins = ("tests.file_servers",)
pytestmark = pytest.mark.s3

ROLES = {"stale": ("take", "take", "take over", "release"), "live": ("take over",) * 4}


@pytest.mark.parametrize("kind", ["clean", "stale", "cut", "live"])
def test_of_several_processes_one_gets_the_root(tmp_path: Path, s3_root: str, kind: str) -> None:
    run_races(tmp_path, s3_root, kind, ROLES.get(kind, ("take",) * 4), num_rounds=3, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["clean", "stale", "blank", "cut", "list", "types", "live"])
def test_it_is_so_in_two_hundred_rounds(tmp_path: Path, s3_root: str, kind: str) -> None:
    run_races(tmp_path, s3_root, kind, ROLES.get(kind, ("take",) * 4), num_rounds=200, seed=os.getpid())
