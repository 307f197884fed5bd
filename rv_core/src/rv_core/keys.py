"""Keys: what the outputs of an item or a job depend on, as 16 hexadecimal digits. Pure.

A key covers the command and its version, the config fields it declares, the item, the fingerprints of the inputs and
the job keys of what it requires. It holds neither the number of splits nor the runner nor the root.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

KEY_DIGITS = 16


def digest(value: Any) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]


@dataclass(frozen=True)
class CommandParts:
    """The parts of a key that all items of a command share.

    Args:
        command: the command's name.
        version: its declared version.
        reads: dotted field -> plain JSON value.
        inputs: URI -> fingerprint, of the URIs in `reads`.
        requires: required command -> job key.
    """

    command: str
    version: int
    reads: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    requires: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, as they stand in a manifest and enter the digest."""
        return {
            "command": self.command,
            "version": self.version,
            "reads": dict(self.reads),
            "inputs": dict(self.inputs),
            "requires": dict(self.requires),
        }


def shared_digest(parts: CommandParts) -> str:
    """The digest of what all items of a command share; computed once per command."""
    return digest(parts.to_json())


def item_key(shared: str, item: Any, inputs: Mapping[str, str]) -> str:
    """The key of one item.

    Args:
        shared: `shared_digest` of its command.
        item: the item as a plain JSON value.
        inputs: URI -> fingerprint of the item's own inputs.
    """
    return digest([shared, item, dict(inputs)])


def job_key(shared: str, item_keys: Iterable[tuple[str, str]] | None) -> str:
    """The key of a whole command: of what its items share and, where it has items, of all (id, key) in order."""
    return shared if item_keys is None else digest([shared, list(item_keys)])


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
    leaves = list(_leaves(path, old, new))
    shown = [f"{where or 'item'} {_short(a)} → {_short(b)}" for where, a, b in leaves[:3]]
    return shown + ([f"and {len(leaves) - 3} more in {path or 'the item'}"] if len(leaves) > 3 else [])


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
