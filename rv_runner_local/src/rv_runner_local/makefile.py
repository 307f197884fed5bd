"""From a plan to the text of a Makefile, and from make's messages to the tasks that failed. Pure.

The file keeps to what GNU make 3.81 knows, which is what macOS ships. It holds no user's text but inside quoted recipes:
targets are ids, because `%` and some other characters cannot be written in a target at all.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rv_core import Job, Plan, RunnerError, Task

#: Variables by which a calling make, or the user's shell, would change what ours does (`MAKEFLAGS=-n` runs nothing).
MAKE_VARIABLES = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "GNUMAKEFLAGS", "MAKEFILES")
#: What no task takes over from the shell: the number of an attempt is that of a task which started this run, or nobody's.
_NOT_PASSED_ON = (*MAKE_VARIABLES, "RV_ATTEMPT")

_TARGET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FAILURE = re.compile(r"\*\*\* \[(?:.*: )?([A-Za-z0-9_][A-Za-z0-9._-]*)\] (.+)$", re.MULTILINE)

_OWN_WORDS = re.compile(r"\S*make(?:\[\d+\])?: ")
_MAX_REASON = 300

_HEADER = """\
# Written by rv for run {run_id}; a new run writes a new one.
# This finishes the run from any folder, two tasks at a time:
#   make -j2 -f {path} all
# Name a job or a task instead of `all` to run it and what it needs. What is done is not done again: every task looks at
# the manifests of its items first. Needs GNU make 3.81 or newer.
SHELL := /bin/sh
MAKEFLAGS += -rR --no-print-directory
unexport {variables}
.SUFFIXES:
"""

_RESTART = (
    "RV_ATTEMPT=1; while :; do export RV_ATTEMPT; {command}; status=$?; "
    "if [ $status -ne 75 ] && {{ [ $status -le 128 ] || [ $status -gt 192 ]; }} || [ $RV_ATTEMPT -ge {attempts} ]; "
    "then exit $status; fi; "
    "RV_ATTEMPT=$((RV_ATTEMPT + 1)); done"
)


def render_makefile(
    plan: Plan,
    *,
    run_id: str,
    path: str,
    argv: Callable[[Task], Sequence[str]],
    environ: Callable[[Task], Mapping[str, str]],
) -> str:
    """The Makefile of a whole run: a phony target for every job and every task.

    Args:
        plan: the jobs, of one pipeline or of several.
        run_id: the id of the run, for the header.
        path: where the file will be, for the header.
        argv: the command line of a task.
        environ: what a task needs in its environment besides what is there.

    Raises:
        RunnerError: if a word holds a line break, which no Makefile can hold.
    """
    header = _HEADER.format(run_id=run_id, path=quote(path), variables=" ".join(_NOT_PASSED_ON))
    blocks = [header, ".PHONY: all\n" + _rule("all", (job.id for job in plan.jobs))]
    blocks += ["".join(_job_lines(job, argv, environ)) for job in plan.jobs]
    return "\n".join(blocks)


def target_name(task_or_job_id: str) -> str:
    """The target of a task or a job: its id, made safe where the name of a pipeline holds more than letters and digits."""
    if _TARGET.fullmatch(task_or_job_id):
        return task_or_job_id
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", task_or_job_id).lstrip(".-") or "job"
    digest = hashlib.sha256(task_or_job_id.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{safe}-{digest[:8]}"


def recipe(argv: Sequence[str], environ: Mapping[str, str], *, attempts: int = 1) -> str:
    """One line of shell that runs a task, quoted for the shell and for make.

    Args:
        argv: the command line.
        environ: variables to set for it.
        attempts: how often it may be started; it is started again if it exits with 75 or dies by a signal.

    Raises:
        RunnerError: if a word holds a line break or a variable's name is none.
    """
    wrong = [name for name in environ if not _VARIABLE.fullmatch(name)]
    if wrong:
        raise RunnerError(f"{wrong[0]!r} is no name for an environment variable")
    words = " ".join(shlex.quote(word) for word in argv)
    settings = "".join(f" {name}={shlex.quote(value)}" for name, value in environ.items())
    export = f"export{settings}; " if settings else ""
    # exec: a signal reaches the task itself, and no shell waits beside it.
    command = f"exec {words}" if attempts <= 1 else _RESTART.format(command=words, attempts=attempts)
    return _escape(export + command)


def quote(word: str) -> str:
    """A word quoted for the shell and for make.

    Raises:
        RunnerError: if it holds a line break.
    """
    return _escape(shlex.quote(word))


def has_line_break(words: Iterable[str]) -> bool:
    """Whether any of the words cannot be written into a Makefile."""
    return any("\n" in word for word in words)


def without_make_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """A copy of an environment in which nothing tells make what to do."""
    return {name: value for name, value in environ.items() if name not in MAKE_VARIABLES}


class Failure(NamedTuple):
    """What make said of a recipe that failed.

    Args:
        target: the target, which is a task's.
        exit_code: the task's exit code, 128 + signal if a signal ended it, or None if make's words are not understood.
        reason: what ended it if not the task itself, else "".
    """

    target: str
    exit_code: int | None
    reason: str = ""


def find_failures(messages: str) -> list[Failure]:
    """The failed targets in make's messages, in the order in which they failed, each once.

    They read `make: *** [Makefile:12: pipe1.chip.3-of-5] Error 1` and end with the name of a signal where one ended the
    recipe; make 3.81 leaves out file and line. The words may be translated, so only their shape counts.
    """
    found: dict[str, Failure] = {}
    printed_from = 0
    for match in _FAILURE.finditer(messages):
        # Tasks print into their own logs: what stands here is what one said that could not open its log.
        printed = messages[printed_from : messages.rfind("\n", 0, match.start()) + 1]
        found[match[1]] = _failure(match[1], match[2].strip(), _last_line(printed))
        printed_from = match.end()
    return list(found.values())


def _last_line(printed: str) -> str:
    """The last line that is not make's own, as far as one line of a summary can show it."""
    lines = [line.strip() for line in printed.splitlines() if not _OWN_WORDS.match(line)]
    return next((line[:_MAX_REASON] for line in reversed(lines) if line), "")


