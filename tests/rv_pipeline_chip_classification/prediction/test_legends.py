"""Names and colours of classes as GDAL and QGIS find them, and the errors on the map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from rv_pipeline_chip_classification.prediction.category_file import categories_text
from rv_pipeline_chip_classification.prediction.outcome_file import Outcomes, write_outcomes
from rv_pipeline_chip_classification.prediction.qgis_style import outcome_style, prediction_style
from rv_pipeline_chip_classification.scenes.grid import Grid

NAMES, COLORS = ("forest", 'rock & "ice"'), ("#1c6330", "#b2ada3")
GRID = Grid(40, 40, (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_500_000.0), "EPSG:32618")


def test_gdal_reads_the_names_of_the_classes_and_the_table(tmp_path: Path) -> None:
    import rasterio
    import rasterio.shutil

    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "height": 2, "width": 2, "count": 1, "dtype": "uint8", "crs": GRID.crs}
    with rasterio.open(path, "w", **profile, transform=rasterio.Affine(*GRID.transform)) as file:
        file.write(np.zeros((1, 2, 2), np.uint8))
    Path(f"{path}.aux.xml").write_text(categories_text(NAMES, COLORS), encoding="utf-8")
    # A virtual copy writes down what GDAL has understood.
    rasterio.shutil.copy(path, tmp_path / "a.vrt", driver="VRT")
    band = ElementTree.parse(tmp_path / "a.vrt").find("VRTRasterBand")
    assert band is not None
    assert [entry.text for entry in band.iterfind("CategoryNames/Category")] == list(NAMES)
    rows = [[field.text for field in row] for row in band.iterfind("GDALRasterAttributeTable/Row")]
    assert rows == [["0", NAMES[0], "28", "99", "48"], ["1", NAMES[1], "178", "173", "163"]]
    usages = [entry.text for entry in band.iterfind("GDALRasterAttributeTable/FieldDefn/Usage")]
    assert usages == ["5", "2", "6", "7", "8"]  # value, name, red, green, blue


def test_a_style_has_an_entry_for_each_class_and_nothing_else() -> None:
    style = ElementTree.fromstring(prediction_style(NAMES, COLORS))
    palette = [dict(entry.attrib) for entry in style.iterfind("pipe/rasterrenderer/colorPalette/paletteEntry")]
    assert [(e["value"], e["label"], e["color"]) for e in palette] == [("0", *both(0)), ("1", *both(1))]
    assert legend(style) == [(NAMES[0], "28,99,48,255"), (NAMES[1], "178,173,163,255"), ("", "201,206,212,255")]


def both(class_id: int) -> tuple[str, str]:
    return NAMES[class_id], COLORS[class_id]


def legend(style: Any) -> list[tuple[str, str]]:
    """Value and filling of each category of a vector style."""
    colors = {
        s.get("name"): s.find("layer/prop[@k='color']").get("v") for s in style.iterfind("renderer-v2/symbols/symbol")
    }
    return [(c.get("value"), colors[c.get("symbol")]) for c in style.iterfind("renderer-v2/categories/category")]


def test_right_wrong_and_not_predicted_cells_are_told_apart(tmp_path: Path) -> None:
    windows = np.array([[0, 0, 20, 20], [0, 20, 20, 20], [20, 0, 20, 20]], np.int64)
    scores = np.array([0.9, 0.6, np.nan])
    cells = Outcomes(windows, np.array([0, 0, 1]), np.array([0, 1, -1]), scores, scores - [0.1, 0.4, 0])
    write_outcomes(tmp_path / "a.geojson", cells, GRID, scene_id="a", class_names=NAMES)
    features = json.loads((tmp_path / "a.geojson").read_text())["features"]
    assert [feature["properties"]["outcome"] for feature in features] == ["right", "wrong", "not predicted"]
    assert features[1]["properties"] == {
        "outcome": "wrong", "truth": "forest", "prediction": NAMES[1], "truth_id": 0, "prediction_id": 1,
        "score": 0.6, "margin": 0.2, "scene": "a", "window": [0, 20, 20, 20],
    }  # fmt: skip
    assert features[2]["properties"]["score"] is None
    lon, lat = np.array(features[0]["geometry"]["coordinates"][0]).T
    assert lon.min() == pytest.approx(-75.0, abs=1e-6)
    assert lat.max() - lat.min() == pytest.approx(200 / 111_000, rel=0.01)
    known = {value for value, _ in legend(ElementTree.fromstring(outcome_style()))}
    assert known == {"right", "wrong", "not predicted"}


def test_geometries_of_the_prediction_are_written_again_and_others_are_made(tmp_path: Path) -> None:
    windows = np.array([[0, 0, 20, 20], [0, 20, 20, 20], [20, 0, 20, 20]], np.int64)
    cells = Outcomes(windows, *(np.zeros(3, np.int64),) * 2, *(np.ones(3),) * 2)
    own = '{"type": "Polygon", "coordinates": []}'
    for name, given in (("a", cells), ("b", cells._replace(geometries=[None, own, None]))):
        write_outcomes(tmp_path / name, given, GRID, scene_id="a", class_names=NAMES)
    made, taken = ((tmp_path / name).read_text().splitlines() for name in "ab")
    assert [one == other for one, other in zip(made, taken, strict=True)] == [True, True, False, True, True]
    assert taken[2].endswith(f'"geometry": {own}}},')


def test_a_scene_without_labelled_cells_is_an_empty_collection(tmp_path: Path) -> None:
    nothing = Outcomes(np.empty((0, 4), np.int64), *(np.empty(0, np.int64),) * 2, *(np.empty(0),) * 2)
    write_outcomes(tmp_path / "a.geojson", nothing, GRID, scene_id="a", class_names=NAMES)
    assert json.loads((tmp_path / "a.geojson").read_text())["features"] == []


def test_names_that_xml_cannot_hold_leave_the_legends_readable() -> None:
    names = ("a\x1b[2J\uffff<b>", "fine")
    style = ElementTree.fromstring(prediction_style(names, COLORS).partition("\n")[2])
    assert [entry.get("label") for entry in style.iter("paletteEntry")] == ["a\ufffd[2J\ufffd<b>", "fine"]
    table = ElementTree.fromstring(categories_text(names, COLORS))
    assert [entry.text for entry in table.iter("Category")] == ["a\ufffd[2J\ufffd<b>", "fine"]
