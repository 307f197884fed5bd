"""What stands out in a run: a rule each, by facts alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rv_report.advice import advice
from rv_report.run_facts import JobFacts, TaskFacts


def job(durations_s: Sequence[float], **facts: object) -> JobFacts:
    tasks = [
        TaskFacts(f"p.work.{i + 1}-of-{len(durations_s)}", "done", 100.0, 100.0 + took)
        for i, took in enumerate(durations_s)
    ]
    known = {"tasks": tuple(tasks), "num_tasks": len(tasks), "num_items": 9, "num_done": 9, "num_done_before": 0}
    return JobFacts(job="p.work", state="done", **{**known, **facts})  # type: ignore[arg-type]


def test_a_split_four_times_slower_than_the_rest_is_told() -> None:
    (text,) = advice([job([10, 11, 40, 10])])
    assert text.startswith("p.work.3-of-4 took 0:40, 4 times the median of the other tasks of p.work (0:10)")


@pytest.mark.parametrize("durations_s", [[10, 11, 39, 10], [0.1, 0.1, 0.9, 0.1], [1, 100], [5.0]])
def test_a_split_that_is_not_is_not_told(durations_s: list[float]) -> None:
    assert advice([job(durations_s)]) == []


def test_tasks_that_took_no_time_at_all_do_not_divide() -> None:
    assert "far more than the median" in advice([job([0, 0, 5, 0])])[0]


def test_items_in_one_long_task_may_be_shared_out() -> None:
    assert "--splits N" in advice([job([61.0])])[0]
    assert advice([job([61.0], num_done_before=8)]) == []
    assert advice([job([59.0])]) == []


def test_tasks_that_wait_are_told() -> None:
    waiting = tuple(TaskFacts(f"t{i}", "done", 0, 40, cpu_s=4.0) for i in range(2))
    assert advice([job([], tasks=waiting, num_tasks=2)])[0].startswith("the tasks of p.work used 10% of one core")
    busy = tuple(TaskFacts(f"t{i}", "done", 0, 40, cpu_s=40.0) for i in range(2))
    assert advice([job([], tasks=busy, num_tasks=2)]) == []


def test_memory_that_is_short_and_attempts_are_told() -> None:
    tasks = (TaskFacts("t", "done", 0, 5, max_rss_mib=950.0, attempt=3),)
    short, repeated = advice([job([], tasks=tasks, num_tasks=1, memory_mib=1000)])
    assert "needed 950 of the 1,000 MiB" in short
    assert repeated.startswith("1 task of p.work needed more than one attempt, up to 3")
