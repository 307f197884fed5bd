"""GeoJSON files: what is read, what is dropped and counted, what is refused, and where polygons come to lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import shapely
from rasterio.crs import CRS

from rv_core.errors import DataError
from rv_pipeline_chip_classification.scenes.grid import Grid
from rv_pipeline_chip_classification.vectors import geojson
from rv_pipeline_chip_classification.vectors.crs_names import crs_of_name
from rv_pipeline_chip_classification.vectors.geojson import read_geojson
from rv_pipeline_chip_classification.vectors.polygons import polygons_in_pixels, to_pixels

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
        (features({"coordinates": []}), "features[0] is not as GeoJSON says: it has no type"),
        (features({}), "it has no type"),
        (features([1]), "features[0]"),
        (features({"type": ["Polygon"]}), "features[0]"),
        (features(polygon([SQUARE], [SQUARE], [SQUARE])), "features[0] is not as GeoJSON says: a Polygon is nested"),
        (features(polygon("abcd")), "a ring is no list"),
        (features(polygon([["1", "2"], ["3", "2"], ["3", "4"]])), "features[0] is not two numbers"),
        (features(polygon([[True, False], [True, True], [False, True]])), "features[0] is not two numbers"),
        (features(polygon([[None, 0], [1, 1], [2, 0]])), "features[0] is not two numbers"),
        (features(polygon(SQUARE, [[1.5, True], [2, 2], [3, False]])), "features[0] is not two numbers: [1.5, True]"),
        (features(polygon([[0, 0], [1], [2, 0]])), "features[0] is not two numbers: [1]"),
        (features({"type": "Polygon", "coordinates": {"a": 1}}), "a polygon is no list of rings"),
        (features({"type": "Polygon"}), "it has no 'coordinates'"),
        (features({"type": "GeometryCollection", "geometries": [7]}), "it is no object"),
        (features([]), "it is no object"),
        (features(polygon([[10**400, 0], [1, 1], [2, 0]])), "features[0] is not finite"),
        (features(polygon([["a", 0], [1, 1], [2, 0], ["a", 0]])), "not two numbers"),
        (features(polygon([[0], [1], [2], [0]])), "not two numbers"),
        (features(polygon([0, 1, 2, 0])), ""),
        (json.dumps(features(polygon(SQUARE))).replace("10", "NaN"), "features[0] is not finite"),
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
    monkeypatch.setattr(geojson.by_uri, "read_bytes", lambda uri: pytest.fail("the file was read"))
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


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"\x00\x00\x27\x0a\x00", "a shapefile"),
        (b"SQLite format 3\x00", "a GeoPackage"),
        (b"<?xml version='1.0'?><kml/>", "KML"),
        (b"PK\x03\x04", "a zip archive"),
        (b'{"geometryType": "esriGeometryPolygon", "features": []}', "JSON of ArcGIS"),
    ],
)
def test_files_of_other_formats_are_told_what_reads_them_or_how_to_become_geojson(
    tmp_path: Path, start: bytes, what: str
) -> None:
    path = tmp_path / "labels"
    path.write_bytes(start)
    fix = "ogr2ogr -f GeoJSON" if start.startswith((b"<", b"{")) else r"VectorLabelsConfig\(uri=…\)"
    with pytest.raises(DataError, match=fix) as raised:
        read_geojson(str(path))
    assert what in str(raised.value)


def test_nan_in_a_property_that_nobody_uses_is_accepted(write: Callable[[Any], str]) -> None:
    text = json.dumps(features(polygon(SQUARE))).replace('"properties": {}', '"properties": {"a": NaN, "b": -Infinity}')
    assert len(polygons_in_pixels(read_geojson(write(text)), PLAIN).polygons) == 1


def test_parts_without_an_area_are_dropped_and_counted_and_the_rest_is_kept(write: Callable[[Any], str]) -> None:
    document = features(
        polygon([[0, 0], [1, 1]]),
        polygon(SQUARE, [], [[12, 22], [13, 23]]),
        {"type": "MultiPolygon", "coordinates": []},
        {"type": "GeometryCollection", "geometries": []},
        {"type": "MultiPolygon", "coordinates": [[SQUARE, []], []]},
    )
    found = polygons_in_pixels(read_geojson(write(document)), PLAIN)
    assert found.features.tolist() == [1, 4]
    assert shapely.area(found.polygons).tolist() == [150.0, 150.0]
    assert dict(found.dropped) == {
        "ring of fewer than 3 corners": 1, "hole of fewer than 3 corners": 1, "empty MultiPolygon": 1,
        "empty GeometryCollection": 1, "empty polygon": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "crs"),
    [
        ("EPSG:32618", "EPSG:32618"),
        ("epsg::32618", "EPSG:32618"),
        ("urn:ogc:def:crs:EPSG:9.9.1:32618", "EPSG:32618"),
        ("http://www.opengis.net/def/crs/EPSG/0/32618", "EPSG:32618"),
        ("https://opengis.net/def/crs/OGC/1.3/CRS84", "EPSG:4326"),
        ("http://www.opengis.net/gml/srs/epsg.xml#4326", "EPSG:4326"),
        ("CRS:84", "EPSG:4326"),
        ("WGS84", "EPSG:4326"),
        ("ESRI:102001", "ESRI:102001"),
        ("+proj=utm +zone=18 +datum=WGS84", "+proj=utm +zone=18 +datum=WGS84"),
        ("+proj=merc +nadgrids=@null +wktext", "+proj=merc +nadgrids=@null +wktext"),
        ("+proj=utm +zone=18 +nadgrids=/etc/grid", None),
        ("+init=epsg:32618", None),
        ("/vsicurl/http://127.0.0.1/x.prj", None),
        ("http://127.0.0.1:9/crs.wkt", None),
        ("http://www.opengis.net.example.org/def/crs/EPSG/0/32618", None),
        ("http://www.opengis.net/def/crs/EPSG/0/../../../32618", None),
        ("file.prj", None),
        ("IMPORT_FROM_WKT:file.prj", None),
        ("", None),
        ("EPSG:4326\nhttp://127.0.0.1/", None),
        ('BOUNDCRS[SOURCECRS[],PARAMETERFILE["Latitude and longitude difference file","/etc/grid"]]', None),
        ('GEOGCS["x' + "x" * 30_000 + '"]', None),
    ],
)
def test_a_crs_is_named_or_described_and_never_opened(name: str, crs: str | None) -> None:
    assert crs_of_name(name) == crs


def test_wkt_is_a_description_of_a_crs(write: Callable[[Any], str]) -> None:
    wkt = CRS.from_epsg(32618).to_wkt()
    ring = [[500_000 + 2 * x, 4_500_000 - 2 * y] for x, y in SQUARE]
    document = features(polygon(ring), crs={"type": "name", "properties": {"name": wkt}})
    found = polygons_in_pixels(read_geojson(write(document)), UTM)
    assert shapely.bounds(found.polygons)[0] == pytest.approx([10, 20, 25, 30])


def test_the_crs_of_a_file_asks_no_server_and_reads_no_file(write: Callable[[Any], str], tmp_path: Path) -> None:
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    prj = tmp_path / "a.prj"
    prj.write_text(CRS.from_epsg(32618).to_wkt())
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        for name in (f"http://127.0.0.1:{server.server_port}/crs.wkt", str(prj)):
            document = features(polygon(SQUARE), crs={"type": "name", "properties": {"name": name}})
            with pytest.raises(DataError, match="rv opens no file and no address"):
                polygons_in_pixels(read_geojson(write(document)), UTM)
        server.shutdown()
        thread.join()
    assert asked == []


def test_a_polygon_that_the_crs_of_the_image_does_not_reach_is_left_out_and_counted(
    write: Callable[[Any], str], write_labels: Callable[..., str], square: Callable[..., Any]
) -> None:
    near = json.loads(Path(write_labels("a.geojson", [(square(10, 20, 30, 40), {})], pixel=2.0)).read_text())
    gabon = polygon([[13.8, 1.3], [13.9, 1.3], [13.9, 1.4]])
    document = features(gabon, near["features"][0]["geometry"], gabon)
    found = polygons_in_pixels(read_geojson(write(document)), Grid(100, 100, UTM.transform, "EPSG:32618"))
    assert found.features.tolist() == [1]
    assert shapely.bounds(found.polygons)[0] == pytest.approx([20, 10, 60, 40], abs=1e-6)
    assert dict(found.dropped) == {"polygon that the image's CRS does not reach": 2}
    with pytest.raises(DataError, match="none of its 4 points exists there") as raised:
        polygons_in_pixels(read_geojson(write(features(gabon))), UTM)
    assert "longitude, latitude" in str(raised.value)


def test_latitudes_that_rounding_put_beyond_a_pole_are_on_it(write: Callable[[Any], str]) -> None:
    world = Grid(180, 360, (1.0, 0.0, -180.0, 0.0, -1.0, 90.0), "EPSG:4326")
    antarctica = [[-180, -90.00000000000003], [180, -90.00000000000003], [180, -70], [-180, -70]]
    found = polygons_in_pixels(read_geojson(write(features(polygon(antarctica)))), world)
    assert shapely.bounds(found.polygons).tolist() == [[0.0, 160.0, 360.0, 180.0]]
    with pytest.raises(DataError, match=r"\(-180, -90.00001\)"):
        polygons_in_pixels(read_geojson(write(features(polygon([[-180, -90.00001], [0, 0], [9, 9]])))), world)


def box_of(west: float, south: float, east: float, north: float) -> list[list[float]]:
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def test_longitudes_are_a_circle_on_an_image_in_degrees(write: Callable[[Any], str]) -> None:
    pacific = Grid(180, 360, (1.0, 0.0, 0.0, 0.0, -1.0, 90.0), "EPSG:4326")  # 0 to 360
    document = features(
        polygon(box_of(-160, 10, -150, 20)), polygon(box_of(20, 10, 30, 20)), polygon(box_of(-5, 0, 5, 9))
    )
    found = polygons_in_pixels(read_geojson(write(document)), pacific)
    assert found.features.tolist() == [0, 1, 2, 2]  # the last one lies at both edges of the image
    assert sorted(shapely.bounds(found.polygons)[:, [0, 2]].tolist()) == [
        [-5.0, 5.0], [20.0, 30.0], [200.0, 210.0], [355.0, 365.0],
    ]  # fmt: skip


def test_what_was_cut_at_the_date_line_is_one_polygon_again(write: Callable[[Any], str]) -> None:
    grid = Grid(100, 128, (0.1, 0.0, 173.6, 0.0, -0.1, 10.0), "EPSG:4326")
    parts = [[box_of(179.0, 8.0, 180.0, 9.0)], [box_of(-180.0, 8.0, -179.0, 9.0)]]
    found = polygons_in_pixels(read_geojson(write(features({"type": "MultiPolygon", "coordinates": parts}))), grid)
    assert found.features.tolist() == [0]
    assert shapely.bounds(found.polygons)[0] == pytest.approx([54, 10, 74, 20], abs=1e-5)
    assert shapely.area(found.polygons)[0] == pytest.approx(200, abs=1e-3)


def test_polygons_wider_than_half_of_the_world_are_noted(write: Callable[[Any], str]) -> None:
    fiji, world = polygon(box_of(-179.5, -20, 179.5, -15)), polygon(box_of(-180, -90, 180, 90))
    found = polygons_in_pixels(
        read_geojson(write(features(world, fiji))), Grid(9, 9, (1, 0, 10, 0, -1, -15), "EPSG:4326")
    )
    assert [note[:62] for note in found.notes] == ["1 polygons span more than 180 degrees of longitude (the first "]
    pixels = polygons_in_pixels(read_geojson(write(features(fiji))), Grid(400, 400, (1, 0, 0, 0, 1, 0), None))
    assert pixels.notes == []
    assert "features[1]" in found.notes[0]


def test_a_polygon_of_random_corners_is_refused_at_once(write: Callable[[Any], str]) -> None:
    corners = np.random.default_rng(0).uniform(0, 100, (3_000, 2)).tolist()
    with pytest.raises(DataError, match=r"features\[1\] cross each other more than 1,000 times"):
        polygons_in_pixels(read_geojson(write(features(polygon(SQUARE), polygon(corners)))), PLAIN)


def test_a_large_outline_that_crosses_itself_here_and_there_is_repaired(write: Callable[[Any], str]) -> None:
    angles = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    corners = np.column_stack([50 + 40 * np.cos(angles), 50 + 40 * np.sin(angles)])
    corners[[100, 5_000]], corners[[104, 5_004]] = corners[[104, 5_004]], corners[[100, 5_000]]
    found = polygons_in_pixels(read_geojson(write(features(polygon(corners.tolist())))), PLAIN)
    assert found.num_repaired == 1
    assert shapely.area(found.polygons).sum() == pytest.approx(np.pi * 1600, rel=1e-3)


def test_a_comb_of_very_many_teeth_is_refused_at_once_and_a_round_outline_is_not(write: Callable[[Any], str]) -> None:
    xs, ys = np.repeat(np.linspace(0, 100, 50_000), 2), np.tile([0.0, 90.0, 90.0, 0.0], 25_000)
    comb = [*np.column_stack([xs, ys]).tolist(), [100, 100], [0, 100]]
    with pytest.raises(DataError, match=r"a row of the image meets the outline of a polygon of features\[1\]"):
        polygons_in_pixels(read_geojson(write(features(polygon(SQUARE), polygon(comb)))), PLAIN)
    angles = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    disk = np.column_stack([50 + 40 * np.cos(angles), 50 + 40 * np.sin(angles)]).tolist()
    assert len(polygons_in_pixels(read_geojson(write(features(polygon(disk)))), PLAIN).polygons) == 1
