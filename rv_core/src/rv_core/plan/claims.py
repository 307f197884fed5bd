"""Who has written which output, by the manifests of now; two that name one file contradict each other. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from rv_core.plan.manifests import Manifest
from rv_core.plan.shares import WHOLE


class Owner(NamedTuple):
    """An item of a command, or a command without items, under the key that it has now."""

    command: str
    item: str
    key: str

    def __str__(self) -> str:
        return self.command if self.item == WHOLE else f"{self.item} of {self.command}"


class SharedOutput(NamedTuple):
    """A file that two manifests name as theirs.

    Args:
        path: its name relative to the root.
        first, second: whose manifests name it.
    """

    path: str
    first: Owner
    second: Owner

    def __str__(self) -> str:
        return f"{self.path} is an output of {self.first} and of {self.second}"


def claim(owners: dict[str, Owner], manifests: Iterable[Manifest]) -> list[SharedOutput]:
    """Add the outputs of some manifests to those that have an owner; gives those that had another one.

    Args:
        owners: path -> owner; what the manifests name is added.
        manifests: manifests under the keys of now.
    """
    shared = []
    for manifest in manifests:
        mine = Owner(manifest.command, manifest.item, manifest.key)
        for output in manifest.outputs:
            first = owners.setdefault(output["path"], mine)
            if first != mine:
                shared.append(SharedOutput(output["path"], first, mine))
    return shared


def contradicted(shared: Iterable[SharedOutput]) -> Mapping[Owner, str]:
    """Why each owner of a shared output is not done."""
    reasons: dict[Owner, str] = {}
    for one in shared:
        reasons.setdefault(one.first, str(one))
        reasons.setdefault(one.second, str(one))
    return reasons
