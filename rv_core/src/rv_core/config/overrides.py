"""`--set path.to.field=VALUE`: changes to the plain values of a config before it is loaded. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rv_core.config.classes import Config
from rv_core.config.dotted_paths import join, no_such_field, parse
from rv_core.config.field_types import (
    ChoiceType,
    DictType,
    FieldType,
    ListType,
    ObjectType,
    ScalarType,
    Step,
    TupleType,
    options_of,
)
from rv_core.config.fields import fields_of
from rv_core.config.type_hints import concrete_class
from rv_core.config.values import walk_to_plain
from rv_core.errors import ConfigError


def apply_sets(values: dict[str, Any], sets: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The plain values of a config with some of them replaced; the result still has to be loaded.

    Args:
        values: the values; those of objects may be `Walked`. They are changed in place.
        sets: (dotted path, VALUE) pairs, applied in order. VALUE is JSON, or text where the field takes text.

    Raises:
        ConfigError: with every path that does not exist, its near miss, and every VALUE that cannot be read.
    """
    findings = []
    for path, text in sets:
        try:
            _set(values, path, text)
        except ConfigError as err:
            findings.append(err.as_finding(f"--set {path}"))
    if findings:
        raise ConfigError("--set cannot be applied", findings=findings)
    return values


def _set(values: dict[str, Any], path: str, text: str) -> None:
    try:
        steps = parse(path)
    except ValueError as err:
        raise ConfigError(str(err), fix="write it like train.num_epochs or dataset.train_scenes[0].id") from err
    holder: Any = values
    field_type: FieldType = ObjectType(Config, (Config,))
    seen = ""
    for step in steps[:-1]:
        key, field_type = _enter(holder, field_type, step, seen)
        seen = join(seen, step)
        if isinstance(holder, dict) and key not in holder:
            raise ConfigError(f"{seen} is not given", fix=f"set {seen} as a whole, as JSON")
        holder = holder[key]
    key, field_type = _enter(holder, field_type, steps[-1], seen)
    holder[key] = parse_value(text, field_type)


def _enter(holder: Any, field_type: FieldType, step: Step, path: str) -> tuple[Any, FieldType]:
    """The key of a step in what holds it, and the type of what is there."""
    option = next((o for o in options_of(field_type) if o.accepts(holder)), None)
    if isinstance(option, ObjectType) and isinstance(holder, dict):
        cls = concrete_class(option, holder)
        if step not in fields_of(cls):
            raise no_such_field(cls, str(step), path)
        field = fields_of(cls)[str(step)]
        if step not in holder and not field.is_required:
            holder[step] = walk_to_plain(field.default())
        return step, field.type
    if isinstance(option, DictType):
        # Values from JSON still have digits where those from Python have integers.
        wanted = option.key_of(step)
        return next((key for key in holder if option.key_of(key) == wanted), wanted), option.value
    if isinstance(option, ListType | TupleType) and isinstance(holder, list):
        inner = option.at(step) if isinstance(step, int) else None
        if inner is None or not isinstance(step, int) or not -len(holder) <= step < len(holder):
            raise ConfigError(f"{path} has {len(holder)} values, there is no [{step}]")
        return step, inner
    shown = json.dumps(holder, default=str)
    raise ConfigError(f"{path} is {shown[:60]}, it has no {step!r}", fix=f"set {path} as a whole, as JSON")


def parse_value(text: str, field_type: FieldType) -> Any:
    """The plain value of a VALUE: JSON; text as it is where the field takes text and the JSON would not fit.

    Raises:
        ConfigError: if it is neither.
    """
    takes_text = any(_is_text(option) for option in options_of(field_type))
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as err:
        if takes_text:
            return text
        raise ConfigError(
            f"{text!r} is not JSON", why=f"the field takes {field_type.describe()}", fix=_example(field_type)
        ) from err
    is_fitting = any(option.accepts(value) for option in options_of(field_type))
    return text if takes_text and not is_fitting else value


def _is_text(option: FieldType) -> bool:
    if isinstance(option, ChoiceType):
        return any(isinstance(plain, str) for plain, _ in option.choices)
    return isinstance(option, ScalarType) and option.kind is str


def _example(field_type: FieldType) -> str:
    first = options_of(field_type)[0]
    if isinstance(first, ListType | TupleType):
        return 'write it like [1, 2] or ["a", "b"], in quotes for the shell'
    return "" if isinstance(first, ScalarType) else 'write it like {"key": "value"}, in quotes for the shell'
