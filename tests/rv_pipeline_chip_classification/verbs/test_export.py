"""`rv export`: all maps in one layer or mosaic, and no ground twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely

from rv_core.cli.app import main
from rv_pipeline_chip_classification.prediction.cell_scores import ScoredCells
from rv_pipeline_chip_classification.prediction.cell_windows import CellGrid
from rv_pipeline_chip_classification.prediction.geotiff_file import GridRasterWriter
from rv_pipeline_chip_classification.scenes.grid import Grid
from rv_pipeline_chip_classification.scenes.windows import Window

pyogrio = pytest.importorskip("pyogrio")
parquet = pytest.importorskip("pyarrow.parquet")

NAMES, COLORS = ("forest", "shrub", "rock"), ("#1c6330", "#ccba7c", "#b2ada3")
LEFT, TOP, CELL_M = 500_000.0, 4_500_000.0, 10.0


def write_map(
    folder: Path, name: str, ids: Any, *, row: float = 0, col: float = 0, crs: str | None = "EPSG:32618"
) -> None:
    """A map of 10 m cells whose first one is so many cells below and right of a common corner; -1 has no class."""
    ids = np.array(ids, np.int64)
    wkt = None if crs is None else rasterio.crs.CRS.from_user_input(crs).to_wkt()
    grid = Grid(*ids.shape, (CELL_M, 0.0, LEFT + CELL_M * col, 0.0, -CELL_M, TOP - CELL_M * row), wkt)
    cells = CellGrid(Window(0, 0, *ids.shape), 1, 1)
    scores = np.full((ids.size, 3), 0.1, np.float32)
    scores[np.arange(ids.size), ids.ravel()] = 0.8
    scores[ids.ravel() < 0] = np.nan
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"{name}.tif", folder / f"{name}.scores.tif"
    with GridRasterWriter(*paths, cells, grid, class_names=NAMES, class_colors=COLORS) as writer:
        windows = cells.windows(0, ids.size)
        writer.write(ScoredCells(0, windows, ids.ravel(), scores, np.ones(ids.size)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two maps on one grid that share 2 x 2 cells, of which the first has one without a class."""
    write_map(tmp_path / "root" / "predict", "a", [[0, 0, 0], [0, 1, 1], [0, 1, -1]])
    write_map(tmp_path / "root" / "predict", "b", [[2, 2, 2], [2, 2, 2], [2, 0, 0]], row=1, col=1)
    return tmp_path / "root"


MERGED = [[0, 0, 0, -1], [0, 1, 1, 2], [0, 1, 2, 2], [-1, 2, 0, 0]]


