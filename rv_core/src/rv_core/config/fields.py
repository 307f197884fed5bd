"""The fields of a config class (or of any dataclass, such as settings): names, types and defaults.

The type of a field is read from its annotation; what JSON cannot hold is refused with what to write instead.
"""

from __future__ import annotations

import dataclasses
import sys
import types
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any, ForwardRef, Literal, Union, get_args, get_origin, get_type_hints

from rv_core.config.classes import AsBefore, Config, Range, Secret, UriMark, split_mark
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
    mark_problem,
)
from rv_core.errors import ConfigError

_RESERVED = "type_hint"
_CACHE: dict[Any, FieldType] = {}


class ConfigField:
    """One field of a config class.

    Args:
        name: the field's name.
        field_type: what its annotation allows.
        field: what `dataclasses` knows of it.
        before: the mark of a field of a later version.
    """

    __slots__ = ("before", "field", "name", "type")

    def __init__(
        self, name: str, field_type: FieldType, field: dataclasses.Field[Any], before: AsBefore | None = None
    ) -> None:
        self.before = before
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
            # `_: KW_ONLY` says that what follows is given by name.
            if "ClassVar" not in str(annotation) and "KW_ONLY" not in str(annotation):
                yield name


def _read_fields(cls: type) -> dict[str, ConfigField]:
    check_is_dataclass(cls)
    annotations = _annotations_of(cls)
    fields: dict[str, ConfigField] = {}
    for field in getattr(cls, "__dataclass_fields__", {}).values():
        if field._field_type is dataclasses._FIELD:  # type: ignore[attr-defined]
            annotation, before = split_mark(annotations[field.name])
            fields[field.name] = ConfigField(field.name, _type_of(cls, field, annotation, before), field, before)
        elif field._field_type is dataclasses._FIELD_INITVAR:  # type: ignore[attr-defined]
            raise _unusable(cls, field.name, "an InitVar is not kept, so it cannot be saved")
    return fields


def _annotations_of(cls: type) -> dict[str, Any]:
    try:
        found: dict[str, Any] = {}
        for owner in reversed(cls.__mro__[:-1]):
            found.update(_evaluated(owner))
        return found
    except NameError as err:
        raise ConfigError(
            f"an annotation of {cls.__name__} names {err.name!r}, which its module does not define",
            where=class_label(cls),
            why="annotations are read when the config is loaded; an import under TYPE_CHECKING is not there then",
            fix=f"import or define {err.name!r} at the top of {cls.__module__}",
        ) from err
    except Exception as err:  # text of the user's that is evaluated raises what it likes
        raise ConfigError(
            f"the annotations of {cls.__name__} cannot be read",
            where=class_label(cls),
            why=f"{type(err).__name__}: {err}",
        ) from err


def _evaluated(owner: type) -> dict[str, Any]:
    """What `typing.get_type_hints` says of the annotations of a class itself, with those that are text evaluated here.

    It compiles each text to a syntax tree first, and the first tree of a process costs more than all fields of a config.
    """
    type_parameters = {parameter.__name__: parameter for parameter in getattr(owner, "__type_params__", ())}
    names = {**vars(owner), **type_parameters}
    # The names of the module win over those of the class, as there.
    module = getattr(sys.modules.get(owner.__module__), "__dict__", {})
    values = dict(getattr(owner, "__annotations__", {}))
    for name, text in values.items():
        if isinstance(text, str):
            value = eval(text, names, module)  # noqa: S307 - written in a class that was imported
            # Text within text may say `ClassVar`, as the annotation of a class may, and others may not.
            values[name] = ForwardRef(value, is_class=True) if isinstance(value, str) else value
    return get_type_hints(types.SimpleNamespace(__annotations__=values), names, module, include_extras=True)


def _type_of(cls: type, field: dataclasses.Field[Any], annotation: Any, before: AsBefore | None) -> FieldType:
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
    if before is not None and (problem := mark_problem(found, before.value)):
        raise _unusable(cls, field.name, problem)
    return found


def _unusable(cls: type, name: str, why: str) -> ConfigError:
    return ConfigError(f"the field {cls.__name__}.{name} cannot be used", where=class_label(cls), why=why)


def is_importable(cls: type) -> bool:
    """Whether a fresh process would find this very class under its module and name."""
    found: Any = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is cls and cls.__module__ != "__main__"


class UnsupportedAnnotationError(TypeError):
    """An annotation that cannot be expressed in JSON; the message says what to write instead."""


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
