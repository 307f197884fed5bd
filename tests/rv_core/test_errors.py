"""An error that is one of several is told in one line, worded alike everywhere."""

from __future__ import annotations

import pickle

import pytest

from rv_core.errors import DataError, Finding, RunnerError, StorageError, nearest


@pytest.mark.parametrize(
    ("what", "why", "line"),
    [
        ("it is not there", "", "it is not there"),
        ("it cannot be read", "no permission", "it cannot be read: no permission"),
        ("it cannot be read", "no permission\n  to list\n", "it cannot be read: no permission to list"),
        ("two\nlines", "", "two lines"),
        ("'a  b' is not there", "", "'a  b' is not there"),
    ],
)
def test_what_and_why_fit_on_one_line(what: str, why: str, line: str) -> None:
    assert StorageError(what, where="s3://a/b", why=why, fix="look").one_line() == line


def test_an_error_is_a_finding_of_the_place_that_is_named_else_of_its_own() -> None:
    error = StorageError("it cannot be read", where="s3://a/b", why="no permission", fix="ask for it")
    assert error.as_finding("scenes.0") == Finding("scenes.0", "it cannot be read: no permission", "ask for it")
    assert error.as_finding().where == "s3://a/b"


def test_a_finding_may_be_about_this_machine() -> None:
    assert RunnerError("no network").as_finding("AWS", kind="environment").kind == "environment"


def test_an_error_takes_a_finding_alone_for_one() -> None:
    finding = Finding("scenes.0", "cannot be read", "ask for it")
    assert DataError("an image is wrong", findings=finding).findings == (finding,)
    assert pickle.loads(pickle.dumps(DataError("an image is wrong", findings=[finding]))).findings == (finding,)


@pytest.mark.parametrize(
    ("name", "near"), [("forrest", "forest"), ("FOREST", "forest"), ("WATER", "Water"), ("sky", None)]
)
def test_a_near_miss_is_also_one_of_capitals(name: str, near: str | None) -> None:
    assert nearest(name, ["forest", "Water"]) == near
