"""A run that is loaded, validated and planned, before anything is written."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rv_core.config import saved
from rv_core.errors import ConfigError, Finding, StorageError, UsageError
from rv_core.files import by_uri, uris
from rv_core.files.problems import expect_free_files
from rv_core.launch import preflight
from rv_core.launch.smoke import smoke_configs
from rv_core.pipeline.pipeline import Pipeline, PipelineConfig
from rv_core.plan.decisions import RunPlan
from rv_core.plan.graph import Plan
from rv_core.plan.planning import plan_pipelines
from rv_core.plan.selection import Selection
from rv_core.plan.sharing import Refused
from rv_core.record import layout
from rv_core.record.layout import RunPaths
from rv_core.record.reading import local_run_ids
from rv_core.record.root_watch import RootSight
from rv_core.runner.context import RunContext
from rv_core.runner.contract import Runner
from rv_core.runner.loading import make_runner
from rv_core.user_code.configs import LoadedModule, load_configs, load_objects

if TYPE_CHECKING:
    from rv_core.settings.sections import RunSettings

#: A run of one task at a time needs ten at once, most of them for pipes to what it starts.
_MIN_FREE_FILES = 12


class RunOptions(NamedTuple):
    """What the user typed.

    Args:
        runner: the runner's name.
        module: dotted module, `.py` path or saved `.json`; "" where configs are given.
        configs: config objects in place of a module, or None.
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
        smoke: run everything on little, in a root beside.
        reuse: other roots, as typed, whose work is taken where it is equal.
        ship_code: packages that travel besides the module's own code; None where `--ship-code` was not given.
    """

    runner: str
    module: str = ""
    configs: tuple[PipelineConfig, ...] | None = None
    selection: Selection = Selection()
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
    smoke: bool = False
    reuse: tuple[str, ...] = ()


@dataclass
class PreparedRun:
    """Everything that is known before something is started.

    Args:
        findings: those that needed no plan.
        roots_seen: pipeline -> its root as it was before the plan was made.
        refused: what cannot be taken from other roots, and why; found when it is tried.
        num_taken: how many items were taken from there.
    """

    options: RunOptions
    runner: Runner
    loaded: LoadedModule
    pipelines: dict[str, Pipeline]
    run_plan: RunPlan
    context: RunContext
    config_texts: dict[str, str]
    settings: RunSettings
    findings: tuple[Finding, ...] = ()
    roots_seen: Mapping[str, RootSight] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    is_submitted: bool = False
    refused: dict[tuple[str, str], str] = field(default_factory=dict)
    num_taken: int = 0

    @property
    def run_id(self) -> str:
        """The id that the run has, or would have."""
        return self.context.run_id

    @property
    def is_plan_of_now(self) -> bool:
        """Whether no other run has been at work under the roots since the plan was begun.

        Raises:
            StorageError: if a store cannot be asked.
        """
        now = {name: RootSight.of(pipeline.config.root_uri) for name, pipeline in self.pipelines.items()}
        return now == self.roots_seen and not any(seen.holder for seen in now.values())

    @property
    def paths(self) -> dict[str, RunPaths]:
        """Where the run's record is, by pipeline."""
        return {name: RunPaths(p.config.root_uri, self.run_id) for name, p in self.pipelines.items()}


def prepare(options: RunOptions, *, is_dry_run: bool = False) -> PreparedRun:
    """Load, validate and plan; writes nothing.

    Raises:
        RvError: whatever is wrong, all of a kind at once.
    """
    from rv_core.settings.sections import run_settings

    expect_free_files(_MIN_FREE_FILES)
    if options.splits < 1:
        raise UsageError(f"--splits {options.splits} is below 1")
    if options.jobs is not None and options.jobs < 1:
        raise UsageError(f"--jobs {options.jobs} is below 1")
    runner = make_runner(options.runner, options.profile)
    settings = run_settings(options.profile, {"jobs": options.jobs})
    loaded = _load(options)
    if options.module.endswith(".json") and not any(path == "root_uri" for path, _ in options.sets):
        _check_place_of_saved(uris.absolute(options.module, os.getcwd()), loaded.configs[0].root_uri)
    if options.smoke and options.reuse:
        raise UsageError("--reuse does not go with --smoke", why="a smoke run does all of its work, and keeps nothing")
    if options.smoke:
        loaded = replace(loaded, configs=smoke_configs(loaded.configs))
        options = options._replace(selection=options.selection._replace(rerun=True))
    pipelines = {config.name: config.build() for config in loaded.configs}
    configs = {config.name: config for config in loaded.configs}
    roots = {name: config.root_uri for name, config in configs.items()}
    capabilities = runner.capabilities
    unreachable = preflight.unreachable_findings(configs, loaded) if capabilities.is_remote else []
    wrong_roots = preflight.root_findings(roots, in_process=capabilities.in_process, is_remote=capabilities.is_remote)
    if wrong_roots:
        preflight.raise_if_wrong([*unreachable, *wrong_roots])
    run_id = layout.new_run_id(_newest_run(roots.values()))
    context = partial(_context, options, runner, settings, run_id, configs, pipelines, is_dry_run=is_dry_run)
    stays_here = options.configs is not None and capabilities.in_process
    texts = {c.name: saved.dump(c, code=loaded.code, for_this_process=stays_here) for c in loaded.configs}
    try:
        roots_seen = {name: RootSight.of(root) for name, root in roots.items()}
        preflight.raise_if_wrong(
            preflight.foreign_configs({n: roots[n] for n, seen in roots_seen.items() if seen.config})
        )
        run_plan = _plan(pipelines, options, {})
    except StorageError as error:
        if not capabilities.is_remote:
            raise
        # Without a look at the root there is no plan; what else is wrong can be told all the same.
        preflight.raise_if_wrong([*unreachable, *preflight.findings_without_plan(runner, context(Plan(())), error)])
        raise
    made = context(run_plan.plan)
    return PreparedRun(
        options, runner, loaded, pipelines, run_plan, made, texts, settings, tuple(unreachable), roots_seen
    )


