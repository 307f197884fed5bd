"""What others have done already, or do in the same run: items under equal keys are equal work, whichever root they lie in. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rv_core.plan.claims import Owner, claim
from rv_core.plan.items import PlannedItem
from rv_core.plan.manifests import DoneState, Manifest

#: (root, name of a manifest) -> why the outputs that it names cannot be taken.
Refused = Mapping[tuple[str, str], str]


class OtherRoot(NamedTuple):
    """A root whose work may be taken.

    Args:
        root_uri: where it is.
        kind: the type of the config that was run there; the work of another pipeline is never equal.
        done: what is done there.
    """

    root_uri: str
    kind: str
    done: DoneState


class Taken(NamedTuple):
    """An item that is not done here and is done in another root, under the same key.

    Args:
        item: the item.
        root_uri: the other root.
        manifest: the manifest there.
    """

    item: PlannedItem
    root_uri: str
    manifest: Manifest


def find_taken(
    command: str, items: Iterable[PlannedItem], others: Sequence[OtherRoot], owners: dict[str, Owner], refused: Refused
) -> list[Taken]:
    """The items of a command that are done in other roots; the first root that has one counts.

    Args:
        command: the command's name.
        items: those that are not done here.
        others: where to look.
        owners: whose each output is here; those of what is found are added. What would contradict them is not taken.
        refused: what cannot be taken.
    """
    found = []
    for item in items:
        for other in others:
            manifest = other.done.manifest(command, item.id, item.key)
            if manifest is None or (other.root_uri, manifest.name) in refused:
                continue
            mine = Owner(command, item.id, item.key)
            is_free = all(owners.get(output["path"], mine) == mine for output in manifest.outputs)
            if is_free and other.done.problem(command, item.id, item.key) is None:
                claim(owners, [manifest])
                found.append(Taken(item, other.root_uri, manifest))
                break
    return found


def why_refused(command: str, item: PlannedItem, others: Sequence[OtherRoot], refused: Refused) -> str:
    """Why an item that another root has done cannot be taken from there; "" where none has, or nobody has tried."""
    reasons = []
    for other in others if refused else ():
        manifest = other.done.manifest(command, item.id, item.key)
        if manifest is not None and (why := refused.get((other.root_uri, manifest.name))):
            reasons.append(f"cannot be taken from {other.root_uri}: {why}")
    return "; ".join(reasons)
