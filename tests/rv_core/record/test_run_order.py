"""Which run is the newest, whatever the clocks of the machines say."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from rv_core.cli.app import main
from rv_core.files import by_uri
from rv_core.record.layout import new_run_id, run_time_s
from rv_core.record.reading import known_run_ids


@pytest.mark.parametrize("newest", ["20991231-235959-000000", "20991231-235959-ffe000", "99991231-235959-0aa000"])
def test_an_id_sorts_behind_that_of_a_clock_that_was_ahead(newest: str) -> None:
    made = new_run_id(newest)
    assert made > newest
    assert len(made) == len(newest) and run_time_s(made) == run_time_s(newest)


@pytest.mark.parametrize("newest", ["", "19991231-235959-000000", "zzzz", "20991231-235959-ffffff", "2099"])
def test_other_names_leave_an_id_the_time_of_now(newest: str) -> None:
    moment = run_time_s(new_run_id(newest))
    assert moment is not None and abs(moment - time.time()) < 5


def test_the_last_run_is_the_newest_after_one_with_the_clock_ahead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "out"
    command = ["run", "inprocess", "rv_core.hello", "-a", f"root_uri={root}"]
    assert main(command) == 0
    [first] = known_run_ids(str(root))
    ahead = root / ".rv" / "runs" / "20991231-000000-abcdef"
    (root / ".rv" / "runs" / first).rename(ahead)
    for record in ("run.json", "plan.json"):
        (ahead / record).write_text((ahead / record).read_text().replace(first, ahead.name))
    assert main([*command, "--rerun"]) == 0
    newest = known_run_ids(str(root))[0]
    assert newest > ahead.name
    capsys.readouterr()
    assert main(["status", str(root)]) == 0
    assert capsys.readouterr().out.startswith(f"run {newest}  done")


def test_in_a_store_a_run_is_no_younger_than_its_record() -> None:
    root = f"memory://order-{os.getpid()}/out"
    for run_id in ("20200101-000000-000000", "20200101-000000-000001", "20991231-000000-000000", "odd"):
        by_uri.write_bytes(f"{root}/.rv/runs/{run_id}/run.json", b"{}")
        time.sleep(0.002)
    last = new_run_id()
    written = by_uri.stat(f"{root}/.rv/runs/odd/run.json")
    assert written is not None and written.mtime_ns is not None
    by_uri.write_bytes(f"{root}/.rv/runs/{last}/run.json", b"{}")
    order = known_run_ids(root)
    assert order.index("20991231-000000-000000") == 1 + order.index("odd")
    assert order[-2:] == ["20200101-000000-000001", "20200101-000000-000000"]
