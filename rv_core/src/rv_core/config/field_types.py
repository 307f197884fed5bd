"""The types that config fields can have: small objects that know how to walk and describe values.

Everything that works on configs – saving, loading, keys, URIs, schemas, `--set` – goes by these objects, so that a
field is declared in one place only: its annotation (`fields` reads it). `schemas` validates.
"""

# ruff: noqa: D102 - the methods of FieldType are documented there

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from rv_core.config.classes import Config, Range

#: A step of a path through values: the name of a field or the key of a dict, or an index.
Step = str | int


class FieldType:
    """What one annotation allows.

    Args:
        annotation: the annotation as it was written, `Annotated` included.
    """

    #: Whether a value may hold a URI; False lets walks skip the field.
    may_hold_uris: bool = False
    #: Whether a value must never be shown or saved.
    is_secret: bool = False

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation

    def accepts(self, value: Any) -> bool:
        """Whether a value is of this kind, looking neither inside containers nor at bounds."""
        raise NotImplementedError

    def describe(self) -> str:
        """What is expected, for messages: "an integer", "a list of text"."""
        raise NotImplementedError

    def children(self, value: Any) -> Iterable[tuple[Step, FieldType, Any]]:
        """(step of the path, type, value) of everything directly inside a value of this type."""
        return ()

    def at(self, step: Step) -> FieldType | None:
        """The type of what is one step inside, or None if there is no such thing."""
        return None


class NullType(FieldType):
    """None."""

    def accepts(self, value: Any) -> bool:
        return value is None

    def describe(self) -> str:
        return "null"


class ScalarType(FieldType):
    """`str`, `int`, `float` or `bool`, with its marks.

    Args:
        annotation: the annotation.
        kind: the Python type.
        ranges: bounds of a number.
        is_uri: whether a text is a URI.
        is_secret: whether it must never be shown or saved.
    """

    def __init__(
        self,
        annotation: Any,
        kind: type,
        *,
        ranges: tuple[Range, ...] = (),
        is_uri: bool = False,
        is_secret: bool = False,
    ) -> None:
        super().__init__(annotation)
        self.kind = kind
        self.ranges = ranges
        self.is_uri = is_uri
        self.is_secret = is_secret
        self.may_hold_uris = is_uri

    def accepts(self, value: Any) -> bool:
        if self.kind is bool or isinstance(value, bool):
            return self.kind is bool and isinstance(value, bool)
        if self.kind is float:
            return isinstance(value, int | float)
        return isinstance(value, self.kind)

    def describe(self) -> str:
        names = {str: "a URI" if self.is_uri else "text", int: "an integer", float: "a number", bool: "true or false"}
        return names[self.kind]

    def problem_with(self, value: Any) -> str | None:
        """What is wrong with the size of a number of the right kind, or with a text, or None."""
        if self.kind is str:
            return text_problem(value)
        if self.kind is float and not math.isfinite(value):
            return f"{value} is not a finite number"
        return next((problem for bounds in self.ranges if (problem := bounds.problem_with(value))), None)


def text_problem(text: str) -> str | None:
    """What keeps a text from being written as UTF-8, or None: half of a character, as undecodable file names give it."""
    if text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text):
        return None
    return f"{text!a:.120} is no text that can be saved: it holds bytes that are no UTF-8 (or half of a character)"


class ChoiceType(FieldType):
    """A `Literal` or an `Enum`.

    Args:
        annotation: the annotation.
        choices: JSON value -> Python value.
    """

    def __init__(self, annotation: Any, choices: tuple[tuple[Any, Any], ...]) -> None:
        super().__init__(annotation)
        self.choices = choices

    def accepts(self, value: Any) -> bool:
        return any(_same(value, plain) or value is member for plain, member in self.choices)

    def member_of(self, value: Any) -> Any:
        """The Python value for a JSON value (or for itself)."""
        return next(member for plain, member in self.choices if _same(value, plain) or value is member)

    def describe(self) -> str:
        shown = [_json_word(plain) for plain, _ in self.choices]
        return f"one of {', '.join(shown)}" if len(shown) > 1 else shown[0]


class ListType(FieldType):
    """`list[T]`; a tuple is taken as well and becomes a list."""

    def __init__(self, annotation: Any, item: FieldType) -> None:
        super().__init__(annotation)
        self.item = item
        self.may_hold_uris = item.may_hold_uris

    def accepts(self, value: Any) -> bool:
        return isinstance(value, list | tuple)

    def describe(self) -> str:
        return f"a list of {self.item.describe()}"

    def children(self, value: Any) -> Iterator[tuple[Step, FieldType, Any]]:
        return ((index, self.item, child) for index, child in enumerate(value))

    def at(self, step: Step) -> FieldType | None:
        return self.item if isinstance(step, int) else None


