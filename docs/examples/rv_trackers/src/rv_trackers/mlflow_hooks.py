"""The hooks of the plugin `mlflow`: a run on the server or in the store of `MLFLOW_TRACKING_URI`, if that is set."""

from __future__ import annotations

import os
from collections.abc import Mapping

from rv_core import hookimpl

from rv_trackers.tracking import Sink, Tracker, Work

RV_HOOK_API_VERSION = 1
VARIABLE = "MLFLOW_TRACKING_URI"


def _open(work: Work) -> Sink:
    from rv_trackers.mlflow_sink import MlflowRun

    return MlflowRun(work)


_TRACKER = Tracker(_open)


@hookimpl
def rv_task_progress(root_uri: str, task: str, key: str, numbers: Mapping[str, float]) -> None:
    """Take what a training reports."""
    if os.environ.get(VARIABLE):
        _TRACKER.note(Work(root_uri, task, key), numbers)


@hookimpl
def rv_task_finished() -> None:
    """Write the rest, and that it ended well."""
    _TRACKER.finish(succeeded=True)


@hookimpl
def rv_task_failed() -> None:
    """Write the rest, and that it did not end well; where it goes on, it is running again."""
    _TRACKER.finish(succeeded=False)
