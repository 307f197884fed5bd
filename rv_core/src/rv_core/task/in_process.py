"""Tasks in the process of `rv run` itself, for the runner `inprocess`."""

from __future__ import annotations

import copy
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rv_core.errors import EXIT_INTERRUPTED, EXIT_STOPPED
from rv_core.machine.shutdown import Interrupted
from rv_core.pipeline.pipeline import TaskStopped
from rv_core.plan.graph import Task
from rv_core.plan.manifests import requirement_error, unmet_requirements
from rv_core.task.inputs import TaskRequest
from rv_core.task.log import opened_record, teed_to
from rv_core.task.running import StopSignal, execute, gpu_lease, reported

if TYPE_CHECKING:
    from rv_core.pipeline.pipeline import Pipeline
    from rv_core.plan.decisions import RunPlan
    from rv_core.record.event_writer import EventWriter
    from rv_core.record.layout import RunPaths


class InProcessTasks:
    """Runs a task with the pipeline objects of this process: the callable behind `RunContext.run_in_process`.

    Args:
        plan: the run's plan.
        pipelines: the built pipelines, by name.
        paths: the run's paths, by pipeline.
        environ: variables that the tasks see besides; those with "" are left as they are.
        task_hooks: whether plugins want to hear of tasks.
    """

    def __init__(
        self,
        plan: RunPlan,
        pipelines: Mapping[str, Pipeline],
        paths: Mapping[str, RunPaths],
        environ: Mapping[str, str],
        *,
        task_hooks: bool,
    ) -> None:
        self._plan = plan
        self._pipelines = pipelines
        self._paths = paths
        self._environ = {name: value for name, value in environ.items() if value}
        self._records = {c.job: {**c.record(), "task_hooks": task_hooks} for c in plan.commands}

    def __call__(self, task: Task) -> int:
        """Run one task; its exit code.

        Raises:
            Interrupted: if INT or TERM arrived; what was done stays done.
        """
        pipeline_name, command = task.job.rsplit(".", 1)
        paths = self._paths[pipeline_name]
        stop = StopSignal()
        before = signal.signal(signal.SIGTERM, stop.arrived)
        try:
            with (
                environment(self._environ),
                opened_record(paths, task.id, 1) as (events, attempt, log_path),
                teed_to(log_path),
            ):
                request = TaskRequest(
                    task=task.id,
                    command=command,
                    split_index=task.split_index,
                    num_splits=task.num_splits,
                    attempt=attempt,
                    run_id=paths.run_id,
                    record=self._records[task.job],
                    root_uri=paths.root_uri,
                )
                code = reported(
                    request,
                    events,
                    lambda: self._execute(request, pipeline_name, events, stop),
                    cpu_before_s=time.process_time(),
                )
        except TaskStopped:  # before there was a task that could be reported
            code = EXIT_STOPPED
        finally:
            signal.signal(signal.SIGTERM, before)
        if code == EXIT_STOPPED or stop.has_arrived:  # also behind the command: it is not the task alone that is to end
            raise Interrupted(signal.SIGTERM)
        if code == EXIT_INTERRUPTED:
            raise Interrupted(signal.SIGINT)
        return code

    def _execute(self, request: TaskRequest, pipeline_name: str, events: EventWriter, stop: StopSignal) -> None:
        record = request.record
        problems = unmet_requirements(self._paths[pipeline_name].root_uri, record, lambda job: self._records[job])
        if problems:
            raise requirement_error(record["command"], problems)
        with gpu_lease(record["resources"]["gpus"]):
            # Of its own, as in a process of its own: what a task changes in itself or in an item reaches no other.
            config = copy.deepcopy(self._pipelines[pipeline_name].config)
            execute(
                config.build(),
                request,
                events,
                stop,
                timeout_s=record["resources"]["timeout_s"],
            )


@contextmanager
def environment(added: Mapping[str, str]) -> Iterator[None]:
    """This process with some more variables."""
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
