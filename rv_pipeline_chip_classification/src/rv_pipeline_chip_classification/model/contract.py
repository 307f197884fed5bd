"""What a model expects and what it answers, saved beside its weights: `train/model.json`, `bundle.json`. No torch.

Nor numpy, until an image is looked at: what only passes a contract on does not wait for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rv_core.errors import DataError
from rv_pipeline_chip_classification.config_parts import MAX_SIDE_PX
from rv_pipeline_chip_classification.model.normalize import MAX_BANDS, MAX_CHANNELS, Normalization
from rv_pipeline_chip_classification.model.plain_fields import (
    boolean_of,
    integer_of,
    list_of,
    mapping_of,
    number_of,
    numbers_of,
    text_of,
    texts_by_name,
)
from rv_pipeline_chip_classification.model.value_histogram import ValueHistogram

if TYPE_CHECKING:
    import numpy as np

FORMAT = 1
#: Of a model that sees more than the cell, or scaled values: what does not know of it must not use it.
NEWER_FORMAT = 2
#: Far above any training set; a description with more is not of a model.
MAX_CLASSES = 65_536
#: Temperatures that are fitted lie between 0.1 and 10; far out no score is left but 0 and 1, or all are alike.
_MIN_TEMPERATURE = 1e-6
_MAX_NODATA_VALUES = 1000
_PIXEL_TYPE = re.compile(r"u?int(?:8|16|32|64)|float(?:16|32|64)")
_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")


@dataclass(frozen=True)
class ModelContract:
    """The contract between a model and the images that it is used on.

    Args:
        backbone: as in the config.
        channels: the description of each channel in the training images, in the model's order; None where there was
            none.
        dtype: of the training images.
        normalization: how pixel values reach the model.
        class_names: by class id.
        class_colors: `#rrggbb` by class id; in `train/model.json` always the palette's.
        chip_size_px: side of the chips that it learnt from.
        cell_size_px: side of the cells that it classifies.
        temperature: what logits are divided by before the softmax, fitted on validation chips (1: not fitted).
        file_channels: which channels of the training images these are, 0-based; empty where training scenes differ,
            None where it is not known (models of earlier versions).
        num_bands: bands of the training images; None where they differ or it is not known.
        nodata: the value that the config declared for the training images; None for what a file declares.
        pixel_size_m: the smallest and the largest side of a pixel of the training images on the ground; None where it
            is not known.
        context_px: pixels that it sees on every side of a chip and of a cell.
        apply_scale: whether the scale and offset tags of images are applied before anything else.
        declared_nodata: the different nodata values of the training images, of the config or else of their files, None
            among them for an image without; empty where they are not known.
        scales: (scale, offset) by channel, as the training images declare them; None where they differ or are not known.
        values: how the values of the training pixels are distributed; None where it is not known.
        backbone_code: digest of the text of a backbone of the user's own; None for any other.
        weights: the pretrained weights that the training started from: name of the card, SHA-256 of the file, licence;
            None where there were none.
    """

    backbone: str
    channels: tuple[str | None, ...]
    dtype: str
    normalization: Normalization
    class_names: tuple[str, ...]
    class_colors: tuple[str, ...]
    chip_size_px: int
    cell_size_px: int
    temperature: float = 1.0
    file_channels: tuple[int, ...] | None = None
    num_bands: int | None = None
    nodata: float | None = None
    pixel_size_m: tuple[float, float] | None = None
    context_px: int = 0
    apply_scale: bool = False
    declared_nodata: tuple[float | None, ...] = ()
    scales: tuple[tuple[float, float], ...] | None = None
    values: ValueHistogram | None = None
    backbone_code: str | None = None
    weights: Mapping[str, str] | None = None

    @property
    def chip_width_px(self) -> int:
        """Side of the chips that it learnt from, with their context."""
        return self.chip_size_px + 2 * self.context_px

    @property
    def num_channels(self) -> int:
        """How many channels it expects."""
        return len(self.channels)

    @property
    def num_classes(self) -> int:
        """How many scores it gives per cell."""
        return len(self.class_names)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "format": NEWER_FORMAT if self.context_px or self.apply_scale else FORMAT,
            "backbone": self.backbone,
            "channels": list(self.channels),
            "dtype": self.dtype,
            "normalization": self.normalization.to_json(),
            "classes": [
                {"class_id": class_id, "name": name, "color": color}
                for class_id, (name, color) in enumerate(zip(self.class_names, self.class_colors, strict=True))
            ],
            "chip_size_px": self.chip_size_px,
            "cell_size_px": self.cell_size_px,
            "temperature": self.temperature,
            "file_channels": None if self.file_channels is None else list(self.file_channels),
            "num_bands": self.num_bands,
            "nodata": self.nodata,
            "pixel_size_m": None if self.pixel_size_m is None else list(self.pixel_size_m),
            **({"context_px": self.context_px} if self.context_px else {}),
            **({"apply_scale": True} if self.apply_scale else {}),
            "declared_nodata": list(self.declared_nodata),
            "scales": None if self.scales is None else [list(pair) for pair in self.scales],
            "values": None if self.values is None else self.values.to_json(),
            **({} if self.backbone_code is None else {"backbone_code": self.backbone_code}),
            **({} if self.weights is None else {"weights": dict(self.weights)}),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any], *, where: str) -> ModelContract:
        """Read back what `to_json` made.

        Raises:
            DataError: if it is something else, or of a newer format.
        """
        try:
            if type(plain["format"]) is not int or plain["format"] not in (FORMAT, NEWER_FORMAT):
                known = f"{FORMAT} and {NEWER_FORMAT}"
                raise ValueError(f"its format is {plain['format']!r:.60}; this version of rv knows {known}")
            classes = [_class_of(entry, index) for index, entry in enumerate(list_of(plain, "classes", MAX_CLASSES))]
            contract = cls(
                backbone=text_of(plain, "backbone"),
                channels=_channels_of(plain),
                dtype=_pixel_type_of(plain),
                normalization=Normalization.from_json(mapping_of(plain, "normalization")),
                class_names=tuple(name for name, _ in classes),
                class_colors=tuple(color for _, color in classes),
                chip_size_px=integer_of(plain, "chip_size_px", 1, MAX_SIDE_PX),
                cell_size_px=integer_of(plain, "cell_size_px", 1, MAX_SIDE_PX),
                temperature=number_of(plain, "temperature"),
                context_px=_context_of(plain),
                **_source_of(plain),
            )
            contract._check()
        except KeyError as err:
            raise DataError("this is no model description of rv", where=where, why=f"it has no {err}") from err
        except (TypeError, ValueError) as err:
            raise DataError("this is no model description of rv", where=where, why=str(err)) from err
        return contract

    def _check(self) -> None:
        if not self.channels or len(self.channels) != self.normalization.num_channels:
            raise ValueError("channels and normalisation do not go together")
        if not self.class_names or len(set(self.class_names)) < len(self.class_names):
            raise ValueError("it has no classes, or two of one name")
        if max(self.chip_size_px, self.cell_size_px) + 2 * self.context_px > MAX_SIDE_PX:
            raise ValueError(f"with context_px {self.context_px} its images are wider than {MAX_SIDE_PX} px")
        if not _MIN_TEMPERATURE <= self.temperature <= 1 / _MIN_TEMPERATURE:
            raise ValueError(f"its temperature is {self.temperature}, outside of {_MIN_TEMPERATURE} to 1e6")
        if self.scales is not None and len(self.scales) != self.num_channels:
            raise ValueError("there is not one scale and offset per channel")
        if self.values is not None and self.values.num_channels != self.num_channels:
            raise ValueError("there is not one histogram of values per channel")

    @classmethod
    def from_text(cls, text: str | bytes, *, where: str) -> ModelContract:
        """`from_json` of JSON text."""
        try:
            plain = json.loads(text)
        except (ValueError, RecursionError) as err:
            raise DataError("this is no model description of rv", where=where, why=str(err)) from err
        return cls.from_json(plain if isinstance(plain, dict) else {}, where=where)


def _channels_of(plain: Mapping[str, Any]) -> tuple[str | None, ...]:
    names = list_of(plain, "channels", MAX_CHANNELS)
    return tuple(
        None if name is None else text_of({"a name of channels": name}, "a name of channels") for name in names
    )


def _pixel_type_of(plain: Mapping[str, Any]) -> str:
    name = text_of(plain, "dtype")
    if not _PIXEL_TYPE.fullmatch(name):
        raise ValueError(f"dtype is {name!r:.60} and must be a type of pixels such as 'uint16' or 'float32'")
    return name


def _class_of(entry: Any, index: int) -> tuple[str, str]:
    """Name and colour of a class."""
    if not isinstance(entry, dict):
        raise ValueError(f"classes[{index}] is no object with a name and a color")
    name, color = text_of(entry, "name"), text_of(entry, "color")
    if not _COLOR.fullmatch(color):
        raise ValueError(f"classes[{index}].color is {color!r:.60} and must be written as '#rrggbb'")
    return name, color


def _context_of(plain: Mapping[str, Any]) -> int:
    """What is around a cell; the newer format has it, or says that scales are applied."""
    if plain["format"] == FORMAT or ("context_px" not in plain and plain.get("apply_scale") is True):
        return 0
    return integer_of(plain, "context_px", 1, MAX_SIDE_PX)


def _source_of(plain: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of the training images' files; models of earlier versions say nothing of it."""
    return {name: read(plain, name) for name, read in _SOURCE_FIELDS.items() if plain.get(name) is not None}


