"""Dotted paths into a config: `dataset.train_scenes[3].raster.uris`, `labels.class_mapping["dry grass"]`; and what is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rv_core.config.classes import Config
from rv_core.config.field_types import FieldType, ObjectType, Step, UnionType
from rv_core.config.fields import ConfigField, fields_of
from rv_core.errors import ConfigError, nearest

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
#: Compiled when it is needed: few processes read such a path.
_STEP = r"""(?x)(?P<dot>\.)?(?P<word>[A-Za-z0-9_][A-Za-z0-9_-]*)     # a field, or the key of a dict
    |\[(?P<index>-?\d+)\]                                    # an index, or an int key of a dict
    |\[(?P<quote>["'])(?P<key>.*?)(?P=quote)\]               # any other key of a dict
    """


def join(path: str, step: Step) -> str:
    """The path of what is one step below `path`: a field or key (text) or an index (integer)."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    if _WORD.match(step):
        return f"{path}.{step}" if path else step
    return f'{path}["{step}"]'


def join_paths(path: str, relative: str) -> str:
    """The path of `relative`, a path itself, below `path`."""
    if not path or not relative:
        return path or relative
    return path + relative if relative.startswith("[") else f"{path}.{relative}"


def parse(text: str) -> list[Step]:
    """The steps of a path: text for fields and keys, integers for what stands in brackets without quotes.

    Raises:
        ValueError: if the text is not a path; the message says where it stops being one.
    """
    if "[" not in text and "-" not in text and all(word.isidentifier() for word in text.split(".")):
        return list(text.split("."))
    step = re.compile(_STEP)
    steps: list[Step] = []
    position = 0
    while position < len(text):
        match = step.match(text, position)
        if match is None or (match["word"] is not None and bool(match["dot"]) != bool(steps)):
            raise ValueError(f"{text!r} is not a path: cannot read {text[position:]!r}")
        steps.append(_step_of(match))
        position = match.end()
    if not steps:
        raise ValueError("the path is empty")
    return steps


def _step_of(match: re.Match[str]) -> Step:
    if match["index"] is not None:
        return int(match["index"])
    return match["key"] if match["key"] is not None else match["word"]


def outward(path: str) -> Iterator[str]:
    """The path itself and everything that it lies in, innermost first; "" is the whole."""
    while path:
        yield path
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    yield ""


def field_at(config: Config, dotted: str) -> Any:
    """The value at a dotted path: `chip.chip_size_px`, `dataset.train_scenes[0].id`.

    Raises:
        ConfigError: if there is no such field; names the near miss.
    """
    return descend(config, dotted)[0]


def descend(config: Config, dotted: str) -> tuple[Any, FieldType | None]:
    """The value at a dotted path and what its field allows (None where that depends on the object).

    Raises:
        ConfigError: if there is no such field; names the near miss.
    """
    value: Any = config
    field_type: FieldType | None = None
    path = ""
    for step in _steps(dotted):
        field_type = _type_below(value, field_type, step)
        value = _value_below(value, step, path)
        path = join(path, step)
    return value, field_type


def _steps(dotted: str) -> list[Step]:
    try:
        return parse(dotted)
    except ValueError as err:
        raise ConfigError(str(err), fix="write it like dataset.train_scenes[0].id") from err


def _type_below(value: Any, field_type: FieldType | None, step: Step) -> FieldType | None:
    if isinstance(value, Config):
        field = fields_of(type(value)).get(str(step))
        return None if field is None else field.type
    if isinstance(field_type, UnionType):
        field_type = field_type.option_for(value)
    return None if field_type is None else field_type.at(step)


def _value_below(value: Any, step: Step, path: str) -> Any:
    if isinstance(value, Config):
        if step not in fields_of(type(value)):
            raise no_such_field(type(value), str(step), path)
        return getattr(value, str(step))
    try:
        if isinstance(value, dict):
            return value[step] if step in value else value[int(step)]
        if isinstance(value, list | tuple):
            return value[int(step)]
    except (KeyError, ValueError, IndexError):
        pass
    raise ConfigError(f"there is no {step!r} in it", where=path or "the config", why=f"it is {_shown(value)}")


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    return f"an object with the keys {', '.join(map(repr, value))}" if isinstance(value, dict) else repr(value)


def no_such_field(cls: type, name: str, path: str) -> ConfigError:
    """The error for a field that a class does not have, near miss included."""
    near = nearest(name, fields_of(cls))
    return ConfigError(
        f"{cls.__name__} has no field {name!r}",
        where=join(path, name),
        why=f"its fields are {', '.join(fields_of(cls))}",
        fix=f"did you mean {join(path, near)!r}?" if near else "",
    )


def annotation_at(cls: type, dotted: str) -> Any:
    """The annotation of what stands at a dotted path in configs of a class; None where it depends on the object.

    Raises:
        ConfigError: if the first field does not exist.
    """
    first, *rest = _steps(dotted)
    if first not in fields_of(cls):
        raise no_such_field(cls, str(first), "")
    found: FieldType | None = fields_of(cls)[str(first)].type
    for step in rest:
        found = _field_type_below(found, step)
    return None if found is None else found.annotation


def _field_type_below(field_type: FieldType | None, step: Step) -> FieldType | None:
    for option in field_type.options if isinstance(field_type, UnionType) else (field_type,):
        if isinstance(option, ObjectType):
            named = (_field_of_family(cls, str(step)) for cls in option.classes)
            found = next((field.type for field in named if field is not None), None)
        else:
            found = option.at(step) if option is not None else None
        if found is not None:
            return found
    return None


def _field_of_family(cls: type, name: str) -> ConfigField | None:
    """The field of a class, or of the first of its subclasses that has it."""
    if name in fields_of(cls):
        return fields_of(cls)[name]
    children: list[type] = cls.__subclasses__()
    return next((found for child in children if (found := _field_of_family(child, name))), None)
