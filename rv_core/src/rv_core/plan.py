"""From pipelines and what is already done to a runner-neutral graph of jobs. Pure.

Nothing here touches a file: what is done, and which fingerprints the inputs have, come in as values.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import reduce
from operator import getitem
from typing import TYPE_CHECKING, Any, Literal

from rv_core.errors import Finding, PlanError, unknown_name
from rv_core.items import item_id
from rv_core.keys import CommandParts, explain_change, item_key, job_key, shared_digest
from rv_core.pipeline import CommandInfo

if TYPE_CHECKING:
    from rv_core.manifests import DoneState
    from rv_core.pipeline import Pipeline

Decision = Literal["run", "done", "not selected"]

#: The item of a command that has no items.
WHOLE = "all"


@dataclass(frozen=True)
class Resources:
    """What one task of a job wants; None leaves it to the runner."""

    cpus: int | None = None
    memory_mib: int | None = None
    gpus: int = 0
    timeout_s: int | None = None
    attempts: int = 1

    @classmethod
    def of(cls, info: CommandInfo) -> Resources:
        """The resources that a command declares."""
        return cls(info.cpus, info.memory_mib, info.gpus, info.timeout_s, info.attempts)


@dataclass(frozen=True)
class Task:
    """One share of a job: what one process works through.

    Args:
        id: `pipe1.chip.3-of-5`, or the job's id where the job is a single task.
        job: the job's id.
        split_index: from 0.
        num_splits: how many tasks the job has.
    """

    id: str
    job: str
    split_index: int
    num_splits: int


@dataclass(frozen=True)
class Job:
    """One command of one pipeline.

    Args:
        id: `<pipeline>.<command>`.
        pipeline: the pipeline's name.
        command: the command's name.
        tasks: its tasks, by split index.
        requires: ids of the jobs of this plan whose every task must be done first.
        resources: what one task wants.
    """

    id: str
    pipeline: str
    command: str
    tasks: tuple[Task, ...]
    requires: tuple[str, ...]
    resources: Resources


@dataclass(frozen=True)
class Plan:
    """The jobs that are to be run, in an order in which every job comes after those that it requires."""

    jobs: tuple[Job, ...]

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks of all jobs, in order."""
        return tuple(task for job in self.jobs for task in job.tasks)

    def job(self, job_id: str) -> Job:
        """The job with this id.

        Raises:
            KeyError: if the plan has no such job.
        """
        for job in self.jobs:
            if job.id == job_id:
                return job
        raise KeyError(job_id)


@dataclass(frozen=True)
class PlannedItem:
    """One item with its key, its group and the fingerprints of its own inputs."""

    id: str
    key: str
    group: str
    inputs: Mapping[str, str]
    value: Any


@dataclass(frozen=True)
class CommandPlan:
    """What was decided about one command of one pipeline, and why."""

    pipeline: str
    job: str
    info: CommandInfo
    parts: CommandParts
    key: str
    decision: Decision
    reasons: tuple[str, ...]
    to_do: tuple[PlannedItem, ...]
    done: tuple[PlannedItem, ...]
    requires: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command's name."""
        return self.info.name

    @property
    def num_items(self) -> int:
        """How many items there are, done or not (1 for a command without items)."""
        return len(self.to_do) + len(self.done)

    def record(self) -> dict[str, Any]:
        """`items/<job>.json`: what the tasks of this command work through."""
        return {
            "job": self.job,
            "pipeline": self.pipeline,
            **self.parts.to_json(),
            "key": self.key,
            "required_jobs": list(self.requires),
            "resources": asdict(Resources.of(self.info)),
            "items": [{"id": i.id, "key": i.key, "group": i.group, "inputs": dict(i.inputs)} for i in self.to_do],
            "done": [{"id": i.id, "key": i.key} for i in self.done],
        }

    def summary(self) -> dict[str, Any]:
        """The command's entry in `plan.json`."""
        return {
            "command": self.command,
            "job": self.job,
            "key": self.key,
            "decision": self.decision,
            "reasons": list(self.reasons),
            "num_items": self.num_items,
            "num_to_do": len(self.to_do),
            "requires": list(self.requires),
        }


