"""A raster of class values on the grid of a scene."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT

from rv_core.errors import DataError
from rv_pipeline_chip_classification.raster_files.remote_files import announce, failure_of
from rv_pipeline_chip_classification.scenes.crs import is_same_grid, project_each, warped_from
from rv_pipeline_chip_classification.scenes.grid import Grid, Pixels
from rv_pipeline_chip_classification.scenes.headers import without_bands
from rv_pipeline_chip_classification.scenes.masks import valid_pixels
from rv_pipeline_chip_classification.scenes.raster_reader import (
    GDAL_ERRORS,
    RasterFile,
    open_dataset,
    rasterio_window,
    read_error,
    reason_of,
)
from rv_pipeline_chip_classification.scenes.windows import Window
from rv_pipeline_chip_classification.vectors.around_world import turn_px
from rv_pipeline_chip_classification.vectors.polygons import to_pixels

#: The mask is first looked at in so many rows and columns, then in strips until so many pixels have been.
_COARSE = 64
_MAX_LOOKED_AT_PX = 1 << 26
#: Points along each side of a raster, of which its place on another grid is told.
_POINTS_PER_SIDE = 33
#: GDAL warps in float64, which holds every whole number up to here.
_MAX_WARPED = 1 << 53


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
        alphas = [band for band, its in enumerate(self._dataset.colorinterp, 1) if its == ColorInterp.alpha]
        self._alpha: int | None = next((band for band in alphas if band > 1), None)
        self._vrts: list[Any] = []
        try:
            self._covered = _covered_part(_grid_of(self._dataset), grid, uri)
            self._vrts = [self._warped(placed) for placed in _turned(grid)]
        except (*GDAL_ERRORS, ValueError) as err:
            self.close()
            what = f"the label raster of scene {scene_id!r} cannot be brought to the image's CRS"
            fix = "give it its true CRS and transform, or warp it to the image with gdalwarp"
            raise DataError(what, where=uri, why=reason_of(err), fix=fix) from err
        except BaseException:
            self.close()
            raise

    def _warped(self, grid: Grid) -> Any:
        return WarpedVRT(
            self._dataset,
            crs=grid.crs,
            transform=rasterio.Affine(*grid.transform),
            height=grid.height,
            width=grid.width,
            resampling=Resampling.nearest,
            # Without a nodata value only an alpha band can tell what lies outside of the raster.
            add_alpha=self._dataset.nodata is None and self._alpha is None,
        )

    def announce(self, windows: Iterable[Window]) -> None:
        """Say which windows will be read next: see `RasterFile.announce`."""
        boxes = [warped_from(_grid_of(self._dataset), self.grid, window) for window in windows]
        announce(self._dataset, [1], [box for box in boxes if not box.is_empty])

    def read(self, window: Window) -> Pixels:
        """The pixels of a window of the grid: values (H, W, 1).

        Raises:
            DataError: if GDAL cannot read it.
        """
        try:
            values, valid = self._read(self._vrts[0], window)
            for vrt in self._vrts[1:]:
                if valid is None or valid.all():
                    break
                others, is_other = self._read(vrt, window)
                wanted = ~valid if is_other is None else ~valid & is_other
                values[wanted], valid = others[wanted], valid | wanted
        except GDAL_ERRORS as err:
            raise read_error(self._scene_id, self.uri, window, failure_of(self._dataset, err)) from err
        return Pixels(values, valid)

    def _read(self, vrt: Any, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        box = rasterio_window(window)
        values = vrt.read(1, window=box)[..., None]
        mask = vrt.read_masks(1, window=box)
        if self._alpha is not None:
            mask = np.where(vrt.read(self._alpha, window=box) > 0, mask, 0)
        return values, valid_pixels(values, (), mask)

    def covers_something(self) -> bool:
        """Whether the raster has a pixel on the grid: by the outlines of both, then by what is valid there."""
        box = self._covered
        if box.is_empty:
            return False
        step = -(-box.height // _COARSE)
        # Lines across the part that is shared meet most of what lies there.
        strips = [Window(row, box.col_off, 1, box.width) for row in range(box.row_off, box.row_end, step)]
        rows = max(1, (1 << 22) // box.width)
        strips += [
            Window(row, box.col_off, rows, box.width).intersection(box) for row in range(box.row_off, box.row_end, rows)
        ]
        looked_at_px = 0
        for strip in strips:
            valid = self.read(strip).valid
            if valid is None or valid.any():
                return True
            looked_at_px += strip.height * strip.width
            if looked_at_px > _MAX_LOOKED_AT_PX:
                return True  # It is not known that there is nothing.
        return False

    def close(self) -> None:
        """Close the file."""
        for vrt in self._vrts:
            vrt.close()
        self._dataset.close()


class WholeNumbers:
    """A raster of class values that are stored as floating point numbers, as whole numbers.

    Attributes: as of `RasterFile`.
    """

    num_channels = 1
    dtype = np.dtype(np.int64)

    def __init__(self, source: RasterFile | WarpedRaster, scene_id: str) -> None:
        self._source, self._scene_id = source, scene_id
        self.grid, self.block_shape = source.grid, source.block_shape
        self.file_pixel_bytes, self.declared_nodata = source.file_pixel_bytes, source.declared_nodata

    def announce(self, windows: Iterable[Window]) -> None:
        """Say which windows will be read next: see `RasterFile.announce`."""
        self._source.announce(windows)

    def read(self, window: Window) -> Pixels:
        """The pixels of a window of the grid: values (H, W, 1) int64.

        Raises:
            DataError: if GDAL cannot read it, or a valid pixel is no whole number.
        """
        values, valid = self._source.read(window)
        known = values[..., 0] if valid is None else np.where(valid, values[..., 0], 0.0)
        is_wrong = (known != np.rint(known)) | (np.abs(known) > _MAX_WARPED)
        if is_wrong.any():
            row, col = np.unravel_index(int(is_wrong.argmax()), known.shape)
            raise DataError(
                f"the label raster of scene {self._scene_id!r} cannot be used",
                where=self._source.uri,
                why=f"it holds {known[row, col]:.12g} at row {window.row_off + int(row)}, column "
                f"{window.col_off + int(col)} of the image; class values are whole numbers",
            )
        return Pixels(known.astype(np.int64)[..., None], valid)

    def covers_something(self) -> bool:
        """Whether the raster has a pixel on the grid."""
        return self._source.covers_something()

    def close(self) -> None:
        """Close the file."""
        self._source.close()


ClassRaster = RasterFile | WarpedRaster | WholeNumbers


def open_class_raster(
    uri: str, scene_id: str, grid: Grid, *, class_values: tuple[int, ...] = (), note: Callable[[str], None] = print
) -> ClassRaster:
    """A raster of class values on a scene's grid: as it is if it has that grid, else warped onto it.

    Args:
        uri: the raster.
        scene_id: the scene, for messages.
        grid: of the scene's image.
        class_values: values that have a class.
        note: told what the user should know.

    Raises:
        DataError: if it cannot be opened, does not hold one class value per pixel, or cannot be placed on the scene.
    """
    _check_bands(uri, scene_id, note)
    file = RasterFile(uri, scene_id, [0], None, what="label raster")
    own, kind, dtype = file.grid, file.dtype.kind, file.dtype
    is_plain = own.crs is None and _is_identity(own) and (own.height, own.width) == (grid.height, grid.width)
    if is_same_grid(own, grid) or is_plain:
        if is_plain and grid.crs is not None:
            note(f"{uri} has no CRS and the size of the image: it is laid on it pixel by pixel")
        return file if kind in "iu" else WholeNumbers(file, scene_id)
    file.close()
    if own.crs is None or grid.crs is None:
        why = f"without a CRS it must have the image's size, {grid.height} x {grid.width} px, and transform"
        fix = "give it the image's georeference, for instance with gdal_edit.py -a_srs and -a_ullr"
        raise DataError(
            f"the label raster of scene {scene_id!r} does not lie on the image", where=uri, why=why, fix=fix
        )
    if kind in "iu" and max(map(abs, class_values), default=0) > _MAX_WARPED:
        why = f"class values beyond {_MAX_WARPED} are not kept apart on another grid"
        raise DataError(f"the label raster of scene {scene_id!r} cannot be used", where=uri, why=f"{dtype}: {why}")
    warped = WarpedRaster(uri, scene_id, grid)
    return warped if kind in "iu" else WholeNumbers(warped, scene_id)


def _check_bands(uri: str, scene_id: str, note: Callable[[str], None]) -> None:
    """A picture of colours has no class values; and of several bands only the first is read."""
    with open_dataset(uri, scene_id, "label raster") as dataset:
        count, colors = dataset.count, list(dataset.colorinterp)
        if not count:
            raise without_bands(dataset, uri, f"label raster of scene {scene_id!r}")
    if {ColorInterp.red, ColorInterp.green, ColorInterp.blue} <= set(colors):
        why = f"it is a picture of colours in {count} bands, and a class is one number per pixel"
        fix = "make one band of class values of it, for instance with QGIS's raster calculator or gdal_calc.py"
        raise DataError(f"the label raster of scene {scene_id!r} cannot be used", where=uri, why=why, fix=fix)
    others = count - colors.count(ColorInterp.alpha)
    if others > 1:
        note(f"{uri} has {others} bands, and the first one is read as class values")


def _is_identity(grid: Grid) -> bool:
    return grid.transform == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def _grid_of(dataset: Any) -> Grid:
    a, b, c, d, e, f = tuple(dataset.transform)[:6]
    return Grid(dataset.height, dataset.width, (a, b, c, d, e, f), dataset.crs.to_wkt())


def _turned(grid: Grid) -> list[Grid]:
    """The grid, and where it is in degrees also a turn of the world west and east of it."""
    turn = turn_px(grid)
    if turn is None:
        return [grid]
    a, b, c, d, e, f = grid.transform
    x, y = a * turn[0] + b * turn[1], d * turn[0] + e * turn[1]
    return [grid._replace(transform=(a, b, c + turns * x, d, e, f + turns * y)) for turns in (0, -1, 1)]


def _covered_part(raster: Grid, grid: Grid, uri: str) -> Window:
    """The box of the grid that a raster may cover, by points along its outline and inside; all where some have no place.

    Raises:
        DataError: if none of them has a place, or the CRSs do not go together.
        ValueError: if the transform of the raster has no inverse.
    """
    a, b, c, d, e, f = raster.transform
    if not np.isfinite(raster.transform).all() or a * e - b * d == 0:
        raise ValueError("its transform has no inverse")
    cols, rows = np.meshgrid(
        np.linspace(0, raster.width, _POINTS_PER_SIDE), np.linspace(0, raster.height, _POINTS_PER_SIDE)
    )
    points = np.column_stack([(a * cols + b * rows + c).ravel(), (d * cols + e * rows + f).ravel()])
    placed = project_each(points, str(raster.crs), str(grid.crs), where=uri)
    if np.isnan(placed).any() or turn_px(grid) is not None:
        return grid.extent
    pixels = to_pixels(placed, grid.transform)
    # Outlines that curve leave the box of their points by a part of the distance of two.
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    margin = (high - low) / _POINTS_PER_SIDE + 1
    (left, top), (right, bottom) = np.floor(low - margin), np.ceil(high + margin)
    limit = 2.0**31
    left, top, right, bottom = (int(np.clip(value, -limit, limit)) for value in (left, top, right, bottom))
    return Window(top, left, bottom - top, right - left).intersection(grid.extent)
