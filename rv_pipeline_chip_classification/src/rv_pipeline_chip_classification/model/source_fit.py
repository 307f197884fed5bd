"""Whether an image is like those that a model was trained on, beyond what its contract demands: header and values.

**Drift** is told of a channel where one of two measures passes its threshold (docs/decisions/0016 has the figures):

- the share of its valid pixels outside of what 99.8 % of the training pixels lie in (their quantiles 0.001 to 0.999);
- the distance between both distributions (Wasserstein's of order 1: the mean difference of equal quantiles), in
  standard deviations of the training pixels, the outermost 0.1 % at both ends left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rv_core.errors import DataError
from rv_pipeline_chip_classification.model.contract import ModelContract
from rv_pipeline_chip_classification.model.value_histogram import PixelSample, ValueHistogram
from rv_pipeline_chip_classification.scenes.channel_names import describe_channels, match_channels, order_fix
from rv_pipeline_chip_classification.scenes.crs import is_same_pixel_size, pixel_size_m
from rv_pipeline_chip_classification.scenes.grid import Grid
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster, finite_or_none

#: 0.2 % lie outside where nothing has changed; of held-out scenes at most 2.0 % did.
MAX_SHARE_OUTSIDE = 0.1
#: Held-out scenes were at most 1.05 apart; two normal distributions are where their means differ by so much.
MAX_DISTANCE_STD = 2.0
_TAILS = np.array([0.001, 0.999])
_LEVELS = (np.arange(1000) + 0.5) / 1000
#: Those between the tails: beyond them one wild pixel alone would be a distance.
_INSIDE = (_TAILS[0] < _LEVELS) & (_TAILS[1] > _LEVELS)
_MAX_SHOWN = 8
UNKNOWN_VALUES = (
    "the model does not know the values of its training images: whether those of an image differ is not told"
)


class ChannelDrift(NamedTuple):
    """How the values of one channel lie beside those of the training pixels.

    Args:
        name: of the channel, for messages.
        share_outside: of its pixels outside of the training pixels' quantiles 0.001 to 0.999.
        distance_std: between both distributions, in standard deviations of the training pixels.
        usual: those two quantiles.
        found: the same quantiles of the image.
    """

    name: str
    share_outside: float
    distance_std: float
    usual: tuple[float, float]
    found: tuple[float, float]

    @property
    def is_told(self) -> bool:
        """Whether it is more than images of one kind differ by."""
        return self.share_outside > MAX_SHARE_OUTSIDE or self.distance_std > MAX_DISTANCE_STD

    def __str__(self) -> str:
        (low, high), (own_low, own_high) = self.usual, self.found
        return (
            f"{self.name}: {self.share_outside:.0%} of its pixels are outside of {low:.6g} to {high:.6g}, which nearly "
            f"all training pixels are in; here they are {own_low:.6g} to {own_high:.6g}, "
            f"{self.distance_std:.3g} standard deviations away"
        )


def drift_of(trained: ValueHistogram, own: ValueHistogram, names: Sequence[str | None]) -> list[ChannelDrift]:
    """How each channel of an image lies beside the training pixels.

    Args:
        trained: of the training pixels.
        own: of the image, with as many channels.
        names: of the channels.
    """
    # A forgotten nodata value of a float64 image, or a foreign bundle, may hold what no sum of float64 can.
    with np.errstate(over="ignore", invalid="ignore"):
        usual, found = trained.quantiles(_TAILS), own.quantiles(_TAILS)
        points = own.quantiles(_LEVELS)
        outside = ((points < usual[:, :1]) | (points > usual[:, 1:])).mean(axis=1)
        distances = np.abs(trained.quantiles(_LEVELS) - points)[:, _INSIDE].mean(axis=1)
        spreads = _spreads(trained)
    return [
        ChannelDrift(
            name=names[channel] or f"channel {channel}",
            share_outside=float(outside[channel]),
            distance_std=float(distances[channel] / spreads[channel]) if 0 < spreads[channel] < np.inf else 0.0,
            usual=(float(usual[channel, 0]), float(usual[channel, 1])),
            found=(float(found[channel, 0]), float(found[channel, 1])),
        )
        for channel in range(trained.num_channels)
    ]


def _spreads(trained: ValueHistogram) -> NDArray[np.float64]:
    """(C,) standard deviations without the tails, which one wild pixel would make as large as it is."""
    inside = np.linspace(_TAILS[0], _TAILS[1], 1000)
    spreads: NDArray[np.float64] = trained.quantiles(inside).std(axis=1)
    return spreads


def drift_notes(trained: ValueHistogram | None, sample: PixelSample, names: Sequence[str | None]) -> list[str]:
    """A sentence per channel whose values are not those of the training pixels.

    Args:
        trained: of the training pixels; where they are not known, nothing is said.
        sample: of the image; one without valid pixels has no values.
        names: of the channels.
    """
    own = sample.histogram()
    if trained is None or own is None:
        return []
    return [str(drift) for drift in drift_of(trained, own, names) if drift.is_told]


def drift_in_words(notes: Sequence[str]) -> str:
    """The notes of some channels as one text."""
    more = f"; and {len(notes) - _MAX_SHOWN} more channels" if len(notes) > _MAX_SHOWN else ""
    return "; ".join(notes[:_MAX_SHOWN]) + more


def refuse_drift(contract: ModelContract, sample: PixelSample, *, where: str, fix: str) -> None:
    """Refuse an image whose values are not those of the training pixels.

    Raises:
        DataError: naming the channels, or if the values of the training pixels are not known.
    """
    if contract.values is None:
        raise DataError("drift cannot be refused", where=where, why=UNKNOWN_VALUES, fix=fix)
    if notes := drift_notes(contract.values, sample, contract.channels):
        raise DataError(
            "the values of this image are not those of the training images",
            where=where,
            why=drift_in_words(notes),
            fix=f"bring it to their scale, or {fix}",
        )


def header_notes(contract: ModelContract, raster: SceneRaster, nodata: float | None) -> list[str]:
    """What to know about the header of an image beside those of the training images; what is not known is left out.

    Args:
        contract: of the model.
        raster: the open image.
        nodata: the value that the user or the config says; None for what the file declares.
    """
    return list(
        filter(
            None,
            [
                pixel_size_note(contract, raster.grid),
                _scales_note(contract, raster),
                _nodata_note(contract, raster.declared_nodata if nodata is None else finite_or_none(nodata)),
            ],
        )
    )


def pixel_size_note(contract: ModelContract, grid: Grid) -> str:
    """What to know about the size of an image's pixels beside that of the training images; "" if it is the same."""
    size_m = pixel_size_m(grid) if contract.pixel_size_m is not None else None
    if size_m is None or contract.pixel_size_m is None:
        return ""
    low_m, high_m = contract.pixel_size_m
    if low_m <= size_m <= high_m or is_same_pixel_size(size_m, low_m) or is_same_pixel_size(size_m, high_m):
        return ""
    trained = f"{low_m:.3g} m" if is_same_pixel_size(low_m, high_m) else f"{low_m:.3g} to {high_m:.3g} m"
    return f"its pixels are {size_m:.3g} m on the ground, those of the training images {trained}"


