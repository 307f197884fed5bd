"""What config classes are written with: `Config`, `Uri`, `Range`, `Secret` and `AsBefore`.

Imports the standard library only, since every task and every plugin's config module needs it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, get_args, get_origin

from rv_core.errors import Finding


class UriMark:
    """Marks a text as a URI, so that every URI of a config can be found by its annotation. Written as `Uri`."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UriMark)

    def __hash__(self) -> int:
        return hash(UriMark)

    def __repr__(self) -> str:
        return "Uri"


Uri = Annotated[str, UriMark()]


class Secret:
    """Marks a field of a settings class as secret: `Annotated[str | None, Secret()]`. Never saved, shown as `***`."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret)

    def __hash__(self) -> int:
        return hash(Secret)

    def __repr__(self) -> str:
        return "Secret()"


class Range:
    """Bounds of a number: `Annotated[int, Range(min=1)]`. Every bound is optional and in the unit of the field.

    Args:
        min: the smallest allowed value.
        max: the largest allowed value.
        min_exclusive: values must be above this.
        max_exclusive: values must be below this.
    """

    __slots__ = ("max", "max_exclusive", "min", "min_exclusive")

    def __init__(
        self,
        min: float | None = None,  # noqa: A002 - reads best: Range(min=1)
        max: float | None = None,  # noqa: A002
        *,
        min_exclusive: float | None = None,
        max_exclusive: float | None = None,
    ) -> None:
        self.min = min
        self.max = max
        self.min_exclusive = min_exclusive
        self.max_exclusive = max_exclusive

    def problem_with(self, value: float) -> str | None:
        """What is wrong with a number ("0 is below 1"), or None."""
        if self.min is not None and value < self.min:
            return f"{value} is below {self.min}"
        if self.max is not None and value > self.max:
            return f"{value} is above {self.max}"
        if self.min_exclusive is not None and value <= self.min_exclusive:
            return f"{value} is not above {self.min_exclusive}"
        if self.max_exclusive is not None and value >= self.max_exclusive:
            return f"{value} is not below {self.max_exclusive}"
        return None

    def _bounds(self) -> tuple[float | None, ...]:
        return (self.min, self.max, self.min_exclusive, self.max_exclusive)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Range) and self._bounds() == other._bounds()

    def __hash__(self) -> int:
        return hash(self._bounds())

    def __repr__(self) -> str:
        names = ("min", "max", "min_exclusive", "max_exclusive")
        given = (f"{name}={bound}" for name, bound in zip(names, self._bounds(), strict=True) if bound is not None)
        return f"Range({', '.join(given)})"


class AsBefore:
    """Marks a field that came with a later version: `context_px: Annotated[int, AsBefore(0)] = 32`.

    Args:
        value: with it everything is as it was before there was the field, as a plain JSON value. At this value the
            field enters no key, so what was done before is still done, and is not saved; a saved config that lacks the
            field has it.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def is_it(self, plain: Any) -> bool:
        """Whether a plain value is that one; 0, 0.0 and False are three."""
        return type(plain) is type(self.value) and bool(plain == self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsBefore) and self.is_it(other.value)

    def __hash__(self) -> int:
        return hash(AsBefore)

    def __repr__(self) -> str:
        return f"AsBefore({self.value!r})"


def split_mark(annotation: Any) -> tuple[Any, AsBefore | None]:
    """An annotation without `AsBefore`, and that mark if it has one."""
    if get_origin(annotation) is not Annotated:
        return annotation, None
    inner, *marks = get_args(annotation)
    found = next((mark for mark in marks if isinstance(mark, AsBefore)), None)
    rest = [mark for mark in marks if not isinstance(mark, AsBefore)]
    return (Annotated[inner, *rest] if rest else inner), found


class Config:
    """Base of every config object. Subclasses are dataclasses whose annotations declare everything about a field.

    A field may be `str`, `int`, `float`, `bool`, `Uri`, a `Literal`, an `Enum`, another config class, a `list`, a
    `tuple`, a `dict` with text or integer keys, or a union of these with each other and None. Values are never
    coerced, except that an integer is taken where a float is declared.

    A field that is declared by a base class takes objects of every subclass; their JSON carries `type_hint`. A base
    that must not be used itself says so in its own body: `is_abstract: ClassVar[bool] = True`. A base that came after
    the one class that fields were declared by names that class, `Base.class_before = TheClass`: its objects go on
    without `type_hint`, so that their keys stay and older configs load.
    """

    is_abstract: ClassVar[bool] = True

    def validate(self) -> Iterable[Finding]:
        """Semantic checks of this object alone; `where` is relative to it, for instance `"stride_px"`.

        Called only when the types of the object's own fields are right. Findings of severity `warning` are printed
        and do not stop the run.
        """
        return ()

    def _rv_findings(self) -> Iterable[Finding]:
        """What the core itself checks of objects of this class, beside the types of their fields."""
        return ()
