"""What the config classes are made of: kinds of numbers, and the base of all label sources."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

from rv_core import AsBefore, Config, Range
from rv_core.errors import Finding

Subset = Literal["train", "validation", "test"]
SUBSETS: tuple[Subset, ...] = get_args(Subset)
Positive = Annotated[int, Range(min=1)]
#: A chip of this side with four channels is a gigabyte as float32: more is a mistake, or meant to exhaust a machine.
MAX_SIDE_PX = 8192
SidePx = Annotated[int, Range(min=1, max=MAX_SIDE_PX)]
#: Pixels around a cell; there were none in the first version.
ContextPx = Annotated[int, Range(min=0, max=MAX_SIDE_PX), AsBefore(0)]
#: Windows of one item: 8 for 16,384 px with cells of 64 px, and one for up to 5,760 px.
DEFAULT_MAX_WINDOWS = 8192
MaxWindows = Annotated[int, Range(min=1), AsBefore(DEFAULT_MAX_WINDOWS)]
NotNegative = Annotated[int, Range(min=0)]
#: How scores are made better while predicting; in the first version they were not.
Augment = Annotated[Literal["none", "d4"], AsBefore("none")]
Overlap = Annotated[Literal["separate", "average"], AsBefore("separate")]
#: The file of cells that people open.
Vector = Annotated[Literal["none", "geojson", "geojsonseq", "gpkg", "fgb", "parquet"], AsBefore("geojson")]
#: The numbers of a forward pass, and those of a prediction, which were float32 before there was a choice.
Precision = Literal["auto", "float32", "bfloat16", "float16"]
PredictPrecision = Annotated[Precision, AsBefore("float32")]
Smooth = Annotated[int, Range(min=1, max=99), AsBefore(1)]
Fraction = Annotated[float, Range(min=0, max=1)]


@dataclass(kw_only=True)
class LabelsConfig(Config):
    """Base of the label sources: what gives a window of a scene its class.

    Args:
        cell_size_px: side of a cell, the square that has one class, in pixels; None is the chip size. The whole
            extent is covered with cells, row by row from its first pixel; each is predicted and evaluated as one.
    """

    is_abstract: ClassVar[bool] = True

    cell_size_px: SidePx | None = None

    def class_names_used(self) -> Iterator[tuple[str, str]]:
        """Every class name that these labels refer to, as (dotted path in this object, name)."""
        yield from ()

    def has_cell_grid(self) -> bool:
        """Whether the cells are a grid over the extent (else each feature is a cell)."""
        return True


def cell_size_px(labels: LabelsConfig | None, chip_size_px: int) -> int:
    """Side of the cells of a scene with these labels, in pixels: its own, else the chip size."""
    return (labels.cell_size_px if labels else None) or chip_size_px


def check_value_scales(
    scale_to: Sequence[Sequence[float]] | None, normalize: str, applies: Sequence[bool]
) -> Iterator[Finding]:
    """Ranges are ranges, and scales are applied to all scenes or to none: a model has one unit.

    Args:
        scale_to: `[low, high]` per channel.
        normalize: what it takes the place of.
        applies: `raster.apply_scale` of every scene.
    """
    for index, pair in enumerate(scale_to or ()):
        if len(pair) != 2 or not pair[0] < pair[1]:
            yield Finding(
                f"scale_to[{index}]", f"{list(pair)} is no range", "write [low, high], for instance [0, 10000]"
            )
    if scale_to is not None and not scale_to:
        yield Finding("scale_to", "no range is given", "write one [low, high] per channel, or one for all")
    if scale_to is not None and normalize == "weights":
        yield Finding("scale_to", 'contradicts normalize="weights", which a card says', "leave one of them out")
    if len(set(applies)) > 1:
        what = "raster.apply_scale is set for some scenes and not for others"
        yield Finding("dataset", what, "set it for all: where a file declares no scale, its values stay as they are")


def check_smooth(smooth: int) -> Iterator[Finding]:
    """A neighbourhood has a cell in its middle."""
    if smooth % 2 == 0:
        what = f"{smooth} x {smooth} cells have none in their middle"
        yield Finding("smooth", what, f"take an odd number, for instance {smooth + 1}")


def check_overlap(where: str, overlap: str, cell_px: int, stride_px: int | None) -> Iterator[Finding]:
    """Cells that are averaged overlap, by whole steps.

    Args:
        where: the field.
        overlap: what happens to cells that overlap.
        cell_px: side of a cell.
        stride_px: step between cells; None is the size.
    """
    stride_px = stride_px or cell_px
    if overlap == "separate" or (stride_px < cell_px and cell_px % stride_px == 0):
        return
    what = f"cells of {cell_px} px that begin every {stride_px} px "
    what += "do not overlap" if stride_px >= cell_px else f"cannot be averaged onto squares of {stride_px} px"
    yield Finding(where, what, f"set the step (stride_px) to a divisor of {cell_px} below it")


def check_keep(keep: Mapping[str, Mapping[str, float]], names: Collection[str]) -> Iterator[Finding]:
    """Shares are of subsets that have chips, and of classes that there are."""
    for subset, shares in keep.items():
        if subset not in ("train", "validation"):
            yield Finding(f"chip.keep.{subset}", 'is no subset that has chips: "train" or "validation"')
        for name in shares:
            if name not in names:
                yield Finding(
                    f"chip.keep.{subset}.{name}", f"is no class; classes.names are {', '.join(map(repr, names))}"
                )
