"""A raster of class values on the grid of a scene."""

from __future__ import annotations

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from rv_core.errors import DataError
from rv_pipeline_chip_classification.scenes.crs import is_same_grid
from rv_pipeline_chip_classification.scenes.grid import Grid, Pixels
from rv_pipeline_chip_classification.scenes.raster_reader import (
    GDAL_ERRORS,
    RasterFile,
    open_dataset,
    rasterio_window,
    read_error,
    valid_pixels,
)
from rv_pipeline_chip_classification.scenes.windows import Window


class WarpedRaster:
    """The first band of a raster on another grid, nearest neighbour; what it does not cover is not valid.

    Attributes: as of `RasterFile`.
    """

    num_channels = 1

    def __init__(self, uri: str, scene_id: str, grid: Grid) -> None:
        self.uri, self._scene_id, self.grid = uri, scene_id, grid
        self._dataset = open_dataset(uri, scene_id, "label raster")
        self.dtype = np.dtype(self._dataset.dtypes[0])
        self.block_shape = (128, grid.width)
        self.file_pixel_bytes = self.dtype.itemsize
        self.declared_nodata: float | None = self._dataset.nodata
        # Without a nodata value only an alpha band can tell what lies outside of the raster.
        self._vrt = WarpedVRT(
            self._dataset,
            crs=grid.crs,
            transform=rasterio.Affine(*grid.transform),
            height=grid.height,
            width=grid.width,
            resampling=Resampling.nearest,
            add_alpha=self._dataset.nodata is None,
        )

    def read(self, window: Window) -> Pixels:
        """The pixels of a window of the grid: values (H, W, 1).

        Raises:
            DataError: if GDAL cannot read it.
        """
        box = rasterio_window(window)
        try:
            values = self._vrt.read(1, window=box)
            mask = self._vrt.read_masks(1, window=box)
        except GDAL_ERRORS as err:
            raise read_error(self._scene_id, self.uri, window, err) from err
        return Pixels(values[..., None], valid_pixels(values[..., None], (), mask))

    def covers_something(self) -> bool:
        """Whether the raster and the grid share an area, as far as a coarse look (64 x 64 samples) can tell."""
        shape = (min(64, self.grid.height), min(64, self.grid.width))
        return bool(self._vrt.read_masks(1, out_shape=shape).any())

    def close(self) -> None:
        """Close the file."""
        self._vrt.close()
        self._dataset.close()


def open_class_raster(uri: str, scene_id: str, grid: Grid) -> RasterFile | WarpedRaster:
    """A raster of class values on a scene's grid: as it is if it has that grid, else warped onto it.

    Raises:
        DataError: if it cannot be opened, does not hold whole numbers, or cannot be placed on the scene.
    """
    file = RasterFile(uri, scene_id, [0], None, what="label raster")
    if file.dtype.kind in "iu" and is_same_grid(file.grid, grid):
        return file
    file.close()
    if file.dtype.kind not in "iu":
        why = f"its dtype is {file.dtype}; class values are whole numbers"
        raise DataError(f"the label raster of scene {scene_id!r} cannot be used", where=uri, why=why)
    if file.grid.crs is None or grid.crs is None:
        why = f"without a CRS it must have the image's size, {grid.height} x {grid.width} px, and transform"
        raise DataError(f"the label raster of scene {scene_id!r} does not lie on the image", where=uri, why=why)
    return WarpedRaster(uri, scene_id, grid)
