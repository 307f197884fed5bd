"""What `train` and `predict` reach of the bare model on a GPU; without one it says so and measures nothing.

The bare model has all that it needs in the memory of the GPU before the clock starts, normalised and channels last, and
runs in the dtype of `auto`; wall seconds count, to the end of the last kernel. For `train` it does forward, backward and
the step of the optimiser, for `predict` the forward pass. The limits are 95 and 90 % of its chips per second.

`python tests/benchmarks/bench_gpu.py` takes a few minutes. `--cpu` goes through the same steps on a few chips without a
GPU, so that the script can be tried anywhere; its figures mean nothing.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import bench_predict
import bench_train
import numpy as np
import torch
from measurement import Report, interleaved, main

from rv_core.files.storage import Storage
from rv_pipeline_chip_classification import RasterSourceConfig
from rv_pipeline_chip_classification.chips.store import ChipStore
from rv_pipeline_chip_classification.commands.predict import PredictionNames, SceneWriter
from rv_pipeline_chip_classification.model.backbones import build_model, seed_everything
from rv_pipeline_chip_classification.model.device import autocast, best_device, compute_dtype, reproducible
from rv_pipeline_chip_classification.prediction.cell_scores import Answers
from rv_pipeline_chip_classification.prediction.cell_windows import CellGrid
from rv_pipeline_chip_classification.prediction.classifier import Classifier
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.training.batches import Batches
from rv_pipeline_chip_classification.training.trainer import Recipe, Trainer

TRAIN_SHARE, PREDICT_SHARE = 0.95, 0.90
BACKBONES = ("resnet18", "resnet50")


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Args:
        num_batches: of a training epoch.
        side_px: of the image that is predicted.
        predict_batch: windows per forward pass.
        rounds: pairs of each kind.
    """

    num_batches: int = 64
    side_px: int = 4096
    predict_batch: int = 256
    rounds: int = 5


def wall_seconds(work: Callable[[], object], device: torch.device) -> float:
    """What a call takes, with all that it leaves to the GPU."""
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def trained_epochs(store: ChipStore, backbone: str, augment: str) -> Callable[[], None]:
    """A call trains one epoch with the trainer of `train`."""
    seed_everything(0)
    model = build_model(backbone, bench_train.NUM_CHANNELS, bench_train.NUM_CLASSES)
    batches = Batches(store, bench_train.NORMALIZATION, bench_train.BATCH_SIZE, augment=augment, num_threads=4)  # type: ignore[arg-type]
    trainer = Trainer(model, bench_train.RECIPE, batches, None, num_classes=bench_train.NUM_CLASSES)
    task = bench_train.Task()

    def epoch() -> None:
        trainer.recipe = Recipe(**{**vars(bench_train.RECIPE), "num_epochs": trainer.position.epoch + 1})
        trainer.run(task, lambda: None)

    return epoch


