"""`--set path.to.field=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import pytest

from rv_core import Config, ConfigError, PipelineConfig, Uri
from rv_core.config.overrides import apply_sets
from rv_core.config.validation.schemas import load
from rv_core.config.values import to_plain, walk_to_plain


@dataclass(kw_only=True)
class Labels(Config):
    is_abstract: ClassVar[bool] = True


@dataclass(kw_only=True)
class FileLabels(Labels):
    uri: Uri
    ioa: float = 0.5


@dataclass(kw_only=True)
class Scene(Config):
    id: str
    uris: list[Uri] = field(default_factory=list)
    labels: Labels | None = None


@dataclass(kw_only=True)
class Chip(Config):
    size_px: int = 64
    stride_px: int | None = None


@dataclass(kw_only=True)
class Sample(PipelineConfig):
    scenes: list[Scene] = field(default_factory=list)
    chip: Chip = field(default_factory=Chip)
    best: Chip | None = None
    values: dict[int, str] = field(default_factory=dict)
    weights: Literal["none", "balanced"] | list[float] | None = None
    bbox: tuple[int, int] = (0, 0)
    note: str | None = None


def sample() -> Sample:
    scenes = [Scene(id="a", uris=["/a"], labels=FileLabels(uri="/l")), Scene(id="b")]
    return Sample(root_uri="/out", scenes=scenes, values={3: "x"})


def changed(*sets: tuple[str, str]) -> Any:
    from_python = load(apply_sets(walk_to_plain(sample()), sets))
    from_json = load(apply_sets(to_plain(sample()), sets))
    assert from_python == from_json
    return from_python


def test_numbers_in_nested_objects() -> None:
    config = changed(("chip.size_px", "32"), ("chip.stride_px", "16"))
    assert config.chip == Chip(size_px=32, stride_px=16)


def test_lists_are_reached_by_index() -> None:
    config = changed(("scenes[0].id", "z"), ("scenes[-1].uris", '["/x", "/y"]'), ("scenes[0].uris[0]", "/new"))
    assert config.scenes[0].id == "z"
    assert config.scenes[0].uris == ["/new"]
    assert config.scenes[1].uris == ["/x", "/y"]


def test_fields_of_polymorphic_objects() -> None:
    assert changed(("scenes[0].labels.ioa", "0.25")).scenes[0].labels.ioa == 0.25


def test_whole_objects_are_json() -> None:
    labels = f'{{"type_hint": "{__name__}:FileLabels", "uri": "/new"}}'
    assert changed(("scenes[1].labels", labels)).scenes[1].labels == FileLabels(uri="/new")
    assert changed(("scenes[0].labels", "null")).scenes[0].labels is None
    assert changed(("best", '{"size_px": 3}'), ("best.stride_px", "2")).best == Chip(size_px=3, stride_px=2)


def test_keys_of_dicts() -> None:
    assert changed(("values[3]", "y"), ("values.4", "z")).values == {3: "y", 4: "z"}


def test_text_needs_no_quotes() -> None:
    assert changed(("name", "123")).name == "123"
    assert changed(("note", '"x y"')).note == "x y"
    assert changed(("note", "null")).note is None
    assert changed(("note", "true")).note == "true"
    assert changed(("weights", "balanced")).weights == "balanced"
    assert changed(("weights", "[1, 2]")).weights == [1.0, 2.0]


def test_later_sets_win() -> None:
    assert changed(("chip.size_px", "1"), ("chip.size_px", "2")).chip.size_px == 2


def test_tuples_are_reached_by_index() -> None:
    assert changed(("bbox[1]", "7")).bbox == (0, 7)


def test_defaults_that_a_json_leaves_out_are_there() -> None:
    plain = {"type_hint": f"{__name__}:Sample", "root_uri": "/out"}
    config: Any = load(apply_sets(plain, [("chip.size_px", "5")]))
    assert config.chip.size_px == 5


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("chipp.size_px", "1", ["Sample has no field 'chipp'", "did you mean 'chip'?"]),
        ("chip.size", "1", ["did you mean 'chip.size_px'?"]),
        ("scenes[7].id", "x", ["scenes has 2 values, there is no [7]"]),
        ("scenes.first", "x", ["scenes has 2 values"]),
        ("scenes[1].labels.uri", "x", ["scenes[1].labels is null", "as a whole, as JSON"]),
        ("name.x", "1", ["name is", "as a whole"]),
        ("best.size_px", "1", ["best is null"]),
        ("chip..size_px", "1", ["is not a path"]),
        ("", "1", ["the path is empty"]),
        ("chip.size_px", "{", ["'{' is not JSON", "takes an integer"]),
        ("chip.size_px", "sixty", ["is not JSON"]),
        ("values", "x", ["is not JSON", "in quotes for the shell"]),
        ("scenes", "a,b", ["is not JSON", "in quotes for the shell"]),
        ("values.x.y", "1", ["is not given"]),
    ],
)
def test_what_cannot_be_set_is_explained(path: str, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        apply_sets(walk_to_plain(sample()), [(path, text)])
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert f"--set {path}" in str(caught.value)


def test_all_wrong_sets_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        apply_sets(walk_to_plain(sample()), [("a", "1"), ("b", "2"), ("chip.size_px", "3")])
    assert len(caught.value.findings) == 2


def test_a_wrong_value_is_left_for_the_strict_load_to_report() -> None:
    with pytest.raises(ConfigError) as caught:
        load(apply_sets(walk_to_plain(sample()), [("chip.size_px", '"7"')]))
    assert "chip.size_px: expected an integer, got '7'" in str(caught.value)
