"""The `inprocess` runner: every task in order, in the process of `rv run` itself, so that a debugger works."""

from __future__ import annotations

from typing import ClassVar

from rv_core.plan.graph import Plan
from rv_core.runner.capabilities import Capabilities
from rv_core.runner.context import RunContext
from rv_core.runner.contract import Runner


class InProcessRunner(Runner):
    """Runs all tasks one after the other; the first failure ends the run unless it is told to keep going."""

    capabilities: ClassVar[Capabilities] = Capabilities(parallel=False, cancels=True, retries=False, in_process=True)

    def run(self, plan: Plan, context: RunContext) -> None:
        """Run the tasks in order; what requires a failed job is left out."""
        failed: set[str] = set()
        for job in plan.jobs:
            if failed & set(job.requires):
                failed.add(job.id)
                continue
            for task in job.tasks:
                if context.run_task(task) != 0:
                    failed.add(job.id)
                    if not context.keep_going:
                        return
