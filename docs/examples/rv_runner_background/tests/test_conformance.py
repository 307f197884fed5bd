"""Everything that a runner has to do, run against this one; `pytest -k resume` runs the rules with that word."""

from __future__ import annotations

from rv_core.testing import RunnerConformance


class TestBackground(RunnerConformance):
    """Every rule of the conformance kit."""

    runner_name = "background"
