"""Predicted cells as GeoJSON: RFC 7946, exact to the pixel, one feature per line, and refused when damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from rasterio.warp import transform as warp_transform

from rv_core.errors import DataError
from rv_pipeline_chip_classification.prediction.cell_scores import ScoredCells
from rv_pipeline_chip_classification.prediction.geojson_file import GeoJsonWriter, cell_rings, read_predictions
from rv_pipeline_chip_classification.scenes.grid import Grid
from rv_pipeline_chip_classification.vectors.geojson import read_geojson
from rv_pipeline_chip_classification.vectors.polygons import polygons_in_pixels

NAMES = ("forest", "Gebüsch", 'say "rock"')
UTM = Grid(1000, 1000, (0.5, 0.0, 300_000.0, 0.0, -0.5, 4_154_085.0), "EPSG:32612")


def scored(windows: Any, class_ids: Any = None, first: int = 0) -> ScoredCells:
    array = np.array(windows, np.int64).reshape(-1, 4)
    ids = np.zeros(len(array), np.int64) if class_ids is None else np.array(class_ids, np.int64)
    scores = np.full((len(array), 3), 0.123456, np.float32)
    scores[np.arange(len(array)), ids] = 0.753088
    scores[ids < 0] = np.nan
    return ScoredCells(first, array, ids, scores, np.where(ids < 0, 0.0, 1.0))


def write(path: Path, grid: Grid, *batches: ScoredCells) -> dict[str, Any]:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        writer = GeoJsonWriter(file, grid, scene_id="scene-1", class_names=NAMES, where="scene-1.tif")
        for batch in batches:
            writer.write(batch)
        writer.close()
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def test_a_feature_says_what_is_known_of_its_cell(tmp_path: Path) -> None:
    document = write(tmp_path / "a.geojson", UTM, scored([[0, 0, 32, 32], [0, 32, 32, 32]], [1, 2]))
    assert document["type"] == "FeatureCollection"
    assert document["scene"] == "scene-1"
    one, other = document["features"]
    assert one["properties"] == {
        "class_id": 1,
        "class_name": "Gebüsch",
        "score": 0.753088,
        "scores": [0.123456, 0.753088, 0.123456],
        "scene": "scene-1",
        "window": [0, 0, 32, 32],
        "valid_fraction": 1.0,
    }
    assert other["properties"]["class_name"] == 'say "rock"'


def test_a_cell_without_data_has_no_class_and_no_scores(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    (feature,) = write(path, UTM, scored([[0, 0, 32, 32]], [-1]))["features"]
    properties = feature["properties"]
    assert [properties[name] for name in ("class_id", "class_name", "score", "scores")] == [None] * 4
    assert properties["valid_fraction"] == 0.0
    (cell,) = read_predictions(path, where="x")
    assert cell[:3] == ((0, 0, 32, 32), None, None)


def test_geometries_are_handed_on_as_they_were_written_and_files_that_others_wrote_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    features = write(path, UTM, scored([[0, 0, 32, 32], [0, 32, 32, 32]]))["features"]
    cells = list(read_predictions(path, where="x"))
    assert [json.loads(cell.geometry or "") for cell in cells] == [feature["geometry"] for feature in features]
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    swapped = [json.dumps({name: one[name] for name in ("geometry", "type", "properties")}) for one in features]
    path.write_text(lines[0] + ",\n".join(swapped) + "\n" + lines[-1], encoding="utf-8")
    assert [cell[:3] for cell in read_predictions(path, where="x")] == [cell[:3] for cell in cells]


@pytest.mark.parametrize("damage", [("[[[", "[[{"), ("]]]", "]],"), (", ", "  "), (".", ".."), ("-", "--")])
def test_a_damaged_geometry_is_not_handed_on(damage: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    write(path, UTM, scored([[0, 0, 32, 32]]))
    before, name, after = path.read_text(encoding="utf-8").partition('"coordinates": ')
    assert damage[0] in after
    path.write_text(before + name + after.replace(*damage, 1), encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read"):
        list(read_predictions(path, where="x"))


@pytest.mark.parametrize(
    "transform",
    [
        (0.5, 0.0, 300_000.0, 0.0, -0.5, 4_154_085.0),
        (0.5, 0.0, 300_000.0, 0.0, 0.5, 4_154_085.0),
        (0.3, 0.4, 300_000.0, 0.4, -0.3, 4_154_085.0),
    ],
    ids=["north up", "south up", "rotated"],
)
def test_cells_come_back_to_their_pixels_and_run_counterclockwise(tmp_path: Path, transform: Any) -> None:
    grid = Grid(1000, 1000, transform, "EPSG:32612")
    windows = [[0, 0, 32, 32], [64, 96, 32, 32], [968, 968, 40, 40]]
    document = write(tmp_path / "a.geojson", grid, scored(windows))
    polygons = [shapely.geometry.shape(feature["geometry"]) for feature in document["features"]]
    assert all(polygon.exterior.is_ccw and polygon.is_valid for polygon in polygons)
    found = polygons_in_pixels(read_geojson(str(tmp_path / "a.geojson")), grid)
    bounds = shapely.bounds(found.polygons)[:, [1, 0, 3, 2]]
    expected = np.array([[row, col, row + height, col + width] for row, col, height, width in windows])
    assert np.abs(bounds - expected).max() < 1e-6


def test_neighbours_share_their_corners_to_the_last_digit(tmp_path: Path) -> None:
    document = write(tmp_path / "a.geojson", UTM, scored([[0, 0, 32, 32]]), scored([[0, 32, 32, 32]]))
    one, other = ({tuple(p) for p in f["geometry"]["coordinates"][0]} for f in document["features"])
    assert len(one & other) == 2


def test_an_image_without_a_crs_has_pixel_coordinates(tmp_path: Path) -> None:
    grid = Grid(64, 64, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), None)
    document = write(tmp_path / "a.geojson", grid, scored([[16, 32, 8, 4]]))
    assert document["rv:coordinates"] == "pixels"
    (feature,) = document["features"]
    assert feature["geometry"]["coordinates"] == [[[32, 16], [36, 16], [36, 24], [32, 24], [32, 16]]]
    assert "rv:coordinates" not in write(tmp_path / "b.geojson", UTM)


def test_cells_across_the_date_line_go_on_beyond_180() -> None:
    grid = Grid(100, 100, (1000.0, 0.0, 770_000.0, 0.0, -1000.0, 0.0), "EPSG:32660")
    rings = cell_rings(np.array([[0, 50, 20, 20], [0, 0, 20, 20]], np.int64), grid, where="x")
    assert np.ptp(rings[..., 0], axis=1).max() < 1
    assert rings[0, :, 0].max() > 180
    assert rings[1, :, 0].max() < 180


def test_a_cell_that_is_nowhere_on_earth_has_no_geometry(tmp_path: Path) -> None:
    disk = Grid(100, 100, (2e5, 0.0, -1e7, 0.0, -2e5, 1e7), "+proj=geos +h=35785831 +lon_0=0 +ellps=GRS80 +units=m")
    document = write(tmp_path / "a.geojson", disk, scored([[0, 0, 10, 10], [45, 45, 10, 10]], [1, 2]))
    corner, middle = document["features"]
    assert corner["geometry"] is None
    assert corner["properties"]["class_id"] == 1
    assert shapely.box(-10, -10, 10, 10).covers(shapely.geometry.shape(middle["geometry"]))
    assert [cell.class_id for cell in read_predictions(tmp_path / "a.geojson", where="a")] == [1, 2]


def test_a_crs_without_a_place_on_earth_is_an_error_that_says_so() -> None:
    grid = Grid(100, 100, (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), 'LOCAL_CS["x",UNIT["metre",1]]')
    with pytest.raises(DataError, match="no known place on Earth"):
        cell_rings(np.array([[0, 0, 1, 1]]), grid, where="a")


def test_longitudes_of_an_image_in_degrees_begin_below_180() -> None:
    grid = Grid(2, 4, (90.0, 0.0, 0.0, 0.0, -90.0, 90.0), "EPSG:4326")  # 0 to 360
    rings = cell_rings(np.array([[0, col, 1, 1] for col in range(4)]), grid, where="a")
    spans = np.stack([rings[..., 0].min(axis=1), rings[..., 0].max(axis=1)], axis=1)
    assert spans.tolist() == [[0, 90], [90, 180], [-180, -90], [-90, 0]]


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:4267"])
def test_a_cell_of_more_than_half_of_the_world_is_as_wide_as_it_is(crs: str) -> None:
    grid = Grid(9, 9, (40.0, 0.0, -180.0, 0.0, -20.0, 90.0), crs)
    ring = cell_rings(np.array([[0, 0, 8, 8]]), grid, where="a")[0]
    assert np.ptp(ring[:, 0]) == pytest.approx(320, abs=0.01)


def test_cells_are_written_as_they_come_and_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    num_cells = 2500
    windows = np.array([[0, col, 1, 1] for col in range(num_cells)])
    with path.open("w", encoding="utf-8", newline="\n") as file:
        writer = GeoJsonWriter(file, UTM, scene_id="scene-1", class_names=NAMES, where="x")
        for first in range(0, num_cells, 64):
            writer.write(scored(windows[first : first + 64], first=first))
        assert writer._num_pending < 1100
        writer.close()
    assert len(path.read_text(encoding="utf-8").splitlines()) == num_cells + 2
    assert [cell.window[1] for cell in read_predictions(path, where="x")] == list(range(num_cells))


def test_no_cells_are_an_empty_collection(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    assert write(path, UTM)["features"] == []
    assert list(read_predictions(path, where="x")) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda text: text[: len(text) // 2], "line 2"),
        (lambda text: text.removesuffix("]}\n"), "ends too early"),
        (lambda text: json.dumps(json.loads(text)), "does not begin"),
        (lambda text: text.replace('"window": [0, 0, 32, 32]', '"window": [0, 0]'), "line 2"),
        (lambda text: text.replace('"class_id"', '"klass"'), "KeyError"),
        (lambda text: "", "does not begin"),
    ],
)
def test_damaged_predictions_are_refused_with_the_line(tmp_path: Path, change: Any, expected: str) -> None:
    path = tmp_path / "a.geojson"
    write(path, UTM, scored([[0, 0, 32, 32], [0, 32, 32, 32]]))
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(DataError, match=r"cannot be read") as caught:
        list(read_predictions(path, where="predict/a.geojson"))
    assert expected in str(caught.value)
    assert "predict/a.geojson" in str(caught.value)


@pytest.mark.parametrize(("crs", "pole"), [("EPSG:3995", 90), ("EPSG:3031", -90)])
@pytest.mark.parametrize("shift", [0, 300, 1000])
def test_a_cell_at_a_pole_covers_what_lies_around_it(tmp_path: Path, crs: str, pole: int, shift: int) -> None:
    """Inside of a cell, or at the corner of four; what they cover is compared with points of the cells themselves."""
    grid = Grid(4, 4, (1000.0, 0.0, -3000.0 + shift, 0.0, -1000.0, 3000.0 - shift), crs)
    windows = [[row, col, 2, 2] for row in (0, 2) for col in (0, 2)] if shift == 1000 else [[2, 2, 2, 2]]
    document = write(tmp_path / "a.geojson", grid, scored(windows))
    for feature, (row, col, _, _) in zip(document["features"], windows, strict=True):
        outline = shapely.geometry.shape(feature["geometry"])
        assert outline.is_valid
        assert outline.exterior.is_ccw
        assert outline.intersects(shapely.LineString([(-180, pole), (540, pole)]))
        at = [(col + x, row + y) for x, y in ((0.3, 0.3), (1.7, 0.3), (0.3, 1.7), (1.7, 1.7), (1.0, 1.0))]
        a, _, c, _, e, f = grid.transform
        longitudes, latitudes = warp_transform(crs, "EPSG:4326", [a * x + c for x, _ in at], [e * y + f for _, y in at])
        for longitude, latitude in zip(longitudes, latitudes, strict=True):
            there = [shapely.Point(longitude + turn, latitude) for turn in (0, 360)]
            assert any(outline.intersects(point) for point in there), (longitude, latitude)


def test_the_data_of_another_installation_of_proj_is_named(tmp_path: Path) -> None:
    """PROJ reads its database once, when the process begins."""
    (tmp_path / "proj.db").touch()
    program = (
        "import numpy as np\n"
        "from rv_pipeline_chip_classification.scenes.crs import project_each\n"
        "project_each(np.zeros((1, 2)), 'EPSG:4326', 'EPSG:32632', where='a.geojson')"
    )
    env = {**os.environ, "PROJ_DATA": str(tmp_path), "PROJ_LIB": str(tmp_path)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, env=env, capture_output=True, text=True, timeout=120)
    assert "unset PROJ_DATA and PROJ_LIB" in done.stderr
    assert "check the order" not in done.stderr
