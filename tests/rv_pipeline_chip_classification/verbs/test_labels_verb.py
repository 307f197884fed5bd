"""`rv labels`: what cells are labelled with is what is trained on and evaluated, and each class can be explained."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rv_core.cli.app import main
from rv_pipeline_chip_classification.config import (
    ChipConfig,
    ClassConfig,
    ClassRasterLabelsConfig,
    GeoJsonLabelsConfig,
    RasterSourceConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.labels.cells import label_cells
from rv_pipeline_chip_classification.verbs.experiment import load_experiment
from rv_pipeline_chip_classification.verbs.labels.cell_table import (
    background_id,
    cell_table,
    open_scene,
    sensitivity,
)

CLASSES = ClassConfig(names=["forest", "shrub", "rock"])
CHIP = ChipConfig(chip_size_px=10)
OVER_CELL = {"use_intersection_over_cell": True}

MODULE = """
from rv_pipeline_chip_classification import *

def get_config(runner, image: str, labels: str, other: str = "", over_cell: bool = True, background: str = ""):
    def scene(name, uri):
        found = GeoJsonLabelsConfig(
            uri=uri, use_intersection_over_cell=over_cell, background_class=background or None
        )
        return SceneConfig(id=name, raster=RasterSourceConfig(uris=[image]), labels=found)
    return ChipClassificationConfig(
        root_uri="/root",
        classes=ClassConfig(names=["forest", "shrub", "rock"]),
        dataset=DatasetConfig(train_scenes=[scene("a", labels)], test_scenes=[scene("t", other)] if other else []),
        chip=ChipConfig(chip_size_px=10, stride_px=5),
        eval=EvalConfig(subsets=[]),
    )