@dataclass(frozen=True)
class RunPlan:
    """The plan for the runner, and beside it every command of every pipeline with its decision."""

    plan: Plan
    commands: tuple[CommandPlan, ...]
    roots: Mapping[str, str]

    def of(self, job_id: str) -> CommandPlan:
        """What was decided about a job."""
        return next(command for command in self.commands if command.job == job_id)

    def to_json(self, *, with_items: bool = False) -> dict[str, Any]:
        """`plan.json`; `with_items` adds the tasks and the ids of their items (for `--dry-run --json`)."""
        pipelines: dict[str, Any] = {name: {"root_uri": root, "commands": []} for name, root in self.roots.items()}
        for command in self.commands:
            pipelines[command.pipeline]["commands"].append(command.summary())
        jobs = [self._job_json(job, with_items) for job in self.plan.jobs]
        return {"format": 1, "pipelines": pipelines, "jobs": jobs}

    def _job_json(self, job: Job, with_items: bool) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "id": job.id,
            "pipeline": job.pipeline,
            "command": job.command,
            "requires": list(job.requires),
            "num_splits": len(job.tasks),
            "resources": asdict(job.resources),
        }
        if with_items:
            shares = split_shares(self.of(job.id).to_do, len(job.tasks), lambda item: item.group)
            entry["tasks"] = [
                {**asdict(task), "items": [item.id for item in share]}
                for task, share in zip(job.tasks, shares, strict=True)
            ]
        return entry


@dataclass(frozen=True)
class Selection:
    """Which commands the user asked for.

    Args:
        commands: names as typed, or empty for all.
        first, last: `--from` and `--to`.
        rerun: run the selected ones even where they are done.
    """

    commands: tuple[str, ...] = ()
    first: str | None = None
    last: str | None = None
    rerun: bool = False


def split_shares(items: Sequence[Any], num_splits: int, group_of: Callable[[Any], str]) -> list[list[Any]]:
    """Contiguous, balanced shares: sizes differ by at most one, in every group and in all.

    Each group is cut on its own (so that 50 training and 25 validation scenes in 5 splits are 10 + 5 each); the shares
    that get one more rotate from group to group.
    """
    groups: dict[str, list[Any]] = {}
    for item in items:
        groups.setdefault(group_of(item), []).append(item)
    shares: list[list[Any]] = [[] for _ in range(num_splits)]
    offset = 0
    for members in groups.values():
        size, larger = divmod(len(members), num_splits)
        start = 0
        for index in range(num_splits):
            end = start + size + (1 if (index - offset) % num_splits < larger else 0)
            shares[index].extend(members[start:end])
            start = end
        offset = (offset + larger) % num_splits
    return shares


def make_tasks(job_id: str, num_splits: int) -> tuple[Task, ...]:
    """The tasks of a job; a single one has the job's own id."""
    if num_splits == 1:
        return (Task(job_id, job_id, 0, 1),)
    return tuple(Task(f"{job_id}.{i + 1}-of-{num_splits}", job_id, i, num_splits) for i in range(num_splits))


