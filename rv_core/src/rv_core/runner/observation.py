"""What a runner's engine says of a task."""

from __future__ import annotations

from dataclasses import dataclass

from rv_core.record.events import TaskState


@dataclass(frozen=True)
class Observation:
    """What a runner's engine says of one task (see `Runner.observe`).

    Args:
        state: the task's state.
        reason: why, in words: what it waits for, or what ended it.
        exit_code: its exit code, where the engine knows it.
        attempt: which attempt the engine is at, from 1; 0 = it does not say.
        native_id: the engine's own id.
        started, ended: seconds since 1970; 0.0 = not known.
    """

    state: TaskState
    reason: str = ""
    exit_code: int | None = None
    attempt: int = 0
    native_id: str = ""
    started: float = 0.0
    ended: float = 0.0
