"""What `pytest --rv-runner NAME` collects: every rule, for the runner of that name."""

from __future__ import annotations

from rv_core.testing.conformance import RunnerConformance


class TestRunner(RunnerConformance):
    """Every rule of the conformance kit."""
