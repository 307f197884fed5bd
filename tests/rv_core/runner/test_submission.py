"""What runners share that hand jobs to an engine and leave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rv_core import (
    Capabilities,
    Finding,
    Job,
    Plan,
    Resources,
    RunContext,
    RunnerError,
    SubmissionError,
    Task,
    command_table,
    command_table_name,
    exit_code_text,
    first_given,
    misspelt_tables,
    submit_in_order,
)
from rv_core.errors import EXIT_FAILED


def job(name: str, *requires: str) -> Job:
    job_id = f"p.{name}"
    return Job(job_id, "p", name, (Task(job_id, job_id, 0, 1),), requires, Resources())


PLAN = Plan((job("chip"), job("train", "p.chip"), job("eval", "p.train")))


class Engine:
    """Notes what it is asked for and refuses what it is told to.

    Args:
        refuses: what it raises, by the key of a request; "release" and "withdraw" besides.
    """

    def __init__(self, refuses: Mapping[str, BaseException] | None = None) -> None:
        self.refuses = refuses or {}
        self.calls: list[tuple[str, Any]] = []
        self.reported: list[Mapping[str, Any]] = []

    def submit(self, request: str, ids: Mapping[str, str]) -> str:
        self._refuse(request)
        self.calls.append((request, dict(ids)))
        return f"id-{request}"

    def withdraw(self, ids: Sequence[str]) -> None:
        self.calls.append(("withdraw", list(ids)))
        self._refuse("withdraw")

    def release(self, ids: Mapping[str, str]) -> None:
        self._refuse("release")
        self.calls.append(("release", dict(ids)))

    def take(self, *keys: str, is_held: bool = False) -> None:
        context = RunContext("run-1", "mine", Capabilities(detaches=True), {}, Path("/tmp"))
        context.on_report = self.reported.append
        submit_in_order(
            PLAN,
            context,
            {key: key for key in keys or [job.id for job in PLAN.jobs]},
            engine="the queue",
            submit=self.submit,
            withdraw=self.withdraw,
            release=self.release if is_held else None,
        )

    def _refuse(self, what: str) -> None:
        if what in self.refuses:
            raise self.refuses[what]


FULL = RunnerError("the queue is full", why="10 jobs are in it", fix="try again later")


def test_every_request_is_given_the_ids_of_those_before_it_and_reported() -> None:
    engine = Engine()
    engine.take("p.chip", "p.train+join-1", "p.train")
    assert engine.calls == [
        ("p.chip", {}),
        ("p.train+join-1", {"p.chip": "id-p.chip"}),
        ("p.train", {"p.chip": "id-p.chip", "p.train+join-1": "id-p.train+join-1"}),
    ]
    assert engine.reported == [
        {"event": "submitted", "job": "p.chip", "task": "p.chip", "native_id": "id-p.chip"},
        {"event": "submitted", "job": "p.train+join-1", "native_id": "id-p.train+join-1"},
        {"event": "submitted", "job": "p.train", "task": "p.train", "native_id": "id-p.train"},
    ]


def test_an_id_is_reported_before_the_next_request_is_sent() -> None:
    engine = Engine({"p.eval": FULL})
    with pytest.raises(SubmissionError):
        engine.take()
    assert [entry["job"] for entry in engine.reported] == ["p.chip", "p.train"]


def test_what_was_submitted_is_withdrawn_dependants_first_when_a_job_is_refused() -> None:
    engine = Engine({"p.eval": FULL})
    with pytest.raises(SubmissionError) as caught:
        engine.take()
    assert engine.calls[-1] == ("withdraw", ["id-p.train", "id-p.chip"])
    error = caught.value
    assert str(error) == (
        "submission failed: job 3 of 3 could not be submitted; the 2 submitted before it are ended again\n"
        "  why: the queue is full: 10 jobs are in it\n"
        "  next: try again later"
    )
    assert (error.exit_code, error.leaves_running, error.__cause__) == (EXIT_FAILED, False, FULL)


def test_the_first_job_that_is_refused_has_none_before_it() -> None:
    with pytest.raises(SubmissionError, match="job 1 of 3 could not be submitted; none was before it") as caught:
        Engine({"p.chip": RunnerError("no such queue")}).take()
    assert caught.value.block.fix == "mend what the queue refuses, and run the same command again"


def test_what_cannot_be_withdrawn_is_left_running_and_said() -> None:
    left = RunnerError("1 of 2 jobs could not be ended: id-p.chip")
    with pytest.raises(SubmissionError, match="job 3 of 3 could not be submitted; 1 of 2 jobs could not") as caught:
        Engine({"p.eval": FULL, "withdraw": left}).take()
    assert caught.value.leaves_running
    assert caught.value.block.fix == "end what is left with rv cancel before it costs anything; then: try again later"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("a bug")])
def test_any_other_error_withdraws_too_and_is_raised_as_it_is(error: BaseException) -> None:
    engine = Engine({"p.train": error})
    with pytest.raises(type(error)):
        engine.take()
    assert engine.calls[-1] == ("withdraw", ["id-p.chip"])


def test_after_any_error_what_is_left_keeps_the_root() -> None:
    with pytest.raises(SubmissionError) as caught:
        Engine({"p.train": KeyboardInterrupt(), "withdraw": RunnerError("id-p.chip does not end")}).take()
    assert caught.value.leaves_running
    assert caught.value.block.why == "KeyboardInterrupt"


def test_jobs_that_are_held_are_released_when_all_are_there() -> None:
    engine = Engine()
    engine.take(is_held=True)
    assert engine.calls[-1] == ("release", {job.id: f"id-{job.id}" for job in PLAN.jobs})


def test_jobs_that_cannot_be_released_are_withdrawn() -> None:
    engine = Engine({"release": RunnerError("not allowed")})
    with pytest.raises(SubmissionError, match="the jobs were submitted but could not be released; they are ended aga"):
        engine.take(is_held=True)
    assert engine.calls[-1] == ("withdraw", ["id-p.eval", "id-p.train", "id-p.chip"])


@dataclass(frozen=True, kw_only=True)
class Wants:
    cpus: int | None = None
    gpus: int | None = None
    queue: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)


def test_a_table_of_a_job_is_filled_up_from_that_of_its_command() -> None:
    tables = {
        "train": Wants(cpus=4, queue="large", environment={"A": "1", "B": "1"}, options=["--x"]),
        "p.train": Wants(gpus=0, environment={"B": "2"}),
    }
    merged = Wants(cpus=4, gpus=0, queue="large", environment={"A": "1", "B": "2"}, options=["--x"])
    assert command_table(job("train"), tables, Wants) == merged
    assert command_table_name("mine", job("train"), tables) == 'mine.commands."p.train"'


def test_lists_of_a_job_replace_those_of_its_command() -> None:
    tables = {"train": Wants(options=["--x"]), "p.train": Wants(options=["--y"])}
    assert command_table(job("train"), tables, Wants).options == ["--y"]


@pytest.mark.parametrize("name", ["train", "p.train"])
def test_one_table_alone_is_taken_as_it_is(name: str) -> None:
    assert command_table(job("train"), {name: Wants(cpus=4)}, Wants) == Wants(cpus=4)


def test_without_a_table_nothing_is_given_and_the_commands_is_named() -> None:
    assert command_table(job("train"), {"q.train": Wants(cpus=4)}, Wants) == Wants()
    assert command_table_name("mine", job("train"), {}) == "mine.commands.train"


COMMANDS = {"p": ("chip", "train"), "q": ("eval",)}


def found(*tables: str) -> Iterator[Finding]:
    return misspelt_tables("mine", tables, COMMANDS)


def test_a_table_that_is_nearly_a_command_or_a_job_is_a_warning() -> None:
    assert list(found("trian", "q.evla")) == [
        Finding("mine.commands.trian", "fits no command of this run", "did you mean 'train'?", "warning"),
        Finding("mine.commands.q.evla", "fits no command of this run", "did you mean 'q.eval'?", "warning"),
    ]


def test_tables_that_fit_or_are_not_even_near_are_no_finding() -> None:
    assert list(found("chip", "train", "eval", "p.train", "q.eval", "something_else")) == []


def test_the_first_value_that_is_given_counts_be_it_zero_or_empty() -> None:
    assert first_given(None, 0, 4) == 0
    assert first_given(None, "", "a") == ""
    assert first_given(None, None) is None


def test_exit_codes_have_words_and_a_runner_may_have_better_ones() -> None:
    assert exit_code_text(75) == "was stopped with its state saved"
    assert exit_code_text(137) == "killed, most often because memory ran out: raise memory_mib"
    assert exit_code_text(127, {127: "the image has no such program"}) == "the image has no such program"
    assert [exit_code_text(code) for code in (None, 0, 1)] == ["", "", ""]
