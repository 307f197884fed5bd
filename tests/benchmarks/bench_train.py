"""How fast `train` learns beside a bare loop with the same augmentation over a tensor in memory.

The bare loop holds all chips as one normalised float32 tensor and does the same arithmetic: forward, backward, step of
the optimiser. `train` reads memory-mapped raw chips, normalises, counts hits, averages weights and reports progress.
The budget is 95 % of the bare loop's chips per second (ResNet-18, 64 px, batches of 64). Chips per CPU second are told
as well: on a machine with other work they are the figure to trust.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the command says it, before torch is loaded

import numpy as np
import torch
from measurement import Report, interleaved, main

from rv_core.files.storage import Storage
from rv_pipeline_chip_classification.chips.store import ChipStore, index_name, pixels_name
from rv_pipeline_chip_classification.chips.writer import ChipRecords, index_lines
from rv_pipeline_chip_classification.model.backbones import build_model, seed_everything
from rv_pipeline_chip_classification.model.device import num_threads, reproducible
from rv_pipeline_chip_classification.model.normalize import Normalization
from rv_pipeline_chip_classification.scenes.windows import Window, windows_over
from rv_pipeline_chip_classification.training.augment import Strengths, apply_symmetries, draw_color, draw_symmetries
from rv_pipeline_chip_classification.training.batches import Batches
from rv_pipeline_chip_classification.training.trainer import Recipe, Trainer

LIMIT = 1 / 0.95
SIZE_PX, NUM_CHANNELS, NUM_CLASSES, BATCH_SIZE = 64, 4, 4, 64
NUM_BATCHES, ROUNDS = 4, 7
NORMALIZATION = Normalization("stats", (30_000.0,) * NUM_CHANNELS, (1 / 17_000,) * NUM_CHANNELS)
#: Learning rate 0 keeps the two networks at the same numbers, whoever takes more steps.
RECIPE = Recipe(num_epochs=10_000, learning_rate=1e-9, schedule="constant")


def write_chips(storage: Storage) -> ChipStore:
    """Chips of random uint16 pixels, as `chip` stores them."""
    rng = np.random.default_rng(0)
    height, width = SIZE_PX * BATCH_SIZE // 8, SIZE_PX * 8 * NUM_BATCHES
    windows = windows_over(Window(0, 0, height, width), size_px=SIZE_PX, stride_px=SIZE_PX)
    count = len(windows)
    records = ChipRecords(
        "bench",
        windows,
        windows[:, :2].copy(),
        rng.integers(0, NUM_CLASSES, count),
        np.ones(count),
        "label_fraction",
        np.ones(count),
        np.zeros(count, np.bool_),
    )
    with storage.output_file(pixels_name("bench")) as path, path.open("wb") as file:
        np.save(file, rng.integers(0, 60_000, (height, width, NUM_CHANNELS), dtype=np.uint16))
    names = [str(class_id) for class_id in range(NUM_CLASSES)]
    storage.write_text(index_name("bench"), "".join(index_lines(records, names, (1, 0, 0, 0, -1, 0))))
    return ChipStore.open(storage, ["bench"])


class Task:
    """A task that nobody stops."""

    stop_requested = False

    def progress(self, done: int, total: int, **numbers: float) -> None:
        """Nobody looks."""

    def stopped(self) -> NoReturn:
        """Never called."""
        raise AssertionError


def trained_epochs(store: ChipStore) -> Callable[[], None]:
    """A call trains one epoch with the trainer of `train`."""
    seed_everything(0)
    model = build_model("resnet18", NUM_CHANNELS, NUM_CLASSES)
    batches = Batches(store, NORMALIZATION, BATCH_SIZE, augment="d4_color")
    trainer = Trainer(model, RECIPE, batches, None, num_classes=NUM_CLASSES)
    task = Task()

    def epoch() -> None:
        # The whole loop of `train`, for one epoch.
        trainer.recipe = Recipe(**{**vars(RECIPE), "num_epochs": trainer.position.epoch + 1})
        trainer.run(task, lambda: None)

    return epoch


def bare_epochs(store: ChipStore) -> Callable[[], None]:
    """A call trains one epoch of a loop as one would write it in a notebook."""
    seed_everything(0)
    model = build_model("resnet18", NUM_CHANNELS, NUM_CLASSES).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RECIPE.learning_rate, fused=True)
    raw, _ = store.gather(np.arange(store.num_chips))
    chips, truth = NORMALIZATION.apply(raw), torch.from_numpy(store.class_ids)
    rng = np.random.default_rng(0)

    def epoch() -> None:
        model.train()
        for indices in shuffled(rng, len(chips)):
            batch = augmented(rng, chips[indices])
            logits = model(torch.from_numpy(batch).permute(0, 3, 1, 2))
            loss = torch.nn.functional.cross_entropy(logits, truth[indices], label_smoothing=RECIPE.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def shuffled(rng: np.random.Generator, num_chips: int) -> Iterator[np.ndarray]:
    """The chips of each batch of an epoch."""
    yield from np.array_split(rng.permutation(num_chips), num_chips // BATCH_SIZE)


def augmented(rng: np.random.Generator, chips: np.ndarray) -> np.ndarray:
    """The augmentation of `train` on normalised chips."""
    color = draw_color(rng, len(chips), NUM_CHANNELS, "d4_color", Strengths())
    assert color is not None
    chips = chips * color.contrast[:, None, None, :] + color.brightness[:, None, None, :]
    return apply_symmetries(chips, draw_symmetries(rng, len(chips), "d4_color"))


def run(report: Report) -> None:
    """Measure both in turns, in wall and in CPU seconds."""
    with tempfile.TemporaryDirectory() as name, reproducible(num_threads(None)):
        store = write_chips(Storage(str(Path(name))))
        trained, bare = trained_epochs(store), bare_epochs(store)
        for clock, unit in ((time.perf_counter, "second"), (time.process_time, "CPU second")):
            ratio = interleaved(seconds(trained, clock), seconds(bare, clock), rounds=ROUNDS)
            rates = [store.num_chips / cost for cost in (ratio.candidate, ratio.reference)]
            note = f"{rates[0]:.0f} against {rates[1]:.0f} chips per {unit}"
            # A busy machine takes turns between the two: only what the process itself used can be held to the budget.
            report(
                f"train: {unit}s beside a bare loop", ratio, LIMIT if clock is time.process_time else None, note=note
            )


def seconds(work: Callable[[], None], clock: Callable[[], float]) -> Callable[[], float]:
    """What a call takes, by a clock."""

    def measure() -> float:
        started = clock()
        work()
        return clock() - started

    return measure


if __name__ == "__main__":
    sys.exit(main(run))
