"""What a runner is: it is given a plan and sees to it that every task's process is started, in order.

A runner reports nothing about success: whether something is done is read from the manifests that the tasks write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from rv_core.errors import Finding
from rv_core.plan.graph import Plan
from rv_core.runner.capabilities import Capabilities
from rv_core.runner.context import RunContext

if TYPE_CHECKING:
    from rv_core.record.run_record import RunRecord
    from rv_core.runner.observation import Observation


class Runner:
    """Base of every runner.

    Args:
        settings: an instance of the dataclass named by `RunnerSpec.settings`, or None.
    """

    capabilities: ClassVar[Capabilities] = Capabilities()

    def __init__(self, settings: Any = None) -> None:
        self.settings = settings

    def run(self, plan: Plan, context: RunContext) -> None:
        """Start every task of the plan after all that its job requires, and wait unless the runner detaches.

        Raises:
            RunnerError: if the engine is missing or refuses.
        """
        raise NotImplementedError

    def preflight(self, plan: Plan, context: RunContext) -> Iterable[Finding]:
        """What would keep this plan from running here, found before anything is started."""
        return ()

    def render(self, plan: Plan, context: RunContext) -> str:
        """What the runner would hand to its engine, for `--dry-run`; "" if there is nothing to show."""
        return ""

    def split_index(self, environ: Mapping[str, str]) -> int | None:
        """The split index of this process where the engine, not the command line, tells it; else None."""
        return None

    def attempt(self, environ: Mapping[str, str]) -> int | None:
        """The number of this attempt, from 1, where the engine tells it; else None."""
        return None

    def observe(self, run: RunRecord) -> Mapping[str, Observation]:
        """Task id -> what the engine says of it. For runners that detach; raises what it cannot ask."""
        return {}

    def logs(self, run: RunRecord, task: str) -> Iterable[str]:
        """Log lines of a task that only the engine has."""
        return ()

    def cancel(self, run: RunRecord) -> None:
        """End a run, dependants first; calling it again does no harm."""
