"""Which share of which command a task is to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TaskRequest:
    """Which share of which command is to be done, and what was planned for it.

    Args:
        task: the task's id.
        command: the command's name.
        split_index, num_splits: the share.
        attempt: the number of this attempt, from 1.
        run_id: the run, or "" for a task that is run by hand.
        record: `items/<job>.json` of the command.
    """

    task: str
    command: str
    split_index: int
    num_splits: int
    attempt: int
    run_id: str
    record: Mapping[str, Any]
