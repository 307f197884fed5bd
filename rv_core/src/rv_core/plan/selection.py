"""Which commands were asked for, and the order of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rv_core.errors import Finding, PlanError, unknown_name
from rv_core.pipeline.pipeline import CommandInfo, Pipeline


class Selection(NamedTuple):
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


#: Every command, where it is not done.
EVERYTHING = Selection()


def present_commands(pipeline: Pipeline) -> dict[str, CommandInfo]:
    """The commands that a pipeline has under its config: one that completes another is there only where it has items.

    It requires the other, and what requires the other requires it.

    Raises:
        PlanError: if a command completes what is no command, or has no items to do it for.
    """
    declared = type(pipeline).commands()
    completing = {name: info for name, info in declared.items() if info.completes}
    for name, info in completing.items():
        if info.completes not in declared or info.items is None:
            what, fix = unknown_name("command", info.completes, [other for other in declared if other != name])
            raise PlanError(
                f"{name} completes {info.completes!r}: {'it has no items' if info.items is None else what}",
                fix="give it items=…" if info.items is None else fix,
            )
    there = {name: info for name, info in completing.items() if any((pipeline.items_of(name) or {}).values())}
    found = {}
    for name, info in declared.items():
        if info.completes:
            if name in there:
                found[name] = info._replace(requires=tuple(dict.fromkeys((info.completes, *info.requires))))
            continue
        further = [other for other in there if there[other].completes in info.requires]
        found[name] = info._replace(requires=(*info.requires, *further)) if further else info
    return found


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
    return selected | {info.name for info in order if info.completes in selected}
