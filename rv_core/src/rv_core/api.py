"""The way in from Python and notebooks: what `rv run`, `rv check` and `rv status` do, on config objects.

    import rv_core.api as rv

    result = rv.run(config, runner="local", splits=4)

Defaults, exceptions and what is printed are those of the command line. Every function takes a config or a list of them.
A config class that is defined in a notebook or a script runs `inprocess` alone: no other process could import it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rv_core.cli.run import Show, start
from rv_core.errors import EXIT_DONE, EXIT_INTERRUPTED, Finding, TaskError, UsageError
from rv_core.launch.prepared import PreparedRun, RunOptions, findings_of, prepare
from rv_core.machine.hard_exit import hard_exits_raise
from rv_core.plan.decisions import RunPlan
from rv_core.plan.selection import Selection

if TYPE_CHECKING:
    from rv_core.launch.outcome import FailedTask, RunOutcome
    from rv_core.launch.report_sections import ToldOutcomes, ToldSections
    from rv_core.pipeline.pipeline import PipelineConfig
    from rv_core.status.results import PipelineSummary
    from rv_core.status.values import JobStatus, RunStatus


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Args:
        state: `done`, also where nothing was to do; `failed`; `submitted` where it goes on elsewhere; `interrupted`.
        run_id: its id; "" where nothing was to do.
        roots: pipeline -> root URI.
        plan: what was planned, command by command, with the reasons.
        items_done, items_total: of the items that this run was to do; both 0 where nothing was, or where it goes on.
        failed: the tasks that failed.
        duration_s: seconds from the start of `run` to its end.
        exit_code: what `rv run` would have returned.
    """

    state: Literal["done", "failed", "submitted", "interrupted"]
    run_id: str
    roots: Mapping[str, str]
    plan: RunPlan
    items_done: int = 0
    items_total: int = 0
    failed: tuple[FailedTask, ...] = ()
    duration_s: float = 0.0
    exit_code: int = EXIT_DONE

    def __repr__(self) -> str:
        items = f", {self.items_done} of {self.items_total} items" if self.items_total else ""
        return f"<RunResult {self.state}{items}, roots: {', '.join(self.roots.values())}>"

    def status(self) -> RunStatus | None:
        """The state of the run with all its jobs and tasks, as of now; None where nothing was to do.

        Raises:
            StorageError: if the root cannot be read.
        """
        if not self.run_id:
            return None
        from rv_core.status.look import run_status

        return run_status(next(iter(self.roots.values())), self.run_id)

    def jobs(self) -> tuple[JobStatus, ...]:
        """Its jobs, with the times of their tasks; empty where nothing was to do.

        Raises:
            StorageError: if the root cannot be read.
        """
        found = self.status()
        return found.jobs if found is not None else ()

    def raise_if_failed(self) -> RunResult:
        """This result, if the run did not fail.

        Raises:
            TaskError: naming the tasks that failed.
        """
        if self.state in ("failed", "interrupted"):
            left = self.items_total - self.items_done
            raise TaskError(
                f"run {self.run_id} {'failed' if self.state == 'failed' else 'was interrupted'}",
                why=f"{left} of {self.items_total} items are not done" if left else "",
                findings=[Finding(task.task, task.reason or task.state) for task in self.failed],
                fix="mend the reason and run the same again; what is done is kept",
            )
        return self


def run(
    config: PipelineConfig | Sequence[PipelineConfig],
    runner: str = "inprocess",
    *,
    commands: Sequence[str] = (),
    splits: int = 1,
    jobs: int | None = None,
    rerun: bool = False,
    keep_going: bool = False,
    take_over: bool = False,
    wait: bool = False,
    profile: str | None = None,
    smoke: bool = False,
    reuse: Sequence[str] = (),
    quiet: bool = False,
) -> RunResult:
    """Run one or several pipelines; what is done already is skipped.

    Args:
        config: a config, or a list of them. It is copied, not changed.
        runner: the runner's name: `inprocess`, `local`, or that of an installed one.
        commands: only these commands.
        splits: tasks per command with items, at most.
        jobs: tasks at once; None for the runner's setting or the number of cores.
        rerun: run again what is done already.
        keep_going: after a failure go on with what does not depend on it.
        take_over: end the unfinished run of the root first.
        wait: wait for a runner that only submits.
        profile: the profile of the settings; None for the default.
        smoke: run every command on little, in a root beside.
        reuse: other roots whose work is taken where it is equal.
        quiet: print failures only.

    Returns:
        How it ended. A task that failed does not raise: see `RunResult.raise_if_failed`.

    Raises:
        ConfigError: with everything that is wrong with the config.
        CheckError: with everything that was found before anything was started.
        UsageError: for a runner that works in this process, in another thread than the main one.
        RvError: whatever else `rv run` would say.
    """
    options = RunOptions(
        runner=runner,
        configs=_configs(config),
        selection=Selection(tuple(commands), None, None, rerun),
        splits=splits,
        jobs=jobs,
        keep_going=keep_going,
        take_over=take_over,
        wait=wait,
        profile=profile,
        smoke=smoke,
        reuse=tuple(reuse),
        verbosity=-1 if quiet else 0,
    )
    prepared = _prepare(options)
    if prepared.runner.capabilities.in_process and threading.current_thread() is not threading.main_thread():
        raise UsageError(
            f"the runner {runner!r} works in the main thread of Python alone",
            why="signals, by which tasks end and time limits work, reach no other thread",
            fix='call it in the main thread, or give runner="local", whose tasks are processes of their own',
        )
    show = _Told(is_quiet=quiet)
    with hard_exits_raise():
        code = start(prepared, show)
    return _result(prepared, show.ended, code)


