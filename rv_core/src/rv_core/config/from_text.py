"""Values from text, by what a field or a parameter is declared as."""

from __future__ import annotations

import inspect
import json
from typing import Any

from rv_core.config.field_types import (
    ChoiceType,
    FieldType,
    ListType,
    ScalarType,
    TupleType,
    UnionType,
    is_integer_text,
)
from rv_core.config.fields import UnsupportedAnnotationError, field_type_of
from rv_core.errors import nearest

_TRUE = ("true", "yes", "1", "on")
_FALSE = ("false", "no", "0", "off")
_NULL = ("none", "null")


def convert(text: str, annotation: Any) -> Any:
    """The value of a text.

    Args:
        text: what was typed. Lists are separated by commas, or written as JSON; `none` is None where None is allowed.
        annotation: what is wanted; `Any` and `inspect.Parameter.empty` are text.

    Raises:
        ValueError: if the text does not fit; the message says what is expected.
        UnsupportedAnnotationError: if the annotation cannot be given as text.
    """
    if annotation in (inspect.Parameter.empty, Any):
        return text
    return convert_to(field_type_of(annotation), text)


def convert_to(field_type: FieldType, text: str) -> Any:
    """As `convert`, for an annotation that was read already.

    Raises:
        ValueError: if the text does not fit.
        UnsupportedAnnotationError: if the type cannot be given as text.
    """
    if isinstance(field_type, UnionType):
        return _convert_union(field_type, text)
    if isinstance(field_type, ScalarType):
        return _convert_scalar(field_type, text)
    if isinstance(field_type, ChoiceType):
        return _convert_choice(field_type, text)
    if isinstance(field_type, ListType):
        return [convert_to(field_type.item, part) for part in _parts(text)]
    if isinstance(field_type, TupleType):
        return _convert_tuple(field_type, text)
    raise UnsupportedAnnotationError(f"{field_type.describe()} cannot be given as text")


def _convert_union(union: UnionType, text: str) -> Any:
    """The first option that takes the text, the pickiest first: text takes everything."""
    if text.lower() in _NULL and any(option.accepts(None) for option in union.options):
        return None
    order: list[type] = [ChoiceType, bool, int, float, ListType, TupleType, str]
    kinds = [(option.kind if isinstance(option, ScalarType) else type(option), option) for option in union.options]
    options = [option for wanted in order for kind, option in kinds if kind is wanted]
    if not options:
        raise UnsupportedAnnotationError(f"{union.describe()} cannot be given as text")
    problems = []
    for option in options:
        try:
            return convert_to(option, text)
        except ValueError as error:
            problems.append(str(error))
    # The one that could take it knows best: "10 is below 60".
    own = [problem for problem in problems if not problem.startswith("expected ")]
    raise ValueError(own[0] if own else f"expected {union.describe()}, got {text!r}")


def _convert_scalar(scalar: ScalarType, text: str) -> Any:
    value: Any = text
    if scalar.kind is bool:
        value = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}.get(text.strip().lower())
    elif scalar.kind is int:
        value = int(text) if is_integer_text(text.strip().removeprefix("+")) else None
    elif scalar.kind is float:
        value = _float(text)
    if value is None:
        raise ValueError(f"expected {scalar.describe()}, got {text!r}")
    if problem := scalar.problem_with(value):
        raise ValueError(problem)
    return value


def _float(text: str) -> float | None:
    try:
        return float(text.replace("_", "?"))
    except ValueError:
        return None


def _convert_choice(choice: ChoiceType, text: str) -> Any:
    for plain, member in choice.choices:
        words = (
            _NULL if plain is None else (str(plain), str(plain).lower()) if isinstance(plain, bool) else (str(plain),)
        )
        if text in words:
            return member
    near = nearest(text, [str(plain) for plain, _ in choice.choices])
    raise ValueError(f"expected {choice.describe()}, got {text!r}" + (f"; did you mean {near!r}?" if near else ""))


def _convert_tuple(wanted: TupleType, text: str) -> tuple[Any, ...]:
    parts = _parts(text)
    items = wanted.items * len(parts) if wanted.is_variadic else wanted.items
    if len(parts) != len(items):
        raise ValueError(f"expected {len(items)} values separated by commas, got {len(parts)}")
    return tuple(convert_to(item, part) for item, part in zip(items, parts, strict=True))


def _parts(text: str) -> list[str]:
    """The parts of a list: separated by commas, or JSON where one holds a comma itself."""
    if text.lstrip().startswith("["):
        try:
            return [part if isinstance(part, str) else json.dumps(part) for part in json.loads(text)]
        except ValueError as err:
            raise ValueError(f"{text!r} starts like a JSON list but is none: {err}") from err
    return [part.strip() for part in text.split(",")] if text.strip() else []
