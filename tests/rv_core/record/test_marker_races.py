"""Several processes want one root at the same moment: one gets it, whatever lay there before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.marker_races import DAMAGED, run_races

KINDS = ("clean", "stale", *DAMAGED)
ROLES = {
    "clean": ("take", "take", "take", "take"),
    "stale": ("take", "take", "take over", "release"),
    "live": ("take over", "take over", "take over", "take over"),
}


def base_uri(store: str, tmp_path: Path) -> str:
    return f"{'local://' if store == 'fsspec' else ''}{tmp_path}/roots"


@pytest.mark.parametrize("store", ["files", "fsspec"])
@pytest.mark.parametrize("kind", ["clean", "stale", "cut", "live"])
def test_of_several_processes_one_gets_the_root(tmp_path: Path, store: str, kind: str) -> None:
    roles = ROLES.get(kind, ROLES["clean"])
    run_races(tmp_path, base_uri(store, tmp_path), kind, roles, num_rounds=3, seed=1)
    assert [path for path in (tmp_path / "roots").rglob("*.tmp") if path.is_file()] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("store", ["files", "fsspec"])
@pytest.mark.parametrize("kind", [*KINDS, "live"])
def test_it_is_so_in_two_hundred_rounds(tmp_path: Path, store: str, kind: str) -> None:
    roles = ROLES.get(kind, ROLES["clean"])
    run_races(tmp_path, base_uri(store, tmp_path), kind, roles, num_rounds=200, seed=os.getpid())
