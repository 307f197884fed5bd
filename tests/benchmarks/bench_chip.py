"""What `chip` costs beside reading every block once with bare rasterio and writing the same bytes.

The budget is 2.5 times that CPU time: labels, list of chips and hashes included, at any stride, with surroundings or without. And whether its memory
stays the same when a scene gets more rows.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from measurement import Report, interleaved, main, usage_of
from rasterio.warp import transform
from rasterio.windows import Window as RasterWindow

from rv_core.files.storage import Storage
from rv_pipeline_chip_classification import (
    ChipConfig,
    ClassConfig,
    ClassRasterLabelsConfig,
    GeoJsonLabelsConfig,
    LabelsConfig,
    RasterSourceConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.commands.chip import chip_scene

LIMIT = 2.5
SIDE_PX, CELL_PX, BLOCK_PX, NUM_CHANNELS = 2048, 64, 256, 4
#: Labels, and the sides of a window, of its step and of its context in pixels.
CASES = (
    ("polygons", 64, 64, 0),
    ("polygons", 64, 32, 0),
    ("polygons", 64, 16, 0),
    ("polygons", 64, 8, 0),
    ("polygons", 64, 64, 64),
    ("polygons", 64, 8, 64),
    ("outlines", 64, 64, 0),
    ("outlines", 64, 16, 0),
    ("outlines", 32, 16, 64),
    ("raster", 64, 64, 0),
    ("raster", 64, 16, 0),
)
MEMORY_LIMIT = 1.1
NAMES = ["forest", "shrub", "rock", "water"]


def write_scene(folder: Path) -> dict[str, LabelsConfig]:
    """A tiled, deflated GeoTIFF of 4 x uint16 with three kinds of labels.

    A polygon per cell; five hundred round outlines in longitude and latitude; a class raster on the image's grid.
    """
    rng = np.random.default_rng(0)
    cells = rng.integers(0, len(NAMES), (SIDE_PX // CELL_PX, SIDE_PX // CELL_PX))
    pixels = np.kron(cells, np.ones((CELL_PX, CELL_PX), int))
    image = 2000 + 900 * pixels + rng.normal(0, 150, (NUM_CHANNELS, SIDE_PX, SIDE_PX))
    profile = {
        "driver": "GTiff", "height": SIDE_PX, "width": SIDE_PX, "crs": "EPSG:32618",
        "transform": rasterio.Affine(1, 0, 500_000, 0, -1, 4_500_000), "tiled": True, "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX, "compress": "deflate",
    }  # fmt: skip
    with rasterio.open(folder / "image.tif", "w", count=NUM_CHANNELS, dtype="uint16", **profile) as file:
        file.write(image.astype(np.uint16))
    with rasterio.open(folder / "labels.tif", "w", count=1, dtype="uint8", **profile) as file:
        file.write((pixels + 1).astype(np.uint8), 1)
    (folder / "labels.geojson").write_text(json.dumps(cell_polygons(cells)))
    (folder / "outlines.geojson").write_text(json.dumps(outlines(rng)))
    values = {index + 1: name for index, name in enumerate(NAMES)}
    return {
        "polygons": GeoJsonLabelsConfig(uri=str(folder / "labels.geojson")),
        "outlines": GeoJsonLabelsConfig(
            uri=str(folder / "outlines.geojson"), background_class=NAMES[0], use_intersection_over_cell=True
        ),
        "raster": ClassRasterLabelsConfig(uri=str(folder / "labels.tif"), class_values=values),
    }


def cell_polygons(cells: np.ndarray) -> dict[str, object]:
    """One polygon per cell, in the image's CRS."""
    features = []
    for (row, col), class_id in np.ndenumerate(cells):
        left, top = 500_000 + col * CELL_PX, 4_500_000 - row * CELL_PX
        right, bottom = left + CELL_PX, top - CELL_PX
        ring = [[left, top], [left, bottom], [right, bottom], [right, top], [left, top]]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        features.append({"type": "Feature", "properties": {"class_id": int(class_id)}, "geometry": geometry})
    crs = {"type": "name", "properties": {"name": "EPSG:32618"}}
    return {"type": "FeatureCollection", "crs": crs, "features": features}


