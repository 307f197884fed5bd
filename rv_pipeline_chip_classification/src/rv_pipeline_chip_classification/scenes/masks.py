"""Which pixels of a file are no data: what GDAL's masks say, an alpha band, or the value of the config; NaN always."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags

from rv_pipeline_chip_classification.config import MaskConfig

#: Names that say nothing ("Band_4"), and names of masks: an alpha band that is called so is still one.
_MASK_NAME = re.compile(r"\b(alpha|mask)\b", re.IGNORECASE)
_NO_DATA_NAME = re.compile(rf"(band|channel)?[ _-]*\d*|a|.*{_MASK_NAME.pattern}.*", re.IGNORECASE)


class MaskRule(NamedTuple):
    """What makes a pixel of a file invalid, besides NaN and infinity.

    Args:
        nodata: the scalar of each channel that is compared, None where no pixel has it; empty for none.
        alpha: the alpha band, 1-based.
        mask_bands: the bands whose masks are asked of GDAL, 1-based.
    """

    nodata: tuple[Any, ...] = ()
    alpha: int | None = None
    mask_bands: tuple[int, ...] = ()


def choose_mask(
    dataset: Any, bands: Sequence[int], dtype: np.dtype[Any], nodata: float | None, alpha: int | None
) -> MaskRule:
    """Decide once for a file what is no data.

    Args:
        dataset: of rasterio.
        bands: those that are read, 1-based.
        dtype: of their pixels.
        nodata: the value of the config, which replaces all that the file declares; None for what it declares.
        alpha: its alpha band, 1-based.
    """
    if nodata is not None:
        return MaskRule((as_dtype(nodata, dtype),) * len(bands))
    flags = [set(dataset.mask_flag_enums[band - 1]) for band in bands]
    every = set().union(*flags)
    if any({MaskFlags.per_dataset, MaskFlags.nodata} <= its for its in flags):
        return MaskRule(mask_bands=(bands[0],))  # NODATA_VALUES: no data where every band has its value
    if MaskFlags.nodata in every:
        return _declared_nodata(dataset, bands, dtype)
    if alpha is not None and alpha not in bands:
        return MaskRule(alpha=alpha)
    has_mask = MaskFlags.per_dataset in every and MaskFlags.alpha not in every
    return MaskRule(mask_bands=(bands[0],) if has_mask else ())


def _declared_nodata(dataset: Any, bands: Sequence[int], dtype: np.dtype[Any]) -> MaskRule:
    # Comparing small integers is exact, and far cheaper than having GDAL read the pixels once more.
    if dtype.kind in "iu" and dtype.itemsize <= 4:
        return MaskRule(tuple(as_dtype(dataset.nodatavals[band - 1], dtype) for band in bands))
    return MaskRule(mask_bands=tuple(sorted(set(bands))))


def find_alpha(dataset: Any) -> int | None:
    """The alpha band, 1-based, or None.

    A tagged band that has a name of its own is data: GDAL tags the fourth of four uint8 bands, whatever it holds.
    """
    for band, interpretation in enumerate(dataset.colorinterp, 1):
        if interpretation == ColorInterp.alpha and dataset.count > 1 and _is_no_data_name(dataset, band):
            return band
    return None


def alpha_note(dataset: Any, alpha: int | None) -> str:
    """What the user should know about a band that is tagged alpha where no channel order is given; "" for nothing."""
    if alpha is not None:
        name = dataset.descriptions[alpha - 1]
        every = list(range(dataset.count))
        called = f"is called {name!r}" if name else "has no name"
        return (
            f"band {alpha} is tagged alpha and {called}: taken as the mask, not as a channel; "
            f"channel_order={every} takes it"
        )
    for band, interpretation in enumerate(dataset.colorinterp, 1):
        if interpretation == ColorInterp.alpha and dataset.count > 1:
            name = dataset.descriptions[band - 1]
            return f"band {band} is tagged alpha and is called {name!r}: taken as a channel, not as the mask"
    for band, name in enumerate(dataset.descriptions, 1):
        if dataset.count > 1 and name and _MASK_NAME.search(name.replace("_", " ")):
            others = [channel for channel in range(dataset.count) if channel != band - 1]
            return (
                f"band {band} is called {name!r} and is not tagged alpha: taken as a channel, not as the mask; "
                f"channel_order={others} leaves it out"
            )
    return ""


def _is_no_data_name(dataset: Any, band: int) -> bool:
    return _NO_DATA_NAME.fullmatch((dataset.descriptions[band - 1] or "").replace("_", " ").strip()) is not None


def as_dtype(nodata: float | None, dtype: np.dtype[Any]) -> Any:
    """The nodata value as a scalar of the dtype, or None if no pixel can have it."""
    if nodata is None or (dtype.kind == "f" and np.isnan(nodata)):
        return None  # NaN is never valid, whatever is declared
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            value = dtype.type(nodata)
        return value if np.isfinite(value) else None  # infinite pixels are never valid either
    limits = np.iinfo(dtype)
    fits = float(nodata).is_integer() and limits.min <= nodata <= limits.max
    return dtype.type(int(nodata)) if fits else None


def is_nodata(values: NDArray[Any], value: Any) -> NDArray[np.bool_]:
    """Where values are nodata, by equality as GDAL has it: of floats to two units in the last place, and all that is near the largest number.

    Writers round the text of -3.4028234663852886e+38, some to -3.4e+38. The sum below is then infinite, on purpose.
    """
    if values.dtype.kind != "f":
        equal: NDArray[np.bool_] = values == value
        return equal
    with np.errstate(over="ignore", invalid="ignore"):
        near: NDArray[np.bool_] = np.abs(values - value) < np.finfo(values.dtype).eps * 2 * np.abs(values + value)
    near |= values == value
    return near


def valid_pixels(values: NDArray[Any], nodata: Sequence[Any], mask: NDArray[Any] | None) -> NDArray[np.bool_] | None:
    """Which pixels are valid in every channel; None if all are. Most strips are, so that is found out first.

    Args:
        values: (H, W, C), any dtype.
        nodata: the scalar of each channel that means "no data", or None; empty where there is none.
        mask: (H, W) uint8, 0 where a pixel is not valid; None where the file has no mask.
    """
    parts: list[Any] = []
    for value in set(nodata) - {None}:
        hits = is_nodata(values, value)
        if hits.any():
            channels = [channel for channel, its in enumerate(nodata) if its == value]
            parts.append((hits if len(channels) == len(nodata) else hits[..., channels]).any(axis=2))
        del hits
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        parts.append(~finite.all(axis=2))
    if mask is not None:
        parts.append(mask == 0)
    invalid = np.logical_or.reduce(parts) if parts else None
    return ~invalid if invalid is not None and invalid.any() else None


def usable(values: NDArray[Any], mask: MaskConfig) -> NDArray[np.bool_]:
    """Which pixels a mask says are usable.

    Args:
        values: (H, W) whole numbers of the mask.
        mask: what they mean.

    Returns:
        (H, W) bool.
    """
    if mask.valid_values is not None:
        return np.isin(values, mask.valid_values)
    if mask.invalid_values is not None:
        return ~np.isin(values, mask.invalid_values)
    bits = sum(1 << bit for bit in mask.invalid_bits or ())
    unset: NDArray[np.bool_] = (values.astype(np.uint64) & np.uint64(bits)) == 0
    return unset
