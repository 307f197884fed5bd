"""Why a command runs or is skipped, in words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rv_core.pipeline.pipeline import CommandInfo
from rv_core.plan.items import PipelineState, PlannedItem
from rv_core.plan.keys import IN_FULL, KEPT_DIGEST, CommandParts, InRoot


def reasons_for(
    state: PipelineState,
    info: CommandInfo,
    parts: CommandParts,
    to_do: Sequence[PlannedItem],
    num_items: int,
    problems: Mapping[str, str | None],
    is_forced: bool,
    named: InRoot = IN_FULL,
    *,
    elsewhere: Sequence[tuple[str, PlannedItem]] = (),
) -> list[str]:
    """Why items are to do, and from where others are taken, in a few lines; equal reasons of many become one line."""
    by_reason: dict[str, list[str]] = {}
    for item in to_do:
        problem = problems[item.id] or ""
        reason = "asked for by --rerun" if is_forced else _reason_of(state, info, parts, item, problem, named)
        by_reason.setdefault(reason, []).append(item.id)
    for where, item in elsewhere:
        by_reason.setdefault(where, []).append(item.id)
    if info.items is None:
        return list(by_reason)
    lines = [_reason_line(ids, reason, num_items) for reason, ids in by_reason.items()]
    return lines if len(lines) <= 6 else [*lines[:5], f"and {len(lines) - 5} more reasons"]


def done_text(num_items: int, sources: Mapping[str, int], *, has_items: bool) -> str:
    """Why a command is skipped.

    Args:
        num_items: how many items it has.
        sources: root -> how many of them were taken from there.
        has_items: whether it has items.
    """
    if num_items == 0:
        return "has no items"
    return (f"all {num_items} items already done" if has_items else "already done") + taken_text(num_items, sources)


def taken_text(num_items: int, sources: Mapping[str, int]) -> str:
    """From where items were taken: `, taken from /data/a`; "" if from nowhere."""
    if not sources:
        return ""
    roots = ", ".join(sources)
    num_taken = sum(sources.values())
    return f", taken from {roots}" if num_taken == num_items else f", {num_taken} of them taken from {roots}"


def _reason_line(ids: Sequence[str], reason: str, num_items: int) -> str:
    if len(ids) == num_items and num_items > 1:
        return f"{reason} (all {num_items} items)"
    return f"{named_first(ids)}: {reason}"


def named_first(names: Sequence[str]) -> str:
    """Names, or the first two of many: `a, b and 4 more`."""
    return ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]} and {len(names) - 2} more"


def _reason_of(
    state: PipelineState, info: CommandInfo, parts: CommandParts, item: PlannedItem, problem: str, named: InRoot
) -> str:
    from rv_core.config.values import to_short

    if problem != "not done yet":
        return problem
    old = state.done.last_parts(info.name, item.id)
    if old is None:
        return problem
    value = None if info.items is None else named(to_short(item.value))
    before = old.get("reads", {})
    reads = {n: parts.kept_reads[n] if _is_digest(before.get(n)) else read for n, read in parts.reads.items()}
    new = {**parts.to_json(), "reads": reads, "item": value, "item_inputs": dict(item.inputs)}
    return "; ".join(explain_change(old, new)) or "its key changed"


def explain_change(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Why a key is another one than before, in words, most telling first.

    Args:
        old: `{"version", "reads", "inputs", "requires", "item", "item_inputs"}` of the last manifest.
        new: the same of the plan.
    """
    reasons = [*_changed_inputs(old, new), *_changed_values("", old.get("item"), new.get("item"))]
    for name in {**old.get("reads", {}), **new.get("reads", {})}:
        reasons += _changed_values(name, old.get("reads", {}).get(name), new.get("reads", {}).get(name))
    if old.get("version") != new.get("version"):
        reasons.append(f"command version {old.get('version')} → {new.get('version')}")
    for name in {**old.get("requires", {}), **new.get("requires", {})}:
        if old.get("requires", {}).get(name) != new.get("requires", {}).get(name):
            reasons.append(f"{name} changed")
    return reasons


def _changed_inputs(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    reasons = []
    before = {**old.get("inputs", {}), **old.get("item_inputs", {})}
    after = {**new.get("inputs", {}), **new.get("item_inputs", {})}
    for uri, token in after.items():
        name = uri.rstrip("/").rsplit("/", 1)[-1]
        if uri in before and before[uri] != token:
            reasons.append(f"{name} is missing" if token == "missing" else f"{name} changed")
    return reasons


def _changed_values(path: str, old: Any, new: Any) -> list[str]:
    """The differing leaves of two plain values, as `path old → new`; at most three a field."""
    if _is_digest(old):
        return [] if old == new else [f"{path} changed"]
    leaves = list(_leaves(path, old, new))
    shown = [f"{where or 'item'} {_short(a)} → {_short(b)}" for where, a, b in leaves[:3]]
    return shown + ([f"and {len(leaves) - 3} more in {path or 'the item'}"] if len(leaves) > 3 else [])


def _is_digest(value: Any) -> bool:
    return isinstance(value, dict) and list(value) == [KEPT_DIGEST]


def _leaves(path: str, old: Any, new: Any) -> Iterable[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            yield from _leaves(f"{path}.{name}" if path else name, old.get(name), new.get(name))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from _leaves(f"{path}[{index}]", a, b)
    elif old != new:
        yield path, old, new


def _short(value: Any, limit: int = 40) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, list) and len(text) > limit:
        return f"[{len(value)} values]"
    return text if len(text) <= limit else text[: limit - 1] + "…"
