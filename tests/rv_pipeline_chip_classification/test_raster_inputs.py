"""A scene's inputs are all the files that GDAL reads for it, so that its keys change when one of them does."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rv_pipeline_chip_classification.config import (
    ChipClassificationConfig,
    ClassConfig,
    ClassRasterLabelsConfig,
    DatasetConfig,
    RasterSourceConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.pipeline import ChipClassificationPipeline

NODATA = '<PAMDataset><PAMRasterBand band="1"><NoDataValue>0</NoDataValue></PAMRasterBand></PAMDataset>'


def pipeline_of(*images: str, labels: str | None = None) -> ChipClassificationPipeline:
    source = None if labels is None else ClassRasterLabelsConfig(uri=labels, class_values={1: "a"})
    scenes = [
        SceneConfig(id=f"s{number}", raster=RasterSourceConfig(uris=[image]), labels=source)
        for number, image in enumerate(images)
    ]
    config = ChipClassificationConfig(
        root_uri="/root", classes=ClassConfig(names=["a", "b"]), dataset=DatasetConfig(train_scenes=scenes)
    )
    return ChipClassificationPipeline(config)


def inputs_of(pipeline: ChipClassificationPipeline, command: str = "chip") -> list[str]:
    items = pipeline.items_of(command)
    if items is None:
        return pipeline.inputs(command, None)
    return [uri for members in items.values() for item in members for uri in pipeline.inputs(command, item)]


def test_images_without_side_files_have_the_inputs_that_they_had(write_image: Callable[..., str]) -> None:
    image, labels = (write_image(name, np.ones((8, 8), np.uint8)) for name in ("a.tif", "l.tif"))
    assert inputs_of(pipeline_of(image, labels=labels)) == [image, labels]


def test_side_files_of_images_and_class_rasters_are_inputs_of_every_command(write_image: Callable[..., str]) -> None:
    image, labels = (write_image(name, np.ones((8, 8), np.uint8)) for name in ("a.tif", "l.tif"))
    Path(f"{image}.aux.xml").write_text(NODATA)
    Path(f"{labels}.msk").write_bytes(b"1")
    expected = [image, f"{image}.aux.xml", labels, f"{labels}.msk"]
    pipeline = pipeline_of(image, labels=labels)
    assert inputs_of(pipeline) == expected
    assert inputs_of(pipeline, "train") == expected


class Server(http.server.SimpleHTTPRequestHandler):
    """Counts what it is asked for."""

    asked: list[str]

    def do_HEAD(self) -> None:
        self.asked.append(self.path)
        super().do_HEAD()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """(address of a server of the folder `web`, the paths asked for)."""
    (tmp_path / "web").mkdir()
    asked: list[str] = []
    handler = type("Handler", (Server,), {"asked": asked})
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *words: handler(*words, directory=str(tmp_path / "web"))
    ) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()
        thread.join()


def test_beside_remote_images_two_files_are_asked_for_once(served: tuple[str, list[str]], tmp_path: Path) -> None:
    address, asked = served
    (tmp_path / "web" / "b.tif.aux.xml").write_text(NODATA)
    images = [f"{address}/{name}.tif" for name in "ab"]
    pipeline = pipeline_of(*images)
    expected = [images[0], images[1], f"{images[1]}.aux.xml"]
    for _ in range(2):
        assert inputs_of(pipeline) == expected
        assert inputs_of(pipeline, "train") == expected
    assert sorted(asked) == ["/a.tif.aux.xml", "/a.tif.msk", "/b.tif.aux.xml", "/b.tif.msk"]


def test_the_inputs_are_found_without_gdal(write_image: Callable[..., str]) -> None:
    image = write_image("a.tif", np.ones((8, 8), np.uint8))
    code = (
        "import sys\n"
        "from rv_pipeline_chip_classification.raster_files.dataset_files import files_of\n"
        "import rv_pipeline_chip_classification.raster_inputs\n"
        "files_of(sys.argv[1])\n"
        "assert not {'rasterio', 'numpy', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, image], check=True, timeout=60)
