"""Telling plugins of the end of a run that nobody waited for: once, from the machine that first sees it."""

from __future__ import annotations

import json
from collections.abc import Callable

from rv_core.errors import StorageError
from rv_core.files import by_uri, uris
from rv_core.machine.process_table import host_name
from rv_core.plugins.installed import plugin_manager
from rv_core.plugins.records import HookFailure
from rv_core.record import layout
from rv_core.record.layout import RunPaths
from rv_core.status.values import RunStatus

_HOOK = "rv_run_finished"
#: Who told of the end, under the folder of the run; written once, whoever comes later finds it.
_NOTE = "end-told.json"
_OVER = ("done", "failed", "cancelled", "stopped", "lost")


def tell_of_end(status: RunStatus, on_failure: Callable[[HookFailure], None]) -> None:
    """Call `rv_run_finished` where a run that was left to its engine is over and nobody has told of that yet.

    Args:
        status: what was seen of the run.
        on_failure: told of hooks that raise or take too long.
    """
    record = status.files.record
    if not record.capabilities.get("detaches") or status.state not in _OVER:
        return
    plugins = plugin_manager()
    # Whoever has no plugin for it leaves the telling to others.
    if not plugins.implements(_HOOK) or not is_first_to_tell(status.files.all_paths()[0]):
        return
    tasks = [task for job in status.jobs for task in job.tasks]
    failed = [task.task for task in status.failed_tasks()]
    summary = {
        "done": sum(job.items_done - job.items_done_before for job in status.jobs if job.tasks),
        "failed": len(failed),
        "tasks": len(tasks),
        "duration_s": round(max(0.0, status.ended - status.started), 1),
        "failed_tasks": failed,
    }
    for failure in plugins.call(_HOOK, run_id=record.run_id, succeeded=status.state == "done", summary=summary):
        on_failure(failure)


def is_first_to_tell(paths: RunPaths) -> bool:
    """Whether this process is the one to tell of the end of a run; True once, for one process on all machines."""
    text = json.dumps({"host": host_name(), "time": layout.utc_now()}) + "\n"
    try:
        return by_uri.write_once(uris.join(paths.folder, _NOTE), text.encode())
    except StorageError:
        return False  # who may only look on tells nobody
