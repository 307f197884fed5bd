"""What is to become of each item of a pipeline: to do, done, taken from another root, or shared with another job. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rv_core.pipeline.pipeline import CommandInfo
from rv_core.plan.claims import Owner, claim, contradicted
from rv_core.plan.items import PipelineState, PlannedItem, command_parts, plan_items
from rv_core.plan.keys import IN_FULL, CommandParts, InRoot, job_key, shared_digest
from rv_core.plan.manifests import DoneState, Manifest
from rv_core.plan.selection import Selection, ordered_commands, present_commands, select_commands
from rv_core.plan.sharing import OtherRoot, Refused, Taken, find_taken, why_refused


class Keyed(NamedTuple):
    """A command with its items and keys, before anything was decided about it."""

    info: CommandInfo
    parts: CommandParts
    items: tuple[PlannedItem, ...]
    key: str
    named: InRoot

    def done_by(self, done: DoneState) -> Iterable[Manifest]:
        """The manifests of its items under the keys of now."""
        found = (done.manifest(self.info.name, item.id, item.key) for item in self.items)
        return (manifest for manifest in found if manifest is not None)


@dataclass
class Verdict:
    """What is to become of the items of a command, while it is being decided.

    Args:
        job: its job.
        keyed: the command.
        problems: id -> why it is not done.
        is_selected: whether it was asked for.
        is_forced: whether it is to be done although it is done.
        to_do: what its own job does.
        taken: what other roots have done.
        shared: job of another pipeline -> what that does for this root too.
        also_for: other root -> ids of what this job does for it too.
    """

    job: str
    keyed: Keyed
    problems: dict[str, str | None]
    is_selected: bool
    is_forced: bool
    to_do: tuple[PlannedItem, ...]
    taken: tuple[Taken, ...] = ()
    shared: dict[str, list[PlannedItem]] = field(default_factory=dict)
    also_for: dict[str, list[str]] = field(default_factory=dict)


def share_work(pipelines: Iterable[tuple[PipelineState, Mapping[str, Verdict]]]) -> None:
    """Give what several pipelines have to do to the first of them; it does that for the roots of all."""
    first: dict[tuple[str, str, str, str], Verdict] = {}
    for state, verdicts in pipelines:
        for name, verdict in verdicts.items():
            own = []
            for item in verdict.to_do if verdict.is_selected and state.kind else ():
                other = first.setdefault((state.kind, name, item.id, item.key), verdict)
                if other is verdict:
                    own.append(item)
                    continue
                verdict.shared.setdefault(other.job, []).append(item)
                other.also_for.setdefault(state.pipeline.config.root_uri, []).append(item.id)
            if verdict.shared:
                verdict.to_do = tuple(own)


def verdicts_on(
    state: PipelineState, selection: Selection, others: Sequence[OtherRoot], refused: Refused
) -> tuple[dict[str, Verdict], dict[str, Owner]]:
    """The verdict on every command of a pipeline, in order, and whose each output of what is done or taken is."""
    order = ordered_commands(present_commands(state.pipeline))
    selected = select_commands(order, selection)
    named = InRoot(state.pipeline.config.root_uri, state.fingerprints)
    keyed = _all_with_keys(state, order, named)
    if named and not any(any(command.done_by(state.done)) for command in keyed.values()):
        # An earlier version keyed what lies under the root by its full name: what it has done is done.
        in_full = _all_with_keys(state, order, IN_FULL)
        if any(any(command.done_by(state.done)) for command in in_full.values()):
            keyed = in_full
    owners: dict[str, Owner] = {}
    shared = [one for command in keyed.values() for one in claim(owners, command.done_by(state.done))]
    verdicts = _verdicts(state, keyed, contradicted(shared), selected, is_rerun=selection.rerun)
    _take(verdicts, others, owners, refused)
    return verdicts, owners


def _verdicts(
    state: PipelineState,
    keyed: Mapping[str, Keyed],
    wrong: Mapping[Owner, str],
    selected: Collection[str],
    *,
    is_rerun: bool,
) -> dict[str, Verdict]:
    """By the state of the root alone."""
    verdicts = {}
    for name, command in keyed.items():
        problems = {i.id: state.done.problem(name, i.id, i.key) for i in command.items}
        if wrong:
            problems |= {i.id: reason for i in command.items if (reason := wrong.get(Owner(name, i.id, i.key)))}
        is_forced = is_rerun and name in selected
        to_do = tuple(i for i in command.items if is_forced or problems[i.id] is not None)
        verdicts[name] = Verdict(f"{state.name}.{name}", command, problems, name in selected, is_forced, to_do)
    return verdicts


def _take(
    verdicts: Mapping[str, Verdict], others: Sequence[OtherRoot], owners: dict[str, Owner], refused: Refused
) -> None:
    """Find what other roots have done of the selected commands, and of those that must be done for them to run."""
    needed: set[str] = set()
    for name, verdict in reversed(list(verdicts.items())) if others else ():
        if not (verdict.is_selected or name in needed):
            continue
        if not verdict.is_forced:
            verdict.taken = tuple(find_taken(name, verdict.to_do, others, owners, refused))
            gone = {taken.item.id for taken in verdict.taken}
            verdict.to_do = tuple(item for item in verdict.to_do if item.id not in gone)
            verdict.problems |= {i.id: why for i in verdict.to_do if (why := why_refused(name, i, others, refused))}
        if verdict.is_selected and verdict.to_do:
            needed.update(verdict.keyed.info.requires)


def _all_with_keys(state: PipelineState, order: Sequence[CommandInfo], named: InRoot) -> dict[str, Keyed]:
    keyed: dict[str, Keyed] = {}
    for info in order:
        keyed[info.name] = _with_keys(state, info, {name: keyed[name].key for name in info.requires}, named)
    return keyed


def _with_keys(state: PipelineState, info: CommandInfo, required: Mapping[str, str], named: InRoot) -> Keyed:
    parts = command_parts(state.pipeline, info, state.fingerprints, required, named)
    items = plan_items(state.pipeline, info, parts, state.fingerprints, named)
    key = job_key(shared_digest(parts), None if info.items is None else [(i.id, i.key) for i in items])
    return Keyed(info, parts, tuple(items), key, named)
