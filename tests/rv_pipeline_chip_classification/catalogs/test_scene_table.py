"""Scenes from a table: columns, files from its folder on, and everything that is wrong at once."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from rv_core.errors import ConfigError
from rv_pipeline_chip_classification import (
    ClassRasterLabelsConfig,
    GeoJsonLabelsConfig,
    RasterSourceConfig,
    VectorLabelsConfig,
    scenes_from_table,
)

TEXT = """id,image,labels,aoi,subset,nodata,bbox,cloud
a,images/a.tif,a.geojson,x.gpkg;/y.shp,train,0,,12
b,images/b1.tif;images/b2.tif,labels/b.gpkg,,val,,0 0 64 32,
,s3://bucket/c.tif,,,test,,,
d,d.tif,,,,,,
"""


def write(tmp_path: Path, text: str, name: str = "scenes.csv") -> str:
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)


def test_rows_are_scenes_of_their_subset(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        dataset = scenes_from_table(write(tmp_path, TEXT))
    assert "left out: cloud" in caplog.text
    (a,), (b,), (c,) = dataset.train_scenes, dataset.validation_scenes, dataset.test_scenes
    assert (a.id, a.raster.uris, a.raster.nodata) == ("a", [f"{tmp_path}/images/a.tif"], 0.0)
    assert a.labels == GeoJsonLabelsConfig(uri=f"{tmp_path}/a.geojson")
    assert a.aoi_uris == [f"{tmp_path}/x.gpkg", "/y.shp"]
    assert (b.raster.uris, b.raster.bbox) == (
        [f"{tmp_path}/images/b1.tif", f"{tmp_path}/images/b2.tif"],
        [0, 0, 64, 32],
    )
    assert b.labels == VectorLabelsConfig(uri=f"{tmp_path}/labels/b.gpkg")
    assert (c.id, c.raster.uris, c.labels) == ("c", ["s3://bucket/c.tif"], None)


def test_what_is_said_of_labels_and_images_holds_for_every_row(tmp_path: Path) -> None:
    text = "scene_id;image;labels\na;a.tif;a-labels.tif\n"
    labels = ClassRasterLabelsConfig(uri="", class_values={1: "forest"})
    raster = RasterSourceConfig(uris=[], channel_order=[2, 1, 0])
    (scene,) = scenes_from_table(write(tmp_path, text), labels=labels, raster=raster).train_scenes
    assert scene.labels == ClassRasterLabelsConfig(uri=f"{tmp_path}/a-labels.tif", class_values={1: "forest"})
    assert scene.raster == RasterSourceConfig(uris=[f"{tmp_path}/a.tif"], channel_order=[2, 1, 0])


def test_a_table_is_named_from_the_working_folder_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "image\n../a.tif\n")
    monkeypatch.chdir(tmp_path)
    assert scenes_from_table("scenes.csv").train_scenes[0].raster.uris == [f"{tmp_path.parent}/a.tif"]


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = "image,labels,subset,nodata\n,x.geojson,train,\na.tif,,dev,\nb.tif,b.tif,test,\nc.tif,,test,none\n"
    with pytest.raises(ConfigError) as failure:
        scenes_from_table(write(tmp_path, text))
    told = {finding.where: finding.what for finding in failure.value.block.findings}
    assert list(told) == ["row 2", "row 3", "row 4", "row 5"]
    assert "names no image" in told["row 2"]
    assert "'dev' is no subset" in told["row 3"]
    assert "ClassRasterLabelsConfig" in told["row 4"]
    assert "'none' is no number" in told["row 5"]


@pytest.mark.parametrize(
    ("text", "told"),
    [("imgae,labels\na.tif,\n", "did you mean 'image'"), ("uri\na.tif\n", "there are uri"), ("", "there are none")],
)
def test_columns_that_are_not_known_are_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as failure:
        scenes_from_table(write(tmp_path, text))
    assert told in str(failure.value.block.findings)


def test_parquet_and_geopackage_are_tables_too(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pyogrio = pytest.importorskip("pyogrio")
    import numpy as np

    columns = {
        "image": ["a.tif", "b.tif"],
        "subset": ["train", "test"],
        "nodata": [0.0, None],
        "geometry": [b"x", b"y"],
    }
    pq.write_table(pa.table(columns), tmp_path / "scenes.parquet")
    arrays = [np.array(columns["image"], object), np.array(columns["subset"], object), np.array([0.0, np.nan])]
    path = str(tmp_path / "scenes.gpkg")
    pyogrio.raw.write(path, None, arrays, ["image", "subset", "nodata"], driver="GPKG", layer="scenes")
    expected = scenes_from_table(write(tmp_path, "image,subset,nodata\na.tif,train,0\nb.tif,test,\n"))
    assert scenes_from_table(str(tmp_path / "scenes.parquet")) == expected
    assert scenes_from_table(path) == expected
