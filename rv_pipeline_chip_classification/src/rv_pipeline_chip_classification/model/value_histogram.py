"""How the values of pixels are distributed, per channel: a histogram whose bins hold known shares of the pixels.

Bins of equal width say nothing where one wild pixel is a thousand times as large as all others, so the edges lie where
the values do: at the same quantiles in every channel. Made from a bounded sample, the same on every run. Numpy, imported
where it is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rv_pipeline_chip_classification.model.normalize import MAX_CHANNELS
from rv_pipeline_chip_classification.model.plain_fields import list_of, numbers_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Where the edges lie: fine at the tails, which tell first that values are others.
LEVELS = (0, 0.001, 0.005, 0.01, 0.02, *(step / 20 for step in range(1, 20)), 0.98, 0.99, 0.995, 0.999, 1)
#: More bins than a histogram of ours has; one that somebody else made may have others.
_MAX_BINS = 256
#: Values of all channels that a sample holds at most, and pixels: the share of a tail of 0.1 % is known to a tenth.
_MAX_VALUES, _MAX_PIXELS, _MIN_PIXELS = 1 << 23, 1 << 17, 1 << 11
#: Fractions of the golden ratio's multiples are spread evenly, however many are taken (Weyl's theorem).
_GOLDEN = (math.sqrt(5) - 1) / 2
_NUM_POINTS = 1000


@dataclass(frozen=True)
class ValueHistogram:
    """The distribution of the valid pixels of some scenes.

    Args:
        shares: of the pixels in each of B bins, sum 1, the same for all channels.
        edges: for each channel B + 1 values that do not descend: the first is the minimum, the last the maximum. A bin
            without width is a value that many pixels have.
    """

    shares: tuple[float, ...]
    edges: tuple[tuple[float, ...], ...]

    @property
    def num_channels(self) -> int:
        """How many channels there are."""
        return len(self.edges)

    def quantiles(self, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        """(L,) levels from 0 to 1 -> (C, L) values, between edges by interpolation."""
        import numpy as np

        own = np.concatenate([[0.0], np.cumsum(self.shares)])
        own[-1] = 1.0
        return np.stack([np.interp(levels, own, channel) for channel in self.edges])

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"shares": list(self.shares), "edges": [list(channel) for channel in self.edges]}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> ValueHistogram:
        """Read back what `to_json` made; KeyError or ValueError for anything else."""
        shares = numbers_of(plain, "shares", _MAX_BINS)
        edges = [numbers_of({"edges": row}, "edges", _MAX_BINS + 1) for row in list_of(plain, "edges", MAX_CHANNELS)]
        if not shares or min(shares) < 0 or abs(sum(shares) - 1) > 1e-3:
            raise ValueError("the shares of its histogram are no shares of one whole")
        if any(len(row) != len(shares) + 1 or list(row) != sorted(row) for row in edges):
            raise ValueError("the edges of its histogram do not ascend, or do not go with its shares")
        return cls(shares, tuple(edges))

    @classmethod
    def of(cls, edges: NDArray[np.float64]) -> ValueHistogram:
        """With edges at `LEVELS`: (C, B + 1)."""
        import numpy as np

        shares = tuple(round(share, 6) for share in np.diff(LEVELS).tolist())
        return cls(shares, tuple(tuple(channel) for channel in edges.tolist()))


class PixelSample:
    """Gathers a bounded sample of valid pixels, spread evenly over all that it is shown; the same on every run.

    Args:
        num_channels: C.
        num_pixels: how many pixels it will be shown, as good as that is known.
    """

    def __init__(self, num_channels: int, num_pixels: int) -> None:
        limit = min(_MAX_PIXELS, max(_MIN_PIXELS, _MAX_VALUES // max(1, num_channels)))
        self._share = min(1.0, limit / max(1, num_pixels))
        self._parts: list[NDArray[Any]] = []
        self._seen = 0.0

    def add(self, values: NDArray[Any], valid: NDArray[np.bool_] | None) -> None:
        """Take some of these pixels: (…, C) values and (…) bool, or None where all are valid."""
        import numpy as np

        pixels = values.reshape(-1, values.shape[-1])
        if self._share < 1:
            before = int(self._seen)
            self._seen += len(pixels) * self._share
            numbers = np.arange(before, int(self._seen), dtype=np.float64)
            chosen = (np.modf(numbers * _GOLDEN)[0] * len(pixels)).astype(np.intp)
            mask = None if valid is None else valid.reshape(-1)[chosen]
            pixels = pixels[chosen]
        else:
            mask = None if valid is None else valid.reshape(-1)
        self._parts.append(pixels.copy() if mask is None else pixels[mask])

    @property
    def num_pixels(self) -> int:
        """How many valid pixels were taken."""
        return sum(map(len, self._parts))

    def histogram(
        self, minimum: NDArray[np.float64] | None = None, maximum: NDArray[np.float64] | None = None
    ) -> ValueHistogram | None:
        """The distribution of the sample; None if no pixel is valid.

        Args:
            minimum: (C,) of all pixels, where it is known.
            maximum: (C,) likewise.
        """
        import numpy as np

        if not self.num_pixels:
            return None
        values = np.concatenate(self._parts)
        edges = np.stack([np.quantile(column.astype(np.float64), LEVELS, method="inverted_cdf") for column in values.T])
        if minimum is not None and maximum is not None:
            edges[:, 0], edges[:, -1] = minimum, maximum
        return ValueHistogram.of(edges)


def merge_histograms(parts: Sequence[tuple[int, ValueHistogram]]) -> ValueHistogram | None:
    """The distribution of several scenes together; None without any.

    Args:
        parts: (number of pixels, their histogram), all of as many channels.
    """
    import numpy as np

    parts = [(count, part) for count, part in parts if count]
    if not parts:
        return None
    # In the outermost bins an extreme value, which may be one wild pixel, would be taken for what lies beside it.
    levels = np.clip((np.arange(_NUM_POINTS) + 0.5) / _NUM_POINTS, LEVELS[1], LEVELS[-2])
    points = np.concatenate([part.quantiles(levels) for _, part in parts], axis=1)
    weights = np.repeat([count / _NUM_POINTS for count, _ in parts], _NUM_POINTS)
    edges = np.stack([_weighted_quantiles(channel, weights) for channel in points])
    edges[:, 0] = np.min([[channel[0] for channel in part.edges] for _, part in parts], axis=0)
    edges[:, -1] = np.max([[channel[-1] for channel in part.edges] for _, part in parts], axis=0)
    return ValueHistogram.of(edges)


def _weighted_quantiles(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smallest values below which the levels' shares of the weight lie: (L,)."""
    import numpy as np

    order = np.argsort(values, kind="stable")
    heaped = np.cumsum(weights[order])
    places = np.searchsorted(heaped, np.asarray(LEVELS) * heaped[-1] * (1 - 1e-12))
    quantiles: NDArray[np.float64] = values[order][np.minimum(places, len(values) - 1)]
    return quantiles
