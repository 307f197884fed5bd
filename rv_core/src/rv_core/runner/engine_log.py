"""What the engine of a runner has kept of a task that left no log of its own: it ended before it could open one."""

from __future__ import annotations

from rv_core.record.logs import clean_line
from rv_core.record.run_record import RunRecord
from rv_core.runner import loading


def engine_lines(record: RunRecord, task: str) -> list[str]:
    """The lines, safe to print.

    Raises:
        Exception: whatever the runner raises where its engine cannot be asked or has nothing.
    """
    return [clean_line(str(line)) for line in loading.runner_of(record).logs(record, task)]


def last_engine_lines(record: RunRecord, task: str, count: int) -> list[str]:
    """The last of them for a task that has failed; none where nothing can be learnt."""
    try:
        return engine_lines(record, task)[-count:]
    except Exception:  # noqa: BLE001 - no plugin, no credentials, nothing kept: there is nothing more to show
        return []
