"""Where the roots of a run are now. Pure.

A record tells where its roots were when it ran. Since then they may have been moved, copied, renamed or mounted
elsewhere, and something else may lie where they were: a record is read where it was found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping


def present_roots(
    recorded: Mapping[str, str], here: str, *, lies_here: Callable[[str], bool], has_record: Callable[[str], bool]
) -> dict[str, str]:
    """Pipeline name -> the root that it has now.

    Args:
        recorded: pipeline name -> the root that the record tells.
        here: the root under which the record was found.
        lies_here: whether what a pipeline worked through is recorded under `here`; asked where there are several.
        has_record: whether the same run is recorded under a root.
    """
    if here in recorded.values():
        return dict(recorded)
    if len(recorded) == 1:
        return dict.fromkeys(recorded, here)
    own = [name for name in recorded if lies_here(name)]
    found = {}
    for name, root in recorded.items():
        moved_along = [_moved_along(root, recorded[other], here) for other in own]
        candidates = [here] if name in own else [*filter(None, moved_along), root]
        found[name] = next((place for place in candidates if name in own or has_record(place)), root)
    return found


def _moved_along(root: str, before: str, now: str) -> str:
    """Where a root is if it was moved together with another one; "" if they have no folder in common."""
    old, new = before.split("/"), now.split("/")
    while old and new and old[-1] == new[-1]:
        old.pop()
        new.pop()
    parts = root.split("/")
    return "/".join([*new, *parts[len(old) :]]) if old and new and parts[: len(old)] == old else ""
