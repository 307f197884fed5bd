"""The shipped runners pass the conformance kit; `nox -s conformance` runs all of it."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from rv_core.testing import RunnerConformance


class TestInprocess(RunnerConformance):
    runner_name = "inprocess"


@pytest.mark.skipif(find_spec("rv_runner_local") is None, reason="rv-runner-local is not installed")
class TestLocal(RunnerConformance):
    runner_name = "local"
