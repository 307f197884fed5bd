"""`RunnerConformance`: everything that a runner has to do, as tests to inherit.

Every test is one rule, named by what has to hold; it runs the real command line in fresh processes. What a runner does
not claim (`rv_core.Capabilities`) is skipped by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from rv_core.testing.rules.failure import FailureRules, RetryRules
from rv_core.testing.rules.order import OrderRules
from rv_core.testing.rules.plugins import DeclarationRules, EndRules, LookingRules, SettingRules
from rv_core.testing.rules.resume import ResumeRules
from rv_core.testing.rules.stopping import CancelRules, SignalRules, WaitingRules
from rv_core.testing.rules.tasks import ArgumentRules, ReportRules, ResourceRules


class RunnerConformance(
    DeclarationRules,
    SettingRules,
    LookingRules,
    EndRules,
    OrderRules,
    ArgumentRules,
    ReportRules,
    FailureRules,
    RetryRules,
    ResourceRules,
    ResumeRules,
    CancelRules,
    WaitingRules,
    SignalRules,
):
    """Inherit it in a class named `Test…`, name the runner, and every rule is a test of that class.

    What a class attribute cannot say, a fixture of the same meaning can: redefine `rv_root_uri` (where roots are made;
    a fresh folder of this machine by default) or `rv_environ` (added to the environment of every command line) in the
    test module or in `conftest.py`, with a scope of `class` or wider.
    """

    #: The name of the runner, as in `rv run NAME`.
    runner_name: ClassVar[str] = ""
    #: Where roots are made; for a runner whose tasks run elsewhere a URI that they can reach, such as `s3://bucket/ci`.
    root_uri: ClassVar[str] = ""
    #: Added to the environment of every command line.
    environ: ClassVar[Mapping[str, str]] = {}
    #: The profile with the runner's settings; "" for an empty one.
    profile: ClassVar[str] = ""
    #: How long a single command line may take, in seconds.
    timeout_s: ClassVar[float] = 120.0