def _file_channels_of(plain: Mapping[str, Any], name: str) -> tuple[int, ...]:
    entries = list_of(plain, name, MAX_CHANNELS)
    channels = tuple(integer_of({name: entry}, name, 0, MAX_BANDS) for entry in entries)
    if channels and len(channels) != len(list_of(plain, "channels", MAX_CHANNELS)):
        raise ValueError(f"channels and {name} do not go together")
    return channels


def _pixel_sizes_of(plain: Mapping[str, Any], name: str) -> tuple[float, float]:
    sizes = numbers_of(plain, name, 2)
    if len(sizes) != 2 or not 0 < sizes[0] <= sizes[1]:
        raise ValueError(f"{name} is {sizes!r:.60} and must be the smallest and the largest size, in metres")
    return sizes[0], sizes[1]


def _declared_nodata_of(plain: Mapping[str, Any], name: str) -> tuple[float | None, ...]:
    values = list_of(plain, name, _MAX_NODATA_VALUES)
    return tuple(None if value is None else number_of({name: value}, name) for value in values)


def _scales_of(plain: Mapping[str, Any], name: str) -> tuple[tuple[float, float], ...]:
    pairs = [numbers_of({name: pair}, name, 2) for pair in list_of(plain, name, MAX_CHANNELS)]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"{name} must be pairs of a scale and an offset")
    return tuple((scale, offset) for scale, offset in pairs)


