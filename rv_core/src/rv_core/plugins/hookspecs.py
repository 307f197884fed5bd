"""The hooks that a plugin can implement.

A plugin is a module named by an entry point in the group `rv`; rv calls the functions of that module that are marked
with `@rv_core.hookimpl`. Declaring hooks (`rv_runners`, `rv_pipelines`, `rv_commands`, `rv_configs`,
`rv_stores`, `rv_report_sections`) are called once per process, in no promised order; they must be pure and must import nothing heavy. One that raises, or returns
anything else than a list of what it declares, makes its plugin a broken one: `rv plugins` shows why, and all others
work. Lifecycle hooks are called while a run is on, one plugin at a time; one that raises, or takes more than a second,
becomes a warning and an event in the log (`hook_failed`) and never a failure. `rv_sign_uri` is asked for an answer: one
that raises is an error about the file. A hook may leave out arguments that it does not need.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from rv_core.plugins.declarations import (
        CommandSpec,
        ConfigSpec,
        PipelineSpec,
        ReportSectionsSpec,
        RunnerSpec,
        StoreSpec,
    )

#: The version of this file's contract. A plugin states the one it was written for as `RV_HOOK_API_VERSION` in its
#: hooks module (without it the current one is assumed); another major number is refused at load.
HOOK_API_VERSION = 1

hookspec = pluggy.HookspecMarker("rv")
hookimpl = pluggy.HookimplMarker("rv")


@hookspec
def rv_runners() -> list[RunnerSpec]:  # type: ignore[empty-body]
    """Declare runners. Since 1. A name that two plugins declare is an error naming both distributions."""


@hookspec
def rv_pipelines() -> list[PipelineSpec]:  # type: ignore[empty-body]
    """Declare pipelines, which `rv run RUNNER NAME` runs. Since 1."""


@hookspec
def rv_commands() -> list[CommandSpec]:  # type: ignore[empty-body]
    """Declare extra `rv` verbs. Since 1. A built-in verb is never replaced."""


@hookspec
def rv_configs() -> list[ConfigSpec]:  # type: ignore[empty-body]
    """Declare config types and their upgraders. Since 1."""


@hookspec
def rv_stores() -> list[StoreSpec]:  # type: ignore[empty-body]
    """Declare stores: what serves the URIs of a scheme. Since 1. A built-in scheme is never replaced."""


@hookspec
def rv_report_sections() -> list[ReportSectionsSpec]:  # type: ignore[empty-body]
    """Declare sections of the report of a run. Since 1. Nothing calls them but the package rv-report."""


@hookspec
def rv_sign_uri(uri: str) -> str | None:
    """Sign the address of a file of a web server when it is opened. Since 1.

    What it returns is used for this request and saved nowhere: roots, logs, keys and messages hold the address as the
    config has it. It is called for every opening, also by threads at the same time: keep what is good for many files.

    Args:
        uri: an `http://` or `https://` address, variables filled in.

    Returns:
        The same address with what its server asks for in its query; None where this plugin signs no such address: then
        the next one is asked.
    """


@hookspec
def rv_plan_created(run_id: str, plan: Mapping[str, Any]) -> None:
    """Called in the submitting process after planning, before anything is started. Not called by `--dry-run`. Since 1.

    Args:
        run_id: the id of the run that is about to start.
        plan: what `--dry-run --json` prints.
    """


@hookspec
def rv_task_started(run_id: str, task: str, attempt: int, root_uri: str, key: str) -> None:
    """Called in the task's process before its command. Since 1.

    Args:
        run_id: the id of the run; another one where a run was killed and `rv run` goes on with its work.
        task: the task's id.
        attempt: the number of this attempt, from 1.
        root_uri: where the pipeline's files are.
        key: of the command's work, from its config, its inputs and its version. Root, task and key are the same again where
            the same work goes on, so a tracker that names its runs after them has one for each training.
    """


@hookspec
def rv_task_progress(
    run_id: str,
    task: str,
    attempt: int,
    root_uri: str,
    key: str,
    done: float,
    total: float,
    numbers: Mapping[str, float],
) -> None:
    """Called in the task's process while its command reports progress: at most five times a second, and last at its end.

    A hook that takes long is called less often, so that it costs the task no more than a twentieth of its time.
    Since 1.

    Args:
        run_id: the id of the run.
        task: the task's id.
        attempt: the number of this attempt, from 1.
        root_uri: where the pipeline's files are.
        key: of the command's work (see `rv_task_started`).
        done: how far the command says it is, in whatever it counts.
        total: how far it has to go.
        numbers: what the command reports, for instance `{"epoch": 3, "loss": 0.4}`.
    """


@hookspec
def rv_task_finished(run_id: str, task: str, attempt: int, root_uri: str, key: str, duration_s: float) -> None:
    """Called in the task's process after its command ended well. Since 1."""


@hookspec
def rv_task_failed(run_id: str, task: str, attempt: int, root_uri: str, key: str, reason: str) -> None:
    """Called in the task's process after its command raised, timed out or was stopped by TERM. Since 1."""


@hookspec
def rv_run_finished(run_id: str, succeeded: bool, summary: Mapping[str, Any]) -> None:
    """Called once when a run has ended. Since 1.

    In the submitting process where that waited; else in the process that first sees the end of what it left to an
    engine, on whichever machine: `rv status`, `rv status --watch` or `rv cancel`, where a plugin implements the hook.

    Args:
        run_id: the id of the run.
        succeeded: whether every planned item is done.
        summary: `{"done": n, "failed": n, "tasks": n, "duration_s": seconds, "failed_tasks": [ids]}`.
    """
