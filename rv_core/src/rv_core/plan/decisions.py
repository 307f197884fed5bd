"""From pipelines and what is already done to a runner-neutral graph of jobs. Pure.

Nothing here touches a file: what is done, and which fingerprints the inputs have, come in as values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, NamedTuple

from rv_core.errors import Finding, PlanError
from rv_core.pipeline.pipeline import CommandInfo
from rv_core.plan.claims import Owner
from rv_core.plan.graph import Job, Plan, Resources, make_tasks
from rv_core.plan.items import PipelineState, PlannedItem
from rv_core.plan.keys import CommandParts
from rv_core.plan.reasons import done_text, named_first, reasons_for
from rv_core.plan.selection import EVERYTHING, Selection
from rv_core.plan.shares import split_shares
from rv_core.plan.sharing import OtherRoot, Refused, Taken
from rv_core.plan.verdicts import Verdict, share_work, verdicts_on

Decision = Literal["run", "done", "taken", "shared", "not selected"]


class CommandPlan(NamedTuple):
    """What was decided about one command of one pipeline, and why.

    Its items are to do, done, taken from other roots before the first task is started, or shared: done by the job of
    another pipeline of the run, for this root too. `sources` counts, by root, those that are taken and those that were
    taken earlier; `also_for` holds, by root, the ids of items that this job does for other pipelines.
    """

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
    input_states: Mapping[str, Any] = {}
    taken: tuple[Taken, ...] = ()
    is_selected: bool = True
    sources: Mapping[str, int] = {}
    shared: Mapping[str, Sequence[PlannedItem]] = {}
    also_for: Mapping[str, Sequence[str]] = {}

    @property
    def shared_items(self) -> list[PlannedItem]:
        """What jobs of other pipelines of the run do for this root."""
        return [item for items in self.shared.values() for item in items]

    @property
    def command(self) -> str:
        """The command's name."""
        return self.info.name

    @property
    def num_items(self) -> int:
        """How many items there are, done or not (1 for a command without items)."""
        return len(self.to_do) + len(self.done) + len(self.taken) + len(self.shared_items)

    def record(self) -> dict[str, Any]:
        """`items/<job>.json`: what the tasks of this command work through."""
        there = [*self.done, *(taken.item for taken in self.taken), *self.shared_items]
        return {
            "job": self.job,
            "pipeline": self.pipeline,
            **self.parts.to_json(),
            "reads": dict(self.parts.reads if self.info.items is None else self.parts.kept_reads),
            "key": self.key,
            "required_jobs": list(self.requires),
            "resources": asdict(Resources.of(self.info)),
            "items": [{"id": i.id, "key": i.key, "group": i.group, "inputs": dict(i.inputs)} for i in self.to_do],
            "done": [{"id": i.id, "key": i.key} for i in there],
            **({"also_for": {root: list(names) for root, names in self.also_for.items()}} if self.also_for else {}),
            "input_states": self._states_of_inputs(),
        }

    def _states_of_inputs(self) -> dict[str, Any]:
        """What tells a task that the inputs of its items are still those that were planned with."""
        inputs = dict.fromkeys(uri for uris in (self.parts.inputs, *(i.inputs for i in self.to_do)) for uri in uris)
        return {uri: self.input_states[uri] for uri in inputs if uri in self.input_states}

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
            **({"taken": dict(self.sources)} if self.sources else {}),
            **({"shared": {job: len(items) for job, items in self.shared.items()}} if self.shared else {}),
            **({"also_for": {root: len(names) for root, names in self.also_for.items()}} if self.also_for else {}),
        }


class RunPlan(NamedTuple):
    """The plan for the runner, and beside it every command of every pipeline with its decision.

    Args:
        plan: what the runner gets.
        commands: every command of every pipeline.
        roots: pipeline -> its root.
        owners: pipeline -> output -> whose it is, of all that is done.
    """

    plan: Plan
    commands: tuple[CommandPlan, ...]
    roots: Mapping[str, str]
    owners: Mapping[str, Mapping[str, Owner]] = {}

    @property
    def num_taken(self) -> int:
        """How many items are to be taken from other roots."""
        return sum(len(command.taken) for command in self.commands)

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


