"""The runner `local` passes the conformance kit."""

from __future__ import annotations

from rv_core.testing import RunnerConformance


class TestLocal(RunnerConformance):
    runner_name = "local"
