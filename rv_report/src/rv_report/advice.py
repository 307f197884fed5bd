"""What stands out in a run and what to do about it: a rule for each, from facts alone."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence

from rv_core.wording import count_text, duration_text
from rv_report.run_facts import JobFacts

#: A split is slow where it took so many times the median of the others, and at least so long.
SLOW_FACTOR, SLOW_AT_LEAST_S = 4.0, 1.0
#: Tasks that take longer than this altogether and use less than this share of a core wait for something.
_WAITING_AT_LEAST_S, _WAITING_SHARE = 60.0, 0.25
#: From this share of what was asked for memory is short.
_MEMORY_SHARE = 0.9
#: A job of several items in one task may be split where it takes at least this long.
_WORTH_SPLITTING_S = 60.0


def advice(jobs: Sequence[JobFacts]) -> list[str]:
    """What stands out, a sentence each, in the order of the jobs."""
    return [text for job in jobs for rule in _RULES for text in rule(job)]


def _slow_split(job: JobFacts) -> Iterator[str]:
    done = [task for task in job.tasks if task.state == "done"]
    if len(done) < 3:
        return
    slowest = max(done, key=lambda task: task.duration_s)
    others = statistics.median(task.duration_s for task in done if task is not slowest)
    if slowest.duration_s < SLOW_AT_LEAST_S or slowest.duration_s < SLOW_FACTOR * others:
        return
    factor = f"{slowest.duration_s / others:.0f} times" if others > 0 else "far more than"
    yield (
        f"{slowest.task} took {duration_text(slowest.duration_s)}, {factor} the median of the other tasks of {job.job} "
        f"({duration_text(others)}): it holds one large item, or its machine was busy. More splits let the others "
        "finish while it goes on; an item cannot be split further."
    )


def _could_be_split(job: JobFacts) -> Iterator[str]:
    num_items = job.num_done - job.num_done_before
    if job.num_tasks == 1 and num_items > 1 and job.elapsed_s >= _WORTH_SPLITTING_S:
        yield (
            f"{job.job} worked through {count_text(num_items, 'item')} in one task of {duration_text(job.elapsed_s)}: "
            "--splits N shares them out."
        )


def _waited(job: JobFacts) -> Iterator[str]:
    known = [task for task in job.tasks if task.cpu_s and task.state == "done"]
    took = sum(task.duration_s for task in known)
    used = sum(task.cpu_s for task in known)
    if took >= _WAITING_AT_LEAST_S and used < _WAITING_SHARE * took:
        yield (
            f"the tasks of {job.job} used {used / took:.0%} of one core: they waited for files, a GPU or other "
            "processes. Inputs nearer to the machine, or fewer tasks at once (--jobs), may help."
        )


def _memory_is_short(job: JobFacts) -> Iterator[str]:
    if job.memory_mib and job.peak_mib >= _MEMORY_SHARE * job.memory_mib:
        yield (
            f"a task of {job.job} needed {job.peak_mib:,.0f} of the {job.memory_mib:,.0f} MiB that its command asks for: "
            "ask for more memory_mib before a larger item ends it."
        )


def _was_repeated(job: JobFacts) -> Iterator[str]:
    repeated = [task for task in job.tasks if task.attempt > 1]
    if repeated:
        most = max(task.attempt for task in repeated)
        yield (
            f"{count_text(len(repeated), 'task')} of {job.job} needed more than one attempt, up to {most}: the logs of "
            "the first ones tell why."
        )


_RULES: tuple[Callable[[JobFacts], Iterator[str]], ...] = (
    _slow_split,
    _could_be_split,
    _waited,
    _memory_is_short,
    _was_repeated,
)
