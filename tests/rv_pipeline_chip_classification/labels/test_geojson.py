"""GeoJSON files: what is read, what is dropped and counted, what is refused, and where polygons come to lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from rv_core.errors import DataError
from rv_pipeline_chip_classification.labels import geojson
from rv_pipeline_chip_classification.labels.geojson import read_geojson
from rv_pipeline_chip_classification.labels.polygons import polygons_in_pixels, to_pixels
from rv_pipeline_chip_classification.scenes.grid import Grid

PLAIN = Grid(100, 100, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), None)
UTM = Grid(100, 100, (2.0, 0.0, 500_000.0, 0.0, -2.0, 4_500_000.0), "EPSG:32618")
SQUARE = [[10, 20], [10, 30], [25, 30], [25, 20], [10, 20]]
HOLE = [[12, 22], [14, 22], [14, 24], [12, 24], [12, 22]]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], str]:
    def write_document(document: Any) -> str:
        path = tmp_path / "labels.geojson"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return str(path)

    return write_document


def features(*geometries: Any, **members: Any) -> dict[str, Any]:
    listed = [{"type": "Feature", "properties": {}, "geometry": geometry} for geometry in geometries]
    return {"type": "FeatureCollection", "features": listed, **members}


def polygon(*rings: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def test_polygons_multipolygons_holes_and_collections_become_polygons(write: Callable[[Any], str]) -> None:
    moved = [[x + 40, y] for x, y in SQUARE]
    document = features(
        polygon(SQUARE, HOLE),
        {"type": "MultiPolygon", "coordinates": [[SQUARE], [moved]]},
        {"type": "GeometryCollection", "geometries": [polygon(SQUARE), {"type": "Point", "coordinates": [1, 2]}]},
    )
    found = polygons_in_pixels(read_geojson(write(document)), PLAIN)
    assert found.features.tolist() == [0, 1, 1, 2]
    assert shapely.area(found.polygons).tolist() == [146.0, 150.0, 150.0, 150.0]
    assert dict(found.dropped) == {"Point has no area": 1}


def test_what_has_no_area_is_dropped_and_counted(write: Callable[[Any], str]) -> None:
    flat = [[0, 0], [5, 5], [9, 9], [0, 0]]
    line = {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}
    document = features(None, line, {"type": "Polygon", "coordinates": []}, polygon(flat), polygon(SQUARE))
    found = polygons_in_pixels(read_geojson(write(document)), PLAIN)
    assert found.features.tolist() == [4]
    assert dict(found.dropped) == {
        "no geometry": 1, "LineString has no area": 1, "empty polygon": 1, "polygon without area": 1,
    }  # fmt: skip


def test_polygons_that_cross_themselves_are_made_valid_and_counted(write: Callable[[Any], str]) -> None:
    bow_tie = [[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]
    found = polygons_in_pixels(read_geojson(write(features(polygon(bow_tie), polygon(SQUARE)))), PLAIN)
    assert found.num_repaired == 1
    assert shapely.is_valid(found.polygons).all()
    assert shapely.area(found.polygons).tolist() == [50.0, 150.0]


def test_open_rings_and_heights_are_accepted(write: Callable[[Any], str]) -> None:
    ring = [[*corner, 7.5] for corner in SQUARE[:-1]]
    found = polygons_in_pixels(read_geojson(write(features(polygon(ring)))), PLAIN)
    assert shapely.bounds(found.polygons).tolist() == [[10.0, 20.0, 25.0, 30.0]]


def test_a_single_feature_and_a_bare_geometry_are_accepted(write: Callable[[Any], str]) -> None:
    for document in (features(polygon(SQUARE))["features"][0], polygon(SQUARE)):
        assert len(polygons_in_pixels(read_geojson(write(document)), PLAIN).polygons) == 1


def test_longitude_and_latitude_come_back_to_the_pixel(
    write_labels: Callable[..., str], square: Callable[..., Any]
) -> None:
    path = write_labels("a.geojson", [(square(10, 20, 30, 40), {})], pixel=2.0)
    found = polygons_in_pixels(read_geojson(path), UTM)
    assert shapely.bounds(found.polygons)[0] == pytest.approx([20, 10, 60, 40], abs=1e-6)


@pytest.mark.parametrize(
    "crs",
    [
        {"type": "name", "properties": {"name": "EPSG:32618"}},
        {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32618"}},
        {"type": "EPSG", "properties": {"code": 32618}},
    ],
)
def test_the_crs_member_of_the_older_specification_is_honoured(write: Callable[[Any], str], crs: Any) -> None:
    ring = [[500_000 + 2 * x, 4_500_000 - 2 * y] for x, y in SQUARE]
    found = polygons_in_pixels(read_geojson(write(features(polygon(ring), crs=crs))), UTM)
    assert shapely.bounds(found.polygons)[0] == pytest.approx([10, 20, 25, 30])


def test_crs_84_is_longitude_latitude(write: Callable[[Any], str]) -> None:
    for name in ("urn:ogc:def:crs:OGC:1.3:CRS84", "OGC:CRS84"):
        document = features(polygon(SQUARE), crs={"type": "name", "properties": {"name": name}})
        assert read_geojson(write(document)).crs == "EPSG:4326"


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("{", "no JSON"),
        ("[1, 2]", "its type is None"),
        ('{"type": "Topology"}', "'Topology'"),
        ('{"type": "FeatureCollection"}', "FeatureCollection with features"),
        ('{"type": "FeatureCollection", "features": [3]}', "features[0] is no Feature"),
        (features({"type": "Circle"}), "'Circle'"),
        (features({"coordinates": []}), "features[0]"),
        (features(polygon([[0, 0], [1, 1]])), "fewer than 3 corners"),
        (features(polygon([["a", 0], [1, 1], [2, 0], ["a", 0]])), "not two numbers"),
        (features(polygon([[0], [1], [2], [0]])), "not two numbers"),
        (features(polygon([0, 1, 2, 0])), ""),
        (json.dumps(features(polygon(SQUARE))).replace("10", "NaN"), "NaN"),
        (json.dumps(features(polygon(SQUARE))).replace("10", "1e999"), "finite"),
        (features(polygon(SQUARE), crs={"type": "link", "properties": {"href": "x"}}), "names no CRS"),
        (features(polygon(SQUARE), crs={"type": "name", "properties": {"name": "EPSG:1"}}), ""),
        ("[" * 100_000, "nested too deep"),
        (
            json.dumps(features(polygon(SQUARE))).replace('"properties": {}', '"properties": {"a":' + "[" * 70 + "]" * 70 + "}"),
            "64 levels",
        ),
    ],
)  # fmt: skip
def test_what_is_no_geojson_is_refused_with_the_file_name(write: Callable[[Any], str], document: Any, why: str) -> None:
    path = write(document)
    with pytest.raises(DataError) as raised:
        polygons_in_pixels(read_geojson(path), UTM)
    assert path in str(raised.value)
    assert why in str(raised.value)


def test_collections_nested_too_deep_are_refused(write: Callable[[Any], str]) -> None:
    geometry = polygon(SQUARE)
    for _ in range(70):
        geometry = {"type": "GeometryCollection", "geometries": [geometry]}
    with pytest.raises(DataError, match="64 deep"):
        polygons_in_pixels(read_geojson(write(features(geometry))), PLAIN)


def test_a_file_that_is_too_large_is_not_even_read(
    write: Callable[[Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(features(polygon(SQUARE)))
    monkeypatch.setattr(geojson, "MAX_BYTES", 20)
    monkeypatch.setattr(geojson.storage, "read_bytes", lambda uri: pytest.fail("the file was read"))
    with pytest.raises(DataError, match="at most 20"):
        read_geojson(path)


def test_map_coordinates_without_a_crs_are_explained(write: Callable[[Any], str]) -> None:
    ring = [[500_000 + x, 4_500_000 - y] for x, y in SQUARE]
    with pytest.raises(DataError, match="not in longitude and latitude"):
        polygons_in_pixels(read_geojson(write(features(polygon(ring)))), UTM)


def test_labels_with_a_crs_cannot_lie_on_an_image_without_one(write: Callable[[Any], str]) -> None:
    crs = {"type": "name", "properties": {"name": "EPSG:32618"}}
    with pytest.raises(DataError, match="the image has no CRS"):
        polygons_in_pixels(read_geojson(write(features(polygon(SQUARE), crs=crs))), PLAIN)


def test_a_turned_grid_is_inverted_exactly() -> None:
    transform = (3.0, 1.0, 100.0, 0.5, -2.0, 50.0)
    a, b, c, d, e, f = transform
    pixels = np.random.default_rng(0).uniform(0, 500, (50, 2))
    maps = np.column_stack([a * pixels[:, 0] + b * pixels[:, 1] + c, d * pixels[:, 0] + e * pixels[:, 1] + f])
    assert to_pixels(maps, transform) == pytest.approx(pixels)