def _load(options: RunOptions) -> LoadedModule:
    if options.configs is not None:
        return load_objects(
            options.configs,
            sets=list(options.sets),
            run_name=options.run_name,
            cwd=os.getcwd(),
        )
    return load_configs(
        options.module,
        runner=options.runner,
        arguments=list(options.arguments),
        sets=list(options.sets),
        run_name=options.run_name,
        cwd=os.getcwd(),
        ship_code=options.ship_code,
    )


def _check_place_of_saved(uri: str, root_uri: str) -> None:
    """Refuse a saved config that lies in another root than it names: it would write to where it was copied from.

    Raises:
        ConfigError: naming both.
    """
    of_run = RunPaths.of_config(uri)
    here = of_run.root_uri if of_run else uri.rpartition("/")[0] or "/"
    if uris.name_of(uri) != layout.CONFIG_FOR_PEOPLE or uris.is_same_root(root_uri, here):
        return
    runs = by_uri.list_files(uris.join(here, layout.RUNS_FOLDER))
    if of_run or any(name.endswith("/run.json") for name in runs):
        raise ConfigError(
            "the saved config lies in another root than it names",
            where=uri,
            why=f"its root_uri is {root_uri}: what it runs would be written there, not here",
            fix=f"add --set root_uri={here} to go on here, or --set root_uri={root_uri} to go on there",
        )


def _newest_run(roots: Iterable[str]) -> str:
    """The newest run so far under roots on this machine, by whatever clock; a store has one of its own."""
    here = [uris.expand(root) for root in roots if uris.is_local(uris.expand(root))]
    return max((run_id for root in here for run_id in local_run_ids(root)[:1]), default="")


def plan_again(prepared: PreparedRun) -> bool:
    """Plan with what is under the roots now; whether something else is to be done than before.

    Raises:
        RvError: as for `prepare`.
    """
    before = prepared.run_plan
    prepared.run_plan = _plan(prepared.pipelines, prepared.options, prepared.refused)
    prepared.context = replace(prepared.context, **_of_plan(prepared.run_plan.plan, prepared.context.slots))
    return prepared.run_plan.commands != before.commands


def _plan(pipelines: Mapping[str, Pipeline], options: RunOptions, refused: Refused) -> RunPlan:
    reuse = [uris.placed_root(root, os.getcwd()) for root in options.reuse]
    return plan_pipelines(pipelines, splits=options.splits, selection=options.selection, reuse=reuse, refused=refused)


def _of_plan(plan: Plan, slots: int) -> dict[str, Any]:
    """What a context knows of the plan."""
    return {
        "attempts_by_job": {job.id: job.resources.attempts for job in plan.jobs},
        "requires_by_job": {job.id: job.requires for job in plan.jobs},
        "weights_by_job": _weights(plan, slots),
    }


def _context(
    options: RunOptions,
    runner: Runner,
    settings: RunSettings,
    run_id: str,
    configs: Mapping[str, PipelineConfig],
    pipelines: Mapping[str, Pipeline],
    plan: Plan,
    *,
    is_dry_run: bool,
) -> RunContext:
    """What the runner may know of the run, but for what only a run that is on has (see `execute`)."""
    from rv_core.machine.cores import available_cores

    cores = available_cores()
    is_remote = runner.capabilities.is_remote
    jobs = settings.jobs or getattr(runner.settings, "jobs", None) or cores
    paths = {name: RunPaths(config.root_uri, run_id) for name, config in configs.items()}
    return RunContext(
        run_id=run_id,
        runner=options.runner,
        capabilities=runner.capabilities,
        config_uris={name: p.config for name, p in paths.items()},
        run_dir=Path(layout.local_run_dir(next(iter(paths.values())))),
        jobs=jobs,
        keep_going=options.keep_going,
        verbosity=options.verbosity,
        profile=options.profile or "",
        cores=cores,
        grace_s=settings.grace_s if settings.grace_s is not None else 25.0 if is_remote else 5.0,
        is_dry_run=is_dry_run,
        environ={} if is_remote else settings.environ(),
        configs=configs,
        commands={name: pipeline.commands() for name, pipeline in pipelines.items()},
        **_of_plan(plan, max(1, jobs, cores)),
    )


def _weights(plan: Plan, slots: int) -> dict[str, int]:
    """How many slots a task of each job takes; empty where none takes more than one, and nothing has to be counted."""
    if not any((job.resources.cpus or 1) > 1 or job.resources.memory_mib for job in plan.jobs):
        return {}
    from rv_core.machine.core_slots import available_memory_mib, weight_of

    machine_mib = available_memory_mib()
    weights = {
        job.id: weight_of(job.resources.cpus, job.resources.memory_mib, slots=slots, machine_mib=machine_mib)
        for job in plan.jobs
    }
    return weights if any(weight > 1 for weight in weights.values()) else {}


def findings_of(prepared: PreparedRun, *, everything: bool = False) -> list[Finding]:
    """All findings of pre-flight; `everything` also looks at what is done already, and again at what was looked at."""
    from rv_core.settings.sections import settings_findings

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
        is_fresh=everything,
    )
    return [*settings_findings(prepared.options.profile), *prepared.findings, *others]
