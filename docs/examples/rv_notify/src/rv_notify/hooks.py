"""The lifecycle hooks. They are imported by every `rv` command, so they import rv_core and nothing else at the top."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rv_core import hookimpl

RV_HOOK_API_VERSION = 1


@hookimpl
def rv_run_finished(run_id: str, succeeded: bool, summary: Mapping[str, Any]) -> None:
    """Called once: by the `rv run` that waited for the run, else by the first `rv status` that sees its end."""
    from rv_notify.message import post

    post({"event": "run_finished", "run_id": run_id, "succeeded": succeeded, **summary})


@hookimpl
def rv_task_failed(run_id: str, task: str, attempt: int, reason: str) -> None:
    """Called in the task's own process."""
    from rv_notify.message import post

    post({"event": "task_failed", "run_id": run_id, "task": task, "attempt": attempt, "reason": reason})
