"""Where configs differ: by dotted path, items by their id."""

from __future__ import annotations

from typing import Any

import pytest

from rv_report.comparing.differences import config_differences, mapping_differences

BASE: dict[str, Any] = {
    "root_uri": "a",
    "name": "first",
    "train": {"learning_rate": 0.001, "epochs": 8, "names": ["x", "y"]},
    "scenes": [{"id": "one", "uri": "1.tif"}, {"id": "two", "uri": "2.tif"}],
    "steps": [{"kind": "a"}, {"kind": "b"}],
}


def changed(**changes: Any) -> dict[str, Any]:
    return {**BASE, "root_uri": "b", "name": "second", **changes}


def test_a_sweep_of_one_field_names_exactly_that_field() -> None:
    configs = [
        {**BASE, "root_uri": str(rate), "train": {**BASE["train"], "learning_rate": rate}}
        for rate in (1e-3, 3e-3, 1e-2)
    ]
    assert config_differences(configs) == [("train.learning_rate", ("0.001", "0.003", "0.01"))]


@pytest.mark.parametrize(
    ("changes", "differences"),
    [
        ({}, []),
        ({"train": {**BASE["train"], "names": ["x"]}}, [("train.names", ('["x", "y"]', '["x"]'))]),
        ({"scenes": BASE["scenes"][:1]}, [("scenes[two]", ("there (two)", "–"))]),
        ({"scenes": [{"id": "one", "uri": "9.tif"}, BASE["scenes"][1]]}, [("scenes[one].uri", ("1.tif", "9.tif"))]),
        ({"scenes": BASE["scenes"][::-1]}, [("scenes (order)", ("one, two", "two, one"))]),
        ({"steps": [{"kind": "a"}, {"kind": "c"}]}, [("steps[1].kind", ("b", "c"))]),
        ({"steps": []}, [("steps", ('[{"kind": "a"}, {"kind": "b"}]', "[]"))]),
        ({"train": None}, [("train", ('{"learning_rate": 0.001, "epochs": 8, "names": ["x", "y"]}', "null"))]),
        ({"more": 1}, [("more", ("–", "1"))]),
        ({"train": {**BASE["train"], "epochs": 8.0}}, []),
        ({"train": {**BASE["train"], "epochs": True}}, [("train.epochs", ("8", "true"))]),
    ],
)
def test_differences_are_told_where_they_are(changes: dict[str, Any], differences: list[Any]) -> None:
    assert config_differences([BASE, changed(**changes)]) == differences


def test_names_that_only_some_have_differ() -> None:
    assert mapping_differences([{"a": "1", "b": "2"}, {"a": "1"}]) == [("b", ("2", "–"))]
