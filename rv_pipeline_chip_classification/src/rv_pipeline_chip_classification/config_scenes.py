"""The part of the configuration that says what there is: classes, images, labels, scenes.

Sizes and offsets are whole pixels of the scene's own grid (after `bbox` they still count from the file's first pixel).
Windows are half-open boxes `[row_off, col_off, height, width]`. Class ids are positions in `ClassConfig.names`, from 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from rv_core import AsBefore, Config, Range, Uri
from rv_core.errors import Finding
from rv_pipeline_chip_classification import config_checks as checks
from rv_pipeline_chip_classification.config_labels import VectorAreaConfig
from rv_pipeline_chip_classification.config_parts import SUBSETS, LabelsConfig, NotNegative, Positive


@dataclass(kw_only=True)
class ClassConfig(Config):
    """The classes that cells are told apart by; the class id of a name is its position in the list, from 0.

    Args:
        names: unique; a class for "nothing of interest" is listed here like any other.
        colors: one `#rrggbb` per class, for maps and reports; empty takes colours from a fixed palette.
    """

    names: list[str]
    colors: list[str] = field(default_factory=list)

    def validate(self) -> Iterable[Finding]:
        return checks.check_classes(self.names, self.colors)

    def color_of(self, class_id: int) -> str:
        """The colour of a class as `#rrggbb`."""
        return self.colors[class_id] if self.colors else checks.palette_color(class_id)


@dataclass(kw_only=True)
class RasterConfig(Config):
    """Base of what the pixels of a scene come from: one source of them, or several side by side."""

    is_abstract: ClassVar[bool] = True
    class_before: ClassVar[type[Config]]

    if TYPE_CHECKING:  # as fields or properties of the classes below: one of both would be the default of the other

        @property
        def uris(self) -> list[str]: ...
        @property
        def channel_order(self) -> list[int] | None: ...
        @property
        def nodata(self) -> float | None: ...
        @property
        def bbox(self) -> list[int] | None: ...
        @property
        def apply_scale(self) -> bool: ...

    def parts(self) -> list[RasterSourceConfig]:
        """The sources, in the order of their channels."""
        raise NotImplementedError

    def mask_uris(self) -> list[str]:
        """The rasters of the masks of all sources."""
        return [part.mask.uri for part in self.parts() if part.mask is not None]


@dataclass(kw_only=True)
class MaskConfig(Config):
    """A raster that says which pixels of an image are usable: QA bands, cloud masks, scene classifications.

    It lies on any grid and CRS (nearest neighbour onto the image's); outside of it and where it has no data nothing is
    valid. Exactly one of the three rules is given.

    Args:
        uri: the raster, of whole numbers.
        band: which of its bands, from 1.
        valid_values: the values of pixels that are usable.
        invalid_values: the values of pixels that are not.
        invalid_bits: bits, from 0 for the lowest, of which none may be set in a usable pixel.
    """

    uri: Uri
    band: Positive = 1
    valid_values: list[int] | None = None
    invalid_values: list[int] | None = None
    invalid_bits: list[Annotated[int, Range(min=0, max=63)]] | None = None

    def validate(self) -> Iterable[Finding]:
        rules = (self.valid_values, self.invalid_values, self.invalid_bits)
        if sum(rule is not None for rule in rules) != 1:
            what = "give one of valid_values, invalid_values and invalid_bits"
            yield Finding("valid_values", what, "for instance invalid_values=[3, 8, 9, 10] for clouds of Sentinel-2")
        elif not any(rules):
            yield Finding("valid_values", "the rule names nothing", "leave out the mask where all pixels are usable")


@dataclass(kw_only=True)
class RasterSourceConfig(RasterConfig):
    """Where the pixels of a scene come from.

    Args:
        uris: raster files that GDAL reads, with their side files (`.aux.xml`, `.msk`, …) and what a `.vrt` names. Several
            are one mosaic of one CRS, pixel size, grid, dtype and set of bands; the first with a valid pixel wins.
        channel_order: 0-based channels of the file in the order the model sees them; a channel may be repeated.
            None takes all bands but an alpha band without a name of its own, and says so.
        nodata: the pixel value that means "no data"; None takes what the file declares (a nodata value, a mask band,
            an alpha band), as GDAL masks it. Zero is data unless declared otherwise. A pixel is valid where every
            channel that is read is valid; NaN and infinity are never valid.
        bbox: crop `[row_off, col_off, height, width]` in pixels of the file (of the mosaic), from whose first pixel
            windows, labels and predictions keep counting; None is all of it.
        apply_scale: whether the scale and offset tags of the files are applied: pixels are then `value * scale +
            offset`, float32. `nodata` is a value of the file all the same. All scenes of a config do alike.
        name: what its channels are called, or what their names begin with; for sources of a `RasterStackConfig`.
        mask: what else tells which pixels are valid; joined with nodata.
    """

    uris: list[Uri]
    channel_order: list[int] | None = None
    nodata: float | None = None
    bbox: list[int] | None = None
    apply_scale: Annotated[bool, AsBefore(False)] = False
    name: Annotated[str, AsBefore("")] = ""
    mask: Annotated[MaskConfig | None, AsBefore(None)] = None

    def validate(self) -> Iterable[Finding]:
        return checks.check_raster_source(self.uris, self.channel_order, self.bbox)

    def parts(self) -> list[RasterSourceConfig]:
        return [self]


# Scenes had this class alone before there was a base.
RasterConfig.class_before = RasterSourceConfig


@dataclass(kw_only=True)
class RasterStackConfig(RasterConfig):
    """The channels of several sources side by side: one file per band, sensors of other pixel sizes, several dates.

    Sources that lie on other pixels than those of the grid are warped while windows are read, block by block.

    Args:
        sources: in the order of their channels. Each keeps its `channel_order`, `nodata` and `apply_scale`; a pixel is
            valid where all of them are. `bbox` is that of the source whose grid is taken.
        grid: number of the source, from 0, whose pixels (CRS, size, extent) are those of the scene.
        resampling: how the others are brought onto them: `nearest` for classes and masks.
    """

    sources: list[RasterSourceConfig]
    grid: NotNegative = 0
    resampling: Literal["nearest", "bilinear", "cubic"] = "bilinear"

    def validate(self) -> Iterable[Finding]:
        yield from _check_stack(self.sources, self.grid)

    def parts(self) -> list[RasterSourceConfig]:
        return self.sources

    @property
    def uris(self) -> list[str]:
        """The images of all sources."""
        return [uri for source in self.sources for uri in source.uris]

    @property
    def bbox(self) -> list[int] | None:
        """The crop of the source whose grid is taken."""
        return self.sources[self.grid].bbox if self.grid < len(self.sources) else None

    @property
    def nodata(self) -> float | None:
        """None: every source has its own."""
        return None

    @property
    def channel_order(self) -> list[int] | None:
        """None: every source has its own."""
        return None

    @property
    def apply_scale(self) -> bool:
        """Whether the scale tags of the first source are applied."""
        return bool(self.sources) and self.sources[0].apply_scale


def _check_stack(sources: Sequence[RasterSourceConfig], grid: int) -> Iterator[Finding]:
    if not sources:
        yield Finding("sources", "no source is given", "give the images whose channels are laid side by side")
    elif grid >= len(sources):
        yield Finding("grid", f"there is no source {grid}", f"the sources are 0 to {len(sources) - 1}")
    for index, source in enumerate(sources):
        if source.bbox is not None and index != grid:
            what = "is not used: the extent is that of the source whose grid is taken"
            yield Finding(f"sources[{index}].bbox", what, "leave it out")
        if source.apply_scale != sources[0].apply_scale:
            yield Finding(f"sources[{index}].apply_scale", "is not that of the first source", "set it for all, or none")
    for name in checks.repeated([source.name for source in sources if source.name]):
        yield Finding("sources", f"the name {name!r} is given more than once", "names tell channels apart")


@dataclass(kw_only=True)
class SceneConfig(Config):
    """One scene: an image, what is known about it, and where that knowledge is complete.

    Args:
        id: names the scene's files; letters, digits, `.`, `_`, `-`, at most 100, unique without regard to case.
        raster: the pixels.
        labels: the truth; None is a scene that is only predicted.
        aoi_uris: vector files (GeoJSON or any other) of the areas inside which the scene is fully labelled; their
            union counts. None given: everywhere. Chips and evaluated cells are those inside.
        aois: further areas, of files of which a layer or some features are meant.
        version: what a catalogue says of which version its files are; another one makes the scene anew.
    """

    id: str
    raster: RasterConfig
    labels: LabelsConfig | None = None
    aoi_uris: list[Uri] = field(default_factory=list)
    aois: Annotated[list[VectorAreaConfig], AsBefore([])] = field(default_factory=list)
    version: Annotated[str, AsBefore("")] = ""

    def validate(self) -> Iterable[Finding]:
        return checks.check_scene_id(self.id)


@dataclass(kw_only=True)
class DatasetConfig(Config):
    """The scenes, by what they are used for.

    Args:
        train_scenes: chipped, and what the model and the statistics are made from.
        validation_scenes: chipped to watch the training; predicted and evaluated by default.
        test_scenes: never chipped; predicted and evaluated by default.
    """

    train_scenes: list[SceneConfig]
    validation_scenes: list[SceneConfig] = field(default_factory=list)
    test_scenes: list[SceneConfig] = field(default_factory=list)

    def validate(self) -> Iterable[Finding]:
        ids = [(path, scene.id) for path, _, scene in self.located_scenes()]
        return checks.check_dataset(ids, has_training=bool(self.train_scenes))

    def scenes_of(self, subset: str) -> list[SceneConfig]:
        """The scenes of a subset: "train", "validation" or "test"."""
        scenes: list[SceneConfig] = getattr(self, f"{subset}_scenes")
        return scenes

    def located_scenes(self) -> Iterator[tuple[str, str, SceneConfig]]:
        """Every scene as (dotted path in this object, subset, scene), in order."""
        for subset in SUBSETS:
            for index, scene in enumerate(self.scenes_of(subset)):
                yield f"{subset}_scenes[{index}]", subset, scene
