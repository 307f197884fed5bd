"""Cells in the formats that GIS programs open: the values of the GeoJSON in flat columns, in their place, the same bytes."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from rv_core.errors import DataError, UsageError
from rv_core.files.storage import Storage
from rv_pipeline_chip_classification import results
from rv_pipeline_chip_classification.maps.cell_layer import CellLayerWriter, LayerOf, score_columns
from rv_pipeline_chip_classification.maps.formats import ENDINGS, missing_modules
from rv_pipeline_chip_classification.maps.layer_file import boxes_as_wkb
from rv_pipeline_chip_classification.prediction.cell_file import CellWriter, cells_name, read_cells
from rv_pipeline_chip_classification.prediction.cell_scores import PredictionNames, ScoredCells, probabilities_of
from rv_pipeline_chip_classification.prediction.cell_windows import CellGrid
from rv_pipeline_chip_classification.prediction.geojson_file import GeoJsonWriter, read_predictions
from rv_pipeline_chip_classification.scenes.grid import Grid
from rv_pipeline_chip_classification.scenes.windows import Window

pyogrio = pytest.importorskip("pyogrio")
parquet = pytest.importorskip("pyarrow.parquet")

NAMES = ("forest", "Rock & ice", "rock & ice")
SIDE = 64


def make_grid() -> Grid:
    from rasterio.crs import CRS

    wkt = CRS.from_epsg(32612).to_wkt()
    return Grid(10 * SIDE, 10 * SIDE, (0.5, 0.0, 300_000.25, 0.0, -0.5, 4_154_085.0), wkt)


@pytest.fixture(scope="module")
def cells() -> list[ScoredCells]:
    """4,096 cells in portions; some without data, one unsure."""
    grid = CellGrid(Window(0, 0, 10 * SIDE, 10 * SIDE), 10, 10)
    rng = np.random.default_rng(0)
    scores = rng.dirichlet((1.0, 1.0, 1.0), grid.num_cells)
    ids = scores.argmax(axis=1)
    scores, ids[::7] = np.round(scores, 6).astype(np.float32), -1
    scores[::14] = np.nan
    fractions = np.where(np.isnan(scores[:, 0]), 0.0, 1.0)
    steps = [0, 1, 2000, grid.num_cells]
    return [
        ScoredCells(begin, grid.windows(begin, end), ids[begin:end], scores[begin:end], fractions[begin:end])
        for begin, end in pairwise(steps)
    ]


def write(path: Path, kind: str, cells: list[ScoredCells], grid: Grid) -> Path:
    if kind == "geojson":
        with path.open("w") as file:
            writer = GeoJsonWriter(file, grid, scene_id="s1", class_names=NAMES, where="s1")
            for some in cells:
                writer.write(some)
            writer.close()
    else:
        with CellLayerWriter(path, kind, LayerOf(grid, "s1", NAMES)) as layer:
            for some in cells:
                layer.write(some)
    return path


@pytest.fixture(scope="module")
def geojson(cells: list[ScoredCells], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("geojson") / "a.geojson", "geojson", cells, make_grid())


def read(path: Path, kind: str) -> tuple[dict[str, list[Any]], Any, str]:
    """Columns with None where there is no value, geometries, and the CRS, as programs read them."""
    if kind == "parquet":
        table = parquet.read_table(path)
        geo = json.loads(table.schema.metadata[b"geo"])["columns"]["geometry"]
        columns = table.to_pydict()
        return columns, shapely.from_wkb(columns.pop("geometry")), f"EPSG:{geo['crs']['id']['code']}"
    table_of = pyogrio.raw.read_arrow(path)
    columns = table_of[1].to_pydict()
    geometries = columns.pop(table_of[0]["geometry_name"] or "wkb_geometry")
    columns.pop("OGC_FID", None)
    return columns, shapely.from_wkb(geometries), table_of[0]["crs"]


@pytest.mark.parametrize("kind", ["geojsonseq", "gpkg", "fgb", "parquet"])
def test_a_layer_has_the_cells_of_the_geojson(
    kind: str, cells: list[ScoredCells], geojson: Path, tmp_path: Path
) -> None:
    grid = make_grid()
    path = write(tmp_path / f"a.{ENDINGS[kind]}", kind, cells, grid)
    columns, geometries, crs = read(path, kind)
    assert crs == ("EPSG:4326" if kind == "geojsonseq" else "EPSG:32612")
    features = json.loads(geojson.read_text())["features"]
    flat = [{**feature["properties"]} for feature in features]
    order = np.arange(len(flat))
    if kind == "fgb":  # it is sorted by where features lie
        left, bottom, *_ = shapely.bounds(geometries).T
        order = np.lexsort([left, -bottom])
    for name in ("class_id", "class_name"):
        assert [columns[name][place] for place in order] == [cell[name] for cell in flat]
    found = np.array([columns[name] for name in ("score", *score_columns(NAMES))], float).T[order]
    expected = np.array([[cell["score"], *(cell["scores"] or [None] * 3)] for cell in flat], float)
    np.testing.assert_allclose(found, expected, atol=1e-7)
    assert set(columns["scene"]) == {"s1"}
    assert list(columns) == ["class_id", "class_name", "score", *score_columns(NAMES), "valid_fraction", "scene"]
    if kind == "geojsonseq":
        boxes = shapely.from_geojson([json.dumps(feature["geometry"]) for feature in features])
        assert np.abs(shapely.get_coordinates(geometries) - shapely.get_coordinates(boxes)).max() <= 0.51e-7
        assert max(map(len, str(shapely.get_coordinates(geometries)[0, 0]).split("."))) <= 7
    else:
        first = shapely.box(300_000.25, 4_154_080, 300_005.25, 4_154_085)
        assert geometries[order[0]].equals(first)
        assert shapely.is_ccw(shapely.get_exterior_ring(geometries)).all()
    again = write(tmp_path / "again", kind, [*cells[:2], *_cut(cells[2])], grid)
    assert again.read_bytes() == path.read_bytes()


def _cut(cells: ScoredCells) -> list[ScoredCells]:
    return [ScoredCells(0, *(column[begin : begin + 1000] for column in cells[1:])) for begin in range(0, 3000, 1000)]


def test_geoparquet_takes_an_eighth_of_the_geojson(cells: list[ScoredCells], geojson: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", "parquet", cells, make_grid())
    assert 8 * path.stat().st_size <= geojson.stat().st_size


def test_an_image_without_a_crs_has_pixels(cells: list[ScoredCells], tmp_path: Path) -> None:
    grid = Grid(640, 640, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), None)
    path = write(tmp_path / "a.gpkg", "gpkg", cells[:1], grid)
    _, _, geometry, _ = pyogrio.raw.read(path)
    assert shapely.from_wkb(geometry)[0].bounds == (0, 0, 10, 10)


def test_outlines_turn_left_whatever_the_image_does() -> None:
    windows = np.array([[2, 3, 4, 5]])
    for transform in ((1.0, 0.0, 0.0, 0.0, -1.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (0.0, 2.0, 0.0, 2.0, 0.0, 0.0)):
        (box,) = shapely.from_wkb([record.tobytes() for record in boxes_as_wkb(windows, transform)])
        assert shapely.is_ccw(box.exterior)
        a, b, c, d, e, f = transform
        assert set(map(tuple, shapely.get_coordinates(box).tolist())) == {
            (a * col + b * row + c, d * col + e * row + f) for col in (3, 8) for row in (2, 6)
        }


def test_cells_for_other_commands_are_read_like_the_geojson(
    cells: list[ScoredCells], geojson: Path, storage: Storage
) -> None:
    names = PredictionNames("predict/s1")
    assert cells_name(storage, names) == names.geojson
    with storage.output_file(names.cells) as path, path.open("wb") as file:
        writer = CellWriter(file, SIDE**2, 3)
        for some in cells:
            writer.write(some)
    assert cells_name(storage, names) == names.cells
    path = storage.input_file(names.cells)
    expected = list(read_predictions(geojson, where="a"))
    # Only the GeoJSON has geometries.
    assert list(read_cells(path, where="a")) == [cell._replace(geometry=None) for cell in expected]
    assert list(read_cells(geojson, where="a")) == expected
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match="cannot be read"):
        list(read_cells(path, where="a"))


def test_cells_of_logits_are_kept_as_probabilities(storage: Storage) -> None:
    logits = np.array([[2.0, -1.0, 0.5]], np.float32)
    with storage.output_file("a") as path, path.open("wb") as file:
        writer = CellWriter(file, 1, 3, gives_logits=True)
        writer.write(ScoredCells(0, np.array([[0, 0, 1, 1]]), np.array([0]), logits, np.ones(1)))
    (cell,) = read_cells(storage.input_file("a"), where="a")
    assert cell.scores == pytest.approx(probabilities_of(logits)[0].tolist(), abs=1e-6)


def test_what_is_not_installed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing_modules("gpkg") == []
    monkeypatch.setitem(sys.modules, "pyogrio", None)
    with pytest.raises(DataError, match="'fgb' cannot be written: pyogrio cannot be imported"):
        CellLayerWriter(tmp_path / "a.fgb", "fgb", LayerOf(make_grid(), "s1", NAMES))


@pytest.mark.parametrize("kind", [kind for kind in ENDINGS if kind != "geojson"])
def test_results_are_those_of_geojson(
    kind: str, cells: list[ScoredCells], geojson: Path, storage: Storage, tmp_path: Path
) -> None:
    names = PredictionNames("predict/s1")
    with storage.output_file(names.vector(ENDINGS[kind])) as path:
        write(path, kind, cells, make_grid())
    with storage.output_file(names.cells) as path, path.open("wb") as file:
        writer = CellWriter(file, sum(len(some.windows) for some in cells), len(NAMES))
        for some in cells:
            writer.write(some)
    found = results(storage.root_uri)
    assert found.scene_ids == ["s1"]
    records = found.predictions("s1")
    assert records.crs == "EPSG:4326"
    features = json.loads(geojson.read_text())["features"]
    expected = [{**feature["properties"], "geometry": feature["geometry"]} for feature in features]
    if kind == "fgb":  # in an order of its own
        assert {record.pop("window") for record in records} == {None}
        records.sort(key=json.dumps)
        expected = sorted(({k: v for k, v in its.items() if k != "window"} for its in expected), key=json.dumps)
        # Of a dictionary, the order of keys is that of the file.
        assert [set(record) for record in records] == [set(its) for its in expected]
    for record, its in zip(records, expected, strict=True):
        ring, other = (np.array(one.pop("geometry")["coordinates"]) for one in (record, its))
        assert record == its
        assert np.abs(ring - other).max() <= (1e-7 if kind == "geojsonseq" else 1e-11)


def test_results_without_a_vector_file_say_what_to_set(storage: Storage) -> None:
    storage.write_bytes("predict/s1.cells.npy", b"")
    with pytest.raises(UsageError, match="in no vector file") as failure:
        results(storage.root_uri).predictions("s1")
    assert 'set predict.vector to "geojson"' in failure.value.block.fix
