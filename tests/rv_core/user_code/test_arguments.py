"""`-a KEY VALUE`: texts converted by the annotations of get_config."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from rv_core import ConfigError, Range, Uri, UsageError
from rv_core.config.fields import UnsupportedAnnotationError
from rv_core.config.from_text import convert
from rv_core.user_code.arguments import arguments_for, signature_of


class Mode(Enum):
    FAST = "fast"
    SLOW = 2


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("7", int, 7),
        ("-7", int, -7),
        ("+7", int, 7),
        ("7", str, "7"),
        ("7", Any, "7"),
        ("7", float, 7.0),
        ("1e-3", float, 0.001),
        ("true", bool, True),
        ("Yes", bool, True),
        ("1", bool, True),
        ("False", bool, False),
        ("no", bool, False),
        ("0", bool, False),
        ("a,b, c", list[str], ["a", "b", "c"]),
        ("", list[str], []),
        ("1,2", list[int], [1, 2]),
        ('["a,b", "c"]', list[str], ["a,b", "c"]),
        ("[1, 2.5]", list[float], [1.0, 2.5]),
        ("1,2", tuple[int, int], (1, 2)),
        ("1,2,3", tuple[float, ...], (1.0, 2.0, 3.0)),
        ("none", int | None, None),
        ("null", str | None, None),
        ("3", int | None, 3),
        ("x", str | None, "x"),
        ("3", int | str, 3),
        ("3.5", int | float, 3.5),
        ("x", int | str, "x"),
        ("balanced", Literal["none", "balanced"] | list[float], "balanced"),
        ("none", Literal["none", "balanced"] | list[float], "none"),
        ("1,2", Literal["none", "balanced"] | list[float], [1.0, 2.0]),
        ("2", Literal[1, 2], 2),
        ("true", Literal[True], True),
        ("none", Literal["a", None], None),
        ("fast", Mode, Mode.FAST),
        ("2", Mode, Mode.SLOW),
        ("s3://b/x", Uri, "s3://b/x"),
        ("3", Annotated[int, Range(min=1)], 3),
        ("", str, ""),
        ("a,b", str, "a,b"),
    ],
)
def test_texts_become_values(text: str, annotation: Any, value: Any) -> None:
    found = convert(text, annotation)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "annotation", "message"),
    [
        ("7.5", int, "expected an integer, got '7.5'"),
        ("7_000", int, "expected an integer"),
        ("", int, "expected an integer"),
        ("seven", int, "expected an integer"),
        ("1_0.5", float, "expected a number"),
        ("nan", float, "not a finite number"),
        ("inf", float, "not a finite number"),
        ("maybe", bool, "expected true or false, got 'maybe'"),
        ("2", bool, "expected true or false"),
        ("1,x", list[int], "expected an integer, got 'x'"),
        ("[1, ", list[int], "starts like a JSON list"),
        ("1", tuple[int, int], "expected 2 values"),
        ("blanced", Literal["none", "balanced"], "did you mean 'balanced'?"),
        ("none", int, "expected an integer"),
        ("x", int | None, "expected an integer or null, got 'x'"),
        ("10", Annotated[int, Range(min=60)] | None, "10 is below 60"),
        ("0", Annotated[int, Range(min=1)], "0 is below 1"),
    ],
)
def test_texts_that_do_not_fit_are_refused(text: str, annotation: Any, message: str) -> None:
    with pytest.raises(ValueError, match=r".*") as caught:
        convert(text, annotation)
    assert message in str(caught.value)


@pytest.mark.parametrize("annotation", [Path, dict[str, int], dict[str, int] | None, set[str]])
def test_what_cannot_be_typed_is_refused(annotation: Any) -> None:
    with pytest.raises(UnsupportedAnnotationError):
        convert("x", annotation)


# --- get_config -------------------------------------------------------------------------------------------------------


def get_config(runner: str, root_uri: str, num_epochs: int = 20, *, names: list[str] | None = None) -> None: ...


def without_runner(root_uri, count=3) -> None: ...  # type: ignore[no-untyped-def]


def open_ended(runner: str, count: int = 1, **more: str) -> None: ...


def with_path(folder: Path) -> None: ...


def positional(runner: str, /) -> None: ...


def call(function: Any, *given: tuple[str, str]) -> dict[str, Any]:
    return arguments_for(signature_of(function), "local", given)


def test_arguments_are_converted_by_the_signature() -> None:
    found = call(get_config, ("root_uri", "out"), ("num_epochs", "3"), ("names", "a,b"))
    assert found == {"runner": "local", "root_uri": "out", "num_epochs": 3, "names": ["a", "b"]}


def test_the_runner_is_passed_only_to_functions_that_take_it() -> None:
    assert call(without_runner, ("root_uri", "out"), ("count", "4")) == {"root_uri": "out", "count": 4}


def test_open_ended_functions_take_any_key_as_text() -> None:
    assert call(open_ended, ("count", "3"), ("lr", "0.1")) == {"runner": "local", "count": 3, "lr": "0.1"}


def test_all_wrong_arguments_are_reported_at_once_with_the_signature() -> None:
    with pytest.raises(UsageError) as caught:
        call(get_config, ("num_epoch", "3"), ("num_epochs", "x"), ("runner", "batch"), ("names", "a"), ("names", "b"))
    text = str(caught.value)
    assert "-a num_epoch: there is no such argument; did you mean 'num_epochs'?" in text
    assert "-a num_epochs: expected an integer, got 'x'" in text
    assert "-a root_uri: is missing; add -a root_uri VALUE" in text
    assert "-a runner: is given by `rv run RUNNER`" in text
    assert "-a names: is given twice" in text
    assert "get_config(runner: str, root_uri: str, num_epochs: int = 20, names: list[str] | None = None)" in text
    assert caught.value.exit_code == 2


def test_an_annotation_that_cannot_be_typed_says_what_to_write() -> None:
    with pytest.raises(UsageError, match="-a folder: cannot be given on the command line"):
        call(with_path, ("folder", "/x"))


def test_positional_parameters_are_refused() -> None:
    with pytest.raises(ConfigError, match="remove the '/'"):
        call(positional)


def test_a_parameter_without_annotation_takes_the_type_of_its_default() -> None:
    def get_config(runner, augment=True, rate=0.5, num=3, name="a", other=None):  # type: ignore[no-untyped-def]
        pass

    given = [("augment", "False"), ("rate", "1"), ("num", "4"), ("name", "5"), ("other", "6")]
    values = arguments_for(signature_of(get_config), "local", given)
    assert {name: value for name, value in values.items() if name != "runner"} == {
        "augment": False,
        "rate": 1.0,
        "num": 4,
        "name": "5",
        "other": "6",
    }
    assert arguments_for(signature_of(get_config), "local", [("num", "4.5")])["num"] == 4.5
    with pytest.raises(UsageError, match="expected"):
        arguments_for(signature_of(get_config), "local", [("augment", "maybe")])
