"""The conformance kit for pipelines finds what is wrong with pipelines that are wrong on purpose."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from tests.contracts.kit_runs import run_kit

_TEXT = """
from rv_core.testing import PipelineConformance
from wrong_plugins.pipelines import NamesConfig

class Kit(PipelineConformance):
    changed_fields = {"greeting": "good morning"}

    def make_config(self, root_uri):
        return NamesConfig(root_uri=root_uri, pipeline=self.pipeline)
"""
#: Pipeline -> (the rule that it breaks, what the failure has to say).
WRONG: Mapping[str, tuple[str, str]] = {
    "WritesPastStorage": ("test_every_output_is_recorded", "past self.storage"),
    "WritesAProcessId": ("test_splits_and_processes_change_nothing", "other outputs in 1 splits"),
    "Remembers": ("test_splits_and_processes_change_nothing", "other outputs in"),
    "SharesAFile": ("test_no_two_items_write_one_file", "greet/last.txt"),
    "ReadsPastItsDeclaration": ("test_what_is_not_declared_changes_nothing", "collect all"),
    "ForgetsReads": ("test_every_command_declares_what_it_reads", "config.greeting"),
    "KeepsTheRoot": ("test_keys_do_not_depend_on_the_root", "depend on root_uri"),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    rules = {name: [rule] for name, (rule, _) in WRONG.items()} | {"Sound": sorted({r for r, _ in WRONG.values()})}
    classes = [f'class Test{name}(Kit):\n    pipeline = "{name}Pipeline"\n' for name in rules]
    ids = [f"Test{name}::{rule}" for name, names in rules.items() for rule in names]
    return run_kit(tmp_path_factory.mktemp("kit"), "\n\n".join([_TEXT, *classes]), ids)


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", WRONG)
def test_a_wrong_pipeline_fails_the_rule_named_for_it(results: dict[tuple[str, str], str], pipeline: str) -> None:
    rule, says = WRONG[pipeline]
    message = results[f"Test{pipeline}", rule]
    assert message.startswith("failure:"), f"{rule} does not catch {pipeline}: {message or 'it passed'}"
    assert says in message


@pytest.mark.slow
def test_a_sound_pipeline_passes_the_rules_that_wrong_ones_break(results: dict[tuple[str, str], str]) -> None:
    assert {rule: text for (name, rule), text in results.items() if name == "TestSound" and text} == {}
