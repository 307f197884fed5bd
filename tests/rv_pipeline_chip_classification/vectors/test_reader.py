"""Vector files of every format: the same features give the same labels, and what is wrong with one is said in one block."""

from __future__ import annotations

import hashlib
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from rv_core.errors import DataError
from rv_core.files.storage import Storage
from rv_pipeline_chip_classification.commands.chip import chip_scene
from rv_pipeline_chip_classification.config import (
    ChipConfig,
    ClassConfig,
    RasterSourceConfig,
    SceneConfig,
    VectorAreaConfig,
    VectorLabelsConfig,
)
from rv_pipeline_chip_classification.labels.aoi import read_aoi
from rv_pipeline_chip_classification.labels.sources import LabelSource, open_labels
from rv_pipeline_chip_classification.scenes.grid import Grid
from rv_pipeline_chip_classification.scenes.windows import Window, windows_over

from .vector_files import FORMATS, ORIGIN, UTM, in_crs, pyogrio, squares, write, write_layer

NAMES = ["forest", "shrub", "rock"]
#: Those whose files say which CRS they are in.
SAYING = ("gpkg", "shp", "zip", "fgb", "parquet", "geojson")


def grid_of(size_px: int) -> Grid:
    return Grid(size_px, size_px, (1.0, 0.0, ORIGIN[0], 0.0, -1.0, ORIGIN[1]), UTM)


def source_of(grid: Grid, **options: Any) -> LabelSource:
    options.setdefault("cell_size_px", 8)
    scene = SceneConfig(id="a", raster=RasterSourceConfig(uris=["/a.tif"]), labels=VectorLabelsConfig(**options))
    with open_labels(scene, ClassConfig(names=NAMES), grid, grid.extent) as source:
        return source


