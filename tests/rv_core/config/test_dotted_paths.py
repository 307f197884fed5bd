"""Dotted paths: text and steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rv_core.config.dotted_paths import join, join_paths, outward, parse
from rv_core.config.field_types import Step


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("chip", ["chip"]),
        ("chip.chip_size_px", ["chip", "chip_size_px"]),
        ("dataset.train_scenes[3].raster.uris", ["dataset", "train_scenes", 3, "raster", "uris"]),
        ("a[-1]", ["a", -1]),
        ('a["dry grass"].b', ["a", "dry grass", "b"]),
        ("a['x.y']", ["a", "x.y"]),
        ("a.3", ["a", "3"]),
        ("a.dry-grass", ["a", "dry-grass"]),
    ],
)
def test_paths_are_split_into_steps(text: str, steps: list[Step]) -> None:
    assert parse(text) == steps


@pytest.mark.parametrize("text", ["", ".a", "a.", "a..b", "a[x]", "a[1", "a b", "a[1]b", "[", 'a["x]'])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"path"):
        parse(text)


@given(st.lists(st.one_of(st.integers(0, 99), st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True)), min_size=1))
def test_joined_steps_are_read_back(steps: list[Step]) -> None:
    text = ""
    for step in ["first", *steps]:
        text = join(text, step)
    assert parse(text) == ["first", *steps]


def test_odd_keys_are_quoted() -> None:
    assert join("classes", "dry grass") == 'classes["dry grass"]'
    assert join("classes", "3") == 'classes["3"]'
    assert join("", "classes") == "classes"


def test_relative_paths_are_put_behind() -> None:
    assert join_paths("a.b", "c") == "a.b.c"
    assert join_paths("a", "[2].x") == "a[2].x"
    assert join_paths("", "x") == "x"
    assert join_paths("x", "") == "x"


def test_outward_ends_with_the_whole() -> None:
    assert list(outward("a.b[2].c")) == ["a.b[2].c", "a.b[2]", "a.b", "a", ""]
    assert list(outward("")) == [""]
