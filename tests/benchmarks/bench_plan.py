"""Planning 10,000 items x 3 commands in 10,000 splits, and writing the Makefile of that plan."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from measurement import Report, main

from rv_core import Capabilities, Items, Pipeline, PipelineConfig, RunContext, Uri, command
from rv_core.config.classes import Config
from rv_core.plan.decisions import RunPlan, plan_run
from rv_core.plan.items import PipelineState
from rv_core.plan.manifests import DoneState
from rv_runner_local.runner import LocalRunner

NUM_ITEMS = 10_000


@dataclass(kw_only=True)
class Scene(Config):
    """One item with one input."""

    id: str
    uri: Uri


@dataclass(kw_only=True)
class ManyConfig(PipelineConfig):
    """Many items."""

    scenes: list[Scene] = field(default_factory=list)
    size_px: int = 64

    def build(self) -> Pipeline:
        return Many(self)


class Many(Pipeline):
    """Three commands over all items."""

    @command(items="scenes", reads=("size_px",))
    def chip(self, scenes: Items[Scene]) -> None: ...

    @command(items="scenes", requires=("chip",), reads=("size_px",))
    def predict(self, scenes: Items[Scene]) -> None: ...

    @command(items="scenes", requires=("predict",))
    def publish(self, scenes: Items[Scene]) -> None: ...


def cpu_s(work: Callable[[], object]) -> float:
    """Median CPU seconds of five calls."""
    costs = []
    for _ in range(5):
        before = time.process_time()
        work()
        costs.append(time.process_time() - before)
    return statistics.median(costs)


def run(report: Report) -> None:
    """Plan, then write."""
    scenes = [Scene(id=f"scene-{i:05}", uri=f"s3://bucket/scene-{i:05}.tif") for i in range(NUM_ITEMS)]
    config = ManyConfig(root_uri="s3://bucket/root", name="many", scenes=scenes)
    tokens = {scene.uri: f'"{scene.id}"-1024' for scene in scenes}

    def plan() -> RunPlan:
        return plan_run([PipelineState(config.build(), "many", DoneState(), tokens)], splits=NUM_ITEMS)

    planned = plan()
    context = RunContext(
        run_id="20260101-000000-abcdef",
        runner="local",
        capabilities=Capabilities(),
        config_uris={"many": "s3://bucket/out/.rv/runs/20260101-000000-abcdef/pipeline-config.json"},
        run_dir=Path("/tmp/run"),
    )
    assert len(planned.plan.tasks) == 3 * NUM_ITEMS
    report("plan 10,000 items x 3 commands in 10,000 splits", cpu_s(plan), 2.0, unit="s")
    report("write its Makefile", cpu_s(lambda: LocalRunner().render(planned.plan, context)), 3.0, unit="s")


if __name__ == "__main__":
    sys.exit(main(run))
