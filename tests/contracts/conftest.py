"""Of the kits, what takes long is left to `nox -s conformance`; a few rules of every theme stay in the quick checks."""

from __future__ import annotations

import pytest

_QUICK = {
    "test_the_declaration_imports_nothing_heavy",
    "test_dry_run_has_no_side_effects",
    "test_a_diamond_runs_in_order",
    "test_split_tasks_work_on_every_item_once",
    "test_each_task_is_started_once",
    "test_texts_of_the_config_arrive_unchanged",
    "test_the_profile_reaches_tasks",
    "test_events_of_tasks_keep_to_the_schema",
    "test_a_failure_ends_with_1_and_names_the_task",
    "test_what_requires_a_failed_job_is_not_started",
    "test_a_task_has_a_grace_after_term",
    "test_the_config_survives_json",
    "test_every_command_declares_what_it_reads",
    "test_every_output_is_recorded",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    from rv_core.testing import PipelineConformance, RunnerConformance

    for item in items:
        is_rule = issubclass(getattr(item, "cls", None) or object, RunnerConformance | PipelineConformance)
        if is_rule and getattr(item, "originalname", item.name) not in _QUICK:
            item.add_marker(pytest.mark.slow)
