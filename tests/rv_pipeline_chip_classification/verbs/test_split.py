"""`rv split`: no two subsets nearer than the buffer, equal shares of the classes, and a table that is used as it is."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rv_core.cli.app import main
from rv_core.errors import UsageError
from rv_pipeline_chip_classification.verbs.splitting.cli import length_m, parse_shares

SIDE = 8
TILE_M, GAP_M = 1600.0, 100.0


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[float, float]]]:
    """64 tiles of 1.6 km, 100 m apart, half of them in the zone next to it; and the place of each in the first."""
    import rasterio
    from rasterio.warp import transform

    folder = tmp_path_factory.mktemp("tiles")
    (x0,), (y0,) = transform("EPSG:4326", "EPSG:32632", [12.0], [0.5])
    rng = np.random.default_rng(0)
    places, rows = {}, []
    for number in range(SIDE**2):
        row, col = divmod(number, SIDE)
        x, y = x0 + (col - SIDE / 2) * (TILE_M + GAP_M), y0 - row * (TILE_M + GAP_M)
        is_east = col >= SIDE // 2
        crs, left, top = "EPSG:32632", x, y
        if is_east:
            # On the equator both grids are parallel to a thousandth of a degree; scales differ by the seam's symmetry.
            crs = "EPSG:32633"
            (left,), (top,) = transform("EPSG:32632", crs, [x], [y])
        profile: dict[str, Any] = {
            "driver": "GTiff", "height": 16, "width": 16, "count": 1, "dtype": "uint8", "crs": crs,
            "transform": rasterio.Affine(100, 0, left, 0, -100, top),
        }  # fmt: skip
        values = rng.choice([1, 2, 3], (16, 16), p=[[0.6, 0.3, 0.1], [0.2, 0.3, 0.5]][number % 3 == 0])
        for kind in ("image", "labels"):
            with rasterio.open(folder / f"{kind}{number}.tif", "w", **profile) as file:
                file.write(values.astype(np.uint8), 1)
        rows.append([f"s{number}", f"image{number}.tif", f"labels{number}.tif", f"note {number}"])
        places[f"s{number}"] = (x, y)
    with open(folder / "scenes.csv", "w", newline="") as file:
        csv.writer(file).writerows([["scene_id", "image", "labels", "note"], *rows])
    classes = [{"id": value, "name": name} for value, name in enumerate(("forest", "shrub", "rock"), 1)]
    (folder / "classes.json").write_text(json.dumps({"classes": classes}))
    return folder, places


def gap_m(one: tuple[float, float], other: tuple[float, float]) -> float:
    dx, dy = (max(0.0, abs(a - b) - TILE_M) for a, b in zip(one, other, strict=True))
    return math.hypot(dx, dy)


def test_no_pair_is_nearer_than_the_buffer_and_shares_are_within_ten_percent(
    tiles: tuple[Path, dict[str, tuple[float, float]]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, places = tiles
    words = ["split", str(folder / "scenes.csv"), "--blocks", "3.4km", "--buffer", "200m", "--json"]
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    subsets = {scene_id: subset for scene_id, subset in report["subsets"].items() if subset}
    nearest_m = min(
        gap_m(places[one], places[other])
        for one, subset in subsets.items()
        for other, its in subsets.items()
        if subset != its
    )
    assert nearest_m > 200
    assert len(subsets) >= 30
    for shares in report["shares"].values():
        for name, wanted in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
            assert shares[name] == pytest.approx(wanted, abs=0.1)
    with open(folder / "scenes.split.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["scene_id", "image", "labels", "note", "split"]
    assert {row["scene_id"]: row["split"] for row in rows if row["split"]} == subsets
    assert [row["image"] for row in rows] == [f"image{number}.tif" for number in range(SIDE**2)]


def test_the_table_is_shown_with_what_is_left_out_and_found_from_another_folder(
    tiles: tuple[Path, dict[str, tuple[float, float]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = tiles
    target = tmp_path / "elsewhere" / "table.csv"
    words = ["split", str(folder / "scenes.csv"), "--blocks", "30km", "--buffer", "150", "-o", str(target)]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "train (60%)" in out
    assert "left out, for they lie inside the buffer of another subset" in out
    with open(target, newline="") as file:
        rows = list(csv.DictReader(file))
    assert all((target.parent / row[kind]).resolve().exists() for row in rows for kind in ("image", "labels"))


def test_polygons_count_by_area_and_scenes_without_a_place_are_told(
    write_image: Callable[..., str], write_labels: Callable[..., str], square: Any, tmp_path: Path, capsys: Any
) -> None:
    pixels = np.ones((32, 32), np.uint8)
    rows = []
    for number in range(2):
        origin = (500_000.0 + 5000 * number, 4_500_000.0)
        write_image(f"{number}.tif", pixels, origin=origin)
        half = (square(0, 0, 16, 40), {"class_name": "field"})
        write_labels(f"{number}.geojson", [half], origin=origin)
        rows.append(f"s{number},{number}.tif,{number}.geojson")
    table = tmp_path / "scenes.csv"
    table.write_text("\n".join(["scene_id,image,labels", *rows]))
    assert main(["split", str(table), "--blocks", "1km", "--shares", "0.5,0,0.5"]) == 0
    assert "field         50.0%        0.0%      50.0%" in capsys.readouterr().out
    write_image("nowhere.tif", pixels, crs=None)
    table.write_text("scene_id,image,labels\na,nowhere.tif,\nb,none.tif,")
    assert main(["split", str(table), "--blocks", "1km"]) == 1
    err = capsys.readouterr().err
    assert "2 of 2 scenes cannot be used" in err
    assert "a: the image has no place on Earth" in err


def test_tables_and_words_that_make_no_sense_are_refused(tmp_path: Path, capsys: Any) -> None:
    table = tmp_path / "scenes.csv"
    table.write_text("id,image\na,b.tif\n")
    assert main(["split", str(table), "--blocks", "5km"]) == 2
    assert "it has no column scene_id" in capsys.readouterr().err
    table.write_text("scene_id,image\na,b.tif\na,c.tif\n")
    assert main(["split", str(table), "--blocks", "5km"]) == 2
    assert "row 3: scene_id 'a' is there already" in capsys.readouterr().err
    assert length_m("1.5 km", "--blocks") == 1500
    for text in ("5 miles", "-1km", ""):
        with pytest.raises(UsageError):
            length_m(text, "--blocks")
    for text in ("0.5,0.5", "0.5,0.5,0.5", "a,b,c", "1.2,-0.1,-0.1"):
        with pytest.raises(UsageError):
            parse_shares(text)


def test_a_table_never_replaces_the_one_that_it_is_made_of(tmp_path: Path, capsys: Any) -> None:
    table = tmp_path / "scenes.csv"
    table.write_text("scene_id,image\na,b.tif\n")
    (tmp_path / "link.csv").symlink_to(table)
    for name in ("scenes.csv", "link.csv"):
        assert main(["split", str(table), "--blocks", "5km", "-o", str(tmp_path / name)]) == 2
        assert "would replace the one that it is made of" in capsys.readouterr().err
    assert table.read_text() == "scene_id,image\na,b.tif\n"


def test_a_table_that_no_csv_reader_takes_is_one_error(tmp_path: Path, capsys: Any) -> None:
    table = tmp_path / "scenes.csv"
    table.write_text(f"scene_id,image\na,{'x' * 200_000}\n")
    assert main(["split", str(table), "--blocks", "1km"]) == 2
    err = capsys.readouterr().err
    assert "no table of scenes" in err and "Traceback" not in err
