"""`rv logs`."""

from __future__ import annotations

import sys
from threading import Event, Lock
from typing import TYPE_CHECKING, Annotated

import typer

from rv_core.cli.output import print_lines
from rv_core.cli.status import Root, RunId
from rv_core.errors import RvError, UsageError
from rv_core.terminal import say
from rv_core.wording import typed

if TYPE_CHECKING:
    from rv_core.record.events import TaskStatus
    from rv_core.record.logs import TaskLog
    from rv_core.record.reading import RunFiles

#: Each is looked at by a thread of its own.
_MAX_FOLLOWED = 64


def logs(
    root: Root,
    task: Annotated[
        str | None,
        typer.Argument(
            metavar="TASK", help="A task (chip.3-of-5), or a job for all its tasks; left out: list the logs."
        ),
    ] = None,
    run: RunId = None,
    attempt: Annotated[int | None, typer.Option("--attempt", min=1, help="This attempt instead of the last.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing until the task ends.")] = False,
) -> None:
    """Print what a task printed, or all tasks of a job, or list the tasks that have a log.

    Examples:
      rv logs out

      rv logs out chip.3-of-5 --follow

      rv logs out chip
    """
    from rv_core.record.logs import choose_attempt, find_logs, resolve_tasks
    from rv_core.record.reading import absolute_root, find_run

    if task is None and (follow or attempt):
        raise UsageError(
            "which task's log?", fix=f"rv logs {typed(root)} TASK; `rv logs {typed(root)}` lists the tasks"
        )
    files = find_run(absolute_root(root), run)
    if task is None:
        _list_logs(files, root)
        return
    names = resolve_tasks(task, files)
    if len(names) > 1:
        _show_job(files, names, attempt, is_followed=follow)
        return
    (name,) = names
    found = find_logs(files).get(name, [])
    if follow:
        _follow(files, name, found, attempt)
    elif found:
        _print_log(choose_attempt(found, attempt))
        _print_reason(files, name)
    else:
        _print_engine_log(files, name)
        _print_reason(files, name)


def _show_job(files: RunFiles, names: list[str], attempt: int | None, *, is_followed: bool) -> None:
    """The logs of all tasks of a job, one after the other, or as they are written with the split before each line."""
    if attempt:
        fix = f"name one task, for instance {names[0]}"
        raise UsageError(f"--attempt goes with one task, and the job has {len(names)}", fix=fix)
    if is_followed:
        _follow_job(files, names)
        return
    from rv_core.record.logs import find_logs
    from rv_core.status.page import line

    logs = find_logs(files)
    for name in names:
        print_lines([line(f"{name}:", "bold")])
        if name in logs:
            _print_log(logs[name][-1])
        else:
            from rv_core.record.logs import why_no_log

            say(f"no log: {why_no_log(_task_status(files, name))}", file=sys.stderr)


def _follow_job(files: RunFiles, names: list[str]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from rv_core.plan.shares import split_text
    from rv_core.record.logs import find_logs, follow
    from rv_core.status.look import run_is_over

    if len(names) > _MAX_FOLLOWED:
        fix = f"name one, for instance {names[0]}, or leave out --follow"
        raise UsageError(f"--follow shows {_MAX_FOLLOWED} tasks at most, and the job has {len(names)}", fix=fix)
    logs, is_given_up, printing = find_logs(files), Event(), Lock()

    def is_over() -> bool:
        return is_given_up.is_set() or run_is_over(files.paths.root_uri, files.run_id)

    def show(name: str) -> None:
        log = logs[name][-1] if name in logs else None
        for text in follow(files, name, log, is_run_over=is_over):
            with printing:
                say(f"{split_text(name)} | {text}", flush=True)

    pool = ThreadPoolExecutor(len(names))
    try:
        for done in [pool.submit(show, name) for name in names]:
            done.result()
    except KeyboardInterrupt:
        is_given_up.set()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _list_logs(files: RunFiles, root: str) -> None:
    from rv_core.record.logs import find_logs
    from rv_core.status.look import status_of
    from rv_core.status.page import line

    found = find_logs(files)
    if not found:
        raise UsageError(
            f"run {files.run_id} has no logs yet", where=root, fix=f"rv status {typed(root)} tells what it does"
        )
    states = {task.task: task.state for job in status_of(files).jobs for task in job.tasks}
    width = max(map(len, found))
    for task, attempts in found.items():
        size = f"{sum(log.size for log in attempts)} bytes"
        several = f", {len(attempts)} attempts" if len(attempts) > 1 else ""
        print_lines([line(f"{task:<{width}}  {states.get(task, ''):<9}  {size}{several}")])


def _print_log(log: TaskLog) -> None:
    from rv_core.record.logs import read_lines

    is_empty = True
    for text in read_lines(log):
        is_empty = False
        say(text)
    if is_empty:
        say(f"{log.task} printed nothing", file=sys.stderr)


def _follow(files: RunFiles, task: str, found: list[TaskLog], attempt: int | None) -> None:
    from rv_core.record.logs import choose_attempt, follow, why_no_log
    from rv_core.status.look import run_is_over

    log = choose_attempt(found, attempt) if found else None
    num_lines = 0
    try:
        for text in follow(
            files,
            task,
            log,
            is_run_over=lambda: run_is_over(files.paths.root_uri, files.run_id),
            attempt=attempt,
        ):
            num_lines += 1
            say(text, flush=True)
    except KeyboardInterrupt:
        return
    if not num_lines and not log and files.record.capabilities.get("detaches"):
        _print_engine_log(files, task)
    elif not num_lines:
        why = "" if log else f": {why_no_log(_task_status(files, task))}"
        say(f"{task} printed nothing{why}", file=sys.stderr)


def _print_engine_log(files: RunFiles, task: str) -> None:
    """A task that left no log here: what its runner's engine has, else why there is none."""
    from rv_core.record.logs import why_no_log

    problem = ""
    # What a task on this machine did not print itself is the engine's word on its end, and not on its waiting.
    if files.record.capabilities.get("detaches") or _task_status(files, task).state in ("failed", "lost"):
        from rv_core.runner.engine_log import engine_lines

        try:
            lines = engine_lines(files.record, task)
        except Exception as error:  # noqa: BLE001 - whatever the engine says is the reason that the user wants to see
            problem, lines = f"could not ask {files.record.runner}: {_in_one_line(error)}", []
        if lines:
            say("\n".join(lines))
            return
    raise UsageError(
        f"{task} has no log",
        where=f"run {files.run_id}",
        why="; ".join(filter(None, [why_no_log(_task_status(files, task)), problem])),
    )


def _in_one_line(error: Exception) -> str:
    return error.one_line() if isinstance(error, RvError) else str(error) or type(error).__name__


def _print_reason(files: RunFiles, task: str) -> None:
    """Why a task failed, below its log: what its engine knows of that (no memory, no machine) stands in no log."""
    if not files.record.capabilities.get("detaches"):
        return
    status = _task_status(files, task)
    if status.state in ("failed", "lost", "unknown") and status.reason:
        say(f"{task} {status.state}: {status.reason}", file=sys.stderr)


def _task_status(files: RunFiles, task: str) -> TaskStatus:
    from rv_core.status.look import status_of

    return next(status for job in status_of(files).jobs for status in job.tasks if status.task == task)
