"""What `chip` takes for four bands of a web server, and of an object store, 50 ms away, beside what the line needs.

Three bands of 10 m and one of 20 m, which is warped. The budget is 1.5 times the bytes over the bandwidth and 20 round
trips; the chips are those of local files, and no byte comes twice. On the narrow line the bytes take most of the time,
on the wide one the requests do. Every round is a process of its own that has read local files before: its imports do
not count, and GDAL remembers nothing. The best of some rounds counts: whatever else the machine does adds to the time,
and nothing takes from it. With `--beside COMMIT` the code of another commit takes turns.
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
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import rasterio
from measurement import Report, main, sources_of

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
LATENCY_S, ROUND_TRIPS, ROUNDS = 0.05, 20, 3
#: Megabytes a second.
NARROW, WIDE = 10, 100
#: On the wide line, of the code from before blocks were fetched ahead.
TIMES_FASTER = 8
BUCKET = "bands"


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


def chip_apart(base: str, folder: Path, name: str, environ: Mapping[str, str]) -> tuple[float, str]:
    """`chip` in a process of its own that has chipped the local files first."""
    argv = [sys.executable, __file__, "--chip", base, str(folder), name]
    told = subprocess.run(argv, env={**os.environ, **environ}, check=True, stdout=subprocess.PIPE, text=True).stdout
    took_s, digest = json.loads(told)
    return took_s, digest


@contextmanager
def served(folder: Path, megabytes_per_s: int) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a server of a folder, whose folders are buckets too, and the environment that has S3 there."""
    script = Path(__file__).with_name("slow_server.py")
    argv = [sys.executable, str(script), str(folder), str(LATENCY_S * 1000), str(megabytes_per_s * 1e6)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = f"http://127.0.0.1:{int(server.stdout.readline())}"
            keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
            yield address, {"AWS_ENDPOINT_URL": address, **keys}
        finally:
            server.terminate()


def run(report: Report) -> None:
    """Chip from the server by either protocol on both lines, and from the disk."""
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # a sync of a slow disk is not what is measured
    with tempfile.TemporaryDirectory(dir=memory) as name, ExitStack() as stack:
        folder = Path(name)
        (folder / BUCKET).mkdir()
        write_bands(folder / BUCKET)
        sources = stack.enter_context(sources_of(report.beside, folder)) if report.beside else []
        local = [chip(str(folder / BUCKET), folder, "local") for _ in range(ROUNDS)]
        for megabytes_per_s in (NARROW, WIDE):
            _measure(report, folder, megabytes_per_s, sources, local[0][1])
        report("chip of the same files on disk, seconds", min(local)[0], None, unit="s")


def _measure(report: Report, folder: Path, megabytes_per_s: int, sources: list[Path], local: str) -> None:
    num_bytes = sum(file.stat().st_size for file in (folder / BUCKET).iterdir())
    budget_s = 1.5 * num_bytes / (megabytes_per_s * 1e6) + ROUND_TRIPS * LATENCY_S
    line = f"{LATENCY_S * 1000:.0f} ms and {megabytes_per_s} MB/s"
    # Whoever sets GDAL's network settings gets GDAL's own reader.
    peer, peer_environ = "GDAL's own reader", {"VSI_CACHE": "FALSE"}
    if sources:
        peer, peer_environ = report.beside[:12], {"PYTHONPATH": os.pathsep.join(map(str, sources))}
    limit = TIMES_FASTER if sources and megabytes_per_s == WIDE else None
    with served(folder, megabytes_per_s) as (address, as_s3):
        for protocol, base in (("HTTP", f"{address}/{BUCKET}"), ("S3", f"s3://{BUCKET}")):
            rounds, fetched = [], 0
            for _ in range(ROUNDS):
                rounds.append(chip_apart(base, folder, "remote", as_s3))
                fetched += _bytes_fetched(address)
                rounds.append(chip_apart(base, folder, "remote", as_s3 | peer_environ))
                _bytes_fetched(address)
            here_s, peer_s = min(rounds[::2])[0], min(rounds[1::2])[0]
            what = f"chip over {protocol}, {line}"
            report(f"{what}, over 1.5 x bytes / bandwidth + 20 trips", here_s / budget_s, 1.0, note=f"{here_s:.2f} s")
            report(f"  by {peer}, over it", peer_s / here_s, limit, at_least=True, note=f"{peer_s:.2f} s")
            report("  bytes fetched over those of the files", fetched / num_bytes / ROUNDS, 1.01)
            report(
                "  files written that differ from local ones", len({local, *(digest for _, digest in rounds)}) - 1, 0
            )


def _bytes_fetched(address: str) -> int:
    """How many bytes a server was asked for since the last such question."""
    with urllib.request.urlopen(f"{address}/requests") as answer:
        return sum(last + 1 - first for method, _, first, last in json.load(answer) if method == "GET")


def _chip_here(base: str, folder: Path, name: str) -> None:
    for _ in range(2):
        chip(str(folder / BUCKET), folder, name)
    print(json.dumps(chip(base, folder, name)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--chip"]:
        _chip_here(sys.argv[2], Path(sys.argv[3]), sys.argv[4])
    else:
        sys.exit(main(run))
