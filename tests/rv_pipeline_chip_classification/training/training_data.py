"""Chips in memory and tasks that stop or die, for tests of the training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray


class ColoredChips:
    """Chips of two channels and three classes: which channel is bright tells the class, noise hides it a little."""

    num_channels = 2

    def __init__(self, count: int, *, size_px: int = 8, seed: int = 0, num_classes: int = 3) -> None:
        rng = np.random.default_rng(seed)
        self.class_ids: NDArray[np.int64] = rng.integers(0, num_classes, count)
        self._pixels = rng.normal(100, 15, (count, size_px, size_px, 2))
        self._pixels[..., 0] += 40 * (self.class_ids == 1)[:, None, None]
        self._pixels[..., 1] += 40 * (self.class_ids == 2)[:, None, None]
        self._pixels = self._pixels.astype(np.uint8)
        self.num_chips, self.chip_shape, self.dtype = count, (size_px, size_px), np.dtype(np.uint8)

    def gather(
        self, indices: NDArray[np.int64], out: NDArray[Any] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """As of a chip store."""
        chips = np.empty((len(indices), *self._pixels.shape[1:]), np.uint8) if out is None else out[: len(indices)]
        chips[...] = self._pixels[indices]
        return chips, None


class Stopped(BaseException):
    """The task ended with its state saved."""


class Killed(BaseException):
    """The process died, without a chance to save anything."""


class Task:
    """A task that is asked to stop, or dies, when it has looked at `stop_requested` so many times.

    Args:
        stop_after: looks before a stop is requested; None never.
        kill_after: looks before the process dies; None never.
        key: of the job.
    """

    def __init__(self, *, stop_after: int | None = None, kill_after: int | None = None, key: str = "key") -> None:
        self.key, self.reports, self.recorded = key, list[tuple[int, int, dict[str, float]]](), dict[str, float]()
        self._stop_after, self._kill_after, self.num_looks = stop_after, kill_after, 0

    @property
    def stop_requested(self) -> bool:
        self.num_looks += 1
        if self._kill_after is not None and self.num_looks > self._kill_after:
            raise Killed
        return self._stop_after is not None and self.num_looks > self._stop_after

    def progress(self, done: int, total: int, **numbers: float) -> None:
        self.reports.append((done, total, numbers))

    def record(self, **counts: float) -> None:
        self.recorded.update(counts)

    def stopped(self) -> NoReturn:
        raise Stopped


def nothing() -> None:
    """Saves nothing."""


Save = Callable[[], None]
