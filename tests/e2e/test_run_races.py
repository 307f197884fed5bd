"""Several runs want one root at the same moment: one works at a time, and none takes another's results for its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.run_races import IN_PROCESS_ONLY, SITUATIONS, run_races

pytest_plugins = ("tests.file_servers",)

S3 = pytest.param("s3", marks=pytest.mark.s3)


@pytest.fixture
def base_uri(request: pytest.FixtureRequest, store: str, tmp_path: Path) -> str:
    if store == "s3":
        return str(request.getfixturevalue("s3_root"))
    return f"{'local://' if store == 'fsspec' else ''}{tmp_path}/roots"


@pytest.mark.parametrize("store", ["files"])
@pytest.mark.parametrize(
    "situation", ["stale", "take over", "take over from afar", "taken over from afar once", "planned before"]
)
def test_runs_of_one_root_do_not_disturb_each_other(tmp_path: Path, base_uri: str, situation: str) -> None:
    run_races(tmp_path, base_uri, situation, num_rounds=2, num_lanes=2, seed=1)


@pytest.mark.parametrize("store", ["fsspec", S3])
def test_they_do_not_in_other_stores(tmp_path: Path, base_uri: str) -> None:
    run_races(tmp_path, base_uri, "take over", num_rounds=2, num_lanes=2, seed=1)


@pytest.mark.parametrize("store", ["files"])
def test_they_do_not_as_programs_of_their_own(tmp_path: Path, base_uri: str) -> None:
    run_races(tmp_path, base_uri, "take over", num_rounds=1, seed=1, runner="local", is_fresh=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("store", ["files"])
@pytest.mark.parametrize("situation", ["clean", "take over", "planned before"])
def test_it_is_so_in_ten_rounds_of_programs_of_their_own(tmp_path: Path, base_uri: str, situation: str) -> None:
    run_races(tmp_path, base_uri, situation, num_rounds=10, num_lanes=2, seed=os.getpid(), is_fresh=True)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("store", ["files", S3])
@pytest.mark.parametrize("situation", [name for name in SITUATIONS if name not in IN_PROCESS_ONLY])
def test_it_is_so_in_fifty_rounds_with_tasks_in_processes_of_their_own(
    tmp_path: Path, base_uri: str, situation: str
) -> None:
    run_races(tmp_path, base_uri, situation, num_rounds=50, num_lanes=3, seed=os.getpid(), runner="local")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("store", ["files", "fsspec", S3])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_it_is_so_in_two_hundred_rounds(tmp_path: Path, base_uri: str, situation: str) -> None:
    run_races(tmp_path, base_uri, situation, num_rounds=200, num_lanes=5, seed=os.getpid())
