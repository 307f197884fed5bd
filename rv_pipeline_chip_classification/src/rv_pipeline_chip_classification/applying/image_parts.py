"""The parts of images that are too large for one item, by the cells of the bundle. The plan asks: no GDAL and no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache

from rv_core import Config
from rv_core.errors import RvError
from rv_core.files.by_uri import local_copy
from rv_pipeline_chip_classification.applying.config import ApplyConfig, ImageConfig
from rv_pipeline_chip_classification.parts.raster_size import ask_for_sizes, raster_size
from rv_pipeline_chip_classification.parts.scene_parts import Part, num_parts, part_id


@dataclass(kw_only=True)
class ImagePartConfig(Config):
    """A part of an image as an item; never saved in a config.

    Args:
        image: the image.
        number: of the part, from 1.
        count: parts of the image.
    """

    image: ImageConfig
    number: int
    count: int

    @property
    def id(self) -> str:
        """The id of the item, and the name of its file."""
        return part_id(self.image.id, self.part)

    @property
    def part(self) -> Part:
        """Which part."""
        return Part(self.number, self.count)


ImageItem = ImageConfig | ImagePartConfig


def image_of(item: ImageItem) -> tuple[ImageConfig, Part | None]:
    """The image of an item, and which part of it; None for all of it."""
    return (item.image, item.part) if isinstance(item, ImagePartConfig) else (item, None)


def num_image_parts(config: ApplyConfig, image: ImageConfig) -> int:
    """In how many parts an image is mapped.

    Args:
        config: reads `bundle`, `stride_px` and `max_windows_per_item`.
        image: the image.
    """
    size_px = raster_size(image.uri)
    # No step is smaller than a pixel.
    if size_px is None or size_px[0] * size_px[1] <= config.max_windows_per_item:
        return 1
    cells = _cells_of(config.bundle)
    if cells is None:
        return 1
    cell_px, stride_px = cells
    return num_parts(
        size_px,
        window_px=cell_px,
        stride_px=config.stride_px or stride_px,
        max_windows=config.max_windows_per_item,
    )


def items_to_map(config: ApplyConfig) -> list[ImageItem]:
    """The images, those that are too large for one item in parts."""
    found: list[ImageItem] = []
    ask_for_sizes(image.uri for image in config.images)
    for image in config.images:
        count = num_image_parts(config, image)
        parts = [ImagePartConfig(image=image, number=number, count=count) for number in range(1, count + 1)]
        found += parts if count > 1 else [image]
    return found


def images_to_merge(config: ApplyConfig) -> list[ImageConfig]:
    """The images that are mapped in parts."""
    return [image for image in config.images if num_image_parts(config, image) > 1]


def _cells_of(bundle: str) -> tuple[int, int] | None:
    """Side of a cell of a bundle and its step, in pixels; None where it cannot be opened, which the check tells."""
    try:
        path = local_copy(bundle)
        found = os.stat(path)
        return _cells_in(str(path), found.st_size, found.st_mtime_ns)
    except (RvError, OSError):
        return None


@lru_cache(maxsize=16)
def _cells_in(path: str, size: int, mtime_ns: int) -> tuple[int, int]:
    from pathlib import Path

    from rv_pipeline_chip_classification.model.bundle_file import open_bundle

    bundle = open_bundle(Path(path), shown=path)
    cell_px = bundle.contract.cell_size_px
    return cell_px, bundle.stride_px or cell_px
