"""What the training loop costs beside a bare one: resnet18, chips of 64 px, batches of 64.

The bare loop has all chips in memory, normalised, as one array; it shuffles, augments with the same functions, and
steps. The training loop gathers them from memory maps, normalises, keeps its average of weights and reports.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

import numpy as np
import rasterio
import torch
from measurement import Report, interleaved, main
from rasterio import Affine
from torch import nn

from rv_core.storage import Storage
from rv_core.thread_shares import available_cores
from rv_pipeline_chip_classification import (
    ChipConfig,
    ClassConfig,
    ClassRasterLabelsConfig,
    RasterSourceConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.commands.chip import chip_scene
from rv_pipeline_chip_classification.data.chip_store import ChipStore
from rv_pipeline_chip_classification.model.augment import apply_symmetries, draw_color, draw_symmetries
from rv_pipeline_chip_classification.model.backbones import build_model
from rv_pipeline_chip_classification.model.batches import Batches
from rv_pipeline_chip_classification.model.normalize import Normalization
from rv_pipeline_chip_classification.model.training import LABEL_SMOOTHING, Recipe, Trainer

MIN_SHARE = 0.95
SIDE_PX, CHIP_PX, BATCH, CHANNELS, CLASSES = 1024, 64, 64, 3, 4
NORMALIZATION = Normalization("stats", (120.0,) * CHANNELS, (1 / 60,) * CHANNELS)


class Silent:
    """A control that nobody listens to."""

    stop_requested = False

    def progress(self, done: int, total: int, **numbers: float) -> None:
        """Nothing."""

    def stopped(self) -> NoReturn:
        """Never called."""
        raise KeyboardInterrupt


def write_chips(folder: Path) -> ChipStore:
    """A scene of noise with random classes, chipped: 256 chips a scene, two scenes."""
    rng = np.random.default_rng(0)
    storage = Storage(str(folder / "root"))
    profile = {"driver": "GTiff", "crs": "EPSG:32618", "width": SIDE_PX, "height": SIDE_PX, "tiled": True}
    for index in range(2):
        place = {"transform": Affine(1, 0, 5e5 + 5000 * index, 0, -1, 4.5e6), **profile}
        image, labels = folder / f"{index}.tif", folder / f"{index}_labels.tif"
        with rasterio.open(image, "w", count=CHANNELS, dtype="uint8", **place) as raster:
            raster.write(rng.integers(0, 255, (CHANNELS, SIDE_PX, SIDE_PX), np.uint8))
        cells = rng.integers(0, CLASSES, (SIDE_PX // CHIP_PX,) * 2).astype(np.uint8)
        with rasterio.open(labels, "w", count=1, dtype="uint8", **place) as raster:
            raster.write(np.kron(cells, np.ones((CHIP_PX, CHIP_PX), np.uint8)), 1)
        names = [f"class {number}" for number in range(CLASSES)]
        source = ClassRasterLabelsConfig(uri=str(labels), class_values=dict(enumerate(names)))
        scene = SceneConfig(id=str(index), raster=RasterSourceConfig(uris=[str(image)]), labels=source)
        chip_scene(scene, "train", ClassConfig(names=names), ChipConfig(chip_size_px=CHIP_PX), 0, storage)
    return ChipStore.open(storage, ["0", "1"])


def bare_epoch_s(chips: np.ndarray, class_ids: np.ndarray) -> float:
    """Seconds of one epoch of the bare loop."""
    model = build_model("resnet18", CHANNELS, CLASSES).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    rng = np.random.default_rng(0)
    started = time.perf_counter()
    for indices in np.array_split(rng.permutation(len(chips)), len(chips) // BATCH):
        batch, color = chips[indices], draw_color(rng, len(indices), CHANNELS, "d4_color")
        assert color is not None
        batch = batch * color.contrast[:, None, None, :] + color.brightness[:, None, None, :]
        batch = apply_symmetries(batch, draw_symmetries(rng, len(batch), "d4_color"))
        logits = model(torch.from_numpy(batch).permute(0, 3, 1, 2))
        truth = torch.from_numpy(class_ids[indices])
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(logits, truth, label_smoothing=LABEL_SMOOTHING).backward()
        optimizer.step()
    return time.perf_counter() - started


def epoch_s(store: ChipStore) -> float:
    """Seconds of one epoch of the training loop."""
    model = build_model("resnet18", CHANNELS, CLASSES)
    batches = Batches(store, NORMALIZATION, BATCH, augment="d4_color")
    trainer = Trainer(model, Recipe(num_epochs=1), batches, None, num_classes=CLASSES)
    started = time.perf_counter()
    trainer.run(Silent(), lambda: None)
    return time.perf_counter() - started


def run(report: Report) -> None:
    """Measure chips per second of both."""
    torch.set_num_threads(available_cores())
    with tempfile.TemporaryDirectory() as name:
        store = write_chips(Path(name))
        chips = NORMALIZATION.apply(*store.gather(np.arange(store.num_chips)))
        ratio = interleaved(lambda: epoch_s(store), lambda: bare_epoch_s(chips, store.class_ids), rounds=5)
        rates = [store.num_chips / seconds for seconds in (ratio.candidate, ratio.reference)]
        report(
            "train, resnet18, 64 px, time beside the bare loop",
            ratio,
            1 / MIN_SHARE,
            note=f"{rates[0]:.0f} chips/s, bare {rates[1]:.0f}",
        )


if __name__ == "__main__":
    sys.exit(main(run))
