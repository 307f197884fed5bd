"""The hooks of the plugin `tensorboard`: curves in a folder below `RV_TENSORBOARD_DIR`, if that is set."""

from __future__ import annotations

import os
from collections.abc import Mapping

from rv_core import hookimpl

from rv_trackers.tracking import Sink, Tracker, Work

RV_HOOK_API_VERSION = 1
VARIABLE = "RV_TENSORBOARD_DIR"


def _open(work: Work) -> Sink:
    from rv_trackers.tensorboard_sink import EventFiles

    return EventFiles(os.path.join(os.environ[VARIABLE], work.id))


_TRACKER = Tracker(_open)


@hookimpl
def rv_task_progress(root_uri: str, task: str, key: str, numbers: Mapping[str, float]) -> None:
    """Take what a training reports."""
    if os.environ.get(VARIABLE):
        _TRACKER.note(Work(root_uri, task, key), numbers)


@hookimpl
def rv_task_finished() -> None:
    """Write the rest."""
    _TRACKER.finish(succeeded=True)


@hookimpl
def rv_task_failed() -> None:
    """Write the rest; a training that was stopped goes on in another task."""
    _TRACKER.finish(succeeded=False)
