"""What Slurm says of a job becomes a state and words that tell what to do."""

from __future__ import annotations

import pytest

from rv_runner_slurm.job_records import ENDED, JobRecord
from rv_runner_slurm.observation import forgotten, observe, of_exit_code


def waiting(reason: str, **values: int) -> JobRecord:
    return JobRecord("7", None, "PENDING", reason, **values)  # type: ignore[arg-type]


def failed(exit_code: int = 0, signal: int = 0) -> JobRecord:
    return JobRecord("7", None, "FAILED", "NonZeroExitCode", exit_code=exit_code, signal=signal)


@pytest.mark.parametrize(
    ("reason", "state", "words"),
    [
        ("", "submitted", ""),
        ("Dependency", "waiting", "waits for the jobs before it"),
        ("Resources", "submitted", "waits for free nodes"),
        ("QOSMaxJobsPerUserLimit", "submitted", "a limit of your account or queue is reached (QOSMaxJobsPerUserLimit)"),
        ("AssocGrpGRES", "submitted", "a limit of your account or queue"),
        ("JobHeldUser", "submitted", "scontrol release"),
        ("PartitionTimeLimit", "submitted", "can never start: its time limit"),
        ("ReqNodeNotAvail, UnavailableNodes:n2", "submitted", "down, drained or reserved"),
        ("SomethingNew", "submitted", "waits: SomethingNew"),
    ],
)
def test_why_a_job_waits(reason: str, state: str, words: str) -> None:
    seen = observe(waiting(reason))
    assert seen.state == state
    assert words in seen.reason


def test_a_job_that_is_started_again_says_so() -> None:
    seen = observe(waiting("BeginTime", restarts=1))
    assert (seen.state, seen.attempt) == ("submitted", 2)
    assert seen.reason.startswith("is started again; waits for the time")


def test_a_dependant_of_a_failed_job_names_it() -> None:
    record = JobRecord("7", None, "CANCELLED", "DependencyNeverSatisfied")
    seen = observe(record, failed_before=["p.chip", "p.analyze"])
    assert (seen.state, seen.reason) == ("cancelled", "did not start: p.chip, p.analyze did not end well")


@pytest.mark.parametrize(
    ("record", "state", "exit_code", "words"),
    [
        (failed(1), "failed", 1, ""),
        (failed(7), "failed", 7, ""),
        (failed(75), "stopped", 75, "state saved"),
        (failed(137), "failed", 137, "raise memory_mib"),
        (failed(signal=9), "failed", 137, "raise memory_mib"),
        (failed(127), "failed", 127, "shared file system"),
        (failed(127), "failed", 127, "a program of `setup`, or the interpreter"),
        (failed(15, signal=53), "failed", None, "could not write below /out; is that on a file system"),
    ],
)
def test_what_ended_a_job(record: JobRecord, state: str, exit_code: int | None, words: str) -> None:
    seen = observe(record, run_dir="/out")
    assert (seen.state, seen.exit_code) == (state, exit_code)
    assert words in seen.reason


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("TIMEOUT", "time limit"),
        ("OUT_OF_MEMORY", "memory_mib"),
        ("NODE_FAIL", "its node failed; the same command goes on"),
        ("PREEMPTED", "the same command goes on"),
    ],
)
def test_what_ended_a_job_from_outside(state: str, words: str) -> None:
    seen = observe(JobRecord("7", None, state))
    assert seen.state == "failed"
    assert words in seen.reason


def test_every_state_that_is_an_end_is_shown_as_one() -> None:
    shown = {observe(JobRecord("7", None, state)).state for state in ENDED}
    assert shown <= {"done", "failed", "cancelled"}


def test_a_state_that_nobody_knows_is_unknown_and_never_done() -> None:
    seen = observe(JobRecord("7", 2, "HYPERSPACE"))
    assert (seen.state, seen.reason, seen.native_id) == ("unknown", "Slurm says HYPERSPACE", "7_2")


def test_a_forgotten_job_is_what_its_script_wrote_down_or_lost() -> None:
    assert [of_exit_code(code).state for code in (0, 1, 75, 143)] == ["done", "failed", "stopped", "failed"]
    assert (forgotten("7_2").state, forgotten("7_2").native_id) == ("lost", "7_2")


def test_a_forgotten_job_whose_requirements_failed_did_not_start() -> None:
    seen = forgotten("7", failed_before=["p.chip"])
    assert (seen.state, seen.reason) == ("cancelled", "did not start: p.chip did not end well")
