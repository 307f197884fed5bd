"""Keys: what the outputs of an item or a job depend on, as 16 hexadecimal digits. Pure.

A key covers the command and its version, the config fields it declares, the item, the fingerprints of the inputs and
the job keys of what it requires. It holds neither the number of splits nor the runner nor the root.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from rv_core.errors import PlanError

KEY_DIGITS = 16
#: A field whose JSON is longer is kept in the manifest of each item as its digest: they would hold it as often as there
#: are items.
MAX_KEPT_CHARS = 65_536
#: The one key of what stands for such a value.
KEPT_DIGEST = "digest of the value"


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

    @cached_property
    def kept_reads(self) -> dict[str, Any]:
        """`reads` as the manifests of items keep it: long values as `{KEPT_DIGEST: digest}`, which tells that they changed."""
        return {name: _to_keep(value) for name, value in self.reads.items()}


def _to_keep(value: Any) -> Any:
    is_long = isinstance(value, list | dict | str) and len(json.dumps(value, ensure_ascii=False)) > MAX_KEPT_CHARS
    return {KEPT_DIGEST: digest(value)} if is_long else value


class InRoot:
    """Names what lies under a root relative to it, `./chip/a.npy`: keys hold nothing that a move of the root changes.

    Args:
        root_uri: the root.
        inputs: all inputs of its pipeline. Where none lies under it nothing is renamed.
    """

    def __init__(self, root_uri: str, inputs: Iterable[str]) -> None:
        prefix = f"{root_uri}/"
        self._prefix = prefix if any(uri.startswith(prefix) for uri in inputs) else ""

    def __bool__(self) -> bool:
        return bool(self._prefix)

    def __call__(self, plain: Any) -> Any:
        """A plain JSON value with the URIs in it renamed."""
        if not self._prefix:
            return plain
        if isinstance(plain, str):
            return f"./{plain[len(self._prefix) :]}" if plain.startswith(self._prefix) else plain
        if isinstance(plain, list):
            return [self(child) for child in plain]
        if isinstance(plain, dict):
            return {self(name): self(child) for name, child in plain.items()}
        return plain


#: Names everything in full, as keys did that are older than `InRoot`.
IN_FULL = InRoot("", ())


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