def outlines(rng: np.random.Generator) -> dict[str, object]:
    """Five hundred polygons of 33 corners, 20 to 120 px wide, in EPSG:4326."""
    angles = np.linspace(0, 2 * np.pi, 33)
    features = []
    for x, y, radius in zip(*rng.uniform(0, SIDE_PX, (2, 500)), rng.uniform(10, 60, 500), strict=True):
        xs, ys = 500_000 + x + radius * np.cos(angles), 4_500_000 - y + radius * np.sin(angles)
        ring = np.column_stack(transform("EPSG:32618", "EPSG:4326", xs, ys)).tolist()
        geometry = {"type": "Polygon", "coordinates": [[*ring[:-1], ring[0]]]}
        features.append({"type": "Feature", "properties": {"class_name": NAMES[1]}, "geometry": geometry})
    return {"type": "FeatureCollection", "features": features}


def read_and_write(image: Path, target: Path) -> None:
    """The least that must be done: read each block once, write the pixels."""
    with rasterio.open(image) as source, target.open("wb") as file:
        for _, window in source.block_windows(1):
            block = source.read(window=RasterWindow(window.col_off, window.row_off, window.width, window.height))
            file.write(block.data.cast("B"))


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds of this process for one call."""
    before = time.process_time()
    work()
    return time.process_time() - before


def run(report: Report) -> None:
    """Measure each kind of labels at several strides."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        labels = write_scene(folder)
        image, storage = folder / "image.tif", Storage(str(folder / "root"))
        for kind, size_px, stride_px, context_px in CASES:
            chip = ChipConfig(chip_size_px=size_px, stride_px=stride_px, context_px=context_px)
            scene = SceneConfig(id="bench", raster=RasterSourceConfig(uris=[str(image)]), labels=labels[kind])

            def cut(scene: SceneConfig = scene, chip: ChipConfig = chip) -> None:
                chip_scene(scene, "train", ClassConfig(names=NAMES), chip, 0, storage)

            ratio = interleaved(lambda: cpu_s(cut), lambda: cpu_s(lambda: read_and_write(image, folder / "bare")))
            around = f" and {context_px} px around" if context_px else ""
            report(f"chip, {kind}, {size_px} px every {stride_px} px{around}", ratio, LIMIT)
        report(f"chip, memory for 8192 rows over that for {SIDE_PX}", memory_ratio(folder), MEMORY_LIMIT)


def memory_ratio(folder: Path) -> float:
    """Peak memory of a process that chips a scene of 8192 rows over that of one with 2048 rows."""
    used = {}
    for rows in (SIDE_PX, 8192):
        path = folder / f"rows{rows}.tif"
        profile = {"driver": "GTiff", "height": rows, "width": SIDE_PX, "count": 4, "dtype": "uint16", "tiled": True}
        profile |= {"crs": "EPSG:32618", "transform": rasterio.Affine(1, 0, 500_000, 0, -1, 4_500_000)}
        with rasterio.open(path, "w", compress="deflate", **profile) as file:
            strip = np.random.default_rng(0).integers(1, 500, (4, 256, SIDE_PX)).astype(np.uint16)
            for row in range(0, rows, 256):
                file.write(strip, window=RasterWindow(0, row, SIDE_PX, 256))
        script = Path(__file__).resolve()
        used[rows] = usage_of(
            [sys.executable, str(script), "--chip", str(path), str(folder / f"root{rows}")]
        ).max_rss_mib
    return used[8192] / used[SIDE_PX]


def chip_once(image: str, root: str) -> None:
    """Chip one image, all of it background."""
    labels = Path(root).with_suffix(".geojson")
    labels.write_text('{"type": "FeatureCollection", "features": []}')
    config = GeoJsonLabelsConfig(uri=str(labels), background_class=NAMES[0])
    scene = SceneConfig(id="bench", raster=RasterSourceConfig(uris=[image]), labels=config)
    chip_scene(scene, "train", ClassConfig(names=NAMES), ChipConfig(chip_size_px=CELL_PX), 0, Storage(root))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--chip"]:
        chip_once(*sys.argv[2:])
    else:
        sys.exit(main(run))
