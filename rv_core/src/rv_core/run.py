"""What `rv run` and `rv check` do: from a module's name to an exit code.

Order: load, validate, plan, check, and only then take the root, write the record of the run and start something.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rv_core import config_file, marker, preflight, run_state
from rv_core.config_module import LoadedModule, load_configs
from rv_core.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    Finding,
    RunnerError,
    StorageError,
    UsageError,
)
from rv_core.event_writer import EventWriter
from rv_core.files import storage, uris
from rv_core.pipeline import Pipeline
from rv_core.plan import RunPlan
from rv_core.planning import plan_pipelines
from rv_core.plugins.installed import plugin_manager
from rv_core.run_context import RunContext
from rv_core.run_outcome import RunOutcome, outcome_of_run, outcome_of_status
from rv_core.run_record import TASK_HOOKS
from rv_core.run_records import write_record
from rv_core.run_state import RunPaths
from rv_core.runner import Runner
from rv_core.runner_loading import make_runner
from rv_core.selection import Selection
from rv_core.task_log import print_library_logs

if TYPE_CHECKING:
    from rv_core.settings import RunSettings

#: A run whose marker is younger than this may not have written its record yet.
_SUBMITTING_S = 60.0


@dataclass(frozen=True)
class RunOptions:
    """What the user typed.

    Args:
        runner: the runner's name.
        module: dotted module, `.py` path or saved `.json`.
        selection: which commands.
        arguments: `-a` pairs.
        sets: `--set` pairs.
        splits: how many tasks a command with items becomes, at most.
        jobs: tasks at once; None for the runner's setting or the number of cores.
        keep_going: go on with what does not depend on a failed task.
        run_name: `--pipeline-run-name`.
        take_over: end the unfinished run of the root first.
        wait: wait for a runner that detaches.
        profile: the profile's name, or None for the default.
        verbosity: `-v` counted, -1 for `-q`.
        ship_code: packages that travel besides the module's own code; None where `--ship-code` was not given.
    """

    runner: str
    module: str
    selection: Selection = field(default_factory=Selection)
    arguments: tuple[tuple[str, str], ...] = ()
    sets: tuple[tuple[str, str], ...] = ()
    splits: int = 1
    jobs: int | None = None
    keep_going: bool = False
    run_name: str | None = None
    take_over: bool = False
    wait: bool = False
    profile: str | None = None
    verbosity: int = 0
    ship_code: tuple[str, ...] | None = None


@dataclass
class PreparedRun:
    """Everything that is known before something is started; `findings` are those that needed no plan."""

    options: RunOptions
    runner: Runner
    loaded: LoadedModule
    pipelines: dict[str, Pipeline]
    run_plan: RunPlan
    context: RunContext
    config_texts: dict[str, str]
    settings: RunSettings
    findings: tuple[Finding, ...] = ()
    started: float = field(default_factory=time.monotonic)
    is_submitted: bool = False

    @property
    def run_id(self) -> str:
        """The id that the run has, or would have."""
        return self.context.run_id

    @property
    def paths(self) -> dict[str, RunPaths]:
        """Where the run's record is, by pipeline."""
        return {name: RunPaths(p._config.root_uri, self.run_id) for name, p in self.pipelines.items()}


