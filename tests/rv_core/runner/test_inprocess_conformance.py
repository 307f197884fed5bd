"""The runner `inprocess` passes the conformance kit."""

from __future__ import annotations

from rv_core.testing import RunnerConformance


class TestInprocess(RunnerConformance):
    runner_name = "inprocess"
