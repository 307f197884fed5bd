"""Strict loading and checking: everything that is wrong, at once, with dotted paths and near misses."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rv_core import Config, ConfigError, Finding, PipelineConfig, Range, Uri
from rv_core.config.validation.schemas import check, load
from rv_core.config.values import normalised, to_plain


class Mode(Enum):
    FAST = "fast"
    SLOW = "slow"


@dataclass(kw_only=True)
class Labels(Config):
    is_abstract: ClassVar[bool] = True


@dataclass(kw_only=True)
class FileLabels(Labels):
    """Labels of a file.

    Args:
        uri: the file.
        ioa: the threshold.
    """

    uri: Uri
    ioa: Annotated[float, Range(min=0, max=1)] = 0.5


@dataclass(kw_only=True)
class NoLabels(Labels):
    reason: str = ""


@dataclass(kw_only=True)
class Scene(Config):
    id: str
    uris: list[Uri]
    labels: Labels | None = None

    def validate(self) -> Iterable[Finding]:
        if self.id.startswith("-"):
            yield Finding("id", f"{self.id!r} starts with a dash", "choose another id")


@dataclass(kw_only=True)
class Chip(Config):
    size_px: Annotated[int, Range(min=1)] = 64
    stride_px: Annotated[int, Range(min=1)] | None = None
    sampling: Literal["sliding", "random"] = "sliding"
    flag: bool = False

    def validate(self) -> Iterable[Finding]:
        if self.stride_px is not None and self.stride_px > self.size_px:
            yield Finding("stride_px", "is larger than size_px", severity="warning")


@dataclass(kw_only=True)
class Sample(PipelineConfig):
    scenes: list[Scene] = field(default_factory=list)
    chip: Chip = field(default_factory=Chip)
    values: dict[int, str] = field(default_factory=dict)
    mapping: dict[str, float] = field(default_factory=dict)
    bbox: tuple[int, int] | None = None
    weights: Literal["none", "balanced"] | list[float] | None = None
    source: FileLabels | NoLabels | None = None
    mode: Mode = Mode.FAST
    rate: float = 0.1
    optional: int | None = None

    def validate(self) -> Iterable[Finding]:
        ids = [scene.id.lower() for scene in self.scenes]
        if len(set(ids)) < len(ids):
            yield Finding("scenes", "two scenes have one id")


def sample(**changes: Any) -> Sample:
    return Sample(root_uri="/out", scenes=[Scene(id="a", uris=["/a.tif"])], **changes)


def report(config: Config) -> dict[str, str]:
    return {finding.where: finding.what for finding in check(config)}


def load_report(plain: Any, expected: type[Config] | None = Sample) -> dict[str, Finding]:
    with pytest.raises(ConfigError) as caught:
        load(plain, expected)
    return {finding.where: finding for finding in caught.value.findings}


def test_a_sound_config_has_no_findings() -> None:
    config = sample(values={1: "x"}, bbox=(1, 2), weights=[1, 2.0], source=NoLabels(), mapping={"a": 1})
    assert check(config) == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("rate", "0.1", "expected a number, got '0.1'"),
        ("rate", True, "expected a number, got True"),
        ("rate", math.nan, "nan is not a finite number"),
        ("rate", math.inf, "inf is not a finite number"),
        ("rate", -math.inf, "-inf is not a finite number"),
        ("rate", Fraction(1, 2), "expected a number, got Fraction Fraction(1, 2)"),
        ("rate", None, "expected a number, got null"),
        ("optional", 3.0, "expected an integer or null, got 3.0"),
        ("optional", True, "expected an integer or null, got True"),
        ("optional", "3", "expected an integer or null, got '3'"),
        ("name", 3, "expected text, got 3"),
        ("name", b"x", "expected text, got bytes b'x'"),
        ("root_uri", Path("/out"), "expected a URI, got PosixPath PosixPath('/out')"),
        ("scenes", "abc", "expected a list of an object (Scene), got 'abc'"),
        ("scenes", {"a": 1}, "expected a list of an object (Scene), got {'a': 1}"),
        ("scenes", {1, 2}, "expected a list of an object (Scene), got set {1, 2}"),
        ("chip", None, "expected an object (Chip), got null"),
        ("chip", 5, "expected an object (Chip), got 5"),
        ("bbox", (1, 2, 3), "expected a list of 2: an integer, an integer, got 3 values"),
        ("weights", "blanced", "expected one of 'none', 'balanced' or a list of a number or null, got 'blanced'"),
        ("mode", "medium", "expected one of 'fast', 'slow', got 'medium'"),
    ],
)
def test_nothing_is_coerced(name: str, value: Any, message: str) -> None:
    config = sample()
    setattr(config, name, value)
    assert report(config) == {name: message}


def test_integers_are_taken_where_floats_are_declared() -> None:
    config = sample(rate=1, weights=[1, 2], mapping={"a": 3})
    assert check(config) == []
    assert to_plain(normalised(config))["rate"] == 1.0


def test_all_errors_are_reported_at_once_with_their_paths() -> None:
    config = sample(values={"x": 1, 2: "ok"}, mapping={"k": "v"}, weights=[1.0, "2"])
    config.scenes.append(Scene(id=7, uris=["/b.tif", 3], labels=FileLabels(uri="/l.json", ioa=2)))  # type: ignore[arg-type, list-item]
    config.chip.size_px = 0
    assert set(report(config)) == {
        "scenes[1].id",
        "scenes[1].uris[1]",
        "scenes[1].labels.ioa",
        "chip.size_px",
        "values.x",
        "mapping.k",
        "weights[1]",
    }


def test_a_misspelt_attribute_is_reported_with_the_near_miss() -> None:
    config = sample()
    config.chip.chip_sise = 3  # type: ignore[attr-defined]
    config.chip.stride_pxx = 3  # type: ignore[attr-defined]
    findings = {finding.where: finding for finding in check(config)}
    assert findings["chip.stride_pxx"].fix == "did you mean 'stride_px'?"
    assert findings["chip.chip_sise"].fix.startswith("known fields: size_px")


def test_cached_and_private_attributes_are_no_fields() -> None:
    config = sample()
    config._cache = 1  # type: ignore[attr-defined]
    assert check(config) == []


def test_semantic_checks_run_for_every_object_in_lists() -> None:
    config = sample()
    config.scenes.append(Scene(id="-b", uris=[]))
    assert report(config) == {"scenes[1].id": "'-b' starts with a dash"}


def test_semantic_checks_of_sound_objects_run_beside_structural_errors() -> None:
    config = sample()
    config.scenes = [Scene(id="-b", uris=[]), Scene(id="A", uris=[]), Scene(id="a", uris=[3])]  # type: ignore[list-item]
    config.chip.size_px = "x"  # type: ignore[assignment]
    assert set(report(config)) == {"scenes[0].id", "scenes[2].uris[0]", "chip.size_px", "scenes"}


def test_an_object_with_wrong_fields_is_not_asked_to_validate() -> None:
    config = sample()
    config.chip = Chip(size_px="x", stride_px=3)  # type: ignore[arg-type]
    assert report(config) == {"chip.size_px": "expected an integer, got 'x'"}


def test_an_object_in_the_wrong_place_is_one_finding_and_nothing_inside_it_is_looked_at() -> None:
    config = sample()
    config.scenes = Scene(id="-b", uris="/a.tif")  # type: ignore[assignment, arg-type]
    assert report(config) == {"scenes": "expected a list of an object (Scene), got an object (Scene)"}


def test_an_outer_validate_that_stumbles_over_a_reported_error_is_not_reported() -> None:
    config = sample()
    config.scenes[0].id = 3  # type: ignore[assignment]
    assert report(config) == {"scenes[0].id": "expected text, got 3"}


@dataclass
class Raising(Config):
    kind: str = "raise"

    def validate(self) -> Iterator[Finding]:
        yield Finding("kind", "one finding before")
        raise RuntimeError("planned")


@dataclass
class Careless(Config):
    def validate(self) -> Any:
        return ["only a text"]


@dataclass
class Single(Config):
    def validate(self) -> Any:
        return Finding("kind", "is not here", "bring it", kind="environment")


@dataclass
class SingleText(Config):
    def validate(self) -> Any:
        return "only a text"


@dataclass
class Singles(Config):
    first: Single = field(default_factory=Single)
    second: SingleText = field(default_factory=SingleText)


@dataclass
class Quiet(Config):
    def validate(self) -> Any:
        return None


def test_a_validate_that_raises_is_a_finding() -> None:
    found = report(Raising())
    assert found["kind"] == "one finding before"
    assert found[""] == "Raising.validate() raised RuntimeError: planned"


def test_a_validate_may_return_texts_or_nothing() -> None:
    assert report(Careless()) == {"": "only a text"}
    assert report(Quiet()) == {}


def test_a_finding_or_a_text_alone_is_one_finding_and_keeps_its_kind() -> None:
    assert check(Singles()) == [
        Finding("first.kind", "is not here", "bring it", kind="environment"),
        Finding("second", "only a text"),
    ]


def test_warnings_do_not_stop_loading() -> None:
    config = load({"root_uri": "/out", "chip": {"size_px": 4, "stride_px": 8}}, Sample)
    assert check(config)[0].severity == "warning"


def test_an_object_that_holds_itself_is_refused() -> None:
    config = sample()
    config.scenes.append(config)  # type: ignore[arg-type]
    assert "holds itself" in report(config)[""]


def test_uris_of_a_config_are_checked() -> None:
    config = sample(source=FileLabels(uri="https://user:pass@host/x.json"))
    config.scenes[0].uris = ["", "/vsis3/b/x.tif", "https://h/x.tif?X-Amz-Signature=abc", "${DATA}/x.tif"]
    found = report(config)
    assert set(found) == {"scenes[0].uris[0]", "scenes[0].uris[1]", "scenes[0].uris[2]", "source.uri"}
    assert not any("pass" in what and "password" not in what for what in found.values())
    assert "abc" not in str(found)


def test_names_of_pipelines_are_checked() -> None:
    assert "is not a name" in report(sample(name="a/b"))["name"]
    assert report(sample(name="fine-1_2")) == {}


# --- loading ----------------------------------------------------------------------------------------------------------


def test_defaults_are_filled_in() -> None:
    config = load({"root_uri": "/out"}, Sample)
    assert config == Sample(root_uri="/out")


def test_unknown_and_missing_keys_are_reported_together() -> None:
    found = load_report({"scenes": [{"id": "a", "uri": []}], "chipp": {}})
    assert found["chipp"].fix == "did you mean 'chip'?"
    assert found["scenes[0].uri"].fix == "did you mean 'uris'?"
    assert found["scenes[0].uris"].what == "is missing"
    assert found["root_uri"].what == "is missing"


def test_sound_parts_of_broken_values_are_validated_too() -> None:
    found = load_report({"root_uri": 3, "scenes": [{"id": "-a", "uris": ["a::b"]}, {"id": 3, "uris": []}]})
    assert set(found) == {"root_uri", "scenes[0].id", "scenes[0].uris[0]", "scenes[1].id"}


def test_semantic_errors_stop_loading() -> None:
    found = load_report({"root_uri": "/out", "scenes": [{"id": "a", "uris": []}, {"id": "A", "uris": []}]})
    assert found["scenes"].what == "two scenes have one id"


@pytest.mark.parametrize("plain", [None, [], "x", 3])
def test_what_is_no_object_is_refused(plain: Any) -> None:
    assert "expected an object (Sample)" in load_report(plain)[""].what


def test_digit_strings_are_integers_only_as_keys_of_int_dicts() -> None:
    config = load({"root_uri": "/out", "values": {"3": "x", "-2": "y"}}, Sample)
    assert config.values == {3: "x", -2: "y"}  # type: ignore[attr-defined]
    found = load_report({"root_uri": "/out", "values": {"03": "x", "+3": "y", "٣": "z", "": "w"}})
    assert len(found) == 4
    assert all("the key must be an integer" in finding.what for finding in found.values())


def test_the_same_integer_key_twice_is_refused() -> None:
    config = sample(values={3: "x", "3": "y"})
    assert report(config)["values"] == "the same integer is a key twice"


def test_text_dicts_take_no_other_keys() -> None:
    assert "the key must be text, got 1" in report(sample(mapping={1: 1.0}))['mapping["1"]']


def test_enums_are_loaded_by_value() -> None:
    assert load({"root_uri": "/out", "mode": "slow"}, Sample).mode is Mode.SLOW  # type: ignore[attr-defined]


def test_numbers_stay_what_they_are() -> None:
    config: Any = load({"root_uri": "/out", "rate": 1, "optional": 7}, Sample)
    assert type(config.rate) is float
    assert type(config.optional) is int


# --- polymorphism -----------------------------------------------------------------------------------------------------


def test_the_hint_decides_the_class() -> None:
    labels = {"type_hint": f"{__name__}:FileLabels", "uri": "/x"}
    config: Any = load({"root_uri": "/out", "scenes": [{"id": "a", "uris": [], "labels": labels}]}, Sample)
    assert config.scenes[0].labels == FileLabels(uri="/x")


def test_a_missing_hint_names_the_choices() -> None:
    found = load_report({"root_uri": "/out", "source": {"uri": "/x"}})
    assert found["source.type_hint"].what == "type_hint is missing: the class of the object cannot be told"
    assert f"{__name__}:FileLabels" in found["source.type_hint"].fix


def test_an_abstract_base_cannot_be_used() -> None:
    plain = {"root_uri": "/o", "scenes": [{"id": "a", "uris": [], "labels": {"type_hint": f"{__name__}:Labels"}}]}
    assert "is only a base" in load_report(plain)["scenes[0].labels.type_hint"].what
    config = sample()
    config.scenes[0].labels = Labels()
    assert "is only a base" in report(config)["scenes[0].labels.type_hint"]


@pytest.mark.parametrize(
    ("hint", "message"),
    [
        ("os:system", "names Python's own library"),
        ("subprocess:Popen", "names Python's own library"),
        ("rv_core.errors:RvError", "is not a config class"),
        ("rv_core.errors:unknown_name", "is not a config class"),
        ("rv_core.hello:HelloConfg", "has no 'HelloConfg'"),
        ("not_installed_at_all:X", "there is no module 'not_installed_at_all'"),
        ("rv_core.hello:HelloConfig()", "is not of the form module:Class"),
        ("..:x", "is not of the form module:Class"),
        (f"{__name__}:Scene", "expected FileLabels or NoLabels, got Scene"),
        ("no_such_name", "no config type named 'no_such_name'"),
        (3, "type_hint must be text, got 3"),
        (None, "type_hint must be text, got None"),
    ],
)
def test_a_wrong_hint_is_a_config_error(hint: Any, message: str) -> None:
    found = load_report({"root_uri": "/out", "source": {"type_hint": hint, "uri": "/x"}})
    assert message in found["source.type_hint"].what


def test_a_built_object_of_another_class_is_refused() -> None:
    config = sample()
    config.source = Chip()  # type: ignore[assignment]
    assert report(config)["source.type_hint"] == "expected FileLabels or NoLabels, got Chip"


def test_the_outermost_object_needs_a_hint_or_an_expected_class() -> None:
    assert load({"type_hint": f"{__name__}:Chip"}) == Chip()
    assert load_report({"size_px": 3}, None)["type_hint"].what.startswith("type_hint is missing")


def test_classes_made_inside_functions_can_be_loaded_in_this_process() -> None:
    @dataclass
    class Inner(Config):
        size_px: int = 1

    assert load(to_plain(Inner(size_px=3))) == Inner(size_px=3)


@dataclass
class Picky(Config):
    size_px: int = 1

    def __post_init__(self) -> None:
        if self.size_px == 13:
            raise ValueError("thirteen is unlucky")


def test_a_class_that_refuses_its_values_is_a_finding() -> None:
    found = load_report({"size_px": 13}, Picky)
    assert found[""].what == "Picky refuses its values: ValueError: thirteen is unlucky"


# --- properties -------------------------------------------------------------------------------------------------------

names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
numbers = st.floats(allow_nan=False, allow_infinity=False)
labels_strategy = st.one_of(
    st.none(),
    st.builds(FileLabels, uri=st.just("/l.json"), ioa=st.floats(0, 1)),
    st.builds(NoLabels, reason=names),
)
samples = st.builds(
    Sample,
    root_uri=st.just("/out"),
    scenes=st.lists(
        st.builds(Scene, id=st.uuids().map(str), uris=st.just(["/a.tif"]), labels=labels_strategy), max_size=3
    ),
    chip=st.builds(
        Chip, size_px=st.integers(1, 512), flag=st.booleans(), sampling=st.sampled_from(["sliding", "random"])
    ),
    values=st.dictionaries(st.integers(), names, max_size=3),
    mapping=st.dictionaries(names, st.one_of(numbers, st.integers(-(2**53), 2**53)), max_size=3),
    bbox=st.one_of(st.none(), st.tuples(st.integers(), st.integers())),
    weights=st.one_of(st.none(), st.just("balanced"), st.lists(numbers, max_size=3)),
    source=labels_strategy,
    mode=st.sampled_from(Mode),
    rate=st.one_of(numbers, st.integers(-(2**53), 2**53)),
)


@given(samples)
def test_sound_configs_survive_json(config: Sample) -> None:
    assert check(config) == []
    expected = normalised(config)
    text = json.dumps(to_plain(expected), allow_nan=False)
    found = load(json.loads(text))
    assert found == expected
    assert json.dumps(to_plain(found)) == text
    assert normalised(expected) == expected


wrong_values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), names, st.lists(st.integers(), max_size=2), st.just(object())
)


@given(st.dictionaries(st.sampled_from(["name", "scenes", "chip", "values", "bbox", "rate", "typo"]), wrong_values))
def test_any_value_anywhere_gives_findings_and_never_a_crash(changes: dict[str, Any]) -> None:
    config = sample()
    for name, value in changes.items():
        setattr(config, name, value)
    assert all(isinstance(finding, Finding) and finding.where for finding in check(config))


@given(st.recursive(wrong_values, lambda inner: st.dictionaries(names, inner, max_size=3), max_leaves=6))
def test_any_json_gives_a_config_or_a_config_error(plain: Any) -> None:
    try:
        assert isinstance(load(plain, Sample), Sample)
    except ConfigError as err:
        assert err.findings
