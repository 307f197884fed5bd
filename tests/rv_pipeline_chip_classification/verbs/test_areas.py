"""`rv areas`: areas with intervals from a random sample, none without one, and a sample that can be drawn."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rv_core.cli.app import main
from rv_core.config import saved
from rv_core.errors import DataError
from rv_pipeline_chip_classification.config import (
    ChipClassificationConfig,
    ClassConfig,
    DatasetConfig,
    EvalConfig,
    GeoJsonLabelsConfig,
    PredictConfig,
    RasterSourceConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.maps.cell_layer import CellLayerWriter, LayerOf
from rv_pipeline_chip_classification.maps.formats import ENDINGS
from rv_pipeline_chip_classification.prediction.cell_scores import ScoredCells
from rv_pipeline_chip_classification.prediction.geojson_file import GeoJsonWriter
from rv_pipeline_chip_classification.scenes.grid import Grid
from rv_pipeline_chip_classification.scenes.windows import Window, windows_over
from rv_pipeline_chip_classification.verbs.areas.map_files import read_predicted

NAMES = ("deforestation", "forest gain", "stable forest", "stable non-forest")
COUNTS = [[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]]
PIXELS = (200_000, 150_000, 3_200_000, 6_450_000)
Out = pytest.CaptureFixture[str]


@pytest.fixture
def example(tmp_path: Path) -> tuple[str, str]:
    """The map and the sample of the worked example of Olofsson et al. 2014."""
    table, sample = tmp_path / "map.csv", tmp_path / "sample.csv"
    rows = [f"{name},{count},30" for name, count in zip(NAMES, PIXELS, strict=True)]
    table.write_text("\n".join(["class,pixels,pixel_m", *rows]))
    units = [
        f"{NAMES[row]},{NAMES[col]}"
        for row, counts in enumerate(COUNTS)
        for col, n in enumerate(counts)
        for _ in range(n)
    ]
    sample.write_text("\n".join(["mapped,reference", *units]))
    return str(table), str(sample)


@pytest.fixture
def write_map(tmp_path: Path) -> Callable[..., str]:
    """`write_map("a", class_ids)`: predicted cells of 10 px of 10 m, row by row, three in a row."""

    def write(
        name: str, class_ids: list[int], *, east_m: float = 0.0, crs: str | None = "EPSG:32618", **options: Any
    ) -> str:
        fractions = np.array(options.pop("fractions", [1.0] * len(class_ids)))
        size_px, stride_px = 10, options.pop("stride_px", 10)
        transform = (10.0, 0.0, 500_000.0 + east_m, 0.0, -10.0, 4_500_000.0)
        grid = Grid(1000, 3 * stride_px + size_px - stride_px, transform, crs)
        windows = windows_over(Window(0, 0, 1000, grid.width), size_px=size_px, stride_px=stride_px)[: len(class_ids)]
        ids = np.array(class_ids)
        scores = np.full((len(ids), 2), 0.5, np.float32)
        kind = options.pop("kind", "geojson")
        path = tmp_path / f"{name}.{ENDINGS[kind]}"
        if kind != "geojson":
            with CellLayerWriter(path, kind, LayerOf(grid, name, ["field", "water"])) as layer:
                layer.write(ScoredCells(0, windows, ids, scores, fractions))
            return str(path)
        with path.open("w") as file:
            writer = GeoJsonWriter(file, grid, scene_id=name, class_names=["field", "water"], where=name)
            writer.write(ScoredCells(0, windows, ids, scores, fractions))
            writer.close()
        return str(path)

    return write


def test_the_worked_example_is_printed_as_in_the_paper(example: tuple[str, str], capsys: Out) -> None:
    assert main(["areas", example[0], "--sample", example[1]]) == 0
    lines = capsys.readouterr().out.splitlines()
    printed = [re.split(r" {2,}", line) for line in lines[1:5]]
    assert printed[0] == ["deforestation", "75", "18,000", "21,158 ± 6,158", "0.88 ± 0.07", "0.75 ± 0.21"]
    assert [row[3] for row in printed[1:]] == ["11,686 ± 3,756", "285,770 ± 15,510", "581,386 ± 16,282"]
    assert [row[4] for row in printed[1:]] == ["0.73 ± 0.10", "0.93 ± 0.04", "0.96 ± 0.02"]
    assert "overall accuracy 0.95 ± 0.02; intervals of 95%" in lines[5]
    assert main(["areas", example[0], "--sample", example[1], "--json", "--confidence", "0.9"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["error_matrix"] == COUNTS
    assert report["classes"][0]["area_ha"]["half_width"] == pytest.approx(6158 * 1.6449 / 1.96, rel=1e-3)


def test_without_a_probability_sample_no_interval_is_claimed(example: tuple[str, str], capsys: Out) -> None:
    assert main(["areas", example[0]]) == 0
    out = capsys.readouterr().out
    assert "No interval is claimed: there is no probability sample" in out
    assert "±" not in out
    assert main(["areas", example[0], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["is_probability_sample"] is False


def test_the_cells_of_a_file_are_of_no_known_subset(
    example: tuple[str, str], write_map: Callable[..., str], capsys: Out
) -> None:
    for name in (example[0], write_map("a", [1, 0])):
        assert main(["areas", name, "--subset", "test"]) == 2
        assert "not known which subset" in capsys.readouterr().err


def test_cells_count_by_the_ground_with_data(write_map: Callable[..., str]) -> None:
    path = write_map("a", [1, 0, 0, 1, -1, 0], fractions=[1.0, 1.0, 0.5, 1.0, 0.0, 1.0])
    found = read_predicted([path])
    assert found.class_names == ("field", "water")
    # On the central meridian of a zone the grid is 0.9996 of the ground.
    assert found.areas_m2 == pytest.approx(np.array([2.5, 2.0]) * 10_000 / 0.9996**2, rel=1e-5)
    assert found.notes == ["1 cells have no class, for want of data, and are no part of the map"]


def test_maps_that_overlap_and_cells_that_do_are_told(write_map: Callable[..., str]) -> None:
    maps = [write_map("a", [0] * 6), write_map("b", [1] * 6, east_m=200.0), write_map("c", [1] * 6, east_m=900.0)]
    (note,) = read_predicted(maps).notes
    assert "1 pairs of maps overlap, a.geojson and b.geojson by 2.00" in note
    overlapping = read_predicted([write_map("d", [0] * 12, stride_px=5)])
    assert overlapping.areas_m2[0] == pytest.approx(12 * 2500 / 0.9996**2, rel=1e-5)
    assert "cells overlap, and each counts as the step between them is large (25%)" in overlapping.notes[0]


@pytest.mark.parametrize("kind", ["geojsonseq", "gpkg", "fgb", "parquet"])
def test_areas_of_other_formats_are_those_of_geojson(write_map: Callable[..., str], kind: str) -> None:
    pytest.importorskip("pyogrio")
    pytest.importorskip("pyarrow")
    options: list[dict[str, Any]] = [{"fractions": [1.0] * 5 + [0.0] + [0.25] * 6}, {"stride_px": 5}, {"stride_px": 2}]
    for number, its in enumerate(options):
        ids = [0, 1, 1, 0, 0, -1, *[1] * 6]
        found = read_predicted([write_map(f"a{number}", ids, kind=kind, **its)])
        expected = read_predicted([write_map(f"a{number}", ids, **its)])
        assert found.class_names == expected.class_names
        assert found.areas_m2 == pytest.approx(expected.areas_m2, rel=1e-3 if kind == "geojsonseq" else 1e-4)
        assert [note.partition(": ")[2] for note in found.notes] == [note.partition(": ")[2] for note in expected.notes]
    if kind == "geojsonseq":  # somebody has made one cell of no size
        path = Path(write_map("c", [0, 1, 1], kind=kind))
        first, *others = map(json.loads, path.read_text().splitlines())
        first["geometry"]["coordinates"][0] = first["geometry"]["coordinates"][0][:1] * 5
        path.write_text("".join(json.dumps(feature) + "\n" for feature in (first, *others)))
        assert read_predicted([str(path)]).areas_m2 == pytest.approx([0, 2e4], rel=1e-2)
    with pytest.raises(DataError, match="place on Earth"):
        read_predicted([write_map("b", [0] * 300, crs=None, kind=kind)])


def test_areas_of_a_run_are_read_from_what_it_wrote(write_map: Callable[..., str], tmp_path: Path, capsys: Out) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "predict").mkdir()
    Path(write_map("s", [0, 1, 1], kind="parquet")).rename(tmp_path / "predict" / "s.parquet")
    scenes = [SceneConfig(id=name, raster=RasterSourceConfig(uris=["s.tif"])) for name in ("t", "s")]
    scenes[0].labels = GeoJsonLabelsConfig(uri="t.geojson")
    config = ChipClassificationConfig(
        root_uri=str(tmp_path),
        classes=ClassConfig(names=["field", "water"]),
        dataset=DatasetConfig(train_scenes=scenes[:1], test_scenes=scenes[1:]),
        predict=PredictConfig(vector="parquet", subsets=["test"]),
        eval=EvalConfig(subsets=[]),
    )
    (tmp_path / "pipeline-config.json").write_text(saved.dump(config))
    assert main(["areas", str(tmp_path)]) == 0
    assert re.search(r"water +2\.0 +66\.7%", capsys.readouterr().out)
    config.predict.vector = "none"
    (tmp_path / "pipeline-config.json").write_text(saved.dump(config))
    assert main(["areas", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "predict.vector is 'none'" in told and 'set predict.vector to "geojson"' in told


def test_a_sample_is_drawn_filled_in_and_read_again(write_map: Callable[..., str], tmp_path: Path, capsys: Out) -> None:
    path = write_map("a", [0, 1] * 60)
    for name in ("s.csv", "s.geojson"):
        target = tmp_path / name
        assert main(["areas", path, "--draw", "40", "-o", str(target)]) == 0
        assert "40 cells, drawn at random in each class (seed 0)" in capsys.readouterr().out
        assert main(["areas", path, "--sample", str(target)]) == 2
        assert "40 of 40 units of the sample cannot be used" in capsys.readouterr().err
        if name == "s.csv":
            with target.open(newline="") as opened:
                rows = list(csv.DictReader(opened))
            assert Counter(row["mapped"] for row in rows) == {"field": 20, "water": 20}
            assert len({(row["lon"], row["lat"]) for row in rows}) == 40
            other = {"field": "water", "water": "field"}[rows[0]["mapped"]]
            filled = [{**row, "reference": other if row is rows[0] else row["mapped"]} for row in rows]
            with target.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(filled)
        else:
            layer = json.loads(target.read_text())
            for feature in layer["features"]:
                feature["properties"]["reference"] = feature["properties"]["mapped"]
            target.write_text(json.dumps(layer))
        assert main(["areas", path, "--sample", str(target), "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["overall_accuracy"]["value"] == pytest.approx(0.975 if name == "s.csv" else 1.0)
    assert "agree: an interval of 0 says that the sample is small" in report["notes"][-1]


def test_a_sample_of_another_map_and_classes_without_units_are_refused(
    example: tuple[str, str], tmp_path: Path, capsys: Out
) -> None:
    sample = tmp_path / "other.csv"
    sample.write_text("mapped,reference,weight\nwater,water,1\ndeforestation,,1\nstable forest,stable forest,-1\n")
    assert main(["areas", example[0], "--sample", str(sample)]) == 2
    err = capsys.readouterr().err
    assert "unit 1: its mapped class 'water' is not in the map" in err
    assert "unit 2: it has no reference" in err
    assert "unit 3: its weight '-1' is no number above 0" in err
    sample.write_text("mapped,reference\nstable forest,stable forest\nstable forest,deforestation\n")
    assert main(["areas", example[0], "--sample", str(sample)]) == 2
    assert "fewer than two units were drawn in deforestation, forest gain, stable non-forest" in capsys.readouterr().err
    sample.write_text("map,truth\na,b\n")
    assert main(["areas", example[0], "--sample", str(sample)]) == 2
    assert "it has no mapped and no reference" in capsys.readouterr().err
    assert main(["areas", example[0], "--draw", "10", "-o", str(sample)]) == 2
    assert "has no cells to draw from" in capsys.readouterr().err


def test_what_is_no_map_is_refused(write_map: Callable[..., str], tmp_path: Path, capsys: Out) -> None:
    pixels = write_map("p", [0, 1, 0], crs=None)
    with pytest.raises(DataError, match="without a place on Earth"):
        read_predicted([pixels])
    labels = tmp_path / "labels.geojson"
    labels.write_text('{"type": "FeatureCollection", "features": [{"properties": {}, "geometry": null}]}')
    with pytest.raises(DataError, match="no file of predicted cells"):
        read_predicted([str(labels)])
    table = tmp_path / "t.csv"
    for text in ("name,area\na,1\n", "class,area_ha\n", "class,area_ha\na,1\na,2\n", "class,area_ha\na,-1\n"):
        table.write_text(text)
        assert main(["areas", str(table)]) == 2
        assert "no table of mapped areas" in capsys.readouterr().err


PLACED = {"class_name": "a", "class_id": 0, "valid_fraction": 1, "window": [0, 0, 1, 1]}
RING = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]


@pytest.mark.parametrize(
    "document",
    [
        [],
        [{"properties": {**PLACED, "window": [0, 0, 1]}, "geometry": {"coordinates": [RING]}}],
        [{"properties": PLACED, "geometry": {"coordinates": [[*RING[:4], [1]]]}}],
        [{"properties": PLACED, "geometry": {"coordinates": [[*RING[:4], [0, float("nan")]]]}}],
        [{"properties": {**PLACED, "valid_fraction": 7}, "geometry": {"coordinates": [RING]}}],
        [{"properties": {**PLACED, "class_id": float("inf")}, "geometry": {"coordinates": [RING]}}],
    ],
)
def test_a_damaged_map_is_one_error_and_no_traceback(document: Any, tmp_path: Path, capsys: Out) -> None:
    path = tmp_path / "map.geojson"
    path.write_text(json.dumps({"features": document} if document else document))
    assert main(["areas", str(path)]) == 1
    err = capsys.readouterr().err
    assert "no file of predicted cells" in err and "Traceback" not in err


def test_cells_that_are_not_on_earth_and_maps_without_ground_are_refused(tmp_path: Path, capsys: Out) -> None:
    path, table = tmp_path / "map.geojson", tmp_path / "map.csv"
    path.write_text(json.dumps({"features": [{"properties": PLACED, "geometry": None}]}))
    assert main(["areas", str(path)]) == 1 and "not on Earth" in capsys.readouterr().err
    nothing = {"properties": {**PLACED, "valid_fraction": 0}, "geometry": {"coordinates": [RING]}}
    path.write_text(json.dumps({"features": [nothing]}))
    assert main(["areas", str(path)]) == 1 and "cover no ground" in capsys.readouterr().err
    table.write_text("class,area_ha\na,0\nb,0\n")
    assert main(["areas", str(table)]) == 2 and "no area at all" in capsys.readouterr().err


def test_a_unit_without_its_fields_is_named(example: tuple[str, str], tmp_path: Path, capsys: Out) -> None:
    sample = tmp_path / "s.geojson"
    units = [{"properties": {"mapped": NAMES[0], "reference": NAMES[0]}}, {"properties": {"reference": NAMES[0]}}]
    sample.write_text(json.dumps({"features": units}))
    assert main(["areas", example[0], "--sample", str(sample)]) == 2
    assert "unit 2: its mapped class '' is not in the map" in capsys.readouterr().err


def test_a_sample_that_is_filled_in_is_not_drawn_over(
    write_map: Callable[..., str], tmp_path: Path, capsys: Out
) -> None:
    words = ["areas", write_map("a", [0, 1] * 6), "--draw", "4", "-o", str(tmp_path / "s.csv")]
    assert main(words) == main(words) == 0
    filled = (tmp_path / "s.csv").read_text().replace(",,", ",water,", 1)
    (tmp_path / "s.csv").write_text(filled)
    assert main(words) == 2
    assert "1 units of the sample that is there are filled in already" in capsys.readouterr().err
    assert (tmp_path / "s.csv").read_text() == filled
