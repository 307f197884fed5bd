"""What a runner needs that hands jobs to an engine and leaves: submission in order, tables of commands, words for ends.

Functions of values; a runner takes those that fit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from rv_core.errors import EXIT_FAILED, EXIT_STOPPED, Finding, RunnerError, nearest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from rv_core.plan.graph import Job, Plan
    from rv_core.runner.context import RunContext

Request = TypeVar("Request")
Value = TypeVar("Value")
Table = TypeVar("Table", bound="DataclassInstance")

#: What a table leaves out.
_NOT_GIVEN: tuple[object, ...] = (None, "", {}, [])
_ENDS = {
    EXIT_STOPPED: "was stopped with its state saved",
    126: "its program cannot be executed",
    127: "its program is not there",
    128 + 9: "killed, most often because memory ran out: raise memory_mib",
    128 + 15: "was stopped",
}


class SubmissionError(RunnerError):
    """Not every job could be submitted; those that were are ended again."""

    exit_code = EXIT_FAILED
    headline = "submission failed"


def passed_on(names: Iterable[str], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of the submitting process that tasks get by name: what a setting `environment_from` lists.

    Their values stand in no file, and are hidden wherever `rv` prints or writes text from then on. Those that are not
    set are left out; `missing_variables` tells of them.

    Args:
        names: of the variables.
        environ: the environment; that of this process when None.
    """
    from rv_core.redaction import register_secret

    given = os.environ if environ is None else environ
    found = {name: given[name] for name in names if given.get(name)}
    for value in found.values():
        register_secret(value)
    return found


def missing_variables(
    setting: str, names: Iterable[str], environ: Mapping[str, str] | None = None
) -> Iterator[Finding]:
    """Findings for variables that a setting `environment_from` lists and that are not set where the run is submitted.

    Args:
        setting: the dotted name of the setting.
        names: of the variables.
        environ: the environment; that of this process when None.
    """
    given = os.environ if environ is None else environ
    for name in names:
        if not given.get(name):
            what = f"the variable {name} is not set here, and tasks are to get it"
            yield Finding(setting, what, f"set it, or take it out of {setting}", kind="environment")


def submit_in_order(
    plan: Plan,
    context: RunContext,
    requests: Mapping[str, Request],
    *,
    engine: str,
    submit: Callable[[Request, Mapping[str, str]], str],
    withdraw: Callable[[Sequence[str]], None],
    release: Callable[[Mapping[str, str]], None] | None = None,
) -> None:
    """Submit every request and report its id before the next one is sent; if one is refused, end those before it.

    Args:
        plan: the plan.
        context: takes the reports.
        requests: key -> request, each after those that it depends on. The key of a job's request is the job's id;
            further ones, for chunks and the like, have names of the runner's own.
        engine: what refuses, for messages.
        submit: given a request and the ids of those before it by key, returns the id that the engine gave.
        withdraw: ends what was submitted; given the ids, dependants first. Raises a `RunnerError` if something is left,
            whose `what` is told.
        release: lets jobs start that were submitted to be held; given key -> id when everything is submitted.

    Raises:
        SubmissionError: if a request, or the release, is refused by a `RunnerError`, or something is left after any
            error: then the root stays taken until `rv cancel`. Other errors are raised again.
    """
    jobs = {job.id: job for job in plan.jobs}
    ids: dict[str, str] = {}
    try:
        for key, request in requests.items():
            ids[key] = submit(request, ids)
            context.report(jobs.get(key, key), event="submitted", native_id=ids[key])
        if release is not None:
            release(ids)
    except BaseException as error:
        left = _withdrawn(withdraw, ids)
        if not isinstance(error, RunnerError) and not left:
            raise
        raise _submission_error(error, engine, len(ids), len(requests), left) from error


def command_table(job: Job, tables: Mapping[str, Table], kind: type[Table]) -> Table:
    """What the tables `[SECTION.commands.NAME]` of a runner's settings say of a job.

    A table for the job (`"pipe1.train"`) counts before one for its command (`train`), which fills it up; what both map,
    such as variables, is merged.

    Args:
        job: the job.
        tables: name -> table, a dataclass in which None and what is empty stand for what is left out.
        kind: that dataclass; every field has a default.
    """
    of_command, of_job = tables.get(job.command) or kind(), tables.get(job.id) or kind()
    given = {name: value for name, value in vars(of_job).items() if value not in _NOT_GIVEN}
    merged = {name: {**getattr(of_command, name), **v} if isinstance(v, dict) else v for name, v in given.items()}
    return replace(of_command, **merged)


def command_table_name(section: str, job: Job, tables: Mapping[str, object]) -> str:
    """The name of the table that a job's own settings are in or belong in, for messages."""
    return f'{section}.commands."{job.id}"' if job.id in tables else f"{section}.commands.{job.command}"


def misspelt_tables(section: str, tables: Iterable[str], commands: Mapping[str, Iterable[str]]) -> Iterator[Finding]:
    """Tables `[SECTION.commands.NAME]` that fit nothing in this run but nearly do.

    One that is not even near is most likely meant for another pipeline.

    Args:
        section: the runner's section of a profile.
        tables: the names of its tables.
        commands: pipeline -> names of its commands: `RunContext.commands`.
    """
    known = sorted(
        {name for pipeline, own in commands.items() for each in own for name in (each, f"{pipeline}.{each}")}
    )
    for name in tables:
        near = None if name in known else nearest(name, known)
        if near:
            what, fix = "fits no command of this run", f"did you mean {near!r}?"
            yield Finding(f"{section}.commands.{name}", what, fix, "warning")


def first_given(*values: Value | None) -> Value | None:
    """The first value that is not None: a table's, the command's, the general setting."""
    return next((value for value in values if value is not None), None)


def exit_code_text(exit_code: int | None, own: Mapping[int, str] | None = None) -> str:
    """What the exit code of a task means, in words; "" for a code of its own.

    Args:
        exit_code: as a shell has it: 128 + the signal of a task that was killed.
        own: words of the runner for single codes, which count before these.
    """
    return {**_ENDS, **(own or {})}.get(exit_code or 0, "")


def _withdrawn(withdraw: Callable[[Sequence[str]], None], ids: dict[str, str]) -> str:
    """What is left, in words; "" if nothing is."""
    try:
        withdraw(list(ids.values())[::-1])
    except RunnerError as error:
        return error.block.what
    return ""


def _submission_error(
    error: BaseException, engine: str, num_submitted: int, num_requests: int, left: str
) -> SubmissionError:
    if num_submitted == num_requests:
        what = f"the jobs were submitted but could not be released; {left or 'they are ended again'}"
    else:
        undone = f"the {num_submitted} submitted before it are ended again" if num_submitted else "none was before it"
        what = f"job {num_submitted + 1} of {num_requests} could not be submitted; {left or undone}"
    own_fix = error.block.fix if isinstance(error, RunnerError) else ""
    why = error.one_line() if isinstance(error, RunnerError) else f"{type(error).__name__}: {error}".rstrip(": ")
    fix = own_fix or f"mend what {engine} refuses, and run the same command again"
    fix = f"end what is left with rv cancel before it costs anything; then: {fix}" if left else fix
    found = SubmissionError(what, why=why, fix=fix)
    found.leaves_running = bool(left)
    return found
