"""The events of a task that goes on for long, in S3."""

from __future__ import annotations

from pathlib import Path

import pytest

from rv_core.files import by_uri
from rv_core.record.event_tail import RemoteEventTail
from rv_core.record.event_writer import SEGMENT_BYTES, EventWriter
from rv_core.record.events import read_events

pytest.importorskip("rv_store_s3.store")

pytest_plugins = ("tests.file_servers",)
pytestmark = pytest.mark.s3


def test_long_events_are_several_objects_that_are_read_as_one(tmp_path: Path, s3_root: str) -> None:
    moments = (1_795_000_000 + number / 10 for number in range(10**9))
    run = f"{s3_root}/.rv/runs/r"
    with EventWriter(
        tmp_path / "t.1.jsonl", remote_uri=f"{run}/events/t.1.jsonl", clock=lambda: next(moments)
    ) as events:
        events.write("started")
        for number in range(4000):
            events.progress(number, 10**6, {"loss": 0.5})
        events.write("finished")
    objects = by_uri.list_files(f"{run}/events")
    assert {"t.1.jsonl", "t.1+2.jsonl", "t.1+3.jsonl"} <= set(objects)
    assert all(SEGMENT_BYTES <= objects[name].size < 2 * SEGMENT_BYTES for name in ("t.1.jsonl", "t.1+2.jsonl"))
    said = (tmp_path / "t.1.jsonl").read_bytes()
    assert sum(info.size for info in objects.values()) == len(said)
    assert RemoteEventTail(run).poll() == {"t.1": read_events(said)}
