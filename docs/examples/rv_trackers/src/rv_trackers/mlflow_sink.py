"""A run of MLflow, by its own library, which takes the server or store from `MLFLOW_TRACKING_URI`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

from rv_trackers.tracking import Work

#: By this tag a killed training finds its run again.
TAG = "rv.work"


class MlflowRun:
    """The run of a training, in the experiment `MLFLOW_EXPERIMENT_NAME` or "rv".

    Args:
        work: what is trained.
    """

    def __init__(self, work: Work) -> None:
        self._client = MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "rv")
        known = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name) if known is None else known.experiment_id
        runs = self._client.search_runs([experiment], f"tags.`{TAG}` = '{work.id}'")
        tags = {TAG: work.id, "rv.root_uri": work.root_uri}
        run = runs[0] if runs else self._client.create_run(experiment, run_name=work.task, tags=tags)
        self._run_id = run.info.run_id
        if runs:
            self._client.update_run(self._run_id, status="RUNNING")
        self.last_steps: Mapping[str, int] = {name: self._last_step(name) for name in run.data.metrics}

    def _last_step(self, name: str) -> int:
        return max(metric.step for metric in self._client.get_metric_history(self._run_id, name))

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Add a point to some curves."""
        now_ms = int(time.time() * 1000)
        self._client.log_batch(self._run_id, [Metric(name, value, now_ms, step) for name, value in numbers.items()])

    def close(self, *, succeeded: bool) -> None:
        """Say how the training ended."""
        self._client.set_terminated(self._run_id, "FINISHED" if succeeded else "FAILED")