def bare_epochs(store: ChipStore, backbone: str, device: torch.device) -> Callable[[], None]:
    """A call trains one epoch on chips that lie in the memory of the device."""
    seed_everything(0)
    model = build_model(backbone, bench_train.NUM_CHANNELS, bench_train.NUM_CLASSES)
    model = model.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=bench_train.RECIPE.learning_rate, fused=True)
    dtype = compute_dtype("auto", device)
    raw, _ = store.gather(np.arange(store.num_chips))
    chips = torch.from_numpy(bench_train.NORMALIZATION.apply(raw)).to(device).permute(0, 3, 1, 2)
    truth = torch.from_numpy(store.class_ids).to(device)
    generator = torch.Generator(device).manual_seed(0)

    def epoch() -> None:
        order = torch.randperm(len(chips), generator=generator, device=device)
        for indices in order.split(bench_train.BATCH_SIZE):
            with autocast(dtype, device):
                logits = model(chips[indices])
            smoothing = bench_train.RECIPE.label_smoothing
            loss = torch.nn.functional.cross_entropy(logits.float(), truth[indices], label_smoothing=smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return epoch


def measure_training(report: Report, backbone: str, device: torch.device, sizes: Sizes) -> None:
    """`train` beside the bare model: with the default augmentation, and for information without any."""
    bench_train.NUM_BATCHES = sizes.num_batches
    with tempfile.TemporaryDirectory() as name, reproducible(1):
        store = bench_train.write_chips(Storage(name))
        bare = bare_epochs(store, backbone, device)
        for augment, limit in (("d4_color", 1 / TRAIN_SHARE), ("none", None)):
            trained = trained_epochs(store, backbone, augment)
            ratio = interleaved(
                lambda trained=trained: wall_seconds(trained, device),
                lambda: wall_seconds(bare, device),
                rounds=sizes.rounds,
            )
            note = f"{store.num_chips / ratio.candidate:.0f} against {store.num_chips / ratio.reference:.0f} chips/s"
            report(f"train on a GPU, {backbone}, augment {augment}, seconds", ratio, limit, note=note)


def measure_prediction(report: Report, backbone: str, device: torch.device, sizes: Sizes) -> None:
    """`predict`, GeoJSON and GeoTIFFs included, in both precisions, each beside the bare model in the same."""
    size_px, count = bench_predict.CELL_PX, (sizes.side_px // bench_predict.CELL_PX) ** 2
    model = build_model(backbone, bench_predict.NUM_CHANNELS, bench_predict.NUM_CLASSES).eval()
    model = model.to(device, memory_format=torch.channels_last)
    batch = torch.randn(sizes.predict_batch, bench_predict.NUM_CHANNELS, size_px, size_px, device=device)
    batch = batch.contiguous(memory_format=torch.channels_last)
    with tempfile.TemporaryDirectory() as name:
        image = Path(name) / "image.tif"
        bench_predict.write_image(image, sizes.side_px, sizes.side_px)
        for precision in ("auto", "float32"):
            dtype, answers = compute_dtype(precision, device), Answers(precision=precision)  # type: ignore[arg-type]
            classifier = Classifier(
                model, bench_predict.contract(), batch_size=sizes.predict_batch, device=device, answers=answers
            )

            def predict(classifier: Classifier = classifier) -> None:
                with SceneRaster(RasterSourceConfig(uris=[str(image)]), "bench") as raster:
                    cells = CellGrid(raster.extent, size_px, size_px)
                    writer, storage = SceneWriter(classifier), Storage(str(Path(name) / "out"))
                    writer.write(raster, cells, PredictionNames("bench"), storage, bench_predict.Silent())

            def forward(dtype: torch.dtype = dtype) -> None:
                with torch.inference_mode(), autocast(dtype, device):
                    for _ in range(-(-count // sizes.predict_batch)):
                        model(batch)

            ratio = interleaved(
                lambda predict=predict: wall_seconds(predict, device),
                lambda forward=forward: wall_seconds(forward, device),
                rounds=sizes.rounds,
            )
            note = f"{count / ratio.candidate:.0f} against {count / ratio.reference:.0f} windows/s"
            report(f"predict on a GPU, {backbone}, {precision}, seconds", ratio, 1 / PREDICT_SHARE, note=note)


def run(report: Report) -> None:
    """Measure where there is a GPU."""
    device = best_device()
    if device.type != "cuda":
        print("    skipped: there is no CUDA device")
        return
    print(f"    {torch.cuda.get_device_name(device)}, torch {torch.__version__}")
    for backbone in BACKBONES:
        measure_training(report, backbone, device, Sizes())
        measure_prediction(report, backbone, device, Sizes())


def try_without_gpu(report: Report) -> None:
    """The same steps on a CPU, on next to nothing."""
    sizes = Sizes(num_batches=1, side_px=256, predict_batch=8, rounds=2)
    measure_training(report, "small_cnn", torch.device("cpu"), sizes)
    measure_prediction(report, "small_cnn", torch.device("cpu"), sizes)


if __name__ == "__main__":
    if "--cpu" in sys.argv[1:]:
        try_without_gpu(Report())
        sys.exit(0)
    sys.exit(main(run))
