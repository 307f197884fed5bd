"""A record of a run tells its plan and the ids that its engine gave, to any runner."""

from __future__ import annotations

from pathlib import Path

import pytest

from rv_core.errors import StorageError
from rv_core.plan.decisions import RunPlan
from rv_core.plan.graph import Job, Plan, Resources, make_tasks
from rv_core.record.event_writer import EventWriter
from rv_core.record.layout import RunPaths
from rv_core.record.run_record import RunRecord


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    pipelines = ({"name": "p", "root_uri": str(tmp_path)},)
    return RunRecord(run_id="r1", runner="any", created="2026-01-01T00:00:00Z", pipelines=pipelines)


def write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def test_the_plan_is_read_back_as_the_runner_got_it(record: RunRecord, tmp_path: Path) -> None:
    import json

    resources = Resources(cpus=2, memory_mib=100, gpus=1, timeout_s=60, attempts=3)
    plan = Plan(
        (
            Job("p.chip", "p", "chip", make_tasks("p.chip", 3), (), Resources()),
            Job("p.train", "p", "train", make_tasks("p.train", 1), ("p.chip",), resources),
        )
    )
    write(RunPaths(str(tmp_path), "r1").plan, json.dumps(RunPlan(plan, (), {}).to_json()))
    assert record.plan() == plan


def test_a_plan_that_is_gone_is_an_error(record: RunRecord) -> None:
    with pytest.raises(StorageError):
        record.plan()


def test_the_id_that_was_reported_last_counts(record: RunRecord, tmp_path: Path) -> None:
    path = RunPaths(str(tmp_path), "r1").submission
    Path(path).parent.mkdir(parents=True)
    with EventWriter(path) as events:
        events.write("submitted", job="p.chip", native_id="7")
        events.write("submitted", job="p.train", task="p.train", native_id="9")
        events.write("submitted", job="p.chip", native_id="7,8")
        events.write("reported", job="p.eval", native_id="10", exit_code=1)
        events.write("submitted", task="p.predict.1-of-2", native_id="11")
    assert record.native_ids() == {"p.chip": "7,8", "p.train": "9", "p.predict.1-of-2": "11"}


def test_a_run_that_reported_nothing_has_no_ids(record: RunRecord) -> None:
    assert record.native_ids() == {}
