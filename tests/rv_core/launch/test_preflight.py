"""What is checked before a run where the modules that would open its inputs are not there."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rv_core import Capabilities, Finding, Pipeline, PipelineConfig, Plan, RunContext, Runner, command
from rv_core.launch.preflight import CheckRequest, all_findings, found_text, pipeline_findings
from rv_core.plan.decisions import RunPlan


@dataclass(kw_only=True)
class ReadingConfig(PipelineConfig):
    def build(self) -> ReadingPipeline:
        return ReadingPipeline(self)


class ReadingPipeline(Pipeline):
    requires_modules = ("module_of_another_machine",)
    deep_check = "nowhere:never_called"

    @command()
    def read(self) -> None:
        """Nothing."""


@dataclass(kw_only=True)
class AloneConfig(PipelineConfig):
    def build(self) -> AlonePipeline:
        return AlonePipeline(self)


class AlonePipeline(Pipeline):
    @command()
    def read(self) -> None:
        """Nothing."""

    def preflight(self, todo: Any) -> Any:
        return Finding("token", "is not set", "set it", kind="environment")


class AloneRunner(Runner):
    def preflight(self, plan: Plan, context: RunContext) -> Any:
        return Finding("queue", "is not there")


class _Forbidding:
    def find_spec(self, name: str, *_: Any) -> None:
        if name == "module_of_another_machine":
            raise ModuleNotFoundError(f"{name} is forbidden here", name=name)


@pytest.mark.parametrize("is_forbidden", [False, True], ids=["not installed", "forbidden by an import hook"])
def test_inputs_that_cannot_be_opened_here_are_skipped_and_said(
    monkeypatch: pytest.MonkeyPatch, *, is_forbidden: bool
) -> None:
    if is_forbidden:
        monkeypatch.setattr(sys, "meta_path", [_Forbidding(), *sys.meta_path])
    pipeline = ReadingPipeline(ReadingConfig(root_uri="s3://bucket/root"))
    (finding,) = pipeline_findings(CheckRequest(pipeline, {"read": ["all"]}, "", b"", (), ()))
    assert finding.severity == "skipped"
    assert finding.what == "the inputs were not opened: module_of_another_machine is not installed here"


def test_a_finding_alone_is_one_and_keeps_its_kind_beside_other_pipelines() -> None:
    pipeline = AlonePipeline(AloneConfig(root_uri="s3://bucket/root"))
    names = ("first", "second")
    found = all_findings(
        RunPlan(Plan(()), (), {}),
        dict.fromkeys(names, pipeline),
        dict.fromkeys(names, ""),
        AloneRunner(),
        RunContext("run-1", "far", config_uris={}, run_dir=Path("/tmp"), capabilities=Capabilities()),
        {name: {} for name in names},
    )
    assert found == [
        Finding("first: token", "is not set", "set it", kind="environment"),
        Finding("second: token", "is not set", "set it", kind="environment"),
        Finding("queue", "is not there"),
    ]


def test_what_was_found_is_said_also_where_nothing_stops_the_run() -> None:
    warning, skipped = Finding("a", "mind", severity="warning"), Finding("b", "no rasterio", severity="skipped")
    assert found_text([]) == "Nothing found"
    assert found_text([warning]) == "No errors, 1 warning"
    assert found_text([warning, warning, skipped]) == "No errors, 2 warnings in what could be checked"
    assert found_text([skipped]) == "Nothing found in what could be checked"
