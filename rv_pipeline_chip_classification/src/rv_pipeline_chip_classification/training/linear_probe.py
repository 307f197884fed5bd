"""A linear model on the mean and the spread of each band of a cell: what can be had without looking at any pattern.

A network that is no better has learnt nothing but colours. Ridge regression on one-hot targets, in closed form
(Hoerl and Kennard 1970, https://doi.org/10.1080/00401706.1970.10488634): features are brought to mean 0 and standard
deviation 1 over the training cells, the targets to mean 0, and the weights are (X'X + r n I)^-1 X'Y for n cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: r: the weight of the penalty, for each cell.
RIDGE = 1e-3
#: So many digits are kept, so that the last bits of the arithmetic, which differ from machine to machine, are not.
_DIGITS = 9


def band_statistics(chips: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """Mean and standard deviation of the valid pixels of each channel: (N, 2 C) float64, NaN for a chip without any.

    Args:
        chips: (N, H, W, C) of any real dtype.
        valid: (N, H, W) bool, or None where every pixel is valid.
    """
    by_pixel = chips.reshape(len(chips), -1, chips.shape[-1])
    # Channel by channel, where sums take a tenth of the time.
    values = np.ascontiguousarray(by_pixel.transpose(0, 2, 1), np.float64)
    count: Any = values.shape[2]
    is_valid = None if valid is None else valid.reshape(len(chips), 1, -1)
    if is_valid is not None:
        values = np.where(is_valid, values, 0.0)
        count = is_valid.sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = values.sum(axis=2) / count
        values -= mean[..., None]
        if is_valid is not None:
            values *= is_valid
        spread = np.sqrt(np.square(values, out=values).sum(axis=2) / count)
    return np.concatenate([mean, spread], axis=1)


class LinearProbe(NamedTuple):
    """The fitted model.

    Args:
        offset: (F,) float64, the means of the features over the training cells.
        weights: (F, K) float64.
        bias: (K,) float64, the share of each class.
        num_cells: how many cells it was fitted to.
    """

    offset: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    num_cells: int

    def classes_of(self, features: NDArray[np.float64]) -> NDArray[np.int64]:
        """The class id of each cell: (N,) int64; a cell without valid pixels has the commonest class.

        Args:
            features: (N, F), of `band_statistics`.
        """
        centred = np.nan_to_num(features - self.offset, nan=0.0, posinf=0.0, neginf=0.0)
        return np.asarray((centred @ self.weights + self.bias).argmax(axis=1), np.int64)

    def fits(self, num_channels: int) -> bool:
        """Whether its features are those of so many channels."""
        return 2 * num_channels == len(self.offset)

    def classes_of_chips(self, chips: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """The class id of each chip: (N,) int64. Arguments: as of `band_statistics`."""
        return self.classes_of(band_statistics(chips, valid))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "num_cells": self.num_cells,
            "offset": _rounded(self.offset),
            "weights": [_rounded(row) for row in self.weights],
            "bias": _rounded(self.bias),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> LinearProbe:
        """Read one back.

        Raises:
            KeyError, TypeError, ValueError: if it is none.
        """
        offset, weights, bias = (np.array(plain[name], np.float64) for name in ("offset", "weights", "bias"))
        if weights.shape != (len(offset), len(bias)) or not all(np.isfinite(a).all() for a in (offset, weights, bias)):
            raise ValueError("it has not one finite weight for each feature and class")
        return cls(offset, weights, bias, int(plain["num_cells"]))


def fit_linear_probe(features: NDArray[np.float64], class_ids: NDArray[np.int64], num_classes: int) -> LinearProbe:
    """Fit the model; cells without valid pixels are left out.

    Args:
        features: (N, F), of `band_statistics`.
        class_ids: (N,) int64.
        num_classes: K.
    """
    is_known = np.isfinite(features).all(axis=1)
    known, count = features[is_known], int(is_known.sum())
    targets = np.eye(num_classes)[class_ids[is_known]]
    if not count:
        return LinearProbe(
            np.zeros(features.shape[1]), np.zeros((features.shape[1], num_classes)), np.zeros(num_classes), 0
        )
    offset, scale, bias = known.mean(axis=0), known.std(axis=0), targets.mean(axis=0)
    scale[scale == 0] = 1.0
    # Not by BLAS: it shares sums out among threads, and the last digits would depend on their number.
    inputs = (known - offset) / scale
    gram = np.einsum("nf,ng->fg", inputs, inputs) + RIDGE * count * np.eye(len(offset))
    weights = np.linalg.solve(gram, np.einsum("nf,nk->fk", inputs, targets - bias))
    return LinearProbe(offset, weights / scale[:, None], bias, count)


def _rounded(numbers: NDArray[np.float64]) -> list[float]:
    return [float(f"{number:.{_DIGITS}g}") for number in numbers.tolist()]
