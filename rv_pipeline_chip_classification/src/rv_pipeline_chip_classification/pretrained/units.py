"""Mean and standard deviation of a card, brought to the pixel values of the images; and whether these can be of its unit.

Where an image says a scale and an offset, value = pixel * scale + offset is in the unit 0-1. Else pixels of 8 bits go
to 255, wider whole numbers to 10,000 (reflectances as they are usually stored) and floats to 1. That is a guess, so it is
held against the pixels: values that lie far from what the network was fed with are of another unit. Pure numpy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rv_pipeline_chip_classification.model.normalize import Normalization
from rv_pipeline_chip_classification.pretrained.bands import BandMatch
from rv_pipeline_chip_classification.pretrained.card import UNITS, WeightCard

#: A mean that lies further from the card's than so many of its deviations, or a deviation that is so many times
#: larger or smaller, is of another unit: units differ by a factor of 39 at least, scenes by one of a few.
MAX_DEVIATIONS, MAX_SPREAD_RATIO = 8.0, 20.0
_NO_SCALE = (1.0, 0.0)

Column = NDArray[np.float64]
Scales = Sequence[tuple[float, float]]


def card_columns(card: WeightCard, match: BandMatch, dtype: str, scales: Scales) -> tuple[Column, Column]:
    """(mean, standard deviation) of the card per channel, in pixel values; NaN for channels that it does not know.

    Args:
        card: the card.
        match: which band each channel is.
        dtype: of the images.
        scales: (scale, offset) that the images say, by channel.
    """
    mean, std = np.full((2, len(match.columns)), np.nan)
    for channel, band in enumerate(match.columns):
        if band is None:
            continue
        scale, offset = _to_fraction(dtype, scales[channel])
        mean[channel] = (card.mean[band] / UNITS[card.unit] - offset) / scale
        std[channel] = card.std[band] / UNITS[card.unit] / abs(scale)
    return mean, std


def _to_fraction(dtype: str, tag: tuple[float, float]) -> tuple[float, float]:
    """(scale, offset) from pixel values to the unit 0-1."""
    if tuple(tag) != _NO_SCALE and tag[0]:
        return float(tag[0]), float(tag[1])
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return 1.0, 0.0
    return (1 / 255, 0.0) if kind.itemsize == 1 else (1 / 10_000, 0.0)


def unit_misfit(columns: tuple[Column, Column], mean: Column, std: Column, card: WeightCard) -> str:
    """Why pixels with these statistics are not of the card's unit; "" if they may be.

    Args:
        columns: what `card_columns` gave.
        mean: of the pixels, per channel.
        std: of the pixels, per channel.
        card: the card.
    """
    for channel, (its_mean, its_std) in enumerate(zip(*columns, strict=True)):
        if not np.isfinite([its_mean, its_std, mean[channel], std[channel]]).all() or not std[channel]:
            continue
        ratio = std[channel] / its_std
        is_near = abs(mean[channel] - its_mean) <= MAX_DEVIATIONS * its_std
        if not (is_near and 1 / MAX_SPREAD_RATIO <= ratio <= MAX_SPREAD_RATIO):
            return (
                f"channel {channel} has a mean of {mean[channel]:.3g} and a standard deviation of {std[channel]:.3g}, "
                f"and card {card.name!r} expects {its_mean:.3g} and {its_std:.3g} (its unit is {card.unit})"
            )
    return ""


def normalization_of(columns: tuple[Column, Column], mean: Column, std: Column) -> Normalization:
    """The card's normalisation in pixel values; channels that it does not know get their own statistics."""
    offset = np.where(np.isfinite(columns[0]), columns[0], mean)
    spread = np.where(np.isfinite(columns[1]), columns[1], std)
    scale = np.divide(1.0, spread, out=np.ones_like(spread), where=spread > 0)
    return Normalization("weights", tuple(offset.tolist()), tuple(scale.tolist()))
