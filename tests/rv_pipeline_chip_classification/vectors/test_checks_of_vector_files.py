"""Pre-flight of vector files: one finding at the field that is wrong, and every part of a file is an input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from rv_core.config.validation import schemas
from rv_core.config.values import to_plain
from rv_pipeline_chip_classification.checks.deep import deep_check
from rv_pipeline_chip_classification.config import (
    ChipClassificationConfig,
    ChipConfig,
    ClassConfig,
    DatasetConfig,
    EvalConfig,
    RasterSourceConfig,
    SceneConfig,
    VectorAreaConfig,
    VectorLabelsConfig,
)
from rv_pipeline_chip_classification.pipeline import ChipClassificationPipeline

from .vector_files import UTM, in_crs, squares, write

TODO = {"chip": ["a"]}


def config_of(
    image: str, labels: str, *, scene: dict[str, Any] | None = None, **options: Any
) -> ChipClassificationConfig:
    source = VectorLabelsConfig(uri=labels, **{"use_intersection_over_cell": True, "cell_size_px": 8, **options})
    only = SceneConfig(id="a", raster=RasterSourceConfig(uris=[image]), labels=source, **(scene or {}))
    return ChipClassificationConfig(
        root_uri="/root",
        classes=ClassConfig(names=["forest", "rock"]),
        dataset=DatasetConfig(train_scenes=[only]),
        chip=ChipConfig(chip_size_px=8),
        eval=EvalConfig(subsets=[]),
    )


@pytest.fixture
def image(write_image: Callable[..., str]) -> str:
    return write_image("a.tif", np.ones((64, 64), np.uint8))


@pytest.fixture
def polygons(tmp_path: Path) -> str:
    return write(tmp_path, "gpkg", in_crs(squares(8, 8), "EPSG:3857"), {"class_id": [0, 1] * 32}, "EPSG:3857")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"layer": "nothing"}, "labels.layer"),
        ({"where": "nothing = 1"}, "labels.where"),
        ({"class_property": "nothing"}, "labels.class_property"),
        ({"scene": {"aois": [VectorAreaConfig(uri="", layer="nothing")]}}, "aois"),
    ],
)
def test_what_does_not_fit_is_one_finding(image: str, polygons: str, options: dict[str, Any], field: str) -> None:
    for area in options.get("scene", {}).get("aois", ()):
        area.uri = polygons
    (finding,) = deep_check(config_of(image, polygons, **options), TODO)
    assert (finding.where, finding.severity) == (f"dataset.train_scenes[0].{field}", "error")
    assert "nothing" in finding.what


def test_labels_that_fit_are_no_finding(image: str, polygons: str) -> None:
    assert list(deep_check(config_of(image, polygons), TODO)) == []


def test_points_without_an_area_are_told(image: str, tmp_path: Path) -> None:
    points = in_crs(shapely.points([4.0, 20.0], [4.0, 20.0]), UTM)
    uri = write(tmp_path, "fgb", points, {"class_id": [0, 1]}, UTM)
    (finding,) = deep_check(config_of(image, uri), TODO)
    assert "2 x Point has no area" in finding.what


def test_where_the_library_is_missing_the_file_is_skipped(
    image: str, polygons: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyogrio", None)
    (finding,) = deep_check(config_of(image, polygons), TODO)
    assert finding.severity == "skipped"
    assert "rv-pipeline-chip-classification[vector]" in finding.fix


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"crs": "/etc/passwd"}, "crs"),
        ({"crs": "http://127.0.0.1/crs"}, "crs"),
        ({"where": " "}, "where"),
        ({"geometry_columns": ["x", "y", "z"]}, "geometry_columns"),
        ({"buffer_m": 0.0}, "buffer_m"),
        ({"point_cell": True, "cell_size_px": None}, "cell_size_px"),
        ({"point_cell": True, "buffer_m": 5.0}, "buffer_m"),
    ],
)
def test_what_means_nothing_is_refused(options: dict[str, Any], field: str) -> None:
    findings = schemas.check(config_of("/a.tif", "/a.gpkg", **options))
    assert [finding.where for finding in findings] == [f"dataset.train_scenes[0].labels.{field}"]


def inputs_of(config: ChipClassificationConfig) -> list[str]:
    (scene,) = config.dataset.train_scenes
    return ChipClassificationPipeline(config).inputs("chip", scene)


def test_all_parts_of_a_file_are_inputs(image: str, tmp_path: Path) -> None:
    shapefile = write(tmp_path, "shp", in_crs(squares(2, 8), UTM), {"class_id": [0, 1, 0, 1]}, UTM)
    parts = [str(Path(shapefile).with_suffix(end)) for end in (".shx", ".dbf", ".prj", ".cpg")]
    assert inputs_of(config_of(image, shapefile)) == [image, shapefile, *parts]
    database = write(tmp_path, "gpkg", in_crs(squares(2, 8), UTM), {"class_id": [0, 1, 0, 1]}, UTM)
    Path(f"{database}-wal").write_bytes(b"")
    aois = {"aoi_uris": [shapefile], "aois": [VectorAreaConfig(uri=database)]}
    every = inputs_of(config_of(image, database, scene=aois))
    assert sorted(every) == sorted([image, database, f"{database}-wal", shapefile, *parts])


def test_a_config_with_vector_files_is_saved_and_loaded_as_it_is() -> None:
    config = config_of(
        "/a.tif", "/a.gpkg", layer="x", where="year > 2000", scene={"aois": [VectorAreaConfig(uri="/b.fgb")]}
    )
    assert schemas.load(to_plain(config)) == config
    assert to_plain(config)["dataset"]["train_scenes"][0]["labels"]["type_hint"] == "vector_labels"
