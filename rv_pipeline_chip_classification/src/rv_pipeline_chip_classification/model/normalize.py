"""How pixel values reach the model: one affine map per channel, saved with the model and used wherever it is.

    value = (pixel - offset) * scale        invalid pixels become 0 afterwards

`stats` takes mean and 1 / standard deviation of the training scenes, `minmax` their minimum and 1 / (maximum -
minimum), `none` maps the range of an integer dtype to [0, 1] ([-1, 1) for signed ones) and leaves floats as they are.
`weights` takes mean and standard deviation of the card that the training started from (`pretrained.units`).
A channel that is constant in training has scale 1. Numpy, imported where it is used, and no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rv_core.errors import DataError
from rv_pipeline_chip_classification.model.plain_fields import numbers_of, text_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Batch = NDArray[np.float32]

#: More bands than any sensor has.
MAX_CHANNELS = 4096
#: As many as a GeoTIFF can have.
MAX_BANDS = 65_535
KINDS = ("stats", "minmax", "none", "weights", "range")
_MAX_FLOAT32 = (2 - 2.0**-23) * 2.0**127


@dataclass(frozen=True)
class Normalization:
    """The affine map of each channel, in the model's channel order.

    Args:
        kind: `stats`, `minmax`, `none` or `weights`, as in the config; `range` where that has a `scale_to`.
        offset: one number per channel, in units of the pixel values.
        scale: one number per channel, per unit.
    """

    kind: str
    offset: tuple[float, ...]
    scale: tuple[float, ...]

    @property
    def num_channels(self) -> int:
        """How many channels it is for."""
        return len(self.offset)

    def apply(
        self,
        chips: NDArray[Any],
        valid: NDArray[np.bool_] | None = None,
        *,
        contrast: NDArray[np.float32] | None = None,
        brightness: NDArray[np.float32] | None = None,
    ) -> Batch:
        """Normalise a whole batch; brightness and contrast ride on the same pass over the pixels.

        Args:
            chips: (B, H, W, C), any integer or float dtype.
            valid: (B, H, W) bool, or None if all pixels are valid.
            contrast: (B, C) factors of the normalised values, or None.
            brightness: (B, C) added after that, or None.

        Returns:
            (B, H, W, C) float32, newly allocated, C-contiguous; invalid pixels 0.
        """
        import numpy as np

        batch = np.empty(chips.shape, np.float32)
        offset, scale = self._constants(chips.dtype)
        # Large integers and float64 lose digits as float32, so these are centred before they are narrowed.
        np.subtract(chips, offset, out=batch, dtype=offset.dtype, casting="unsafe")
        np.multiply(batch, scale if contrast is None else scale * contrast[:, None, None, :], out=batch)
        if brightness is not None:
            np.add(batch, brightness[:, None, None, :], out=batch)
        if valid is not None:
            batch[~valid] = 0.0
        return batch

    def _constants(self, dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[np.float32]]:
        import numpy as np

        work = np.result_type(dtype, np.float32)
        return np.asarray(self.offset, work), np.asarray(self.scale, np.float32)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"kind": self.kind, "offset": list(self.offset), "scale": list(self.scale)}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Normalization:
        """Read back what `to_json` made; KeyError or ValueError for anything else."""
        kind, offset, scale = text_of(plain, "kind"), *(numbers_of(plain, n, MAX_CHANNELS) for n in ("offset", "scale"))
        if kind not in KINDS:
            raise ValueError(f"its normalisation is {kind!r:.60} and must be one of {', '.join(KINDS)}")
        if len(offset) != len(scale):
            raise ValueError("a normalisation needs one finite offset and scale per channel")
        if any(abs(value) > _MAX_FLOAT32 for value in (*offset, *scale)) or not all(scale):
            raise ValueError("a scale of its normalisation is 0, or a number of it is too large for the model")
        return cls(kind, offset, scale)


def normalization_to_range(ranges: Sequence[Sequence[float]], num_channels: int) -> Normalization:
    """The normalisation that maps a range of each channel to 0 and 1.

    Args:
        ranges: (low, high) of each channel, or one for all.
        num_channels: C.

    Raises:
        DataError: if there are neither one nor C of them.
    """
    if len(ranges) not in (1, num_channels):
        what = f"scale_to has {len(ranges)} ranges for {num_channels} channels"
        raise DataError(what, fix="give one [low, high] per channel, or one for all")
    pairs = list(ranges) * (num_channels if len(ranges) == 1 else 1)
    return Normalization(
        "range", tuple(float(low) for low, _ in pairs), tuple(1.0 / (high - low) for low, high in pairs)
    )


def normalization_for(
    kind: str,
    dtype: np.dtype[Any],
    num_channels: int,
    statistics: Mapping[str, Sequence[float]] | None = None,
) -> Normalization:
    """The normalisation that a config asks for.

    Args:
        kind: `stats`, `minmax` or `none`.
        dtype: of the images.
        num_channels: C.
        statistics: `mean`, `std`, `min`, `max` of the valid training pixels, each (C,); not needed for `none`.

    Raises:
        DataError: if the statistics are missing, of another number of channels, or not finite (no valid pixel).
    """
    if kind == "none":
        span = _dtype_span(dtype)
        return Normalization(kind, (0.0,) * num_channels, (1.0 / span,) * num_channels)
    import numpy as np

    columns = _columns_of(statistics or {}, ("mean", "std") if kind == "stats" else ("min", "max"), num_channels)
    offset, other = columns
    spread = other if kind == "stats" else other - offset
    scale = np.divide(1.0, spread, out=np.ones_like(spread), where=spread > 0)
    return Normalization(kind, tuple(offset.tolist()), tuple(scale.tolist()))


def _dtype_span(dtype: np.dtype[Any]) -> float:
    import numpy as np

    return float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0


def _columns_of(
    statistics: Mapping[str, Sequence[float]], names: tuple[str, str], num_channels: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    import numpy as np

    fix = 'run "analyze" on the training scenes again, or set normalize="none"'
    columns = [np.asarray(statistics.get(name, ()), np.float64) for name in names]
    for name, column in zip(names, columns, strict=True):
        if column.shape != (num_channels,):
            what = f"the statistics hold {column.size} values of {name!r} for {num_channels} channels"
            raise DataError(what, where="analyze", fix=fix)
        if not np.isfinite(column).all():
            raise DataError(
                f"the statistics hold no usable {name!r}", where="analyze", why=str(column.tolist()), fix=fix
            )
    return columns[0], columns[1]