"""
Run = Callable[..., str]


@pytest.fixture
def nine_cells(write_image: Any, write_labels: Any, square: Any) -> SceneConfig:
    """Nine cells of 10 px and three polygons: one fills a cell, one lies over four, one is too small everywhere."""
    image = write_image("a.tif", np.ones((30, 30), np.uint8))
    features = [
        (square(0, 0, 10), {"class_name": "forest"}),
        (square(4, 5, 16, 15), {"class_name": "shrub"}),
        (square(22, 22, 5), {"class_name": "rock"}),
        ({"type": "Point", "coordinates": [0, 0]}, {"class_name": "rock"}),
    ]
    labels = GeoJsonLabelsConfig(uri=write_labels("a.geojson", features), use_intersection_over_cell=True)
    return SceneConfig(id="a", raster=RasterSourceConfig(uris=[image]), labels=labels)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("report", scene, …)` runs the verb on the module above and returns what it prints."""
    (tmp_path / "experiment.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)

    def call(verb: str, scene: SceneConfig, *words: str, code: int = 0) -> str:
        labels: Any = scene.labels
        given = ("-a", "image", scene.raster.uris[0], "-a", f"labels={labels.uri}")
        assert main(["labels", verb, "experiment.py", *given, *words]) == code
        out, err = capsys.readouterr()
        return out if code == 0 else err

    return call


def test_every_cell_of_three_polygons_is_as_worked_out_by_hand(nine_cells: SceneConfig, run: Run) -> None:
    # The second polygon covers rows 4 to 20 and columns 5 to 20: of the cells it meets 6 x 5, 6 x 10, 10 x 5, 10 x 10.
    expected = {
        (0, 0): ("forest", [("forest", 1.0, 1.0, True), ("shrub", 0.3, 0.125, False)]),
        (0, 1): ("shrub", [("shrub", 0.6, 0.25, True)]),
        (1, 0): ("shrub", [("shrub", 0.5, 0.2083, True)]),
        (1, 1): ("shrub", [("shrub", 1.0, 0.4167, True)]),
        (2, 2): (None, [("rock", 0.25, 1.0, False)]),
        (0, 2): (None, []),
    }
    for (row, col), (name, rows) in expected.items():
        (found,) = json.loads(run("explain", nine_cells, "--cell", f"{row},{col}", "--json"))
        assert found["class_name"] == name
        shown = [
            (its["class"], its["ioa_over_cell"], its["ioa_over_polygon"], its["is_candidate"]) for its in found["rows"]
        ]
        assert shown == rows
        assert [its["wins"] for its in found["rows"]] == [index == 0 and name is not None for index in range(len(rows))]
    text = run("explain", nine_cells, "--cell", "2,2")
    assert "scene 'a', cell 2,2 (pixels 20:30, 20:30) has no class (below ioa_threshold)" in text
    assert "intersection over the cell's area of at least 0.5; of several the largest intersection" in text
    assert "features[2]" in text


def test_a_place_names_the_cell(nine_cells: SceneConfig, run: Run) -> None:
    from rasterio.warp import transform

    (lon,), (lat,) = transform("EPSG:32618", "EPSG:4326", [500_012.0], [4_500_000.0 - 14.0])
    (found,) = json.loads(run("explain", nine_cells, f"--at={lon},{lat}", "--json"))
    assert (found["row"], found["col"]) == (1, 1)
    assert "no cell of a scene with labels lies at 0,0" in run("explain", nine_cells, "--at", "0,0", code=2)
    assert "there are 3 rows and 3 columns of cells" in run("explain", nine_cells, "--cell", "3,0", code=2)
    assert "name one cell" in run("explain", nine_cells, code=2)
    assert "--cell '1' is no place" in run("explain", nine_cells, "--cell", "1", code=2)


def test_the_report_counts_classes_reasons_drops_and_chips(
    nine_cells: SceneConfig, run: Run, write_labels: Any
) -> None:
    other = write_labels("t.geojson", [([(0, 0), (0, 30), (30, 30), (30, 0)], {"class_name": "rock"})])
    report = json.loads(run("report", nine_cells, "-a", "other", other, "--json"))
    train, test = report["scenes"]
    assert train["cells"] == {"forest": 1, "shrub": 3, "rock": 0}
    assert train["unused"] == {"no polygon": 4, "below ioa_threshold": 1}
    assert train["dropped"] == {"Point has no area": 1}
    # Chips step by half a cell, 25 windows; the polygon of 5 px is too small for any of them.
    assert train["chips"]["rock"] == 0
    assert sum(train["chips"].values()) > 4
    assert (test["cells"]["rock"], test["chips"]) == (9, None)
    assert report["subsets"]["train"]["num_cells"] == 9
    text = run("report", nine_cells, "-a", "other", other)
    assert "train: cells without use: 4 no polygon, 1 below ioa_threshold" in text
    assert "a: left out: 1 x Point has no area" in text
    assert "use_intersection_over_cell=False: 4" in text
    warned = run("report", nine_cells, "-a", "over_cell", "False")
    assert (
        "polygons are larger than a cell of 10 px, and intersection over area divides by the polygon's area" in warned
    )


@pytest.mark.parametrize(
    "options", [{}, {"background_class": "rock"}, {"pick_min_class_id": True, "ioa_threshold": 0.2}]
)
def test_sensitivity_is_what_other_settings_really_do(nine_cells: SceneConfig, options: dict[str, Any]) -> None:
    labels = replace(nine_cells.labels, **options)  # type: ignore[type-var]

    def classes_with(**changes: Any) -> dict[tuple[int, ...], int]:
        scene = replace(nine_cells, labels=replace(labels, **changes))
        cells = label_cells(scene, CLASSES, CHIP)
        return dict(zip(map(tuple, cells.windows.tolist()), cells.class_ids.tolist(), strict=True))

    with open_scene(replace(nine_cells, labels=labels), CLASSES, CHIP) as opened:
        table = cell_table(opened, CHIP)
        found = sensitivity(table, labels, background_id(opened))
    now = classes_with()
    assert len(found) >= 7
    for setting, count in found.items():
        name, _, value = setting.partition("=")
        other = classes_with(**{name: float(value) if name == "ioa_threshold" else value == "True"})
        assert count == sum(now.get(cell) != other.get(cell) for cell in now.keys() | other.keys())


def test_used_cells_are_those_that_are_evaluated(nine_cells: SceneConfig, write_labels: Any, square: Any) -> None:
    aoi = write_labels("aoi.geojson", [(square(0, 0, 20, 30), {})])
    scene = replace(nine_cells, aoi_uris=[aoi])
    with open_scene(scene, CLASSES, CHIP) as opened:
        table = cell_table(opened, CHIP)
    truth = label_cells(scene, CLASSES, CHIP)
    assert table.windows[table.is_used].tolist() == truth.windows.tolist()
    assert table.class_ids[table.is_used].tolist() == truth.class_ids.tolist()
    assert table.unused() == Counter({"outside the AOI": 3, "no polygon": 2})


def test_twenty_edits_of_the_layer_change_twenty_labels(write_image: Any, write_labels: Any, run: Run) -> None:
    rng = np.random.default_rng(0)
    image = write_image("a.tif", np.ones((100, 100), np.uint8))
    shapes = [([(x, y), (x, y + 12), (x + 12, y + 12), (x + 12, y)], {"class_id": int(rng.integers(3))})
              for x, y in rng.integers(0, 90, (60, 2)).tolist()]  # fmt: skip
    labels = GeoJsonLabelsConfig(uri=write_labels("a.geojson", shapes), use_intersection_over_cell=True)
    scene = SceneConfig(id="a", raster=RasterSourceConfig(uris=[image]), labels=labels)
    assert "cells/a.geojson: 100 cells, " in run("export", scene, "-o", "cells")
    path = Path("cells/a.geojson").absolute()

    def truth(uri: str) -> dict[tuple[int, ...], int]:
        cells = label_cells(replace(scene, labels=GeoJsonLabelsConfig(uri=uri)), CLASSES, CHIP)
        return dict(zip(map(tuple, cells.windows.tolist()), cells.class_ids.tolist(), strict=True))

    before = label_cells(scene, CLASSES, CHIP)
    assert truth(str(path)) == dict(zip(map(tuple, before.windows.tolist()), before.class_ids.tolist(), strict=True))
    layer = json.loads(path.read_text())
    edited = rng.choice(len(layer["features"]), 20, replace=False).tolist()
    for number in edited:
        properties = layer["features"][number]["properties"]
        properties["class_name"] = "rock" if properties["class_name"] != "rock" else None
    Path("edited.geojson").write_text(json.dumps(layer))
    old, new = truth(str(path)), truth(str(Path("edited.geojson").absolute()))
    changed = {cell for cell in old.keys() | new.keys() if old.get(cell) != new.get(cell)}
    assert changed == {tuple(layer["features"][number]["properties"]["window"]) for number in edited}


def test_cells_without_a_class_say_what_came_nearest(nine_cells: SceneConfig, run: Run) -> None:
    run("export", nine_cells, "-o", "cells")
    features = json.loads(Path("cells/a.geojson").read_text())["features"]
    last = features[8]["properties"]
    assert (last["class_name"], last["reason"]) == (None, "below ioa_threshold")
    assert (last["best_class"], last["best_ioa"]) == ("rock", 0.25)
    assert features[0]["properties"]["feature"] == 0


@pytest.mark.parametrize("verb", ["export", "review"])
def test_layers_are_not_written_over_the_labels_they_are_made_of(nine_cells: SceneConfig, run: Run, verb: str) -> None:
    given: Any = nine_cells.labels
    labels = Path(given.uri).rename(Path(given.uri).with_name("a.geojson"))
    before, scene = labels.read_bytes(), replace(nine_cells, labels=replace(given, uri=str(labels)))
    err = run(verb, scene, "-o", str(labels.parent), code=2)
    assert "layers would replace files of the scenes" in err and str(labels) in err
    assert labels.read_bytes() == before


def test_class_rasters_and_cells_of_features_are_explained(write_image: Any, write_labels: Any, square: Any) -> None:
    image = write_image("a.tif", np.ones((20, 20), np.uint8))
    values = np.zeros((20, 20), np.uint8)
    values[:10, :10], values[:3, :10], values[15:, 15:] = 1, 2, 2
    raster = ClassRasterLabelsConfig(
        uri=write_image("v.tif", values), class_values={1: "forest", 2: "shrub"}, min_fraction=0.5
    )
    scene = SceneConfig(id="a", raster=RasterSourceConfig(uris=[image]), labels=raster)
    with open_scene(scene, CLASSES, CHIP) as opened:
        table = cell_table(opened, CHIP)
    assert table.reasons.tolist() == ["most pixels", "no labelled pixel", "no labelled pixel", "below min_fraction"]
    features = [(square(3, 3, 10), {"class_name": "rock"})]
    boxes = GeoJsonLabelsConfig(uri=write_labels("f.geojson", features), infer_cells=False)
    with open_scene(replace(scene, labels=boxes), CLASSES, CHIP) as opened:
        table = cell_table(opened, CHIP)
    assert table.windows.tolist() == [[3, 3, 10, 10]]
    assert (table.class_ids.tolist(), table.reasons.tolist()) == ([2], ["polygon"])


def test_a_root_and_a_saved_config_are_experiments_and_names_are_checked(
    nine_cells: SceneConfig, run: Run, tmp_path: Path
) -> None:
    from rv_core.config import saved

    labels: Any = nine_cells.labels
    arguments = [f"image={nine_cells.raster.uris[0]}", f"labels={labels.uri}"]
    config = load_experiment(str(tmp_path / "experiment.py"), arguments, ["chip.chip_size_px=15"])
    assert config.chip.chip_size_px == 15
    root = tmp_path / "root"
    root.mkdir()
    (root / "pipeline-config.json").write_text(saved.dump(config))
    assert load_experiment(str(root), None, None).chip.chip_size_px == 15
    assert "no scene with labels named 'b'; known: a" in run("report", nine_cells, "--scene", "b", code=2)
    assert "did you mean 'train'?" in run("report", nine_cells, "--subset", "trian", code=2)