def test_cells_of_overlapping_maps_are_there_once(root: Path, tmp_path: Path, capsys: Any) -> None:
    assert main(["export", str(root), "-o", str(tmp_path / "map.parquet")]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/map.parquet: 14 cells of 2 maps\n"
    table = parquet.read_table(tmp_path / "map.parquet")
    geo = json.loads(table.schema.metadata[b"geo"])["columns"]["geometry"]
    assert geo["crs"]["id"] == {"authority": "EPSG", "code": 32618}
    columns = table.to_pydict()
    places = shapely.bounds(shapely.from_wkb(columns["geometry"]))
    assert set(shapely.area(shapely.from_wkb(columns["geometry"])).tolist()) == {100.0}
    found = np.full((4, 4), -1)
    cols, rows = ((places[:, 0] - LEFT) / CELL_M).astype(int), ((TOP - places[:, 3]) / CELL_M).astype(int)
    assert len(set(zip(rows, cols, strict=True))) == 14
    found[rows, cols] = columns["class_id"]
    assert found.tolist() == MERGED
    assert columns["class_name"][0] == "forest"
    assert columns["score"] == pytest.approx([0.8] * 14)
    assert sorted(columns["scene"]) == ["a"] * 8 + ["b"] * 6
    assert "score_rock" in columns
    assert (tmp_path / "map.qml").exists()


def test_a_mosaic_has_the_same_cells_and_its_legend(root: Path, tmp_path: Path, capsys: Any) -> None:
    assert main(["export", str(root), "-o", str(tmp_path / "map.tif")]) == 0
    assert "mosaic of 4 x 4 cells of 2 maps" in capsys.readouterr().out
    with rasterio.open(tmp_path / "map.tif") as file:
        assert np.where(file.read(1) == 255, -1, file.read(1).astype(int)).tolist() == MERGED
        assert file.crs.to_epsg() == 32618
        assert file.transform[:6] == (CELL_M, 0, LEFT, 0, -CELL_M, TOP)
        assert file.colormap(1)[0][:3] == (0x1C, 0x63, 0x30)
        assert file.tags(1)["class_2"] == "rock"
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert (tmp_path / "map.tif.aux.xml").exists()


def test_adjacent_cells_of_a_class_become_one_polygon(root: Path, tmp_path: Path) -> None:
    line = ["export", str(root), "-o", str(tmp_path / "map.gpkg"), "--dissolve"]
    assert main(line) == 0
    first = (tmp_path / "map.gpkg").read_bytes()
    (tmp_path / "map.gpkg").write_bytes(b"somebody's")
    assert main(line) == 2
    assert (tmp_path / "map.gpkg").read_bytes() == b"somebody's"
    assert main([*line, "--overwrite"]) == 0
    assert (tmp_path / "map.gpkg").read_bytes() == first, "the same cells are the same bytes"
    meta, table = pyogrio.raw.read_arrow(tmp_path / "map.gpkg")
    columns = table.to_pydict()
    shapes = shapely.from_wkb(columns[meta["geometry_name"]])
    assert meta["crs"] == "EPSG:32618"
    found = sorted(zip(columns["class_name"], columns["num_cells"], shapely.area(shapes).tolist(), strict=True))
    expected = [("forest", 2, 200.0), ("forest", 5, 500.0), ("rock", 1, 100.0), ("rock", 3, 300.0), ("shrub", 3, 300.0)]
    assert found == expected
    assert shapely.is_ccw(shapely.get_exterior_ring(shapes)).all()
    assert shapely.area(shapely.union_all(shapes)) == 1400.0


def test_maps_of_other_pixels_and_crss_are_laid_onto_the_first(root: Path, tmp_path: Path) -> None:
    write_map(root / "predict", "c", np.full((6, 6), 2), row=-1.3, col=-0.6)
    assert main(["export", str(root), "-o", str(tmp_path / "map.fgb"), "--scene", "[ac]"]) == 0
    meta, table = pyogrio.raw.read_arrow(tmp_path / "map.fgb")
    columns = table.to_pydict()
    shapes = shapely.from_wkb(columns[meta["geometry_name"] or "wkb_geometry"])
    first = [shape for shape, scene in zip(shapes, columns["scene"], strict=True) if scene == "a"]
    others = [shape for shape, scene in zip(shapes, columns["scene"], strict=True) if scene == "c"]
    assert len(first) == 8
    ground = shapely.union_all(first)
    assert not any(ground.covers(shapely.centroid(other)) for other in others)
    assert len(others) == 36 - 8
    assert main(["export", str(root), "-o", str(tmp_path / "map.tif"), "--scene", "[ac]"]) == 0
    with rasterio.open(tmp_path / "map.tif") as file:
        ids = file.read(1)
        row, col = file.index(LEFT + 5, TOP - 5)
        assert ids[row : row + 3, col : col + 3].tolist() == [[0, 0, 0], [0, 1, 1], [0, 1, 2]]
        assert (ids[1:6, 1:6] != 255).all()


def test_what_cannot_be_merged_is_told(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*words: str, code: int = 2) -> str:
        assert main(["export", *words]) == code
        return " ".join(capsys.readouterr().err.split())

    assert "no format that maps are exported to" in told(str(root), "-o", "map.docx")
    assert "--dissolve makes polygons" in told(str(root), "-o", "map.tif", "--dissolve")
    assert "there is no map of classes" in told(str(root), "-o", str(tmp_path / "m.tif"), "--scene", "x*")
    assert "there is no map of classes" in told(str(tmp_path / "none"), "-o", str(tmp_path / "m.tif"))
    write_map(root / "predict", "d", [[0]], crs=None)
    assert "d has no CRS" in told(str(root), "-o", str(tmp_path / "m.tif"), code=1)
    assert not list(tmp_path.glob("m.*"))
    (root / "predict" / "d.tif").write_bytes(b"II*" + bytes(50))
    found = told(str(root), "-o", str(tmp_path / "m.tif"), code=1)
    assert "d.tif" in found and "cannot be read" in found and "File" not in found
    (root / "predict" / "d.tif").unlink()
    before = (root / "predict" / "a.tif").read_bytes()
    assert "cannot lie among the maps" in told(str(root), "-o", str(root / "predict" / "a.tif"))
    assert (root / "predict" / "a.tif").read_bytes() == before