def plan(
    config: PipelineConfig | Sequence[PipelineConfig],
    runner: str = "inprocess",
    *,
    commands: Sequence[str] = (),
    splits: int = 1,
    rerun: bool = False,
    reuse: Sequence[str] = (),
    profile: str | None = None,
) -> RunPlan:
    """What `run` would do, command by command, with the reasons; nothing is written or printed.

    Args:
        config: as for `run`.
        runner: as for `run`.
        commands: as for `run`.
        splits: as for `run`.
        rerun: as for `run`.
        reuse: as for `run`.
        profile: as for `run`.

    Raises:
        RvError: as for `run`.
    """
    options = RunOptions(
        runner=runner,
        configs=_configs(config),
        selection=Selection(tuple(commands), None, None, rerun),
        splits=splits,
        profile=profile,
        reuse=tuple(reuse),
    )
    return _prepare(options, is_dry_run=True).run_plan


def check(
    config: PipelineConfig | Sequence[PipelineConfig], runner: str = "inprocess", *, profile: str | None = None
) -> list[Finding]:
    """Everything that would make a run fail, and all warnings; empty where nothing was found.

    Args:
        config: as for `run`.
        runner: as for `run`.
        profile: as for `run`.

    Raises:
        ConfigError: where the config itself is wrong, with everything that is.
    """
    options = RunOptions(runner=runner, configs=_configs(config), profile=profile)
    prepared = _prepare(options, is_dry_run=True)
    return [*prepared.loaded.findings, *findings_of(prepared, everything=True)]


def status(root: PipelineConfig | str, run_id: str | None = None) -> RunStatus:
    """The state of a run: its jobs and tasks, as `rv status` shows them.

    Args:
        root: a root URI, or a config, whose root is meant.
        run_id: the run; None for the newest.

    Raises:
        UsageError: if there is no such run.
        StorageError: if the root cannot be read.
    """
    from rv_core.files import uris
    from rv_core.status.look import run_status

    root_uri = root if isinstance(root, str) else root.root_uri
    return run_status(uris.placed_root(root_uri, os.getcwd()), run_id)


def summaries(found: RunStatus) -> list[PipelineSummary]:
    """What the pipelines of a run say of their results; empty unless it is done.

    Args:
        found: what `status` returned.
    """
    from rv_core.launch.summaries import summaries_of

    return summaries_of(found)


def report_sections(found: RunStatus) -> list[ToldSections]:
    """What plugins declare to say in the report of a run, pipeline by pipeline; see `rv_core.ReportSection`.

    Args:
        found: what `status` returned.
    """
    from rv_core.launch.report_sections import told_sections

    return told_sections(found)


def report_outcomes(found: RunStatus, pipeline: str) -> ToldOutcomes:
    """What was predicted for the labelled cells of a pipeline of a run, as plugins tell it; see `rv_core.ReportOutcomes`.

    Args:
        found: what `status` returned.
        pipeline: the name of one of its pipelines.
    """
    from rv_core.launch.report_sections import told_outcomes

    return told_outcomes(found, pipeline)


def _configs(config: Any) -> tuple[PipelineConfig, ...]:
    return tuple(config) if isinstance(config, list | tuple) else (config,)


def _prepare(options: RunOptions, *, is_dry_run: bool = False) -> PreparedRun:
    from rv_core.redaction import register_environment

    register_environment(os.environ)
    with hard_exits_raise():
        return prepare(options, is_dry_run=is_dry_run)


class _Told(Show):
    """Prints what the command line prints, and keeps how the run ended."""

    ended: RunOutcome | None = None

    def outcome(self, prepared: PreparedRun, outcome: RunOutcome) -> None:
        self.ended = outcome
        super().outcome(prepared, outcome)


def _result(prepared: PreparedRun, ended: RunOutcome | None, code: int) -> RunResult:
    states: dict[int, Literal["done", "failed", "interrupted"]] = {EXIT_DONE: "done", EXIT_INTERRUPTED: "interrupted"}
    was_run = bool(prepared.run_plan.plan.jobs)
    goes_on = was_run and ended is None and prepared.is_submitted
    return RunResult(
        state="submitted" if goes_on else states.get(code, "failed"),
        run_id=prepared.run_id if was_run else "",
        roots=dict(prepared.run_plan.roots),
        plan=prepared.run_plan,
        items_done=ended.num_done if ended else 0,
        items_total=ended.num_items if ended else 0,
        failed=ended.failed if ended else (),
        duration_s=time.monotonic() - prepared.started,
        exit_code=code,
    )
