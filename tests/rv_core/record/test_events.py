from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rv_core.files import by_uri
from rv_core.record.event_tail import EventTail, RemoteEventTail, TaskBoard
from rv_core.record.event_writer import SEGMENT_BYTES, EventWriter, file_name, timestamp
from rv_core.record.events import TaskStatus, fold, parse_lines, read_events, seconds_of, task_and_attempt


class Clock:
    def __init__(self, now: float = 1_795_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def events_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_event_is_one_json_line_with_a_utc_time_in_milliseconds(tmp_path: Path) -> None:
    path = tmp_path / "events" / "a.1.jsonl"
    with EventWriter(path, clock=Clock(0.25)) as events:
        events.write("started", task="a", attempt=1)
        assert events_of(path) == [{"time": "1970-01-01T00:00:00.250Z", "event": "started", "task": "a", "attempt": 1}]


def test_every_event_is_in_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.1.jsonl"
    events = EventWriter(path)
    events.write("item", item="x", state="done")
    assert len(path.read_bytes().splitlines()) == 1
    events.close()
    events.close()


def test_progress_is_written_five_times_a_second_and_the_last_one_always(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "a.1.jsonl"
    with EventWriter(path, clock=clock) as events:
        for done in range(1, 101):
            clock.now += 0.01
            events.progress(done, 100, {})
    written = [event["done"] for event in events_of(path)]
    assert written[0] == 1
    assert written[-1] == 100
    assert 5 <= len(written) <= 7


def test_progress_that_was_held_back_is_written_before_the_next_event(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "a.1.jsonl"
    with EventWriter(path, clock=clock) as events:
        events.progress(1, 10, {"loss": 2.0})
        events.progress(2, 10, {"loss": 1.0})
        events.write("failed", reason="x", exit_code=1)
    assert [event.get("numbers") for event in events_of(path)] == [{"loss": 2.0}, {"loss": 1.0}, None]


def test_a_clock_that_goes_back_does_not_silence_progress(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "a.1.jsonl"
    with EventWriter(path, clock=clock) as events:
        events.progress(1, 10)
        clock.now -= 3600
        events.progress(2, 10)
        assert len(events_of(path)) == 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_cannot_hold_are_written_as_text(tmp_path: Path, value: float) -> None:
    path = tmp_path / "a.1.jsonl"
    with EventWriter(path) as events:
        events.progress(1, 1, {"loss": value})
    assert json.loads(path.read_text(), parse_constant=pytest.fail)["numbers"] == {"loss": str(value)}


def test_values_of_other_libraries_become_plain_numbers_and_text(tmp_path: Path) -> None:
    class Scalar:
        def __float__(self) -> float:
            return 0.5

    path = tmp_path / "a.1.jsonl"
    with EventWriter(path) as events:
        events.progress(1, 1, {"loss": Scalar()})
        events.write("failed", reason=Path("x"))
    assert events_of(path)[0]["numbers"] == {"loss": 0.5}
    assert events_of(path)[1]["reason"] == "x"


def test_secrets_in_texts_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "a.1.jsonl"
    with EventWriter(path) as events:
        events.write(
            "failed", reason="cannot open https://ada:hunter22@example.org/x", details=[{"a": "s3://u:hunter22@b"}]
        )
    assert "hunter22" not in path.read_text()


def test_text_that_is_not_unicode_is_written_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.1.jsonl"
    with EventWriter(path) as events:
        events.write("failed", reason="bad name \udcff \u2028 end\nline")
    assert read_events(path)[0]["reason"] == "bad name \udcff \u2028 end\nline"


def test_several_threads_write_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.1.jsonl"
    with EventWriter(path) as events:
        threads = [
            threading.Thread(target=lambda n=n: [events.write("item", item=f"{n}-{i}") for i in range(50)])
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {event["item"] for event in events_of(path)} == {f"{n}-{i}" for n in range(4) for i in range(50)}


def test_a_line_torn_by_a_kill_does_not_spoil_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "submission.jsonl"
    path.write_text('{"time": "x", "event": "submitted"}\n{"time": "y", "ev')
    with EventWriter(path) as events:
        events.write("cancelled")
    assert [event["event"] for event in read_events(path)] == ["submitted", "cancelled"]


def test_a_full_disk_is_said_once_and_never_raises(capsys: pytest.CaptureFixture[str]) -> None:
    with EventWriter("/dev/full") as events:
        events.write("started")
        events.write("finished")
        assert "No space left" in events.problem
    assert capsys.readouterr().err.count("warning") == 1


def test_a_folder_that_cannot_be_made_is_said_and_never_raises(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    with EventWriter(tmp_path / "file" / "events" / "a.1.jsonl") as events:
        events.write("started")
    assert "cannot write events" in capsys.readouterr().err


def test_a_remote_copy_is_put_at_a_change_of_state_and_else_every_30_s(tmp_path: Path) -> None:
    clock, uri = Clock(), f"memory://events-{os.getpid()}/a.1.jsonl"
    with EventWriter(tmp_path / "a.1.jsonl", remote_uri=uri, clock=clock) as events:

        def num_remote() -> int:
            return len(read_events(by_uri.read_bytes(uri)))

        events.write("started")
        assert num_remote() == 1
        events.write("item", item="x", state="done")
        events.progress(1, 2)
        assert num_remote() == 1
        clock.now += 31
        events.progress(2, 2)
        assert num_remote() == 4
        events.write("item", item="y", state="done")
        clock.now += 31
        events.sync()
        assert num_remote() == 5
        events.write("finished")
        assert num_remote() == 6
    assert by_uri.read_bytes(uri) == (tmp_path / "a.1.jsonl").read_bytes()


def test_a_day_of_progress_puts_little_more_than_it_says_and_holds_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, puts = Clock(), []
    write = by_uri.write_bytes

    def counted(uri: str, data: bytes) -> None:
        puts.append(len(data))
        write(uri, data)

    monkeypatch.setattr(by_uri, "write_bytes", counted)
    root = f"memory://day-{os.getpid()}/run"
    tail = RemoteEventTail(root)
    followed: list[Any] = []
    with EventWriter(tmp_path / "a.1.jsonl", remote_uri=f"{root}/events/a.1.jsonl", clock=clock) as events:
        events.write("started")
        # One hour of those 24 with 5 lines a second; the rest goes on alike, an object after the other.
        for step in range(3600):
            for part in range(5):
                events.progress(5 * step + part, 1e6, {"loss": 0.123456})
                clock.now += 0.2
            if step % 1000 == 0:
                followed += tail.poll().get("a.1", [])
        events.write("finished")
    followed += tail.poll().get("a.1", [])
    said = (tmp_path / "a.1.jsonl").read_bytes()
    assert len(read_events(said)) > 15_000
    assert sum(puts) < 2.5 * len(said)
    assert max(puts) < SEGMENT_BYTES + 60 * 5 * 200
    # Whoever follows it, and whoever comes later, reads the same.
    assert followed == read_events(said) == RemoteEventTail(root).poll()["a.1"]


def test_what_was_submitted_stays_in_one_object(tmp_path: Path) -> None:
    uri = f"memory://one-{os.getpid()}/run/events/submission.jsonl"
    with EventWriter(tmp_path / "submission.jsonl", remote_uri=uri, clock=Clock()) as events:
        for number in range(100):
            events.write("submitted", task="t", native_id=f"{number}" * 400)
    assert by_uri.read_bytes(uri) == (tmp_path / "submission.jsonl").read_bytes()
    assert list(by_uri.list_files(uri.rpartition("/")[0])) == ["submission.jsonl"]


@pytest.mark.parametrize(
    "name", ["x.\u00b2.jsonl", "x.\u0663.jsonl", "x..jsonl", ".1.jsonl", "x.1+2.jsonl", "x.-1.jsonl"]
)
def test_a_name_that_no_attempt_has_speaks_of_none(name: str) -> None:
    assert task_and_attempt(name) is None


def test_a_remote_uri_alone_needs_no_local_file() -> None:
    uri = f"memory://events-alone-{os.getpid()}/a.1.jsonl"
    with EventWriter(uri) as events:
        events.write("item", item="x", state="done")
    assert [event["item"] for event in read_events(by_uri.read_bytes(uri))] == ["x"]


def test_a_store_that_refuses_never_raises_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    puts: list[bytes] = []

    def refuse_once(uri: str, data: bytes) -> None:
        puts.append(data)
        if len(puts) == 1:
            raise ConnectionError("reset by https://ada:hunter22@host/")

    monkeypatch.setattr(by_uri, "write_bytes", refuse_once)
    with EventWriter(tmp_path / "a.1.jsonl", remote_uri="s3://bucket/a.1.jsonl", clock=Clock()) as events:
        events.write("started")
        events.write("failed", reason="x")
    assert [data.count(b"\n") for data in puts] == [1, 2]
    said = capsys.readouterr().err
    assert said.count("warning") == 1
    assert "hunter22" not in said


def test_writing_events_imports_nothing_heavy() -> None:
    code = (
        "import sys; from rv_core.record.event_writer import EventWriter\n"
        "with EventWriter('/dev/null') as e: e.progress(1, 2)\n"
        "heavy = {'rich', 'typer', 'marshmallow', 'fsspec', 'datetime', 'asyncio', 'platformdirs'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- reading -----------------------------------------------------------------------------------------------------


def test_reading_leaves_out_a_torn_last_line_and_what_is_no_event(tmp_path: Path) -> None:
    path = tmp_path / "a.1.jsonl"
    path.write_bytes(b'{"event": "started"}\n[1]\n\xff\xfe\n{"event": 3}\n\n{"event": "progress"}\n{"event": "fin')
    assert [event["event"] for event in read_events(path)] == ["started", "progress"]
    assert read_events(path.read_bytes()) == read_events(path)
    assert read_events(tmp_path / "missing.jsonl") == []


@given(st.binary(max_size=200))
def test_reading_never_raises(data: bytes) -> None:
    assert all(isinstance(event["event"], str) for event in parse_lines(data))
    fold(parse_lines(data), task="a")


@given(st.floats(min_value=0, max_value=4e9))
def test_a_time_is_read_back_to_the_millisecond(seconds: float) -> None:
    assert abs(seconds_of(timestamp(seconds)) - seconds) <= 0.00051


@pytest.mark.parametrize("text", ["", "yesterday", None, 7])
def test_what_is_no_time_is_zero(text: Any) -> None:
    assert seconds_of(text) == 0.0


def test_names_of_event_files_are_read_back() -> None:
    assert task_and_attempt(file_name("my.pipe.chip.3-of-5", 2)) == ("my.pipe.chip.3-of-5", 2)
    assert task_and_attempt("submission.jsonl") is None
    assert task_and_attempt("a.b.jsonl") is None


# --- folding -------------------------------------------------------------------------------------------------------


def event(name: str, at: float = 0.0, **fields: Any) -> dict[str, Any]:
    return {"time": timestamp(1000 + at), "event": name, **fields}


STARTED = event("started", task="t", attempt=1, host="h", pid=7)


def test_a_task_runs_after_started_and_keeps_its_last_numbers() -> None:
    status = fold([STARTED, event("progress", 1, done=2, total=5, numbers={"loss": 0.5})])
    assert status.state == "running"
    assert (status.task, status.host, status.pid, status.started) == ("t", "h", 7, 1000.0)
    assert (status.done, status.total, status.numbers, status.updated) == (2, 5, {"loss": 0.5}, 1001.0)


def test_a_finished_task_is_done_with_what_it_cost() -> None:
    status = fold([STARTED, event("finished", 3, duration_s=2.5, cpu_s=2.0, max_rss_mib=11.0)])
    assert (status.state, status.ended, status.exit_code) == ("done", 1003.0, 0)
    assert (status.duration_s, status.cpu_s, status.max_rss_mib) == (2.5, 2.0, 11.0)


@pytest.mark.parametrize(("name", "code"), [("failed", 1), ("stopped", 75)])
def test_a_task_that_failed_or_stopped_keeps_reason_and_exit_code(name: str, code: int) -> None:
    status = fold([STARTED, event(name, 1, reason="because", exit_code=code)])
    assert (status.state, status.reason, status.exit_code) == (name, "because", code)


def test_a_new_attempt_starts_afresh_and_keeps_the_native_id() -> None:
    first = fold(
        [event("submitted", -1, task="t", native_id="job-1"), STARTED, event("failed", 1, reason="x", exit_code=1)]
    )
    second = fold([event("started", 2, task="t", attempt=2, host="h", pid=8)], first)
    assert (second.state, second.attempt, second.reason, second.exit_code) == ("running", 2, "", None)
    assert second.native_id == "job-1"


def test_what_the_runner_reports_counts_where_the_task_said_nothing() -> None:
    assert fold([event("submitted", task="t", native_id="7")]).state == "submitted"
    assert fold([event("reported", task="t", reason="waits for a GPU")]).reason == "waits for a GPU"
    killed = fold([STARTED, event("reported", 1, task="t", exit_code=-9, reason="killed")])
    assert (killed.state, killed.exit_code, killed.reason, killed.ended) == ("failed", -9, "killed", 1001.0)
    assert fold([STARTED, event("reported", 1, task="t", exit_code=75)]).state == "stopped"
    assert fold([STARTED, event("reported", 1, task="t", exit_code=0)]).state == "done"


def test_a_task_knows_better_than_its_runner_how_it_ended() -> None:
    own = [STARTED, event("failed", 1, reason="ValueError: 3", exit_code=1)]
    assert fold([*own, event("reported", 2, exit_code=2, reason="make said 2")]).reason == "ValueError: 3"
    assert fold([*own, event("reported", 2, exit_code=2)]).exit_code == 1


def test_cancelling_leaves_tasks_alone_that_had_ended() -> None:
    assert fold([STARTED, event("cancelled", 1)]).state == "cancelled"
    assert fold([STARTED, event("finished", 1), event("cancelled", 2)]).state == "done"


def test_events_of_a_newer_version_change_nothing() -> None:
    assert fold([STARTED, event("hook_failed", 1, reason="x")]).state == "running"


# --- following -----------------------------------------------------------------------------------------------------


def append(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(text)


def poll(tail: EventTail) -> dict[str, list[str]]:
    """Poll as if the time that a listing has to wait were over."""
    tail._list_again_at = 0.0
    return {stem: [event["event"] for event in events] for stem, events in tail.poll().items()}


def test_a_tail_gives_each_event_once_and_finds_new_files(tmp_path: Path) -> None:
    tail = EventTail(tmp_path)
    assert poll(tail) == {}
    append(tmp_path / "events" / "a.1.jsonl", '{"event": "started"}\n{"event": "prog')
    assert poll(tail) == {"a.1": ["started"]}
    append(tmp_path / "events" / "a.1.jsonl", 'ress"}\n')
    append(tmp_path / "events" / "b.1.jsonl", '{"event": "started"}\n')
    assert poll(tail) == {"a.1": ["progress"], "b.1": ["started"]}
    assert poll(tail) == {}


def test_a_tail_looks_at_ended_tasks_only_in_the_last_look(tmp_path: Path) -> None:
    tail = EventTail(tmp_path)
    append(tmp_path / "events" / "a.1.jsonl", '{"event": "started"}\n{"event": "finished"}\n')
    assert poll(tail) == {"a.1": ["started", "finished"]}
    append(tmp_path / "events" / "a.1.jsonl", '{"event": "hook_failed"}\n')
    assert poll(tail) == {}
    assert [e["event"] for e in tail.poll(whole=True)["a.1"]] == ["hook_failed"]


def test_a_tail_survives_files_that_vanish(tmp_path: Path) -> None:
    tail = EventTail(tmp_path)
    append(tmp_path / "events" / "a.1.jsonl", '{"event": "started"}\n')
    poll(tail)
    (tmp_path / "events" / "a.1.jsonl").unlink()
    assert tail.poll(whole=True) == {}


def test_following_ten_thousand_ended_tasks_costs_next_to_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "events"
    folder.mkdir()
    for index in range(10_000):
        (folder / f"p.c.{index + 1}-of-10000.1.jsonl").write_text('{"event": "started"}\n{"event": "finished"}\n')
    tail = EventTail(tmp_path)
    assert len(tail.poll()) == 10_000
    started = time.thread_time()
    for _ in range(100):
        tail.poll()
    assert time.thread_time() - started < 0.25  # 25 s of polling at 4 a second


def test_a_remote_tail_reads_only_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    root = f"memory://tail-{os.getpid()}/run"
    by_uri.write_bytes(f"{root}/events/a.1.jsonl", b'{"event": "started"}\n')
    by_uri.write_bytes(f"{root}/events/submission.jsonl", b'{"event": "submitted", "task": "a"}\n')
    read: list[list[str]] = []
    original = by_uri.read_many

    def counted(uris: Any) -> dict[str, bytes]:
        read.append(sorted(uris))
        return original(read[-1])

    monkeypatch.setattr(by_uri, "read_many", counted)
    tail = RemoteEventTail(root)
    assert {stem: len(events) for stem, events in tail.poll().items()} == {"a.1": 1, "submission": 1}
    by_uri.write_bytes(f"{root}/events/a.1.jsonl", b'{"event": "started"}\n{"event": "finished"}\n')
    assert {stem: [e["event"] for e in events] for stem, events in tail.poll().items()} == {"a.1": ["finished"]}
    assert read[1] == [f"{root}/events/a.1.jsonl"]


# --- adding up -------------------------------------------------------------------------------------------------------


def board_of(**batch: list[dict[str, Any]]) -> TaskBoard:
    board = TaskBoard()
    board.update({stem.replace("__", "."): events for stem, events in batch.items()})
    return board


def test_the_last_attempt_of_a_task_counts() -> None:
    board = board_of(
        t__2=[event("started", 5, attempt=2)], t__1=[event("started"), event("failed", 1, reason="x", exit_code=1)]
    )
    assert (board.status("t").state, board.status("t").attempt) == ("running", 2)


def test_a_report_on_an_earlier_attempt_does_not_end_the_present_one() -> None:
    board = board_of(submission=[event("reported", 4, task="t", exit_code=-9)], t__2=[event("started", 5, attempt=2)])
    assert board.status("t").state == "running"
    board.update({"submission": [event("reported", 6, task="t", exit_code=-15)]})
    assert (board.status("t").state, board.status("t").exit_code) == ("failed", -15)


def test_an_item_counts_once_over_all_attempts() -> None:
    board = board_of(
        t__1=[event("started"), event("item", 1, item="a", state="done")],
        t__2=[event("started", 2, attempt=2), event("item", 3, item="a", state="skipped"), event("item", 4, item="b")],
    )
    assert board.items_done("t") == 2
    assert board.items_done("other") == 0


def test_a_cancelled_run_cancels_what_had_not_ended() -> None:
    board = board_of(
        a__1=[event("started"), event("finished", 1)], b__1=[event("started")], submission=[event("cancelled", 5)]
    )
    assert [board.status(task).state for task in ("a", "b", "c")] == ["done", "cancelled", "cancelled"]
    assert board.is_over()


def test_a_task_that_is_started_again_after_the_run_was_cancelled_runs() -> None:
    board = board_of(submission=[event("cancelled", 5)], a__2=[event("started", 9, attempt=2)])
    assert board.status("a").state == "running"


def test_an_unknown_task_is_waiting() -> None:
    assert TaskBoard().status("t") == TaskStatus("t")
