"""The JSON Schema of config classes agrees with loading."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, ClassVar, Literal

import pytest

from rv_core import Config, ConfigError, PipelineConfig, Range, Uri
from rv_core.config.validation.json_schemas import json_schema
from rv_core.config.validation.schemas import load
from rv_core.config.values import to_plain

jsonschema = pytest.importorskip("jsonschema")
Validator = jsonschema.Draft202012Validator


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


@dataclass(kw_only=True)
class Chip(Config):
    size_px: Annotated[int, Range(min=1)] = 64


@dataclass(kw_only=True)
class Sample(PipelineConfig):
    scenes: list[Scene] = field(default_factory=list)
    chip: Chip = field(default_factory=Chip)
    values: dict[int, str] = field(default_factory=dict)
    mapping: dict[str, float] = field(default_factory=dict)
    bbox: tuple[int, int] | None = None
    sizes: tuple[int, ...] = ()
    weights: Literal["none", "balanced"] | list[float] | None = None
    source: FileLabels | NoLabels | None = None
    mode: Mode = Mode.FAST


def sample(**changes: Any) -> Sample:
    return Sample(root_uri="/out", scenes=[Scene(id="a", uris=["/a.tif"], labels=NoLabels())], **changes)


def test_the_json_schema_accepts_what_loading_accepts() -> None:
    schema = json_schema(Sample)
    Validator.check_schema(schema)
    config = sample(bbox=(1, 2), weights="balanced", source=FileLabels(uri="/x"), values={1: "a"}, mapping={"k": 1.5})
    assert list(Validator(schema).iter_errors(to_plain(config))) == []


@pytest.mark.parametrize(
    "change",
    [
        {"chip": {"size_px": 0}},
        {"chip": {"size": 1}},
        {"chip": {"size_px": "x"}},
        {"bbox": [1, 2, 3]},
        {"weights": "blanced"},
        {"source": {"uri": "/x"}},
        {"values": {"x": "a"}},
        {"mode": "medium"},
        {"name": None},
    ],
)
def test_the_json_schema_refuses_what_loading_refuses(change: dict[str, Any]) -> None:
    plain = {"root_uri": "/out", **change}
    assert list(Validator(json_schema(Sample)).iter_errors(plain))
    with pytest.raises(ConfigError):
        load(plain, Sample)


def test_the_json_schema_carries_descriptions_bounds_and_defaults() -> None:
    definitions = json_schema(Sample)["$defs"]
    ioa = definitions[f"{__name__}:FileLabels"]["properties"]["ioa"]
    assert ioa == {"type": "number", "minimum": 0, "maximum": 1, "description": "the threshold.", "default": 0.5}
    assert definitions[f"{__name__}:FileLabels"]["description"] == "Labels of a file."
    assert definitions[f"{__name__}:Scene"]["required"] == ["id", "uris"]
