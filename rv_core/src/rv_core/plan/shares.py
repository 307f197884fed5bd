"""How items are shared among tasks, and the ids of those; what every task needs of the plan."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

#: The item of a command that has no items.
WHOLE = "all"
_SPLIT = re.compile(r"\.(\d+)-of-(\d+)\Z")


def split_shares(items: Sequence[Any], num_splits: int, group_of: Callable[[Any], str]) -> list[list[Any]]:
    """Contiguous, balanced shares: sizes differ by at most one, in every group and in all.

    Each group is cut on its own (so that 50 training and 25 validation scenes in 5 splits are 10 + 5 each); the shares
    that get one more rotate from group to group.
    """
    groups: dict[str, list[Any]] = {}
    for item in items:
        groups.setdefault(group_of(item), []).append(item)
    shares: list[list[Any]] = [[] for _ in range(num_splits)]
    offset = 0
    for members in groups.values():
        size, larger = divmod(len(members), num_splits)
        start = 0
        for index in range(num_splits):
            end = start + size + (1 if (index - offset) % num_splits < larger else 0)
            shares[index].extend(members[start:end])
            start = end
        offset = (offset + larger) % num_splits
    return shares


def task_id(job_id: str, split_index: int, num_splits: int) -> str:
    """The id of a task: `pipe1.chip.3-of-5`, or the job's own where the job is a single task."""
    return job_id if num_splits == 1 else f"{job_id}.{split_index + 1}-of-{num_splits}"


def job_of(task: str) -> str:
    """The id of the job that a task belongs to: `pipe1.chip` of `pipe1.chip.3-of-5`."""
    return _SPLIT.sub("", task)


def split_text(task: str) -> str:
    """Which split a task is, from 1: `split 3 of 5`; "" for a job of a single task."""
    match = _SPLIT.search(task)
    return f"split {match[1]} of {match[2]}" if match else ""


def natural_order(task: str) -> tuple[str, int]:
    """A sort key that puts split 2 before split 10."""
    match = _SPLIT.search(task)
    return (_SPLIT.sub("", task), int(match[1]) if match else 0)
