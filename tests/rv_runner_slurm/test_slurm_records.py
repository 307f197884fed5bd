"""What Slurm's programs print becomes the same values, whatever the version."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rv_runner_slurm.job_records import (
    JobRecord,
    max_array_size,
    parse_partitions,
    parse_sacct,
    parse_squeue,
    seconds_of_limit,
)


def read(**job: Any) -> JobRecord:
    (record,) = parse_squeue(json.dumps({"jobs": [job]}))
    return record


# A record of Slurm 22.05, and the same job as later versions write it.
OLD = {
    "job_id": 19,
    "array_job_id": 16,
    "array_task_id": 0,
    "job_state": "FAILED",
    "state_reason": "NonZeroExitCode",
    "exit_code": 768,
    "restart_cnt": 1,
    "start_time": 1700000000,
    "end_time": 1700000060,
    "name": "rv-r1-p.chip",
    "comment": "rv /out",
    "user_name": "ada",
}
NEW = {
    **OLD,
    "array_job_id": {"set": True, "infinite": False, "number": 16},
    "array_task_id": {"set": True, "infinite": False, "number": 0},
    "job_state": ["FAILED"],
    "exit_code": {
        "status": ["ERROR"],
        "return_code": {"set": True, "infinite": False, "number": 3},
        "signal": {"id": {"set": False, "infinite": False, "number": 0}, "name": ""},
    },
    "start_time": {"set": True, "infinite": False, "number": 1700000000},
    "end_time": {"set": True, "infinite": False, "number": 1700000060},
}


@pytest.mark.parametrize("job", [OLD, NEW], ids=["22.05", "23.11"])
def test_a_failed_task_of_an_array(job: dict[str, Any]) -> None:
    expected = JobRecord(
        job_id="16",
        array_index=0,
        state="FAILED",
        reason="NonZeroExitCode",
        exit_code=3,
        restarts=1,
        started=1700000000.0,
        ended=1700000060.0,
        name="rv-r1-p.chip",
        comment="rv /out",
        user="ada",
    )
    assert read(**job) == expected


def test_a_plain_job_is_no_array_whatever_stands_in_its_array_fields() -> None:
    unset = {"set": False, "infinite": False, "number": 0}
    assert read(job_id=4, array_job_id=0, array_task_id=None, job_state="RUNNING").array_index is None
    record = read(job_id=4, array_job_id={"set": True, "number": 0}, array_task_id=unset, job_state=["RUNNING"])
    assert (record.job_id, record.array_index) == ("4", None)


def test_the_tasks_of_an_array_that_wait_are_one_record() -> None:
    record = read(job_id=16, array_job_id=16, array_task_id=None, array_task_string="2-3%2", job_state="PENDING")
    assert (record.job_id, record.array_index, record.is_over) == ("16", None, False)


@pytest.mark.parametrize(
    "exit_code",
    [
        9,
        {"return_code": {"set": False, "number": 0}, "signal": {"id": {"set": True, "number": 9}}},
        {"signal": {"signal_id": 9}},
    ],
    ids=["22.05", "23.11", "23.02"],
)
def test_a_signal_is_told_from_an_exit_code(exit_code: Any) -> None:
    record = read(job_id=1, job_state="FAILED", exit_code=exit_code)
    assert (record.exit_code, record.signal) == (0, 9)


def test_only_a_job_that_has_ended_has_an_exit_code() -> None:
    """One that was requeued still shows that of its last attempt, and a running one the end that is expected."""
    record = read(job_id=1, job_state="PENDING", exit_code=768, end_time=5, start_time=4)
    assert (record.exit_code, record.started, record.ended) == (None, 0.0, 0.0)
    assert read(job_id=1, job_state="RUNNING", exit_code=0, end_time=5).ended == 0.0


@pytest.mark.parametrize(
    ("states", "state"),
    [
        (["RUNNING", "COMPLETING"], "COMPLETING"),
        (["PENDING", "REQUEUED"], "REQUEUED"),
        ("COMPLETED", "COMPLETED"),
        ([], "UNKNOWN"),
    ],
)
def test_a_flag_beside_a_state_says_more_than_the_state(states: Any, state: str) -> None:
    assert read(job_id=1, job_state=states).state == state


@pytest.mark.parametrize("text", ["", "[]", '{"jobs": 3}', "slurm_load_jobs error", '{"errors": []}'])
def test_what_is_no_answer_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_squeue(text)


def test_accounting_is_read_without_steps_and_words_behind_states() -> None:
    text = """\
7|TIMEOUT|0:0|0
7.batch|CANCELLED|0:15|
8_3|CANCELLED by 1000|0:9|2
8_[4-9]|PENDING|0:0|0
9|FAILED|3:0|0
10|RUNNING|0:0|0
"""
    assert parse_sacct(text) == [
        JobRecord("7", None, "TIMEOUT", exit_code=0),
        JobRecord("8", 3, "CANCELLED", exit_code=0, signal=9, restarts=2),
        JobRecord("9", None, "FAILED", exit_code=3),
        JobRecord("10", None, "RUNNING"),
    ]


def test_configuration_and_partitions_are_read() -> None:
    config = "ClusterName             = local\nMaxArraySize            = 1001\nMaxDBDMsgs = 7\n"
    assert (max_array_size(config), max_array_size("nothing")) == (1001, None)
    lines = "PartitionName=cpu State=UP MaxTime=UNLIMITED\nPartitionName=gpu State=DRAIN MaxTime=1-00:00:00\n"
    found = parse_partitions(lines)
    assert [(name, p["State"]) for name, p in found.items()] == [("cpu", "UP"), ("gpu", "DRAIN")]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("UNLIMITED", None),
        ("", None),
        ("30:00", 1800.0),
        ("2:00:00", 7200.0),
        ("1-12:00:00", 129600.0),
        ("90", 90.0),
    ],
)
def test_time_limits(text: str, seconds: float | None) -> None:
    assert seconds_of_limit(text) == seconds
