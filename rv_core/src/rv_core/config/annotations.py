"""Annotations of config fields → field types. What JSON cannot hold is refused with what to write instead."""

from __future__ import annotations

import types
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from rv_core.config.classes import Config, Range, Secret, UriMark
from rv_core.config.field_types import (
    ChoiceType,
    DictType,
    FieldType,
    ListType,
    NullType,
    ObjectType,
    ScalarType,
    TupleType,
    UnionType,
)


class UnsupportedAnnotationError(TypeError):
    """An annotation that cannot be expressed in JSON; the message says what to write instead."""


_CACHE: dict[Any, FieldType] = {}


def field_type_of(annotation: Any) -> FieldType:
    """The field type of an annotation.

    Raises:
        UnsupportedAnnotationError: if its values cannot be told apart, or not be written, in JSON.
    """
    # Keyed by identity of meaning: 1 and True are equal as Literal arguments, so their reprs tell them apart.
    key = (annotation, repr(annotation))
    if key not in _CACHE:
        _CACHE[key] = _read(annotation, ())
    return _CACHE[key]


_SCALARS = (str, int, float, bool)


def _read(annotation: Any, marks: tuple[Any, ...]) -> FieldType:  # noqa: PLR0911 - one for each kind of annotation
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        return _with_annotation(_read(inner, (*marks, *more)), annotation)
    if origin in (Union, types.UnionType):
        return _read_union(annotation, marks)
    if annotation in _SCALARS:
        return _read_scalar(annotation, marks)
    _refuse_marks(annotation, marks)
    if annotation is None or annotation is type(None):
        return NullType(annotation)
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, Config):
        return ObjectType(annotation, (annotation,))
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, Enum):
        return _read_enum(annotation)
    readers = {Literal: _read_literal, list: _read_list, tuple: _read_tuple, dict: _read_dict}
    if origin in readers:
        return readers[origin](annotation)
    raise UnsupportedAnnotationError(_advice(annotation))


def _with_annotation(field_type: FieldType, annotation: Any) -> FieldType:
    field_type.annotation = annotation
    return field_type


def _read_scalar(kind: type, marks: tuple[Any, ...]) -> ScalarType:
    ranges = tuple(mark for mark in marks if isinstance(mark, Range))
    is_uri = any(isinstance(mark, UriMark) for mark in marks)
    if ranges and kind not in (int, float):
        raise UnsupportedAnnotationError(f"Range bounds a number, not {kind.__name__}")
    if is_uri and kind is not str:
        raise UnsupportedAnnotationError(f"Uri marks a text, not {kind.__name__}")
    is_secret = any(isinstance(mark, Secret) for mark in marks)
    return ScalarType(kind, kind, ranges=ranges, is_uri=is_uri, is_secret=is_secret)


def _read_union(annotation: Any, marks: tuple[Any, ...]) -> FieldType:
    marked = [_read(arg, marks if _takes_marks(arg) else ()) for arg in get_args(annotation)]
    objects = [option for option in marked if isinstance(option, ObjectType)]
    options = [option for option in marked if not isinstance(option, ObjectType)]
    if objects:
        options.append(ObjectType(annotation, tuple(cls for option in objects for cls in option.classes)))
    if sum(isinstance(option, ListType | TupleType) for option in options) > 1:
        raise UnsupportedAnnotationError("two kinds of list cannot be told apart in JSON; declare one list of a union")
    if sum(isinstance(option, DictType | ObjectType) for option in options) > 1:
        raise UnsupportedAnnotationError("a dict and another object cannot be told apart in JSON; declare one of them")
    return options[0] if len(options) == 1 else UnionType(annotation, tuple(options))


def _takes_marks(annotation: Any) -> bool:
    return annotation is not type(None) and get_origin(annotation) is not Literal


def _refuse_marks(annotation: Any, marks: tuple[Any, ...]) -> None:
    own = [mark for mark in marks if isinstance(mark, Range | Secret | UriMark)]
    if own:
        raise UnsupportedAnnotationError(f"{own[0]!r} belongs on a plain value, not on {_name(annotation)}")


def _read_literal(annotation: Any) -> FieldType:
    values = get_args(annotation)
    for value in values:
        if not (value is None or isinstance(value, str | int)) or isinstance(value, Enum):
            raise UnsupportedAnnotationError(
                f"Literal[{value!r}]: only text, integers, booleans and None can be written"
            )
    return ChoiceType(annotation, tuple((value, value) for value in values))


def _read_enum(annotation: type[Enum]) -> FieldType:
    members = tuple((member.value, member) for member in annotation)
    if not members or not all(isinstance(value, str | int) for value, _ in members):
        raise UnsupportedAnnotationError(f"the members of {annotation.__name__} must be text or integers")
    return ChoiceType(annotation, members)


def _read_list(annotation: Any) -> FieldType:
    return ListType(annotation, _read(get_args(annotation)[0], ()))


def _read_tuple(annotation: Any) -> FieldType:
    args = get_args(annotation)
    is_variadic = len(args) == 2 and args[1] is Ellipsis
    items = tuple(_read(arg, ()) for arg in (args[:1] if is_variadic else args))
    if not items:
        raise UnsupportedAnnotationError("tuple[()] holds nothing")
    return TupleType(annotation, items, is_variadic=is_variadic)


def _read_dict(annotation: Any) -> FieldType:
    key, value = get_args(annotation)
    if key not in (str, int):
        raise UnsupportedAnnotationError(f"the keys of a dict must be str or int, not {_name(key)}")
    return DictType(annotation, key, _read(value, ()))


def _advice(annotation: Any) -> str:
    name = _name(annotation)
    if annotation in (list, tuple, dict):
        example = "str, int" if annotation is dict else "str"
        return f"{name} does not say what it holds; write for instance {name}[{example}]"
    if annotation is Any or annotation is object:
        return f"{name} cannot be checked; name the types it may have"
    if name.endswith("Path"):
        return f"{name} cannot be saved; use rv_core.Uri (or str)"
    return f"{name} cannot be saved as JSON; use str, int, float, bool, Literal, list, tuple, dict or a Config class"


def _name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