def plan_run(
    states: Sequence[PipelineState],
    *,
    splits: int = 1,
    selection: Selection = EVERYTHING,
    others: Sequence[OtherRoot] = (),
    refused: Refused | None = None,
) -> RunPlan:
    """Plan one run over one or several pipelines.

    Args:
        states: the pipelines.
        splits: how many tasks a command with items becomes, at most.
        selection: which commands.
        others: roots whose work is taken where it is equal, besides those of the pipelines themselves.
        refused: what cannot be taken from there.

    Raises:
        PlanError: all that is wrong with the selection: unknown names, requirements that are neither done nor selected.
    """
    decided: list[CommandPlan] = []
    problems: list[Finding] = []
    owners: dict[str, Mapping[str, Owner]] = {}
    beside = [OtherRoot(state.pipeline.config.root_uri, state.kind, state.done) for state in states]
    looked = [verdicts_on(state, selection, _akin(state, [*beside, *others]), refused or {}) for state in states]
    share_work(zip(states, (verdicts for verdicts, _ in looked), strict=True))
    for state, (verdicts, owned) in zip(states, looked, strict=True):
        commands = [_plan_command(state, verdict) for verdict in verdicts.values()]
        to_do = {(c.command, item.id) for c in commands for item in (*c.to_do, *c.shared_items)}
        owners[state.name] = {path: owner for path, owner in owned.items() if owner[:2] not in to_do}
        decided += commands
        problems += _missing_requirements(commands)
    if problems:
        raise PlanError(
            "the selected commands need others that are not done",
            findings=problems,
            fix="leave out the selection to run what is needed, or start further up with --from",
        )
    roots = {state.name: state.pipeline.config.root_uri for state in states}
    return RunPlan(Plan(tuple(_jobs(decided, splits))), tuple(decided), roots, owners)


def _akin(state: PipelineState, others: Iterable[OtherRoot]) -> list[OtherRoot]:
    """The other roots of pipelines of the same kind."""
    own = state.pipeline.config.root_uri
    return [other for other in others if other.kind == state.kind != "" and other.root_uri != own]


def _plan_command(state: PipelineState, verdict: Verdict) -> CommandPlan:
    keyed, to_do, taken = verdict.keyed, verdict.to_do, verdict.taken
    info, parts, named = keyed.info, keyed.parts, keyed.named
    shared_items = [item for items in verdict.shared.values() for item in items]
    others = {item.id for item in (*to_do, *shared_items, *(one.item for one in taken))}
    done = tuple(i for i in keyed.items if i.id not in others)
    decision = _decision(verdict)
    manifests = (state.done.manifest(info.name, i.id, i.key) for i in done)
    before = Counter(manifest.taken_from for manifest in manifests if manifest is not None and manifest.taken_from)
    if others:
        elsewhere = [(f"taken from {one.root_uri}", one.item) for one in taken]
        elsewhere += [(f"done by {job}", item) for job, items in verdict.shared.items() for item in items]
        num_items, problems = len(keyed.items), verdict.problems
        reasons = reasons_for(
            state, info, parts, to_do, num_items, problems, verdict.is_forced, named, elsewhere=elsewhere
        )
        reasons += [f"also for {named_first(list(verdict.also_for))}"] if verdict.also_for else []
    else:
        reasons = [done_text(len(done), before, has_items=info.items is not None)]
    return CommandPlan(
        pipeline=state.name,
        job=f"{state.name}.{info.name}",
        info=info,
        parts=parts,
        key=keyed.key,
        decision=decision,
        reasons=tuple(reasons),
        to_do=to_do,
        done=done,
        requires=tuple(f"{state.name}.{name}" for name in info.requires),
        input_states={named(uri): found for uri, found in state.input_states.items()} if named else state.input_states,
        taken=taken,
        is_selected=verdict.is_selected,
        sources=before + Counter(one.root_uri for one in taken),
        shared=verdict.shared,
        also_for=verdict.also_for,
    )


def _decision(verdict: Verdict) -> Decision:
    if verdict.to_do:
        return "run" if verdict.is_selected else "not selected"
    if verdict.shared or verdict.taken:
        return "shared" if verdict.shared else "taken"
    return "done" if verdict.is_selected else "not selected"


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
    """The required jobs of this plan; a job that is done stands for those it requires itself.

    For what is shared stand the jobs that do it: each of another pipeline, earlier in the plan.
    """
    by_job = {other.job: other for other in decided}
    found: dict[str, None] = {}

    def visit(job: str) -> None:
        found.update(dict.fromkeys(by_job[job].shared))
        if job in runs:
            found[job] = None
        elif not by_job[job].shared:
            for further in by_job[job].requires:
                visit(further)

    for job in command.requires:
        visit(job)
    return list(found)
