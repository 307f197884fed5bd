"""A task that somebody starts by hand sees that another run has worked under its root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.marker_races import DAMAGED, dead_marker

from rv_core.errors import UsageError
from rv_core.files import by_uri
from rv_core.record.marker import marker_uri, read_marker
from rv_core.record.root_watch import RootWatch

MINE = "20261120-120000-800abc"


def record(root: str, run_id: str) -> None:
    """What every run leaves."""
    by_uri.write_bytes(f"{root}/.rv/runs/{run_id}/run.json", b"{}")


@pytest.mark.parametrize("store", ["files", "fsspec"])
@pytest.mark.parametrize(
    "other", ["20261120-120000-900abc", "20261120-120000-700abc", "20261119-120000-000abc"]
)  # the last two were planned before this one, or where the clock is behind
def test_a_run_that_came_and_went_is_seen_whatever_its_id(tmp_path: Path, store: str, other: str) -> None:
    root = str(tmp_path) if store == "files" else f"memory://watch-{os.getpid()}-{other}/out"
    for run_id in (MINE, "20261118-120000-000abc"):
        record(root, run_id)
    watch = RootWatch(root, MINE)
    watch.check()
    record(root, other)
    with pytest.raises(UsageError, match=f"run {other} has worked here since this task began"):
        watch.check()


@pytest.mark.parametrize("store", ["files", "fsspec"])
@pytest.mark.parametrize("left", ["nothing", "blank", "cut", "stale"])
def test_the_root_is_taken_whatever_a_run_has_left(tmp_path: Path, store: str, left: str) -> None:
    root = str(tmp_path) if store == "files" else f"memory://watch-{os.getpid()}-{left}/out"
    record(root, MINE)
    if left != "nothing":  # an empty line is what stores keep that cannot remove a file on a condition
        by_uri.write_bytes(marker_uri(root), dead_marker("dead") if left == "stale" else DAMAGED[left])
    RootWatch(root, MINE).check()
    found = read_marker(root)
    assert found is not None and (found.run_id, found.runner, found.pid) == (MINE, "run-command", os.getpid())


def test_a_run_that_comes_and_goes_before_the_root_is_taken_is_seen_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(tmp_path)
    record(root, MINE)
    watch = RootWatch(root, MINE)
    real = by_uri.write_once

    def write_once(uri: str, data: bytes) -> bool:
        record(root, "20261121-120000-000abc")
        return real(uri, data)

    monkeypatch.setattr(by_uri, "write_once", write_once)
    with pytest.raises(UsageError, match="run 20261121-120000-000abc has worked here since this task began"):
        watch.check()