def digest_of(source: LabelSource, grid: Grid, size_px: int = 8) -> str:
    windows = windows_over(grid.extent, size_px=size_px, stride_px=size_px // 2)
    labels = source.label(windows)
    return hashlib.sha256(labels.class_ids.tobytes() + labels.shares.tobytes()).hexdigest()


def crs_of(kind: str, crs: str) -> dict[str, str]:
    """What the config has to say where the file does not."""
    return {} if kind in SAYING else {"crs": crs}


def test_the_same_polygons_in_every_format_and_crs_give_the_same_labels(tmp_path: Path) -> None:
    grid, polygons = grid_of(80), squares(10, 8)
    columns = {"class_id": [number % 3 for number in range(100)], "name": ["é"] * 100}
    digests = set()
    for crs in (UTM, "EPSG:4326", "EPSG:3857"):
        placed = in_crs(polygons, crs)
        for kind in FORMATS:
            folder = tmp_path / crs[5:] / kind
            folder.mkdir(parents=True)
            uri = write(folder, kind, placed, columns, crs)
            source = source_of(grid, uri=uri, use_intersection_over_cell=True, **crs_of(kind, crs))
            assert source.report.num_features == 100
            digests.add(digest_of(source, grid))
    assert len(digests) == 1


@pytest.mark.slow
def test_ten_thousand_polygons_in_six_formats_and_three_crss_give_one_chip_index(
    tmp_path: Path, write_image: Callable[..., str]
) -> None:
    image = write_image("a.tif", np.ones((800, 800), np.uint8))
    columns = {"class_id": [number % 3 for number in range(10_000)]}
    indexes = set()
    for crs in (UTM, "EPSG:4326", "EPSG:3857"):
        placed = in_crs(squares(100, 8), crs)
        for kind in SAYING:
            folder = tmp_path / crs[5:] / kind
            folder.mkdir(parents=True)
            labels = VectorLabelsConfig(uri=write(folder, kind, placed, columns, crs), use_intersection_over_cell=True)
            scene = SceneConfig(id="a", raster=RasterSourceConfig(uris=[image]), labels=labels)
            root = Storage(str(folder / "root"))
            chip = ChipConfig(chip_size_px=8, stride_px=4)
            chip_scene(scene, "train", ClassConfig(names=NAMES), chip, 0, root)
            indexes.add(hashlib.sha256((folder / "root" / "chip" / "a.jsonl").read_bytes()).hexdigest())
    assert len(indexes) == 1


@pytest.mark.slow
def test_an_independent_reader_finds_the_same_features(tmp_path: Path) -> None:
    geopandas = pytest.importorskip("geopandas")
    placed = in_crs(squares(10, 8), "EPSG:3857")
    for kind in ("gpkg", "shp", "fgb", "parquet"):
        folder = tmp_path / kind
        folder.mkdir()
        uri = write(folder, kind, placed, {"class_id": [number % 3 for number in range(100)]}, "EPSG:3857")
        frame = geopandas.read_parquet(uri) if kind == "parquet" else geopandas.read_file(uri)
        in_pixels = frame.to_crs(UTM).geometry.affine_transform([1, 0, 0, -1, -ORIGIN[0], ORIGIN[1]])
        source = source_of(grid_of(80), uri=uri, use_intersection_over_cell=True)
        cells, class_ids = source.label_cells(8)
        assert len(cells) == len(frame) == 100
        for (row, col, _, _), class_id in zip(cells.tolist(), class_ids.tolist(), strict=True):
            inside = in_pixels.contains(shapely.Point(col + 4, row + 4))
            assert frame.class_id[inside].tolist() == [class_id]


def test_points_label_the_cells_that_hold_them(tmp_path: Path) -> None:
    """5,000 points in 5,000 cells of 100 x 50; one on an edge belongs to the cell below and right of it."""
    grid = Grid(400, 800, (1.0, 0.0, ORIGIN[0], 0.0, -1.0, ORIGIN[1]), UTM)
    rows, cols = np.divmod(np.arange(5_000), 100)
    points = shapely.points(cols * 8 + np.where(cols % 2, 3.7, 0.0), rows * 8 + 4.0)
    columns = {"class_id": (np.arange(5_000) % 3).tolist()}
    for kind in ("gpkg", "csv"):
        uri = write(tmp_path, kind, in_crs(points, UTM), columns, UTM)
        source = source_of(grid, uri=uri, point_cell=True, **crs_of(kind, UTM))
        cells, class_ids = source.label_cells(8)
        assert len(cells) == 5_000
        assert class_ids.tolist() == columns["class_id"]


def test_a_table_of_longitudes_and_latitudes_needs_no_crs(tmp_path: Path) -> None:
    lonlat = in_crs(shapely.points([12.0, 44.0, -50.0], [20.0, 60.0, 10.0]), "EPSG:4326")
    lines = [f"{name};{point.x!r};{point.y!r}" for name, point in zip(["rock", "shrub", "rock"], lonlat, strict=True)]
    (tmp_path / "points.csv").write_text("\n".join(["class_name;Lon;Lat", *lines]))
    source = source_of(grid_of(80), uri=str(tmp_path / "points.csv"), point_cell=True)
    cells, class_ids = source.label_cells(8)
    assert cells.tolist() == [[16, 8, 8, 8], [56, 40, 8, 8]]
    assert class_ids.tolist() == [2, 1]
    assert source.report.dropped == {"point outside the image": 1}


@pytest.mark.parametrize(
    ("grid", "metres_a_pixel"),
    [
        (grid_of(200), (1.0, 1.0)),
        (Grid(200, 200, (2.0, 0.0, ORIGIN[0], 0.0, -2.0, ORIGIN[1]), UTM), (2.0, 2.0)),
        # 60 degrees north in degrees: a degree of longitude is half of one of latitude.
        (Grid(200, 200, (1e-5, 0.0, 10.0, 0.0, -1e-5, 60.0), "EPSG:4326"), (0.5580, 1.1141)),
    ],
)
def test_a_buffer_is_measured_on_the_ground(tmp_path: Path, grid: Grid, metres_a_pixel: tuple[float, float]) -> None:
    a, _, c, _, e, f = grid.transform
    place = {"kind": "gpkg", "crs": grid.crs, "columns": {"class_id": [1, 2]}}
    shapes = np.array(
        [
            shapely.Point(c + 100 * a, f + 100 * e),
            shapely.LineString([(c + 100 * a, f + 40 * e), (c + 100 * a, f + 41 * e)]),
        ]
    )
    uri = write(tmp_path, geometries=shapes, **place)
    source = source_of(grid, uri=uri, buffer_m=10.0, use_intersection_over_cell=True)
    circle, _ = source._polygons  # type: ignore[attr-defined]
    left, top, right, bottom = circle.bounds
    scale = 0.9996 if grid.crs == UTM else 1.0
    assert ((right - left) / 2 * metres_a_pixel[0], (bottom - top) / 2 * metres_a_pixel[1]) == pytest.approx(
        (10 * scale, 10 * scale), rel=1e-3
    )


def test_points_and_lines_without_an_area_are_counted(tmp_path: Path) -> None:
    shapes = np.array([shapely.Point(500_010, 4_499_990), shapely.box(500_000, 4_499_990, 500_010, 4_500_000)])
    uri = write(tmp_path, "geojsonl", shapes, {"class_id": [0, 1]}, UTM)
    source = source_of(grid_of(80), uri=uri, crs=UTM)
    assert source.report.dropped == {"Point has no area": 1}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_condition_chooses_features_in_every_format(tmp_path: Path, kind: str) -> None:
    columns = {"class_id": [0, 1, 2, 1], "year": [2020, 2021, 2024, 2024], "name": ["a", "b", "c", "d"]}
    uri = write(tmp_path, kind, in_crs(squares(2, 8), UTM), columns, UTM)
    source = source_of(grid_of(80), uri=uri, where="year = 2024 AND name <> 'c'", **crs_of(kind, UTM))
    assert source.report.num_features == 1
    assert source.label_cells(8)[0].tolist() == [[8, 8, 8, 8]]


def test_layers_of_a_geopackage_are_named(tmp_path: Path) -> None:
    for layer, crs in (("fields", UTM), ("parks", "EPSG:4326")):
        write_layer(
            tmp_path / "all.gpkg",
            in_crs(squares(2, 8), crs),
            {"class_id": [0, 1, 2, 0]},
            crs,
            layer=layer,
            append=layer == "parks",
        )
    grid, uri = grid_of(80), str(tmp_path / "all.gpkg")
    assert digest_of(source_of(grid, uri=uri, layer="fields"), grid) == digest_of(
        source_of(grid, uri=uri, layer="parks"), grid
    )
    with pytest.raises(DataError, match="holds 2 layers") as failure:
        source_of(grid, uri=uri)
    assert failure.value.field == "layer"  # type: ignore[attr-defined]
    assert "'fields', 'parks'" in failure.value.block.why


def test_what_a_writer_has_not_finished_is_read_too(tmp_path: Path) -> None:
    """QGIS leaves a journal (-wal) beside a GeoPackage that is open; reading leaves nothing beside it."""
    path, uri = tmp_path / "labels.gpkg", str(tmp_path / "labels.gpkg")
    options = {"layer_options": {"SPATIAL_INDEX": "NO"}}
    write_layer(path, in_crs(squares(2, 8), UTM), {"class_id": [0, 0, 0, 0]}, UTM, **options)
    database = sqlite3.connect(uri)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("UPDATE labels SET class_id = 2")
    database.commit()
    before = sorted(path.name for path in tmp_path.iterdir())
    assert "labels.gpkg-wal" in before
    assert set(source_of(grid_of(80), uri=uri).label_cells(8)[1].tolist()) == {2}
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    database.close()


def test_an_area_of_interest_is_any_vector_file(tmp_path: Path) -> None:
    grid = grid_of(80)
    uri = write(tmp_path, "gpkg", in_crs(squares(2, 8), "EPSG:3857"), {"part": [1, 2, 3, 4]}, "EPSG:3857")
    raster = RasterSourceConfig(uris=["/a.tif"])
    whole = read_aoi(SceneConfig(id="a", raster=raster, aoi_uris=[uri]), grid, grid.extent)
    assert whole.bounds() == Window(0, 0, 17, 17)  # a thousandth of a pixel of tolerance
    some = [VectorAreaConfig(uri=uri, where="part = 4")]
    part = read_aoi(SceneConfig(id="a", raster=raster, aois=some), grid, grid.extent)
    assert part.selects(windows_over(Window(0, 0, 16, 16), size_px=8, stride_px=8), within=True).tolist() == [
        False
    ] * 3 + [True]


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "layer": ({"layer": "nothing"}, "has no layer 'nothing'", "layer"),
    "column": ({"class_property": "clas_id"}, "did you mean 'class_id'", "class_property"),
    "condition": ({"where": "year >"}, "the condition 'year >' cannot be used on", "where"),
    "unknown": ({"where": "size_of = 3"}, "size_of", "where"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("kind", ["gpkg", "fgb", "csv"])
def test_what_does_not_fit_the_file_is_said_of_its_field(tmp_path: Path, kind: str, wrong: str) -> None:
    options, text, field = WRONG[wrong]
    if wrong == "layer" and kind != "gpkg":
        return
    uri = write(tmp_path, kind, in_crs(squares(2, 8), UTM), {"class_id": [0, 1, 2, 0], "year": [1, 2, 3, 4]}, UTM)
    with pytest.raises(DataError) as failure:
        source_of(grid_of(80), uri=uri, **options, **crs_of(kind, UTM))
    block = failure.value.block
    assert text in f"{block.what} {block.why} {block.fix}"
    assert failure.value.field == field  # type: ignore[attr-defined]


def test_a_file_that_names_no_crs_needs_one(tmp_path: Path) -> None:
    uri = write(tmp_path, "shp", in_crs(squares(2, 8), UTM), {"class_id": [0, 1, 2, 0]}, None)
    assert not Path(uri).with_suffix(".prj").exists()
    with pytest.raises(DataError, match="a shapefile names no CRS") as failure:
        source_of(grid_of(80), uri=uri)
    assert failure.value.field == "crs"  # type: ignore[attr-defined]
    assert len(source_of(grid_of(80), uri=uri, crs=UTM).label_cells(8)[0]) == 4


def test_a_shapefile_without_its_parts_names_them(tmp_path: Path) -> None:
    uri = write(tmp_path, "shp", in_crs(squares(2, 8), UTM), {"class_id": [0, 1, 2, 0]}, UTM)
    Path(uri).with_suffix(".shx").unlink()
    with pytest.raises(DataError, match=r"\.shx of it is not beside it"):
        source_of(grid_of(80), uri=uri)


def test_a_table_without_a_place_names_its_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("class_id,east,north\n1,2,3\n")
    with pytest.raises(DataError, match="has no column that holds a place") as failure:
        source_of(grid_of(80), uri=str(tmp_path / "a.csv"))
    assert "class_id, east, north" in failure.value.block.why
    (tmp_path / "b.csv").write_text("class_id,lon,lat\n1,2,here\n")
    with pytest.raises(DataError, match="'lat' holds 'here' in row 2"):
        source_of(grid_of(80), uri=str(tmp_path / "b.csv"))
    (tmp_path / "c.csv").write_text("class_id,lon,lat\n1,2\n")
    with pytest.raises(DataError, match="row 2 has 2 fields"):
        source_of(grid_of(80), uri=str(tmp_path / "c.csv"))


def test_a_vector_file_for_the_class_of_geojson_says_what_it_is_and_what_to_use(tmp_path: Path) -> None:
    from rv_pipeline_chip_classification.vectors.geojson import read_geojson

    for kind, named in (
        ("gpkg", "a GeoPackage"),
        ("shp", "a shapefile"),
        ("parquet", "Parquet"),
        ("zip", "a zip"),
        ("csv", "no JSON"),
    ):
        uri = write(tmp_path, kind, in_crs(squares(2, 8), UTM), {"class_id": [0, 1, 2, 0]}, UTM)
        with pytest.raises(DataError, match=named) as failure:
            read_geojson(uri)
        assert "VectorLabelsConfig" in failure.value.block.fix


def gpkg_with(tmp_path: Path, *statements: str) -> str:
    uri = write(tmp_path, "gpkg", in_crs(squares(2, 8), UTM), {"class_id": [0, 1, 2, 0]}, UTM)
    database = sqlite3.connect(uri)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()
    return uri


def test_a_database_that_computes_or_names_other_files_is_not_opened(tmp_path: Path) -> None:
    endless = "CREATE VIEW v AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    with pytest.raises(DataError, match="holds the view 'v'"):
        source_of(grid_of(80), uri=gpkg_with(tmp_path, endless))
    (tmp_path / "b").mkdir()
    computed = "CREATE TABLE t (a INTEGER, b BLOB GENERATED ALWAYS AS (zeroblob(1000000000)))"
    with pytest.raises(DataError, match="a column of its table 't' is computed"):
        source_of(grid_of(80), uri=gpkg_with(tmp_path / "b", computed))
    (tmp_path / "c").mkdir()
    hidden = gpkg_with(
        tmp_path / "c",
        "PRAGMA writable_schema=ON",
        "INSERT INTO sqlite_master VALUES ('table', 'o', 'o', 0, 'CREATE VIRTUAL TABLE o USING VirtualOGR(''/etc/passwd'')')",
    )
    with pytest.raises(DataError, match="virtual table 'o'"):
        source_of(grid_of(80), uri=hidden)


def test_what_gdal_would_take_for_other_things_is_refused(tmp_path: Path) -> None:
    """A virtual data source and a chain of commands name other files; both are text that GDAL knows by its content."""
    virtual = "<OGRVRTDataSource><OGRVRTLayer name='a'><SrcDataSource>/etc/passwd</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
    chain = '{"type": "gdal_streamed_alg", "command_line": "gdal vector pipeline ! read /etc/passwd"}'
    for name, text in (("a.gpkg", virtual), ("a.shp", virtual), ("a.csv", virtual), ("a.fgb", chain), ("b.csv", chain)):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError):
            source_of(grid_of(80), uri=str(tmp_path / name))


def test_an_index_that_names_one_record_again_and_again_is_refused(tmp_path: Path) -> None:
    uri = write(tmp_path, "shp", in_crs(squares(2, 8), UTM), {"class_id": [0, 1, 2, 0]}, UTM)
    index = Path(uri).with_suffix(".shx")
    header, entries = index.read_bytes()[:100], index.read_bytes()[100:]
    index.write_bytes(header + entries[:8] * 100_000)
    with pytest.raises(DataError, match="names more bytes than it has"):
        source_of(grid_of(80), uri=uri)


def test_an_archive_of_several_files_asks_for_one_and_unpacks_no_more(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / "in", "shp", in_crs(squares(2, 8), UTM), {"class_id": [0, 1, 2, 0]}, UTM, name=name)
    path = tmp_path / "both.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for part in sorted((tmp_path / "in").iterdir()):
            archive.write(part, f"../../{part.name}")
    with pytest.raises(DataError, match="holds 2 vector files"):
        source_of(grid_of(80), uri=str(path))
    assert len(source_of(grid_of(80), uri=str(path), layer="two").label_cells(8)[0]) == 4
    assert len(source_of(grid_of(80), uri=f"zip://{path}!../../one.shp").label_cells(8)[0]) == 4


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_that_was_cut_short_is_one_error(tmp_path: Path, kind: str) -> None:
    uri = write(tmp_path, kind, in_crs(squares(20, 4), UTM), {"class_id": [0] * 400}, UTM)
    data = Path(uri).read_bytes()
    Path(uri).write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(DataError) as failure:
        source_of(grid_of(80), uri=uri, **crs_of(kind, UTM))
    assert failure.value.block.where == uri


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    uri = write(tmp_path, "fgb", in_crs(squares(2, 8), UTM), {"class_id": [0, 1, 2, 0]}, UTM)
    monkeypatch.setitem(sys.modules, "pyogrio", None)
    with pytest.raises(DataError, match="is read with pyogrio, which cannot be imported") as failure:
        source_of(grid_of(80), uri=uri)
    assert "[vector]" in failure.value.block.fix


def test_nothing_of_pyogrio_is_left_open(tmp_path: Path) -> None:
    assert pyogrio is not None
    uri = write(tmp_path, "gpkg", in_crs(squares(2, 8), UTM), {"class_id": [0, 1, 2, 0]}, UTM)
    source_of(grid_of(80), uri=uri)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.gpkg"]
