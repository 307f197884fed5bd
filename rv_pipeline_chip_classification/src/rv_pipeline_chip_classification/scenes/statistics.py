"""Statistics of pixels per channel: exact, mergeable, in float64.

Mean and sum of squared differences are merged by the formula of Chan, Golub and LeVeque (1983), "Algorithms for
computing the sample variance", which does not lose digits where the mean is large.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rv_core.errors import DataError


@dataclass(frozen=True)
class ChannelStatistics:
    """Statistics of the valid pixels of some windows, scenes or subsets.

    Args:
        count: valid pixels, the same for every channel.
        mean: (C,) float64.
        m2: (C,) float64, sum of the squared differences from the mean.
        minimum: (C,) float64; infinity where there is no pixel.
        maximum: (C,) float64; minus infinity where there is no pixel.
    """

    count: int
    mean: NDArray[np.float64]
    m2: NDArray[np.float64]
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]

    @property
    def num_channels(self) -> int:
        """How many channels there are."""
        return len(self.mean)

    @property
    def std(self) -> NDArray[np.float64]:
        """The standard deviation of the pixels as a population (divided by `count`): (C,) float64."""
        return np.sqrt(self.m2 / max(self.count, 1))

    def columns(self) -> dict[str, list[float]]:
        """What a normalisation is made of: `mean`, `std`, `min` and `max`, each with one number per channel."""
        arrays = {"mean": self.mean, "std": self.std, "min": self.minimum, "max": self.maximum}
        return {name: array.tolist() for name, array in arrays.items()}

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, `std` included; minimum and maximum are null where there is no pixel."""
        limits = {"min": self.minimum, "max": self.maximum}
        return {
            "count": self.count,
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "m2": self.m2.tolist(),
            **{name: values.tolist() if self.count else [None] * len(values) for name, values in limits.items()},
        }


def no_pixels(num_channels: int) -> ChannelStatistics:
    """The statistics of nothing."""
    zeros = np.zeros(num_channels)
    return ChannelStatistics(0, zeros, zeros, np.full(num_channels, np.inf), np.full(num_channels, -np.inf))


def statistics_of(values: NDArray[Any], valid: NDArray[np.bool_] | None) -> ChannelStatistics:
    """The statistics of some pixels.

    Args:
        values: (H, W, C) of any real dtype.
        valid: (H, W) bool, or None where every pixel is valid.
    """
    pixels = values.reshape(-1, values.shape[-1]) if valid is None else values[valid]
    if not len(pixels):
        return no_pixels(values.shape[-1])
    # One channel after the other: contiguous sums in pairs, and an eighth of the memory.
    mean, m2 = np.empty(pixels.shape[1]), np.empty(pixels.shape[1])
    for channel in range(pixels.shape[1]):
        column = pixels[:, channel].astype(np.float64)
        mean[channel] = column.mean()
        column -= mean[channel]
        # Not np.dot: BLAS shares the sum out among threads, and the last digits would depend on their number.
        m2[channel] = np.square(column, out=column).sum()
    low, high = pixels.min(axis=0).astype(np.float64), pixels.max(axis=0).astype(np.float64)
    return ChannelStatistics(len(pixels), mean, m2, low, high)


def merge(one: ChannelStatistics, other: ChannelStatistics) -> ChannelStatistics:
    """The statistics of both together."""
    if not one.count or not other.count:
        return one if one.count else other
    count = one.count + other.count
    delta = other.mean - one.mean
    return ChannelStatistics(
        count,
        one.mean + delta * (other.count / count),
        one.m2 + other.m2 + delta * delta * (one.count * other.count / count),
        np.minimum(one.minimum, other.minimum),
        np.maximum(one.maximum, other.maximum),
    )


def merge_all(parts: Iterable[ChannelStatistics], num_channels: int) -> ChannelStatistics:
    """The statistics of all parts together, merged in the order given."""
    return reduce(merge, parts, no_pixels(num_channels))


def from_json(plain: Mapping[str, Any], *, where: str) -> ChannelStatistics:
    """Statistics as `to_json` wrote them.

    Raises:
        DataError: if they are not.
    """
    try:
        count = int(plain["count"])
        mean, m2 = _column(plain["mean"]), _column(plain["m2"])
        if not count:
            return no_pixels(len(mean))
        columns = (mean, m2, _column(plain["min"]), _column(plain["max"]))
        if count < 0 or any(column.shape != (len(mean),) for column in columns):
            raise ValueError("there is not one number per channel")
        return ChannelStatistics(count, *columns)
    except (KeyError, TypeError, ValueError, OverflowError) as err:
        fix = 'run the command "analyze" of this scene again (--rerun)'
        raise DataError("statistics are damaged", where=where, why=repr(err), fix=fix) from err


def _column(numbers: Sequence[float]) -> NDArray[np.float64]:
    return np.array(numbers, np.float64)
