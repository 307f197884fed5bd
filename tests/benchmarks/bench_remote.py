"""What `chip` takes for four bands of a web server 50 ms away, beside what the line needs for their bytes.

Three bands of 10 m and one of 20 m, which is warped. The budget is 1.5 times the bytes over the bandwidth and 20 round
trips; the chips are those of local files, and no byte comes twice. The best of some rounds counts: whatever else the machine does
adds to the time, and nothing takes from it.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
import rasterio
from measurement import Report, main

from rv_core.files.storage import Storage
from rv_pipeline_chip_classification import (
    ChipConfig,
    ClassConfig,
    GeoJsonLabelsConfig,
    RasterSourceConfig,
    RasterStackConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.commands.chip import chip_scene

SIDE_PX, BLOCK_PX = 2048, 256
BANDS = {"B02": 10, "B03": 10, "B04": 10, "B11": 20}
LATENCY_S, BYTES_PER_S, ROUND_TRIPS, ROUNDS = 0.05, 10e6, 20, 5


def write_bands(folder: Path) -> None:
    """Cloud-optimised GeoTIFFs of uint16."""
    rng = np.random.default_rng(0)
    for name, pixel_m in BANDS.items():
        side = SIDE_PX * 10 // pixel_m
        values = np.kron(rng.integers(2, 6, (side // 64, side // 64)), np.ones((64, 64), int)) * 900
        profile = {"driver": "COG", "height": side, "width": side, "count": 1, "dtype": "uint16", "crs": "EPSG:32618"}
        profile |= {"transform": rasterio.Affine(pixel_m, 0, 500_000, 0, -pixel_m, 4_500_000), "blocksize": BLOCK_PX}
        with rasterio.open(folder / f"{name}.tif", "w", compress="deflate", overviews="NONE", **profile) as file:
            file.write((values + rng.normal(0, 150, values.shape)).astype(np.uint16), 1)


def chip(base: str, folder: Path, name: str) -> tuple[float, str]:
    """Chip the scene at an address: seconds, and a digest of what was written."""
    labels = folder / "labels.geojson"
    labels.write_text('{"type": "FeatureCollection", "features": []}')
    sources = [RasterSourceConfig(uris=[f"{base}/{band}.tif"], name=band) for band in BANDS]
    config = GeoJsonLabelsConfig(uri=str(labels), background_class="a")
    scene = SceneConfig(id="bench", raster=RasterStackConfig(sources=sources), labels=config)
    storage, begun_s = Storage(str(folder / name)), time.perf_counter()
    chip_scene(scene, "train", ClassConfig(names=["a", "b"]), ChipConfig(chip_size_px=64), 0, storage)
    took_s = time.perf_counter() - begun_s
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted((folder / name / "chip").iterdir())))
    return took_s, digest.hexdigest()


def run(report: Report) -> None:
    """Chip from the server and from the disk."""
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # a sync of a slow disk is not what is measured
    with tempfile.TemporaryDirectory(dir=memory) as name:
        folder = Path(name)
        write_bands(folder)
        num_bytes = sum((folder / f"{band}.tif").stat().st_size for band in BANDS)
        script = Path(__file__).with_name("slow_server.py")
        argv = [sys.executable, str(script), name, str(LATENCY_S * 1000), str(BYTES_PER_S)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            base = f"http://127.0.0.1:{int(server.stdout.readline())}"
            try:
                remote = [chip(base, folder, f"remote{number}") for number in range(ROUNDS)]
                with urllib.request.urlopen(f"{base}/requests") as answer:
                    asked = json.load(answer)
                os.environ["VSI_CACHE"] = "FALSE"  # whoever sets GDAL's network settings gets GDAL's own reader
                gdal = [chip(base, folder, f"gdal{number}") for number in range(2)]
            finally:
                os.environ.pop("VSI_CACHE", None)
                server.terminate()
        local = [chip(name, folder, f"local{number}") for number in range(ROUNDS)]
    budget_s = 1.5 * num_bytes / BYTES_PER_S + ROUND_TRIPS * LATENCY_S
    fetched = sum(last + 1 - first for method, _, first, last in asked if method == "GET") / ROUNDS
    report("chip over HTTP, over 1.5 x bytes / bandwidth + 20 round trips", min(remote)[0] / budget_s, 1.0)
    report("the same, bytes fetched over those of the files", fetched / num_bytes, 1.01)
    report(
        "the same, files written that differ from local ones", len({digest for _, digest in [*remote, *local]}) - 1, 0
    )
    report("the same by GDAL's own reader, over it", min(gdal)[0] / min(remote)[0], None)
    report("chip of the same files on disk, seconds", min(local)[0], None, unit="s")


if __name__ == "__main__":
    sys.exit(main(run))
