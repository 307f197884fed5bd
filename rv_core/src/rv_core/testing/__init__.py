"""Conformance kits for those who write a runner, a pipeline or a store; installed with `rv-core[testing]`.

A runner: `pytest --rv-runner NAME`, or a test class of your own that inherits every rule:

    from rv_core.testing import RunnerConformance

    class TestMine(RunnerConformance):
        runner_name = "mine"

A pipeline: inherit `PipelineConformance` and say how a small config is made.

A store: `pytest --rv-store SCHEME --rv-store-uri URI`, or inherit `StoreConformance` and name a folder of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rv_core.testing.conformance import RunnerConformance as RunnerConformance
    from rv_core.testing.pipeline_conformance import PipelineConformance as PipelineConformance
    from rv_core.testing.store_conformance import StoreConformance as StoreConformance
    from rv_core.testing.workbench import Workbench as Workbench

_HOME_OF = {
    "PipelineConformance": "pipeline_conformance",
    "RunnerConformance": "conformance",
    "StoreConformance": "store_conformance",
    "Workbench": "workbench",
}

__all__ = ["PipelineConformance", "RunnerConformance", "StoreConformance", "Workbench"]


def __getattr__(name: str) -> Any:
    # pytest imports this package wherever rv-core is installed; the kits cost only those who use them.
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
