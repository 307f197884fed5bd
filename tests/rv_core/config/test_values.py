"""Config objects as values: plain form, URIs, paths, building."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Literal

import pytest

from rv_core import Config, ConfigError, PipelineConfig, PluginError, Uri
from rv_core.config.dotted_paths import annotation_at, field_at
from rv_core.config.validation.schemas import load
from rv_core.config.values import normalised, to_plain, uris_at, uris_of, walk, walk_to_plain, with_uris
from rv_core.files import uris
from rv_core.hello import HelloPipeline


class Mode(Enum):
    FAST = "fast"
    SLOW = "slow"


@dataclass(kw_only=True)
class Labels(Config):
    is_abstract: ClassVar[bool] = True


@dataclass(kw_only=True)
class FileLabels(Labels):
    uri: Uri
    ioa_threshold: float = 0.5


@dataclass(kw_only=True)
class NoLabels(Labels):
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Scene(Config):
    id: str
    uris: list[Uri]
    labels: Labels | None = None
    extra: dict[str, Uri] = field(default_factory=dict)


@dataclass(kw_only=True)
class Sample(PipelineConfig):
    scenes: list[Scene] = field(default_factory=list)
    values: dict[int, str] = field(default_factory=dict)
    bbox: tuple[int, int, int, int] | None = None
    weights: Literal["none", "balanced"] | list[float] | None = None
    source: FileLabels | NoLabels | None = None
    mode: Mode = Mode.FAST
    note: str = ""
    best: Scene | None = None


def sample() -> Sample:
    return Sample(
        root_uri="out",
        scenes=[
            Scene(id="a", uris=["a.tif", "s3://b/a2.tif"], labels=FileLabels(uri="a.geojson", ioa_threshold=1)),
            Scene(id="b", uris=["${DATA}/b.tif"], extra={"aoi": "aoi.geojson"}),
        ],
        values={3: "x", -1: "y"},
        bbox=(0, 1, 2, 3),
        weights=[1, 2.5],
        source=NoLabels(),
        mode=Mode.SLOW,
        note="file.txt",
    )


def test_plain_form_has_hints_only_where_the_annotation_does_not_name_the_class() -> None:
    plain = to_plain(sample())
    assert plain["type_hint"] == f"{__name__}:Sample"
    assert "type_hint" not in plain["scenes"][0]
    assert plain["scenes"][0]["labels"]["type_hint"] == f"{__name__}:FileLabels"
    assert plain["source"]["type_hint"] == f"{__name__}:NoLabels"
    assert plain["values"] == {"3": "x", "-1": "y"}
    assert plain["bbox"] == [0, 1, 2, 3]
    assert plain["mode"] == "slow"


def test_all_hints_mark_every_object() -> None:
    plain = to_plain(sample(), all_hints=True)
    assert plain["scenes"][0]["type_hint"] == f"{__name__}:Scene"


def test_plain_form_of_an_item_carries_its_hint() -> None:
    assert to_plain(sample().scenes[1])["type_hint"] == f"{__name__}:Scene"
    assert to_plain(["n1", 2, None, {"k": (1, 2)}, {5: 1}]) == ["n1", 2, None, {"k": [1, 2]}, {"5": 1}]


def test_plain_form_coerces_nothing() -> None:
    config = sample()
    config.note = 7  # type: ignore[assignment]
    config.scenes = "abc"  # type: ignore[assignment]
    config.weights = 3.7  # type: ignore[assignment]
    plain = to_plain(config)
    assert (plain["note"], plain["scenes"], plain["weights"]) == (7, "abc", 3.7)


def test_normalised_equals_what_loading_gives() -> None:
    config = normalised(sample())
    assert load(to_plain(config)) == config
    assert to_plain(load(to_plain(config))) == to_plain(config)
    ioa: Any = config.scenes[0].labels
    assert type(ioa.ioa_threshold) is float
    assert config.weights == [1.0, 2.5]
    assert isinstance(config.weights, list)
    assert type(config.weights[0]) is float
    assert config.bbox == (0, 1, 2, 3)


def test_normalised_leaves_the_original_alone() -> None:
    config = sample()
    normalised(config)
    assert type(config.scenes[0].labels.ioa_threshold) is int  # type: ignore[union-attr]


def test_every_uri_is_found_with_its_path() -> None:
    assert dict(uris_of(sample())) == {
        "root_uri": "out",
        "scenes[0].uris[0]": "a.tif",
        "scenes[0].uris[1]": "s3://b/a2.tif",
        "scenes[0].labels.uri": "a.geojson",
        "scenes[1].uris[0]": "${DATA}/b.tif",
        "scenes[1].extra.aoi": "aoi.geojson",
    }


def test_uris_of_values_go_by_the_annotation() -> None:
    config = sample()
    assert [uri for _, uri in uris_of(config.scenes[0].uris, list[Uri])] == ["a.tif", "s3://b/a2.tif"]
    assert list(uris_of(["a.tif"])) == []
    assert list(uris_of("a.tif", str)) == []
    assert [uri for _, uri in uris_of({"k": [config.scenes[1]]})] == ["${DATA}/b.tif", "aoi.geojson"]
    assert list(uris_of("x", Uri, "here")) == [("here", "x")]
    assert list(uris_of(3, Uri)) == []


def test_uris_at_a_path_go_by_the_actual_objects() -> None:
    assert list(uris_at(sample(), "scenes[0].labels.uri")) == [("scenes[0].labels.uri", "a.geojson")]
    assert list(uris_at(sample(), "note")) == []


def test_with_uris_changes_uris_and_nothing_else() -> None:
    found = with_uris(sample(), lambda uri: uris.absolute(uri, "/base"))
    assert dict(uris_of(found)) == {
        "root_uri": "/base/out",
        "scenes[0].uris[0]": "/base/a.tif",
        "scenes[0].uris[1]": "s3://b/a2.tif",
        "scenes[0].labels.uri": "/base/a.geojson",
        "scenes[1].uris[0]": "${DATA}/b.tif",
        "scenes[1].extra.aoi": "/base/aoi.geojson",
    }
    assert found.note == "file.txt"
    assert found.bbox == (0, 1, 2, 3)
    assert with_uris(found, lambda uri: uris.absolute(uri, "/elsewhere")) == found


def test_walk_is_outermost_first() -> None:
    paths = [path for path, _ in walk(sample())]
    assert paths == ["", "scenes[0]", "scenes[0].labels", "scenes[1]", "source"]


def test_walked_values_keep_what_is_wrong_and_what_is_stray() -> None:
    config = sample()
    config.notee = "typo"  # type: ignore[attr-defined]
    config._private = 1  # type: ignore[attr-defined]
    values = walk_to_plain(config)
    assert values["notee"] == "typo"
    assert "_private" not in values
    assert values.config_class is Sample


def test_fields_are_found_by_path() -> None:
    config = sample()
    assert field_at(config, "scenes[1].id") == "b"
    assert field_at(config, "scenes[-1].extra.aoi") == "aoi.geojson"
    assert field_at(config, "values[3]") == "x"
    assert field_at(config, "values.3") == "x"
    assert field_at(config, "bbox[2]") == 2


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("scene", ["no field 'scene'", "did you mean 'scenes'"]),
        ("scenes[0].lables", ["did you mean 'scenes[0].labels'"]),
        ("scenes[9]", ["a list of 2"]),
        ("scenes.first", ["a list of 2"]),
        ("values[4]", ["keys 3, -1"]),
        ("note.x", ["'file.txt'"]),
        ("a..b", ["is not a path"]),
    ],
)
def test_unknown_paths_name_the_near_miss(path: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        field_at(sample(), path)
    assert all(word in str(caught.value) for word in words)


def test_annotations_are_found_by_path() -> None:
    assert annotation_at(Sample, "scenes[0].uris[0]") == Uri
    assert annotation_at(Sample, "scenes") == list[Scene]
    assert annotation_at(Sample, "scenes[0].labels.uri") == Uri  # of the subclass that has it
    assert annotation_at(Sample, "source.uri") == Uri
    assert annotation_at(Sample, "best.id") is str
    assert annotation_at(Sample, "values[3]") is str
    assert annotation_at(Sample, "scenes[0].nothing") is None
    with pytest.raises(ConfigError, match="no field 'scens'"):
        annotation_at(Sample, "scens[0]")


def test_a_pipeline_config_that_names_no_pipeline_says_both_ways_to_do_it() -> None:
    with pytest.raises(ConfigError, match="Sample does not say which pipeline") as caught:
        sample().build()
    assert "def build(self)" in str(caught.value)
    assert "pipeline: ClassVar[str]" in str(caught.value)


@dataclass(kw_only=True)
class NamedConfig(PipelineConfig):
    pipeline: ClassVar[str] = "rv_core.hello:HelloPipeline"


def test_a_pipeline_config_names_its_pipeline_by_a_string() -> None:
    config = NamedConfig(root_uri="out")
    pipeline = config.build()
    assert type(pipeline) is HelloPipeline
    assert pipeline.config.root_uri == "out"


def test_the_name_of_the_pipeline_is_no_field_of_the_config() -> None:
    assert to_plain(NamedConfig(root_uri="out")).keys() == {"type_hint", "root_uri", "name"}
    with pytest.raises(ConfigError, match="pipeline"):
        load({"root_uri": "out", "pipeline": "x:Y"}, NamedConfig)


def test_a_config_may_build_its_pipeline_otherwise() -> None:
    class Built(PipelineConfig):
        pipeline: ClassVar[str] = "nowhere:Nothing"

        def build(self) -> HelloPipeline:
            return HelloPipeline(self)

    assert type(Built(root_uri="out").build()) is HelloPipeline


@pytest.mark.parametrize("target", ["json:Greeting", "greeting_of_nobody.pipeline:Greeting"])
def test_a_pipeline_that_cannot_be_imported_is_told_with_its_config(target: str) -> None:
    class Misnamed(PipelineConfig):
        pipeline: ClassVar[str] = target

    with pytest.raises(PluginError, match=f"{target}, declared by .*Misnamed, cannot be imported"):
        Misnamed(root_uri="out").build()


def test_importing_config_classes_loads_nothing_heavy() -> None:
    code = (
        "import sys, rv_core.config.values, rv_core.config.saved; "
        "heavy = {'marshmallow', 'typer', 'rich', 'fsspec', 'platformdirs', 'importlib.metadata', 'pluggy', 'zipfile'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@dataclass(kw_only=True)
class Shape(Config):
    is_abstract: ClassVar[bool] = True
    class_before: ClassVar[type[Config]]


@dataclass(kw_only=True)
class Round(Shape):
    radius_m: float


Shape.class_before = Round


@dataclass(kw_only=True)
class Square(Shape):
    side_m: float


@dataclass(kw_only=True)
class Drawing(PipelineConfig):
    shape: Shape


def test_a_class_that_has_got_a_base_goes_on_without_a_hint() -> None:
    """Its keys stay, and configs that were written before the base load."""
    assert to_plain(Drawing(root_uri="/out", shape=Round(radius_m=1.0)))["shape"] == {"radius_m": 1.0}
    assert to_plain(Drawing(root_uri="/out", shape=Square(side_m=1.0)))["shape"] == {
        "type_hint": f"{__name__}:Square",
        "side_m": 1.0,
    }
    for shape in (Round(radius_m=1.0), Square(side_m=1.0)):
        drawing = Drawing(root_uri="/out", shape=shape)
        assert load(to_plain(drawing)) == drawing