class TupleType(FieldType):
    """`tuple[A, B]`, or `tuple[T, ...]` when `is_variadic`; a list in JSON."""

    def __init__(self, annotation: Any, items: tuple[FieldType, ...], *, is_variadic: bool) -> None:
        super().__init__(annotation)
        self.items = items
        self.is_variadic = is_variadic
        self.may_hold_uris = any(item.may_hold_uris for item in items)

    def accepts(self, value: Any) -> bool:
        return isinstance(value, list | tuple)

    def describe(self) -> str:
        inner = ", ".join(item.describe() for item in self.items)
        return f"a list of {inner}" if self.is_variadic else f"a list of {len(self.items)}: {inner}"

    def children(self, value: Any) -> Iterator[tuple[Step, FieldType, Any]]:
        items = self.items * len(value) if self.is_variadic else self.items
        return ((index, item, child) for index, (item, child) in enumerate(zip(items, value, strict=False)))

    def at(self, step: Step) -> FieldType | None:
        if not isinstance(step, int):
            return None
        if self.is_variadic:
            return self.items[0]
        return self.items[step] if 0 <= step < len(self.items) else None


class DictType(FieldType):
    """`dict[str, T]` or `dict[int, T]`; the keys of the latter are digits in JSON."""

    def __init__(self, annotation: Any, key: type, value: FieldType) -> None:
        super().__init__(annotation)
        self.key = key
        self.value = value
        self.may_hold_uris = value.may_hold_uris

    def accepts(self, value: Any) -> bool:
        return isinstance(value, dict)

    def describe(self) -> str:
        return f"an object of {'integer' if self.key is int else 'text'} to {self.value.describe()}"

    def children(self, value: Any) -> Iterator[tuple[Step, FieldType, Any]]:
        return ((key, self.value, child) for key, child in value.items())

    def at(self, step: Step) -> FieldType | None:
        return self.value

    def key_of(self, key: Any) -> Any:
        """The Python key for a JSON key; what cannot be one comes back unchanged."""
        is_digits = self.key is int and isinstance(key, str) and is_integer_text(key)
        return int(key) if is_digits else key


class ObjectType(FieldType):
    """An object of one of these config classes or of their subclasses."""

    may_hold_uris: bool = True

    def __init__(self, annotation: Any, classes: tuple[type[Config], ...]) -> None:
        super().__init__(annotation)
        self.classes = classes

    def accepts(self, value: Any) -> bool:
        return isinstance(value, Config | dict)

    def describe(self) -> str:
        return f"an object ({' or '.join(cls.__name__ for cls in self.classes)})"

    def needs_hint(self, cls: type) -> bool:
        """Whether the class of an object cannot be told from the annotation alone."""
        return len(self.classes) > 1 or cls is not unhinted_class(self.classes[0])


def unhinted_class(base: type[Config]) -> type[Config]:
    """The class of objects without `type_hint` where a field is declared by this base: itself, or the one it names."""
    named: type[Config] = base.__dict__.get("class_before", base)
    return named


class UnionType(FieldType):
    """One of several types, for instance `Literal["none", "balanced"] | list[float] | None`."""

    def __init__(self, annotation: Any, options: tuple[FieldType, ...]) -> None:
        super().__init__(annotation)
        self.options = options
        self.may_hold_uris = any(option.may_hold_uris for option in options)
        self.is_secret = any(option.is_secret for option in options)

    def option_for(self, value: Any) -> FieldType | None:
        """The first option that takes this kind of value; an integer is an `int` before it is a `float`."""
        fitting = [option for option in self.options if option.accepts(value)]
        exact = [o for o in fitting if isinstance(o, ScalarType) and type(value) is o.kind]
        choices = [o for o in fitting if isinstance(o, ChoiceType)]
        return next(iter([*choices, *exact, *fitting]), None)

    def accepts(self, value: Any) -> bool:
        return any(option.accepts(value) for option in self.options)

    def describe(self) -> str:
        return " or ".join(option.describe() for option in self.options)

    def children(self, value: Any) -> Iterable[tuple[Step, FieldType, Any]]:
        option = self.option_for(value)
        return option.children(value) if option is not None else ()

    def at(self, step: Step) -> FieldType | None:
        return next((found for option in self.options if (found := option.at(step)) is not None), None)


def mark_problem(field_type: FieldType, value: Any) -> str:
    """Why no field of a type ever has the plain value of its `AsBefore`, in words; "" if it may."""
    option = field_type.option_for(value) if isinstance(field_type, UnionType) else field_type
    is_plain = type(value) in (str, int, float, bool, list, dict, type(None))
    if option is None or not is_plain or not option.accepts(value):
        return f"AsBefore({value!r}) names no plain JSON value that it can have: it is {field_type.describe()}"
    if not isinstance(option, ScalarType):
        return ""
    if type(value) is not option.kind:
        return f"AsBefore({value!r}) is not what it holds: write AsBefore({option.kind(value)!r})"
    problem = option.problem_with(value)
    return f"AsBefore({value!r}) is a value that it cannot have: {problem}" if problem else ""


def is_integer_text(text: str) -> bool:
    """Whether a text is an integer in its one canonical spelling, so that no two keys of a dict mean the same."""
    return text.isascii() and text.lstrip("-").isdigit() and str(int(text)) == text


def options_of(field_type: FieldType) -> tuple[FieldType, ...]:
    """The options of a union; the type alone otherwise."""
    return field_type.options if isinstance(field_type, UnionType) else (field_type,)


def _same(value: Any, plain: Any) -> bool:
    return bool(type(value) is type(plain) and value == plain)


def _json_word(value: Any) -> str:
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else repr(value)
