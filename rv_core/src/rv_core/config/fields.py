"""The fields of a config class (or of any dataclass, such as settings): names, types, defaults and descriptions."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterator
from typing import Any, get_type_hints

from rv_core.config.annotations import UnsupportedAnnotationError, field_type_of
from rv_core.config.classes import Config
from rv_core.config.field_types import FieldType
from rv_core.errors import ConfigError

_RESERVED = "type_hint"


class ConfigField:
    """One field of a config class.

    Args:
        name: the field's name.
        field_type: what its annotation allows.
        field: what `dataclasses` knows of it.
    """

    __slots__ = ("field", "name", "type")

    def __init__(self, name: str, field_type: FieldType, field: dataclasses.Field[Any]) -> None:
        self.name = name
        self.type = field_type
        self.field = field

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.field.default is dataclasses.MISSING and self.field.default_factory is dataclasses.MISSING

    def default(self) -> Any:
        """The default value, made anew; only for fields that are not required."""
        if self.field.default_factory is not dataclasses.MISSING:
            return self.field.default_factory()
        return self.field.default


_FIELDS: dict[type, dict[str, ConfigField]] = {}
_URI_FIELDS: dict[type, tuple[ConfigField, ...]] = {}


def fields_of(cls: type) -> dict[str, ConfigField]:
    """The fields of a class in order, read once per class.

    Raises:
        ConfigError: if the class is not a dataclass, or if annotations cannot be expressed; names class and field.
    """
    try:
        return _FIELDS[cls]
    except KeyError:
        return _FIELDS.setdefault(cls, _read_fields(cls))


def uri_fields_of(cls: type) -> tuple[ConfigField, ...]:
    """The fields of a class that may hold a URI, themselves or further down."""
    try:
        return _URI_FIELDS[cls]
    except KeyError:
        found = tuple(field for field in fields_of(cls).values() if field.type.may_hold_uris)
        return _URI_FIELDS.setdefault(cls, found)


def class_label(cls: type) -> str:
    """`module:Class` of a class, for messages."""
    return f"{cls.__module__}:{cls.__qualname__}"


def check_is_dataclass(cls: type) -> None:
    """Refuse a class that declares fields but forgot `@dataclass`: its fields would be silently ignored.

    Raises:
        ConfigError: naming the class and the fields.
    """
    known = getattr(cls, "__dataclass_fields__", {})
    forgotten = [name for name in _own_annotations(cls) if name not in known]
    if forgotten or not (hasattr(cls, "__dataclass_fields__") or issubclass(cls, Config)):
        shown = f" ({', '.join(forgotten)})" if forgotten else ""
        raise ConfigError(
            f"{cls.__name__} declares fields{shown} but is not a dataclass",
            where=class_label(cls),
            fix=f"put @dataclass above `class {cls.__name__}`",
        )


def _own_annotations(cls: type) -> Iterator[str]:
    """The annotated names of a class that would be fields."""
    for owner in cls.__mro__[:-1]:
        for name, annotation in owner.__dict__.get("__annotations__", {}).items():  # noqa: RUF063 - inspect is heavy
            if "ClassVar" not in str(annotation):
                yield name


def _read_fields(cls: type) -> dict[str, ConfigField]:
    check_is_dataclass(cls)
    annotations = _annotations_of(cls)
    fields: dict[str, ConfigField] = {}
    for field in getattr(cls, "__dataclass_fields__", {}).values():
        if field._field_type is dataclasses._FIELD:  # type: ignore[attr-defined]
            fields[field.name] = ConfigField(field.name, _type_of(cls, field, annotations[field.name]), field)
        elif field._field_type is dataclasses._FIELD_INITVAR:  # type: ignore[attr-defined]
            raise _unusable(cls, field.name, "an InitVar is not kept, so it cannot be saved")
    return fields


def _annotations_of(cls: type) -> dict[str, Any]:
    try:
        return get_type_hints(cls, include_extras=True)
    except NameError as err:
        raise ConfigError(
            f"an annotation of {cls.__name__} names {err.name!r}, which its module does not define",
            where=class_label(cls),
            why="annotations are read when the config is loaded; an import under TYPE_CHECKING is not there then",
            fix=f"import or define {err.name!r} at the top of {cls.__module__}",
        ) from err
    except (TypeError, SyntaxError, AttributeError) as err:
        raise ConfigError(
            f"the annotations of {cls.__name__} cannot be read", where=class_label(cls), why=str(err)
        ) from err


def _type_of(cls: type, field: dataclasses.Field[Any], annotation: Any) -> FieldType:
    if field.name == _RESERVED:
        raise _unusable(cls, field.name, "the name is taken by rv")
    if not field.init:
        raise _unusable(cls, field.name, "a field with init=False cannot be loaded again; use a property")
    try:
        found = field_type_of(annotation)
    except UnsupportedAnnotationError as err:
        raise _unusable(cls, field.name, str(err)) from err
    if issubclass(cls, Config) and found.is_secret:
        raise _unusable(cls, field.name, "a secret must not be in a config, which is saved; make it a setting")
    return found


def _unusable(cls: type, name: str, why: str) -> ConfigError:
    return ConfigError(f"the field {cls.__name__}.{name} cannot be used", where=class_label(cls), why=why)


_ARGUMENT = re.compile(r"(?P<indent> +)\*{0,2}(?P<names>\w+(?:, \w+)*)(?: \([^)]*\))?:\s+(?P<text>.*)\Z")


def descriptions_of(cls: type) -> dict[str, str]:
    """Field -> what the `Args:` of the class's docstring (or of its bases') say about it."""
    found: dict[str, str] = {}
    for owner in reversed(cls.__mro__):
        doc = owner.__dict__.get("__doc__") or ""
        found.update(_arguments_of(doc))
    return {name: text for name, text in found.items() if name in fields_of(cls)}


def _arguments_of(doc: str) -> dict[str, str]:
    lines = iter(doc.expandtabs().splitlines())
    for line in lines:
        if line.strip() in ("Args:", "Attributes:"):
            break
    found: dict[str, str] = {}
    names: list[str] = []
    indent = -1
    for line in lines:
        match = _ARGUMENT.match(line)
        depth = len(line) - len(line.lstrip())
        if match and (indent < 0 or depth == indent):
            indent, names = depth, match["names"].split(", ")
            found.update(dict.fromkeys(names, match["text"].strip()))
        elif line.strip() and depth > indent >= 0:
            found.update({name: f"{found[name]} {line.strip()}" for name in names})
        elif line.strip():
            break
    return found


def summary_of(cls: type) -> str:
    """The first line of a class's own docstring; "" where there is none (dataclasses write a signature there)."""
    doc = (cls.__dict__.get("__doc__") or "").strip()
    return "" if doc.startswith(f"{cls.__name__}(") else doc.partition("\n")[0]


def is_importable(cls: type) -> bool:
    """Whether a fresh process would find this very class under its module and name."""
    found: Any = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is cls and cls.__module__ != "__main__"
