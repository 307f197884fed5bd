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

from rv_core.errors import PlanError

KEY_DIGITS = 16


def digest(value: Any) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    try:
        data = text.encode()
    except UnicodeEncodeError as err:
        value = ascii(text[max(0, err.start - 40) : err.end + 20])
        raise PlanError(
            f"a value that the outputs depend on holds bytes that are no UTF-8: …{value}…",
            fix="rename the file that it comes from, or leave the value out of `reads` and of the item",
        ) from err
    return hashlib.sha256(data).hexdigest()[:KEY_DIGITS]


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
