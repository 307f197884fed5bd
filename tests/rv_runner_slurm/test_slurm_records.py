"""What Slurm's programs print becomes values."""

from __future__ import annotations

from typing import Any

import pytest

from rv_runner_slurm.job_records import (
    JobRecord,
    parse_max_array_size,
    parse_nodes,
    parse_partitions,
    parse_sacct,
    parse_squeue,
    parse_submitted,
    seconds_of_limit,
)


def read(
    job: str = "16",
    index: str = "N/A",
    state: str = "RUNNING",
    reason: str = "None",
    status: str = "0",
    restarts: str = "0",
    started: str = "N/A",
    ended: str = "N/A",
    name: str = "rv-r1-p.chip",
    comment: str = "rv /out",
) -> JobRecord:
    columns = (job, index, state, reason, status, restarts, started, ended, name, comment)
    (record,) = parse_squeue("".join(f"{column:<20}|" for column in columns) + "\n")
    return record


def test_a_failed_task_of_an_array() -> None:
    found = read(
        index="0", state="FAILED", reason="NonZeroExitCode", status="768", restarts="1", started="1700", ended="1760"
    )
    assert found == JobRecord(
        job_id="16",
        array_index=0,
        state="FAILED",
        reason="NonZeroExitCode",
        exit_code=3,
        restarts=1,
        started=1700.0,
        ended=1760.0,
        name="rv-r1-p.chip",
        comment="rv /out",
    )


def test_a_plain_job_has_no_index() -> None:
    assert read(index="N/A").array_index is None


@pytest.mark.parametrize("indices", ["2-3%2", "0-3", "1,5,7-9", "0-200:2,..."])
def test_the_tasks_of_an_array_that_wait_are_one_record(indices: str) -> None:
    record = read(index=indices, state="PENDING", reason="Resources")
    assert (record.job_id, record.array_index, record.is_over) == ("16", None, False)


def test_a_signal_is_told_from_an_exit_code() -> None:
    record = read(state="FAILED", status="9")
    assert (record.exit_code, record.signal) == (0, 9)


def test_only_a_job_that_has_ended_has_an_exit_code() -> None:
    """One that was requeued still shows that of its last attempt, and a running one the end that is expected."""
    waiting = read(state="PENDING", status="768", started="4", ended="5")
    assert (waiting.exit_code, waiting.started, waiting.ended) == (None, 0.0, 0.0)
    running = read(state="RUNNING", started="4", ended="5")
    assert (running.started, running.ended) == (4.0, 0.0)


@pytest.mark.parametrize("comment", ["rv /data/a|b", "rv /données/été", "rv /with  blanks", ""])
def test_a_comment_may_hold_anything(comment: str) -> None:
    assert read(comment=comment).comment == comment


@pytest.mark.parametrize("text", ["", "\n", "slurm_load_jobs error: Unexpected message received\n", "a|b|c\n"])
def test_lines_that_are_no_jobs_are_passed_over(text: str) -> None:
    assert parse_squeue(text) == []


BANNER = "Welcome to the supercomputer\n\n  -- 3 nodes are down\n"


@pytest.mark.parametrize("text", ["17\n", "17;cluster\n", f"{BANNER}17\n", f"17\n{BANNER}", f"{BANNER}17;c\nBye 18\n"])
def test_the_id_of_a_job_is_found_among_what_a_site_prints(text: str) -> None:
    assert parse_submitted(text) == "17"


@pytest.mark.parametrize("text", ["", BANNER, "17\n18\n", "Submitted batch job 17\n", "\u0661\n"])
def test_what_may_be_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="of the lines that it printed is one"):
        parse_submitted(text)


def test_accounting_is_read_without_steps_and_words_behind_states() -> None:
    text = """\
7|TIMEOUT|0:0|rv-r1-p.chip
7.batch|CANCELLED|0:15|batch
8_3|CANCELLED by 1000|0:9|rv-r1-p.train
8_[4-9]|PENDING|0:0|rv-r1-p.train
9|FAILED|3:0|a|b
10|RUNNING|0:0|
"""
    assert parse_sacct(text) == [
        JobRecord("7", None, "TIMEOUT", exit_code=0, name="rv-r1-p.chip"),
        JobRecord("8", 3, "CANCELLED", exit_code=0, signal=9, name="rv-r1-p.train"),
        JobRecord("9", None, "FAILED", exit_code=3, name="a|b"),
        JobRecord("10", None, "RUNNING"),
    ]


def test_configuration_and_partitions_are_read() -> None:
    config = "ClusterName             = local\nMaxArraySize            = 1001\nMaxDBDMsgs = 7\n"
    assert (parse_max_array_size(config), parse_max_array_size("nothing")) == (1001, None)
    lines = "PartitionName=cpu State=UP MaxTime=UNLIMITED\nPartitionName=gpu State=DRAIN MaxTime=1-00:00:00\n"
    found = parse_partitions(lines)
    assert [(name, p["State"]) for name, p in found.items()] == [("cpu", "UP"), ("gpu", "DRAIN")]


def test_nodes_are_read_with_their_gpus() -> None:
    text = "cpu*|64|256000+|(null)|x\ncpu*|64|256000|(null)\ngpu|32|512000|gpu:a100:4(S:0-1),gpu:v100:2,shard:8\n"
    cpu, gpu = parse_nodes(text)
    assert (cpu.partition, cpu.is_default, cpu.cpus, cpu.memory_mib, cpu.gpus) == ("cpu", True, 64, 256000, {})
    assert (gpu.partition, gpu.is_default, gpu.gpus) == ("gpu", False, {"a100": 4, "v100": 2})


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        ({"gpus": 3}, True),
        ({"gpus": 3, "gpu_type": "a100"}, False),
        ({"gpus": 2, "gpu_type": "a100"}, True),
        ({"gpus": 1, "gpu_type": "h100"}, False),
        ({"cpus": 9}, False),
        ({"memory_mib": 1001}, False),
        ({}, True),
    ],
)
def test_what_a_node_is_large_enough_for(asked: dict[str, Any], fits: bool) -> None:
    (node,) = parse_nodes("gpu|8|1000|gpu:a100:2,gpu:1\n")
    assert node.has(**{"cpus": 1, "memory_mib": 0, "gpus": 0, "gpu_type": "", **asked}) == fits


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
