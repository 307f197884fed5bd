"""Scores for the cells of a raster: reading, arithmetic and writing overlap, and the bytes do not depend on the cores.

**On a CPU** each batch is worked off by one thread, several batches at once. Threads inside a convolution would give
other last bits for another number of cores (found for ResNet-50), wait for the slowest of them at every layer, and
were half as fast on a busy machine. So predictions are the same for any number of splits, runners and cores of one
kind of machine. Batch norms are folded into the convolutions before them (`prediction.fusion`). **On a GPU** two threads
keep it busy, batches are staged in pinned memory, and halved where its own is too small.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rv_core.errors import DataError
from rv_core.machine.cores import available_cores
from rv_pipeline_chip_classification.model.contract import ModelContract
from rv_pipeline_chip_classification.model.device import autocast, compute_dtype, to_device
from rv_pipeline_chip_classification.model.prefetch import in_advance, iterate_ahead
from rv_pipeline_chip_classification.prediction.cell_scores import (
    NO_CLASS,
    SCORE_DECIMALS,
    Answers,
    ScoredCells,
    no_numbers,
)
from rv_pipeline_chip_classification.prediction.cell_windows import BatchSizeOf, CellChips, cpu_batch_size
from rv_pipeline_chip_classification.prediction.fusion import fused
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster

_log = logging.getLogger(__name__)


class Cells(Protocol):
    """Which cells: `CellGrid` or `CellList`."""

    @property
    def num_cells(self) -> int:
        """How many cells there are."""
        ...

    def iter_chips(self, raster: SceneRaster, batch_size_of: BatchSizeOf, context_px: int = 0) -> Iterator[CellChips]:
        """Their chips in order."""
        ...


def num_inference_threads() -> int:
    """The cores of this task: `RV_NUM_THREADS`, else `OMP_NUM_THREADS`, else those of this process."""
    for name in ("RV_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "")
        if value.isdigit() and int(value) > 0:
            return int(value)
    return available_cores()


def default_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Classifier:
    """A model ready to classify chips; several threads may use it.

    Args:
        model: from (B, C, H, W) float32 to (B, K) logits.
        contract: of the model: how pixel values reach it, what it sees around a cell, the temperature of its scores.
        batch_size: chips per forward pass at most.
        device: where it runs; None takes the GPU if there is one.
        num_threads: threads on a CPU; None takes the cores of this task.
        answers: which scores it gives, and when no class.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        contract: ModelContract,
        *,
        batch_size: int = 256,
        device: torch.device | None = None,
        num_threads: int | None = None,
        answers: Answers | None = None,
    ) -> None:
        self.device = device or default_device()
        self.contract = contract
        self.answers = answers or Answers()
        self._is_cpu = self.device.type == "cpu"
        # Not on a GPU: nothing was measured there.
        ready = fused(model.eval()) if self._is_cpu else model.eval()
        self._model: Any = ready.to(self.device, memory_format=torch.channels_last)
        self._dtype = compute_dtype(self.answers.precision, self.device)
        self._batch_size = batch_size
        self._num_threads = (num_threads or num_inference_threads()) if self._is_cpu else 2
        self._lock = threading.Lock()
        if not self._is_cpu:
            torch.backends.cudnn.deterministic = True

    def batch_size_of(self, num_pixels: int) -> int:
        """Chips per forward pass for chips of so many pixels; the same on every machine without a GPU."""
        if not self._is_cpu:
            return self._batch_size
        return cpu_batch_size(self._batch_size, num_pixels)

    def classify(self, cells: Cells, raster: SceneRaster, *, is_all: bool = True) -> Iterator[ScoredCells]:
        """The scores of all cells, in order. Reading is ahead of the arithmetic, which is ahead of the consumer.

        Args:
            cells: which cells.
            raster: the open scene; nothing else may read it until the iterator is closed.
            is_all: whether these are all cells of the scene.

        Raises:
            DataError: if pixels cannot be read, the model does not take windows of this size, or it gives numbers for
                none of them; a few without numbers have no class.
        """
        context_px = self.contract.context_px
        threads_before = torch.get_num_threads()
        with ExitStack() as stack:
            # Set on the workers, it is also what later threads of torch begin with.
            stack.callback(torch.set_num_threads, threads_before)
            batches = iterate_ahead(lambda: cells.iter_chips(raster, self.batch_size_of, context_px))
            stack.callback(_close, batches)
            scored = in_advance((partial(self._score_cells, batch) for batch in batches), num_threads=self._num_threads)
            stack.callback(_close, scored)
            has_scores, lost = False, None
            for part in scored:
                has_scores = has_scores or bool(part.has_scores.any())
                lost = lost or part.first_without_numbers()
                yield part
            if lost is not None and not has_scores and is_all:
                raise no_numbers(lost, raster.scene_id)

    def _score_cells(self, batch: CellChips) -> ScoredCells:
        if self._is_cpu:
            torch.set_num_threads(1)
        count, pixels_per_cell = len(batch.chips), int(batch.windows[0, 2:].prod())
        num_valid = np.full(count, pixels_per_cell)
        if batch.valid is not None:
            # Of the cell alone: one without a valid pixel has no class, whatever lies around it.
            rows, cols = (
                slice(self.contract.context_px, side - self.contract.context_px) for side in batch.valid.shape[1:]
            )
            num_valid = np.count_nonzero(batch.valid[:, rows, cols], axis=(1, 2))
        has_data = num_valid > 0 if batch.is_scored is None else (num_valid > 0) & batch.is_scored
        fractions = num_valid / pixels_per_cell if batch.valid_fractions is None else batch.valid_fractions
        scores = np.full((count, self.contract.num_classes), np.nan, np.float32)
        class_ids = np.full(count, NO_CLASS, np.int64)
        if has_data.any():
            scores[has_data] = self.score(*_only(batch, has_data))
            # One wild pixel makes a cell's scores no numbers; the others are as good as ever.
            has_scores = np.isfinite(scores).all(axis=1)
            scores[~has_scores] = np.nan
            class_ids[has_scores] = self.answers.classes_of(scores[has_scores])
        rounded = np.round(scores, SCORE_DECIMALS)
        return ScoredCells(batch.first, batch.windows, class_ids, rounded, fractions)

    def score(self, chips: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[np.float32]:
        """Scores of chips on the calling thread; halves the batch where the GPU's memory is too small.

        Args:
            chips: (B, H, W, C), raw pixel values.
            valid: (B, H, W) bool, or None.

        Returns:
            (B, K) float32: the softmax of logits over temperature, whose rows sum to 1, or these themselves.

        Raises:
            DataError: if not even one window fits into the memory, or the model does not take windows of this size.
        """
        try:
            return self._forward(self.contract.normalization.apply(chips, valid))
        except torch.OutOfMemoryError as err:
            half = (len(chips) + 1) // 2
            if half == len(chips):
                why = "not even a single window fits"
                raise DataError("the GPU has too little memory", why=why, fix="use a smaller cell or model") from err
            self._tell_halved(half)
        # Outside of the except block nothing of the failed pass is referred to any more.
        if not self._is_cpu:
            torch.cuda.empty_cache()
        parts = [slice(0, half), slice(half, None)]
        return np.concatenate([self.score(chips[part], None if valid is None else valid[part]) for part in parts])

    def _tell_halved(self, half: int) -> None:
        with self._lock:
            if half < self._batch_size:
                self._batch_size = half
                _log.warning("the GPU has too little memory: going on with batches of %d windows", half)

    def _forward(self, chips: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            # Of this thread alone, as both contexts are.
            with torch.inference_mode(), autocast(self._dtype, self.device):
                scores: NDArray[np.float32] = self._scores_of(to_device(chips, self.device)).cpu().numpy()
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, AssertionError, ValueError) as err:
            around_px, trained_px = 2 * self.contract.context_px, self.contract.chip_size_px
            size = (chips.shape[1] - around_px, chips.shape[2] - around_px)
            if size == (trained_px, trained_px):
                raise
            raise DataError(
                f"the model does not take cells of {size[0]} x {size[1]} px",
                why=f"it was trained on {trained_px} px and says: {str(err)[:200]}",
                fix=f"use cells of {trained_px} px",
            ) from err
        return scores

    def _scores_of(self, batch: torch.Tensor) -> torch.Tensor:
        """Scores of normalised chips (B, C, H, W): (B, K)."""
        if not self.answers.averages_symmetries:
            logits = self._logits(batch)
            return logits if self.answers.gives_logits else torch.softmax(logits, 1)
        found = torch.stack([torch.log_softmax(self._logits(seen), 1) for seen in _symmetries(batch)])
        # The logarithm of the mean of probabilities is one also where they are too small for a float.
        logs = torch.logsumexp(found, 0) - math.log(len(found))
        return logs if self.answers.gives_logits else logs.exp()

    def _logits(self, batch: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self._model(batch).float() / self.contract.temperature
        return logits


def _symmetries(batch: torch.Tensor) -> Iterator[torch.Tensor]:
    """Chips (B, C, H, W) turned by quarters, and these mirrored: the eight symmetries of the square."""
    for quarters in range(4):
        turned = torch.rot90(batch, quarters, (2, 3))
        yield turned
        yield torch.flip(turned, (3,))


def _close(iterator: Any) -> None:
    iterator.close()


def _only(batch: CellChips, wanted: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    if wanted.all():
        return batch.chips, batch.valid
    return batch.chips[wanted], None if batch.valid is None else batch.valid[wanted]