def _failure(target: str, words: str, printed: str) -> Failure:
    number = re.search(r"(\d+)$", words)
    exit_code = int(number[1]) if number else _signal_exit_code(words)
    if exit_code is None:
        return Failure(target, None, words)
    return Failure(target, exit_code, _reason(exit_code) or printed)


def _signal_exit_code(words: str) -> int | None:
    name = words.partition(" (")[0]  # without "(core dumped)"
    return next((128 + signum for signum in signal.valid_signals() if signal.strsignal(signum) == name), None)


def _reason(exit_code: int) -> str:
    try:
        name = signal.Signals(exit_code - 128).name
    except ValueError:
        return ""
    hint = "; the system does that when memory runs out" if name == "SIGKILL" else ""
    return f"ended by {name}{hint}"


def _job_lines(
    job: Job, argv: Callable[[Task], Sequence[str]], environ: Callable[[Task], Mapping[str, str]]
) -> Iterator[str]:
    is_single = [task.id for task in job.tasks] == [job.id]
    # One line for all: make appends each further one to a list that it walks through (3 s for 30,000 lines).
    yield _rule(".PHONY", (task.id for task in job.tasks) if is_single else (job.id, *(task.id for task in job.tasks)))
    if not is_single:
        yield _rule(target_name(job.id), (task.id for task in job.tasks))
    for task in job.tasks:
        yield _rule(target_name(task.id), job.requires)
        yield f"\t@{recipe(argv(task), environ(task), attempts=job.resources.attempts)}\n"


def _rule(target: str, needs: Iterable[str]) -> str:
    return " ".join([f"{target}:", *map(target_name, needs)]) + "\n"


def _escape(text: str) -> str:
    if "\n" in text:
        raise RunnerError(
            f"a line break in {text[:200]!r} cannot be written into a Makefile", fix="choose a name without it"
        )
    return text.replace("$", "$$")
