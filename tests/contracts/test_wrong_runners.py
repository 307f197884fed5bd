"""The conformance kit finds what is wrong with runners that are wrong on purpose, each by the rule named for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.contracts.kit_runs import run_kit


@dataclass(frozen=True)
class Wrong:
    """A wrong runner.

    Args:
        rule: the rule that it breaks.
        says: what the failure has to say.
        timeout_s: how long a command line may take; short where the kit waits for something that never happens.
    """

    rule: str
    says: str
    timeout_s: float = 25.0


WRONG: Mapping[str, Wrong] = {
    "ignores-dependencies": Wrong("test_a_diamond_runs_in_order", "started before what they require was done"),
    "drops-a-split": Wrong("test_every_planned_task_is_started", "never started"),
    "starts-twice": Wrong("test_each_task_is_started_once", "started several times"),
    "runs-one-at-a-time": Wrong("test_splits_run_side_by_side", "never met"),
    "ignores-jobs": Wrong("test_jobs_bounds_how_many_tasks_run_at_once", "two tasks were at work at once"),
    "loses-the-split-index": Wrong("test_split_tasks_work_on_every_item_once", "came out as shares of"),
    "loses-the-profile": Wrong("test_the_profile_reaches_tasks", "RV_PROFILE"),
    "loses-the-verbosity": Wrong("test_verbosity_reaches_tasks", "-v does not reach"),
    "forgets-to-quote": Wrong("test_a_root_may_have_any_name", "neither carried nor refused"),
    "names-the-root-as-typed": Wrong("test_a_root_has_one_name", "a slash at its end does not work"),
    "changes-the-environment": Wrong("test_the_environment_reaches_tasks", "CONFORMANCE_TEXT"),
    "hides-gpus": Wrong("test_a_gpu_task_sees_one_device_of_its_own", "not exactly one device"),
    "loses-the-run-id": Wrong("test_tasks_know_their_run", "RV_RUN_ID should be"),
    "tells-no-threads": Wrong("test_tasks_share_the_cores", "OMP_NUM_THREADS in tasks is no number"),
    "hides-logs": Wrong("test_logs_hold_what_tasks_print", "does not find the log"),
    "swallows-failures": Wrong("test_what_requires_a_failed_job_is_not_started", "had failed"),
    "stops-at-a-failure": Wrong("test_others_finish_with_keep_going", "does not depend on what failed"),
    "exits-with-0": Wrong("test_a_failure_ends_with_1_and_names_the_task", "does not end with exit code 1"),
    "masks-exit-codes": Wrong("test_an_exit_code_of_a_task_is_kept", "shows its exit code as 1"),
    "overlooks-the-dead": Wrong("test_what_requires_a_killed_task_is_not_started", "was killed"),
    "never-reports": Wrong("test_a_task_that_is_killed_has_failed", "use RunContext.report"),
    "forgives-late-deaths": Wrong("test_a_task_that_dies_after_its_work_has_failed", "killed after its work"),
    "never-retries": Wrong("test_a_task_that_dies_by_a_signal_is_started_again", "has the attempts [1]"),
    "retries-errors": Wrong("test_a_task_that_raises_is_not_started_again", "has the attempts [1, 2]"),
    "retries-for-ever": Wrong("test_attempts_are_bounded", "has the attempts [1, 2, 3, 4, 5, 6]"),
    "claims-success": Wrong("test_run_returns_nothing", "returned True"),
    "reports-nonsense": Wrong("test_events_of_the_runner_keep_to_the_schema", "unknown event"),
    "leaves-a-child": Wrong("test_a_signal_ends_the_run_and_all_its_processes", "a task of the run goes on"),
    "gives-no-grace": Wrong("test_a_task_has_a_grace_after_term", "not 'stopped'"),
    "writes-on-dry-run": Wrong("test_dry_run_has_no_side_effects", "wrote under the root"),
    "tells-secrets": Wrong("test_secret_settings_are_written_nowhere", "token in .rv/runs/"),
    "tells-variables": Wrong("test_secret_settings_are_written_nowhere", "environment.API_TOKEN in .rv/runs/"),
    "imports-from-here": Wrong("test_files_of_the_working_folder_are_not_imported", "gets into the tasks"),
    "spells-roots-anew": Wrong("test_a_root_may_be_relative", "does not work"),
    "takes-codes-for-signals": Wrong("test_an_exit_code_above_128_is_no_signal", "has the attempts [1, 2, 3]"),
    "ends-late-tasks-unsaid": Wrong("test_a_task_is_ended_after_its_time", "the reason does not speak of time"),
    "advises-nonsense": Wrong("test_advice_works_when_it_is_followed", "does not work"),
    "heavy": Wrong("test_the_declaration_imports_nothing_heavy", "imports pretend_torch"),
    "ignores-cancel": Wrong("test_cancel_ends_what_is_running", "goes on after rv cancel"),
    "hides-what-is-said": Wrong("test_what_a_task_says_before_its_log_is_open_is_shown", "use Runner.logs"),
    "forgets-the-cores": Wrong("test_cores_bound_how_many_tasks_run_at_once", "were at work at once"),
    "leaves-its-output": Wrong("test_nothing_is_left_in_the_folder_of_the_user", "job-1.out"),
    "tells-the-end-at-once": Wrong("test_plugins_are_told_of_the_end_once", "that was only submitted"),
    "tells-the-end-itself": Wrong("test_plugins_are_told_of_the_end_once", "plugins were told"),
    "sees-nothing": Wrong("test_a_task_that_is_killed_has_failed", "did not happen within", timeout_s=8),
    "sees-the-end-at-once": Wrong("test_status_of_a_run_that_goes_on", "a run that goes on is shown as failed"),
    "dies-with-its-parent": Wrong("test_a_submitted_run_goes_on_alone", "a task starts", timeout_s=8),
    "shares-the-terminal": Wrong("test_a_signal_ends_the_waiting_and_not_the_run", "of a submitted run goes on"),
}
#: Nothing is wrong with these; what one does not claim the other does.
_SOUND = ("sound", "background")
#: Enough for the quick checks: one of every way in which a rule looks at a runner.
_QUICK = ("ignores-dependencies", "drops-a-split", "loses-the-split-index", "claims-success", "heavy")


def class_of(runner: str) -> str:
    """The name of the test class of a runner."""
    return "Test" + "".join(map(str.capitalize, runner.split("-")))


def failures(folder: Path, rules: Mapping[str, list[str]]) -> dict[tuple[str, str], str]:
    """Run some rules for some runners: (class, rule) -> why it failed or was skipped, "" for those that passed."""
    tests = ["from rv_core.testing import RunnerConformance\n"]
    for runner in rules:
        timeout_s = WRONG[runner].timeout_s if runner in WRONG else 25.0
        lines = [f"class {class_of(runner)}(RunnerConformance):", f"    runner_name = {runner!r}"]
        tests.append("\n".join([*lines, f"    timeout_s = {timeout_s}", ""]))
    ids = [f"{class_of(runner)}::{rule}" for runner, names in rules.items() for rule in names]
    return run_kit(folder, "\n\n".join(tests), ids, environ={"RV_TELLS_SECRETS_TOKEN": "kit-0123456789"})


@pytest.fixture(scope="module")
def quick_results(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    rules = {runner: [WRONG[runner].rule] for runner in _QUICK}
    return failures(tmp_path_factory.mktemp("quick"), rules)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    rules = {runner: [wrong.rule] for runner, wrong in WRONG.items()}
    broken = sorted({wrong.rule for wrong in WRONG.values()})
    return failures(tmp_path_factory.mktemp("all"), rules | dict.fromkeys(_SOUND, broken))


def expect_caught(results: Mapping[tuple[str, str], str], runner: str) -> None:
    wrong = WRONG[runner]
    message = results[class_of(runner), wrong.rule]
    assert message.startswith("failure:"), f"{wrong.rule} does not catch {runner}: {message or 'it passed'}"
    assert wrong.says in message


@pytest.mark.parametrize("runner", _QUICK)
def test_a_wrong_runner_is_caught_quickly(quick_results: dict[tuple[str, str], str], runner: str) -> None:
    expect_caught(quick_results, runner)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("runner", WRONG)
def test_a_wrong_runner_fails_the_rule_named_for_it(results: dict[tuple[str, str], str], runner: str) -> None:
    expect_caught(results, runner)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sound_runners_pass_the_rules_that_wrong_ones_break(results: dict[tuple[str, str], str]) -> None:
    sound = {key: text for key, text in results.items() if key[0] in map(class_of, _SOUND)}
    assert {key: text for key, text in sound.items() if text and not text.startswith("skipped")} == {}
    passed = {rule for (_, rule), text in sound.items() if not text}
    # No runner there has settings that are secret but the one that tells them.
    assert {wrong.rule for wrong in WRONG.values()} - passed == {"test_secret_settings_are_written_nowhere"}
