"""Which rules of the conformance kits are quick checks: a few of every theme. The sessions `conformance…` run all."""

from __future__ import annotations

import pytest

QUICK = {
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
    "test_a_task_that_dies_by_a_signal_is_started_again",
    "test_resume_after_a_task_was_killed",
    "test_a_signal_ends_the_waiting_and_not_the_run",
    "test_a_task_has_a_grace_after_term",
    "test_the_config_survives_json",
    "test_every_command_declares_what_it_reads",
    "test_every_output_is_recorded",
}


def mark_long_rules(items: list[pytest.Item]) -> None:
    """Mark the others as slow."""
    for item in items:
        module = getattr(item, "function", mark_long_rules).__module__
        # The rules for stores start no run: all of them are quick.
        is_rule = module.startswith("rv_core.testing.") and module != "rv_core.testing.store_conformance"
        if is_rule and getattr(item, "originalname", item.name) not in QUICK:
            item.add_marker(pytest.mark.slow)
