"""Where plain configs differ, by dotted path. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

#: What stands for a value that is not there.
MISSING = "–"
#: What names a run rather than describing it.
IDENTITY = ("root_uri", "name")


class Difference(NamedTuple):
    """A place where not all values are the same.

    Args:
        where: its name, of a config the dotted path.
        values: as text, one for each run.
    """

    where: str
    values: tuple[str, ...]


class _Absent:
    """Stands for a value that is not there; equal to itself alone."""


_ABSENT = _Absent()


def config_differences(configs: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """Where configs differ, in the order of their fields; root and name are left out."""
    plain = [{name: value for name, value in config.items() if name not in IDENTITY} for config in configs]
    return [Difference(where, tuple(map(_text, values))) for where, values in _walk("", plain)]


def mapping_differences(mappings: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """The names whose values differ, sorted."""
    names = sorted({name for mapping in mappings for name in mapping})
    found = [(name, [mapping.get(name, _ABSENT) for mapping in mappings]) for name in names]
    return [Difference(name, tuple(map(_text, values))) for name, values in found if not _are_same(values)]


def _walk(where: str, values: Sequence[Any]) -> Iterator[tuple[str, Sequence[Any]]]:
    if _are_same(values):
        return
    if all(isinstance(value, dict) for value in values):
        for name in _keys(values):
            yield from _walk(f"{where}.{name}" if where else name, [value.get(name, _ABSENT) for value in values])
    elif all(isinstance(value, list) for value in values):
        yield from _walk_lists(where, values)
    else:
        yield where, values


def _walk_lists(where: str, lists: Sequence[list[Any]]) -> Iterator[tuple[str, Sequence[Any]]]:
    """Items that have an id are the same item wherever they stand; others go by their place if there are equally many."""
    by_id = [_by_id(items) for items in lists]
    if all(items is not None for items in by_id):
        known = [items or {} for items in by_id]
        for name in _keys(known):
            yield from _walk(f"{where}[{name}]", [items.get(name, _ABSENT) for items in known])
        if all(set(items) == set(known[0]) for items in known) and not _are_same([list(items) for items in known]):
            yield f"{where} (order)", [", ".join(items) for items in known]
    elif len({len(items) for items in lists}) == 1 and any(isinstance(item, dict | list) for item in lists[0]):
        for index, items in enumerate(zip(*lists, strict=True)):
            yield from _walk(f"{where}[{index}]", items)
    else:
        yield where, lists


def _by_id(items: list[Any]) -> dict[str, Any] | None:
    found = {str(item["id"]): item for item in items if isinstance(item, dict) and "id" in item}
    return found if len(found) == len(items) else None


def _keys(mappings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of all of them, in the order of the first that has each."""
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _are_same(values: Sequence[Any]) -> bool:
    return all(value == values[0] for value in values[1:])


def _text(value: Any) -> str:
    if value is _ABSENT:
        return MISSING
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and "id" in value:
        return f"there ({value['id']})"
    return json.dumps(value, ensure_ascii=False)
