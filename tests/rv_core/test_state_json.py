from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rv_core.state_json import MAX_DEPTH, parse, read, typed

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
SHAPE = {"run_id": str, "jobs": [{"id": str, "num_splits": range(1, 11), "seconds?": float}], "roots?": {str: str}}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b'{"a": ', "it is no JSON: Expecting value"),
        (b"\xff\xfe\x00", "it is no text"),
        (b"[" * 100_000 + b"]" * 100_000, "nested more than 100 deep"),
        (b"[" * 500 + b"]" * 500, "nested more than 100 deep"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "nested more than 100 deep"),
        (b"1" * 5000, "a number of thousands of digits"),
    ],
)
def test_what_is_no_json_of_ours_is_refused_in_words(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(data)


def test_many_brackets_that_are_not_deep_are_read() -> None:
    assert len(parse(json.dumps([[1]] * 1000))) == 1000
    assert parse("[" * MAX_DEPTH + "]" * MAX_DEPTH) != []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "it is a list instead of an object"),
        ({"jobs": []}, "run_id is missing"),
        ({"run_id": 3, "jobs": []}, "run_id is a whole number instead of text"),
        ({"run_id": "r", "jobs": {}}, "jobs is an object instead of a list"),
        ({"run_id": "r", "jobs": [{"id": "a"}]}, r"jobs\[0\].num_splits is missing"),
        ({"run_id": "r", "jobs": [{"id": "a", "num_splits": 10**9}]}, r"num_splits is not a whole number from 1 to 10"),
        ({"run_id": "r", "jobs": [{"id": "a", "num_splits": True}]}, r"num_splits is not a whole number"),
        ({"run_id": "r", "jobs": [], "roots": {"a": None}}, "roots.a is null instead of text"),
    ],
)
def test_a_value_of_another_shape_is_refused_with_its_place(value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        typed(value, SHAPE)


def test_half_a_character_is_no_text() -> None:
    with pytest.raises(ValueError, match="no text"):
        read(rb'{"a": "\ud800"}', {"a": str})
    assert read(rb'{"a": "\ud83d\ude00"}', {"a": str}) == {"a": "\U0001f600"}


def test_fields_that_are_not_asked_for_stay() -> None:
    value = {"run_id": "r", "jobs": [{"id": "a", "num_splits": 2, "seconds": 3}], "newer": [1]}
    assert read(json.dumps(value), SHAPE) == value


@given(PLAIN)
def test_every_value_is_of_the_shape_or_refused(value: object) -> None:
    try:
        assert typed(parse(json.dumps(value)), SHAPE) == value
    except ValueError as error:
        assert len(str(error)) < 300
