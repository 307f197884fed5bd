"""The part of the configuration that says what there is: classes, images, labels, scenes.

Sizes and offsets are whole pixels of the scene's own grid (after `bbox` they still count from the file's first pixel).
Windows are half-open boxes `[row_off, col_off, height, width]`. Class ids are positions in `ClassConfig.names`, from 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated

from rv_core import AsBefore, Config, Uri
from rv_core.errors import Finding
from rv_pipeline_chip_classification import config_checks as checks
from rv_pipeline_chip_classification.config_labels import VectorAreaConfig
from rv_pipeline_chip_classification.config_parts import SUBSETS, LabelsConfig


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
class RasterSourceConfig(Config):
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
    """

    uris: list[Uri]
    channel_order: list[int] | None = None
    nodata: float | None = None
    bbox: list[int] | None = None
    apply_scale: Annotated[bool, AsBefore(False)] = False

    def validate(self) -> Iterable[Finding]:
        return checks.check_raster_source(self.uris, self.channel_order, self.bbox)


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
    """

    id: str
    raster: RasterSourceConfig
    labels: LabelsConfig | None = None
    aoi_uris: list[Uri] = field(default_factory=list)
    aois: Annotated[list[VectorAreaConfig], AsBefore([])] = field(default_factory=list)

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