def prepare(options: RunOptions, *, is_dry_run: bool = False) -> PreparedRun:
    """Load, validate and plan; writes nothing.

    Raises:
        RvError: whatever is wrong, all of a kind at once.
    """
    from rv_core.machine.cores import available_cores
    from rv_core.settings import run_settings

    if options.splits < 1:
        raise UsageError(f"--splits {options.splits} is below 1")
    if options.jobs is not None and options.jobs < 1:
        raise UsageError(f"--jobs {options.jobs} is below 1")
    runner = make_runner(options.runner, options.profile)
    settings = run_settings(options.profile, {"jobs": options.jobs})
    loaded = load_configs(
        options.module,
        runner=options.runner,
        arguments=list(options.arguments),
        sets=list(options.sets),
        run_name=options.run_name,
        cwd=os.getcwd(),
        ship_code=options.ship_code,
    )
    pipelines = {config.name: config.build() for config in loaded.configs}
    configs = {config.name: config for config in loaded.configs}
    roots = {name: config.root_uri for name, config in configs.items()}
    capabilities = runner.capabilities
    unreachable = preflight.unreachable_findings(configs, loaded) if capabilities.is_remote else []
    wrong_roots = preflight.root_findings(roots, in_process=capabilities.in_process, is_remote=capabilities.is_remote)
    if wrong_roots:
        preflight.raise_if_wrong([*unreachable, *wrong_roots])
    run_id = run_state.new_run_id()
    paths = {name: RunPaths(root, run_id) for name, root in roots.items()}
    cores = available_cores()
    context = RunContext(
        run_id=run_id,
        runner=options.runner,
        capabilities=capabilities,
        config_uris={name: p.config for name, p in paths.items()},
        run_dir=Path(run_state.local_run_dir(next(iter(paths.values())))),
        jobs=settings.jobs or getattr(runner.settings, "jobs", None) or cores,
        keep_going=options.keep_going,
        verbosity=options.verbosity,
        profile=options.profile or "",
        cores=cores,
        grace_s=settings.grace_s if settings.grace_s is not None else 25.0 if capabilities.is_remote else 5.0,
        is_dry_run=is_dry_run,
        environ={} if capabilities.is_remote else settings.environ(),
        configs=configs,
    )
    texts = {config.name: config_file.dump(config, code=loaded.code) for config in loaded.configs}
    try:
        run_plan = plan_pipelines(pipelines, splits=options.splits, selection=options.selection)
    except StorageError as error:
        if not capabilities.is_remote:
            raise
        # Without a look at the root there is no plan; what else is wrong can be told all the same.
        preflight.raise_if_wrong([*unreachable, *preflight.findings_without_plan(runner, context, error)])
        raise
    context.attempts_by_job = {job.id: job.resources.attempts for job in run_plan.plan.jobs}
    context.requires_by_job = {job.id: job.requires for job in run_plan.plan.jobs}
    return PreparedRun(options, runner, loaded, pipelines, run_plan, context, texts, settings, tuple(unreachable))


def findings_of(prepared: PreparedRun, *, everything: bool = False) -> list[Finding]:
    """All findings of pre-flight; `everything` also looks at what is done already."""
    todo: dict[str, Mapping[str, Sequence[str]]] = {}
    for name in prepared.pipelines:
        todo[name] = preflight.items_to_check(prepared.run_plan, name)
        if everything and not todo[name]:
            entries = [entry for entry in prepared.run_plan.commands if entry.pipeline == name]
            todo[name] = {entry.command: [item.id for item in (*entry.to_do, *entry.done)] for entry in entries}
    others = preflight.all_findings(
        prepared.run_plan,
        prepared.pipelines,
        prepared.config_texts,
        prepared.runner,
        prepared.context,
        todo,
        prepared.loaded.code_archive,
    )
    return [*prepared.findings, *others]


def execute(prepared: PreparedRun, show: Any) -> int:
    """Take the roots, write the record of the run, let the runner work, and tell how it ended.

    Args:
        prepared: the run.
        show: what prints: has `display(prepared, run_dir)`, `wait(prepared)`, `outcome(prepared, outcome)`,
            `submitted(prepared)`, `hook_failed(text)` and `interrupted(prepared, goes_on=…)`.

    Returns:
        The exit code of `rv run`.
    """
    from rv_core.machine.shutdown import Interrupted

    capabilities = prepared.runner.capabilities
    mine = marker.this_process_marker(prepared.run_id, prepared.options.runner, detached=capabilities.detaches)
    taken: list[str] = []
    is_left_running = False
    try:
        for paths in prepared.paths.values():
            marker.acquire_marker(
                paths.root_uri,
                mine,
                take_over=_take_over(paths.root_uri) if prepared.options.take_over else None,
                is_detached_running=lambda marker, root=paths.root_uri: is_detached_running(root, marker),  # type: ignore[misc]
            )
            taken.append(paths.root_uri)
        write_record(prepared)
        code, is_left_running = _run(prepared, show)
        return code
    except RunnerError as error:
        is_left_running = error.leaves_running
        raise
    except (Interrupted, KeyboardInterrupt):
        is_left_running = prepared.is_submitted
        show.interrupted(prepared, goes_on=is_left_running)
        return EXIT_INTERRUPTED
    finally:
        if not is_left_running:
            for root_uri in taken:
                marker.release_marker(root_uri, prepared.run_id)