def _scales_note(contract: ModelContract, raster: SceneRaster) -> str:
    if contract.scales is None or raster.scales == contract.scales:
        return ""
    return (
        f"its scales and offsets are {scales_in_words(raster.scales)}, those of the training images "
        f"{scales_in_words(contract.scales)}: equal pixels mean different values"
    )


def scales_in_words(scales: Sequence[tuple[float, float]]) -> str:
    """(scale, offset) of channels, each once."""
    return ", ".join(f"{scale:g} and {offset:g}" for scale, offset in dict.fromkeys(scales))


def _nodata_note(contract: ModelContract, nodata: float | None) -> str:
    if not contract.declared_nodata or nodata in contract.declared_nodata:
        return ""
    trained = " or ".join("none" if value is None else f"{value:g}" for value in contract.declared_nodata)
    own = "it declares no nodata value" if nodata is None else f"its nodata value is {nodata:g}"
    return f"{own}, those of the training images: {trained} (--nodata, raster.nodata)"


def channel_note(contract: ModelContract, raster: SceneRaster, *, is_order_given: bool) -> str:
    """What to know about a scene whose channels are taken by position; "" for nothing.

    Args:
        contract: of the model.
        raster: the open scene.
        is_order_given: whether its config has a `channel_order`.

    Raises:
        DataError: if names contradict the order, saying which `channel_order` mends it.
    """
    match = match_channels(raster.channel_names, contract.channels, file_names=raster.band_names)
    own, trained = describe_channels(raster.channel_names), describe_channels(contract.channels)
    if match.is_refused(is_order_given=is_order_given):
        raise DataError(
            f"the channels of scene {raster.scene_id!r} are not those of the training scenes",
            why=f"{own} instead of {trained}",
            fix=order_fix(raster.band_names, contract.channels),
        )
    return f"its channels are {own}, and the model was trained on {trained}: taken by position" if match.differ else ""
