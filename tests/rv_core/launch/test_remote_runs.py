"""What the core does for runners whose tasks run elsewhere, and that go on without `rv run`."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rv_core.config.classes import Config, Uri
from rv_core.errors import EXIT_ENVIRONMENT, EXIT_USAGE, CheckError, Finding, PluginError, StorageError
from rv_core.hello import HelloConfig
from rv_core.launch import preflight
from rv_core.launch.execute import is_running
from rv_core.machine.process_table import host_name, process_started
from rv_core.pipeline.pipeline import PipelineConfig
from rv_core.plan.graph import Job, Plan, Resources, make_tasks
from rv_core.record import layout
from rv_core.record.marker import Marker, is_stale
from rv_core.runner.capabilities import Capabilities
from rv_core.runner.context import RunContext
from rv_core.runner.contract import Runner
from rv_core.user_code.configs import LoadedModule

FAR = Capabilities(is_remote=True, detaches=True)


@dataclass(kw_only=True)
class PlaceConfig(Config):
    uris: list[Uri]


@dataclass(kw_only=True)
class PlacesConfig(PipelineConfig):
    places: list[PlaceConfig] = field(default_factory=list)
    weights: Uri | None = None


def job(splits: int) -> Job:
    return Job("p.chip", "p", "chip", make_tasks("p.chip", splits), (), Resources())


def context(**more: Any) -> RunContext:
    defaults = {"config_uris": {"p": "s3://b/config.json"}, "run_dir": Path("/tmp"), "capabilities": FAR}
    return RunContext("run-1", "far", **{**defaults, **more})


def test_every_local_uri_is_named_with_its_place_and_no_other() -> None:
    config = PlacesConfig(
        root_uri="/out", places=[PlaceConfig(uris=["s3://b/a", "/d/b.tif"])], weights="file:///d/w.pth"
    )
    found = preflight.unreachable_findings({"p": config}, LoadedModule([config]))
    assert {(finding.where, finding.what) for finding in found} == {
        ("p.root_uri", "/out is a folder of this machine"),
        ("p.places[0].uris[1]", "/d/b.tif is a file of this machine"),
        ("p.weights", "file:///d/w.pth is a file of this machine"),
    }


def test_a_local_root_is_no_business_of_a_remote_runner_beyond_that() -> None:
    assert preflight.root_findings({"p": "/no/such/folder/x"}, in_process=False, is_remote=True) == []
    nested = {"p": "s3://b/r", "q": "s3://b/r/q"}
    assert len(preflight.root_findings(nested, in_process=False, is_remote=True)) == 1


@pytest.mark.parametrize(
    ("kinds", "code"), [(("config", "environment"), EXIT_USAGE), (("environment", "environment"), EXIT_ENVIRONMENT)]
)
def test_the_exit_code_tells_a_wrong_config_from_a_wrong_environment(kinds: tuple[Any, ...], code: int) -> None:
    with pytest.raises(CheckError) as caught:
        preflight.raise_if_wrong([Finding("x", "y", kind=kind) for kind in kinds])
    assert caught.value.exit_code == code


class Complaining(Runner):
    capabilities = FAR

    def __init__(self, *findings: Finding) -> None:
        super().__init__()
        self.findings = findings

    def preflight(self, plan: Plan, context: RunContext) -> tuple[Finding, ...]:
        assert plan.jobs == ()
        return self.findings


@pytest.mark.parametrize(
    ("own", "num_findings"),
    [
        ([Finding("a queue", "is missing")], 2),
        ([Finding("AWS", "no credentials", kind="environment")], 1),
        ([Finding("p.root_uri", "cannot be written to")], 1),
    ],
)
def test_what_a_runner_finds_is_told_even_if_nothing_can_be_planned(own: list[Finding], num_findings: int) -> None:
    error = StorageError("cannot list", where="s3://b/r", why="denied")
    found = preflight.findings_without_plan(Complaining(*own), context(), error)
    assert len(found) == num_findings
    assert found[: len(own)] == own


def test_other_machines_get_no_profile_of_this_user() -> None:
    words = context(profile="work", verbosity=1).argv(job(3))
    assert words == ["rv", "run-command", "s3://b/config.json", "chip", "--runner", "far", "--num-splits", "3", "-v"]
    here = context(profile="work", capabilities=Capabilities()).argv(job(1))
    assert here[-2:] == ["--profile", "work"]


def test_an_array_is_one_entry_of_the_record_and_a_single_task_has_its_name_too() -> None:
    entries: list[dict[str, Any]] = []
    reporting = context(on_report=lambda entry: entries.append(dict(entry)))
    reporting.report(job(3), event="submitted", native_id="1")
    reporting.report(job(1), event="submitted", native_id="2")
    reporting.report("p.chip+join-1", event="submitted", native_id="3")
    reporting.report(job(3).tasks[0], exit_code=1, reason="why")
    assert entries == [
        {"event": "submitted", "job": "p.chip", "native_id": "1"},
        {"event": "submitted", "job": "p.chip", "task": "p.chip", "native_id": "2"},
        {"event": "submitted", "job": "p.chip+join-1", "native_id": "3"},
        {"event": "reported", "task": "p.chip.1-of-3", "exit_code": 1, "reason": "why"},
    ]


def test_a_run_whose_submitting_process_is_alive_is_never_stale() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        started = str(process_started(process.pid))
        marker = Marker("r", "far", host_name(), process.pid, started, layout.utc_now(), detached=True)
        assert not is_stale(marker, lambda _: False)
        assert is_stale(marker._replace(host="elsewhere"), lambda _: False)
        assert not is_stale(marker._replace(host="elsewhere"), lambda _: True)
    finally:
        process.kill()
        process.wait()
    assert is_stale(marker, lambda _: False)
    assert is_stale(marker._replace(pid=os.getpid()), lambda _: False), "this process waits for nobody"


def test_a_marker_whose_record_is_not_there_yet_counts_for_a_minute(tmp_path: Path) -> None:
    marker = Marker("20261123-121500-3fa9c1", "far", "elsewhere", 1, "", layout.utc_now(), detached=True)
    assert is_running(str(tmp_path), marker)
    assert not is_running(str(tmp_path), marker._replace(created="2026-01-01T00:00:00Z"))


def test_hello_has_no_local_uri_beyond_its_root() -> None:
    config = HelloConfig(root_uri="s3://b/r")
    assert preflight.unreachable_findings({"hello": config}, LoadedModule([config])) == []
    missing = LoadedModule([config], source="experiment.py", siblings=("layers",))
    (finding,) = preflight.unreachable_findings({"hello": config}, missing)
    assert str(finding).startswith("experiment.py: imports layers from its folder")


def test_an_unknown_runner_is_an_error_of_the_image_only_where_it_tells_the_split(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from rv_core.task.process import Invocation, _runner_of

    monkeypatch.delenv("RV_RUN_DIR", raising=False)
    with pytest.raises(PluginError, match="the runner 'far' is not installed here"):
        _runner_of(Invocation("s3://b/c.json", "chip", None, 3, "far"))
    assert _runner_of(Invocation("s3://b/c.json", "chip", 1, 3, "far")) is None
    assert _runner_of(Invocation("s3://b/c.json", "chip", None, 1, "far")) is None