def _run(prepared: PreparedRun, show: Any) -> tuple[int, bool]:
    """Let the runner work.

    Returns:
        (exit code, whether the run goes on without this process).
    """
    from rv_core.machine.processes import stop_on_signals

    plugins = plugin_manager()
    context = prepared.context
    with ExitStack() as stack:
        writers = [_submission_events(stack, paths, context.run_dir) for paths in prepared.paths.values()]
        context.on_report = _reporter(writers)
        if context.capabilities.in_process:
            print_library_logs(context.verbosity)
            context.run_in_process = _in_process_tasks(prepared)
        else:
            # The tasks of a detached run are its engine's, also where the engine runs them on this machine.
            of_run = "" if context.capabilities.detaches else prepared.run_id
            stack.enter_context(stop_on_signals(of_run, grace_s=context.grace_s))
        tell = partial(_tell, plugins, writers, show)
        tell("rv_plan_created", run_id=prepared.run_id, plan=prepared.run_plan.to_json())
        with show.display(prepared, context.run_dir):
            prepared.runner.run(prepared.run_plan.plan, context)
        if context.capabilities.detaches:
            prepared.is_submitted = True
            show.submitted(prepared)
            if not prepared.options.wait:
                return EXIT_DONE, True
            show.wait(prepared)
        outcome, cancelled = _outcome(prepared)
        summary = outcome.summary(time.monotonic() - prepared.started)
        for writer in writers:
            if cancelled:  # whoever cancelled it has said so, in a file that this process writes whole
                writer.write("cancelled", reason=cancelled)
            else:
                writer.write("run_finished", succeeded=outcome.succeeded, **summary)
        tell("rv_run_finished", run_id=prepared.run_id, succeeded=outcome.succeeded, summary=summary)
    show.outcome(prepared, outcome)
    return (EXIT_DONE if outcome.succeeded else EXIT_FAILED), False


def _outcome(prepared: PreparedRun) -> tuple[RunOutcome, str]:
    """How the run ended, and who cancelled it, in words; "" if nobody did."""
    if not prepared.context.capabilities.detaches:
        return outcome_of_run(prepared.run_plan, prepared.paths, str(prepared.context.run_dir)), ""
    from rv_core.run_reading import read_run
    from rv_core.status import status_of

    status = status_of(read_run(next(iter(prepared.paths.values()))))
    outcome = outcome_of_status(prepared.run_plan, prepared.paths, status)
    return outcome, status.note if status.state == "cancelled" else ""


def _reporter(writers: Sequence[EventWriter]) -> Callable[[Mapping[str, Any]], None]:
    def report(entry: Mapping[str, Any]) -> None:
        for writer in writers:
            writer.write(**entry)

    return report


def _submission_events(stack: ExitStack, paths: RunPaths, run_dir: Path) -> EventWriter:
    """The events of the submitting process, under the root and, where that is remote, in the local run folder too."""
    if uris.is_local(paths.root_uri):
        path = uris.local_path(paths.submission)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return stack.enter_context(EventWriter(path))
    local = run_dir / "events" / "submission.jsonl"
    local.parent.mkdir(parents=True, exist_ok=True)
    return stack.enter_context(EventWriter(local, remote_uri=paths.submission))


def _in_process_tasks(prepared: PreparedRun) -> Any:
    from rv_core.inprocess import InProcessTasks

    return InProcessTasks(
        prepared.run_plan,
        prepared.pipelines,
        prepared.paths,
        {
            "RV_RUN_DIR": str(prepared.context.run_dir),
            "RV_PROFILE": prepared.context.profile,
            **prepared.context.environ,
        },
        task_hooks=plugin_manager().implements(*TASK_HOOKS),
    )


def _tell(plugins: Any, writers: Sequence[EventWriter], show: Any, hook: str, **arguments: Any) -> None:
    for failure in plugins.call(hook, **arguments):
        show.hook_failed(str(failure))
        for writer in writers:
            writer.write("hook_failed", hook=hook, reason=str(failure))


def is_detached_running(root_uri: str, marker: marker.Marker) -> bool:
    """Whether a run that was submitted and left to its engine still goes on; what cannot be asked counts as going on."""
    from rv_core.events import seconds_of
    from rv_core.status import run_is_over

    if time.time() - seconds_of(marker.created) < _SUBMITTING_S and not storage.exists(
        RunPaths(root_uri, marker.run_id).run
    ):
        return True  # its record is just being written
    return not run_is_over(root_uri, marker.run_id)


def _take_over(root_uri: str) -> Any:
    def take_over(marker: marker.Marker) -> None:
        from rv_core.cancellation import cancel_run

        cancel_run(root_uri, marker)

    return take_over
