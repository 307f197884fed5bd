"""The items of a command with their keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import getitem
from typing import TYPE_CHECKING, Any, NamedTuple

from rv_core.errors import PlanError
from rv_core.pipeline.items import items_by_id
from rv_core.pipeline.overrides import method_of
from rv_core.pipeline.pipeline import CommandInfo
from rv_core.plan.keys import IN_FULL, CommandParts, InRoot, item_key, shared_digest
from rv_core.plan.shares import WHOLE

if TYPE_CHECKING:
    from rv_core.pipeline.pipeline import Pipeline
    from rv_core.plan.manifests import DoneState


class PlannedItem(NamedTuple):
    """One item with its key, its group and the fingerprints of its own inputs (`./…`: under the root)."""

    id: str
    key: str
    group: str
    inputs: Mapping[str, str]
    value: Any


class PipelineState(NamedTuple):
    """A pipeline with what planning needs to know of the world.

    Args:
        pipeline: the pipeline.
        name: its name, unique in the plan.
        done: the manifests and outputs found under its root.
        fingerprints: URI -> token of every input.
        input_states: URI -> what tells cheaply that the input has not changed since, where there is such a thing.
        kind: the type of its config, as a saved config names it; with "" no other pipeline's work is equal.
    """

    pipeline: Pipeline
    name: str
    done: DoneState
    fingerprints: Mapping[str, str] = {}
    input_states: Mapping[str, Any] = {}
    kind: str = ""


def command_parts(
    pipeline: Pipeline,
    info: CommandInfo,
    fingerprints: Mapping[str, str],
    requires: Mapping[str, str],
    named: InRoot = IN_FULL,
) -> CommandParts:
    """What all items of a command share in their keys; `named` names what lies under the root."""
    from rv_core.config.dotted_paths import field_at, outward
    from rv_core.config.values import is_as_before, to_short

    config = pipeline.config
    reads = {name: named(to_short(field_at(config, name))) for name in info.reads if not is_as_before(config, name)}
    for path in info.ignores:
        field_at(config, path)  # a field that is not there is told with its near miss
        if path in reads or not any(is_as_before(config, name) for name in outward(path) if name):
            _leave_out(reads, path, info.name)
    reads |= named(_facts(pipeline, info))
    inputs = {named(uri): fingerprints.get(uri, "missing") for uri in shared_inputs(pipeline, info)}
    return CommandParts(info.name, info.version, reads, inputs, dict(requires))


def _facts(pipeline: Pipeline, info: CommandInfo) -> dict[str, Any]:
    """What the pipeline tells of a command, under names of its own.

    Raises:
        PlanError: if one is the name of a field, whose changes would then be nothing to the key.
    """
    facts = dict(method_of(pipeline, "facts")(info.name))
    if taken := [name for name in facts if name in info.reads]:
        raise PlanError(
            f"facts({info.name!r}) of {type(pipeline).__name__} names {', '.join(map(repr, taken))}",
            why="the command reads a field of that name: the fact would stand in its place, and no change of it be seen",
            fix="give the fact another name",
        )
    return facts


def _leave_out(reads: dict[str, Any], path: str, command: str) -> None:
    """Remove a field from the plain values of the fields that a command reads; one that `reads` itself names goes."""
    if path in reads:
        del reads[path]
        return
    for name, value in reads.items():
        if path.startswith(f"{name}."):
            *parents, last = path.removeprefix(f"{name}.").split(".")
            reduce(getitem, parents, value).pop(last, None)
            return
    raise PlanError(
        f"the command {command!r} ignores {path!r}, which is not within a field that it reads",
        fix=f"name one of reads, or a field below one: {', '.join(reads) or '(there are none)'}",
    )


def shared_inputs(pipeline: Pipeline, info: CommandInfo) -> list[str]:
    """The inputs that belong to no single item: of a command without items all, else those of its `reads`."""
    if info.items is None:
        return pipeline.inputs(info.name, None)
    return []


def plan_items(
    pipeline: Pipeline,
    info: CommandInfo,
    parts: CommandParts,
    fingerprints: Mapping[str, str],
    named: InRoot = IN_FULL,
) -> list[PlannedItem]:
    """The items of a command with their keys, in order; one item `all` for a command without items.

    Raises:
        PlanError: if two items have one id.
    """
    from rv_core.config.values import to_short

    shared = shared_digest(parts)
    if info.items is None:
        return [PlannedItem(WHOLE, shared, "", {}, None)]
    found = []
    for name, (group, item) in items_by_id(pipeline, info.name).items():
        inputs = {named(uri): fingerprints.get(uri, "missing") for uri in pipeline.inputs(info.name, item)}
        plain = named(to_short(item))
        found.append(PlannedItem(name, item_key(shared, [group, plain], inputs), group, inputs, item))
    return found


def input_uris(pipeline: Pipeline, commands: Iterable[CommandInfo]) -> list[str]:
    """Every URI whose fingerprint planning needs, each once."""
    uris: dict[str, None] = {}
    for info in commands:
        groups = pipeline.items_of(info.name)
        items = [None] if groups is None else [item for members in groups.values() for item in members]
        for item in items:
            uris.update(dict.fromkeys(pipeline.inputs(info.name, item)))
    return list(uris)
