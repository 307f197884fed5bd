"""The module that the conformance kit runs: `rv run NAME rv_core.testing.probes -a probe survey -a root_uri ROOT`."""

from __future__ import annotations

from collections.abc import Mapping

from rv_core.testing.probe_pipelines.base import ProbeConfig
from rv_core.testing.probe_pipelines.failing import FaultConfig, RetriedFaultConfig
from rv_core.testing.probe_pipelines.lasting import HoldConfig, SlowConfig
from rv_core.testing.probe_pipelines.meeting import AloneConfig, MeetConfig
from rv_core.testing.probe_pipelines.seeing import SurveyConfig

PROBES: Mapping[str, type[ProbeConfig]] = {
    "alone": AloneConfig,
    "fault": FaultConfig,
    "hold": HoldConfig,
    "meet": MeetConfig,
    "retried-fault": RetriedFaultConfig,
    "slow": SlowConfig,
    "survey": SurveyConfig,
}


def get_configs(runner: str, root_uri: str, probe: str, pipelines: int = 1) -> list[ProbeConfig]:
    """The configs of a probe; its fields are given with `--set`.

    Args:
        runner: the runner's name; not used, the plan must be the same for all.
        root_uri: the root; with several pipelines the folder of their roots.
        probe: a key of `PROBES`.
        pipelines: how many pipelines there are in the plan, named probe-1, probe-2 and so on.
    """
    cls = PROBES[probe]
    if pipelines == 1:
        return [cls(root_uri=root_uri, name="probe")]
    names = [f"probe-{n}" for n in range(1, pipelines + 1)]
    if cls is SurveyConfig:  # each with work of its own: what is equal would be done once
        return [SurveyConfig(root_uri=f"{root_uri}/{name}", name=name, text=name) for name in names]
    return [cls(root_uri=f"{root_uri}/{name}", name=name) for name in names]
