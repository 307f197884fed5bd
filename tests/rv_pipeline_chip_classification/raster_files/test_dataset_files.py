"""All the files of a raster: found by name and XML for the plan, and nothing else is opened."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from rv_core.errors import DataError
from rv_core.files import uris
from rv_pipeline_chip_classification.config import RasterSourceConfig
from rv_pipeline_chip_classification.raster_files.dataset_files import (
    files_of,
    has_more_than_statistics,
    named_in,
    remote_side_files,
)
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster

WriteImage = Callable[..., str]
STATISTICS = (
    '<PAMDataset><PAMRasterBand band="1"><Histograms><HistItem/></Histograms><Metadata>'
    '<MDI key="STATISTICS_MEAN">3</MDI></Metadata></PAMRasterBand></PAMDataset>'
)


def names(found: list[str]) -> list[str]:
    return [Path(uri).name for uri in found]


def source(name: str, *, tag: str = "SourceFilename", relative: int = 1) -> str:
    return f'<SimpleSource><{tag} relativeToVRT="{relative}">{name}</{tag}><SourceBand>1</SourceBand></SimpleSource>'


def virtual(content: str, *, band: str = "", dataset: str = "") -> str:
    return (
        f'<VRTDataset rasterXSize="8" rasterYSize="8"{dataset}><SRS>EPSG:32618</SRS>'
        f"<GeoTransform>500000, 1, 0, 4500000, 0, -1</GeoTransform>"
        f'<VRTRasterBand dataType="Byte" band="1"{band}>{content}</VRTRasterBand></VRTDataset>'
    )


def opened(uri: str) -> np.ndarray:
    with SceneRaster(RasterSourceConfig(uris=[uri]), "s") as raster:
        return raster.read(raster.extent).values


def test_side_files_are_found_in_any_case_and_only_where_they_are(write_image: WriteImage, tmp_path: Path) -> None:
    image = write_image("a.tif", np.ones((8, 8), np.uint8))
    write_image("ab.tif", np.ones((8, 8), np.uint8))
    assert files_of(image) == []
    for name in ("a.tif.msk", "a.TFW", "a.wld", "a.tif.aux.xml", "a.tif.ovr", "a.prj"):
        (tmp_path / name).write_text("<PAMDataset><SRS>EPSG:4326</SRS></PAMDataset>")
    assert names(files_of(image)) == ["a.tif.aux.xml", "a.tif.msk", "a.wld", "a.TFW"]
    assert names(files_of(f"file://{image}")) == names(files_of(image))
    (tmp_path / "b.dat").write_bytes(b"1")
    (tmp_path / "b.hdr").write_text("ENVI")
    assert names(files_of(str(tmp_path / "b.dat"))) == ["b.hdr"]


def test_statistics_of_a_viewer_are_no_input(write_image: WriteImage) -> None:
    image = write_image("a.tif", np.ones((8, 8), np.uint8))
    Path(f"{image}.aux.xml").write_text(STATISTICS)
    assert files_of(image) == []
    changed = STATISTICS.replace("<Histograms>", "<NoDataValue>0</NoDataValue><Histograms>")
    Path(f"{image}.aux.xml").write_text(changed)
    assert names(files_of(image)) == ["a.tif.aux.xml"]
    assert has_more_than_statistics(b"no xml")


def test_sources_of_virtual_datasets_are_inputs_with_their_side_files(write_image: WriteImage, tmp_path: Path) -> None:
    array = np.arange(64, dtype=np.uint8).reshape(8, 8)
    image = write_image("in/a.tif", array)
    Path(f"{image}.aux.xml").write_text("<PAMDataset><Metadata><MDI key='x'>1</MDI></Metadata></PAMDataset>")
    (tmp_path / "one.vrt").write_text(virtual(source("in/a.tif")))
    (tmp_path / "two.vrt").write_text(virtual(source("one.vrt")))
    assert names(files_of(str(tmp_path / "two.vrt"))) == ["one.vrt", "a.tif", "a.tif.aux.xml"]
    assert (opened(str(tmp_path / "two.vrt"))[..., 0] == array).all()


def test_a_variable_stays_in_the_names_of_further_files(
    write_image: WriteImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA", str(tmp_path))
    write_image("a.tif", np.ones((8, 8), np.uint8))
    (tmp_path / "a.tif.msk").write_bytes(b"1")
    (tmp_path / "a.vrt").write_text(virtual(source("a.tif")))
    assert files_of("${DATA}/a.tif") == ["${DATA}/a.tif.msk"]
    assert "${DATA}/a.tif" in files_of("${DATA}/a.vrt")


def test_what_is_asked_for_beside_a_remote_image_is_little() -> None:
    assert remote_side_files("https://h/x/a.tif") == ["https://h/x/a.tif.aux.xml", "https://h/x/a.tif.msk"]
    assert remote_side_files("https://h/a.tif?x=1") == []
    assert "https://h/a.pgw" in remote_side_files("https://h/a.png")


REFUSED = {
    "raw band": virtual(
        '<SourceFilename relativeToVRT="0">/etc/passwd</SourceFilename>', band=' subClass="VRTRawRasterBand"'
    ),
    "pixel function": virtual(source("a.tif"), band=' subClass="VRTDerivedRasterBand"'),
    "code": virtual(source("a.tif") + "<PixelFunctionCode>import os</PixelFunctionCode>"),
    "chain": virtual(source("a.tif"), dataset=' subClass="VRTProcessedDataset"'),
    "web": virtual(source("/vsicurl/http://127.0.0.1:1/a.tif", relative=0)),
    "address": virtual(source("http://127.0.0.1:1/a.tif", relative=0)),
    "service": virtual(source("WMS:http://127.0.0.1:1/?LAYERS=a", relative=0)),
    "document": virtual(source("&lt;GDAL_WMS/&gt;", relative=0)),
    "standard input": virtual(source("/vsistdin/", relative=0)),
    "working folder": virtual(source("a.tif", relative=0)),
    "crs": virtual(source("a.tif")).replace("EPSG:32618", "http://127.0.0.1:1/crs.wkt"),
    "no xml": "VRTDataset",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_a_virtual_dataset_that_reads_anything_else_is_refused(
    write_image: WriteImage, tmp_path: Path, text: str
) -> None:
    write_image("a.tif", np.ones((8, 8), np.uint8))
    (tmp_path / "x.vrt").write_text(text)
    with pytest.raises(DataError, match="scene 's' cannot be opened"):
        opened(str(tmp_path / "x.vrt"))
    assert files_of(str(tmp_path / "x.vrt")) == []


def test_a_missing_source_of_a_virtual_dataset_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.vrt").write_text(virtual(source("gone.tif")))
    with pytest.raises(DataError, match=r"x\.vrt names .*gone\.tif") as raised:
        opened(str(tmp_path / "x.vrt"))
    assert "there is no such file" in str(raised.value)
    assert "download" not in str(raised.value)


def test_a_source_that_is_no_raster_by_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("<GDAL_WMS><Service name='WMS'/></GDAL_WMS>")
    (tmp_path / "x.vrt").write_text(virtual(source("a.tif")))
    with pytest.raises(DataError, match="services") as raised:
        opened(str(tmp_path / "x.vrt"))
    assert "a.tif" in str(raised.value)


@pytest.mark.parametrize("content", ["<GDAL_WMS/>", '{"type": "x"}', virtual(source("b.tif"))])
def test_a_description_by_the_name_of_an_image_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.tif").write_text(content)
    with pytest.raises(DataError, match=r"services|ends in \.vrt"):
        opened(str(tmp_path / "a.tif"))


def test_stores_stay_apart() -> None:
    text = virtual(source("../b/a.tif")).encode()
    assert named_in(text, "https://h/x/y.vrt") == ["https://h/b/a.tif"]
    same = virtual(source("/vsis3/bucket/k/a.tif", relative=0)).encode()
    assert named_in(same, "s3://bucket/x.vrt") == ["s3://bucket/k/a.tif"]
    for name in ("/vsis3/other/a.tif", "/etc/a.tif", "/vsicurl/https://h/a.tif"):
        with pytest.raises(DataError):
            named_in(virtual(source(name, relative=0)).encode(), "s3://bucket/x.vrt")
    with pytest.raises(DataError, match="above its store"):
        named_in(virtual(source("../../../../a.tif")).encode(), "https://h/x/y.vrt")


def test_a_variable_of_a_container_is_read_through_a_virtual_dataset(write_image: WriteImage, tmp_path: Path) -> None:
    array = np.full((8, 8, 2), 5, np.uint8)
    rasterio.shutil.copy(write_image("a.tif", array), tmp_path / "two.nc", driver="netCDF")
    (tmp_path / "x.vrt").write_text(virtual(source(f'NETCDF:"{tmp_path}/two.nc":Band1', relative=0)))
    assert (opened(str(tmp_path / "x.vrt")) == 5).all()
    assert names(files_of(str(tmp_path / "x.vrt"))) == ["two.nc"]


@pytest.mark.parametrize("name", ["a.tif", "b.tif.aux.xml", "c.tif"])
def test_pipes_are_not_waited_for(write_image: WriteImage, tmp_path: Path, name: str) -> None:
    write_image("b.tif", np.ones((8, 8), np.uint8))
    os.mkfifo(tmp_path / name)
    (tmp_path / "x.vrt").write_text(virtual(source("c.tif")))
    uri = tmp_path / {"a.tif": "a.tif", "b.tif.aux.xml": "b.tif", "c.tif": "x.vrt"}[name]
    code = (
        "import sys; from rv_core.errors import DataError\n"
        "from rv_pipeline_chip_classification.config import RasterSourceConfig\n"
        "from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster\n"
        "try: SceneRaster(RasterSourceConfig(uris=[sys.argv[1]]), 's')\n"
        "except DataError as err: print(err)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, uri], capture_output=True, text=True, timeout=60, check=True)
    assert "no plain file" in done.stdout


@pytest.mark.parametrize(
    "uri",
    ["file:///vsicurl/http://127.0.0.1:1/a.tif", "file:///%76sicurl/http://127.0.0.1:1/a.tif", "zip:///vsicurl/h!a"],
)
def test_paths_of_gdal_are_refused_however_they_are_spelt(uri: str) -> None:
    if uri.startswith("file"):
        assert "GDAL path" in (uris.problem_with(uri) or "")
    with pytest.raises(DataError, match="GDAL path"):
        opened(uri)
