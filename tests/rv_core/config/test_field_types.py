"""Annotations of config fields: what is understood, what is refused and with which advice."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Optional

import pytest

from rv_core import AsBefore, Config, ConfigError, PipelineConfig, Range, Secret, Uri
from rv_core.config.docstrings import descriptions_of, summary_of
from rv_core.config.field_types import ChoiceType, ListType, ObjectType, UnionType
from rv_core.config.fields import (
    UnsupportedAnnotationError,
    check_is_dataclass,
    field_type_of,
    fields_of,
)


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Flags(Enum):
    A = (1, 2)


@dataclass(kw_only=True)
class Leaf(Config):
    """A leaf.

    Args:
        size_px: side of it,
            in pixels.
        a, b: two things.
    """

    size_px: int = 1
    a: str = ""
    b: str = ""


@dataclass(kw_only=True)
class Other(Config):
    size_px: int = 1


@pytest.mark.parametrize(
    ("annotation", "description"),
    [
        (str, "text"),
        (int, "an integer"),
        (float, "a number"),
        (bool, "true or false"),
        (Uri, "a URI"),
        (Annotated[int, Range(min=1)], "an integer"),
        (Literal["a", 1, None, True], "one of 'a', 1, null, true"),
        (Literal["only"], "'only'"),
        (Color, "one of 'red', 'blue'"),
        (list[int], "a list of an integer"),
        (tuple[int, str], "a list of 2: an integer, text"),
        (tuple[float, ...], "a list of a number"),
        (dict[str, int], "an object of text to an integer"),
        (dict[int, str], "an object of integer to text"),
        (Leaf, "an object (Leaf)"),
        (Leaf | Other | None, "null or an object (Leaf or Other)"),
        (Optional[int], "an integer or null"),  # noqa: UP045
        (Literal["none", "balanced"] | list[float] | None, "one of 'none', 'balanced' or a list of a number or null"),
        (list[list[Uri]], "a list of a list of a URI"),
    ],
)
def test_supported_annotations_describe_themselves(annotation: Any, description: str) -> None:
    assert field_type_of(annotation).describe() == description


@pytest.mark.parametrize(
    ("annotation", "advice"),
    [
        (Any, "name the types"),
        (object, "name the types"),
        (list, "list[str]"),
        (dict, "dict[str, int]"),
        (tuple, "tuple[str]"),
        (set[int], "use str, int, float"),
        (Path, "rv_core.Uri"),
        (bytes, "cannot be saved as JSON"),
        (dict[float, int], "keys of a dict must be str or int"),
        (dict[bool, int], "keys of a dict must be str or int"),
        (list[int] | list[str], "two kinds of list"),
        (tuple[int, int] | list[str], "two kinds of list"),
        (dict[str, int] | Leaf, "a dict and another object"),
        (Literal[b"x"], "only text, integers"),
        (Literal[Color.RED], "only text, integers"),
        (Flags, "must be text or integers"),
        (Annotated[str, Range(min=1)], "Range bounds a number"),
        (Annotated[list[int], Range(min=1)], "belongs on a plain value"),
        (Annotated[int, Uri.__metadata__[0]], "Uri marks a text"),
        (Leaf | Path, "rv_core.Uri"),
        (tuple[()], "holds nothing"),
    ],
)
def test_annotations_that_json_cannot_hold_are_refused_with_advice(annotation: Any, advice: str) -> None:
    with pytest.raises(UnsupportedAnnotationError) as caught:
        field_type_of(annotation)
    assert advice in str(caught.value)


def test_literal_of_one_and_of_true_are_told_apart() -> None:
    assert not field_type_of(Literal[1]).accepts(True)
    assert not field_type_of(Literal[True]).accepts(1)
    assert field_type_of(Literal[True]).accepts(True)


def test_a_union_prefers_the_exact_kind() -> None:
    union = field_type_of(float | int | str | None)
    assert isinstance(union, UnionType)
    assert [type(union.option_for(v)).__name__ for v in (1, 1.5, "x", None)] == ["ScalarType"] * 3 + ["NullType"]
    assert union.option_for(1) is union.options[1]
    assert union.option_for(1.5) is union.options[0]
    assert union.option_for(True) is None


def test_a_union_of_configs_is_one_polymorphic_object() -> None:
    found = field_type_of(Leaf | Other)
    assert isinstance(found, ObjectType)
    assert found.classes == (Leaf, Other)
    assert found.needs_hint(Leaf)
    assert not field_type_of(Leaf).needs_hint(Leaf)  # type: ignore[attr-defined]


def test_only_what_may_hold_a_uri_is_walked_for_uris() -> None:
    assert field_type_of(list[Uri]).may_hold_uris
    assert field_type_of(dict[str, Uri | None]).may_hold_uris
    assert not field_type_of(list[str]).may_hold_uris
    assert isinstance(field_type_of(list[str]), ListType)
    assert isinstance(field_type_of(Color), ChoiceType)


def test_a_range_applies_to_the_number_of_an_optional() -> None:
    union = field_type_of(Annotated[int | None, Range(min=1, max=3)])
    assert isinstance(union, UnionType)
    number: Any = union.options[0]
    assert number.problem_with(0) == "0 is below 1"
    assert number.problem_with(4) == "4 is above 3"
    assert number.problem_with(2) is None


def test_exclusive_bounds() -> None:
    bounds = Range(min_exclusive=0, max_exclusive=1)
    assert bounds.problem_with(0) == "0 is not above 0"
    assert bounds.problem_with(1) == "1 is not below 1"
    assert bounds.problem_with(0.5) is None
    assert repr(bounds) == "Range(min_exclusive=0, max_exclusive=1)"
    assert Range(min=1) == Range(1)
    assert hash(Range(min=1)) == hash(Range(1))
    assert Range(min=1) != Range(max=1)


# --- the fields of a class --------------------------------------------------------------------------------------------


class Forgotten(PipelineConfig):
    names: list[str]


@dataclass
class WithPath(Config):
    folder: Path


@dataclass
class WithHidden(Config):
    made: int = field(init=False, default=0)


@dataclass
class WithInitVar(Config):
    seed: InitVar[int] = 0


@dataclass
class WithSecret(Config):
    token: Annotated[str, Secret()]


@dataclass
class WithReservedName(Config):
    type_hint: str


@dataclass
class WithUnknownName(Config):
    other: "NotThere"  # type: ignore[name-defined]  # noqa: F821, UP037


@dataclass
class Fine(Config):
    kind: ClassVar[str] = "x"
    names: list[str]


@dataclass
class Behaviour(Fine):
    pass


class OnlyBehaviour(Fine):
    def count(self) -> int:
        return len(self.names)


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (Forgotten, ["Forgotten", "names", "@dataclass"]),
        (WithPath, ["WithPath.folder", "rv_core.Uri"]),
        (WithHidden, ["WithHidden.made", "init=False"]),
        (WithInitVar, ["WithInitVar.seed", "InitVar"]),
        (WithSecret, ["WithSecret.token", "secret"]),
        (WithReservedName, ["WithReservedName.type_hint", "taken"]),
        (WithUnknownName, ["WithUnknownName", "NotThere"]),
    ],
)
def test_unusable_classes_are_refused_by_name_and_field(cls: type, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        fields_of(cls)
    assert all(word in str(caught.value) for word in words)
    assert caught.value.exit_code == 2


def test_class_variables_are_no_fields() -> None:
    assert list(fields_of(Fine)) == ["names"]
    assert fields_of(Fine)["names"].is_required


def test_a_subclass_without_fields_needs_no_decorator() -> None:
    check_is_dataclass(OnlyBehaviour)
    assert list(fields_of(OnlyBehaviour)) == ["names"]


@dataclass(kw_only=True)
class Tree(Config):
    """Annotations that name what comes later, within others too, and a field with the name of a type."""

    children: list["Twig"]  # noqa: UP037 - a name in text within an annotation that is text
    int: Optional["Twig"] = None  # noqa: UP037, UP045


@dataclass(kw_only=True)
class Twig(Config):
    """A part of a tree."""

    length_cm: int = 1


class Counted:
    """What is no dataclass, with an annotation that is text within text."""

    count: "ClassVar[int]" = 0  # noqa: UP037


@dataclass(kw_only=True)
class CountedTree(Counted, Tree):
    """A tree that is counted."""


def test_text_within_text_may_be_that_of_a_class_variable() -> None:
    assert list(fields_of(CountedTree)) == ["children", "int"]


_KINDS: dict[int, Any] = {}


@dataclass(kw_only=True)
class Kinded(Config):
    """An annotation that raises when it is evaluated."""

    kind: _KINDS.pop(1) = None  # type: ignore[valid-type]


def test_an_annotation_that_raises_is_refused_with_what_it_raises() -> None:
    with pytest.raises(ConfigError, match="annotations of Kinded cannot be read") as caught:
        fields_of(Kinded)
    assert caught.value.block.why == "KeyError: 1"


def test_names_in_text_are_found_within_annotations_too() -> None:
    children = fields_of(Tree)["children"].type
    assert isinstance(children, ListType)
    assert children.item.annotation is Twig
    assert fields_of(Tree)["int"].type.annotation == Twig | None


def test_descriptions_come_from_the_docstring() -> None:
    assert descriptions_of(Leaf) == {"size_px": "side of it, in pixels.", "a": "two things.", "b": "two things."}
    assert summary_of(Leaf) == "A leaf."
    assert summary_of(Fine) == ""
    assert set(descriptions_of(PipelineConfig)) == {"root_uri", "name"}


@pytest.mark.parametrize(
    ("annotation", "problem"),
    [
        (Annotated[float, AsBefore(0)], "write AsBefore(0.0)"),
        (Annotated[float | None, AsBefore(2)], "write AsBefore(2.0)"),
        (Annotated[int, AsBefore("0")], "names no plain JSON value that it can have"),
        (Annotated[tuple[int, ...], AsBefore((0,))], "names no plain JSON value that it can have"),
        (Annotated[int, Range(min=1), AsBefore(0)], "is a value that it cannot have"),
    ],
)
def test_a_mark_of_before_that_no_value_would_meet_is_refused(annotation: Any, problem: str) -> None:
    made = dataclass(kw_only=True)(type("Made", (Config,), {"__annotations__": {"margin": annotation}}))
    with pytest.raises(ConfigError) as caught:
        fields_of(made)
    assert problem in str(caught.value)
    assert "Made.margin" in str(caught.value)
