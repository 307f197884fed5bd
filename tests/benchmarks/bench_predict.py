"""What `predict` costs beside the bare forward pass of the model, and that its memory does not grow with the scene.

The budget is 90 % of the windows per second of the bare model on all cores: reading, normalising and writing GeoJSON
and GeoTIFF included. The bare model gets batches that lie in memory, once with torch's own threads (seconds), and once
as `predict` runs it, a batch per thread (CPU seconds, for information: all cores are busy, so nothing can hide beside
the model).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import numpy as np
import rasterio
import torch
from measurement import Report, interleaved, main
from rasterio.transform import from_origin

from rv_core.files.storage import Storage
from rv_core.machine.cores import available_cores
from rv_pipeline_chip_classification import RasterSourceConfig
from rv_pipeline_chip_classification.commands.predict import PredictionNames, SceneWriter
from rv_pipeline_chip_classification.model.backbones import build_model
from rv_pipeline_chip_classification.model.contract import ModelContract
from rv_pipeline_chip_classification.model.normalize import Normalization
from rv_pipeline_chip_classification.prediction.cell_windows import CellGrid
from rv_pipeline_chip_classification.prediction.classifier import Classifier
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster

SHARE, MEMORY_MIB = 0.9, 32
CELL_PX, NUM_CHANNELS, NUM_CLASSES, BATCH = 64, 4, 6, 64
SIDE_PX = 2048
#: Height and width. Both fill GDAL's cache of decoded blocks; a strip of blocks, which is held, has the same size.
SHORT, TALL = (4096, 2048), (32_768, 2048)
#: A row of blocks of the narrow one is in memory; one of the wide one would be 48 MiB.
NARROW, WIDE = (1024, 3072), (1024, 24_576)


class Silent:
    """A control that nobody listens to."""

    stop_requested = False

    def progress(self, done: int, total: int, **numbers: float) -> None:
        """Nothing."""

    def record(self, **counts: float) -> None:
        """Nothing."""

    def stopped(self) -> NoReturn:
        """Never called."""
        raise KeyboardInterrupt


class MeanOfChannels(torch.nn.Module):
    """A model that costs nothing: what is left is reading and writing."""

    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, NUM_CLASSES)."""
        return chips.mean((2, 3))[:, [0, 1, 2, 3, 0, 1]]


def contract() -> ModelContract:
    """What the models of this benchmark expect."""
    return ModelContract(
        backbone="resnet18",
        channels=(None,) * NUM_CHANNELS,
        dtype="uint16",
        normalization=Normalization("stats", (3000.0,) * NUM_CHANNELS, (1 / 900,) * NUM_CHANNELS),
        class_names=tuple(f"class {index}" for index in range(NUM_CLASSES)),
        class_colors=("#112233",) * NUM_CLASSES,
        chip_size_px=CELL_PX,
        cell_size_px=CELL_PX,
    )


def write_image(path: Path, height: int, width: int) -> None:
    """A tiled, deflated GeoTIFF of 4 x uint16."""
    rng = np.random.default_rng(0)
    profile = {
        "driver": "GTiff", "height": height, "width": width, "crs": "EPSG:32618", "count": NUM_CHANNELS,
        "dtype": "uint16", "transform": from_origin(500_000, 4_500_000, 1, 1), "tiled": True, "blockxsize": 256,
        "blockysize": 256, "compress": "deflate",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        for _, window in file.block_windows(1):
            shape = (NUM_CHANNELS, window.height, window.width)
            file.write((3000 + rng.normal(0, 300, shape)).astype(np.uint16), window=window)


def predict(image: Path, folder: Path, model: torch.nn.Module) -> None:
    """Predict an image and write all of its files."""
    writer = SceneWriter(Classifier(model, contract()))
    with SceneRaster(RasterSourceConfig(uris=[str(image)]), "bench") as raster:
        cells = CellGrid(raster.extent, CELL_PX, CELL_PX)
        writer.write(raster, cells, PredictionNames("bench"), Storage(str(folder)), Silent())


@contextmanager
def threads(number: int) -> Iterator[None]:
    """So many threads inside each operation of torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def forward_with_threads_of_torch(model: torch.nn.Module, batches: list[torch.Tensor]) -> None:
    """The model as one would run it by hand."""
    with threads(available_cores()), torch.inference_mode():
        for batch in batches:
            model(batch)


def forward_in_pool(model: torch.nn.Module, batches: list[torch.Tensor]) -> None:
    """A batch per thread."""

    def forward(batch: torch.Tensor) -> None:
        torch.set_num_threads(1)
        with torch.inference_mode():
            model(batch)

    with threads(torch.get_num_threads()), ThreadPoolExecutor(available_cores()) as pool:
        list(pool.map(forward, batches))


def cost(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """What one call costs by a clock."""
    before = clock()
    work()
    return clock() - before


def run(report: Report) -> None:
    """Measure speed against both ways to run the bare model, then memory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = folder / "image.tif"
        write_image(image, SIDE_PX, SIDE_PX)
        model = build_model("resnet18", NUM_CHANNELS, NUM_CLASSES).eval().to(memory_format=torch.channels_last)
        num_cells = (SIDE_PX // CELL_PX) ** 2
        chips = torch.randn(num_cells, CELL_PX, CELL_PX, NUM_CHANNELS).permute(0, 3, 1, 2)
        batches = list(chips.split(BATCH))
        # Torch's own threads spin while they wait, so that their CPU seconds mean nothing.
        ways = {
            "seconds, bare model with torch's threads": (
                time.perf_counter,
                forward_with_threads_of_torch,
                3,
                1 / SHARE,
            ),
            "CPU seconds, bare model with a batch per thread": (time.process_time, forward_in_pool, 5, None),
        }
        for what, (clock, forward, rounds, limit) in ways.items():
            ratio = interleaved(
                lambda clock=clock: cost(lambda: predict(image, folder / "out", model), clock),
                lambda clock=clock, forward=forward: cost(lambda: forward(model, batches), clock),
                rounds=rounds,
            )
            note = f"{num_cells} windows"
            report(f"predict, resnet18, {what}", ratio, limit, note=note)
        measure_memory(report, folder)


def peak_mib() -> float:
    """The largest resident set of this process; what `getrusage` says can be that of its parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measure_memory(report: Report, folder: Path) -> None:
    """The largest resident set for a scene and for one eight times as tall, and for one eight times as wide."""
    for low, high, how in ((SHORT, TALL, "tall"), (NARROW, WIDE, "wide")):
        less, more = (peak_of(folder, *shape) for shape in (low, high))
        note = f"{less:.0f} MiB for {low[0]} x {low[1]} px, {more:.0f} for {high[0]} x {high[1]}"
        report(f"predict, memory of a scene eight times as {how}", more - less, MEMORY_MIB, unit="MiB more", note=note)


def peak_of(folder: Path, height: int, width: int) -> float:
    """The largest resident set of a process that predicts an image of this size."""
    image = folder / f"{height}x{width}.tif"
    write_image(image, height, width)
    child = subprocess.run([sys.executable, __file__, "--predict", str(image)], stdout=subprocess.PIPE, check=True)
    return float(child.stdout)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--predict"]:
        predict(Path(sys.argv[2]), Path(sys.argv[2]).parent / "large", MeanOfChannels())
        print(peak_mib())
        sys.exit(0)
    sys.exit(main(run))
