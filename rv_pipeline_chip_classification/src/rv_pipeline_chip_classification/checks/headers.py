"""What the headers of all scenes say beside each other: channels, dtypes, scales, sizes of pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rv_core.errors import Finding, RvError
from rv_pipeline_chip_classification.checks.cheap import LocatedScene, is_missing
from rv_pipeline_chip_classification.config import ChipClassificationConfig, SceneConfig
from rv_pipeline_chip_classification.file_boundary import file_boundary
from rv_pipeline_chip_classification.model.source_fit import scales_in_words
from rv_pipeline_chip_classification.raster_files.dataset_files import is_virtual, sources_of
from rv_pipeline_chip_classification.scenes.channel_names import (
    describe_channels,
    match_channels,
    order_fix,
)
from rv_pipeline_chip_classification.scenes.crs import is_same_pixel_size, pixel_size_m
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster, finite_or_none

_MAX_SHOWN = 5


@dataclass(frozen=True)
class Header:
    """The header of a scene's image, after `channel_order`.

    Args:
        path: dotted path of the scene in the config.
        num_channels: channels that are read.
        dtype: of the pixels.
        names: of the channels.
        band_names: of all bands of the file.
        is_order_given: whether the config has a `channel_order` for it.
        scales: (scale, offset) by channel.
        nodata: the value that means "no data", of the config, else of the file; None for none.
        pixel_size_m: side of a pixel on the ground, or None.
    """

    path: str
    num_channels: int
    dtype: str
    names: tuple[str | None, ...]
    band_names: tuple[str | None, ...]
    is_order_given: bool
    scales: tuple[tuple[float, float], ...]
    nodata: float | None
    pixel_size_m: float | None


def header_of(path: str, scene: SceneConfig, raster: SceneRaster) -> Header:
    """The header of the open image of a scene."""
    nodata = raster.declared_nodata if scene.raster.nodata is None else finite_or_none(scene.raster.nodata)
    return Header(
        path,
        raster.num_channels,
        str(raster.dtype),
        raster.channel_names,
        raster.band_names,
        scene.raster.channel_order is not None,
        raster.scales,
        nodata,
        pixel_size_m(raster.grid),
    )


def reference_header(config: ChipClassificationConfig) -> Header | None:
    """The header of the first training scene that can be opened: what all others are compared with."""
    for path, subset, scene in config.dataset.located_scenes():
        if subset != "train" or any(is_missing(uri) for uri in scene.raster.uris):
            continue
        try:
            with file_boundary("", where=""), SceneRaster(scene.raster, scene.id) as raster:
                return header_of(f"dataset.{path}", scene, raster)
        except (RvError, OSError):  # said where this scene itself is checked
            continue
    return None


def compare_headers(mine: Header, first: Header) -> Iterator[Finding]:
    """Findings about a scene's header beside that of the reference."""
    place = f"{mine.path}.raster"
    if (mine.num_channels, mine.dtype) != (first.num_channels, first.dtype):
        yield Finding(
            place,
            f"{mine.num_channels} channels of {mine.dtype}, but {first.num_channels} of {first.dtype} in {first.path}",
            "every scene must give the model the same channels (channel_order) in one dtype",
        )
        return
    yield from _compare_names(mine, first)
    yield from _compare_nodata(mine, first)
    if mine.scales != first.scales:
        what = f"its scales or offsets are {scales_in_words(mine.scales)}, those of {first.path} {scales_in_words(first.scales)}"
        fix = "equal pixels mean different values: bring the images to one scale; the tags are not applied"
        yield Finding(place, what, fix, "warning")
    sizes = mine.pixel_size_m, first.pixel_size_m
    if sizes[0] and sizes[1] and not is_same_pixel_size(sizes[0], sizes[1]):
        what = f"its pixels are {sizes[0]:.3g} m on the ground, those of {first.path} {sizes[1]:.3g} m"
        yield Finding(place, what, "things have another size in pixels: resample the images to one", "warning")


def _compare_names(mine: Header, first: Header) -> Iterator[Finding]:
    match = match_channels(mine.names, first.names, file_names=mine.band_names)
    place = f"{mine.path}.raster.channel_order"
    what = f"its channels are {describe_channels(mine.names)}, those of {first.path} {describe_channels(first.names)}"
    if match.is_refused(is_order_given=mine.is_order_given):
        yield Finding(place, what, order_fix(mine.band_names, first.names))
    elif match.differ:
        yield Finding(place, f"{what}: taken by position", "", "warning")


def _compare_nodata(mine: Header, first: Header) -> Iterator[Finding]:
    if mine.nodata != first.nodata:
        own, other = ("none" if value is None else f"{value:g}" for value in (mine.nodata, first.nodata))
        what = f"its nodata value is {own}, that of {first.path} {other}"
        fix = "set raster.nodata where a file does not declare its own"
        yield Finding(f"{mine.path}.raster.nodata", what, fix, "warning")


def tell_of_image(entry: LocatedScene, raster: SceneRaster) -> Iterator[Finding]:
    """Warnings about one image: the notes of its header, an alpha band that looks like data, files behind it."""
    path, _subset, scene = entry
    for note in [*raster.notes, *raster.alpha_doubts()]:
        yield Finding(f"{path}.raster.{note.field}", note.text, "", "warning")
    for index, uri in enumerate(scene.raster.uris):
        if is_virtual(uri):
            yield Finding(f"{path}.raster.uris[{index}]", _sources_in_words(uri), "", "warning")


def _sources_in_words(uri: str) -> str:
    try:
        sources = sources_of(uri)
    except RvError:
        return "the files behind this virtual dataset are not known"
    shown = ", ".join(sources[:_MAX_SHOWN]) + (", …" if len(sources) > _MAX_SHOWN else "")
    return f"this virtual dataset reads {len(sources)} files, which are inputs too: {shown}"