def ordered_commands(commands: Mapping[str, CommandInfo]) -> list[CommandInfo]:
    """The commands, each after those that it requires, else in order of definition.

    Raises:
        PlanError: for an unknown requirement or a cycle.
    """
    order: list[CommandInfo] = []
    placed: set[str] = set()

    def place(name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            raise PlanError(f"commands require each other in a circle: {' → '.join((*trail, name))}")
        if name in placed:
            return
        for required in commands[name].requires:
            if required not in commands:
                what, fix = unknown_name("command", required, commands)
                raise PlanError(f"{name} requires {required!r}: {what}", fix=fix)
            place(required, (*trail, name))
        placed.add(name)
        order.append(commands[name])

    for name in commands:
        place(name, ())
    return order


def select_commands(order: Sequence[CommandInfo], selection: Selection) -> set[str]:
    """The names that a selection stands for, always in the pipeline's sense of order.

    Raises:
        PlanError: for a name that is not a command, where `--from` comes after `--to`, or if nothing is left.
    """
    names = [info.name for info in order]
    asked = [*selection.commands, *(n for n in (selection.first, selection.last) if n)]
    unknown = [name for name in asked if name not in names]
    if unknown:
        what, fix = unknown_name("command", unknown[0], names)
        raise PlanError(
            what, fix=fix, findings=[Finding("", unknown_name("command", n, names)[0]) for n in unknown[1:]]
        )
    start = names.index(selection.first) if selection.first else 0
    end = names.index(selection.last) if selection.last else len(names) - 1
    if start > end:
        raise PlanError(
            f"--from {selection.first} comes after --to {selection.last}", fix=f"the order is: {', '.join(names)}"
        )
    window = names[start : end + 1]
    selected = {name for name in window if not selection.commands or name in selection.commands}
    if not selected:
        raise PlanError(
            f"{', '.join(selection.commands)}: not between --from {names[start]} and --to {names[end]}",
            fix="name commands, or give --from and --to",
        )
    return selected


@dataclass(frozen=True)
class PipelineState:
    """A pipeline with what planning needs to know of the world.

    Args:
        pipeline: the pipeline.
        name: its name, unique in the plan.
        done: the manifests and outputs found under its root.
        fingerprints: URI -> token of every input.
    """

    pipeline: Pipeline
    name: str
    done: DoneState
    fingerprints: Mapping[str, str] = field(default_factory=dict)


def plan_run(states: Sequence[PipelineState], *, splits: int = 1, selection: Selection = Selection()) -> RunPlan:
    """Plan one run over one or several pipelines.

    Raises:
        PlanError: all that is wrong with the selection: unknown names, requirements that are neither done nor selected.
    """
    decided: list[CommandPlan] = []
    problems: list[Finding] = []
    for state in states:
        commands = _plan_pipeline(state, selection)
        decided += commands
        problems += _missing_requirements(commands)
    if problems:
        raise PlanError(
            "the selected commands need others that are not done",
            findings=problems,
            fix="leave out the selection to run what is needed, or start further up with --from",
        )
    roots = {state.name: state.pipeline._config.root_uri for state in states}
    return RunPlan(Plan(tuple(_jobs(decided, splits))), tuple(decided), roots)


def _plan_pipeline(state: PipelineState, selection: Selection) -> list[CommandPlan]:
    order = ordered_commands(type(state.pipeline).commands())
    selected = select_commands(order, selection)
    planned: dict[str, CommandPlan] = {}
    for info in order:
        required = {name: planned[name] for name in info.requires}
        forced = selection.rerun and info.name in selected
        planned[info.name] = _plan_command(state, info, required, is_selected=info.name in selected, is_forced=forced)
    return list(planned.values())


def _plan_command(
    state: PipelineState, info: CommandInfo, required: Mapping[str, CommandPlan], *, is_selected: bool, is_forced: bool
) -> CommandPlan:
    parts = command_parts(state.pipeline, info, state.fingerprints, {n: r.key for n, r in required.items()})
    items = plan_items(state.pipeline, info, parts, state.fingerprints)
    key = job_key(shared_digest(parts), None if info.items is None else [(i.id, i.key) for i in items])
    problems = {i.id: state.done.problem(info.name, i.id, i.key) for i in items}
    to_do = tuple(i for i in items if is_forced or problems[i.id] is not None)
    done = tuple(i for i in items if not (is_forced or problems[i.id] is not None))
    decision: Decision = "not selected" if not is_selected else "run" if to_do else "done"
    reasons = _reasons(state, info, parts, to_do, len(items), problems, is_forced)
    return CommandPlan(
        pipeline=state.name,
        job=f"{state.name}.{info.name}",
        info=info,
        parts=parts,
        key=key,
        decision=decision,
        reasons=tuple(reasons),
        to_do=to_do,
        done=done,
        requires=tuple(f"{state.name}.{name}" for name in info.requires),
    )


def command_parts(
    pipeline: Pipeline, info: CommandInfo, fingerprints: Mapping[str, str], requires: Mapping[str, str]
) -> CommandParts:
    """What all items of a command share in their keys."""
    from rv_core.config import to_plain
    from rv_core.config_paths import field_at

    config = pipeline._config
    reads = {name: to_plain(field_at(config, name)) for name in info.reads}
    for path in info.ignores:
        field_at(config, path)  # a field that is not there is told with its near miss
        _leave_out(reads, path, info.name)
    inputs = {uri: fingerprints.get(uri, "missing") for uri in shared_inputs(pipeline, info)}
    return CommandParts(info.name, info.version, reads, inputs, dict(requires))


def _leave_out(reads: dict[str, Any], path: str, command: str) -> None:
    """Remove a field from the plain values of the fields that a command reads."""
    for name, value in reads.items():
        if path.startswith(f"{name}."):
            *parents, last = path.removeprefix(f"{name}.").split(".")
            reduce(getitem, parents, value).pop(last, None)
            return
    raise PlanError(
        f"the command {command!r} ignores {path!r}, which is not within a field that it reads",
        fix=f"name a field below one of reads: {', '.join(reads) or '(there are none)'}",
    )


def shared_inputs(pipeline: Pipeline, info: CommandInfo) -> list[str]:
    """The inputs that belong to no single item: of a command without items all, else those of its `reads`."""
    if info.items is None:
        return pipeline.inputs(info.name, None)
    return []


def plan_items(
    pipeline: Pipeline, info: CommandInfo, parts: CommandParts, fingerprints: Mapping[str, str]
) -> list[PlannedItem]:
    """The items of a command with their keys, in order; one item `all` for a command without items.

    Raises:
        PlanError: if two items have one id.
    """
    from rv_core.config import to_plain

    shared = shared_digest(parts)
    groups = pipeline.items_of(info.name)
    if groups is None:
        return [PlannedItem(WHOLE, shared, "", {}, None)]
    found: dict[str, PlannedItem] = {}
    for group, items in groups.items():
        for item in items:
            name = item_id(item)
            if name in found:
                raise PlanError(
                    f"two items of {info.name} have the id {name!r}", fix="give every item an id of its own"
                )
            inputs = {uri: fingerprints.get(uri, "missing") for uri in pipeline.inputs(info.name, item)}
            plain = [group, to_plain(item)]
            found[name] = PlannedItem(name, item_key(shared, plain, inputs), group, inputs, item)
    return list(found.values())


def input_uris(pipeline: Pipeline, commands: Iterable[CommandInfo]) -> list[str]:
    """Every URI whose fingerprint planning needs, each once."""
    uris: dict[str, None] = {}
    for info in commands:
        groups = pipeline.items_of(info.name)
        items = [None] if groups is None else [item for members in groups.values() for item in members]
        for item in items:
            uris.update(dict.fromkeys(pipeline.inputs(info.name, item)))
    return list(uris)


def _reasons(
    state: PipelineState,
    info: CommandInfo,
    parts: CommandParts,
    to_do: Sequence[PlannedItem],
    num_items: int,
    problems: Mapping[str, str | None],
    is_forced: bool,
) -> list[str]:
    """Why the command runs or is skipped, in at most a few lines; equal reasons of many items become one line."""
    if num_items == 0:
        return ["has no items"]
    if not to_do:
        return ["already done" if info.items is None else f"all {num_items} items already done"]
    by_reason: dict[str, list[str]] = {}
    for item in to_do:
        reason = "asked for by --rerun" if is_forced else _reason_of(state, info, parts, item, problems[item.id] or "")
        by_reason.setdefault(reason, []).append(item.id)
    if info.items is None:
        return list(by_reason)
    lines = [_reason_line(ids, reason, num_items) for reason, ids in by_reason.items()]
    return lines if len(lines) <= 6 else [*lines[:5], f"and {len(lines) - 5} more reasons"]


def _reason_line(ids: Sequence[str], reason: str, num_items: int) -> str:
    if len(ids) == num_items and num_items > 1:
        return f"{reason} (all {num_items} items)"
    return f"{', '.join(ids) if len(ids) <= 3 else f'{ids[0]}, {ids[1]} and {len(ids) - 2} more'}: {reason}"


def _reason_of(state: PipelineState, info: CommandInfo, parts: CommandParts, item: PlannedItem, problem: str) -> str:
    from rv_core.config import to_plain

    if problem != "not done yet":
        return problem
    old = state.done.last_parts(info.name, item.id)
    if old is None:
        return problem
    value = None if info.items is None else to_plain(item.value)
    new = {**parts.to_json(), "item": value, "item_inputs": dict(item.inputs)}
    return "; ".join(explain_change(old, new)) or "its key changed"


def _missing_requirements(commands: Sequence[CommandPlan]) -> list[Finding]:
    by_job = {command.job: command for command in commands}
    return [
        Finding(command.job, f"requires {by_job[job].command}, which is not done ({by_job[job].reasons[0]})")
        for command in commands
        if command.decision == "run"
        for job in command.requires
        if by_job[job].decision == "not selected" and by_job[job].to_do
    ]


def _jobs(decided: Collection[CommandPlan], splits: int) -> Iterable[Job]:
    runs = {command.job for command in decided if command.decision == "run"}
    for command in decided:
        if command.job not in runs:
            continue
        num_splits = 1 if command.info.items is None else max(1, min(splits, len(command.to_do)))
        yield Job(
            id=command.job,
            pipeline=command.pipeline,
            command=command.command,
            tasks=make_tasks(command.job, num_splits),
            requires=tuple(job for job in _nearest_running(command, decided, runs)),
            resources=Resources.of(command.info),
        )


def _nearest_running(command: CommandPlan, decided: Collection[CommandPlan], runs: set[str]) -> list[str]:
    """The required jobs of this plan; a job that is done stands for those it requires itself."""
    by_job = {other.job: other for other in decided}
    found: dict[str, None] = {}

    def visit(job: str) -> None:
        if job in runs:
            found[job] = None
        else:
            for further in by_job[job].requires:
                visit(further)

    for job in command.requires:
        visit(job)
    return list(found)
