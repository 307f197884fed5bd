"""Names of pipelines."""

from __future__ import annotations

import pytest

from rv_core.pipeline.names import name_of_class, name_pipelines, problem_with_name


@pytest.mark.parametrize(
    ("class_name", "name"),
    [
        ("GreetConfig", "greet"),
        ("ChipClassificationConfig", "chip-classification"),
        ("HTTPProbeConfig", "http-probe"),
        ("Net2DConfig", "net-2-d"),
        ("my_config_Config", "my-config"),
        ("Config", "pipeline"),
        ("_ÄConfig", "pipeline"),
        ("A" + "b" * 100, "a" + "b" * 63),
    ],
)
def test_unnamed_pipelines_are_named_after_their_class(class_name: str, name: str) -> None:
    assert name_of_class(class_name) == name
    assert problem_with_name(name) is None


@pytest.mark.parametrize("name", ["-a", "_a", "a b", "a/b", "a.b", "a" * 65, "ä", "a\n"])
def test_names_that_would_break_a_task_id_are_refused(name: str) -> None:
    assert problem_with_name(name) is not None


def test_equal_defaults_are_numbered() -> None:
    assert name_pipelines(["", ""], ["GreetConfig", "GreetConfig"]) == (["greet-1", "greet-2"], [])


def test_a_default_gives_way_to_a_given_name() -> None:
    assert name_pipelines(["greet", "", "greet-1"], ["XConfig", "GreetConfig", "XConfig"])[0] == [
        "greet",
        "greet-2",
        "greet-1",
    ]


def test_equal_given_names_are_an_error() -> None:
    _, findings = name_pipelines(["a", "a", "b"], ["XConfig"] * 3)
    assert [finding.what for finding in findings] == ["2 pipelines are named 'a'"]


def test_the_run_name_replaces_one_and_prefixes_several() -> None:
    assert name_pipelines(["x"], ["GreetConfig"], run_name="mine")[0] == ["mine"]
    assert name_pipelines(["x", ""], ["XConfig", "GreetConfig"], run_name="mine")[0] == ["mine-x", "mine-greet"]


def test_a_run_name_that_is_no_name_is_an_error() -> None:
    assert name_pipelines([""], ["GreetConfig"], run_name="a b")[1]
    assert name_pipelines([""], ["GreetConfig"], run_name="")[1]
    assert name_pipelines(["", ""], ["GreetConfig"] * 2, run_name="a" * 64)[1]