_SOURCE_FIELDS: dict[str, Callable[[Mapping[str, Any], str], Any]] = {
    "file_channels": _file_channels_of,
    "num_bands": lambda plain, name: integer_of(plain, name, 1, MAX_BANDS),
    "nodata": number_of,
    "pixel_size_m": _pixel_sizes_of,
    "apply_scale": boolean_of,
    "declared_nodata": _declared_nodata_of,
    "scales": _scales_of,
    "values": lambda plain, name: ValueHistogram.from_json(mapping_of(plain, name)),
    "backbone_code": text_of,
    "weights": texts_by_name,
}


def check_image(contract: ModelContract, num_channels: int, dtype: np.dtype[Any], *, where: str) -> None:
    """Refuse an image that the model cannot have been made for, before the model is loaded.

    Args:
        contract: of the model.
        num_channels: of the image, after its channel order.
        dtype: of the image.
        where: the image, for messages.

    Raises:
        DataError: if the number of channels or the dtype differs (float widths may).
    """
    import numpy as np

    if num_channels != contract.num_channels:
        known = ", ".join(name or f"channel {index}" for index, name in enumerate(contract.channels))
        raise DataError(
            f"the image has {num_channels} channels, the model expects {contract.num_channels}",
            where=where,
            why=f"it was trained on {known}",
            fix="choose the channels with channel_order (--channel-order), or take another image",
        )
    trained = np.dtype(contract.dtype)
    if dtype != trained and not dtype.kind == trained.kind == "f":
        raise DataError(
            f"the pixels are {dtype}, the model was trained on {trained}",
            where=where,
            why="the same scene in another dtype has other values, so scores would mean nothing",
            fix="convert the image to the scale and dtype of the training images",
        )
