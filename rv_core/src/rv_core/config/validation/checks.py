"""Semantic checks: every `validate()`, every URI and every pipeline name of a config, all findings at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from rv_core.config.classes import Config
from rv_core.config.dotted_paths import join, join_paths, outward
from rv_core.config.field_types import FieldType, ObjectType, UnionType
from rv_core.config.fields import fields_of
from rv_core.config.type_hints import TYPE_HINT, concrete_class
from rv_core.config.values import build_object, uris_of, walk
from rv_core.errors import Finding, as_findings
from rv_core.files import uris


def built(cls: type[Config], plain: Mapping[str, Any], path: str) -> tuple[Config | None, list[Finding]]:
    """The object of plain values that the schema accepts, or None and why its class refuses them."""
    try:
        return build_object(cls, plain), []
    except Exception as err:  # noqa: BLE001 - a __post_init__ of a plugin or of the user raises what it likes
        return None, [Finding(path, f"{cls.__name__} refuses its values: {type(err).__name__}: {err}")]


def findings_of_sound_parts(
    cls: type[Config], plain: Mapping[str, Any], structural: Iterable[Finding]
) -> Iterator[Finding]:
    """The semantic findings of those parts of plain values that can be built, although the whole cannot."""
    return _findings_in(cls, plain, "", _Places(structural))


class _Places:
    """Where the schema has found something: the places, and everything that holds one of them."""

    def __init__(self, structural: Iterable[Finding]) -> None:
        self.bad = {finding.where for finding in structural}
        self.tainted = {path for where in self.bad for path in outward(where)}

    def owners(self, objects: Collection[str]) -> set[str]:
        """The innermost objects that the places belong to; an object that is itself in the wrong place is not its own."""
        return {
            next(path for path in outward(where) if not path or (path in objects and path not in self.bad))
            for where in self.bad
        }

    def is_refused(self, path: str) -> bool:
        """Whether the schema has refused what is here, or what it lies in, as a whole: nobody looked inside."""
        return bool(self.bad) and any(outer in self.bad for outer in outward(path))


def _findings_in(cls: type[Config], plain: Mapping[str, Any], path: str, places: _Places) -> Iterator[Finding]:
    fields = fields_of(cls)
    for name, value in plain.items():
        if name in fields:
            yield from _sound_findings(fields[name].type, value, join(path, name), places)


def _sound_findings(field_type: FieldType, value: Any, path: str, places: _Places) -> Iterator[Finding]:
    if path in places.bad or join(path, TYPE_HINT) in places.bad:
        return
    if isinstance(field_type, UnionType):
        field_type = field_type.option_for(value) or field_type
    if not isinstance(field_type, ObjectType):
        for step, inner, child in field_type.children(value):
            yield from _sound_findings(inner, child, join(path, step), places)
        return
    cls = concrete_class(field_type, value)
    if path in places.tainted:
        yield from _findings_in(cls, value, path, places)
        return
    config, findings = built(cls, value, path)
    yield from findings
    if config is not None:
        yield from (_moved(finding, path) for finding in semantic_findings(config, []))


def _moved(finding: Finding, path: str) -> Finding:
    return finding._replace(where=join_paths(path, finding.where))


def semantic_findings(config: Config, structural: Iterable[Finding]) -> list[Finding]:
    """What the URIs and the `validate()` of a config and of every object inside it say.

    Args:
        config: the config.
        structural: what the schema says. An object whose own fields it names is not asked to `validate()`.
    """
    places = _Places(structural)
    objects = dict(walk(config))
    broken = places.owners(objects)
    found: list[Finding] = list(_uri_findings(config, places))
    for path, part in objects.items():
        if path not in broken and not places.is_refused(path):
            found.extend(_own_findings(part, path, is_sound=path not in places.tainted))
    return found


def _own_findings(part: Config, path: str, *, is_sound: bool) -> list[Finding]:
    found: list[Finding] = []
    found.extend(_moved(finding, path) for finding in part._rv_findings())
    try:
        found.extend(_moved(finding, path) for finding in as_findings(part.validate()))
    except Exception as err:  # noqa: BLE001 - a validate() of a plugin or of the user raises what it likes
        if is_sound:  # else it most likely stumbled over what is reported already
            what = f"{type(part).__name__}.validate() raised {type(err).__name__}: {err}"
            found.append(Finding(path, what, "mend validate(): it must return findings"))
    return found


def _uri_findings(config: Config, places: _Places) -> Iterator[Finding]:
    for path, uri in uris_of(config):
        if not places.is_refused(path) and (problem := uris.problem_with(uri)):
            yield Finding(path, f"the URI {problem}")
