"""Sections of a report that plugins declare: called for the pipelines that they know, each inside an error boundary."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rv_core import api
from rv_core.cli.plugin_check import check_targets
from rv_core.cli.verbs import command_problem
from rv_core.hello import HelloConfig
from rv_core.launch.report_sections import ToldSections
from rv_core.plugins.installed import Plugins, load_plugins

if TYPE_CHECKING:
    from tests.plugin_fixtures import Site

pytest_plugins = ("tests.plugin_fixtures",)

HOOK = "@hookimpl\ndef rv_report_sections(): return [ReportSectionsSpec({name!r}, 'rv_told.told:{function}', {config!r})]\n"
TOLD = """
from rv_core import ReportSection, ReportText
def greetings(source):
    text = source.storage.read_text("gpu_task/summary.txt") if "gpu_task" in source.done else "not yet"
    return [ReportSection("Greetings", [ReportText(text.strip() + " from " + source.config.root_uri)])]
def wrong(source):
    return ["a text"]
def leaves(source):
    raise SystemExit("no")
def writes(source):
    source.storage.write_text("more.txt", "more")
NUMBER = 3
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = str(tmp_path_factory.mktemp("told") / "root")
    api.run(HelloConfig(root_uri=root, num_items=2), quiet=True)
    return root


@pytest.fixture
def told(own_site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ToldSections]:
    """`told(root, function, config)`: what a plugin of one function says of a root."""

    def told(root: str, function: str = "greetings", config: str = "*") -> ToldSections:
        own_site.install("rv-told", HOOK.format(name="told", function=function, config=config), files={"told.py": TOLD})
        plugins: Plugins = load_plugins({})
        monkeypatch.setattr("rv_core.launch.report_sections.plugin_manager", lambda: plugins)
        (found,) = api.report_sections(api.status(root))
        return found

    return told


@pytest.mark.parametrize("config", ["*", "hello"])
def test_a_section_is_made_of_what_lies_under_the_root(
    told: Callable[..., ToldSections], root: str, config: str
) -> None:
    found = told(root, config=config)
    assert found.problems == ()
    (section,) = found.sections
    assert section.title == "Greetings"
    assert section.parts[0].text == f"2 greetings, GPU: none from {root}"  # type: ignore[union-attr]


def test_sections_for_other_configs_are_not_asked_for(told: Callable[..., ToldSections], root: str) -> None:
    assert told(root, config="chip_classification").sections == ()


def test_a_root_that_was_moved_is_told_by_its_new_name(
    told: Callable[..., ToldSections], root: str, tmp_path: Path
) -> None:
    moved = shutil.copytree(root, tmp_path / "moved")
    assert told(str(moved)).sections[0].parts[0].text.endswith(str(moved))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        ("wrong", "TypeError: a str is in the list instead of a ReportSection"),
        ("leaves", "SystemExit: no"),
        ("writes", "who looks at results writes nothing, and this one wants to write 'more.txt'"),
        ("missing", "rv_told.told:missing, declared by plugin 'rv_told' (rv-told 1.0), cannot be imported"),
    ],
)
def test_what_cannot_be_made_is_a_problem_and_no_failure(
    told: Callable[..., ToldSections], root: str, function: str, problem: str
) -> None:
    found = told(root, function)
    assert found.sections == ()
    assert found.problems[0].startswith("the sections of told cannot be made: ")
    assert problem.partition(",")[0] in found.problems[0]
    assert not (Path(root) / "more.txt").exists()


def test_an_older_run_shows_no_results_of_a_newer_one(
    told: Callable[..., ToldSections], root: str, tmp_path: Path
) -> None:
    again = str(shutil.copytree(root, tmp_path / "again"))
    first = api.status(again).files.run_id
    api.run(HelloConfig(root_uri=again, num_items=3), quiet=True)
    told(root)
    (found,) = api.report_sections(api.status(again, first))
    assert found.sections == ()
    assert "a later run" in found.problems[0]


def test_a_declared_function_is_checked(own_site: Site) -> None:
    own_site.install("rv-told", HOOK.format(name="told", function="NUMBER", config="*"), files={"told.py": TOLD})
    (problem,) = check_targets(load_plugins({}), command_problem)
    assert str(problem).endswith("report sections told → rv_told.told:NUMBER: is not a function")


def test_a_config_that_is_no_text_makes_a_broken_plugin(own_site: Site) -> None:
    own_site.install("rv-told", "@hookimpl\ndef rv_report_sections(): return [ReportSectionsSpec('t', 'a.b:c', 3)]\n")
    (finding,) = load_plugins({}).findings()
    assert "the config of 't' is not a text" in finding.what
