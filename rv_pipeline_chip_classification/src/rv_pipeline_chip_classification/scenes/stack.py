"""The channels of several sources side by side on the grid of one of them, and how sources are opened.

A source on other pixels is warped by GDAL while a window of it is read. The transformation is exact (no linear
approximation between pixels), and the scale of its kernel is that of the whole image: so a pixel is the same in
whichever window it is read, and the same that `gdalwarp -et 0` gives.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from rv_pipeline_chip_classification.config import MaskConfig, RasterConfig, RasterSourceConfig, RasterStackConfig
from rv_pipeline_chip_classification.raster_files.remote_files import failure_of
from rv_pipeline_chip_classification.scenes.crs import is_same_crs, warped_from
from rv_pipeline_chip_classification.scenes.grid import Grid, Pixels, with_scales
from rv_pipeline_chip_classification.scenes.headers import RasterNote
from rv_pipeline_chip_classification.scenes.masks import usable, valid_pixels
from rv_pipeline_chip_classification.scenes.mosaic import Mosaic, local_part
from rv_pipeline_chip_classification.scenes.raster_reader import (
    GDAL_ERRORS,
    RasterFile,
    SourceFieldError,
    rasterio_window,
    read_error,
    reason_of,
)
from rv_pipeline_chip_classification.scenes.windows import Window

#: Offsets of pixels of one grid from those of another, as a share of a pixel, that are none.
_ALIGNED_PX = 1e-6
#: How far GDAL may be off where it interpolates between transformed pixels; it takes no 0 here.
_EXACT_PX = 1e-9


class ScaledRasterFile(RasterFile):
    """A file whose scale and offset tags are applied: pixels are `value * scale + offset`, float32.

    `scales` are then 1 and 0; what is no data is told by the values of the file.
    """

    def _set_up(self, channels: Sequence[int] | None, nodata: float | None) -> None:
        super()._set_up(channels, nodata)
        wrong = [pair for pair in self.scales if not all(map(math.isfinite, pair)) or not pair[0]]
        if wrong:
            raise SourceFieldError(
                f"the scales of the image of scene {self._scene_id!r} cannot be applied",
                field="apply_scale",
                where=self.uri,
                why=f"it declares the scale {wrong[0][0]:g} and the offset {wrong[0][1]:g}",
                fix="correct them (gdal_edit.py -scale)",
            )
        self._applied, self.dtype = self.scales, np.dtype(np.float32)
        self.scales = ((1.0, 0.0),) * self.num_channels

    def read(self, window: Window) -> Pixels:
        """As of `RasterFile`, scaled."""
        pixels = super().read(window)
        return Pixels(self.scaled(pixels.values), pixels.valid)

    def scaled(self, values: NDArray[Any]) -> NDArray[Any]:
        """As `value * scale + offset`."""
        return with_scales(values, self._applied)


def open_pixels(raster: RasterConfig, scene_id: str, stack: ExitStack) -> RasterFile | Mosaic | RasterStack:
    """The open files of a scene as one source of pixels.

    Args:
        raster: what they are.
        scene_id: for messages.
        stack: closes them.

    Raises:
        DataError: if one cannot be opened, or they do not go together.
    """
    if isinstance(raster, RasterStackConfig):
        sources = [open_source(source, scene_id, stack) for source in raster.sources]
        return RasterStack(raster, sources, scene_id, stack)
    (only,) = raster.parts()
    source = open_source(only, scene_id, stack)
    return source if only.mask is None else RasterStack(RasterStackConfig(sources=[only]), [source], scene_id, stack)


def open_source(raster: RasterSourceConfig, scene_id: str, stack: ExitStack) -> RasterFile | Mosaic:
    """The open file or mosaic of one source; see `open_pixels`."""
    make_file, files = ScaledRasterFile if raster.apply_scale else RasterFile, []
    for uri in raster.uris:
        files.append(make_file(uri, scene_id, raster.channel_order, raster.nodata))
        stack.callback(files[-1].close)
    return files[0] if len(files) == 1 else Mosaic(files, scene_id)


class RasterStack:
    """Sources side by side; attributes as of `RasterFile`, of all channels together.

    Attributes:
        files: every file of it.
    """

    def __init__(
        self, config: RasterStackConfig, sources: Sequence[RasterFile | Mosaic], scene_id: str, stack: ExitStack
    ) -> None:
        base = sources[config.grid]
        self._layers: list[RasterFile | _ShiftedSource | _WarpedFile | Mosaic] = []
        for index, source in enumerate(sources):
            place = f"sources[{index}]"
            self._layers.append(
                source
                if index == config.grid
                else _on_grid(source, base.grid, config.resampling, scene_id, place, stack)
            )
        self._masks = [
            (part.mask, _mask_on(part.mask, base.grid, scene_id, _place_of_mask(config, index), stack))
            for index, part in enumerate(config.sources)
            if part.mask is not None
        ]
        self.files = [file for source in sources for file in _files_of(source)]
        self.grid, self.block_shape = base.grid, base.block_shape
        self.dtype: np.dtype[Any] = np.result_type(*(source.dtype for source in sources))
        self.num_channels = sum(source.num_channels for source in sources)
        names = [_names_of(part, source) for part, source in zip(config.sources, sources, strict=True)]
        self.channel_names: tuple[str | None, ...] = tuple(name for its in names for name in its)
        self.band_names, self.num_bands = self.channel_names, self.num_channels
        self.file_channels = tuple(range(self.num_channels))
        self.file_pixel_bytes = sum(source.file_pixel_bytes for source in sources)
        self.declared_nodata = base.declared_nodata
        self.scales = tuple(pair for source in sources for pair in source.scales)
        self.misplaced = base.misplaced
        self.notes = [
            note if len(sources) == 1 else RasterNote(f"sources[{index}].{note.field}", note.text)
            for index, source in enumerate(sources)
            for note in source.notes
        ]

    def announce(self, windows: Iterable[Window]) -> None:
        """Say which windows will be read next: see `RasterFile.announce`."""
        boxes = list(windows)
        for layer in [*self._layers, *(mask for _, mask in self._masks)]:
            if not isinstance(layer, Mosaic):
                layer.announce(boxes)

    def read(self, window: Window) -> Pixels:
        """The pixels of a window of the grid, (H, W, C); valid where every source is.

        Raises:
            DataError: if GDAL cannot read it.
        """
        values = np.empty((window.height, window.width, self.num_channels), self.dtype)
        valid: NDArray[np.bool_] | None = None
        first = 0
        for layer in self._layers:
            pixels = layer.read(window)
            last = first + pixels.values.shape[2]
            values[..., first:last] = pixels.values
            first = last
            if pixels.valid is not None:
                valid = pixels.valid if valid is None else valid & pixels.valid
        for config, mask in self._masks:
            pixels = mask.read(window)
            is_usable = usable(pixels.values[..., 0], config)
            is_usable = is_usable if pixels.valid is None else is_usable & pixels.valid
            valid = is_usable if valid is None else valid & is_usable
        return Pixels(values, None if valid is None or valid.all() else valid)


def _place_of_mask(config: RasterStackConfig, index: int) -> str:
    return f"sources[{index}].mask" if len(config.sources) > 1 else "mask"


def _mask_on(
    config: MaskConfig, grid: Grid, scene_id: str, place: str, stack: ExitStack
) -> _ShiftedSource | _WarpedFile:
    """The raster of a mask on the grid of a scene."""
    try:
        file = RasterFile(config.uri, scene_id, [config.band - 1], None, what="mask")
    except SourceFieldError as err:
        block = err.block
        raise SourceFieldError(block.what, field=place, where=block.where, why=block.why) from err
    stack.callback(file.close)
    if file.dtype.kind not in "iu":
        raise _refused(file, scene_id, place, f"its values are {file.dtype}, and a mask holds whole numbers", "")
    return _on_grid(file, grid, "nearest", scene_id, place, stack)


def _files_of(source: RasterFile | Mosaic) -> list[RasterFile]:
    return [placed.file for placed in source.files] if isinstance(source, Mosaic) else [source]


def _names_of(config: RasterSourceConfig, source: RasterFile | Mosaic) -> list[str | None]:
    """The names of a source's channels, with that of the source before them."""
    names = list(source.channel_names)
    if not config.name:
        return names
    if len(names) == 1:
        return [f"{config.name}:{names[0]}" if names[0] else config.name]
    return [f"{config.name}:{name or index}" for index, name in enumerate(names)]


def _on_grid(
    source: RasterFile | Mosaic, grid: Grid, resampling: str, scene_id: str, place: str, stack: ExitStack
) -> _ShiftedSource | _WarpedFile:
    """A source on the pixels of the stack's grid: as it is where it has the same ones, else warped."""
    shift = _shift_between(grid, source.grid)
    if shift is not None:
        box = Window(*shift, source.grid.height, source.grid.width)
        if box.intersection(grid.extent).is_empty:
            raise _apart(source, scene_id, place)
        return _ShiftedSource(source, box)
    why = "it lies on other pixels than the scene, and"
    if grid.crs is None or source.grid.crs is None:
        raise _refused(source, scene_id, place, f"{why} has no CRS, or the scene has none", "give both their CRS")
    if isinstance(source, Mosaic):
        fix = "make one file of them (gdalbuildvrt), and give that"
        raise _refused(source, scene_id, place, f"{why} several files are not warped", fix)
    return _WarpedFile(source, grid, resampling, scene_id, place, stack)


def _shift_between(grid: Grid, other: Grid) -> tuple[int, int] | None:
    """Row and column of another grid's first pixel, if its pixels are pixels of this one; None if they are not."""
    if not is_same_crs(grid.crs, other.crs):
        return None
    sides = np.array(grid.transform)[[0, 1, 3, 4]], np.array(other.transform)[[0, 1, 3, 4]]
    longest = max(grid.height, grid.width, other.height, other.width)
    if np.abs(sides[0] - sides[1]).max() * longest > _ALIGNED_PX * np.abs(sides[0]).max():
        return None
    a, b, c, d, e, f = grid.transform
    x, y, determinant = other.transform[2] - c, other.transform[5] - f, a * e - b * d
    row, col = (a * y - d * x) / determinant, (e * x - b * y) / determinant
    is_whole = max(abs(row - round(row)), abs(col - round(col))) <= _ALIGNED_PX * longest
    return (round(row), round(col)) if is_whole else None


class _ShiftedSource:
    """A source whose pixels are pixels of the stack, at an offset."""

    def __init__(self, source: RasterFile | Mosaic, box: Window) -> None:
        self._source, self._box = source, box

    def announce(self, windows: Iterable[Window]) -> None:
        if isinstance(self._source, RasterFile):
            self._source.announce(local_part(box, self._box) for box in _parts(windows, self._box))

    def read(self, window: Window) -> Pixels:
        inside = window.intersection(self._box)
        local = local_part(inside, self._box)
        if inside == window:
            return self._source.read(local)
        values = np.zeros((window.height, window.width, self._source.num_channels), self._source.dtype)
        valid = np.zeros((window.height, window.width), np.bool_)
        if not inside.is_empty:
            pixels = self._source.read(local)
            row, col = inside.row_off - window.row_off, inside.col_off - window.col_off
            place = slice(row, row + inside.height), slice(col, col + inside.width)
            values[place], valid[place] = pixels.values, True if pixels.valid is None else pixels.valid
        return Pixels(values, valid)


def _parts(windows: Iterable[Window], box: Window) -> Iterator[Window]:
    return (part for part in (window.intersection(box) for window in windows) if not part.is_empty)


class _WarpedFile:
    """A file warped onto the stack's grid."""

    def __init__(
        self, file: RasterFile, grid: Grid, resampling: str, scene_id: str, place: str, stack: ExitStack
    ) -> None:
        self._file, self._scene_id, self._grid = file, scene_id, grid
        try:
            bounds = rasterio.warp.transform_bounds(file.grid.crs, grid.crs, *_bounds_of(file.grid))
            window = rasterio.windows.from_bounds(*bounds, rasterio.Affine(*grid.transform))
            inside = window.col_off < grid.width and window.row_off < grid.height
            if not (inside and window.col_off + window.width > 0 and window.row_off + window.height > 0):
                raise _apart(file, scene_id, place)
            self._warped = stack.enter_context(_warped(file, grid, resampling, window))
        except GDAL_ERRORS as err:
            raise _refused(file, scene_id, place, reason_of(err), "warp it first (gdalwarp)") from err
        except rasterio.errors.WindowError as err:
            raise _refused(file, scene_id, place, str(err), "warp it first (gdalwarp)") from err

    def announce(self, windows: Iterable[Window]) -> None:
        boxes = (warped_from(self._file.grid, self._grid, window) for window in windows)
        self._file.announce(box for box in boxes if not box.is_empty)

    def read(self, window: Window) -> Pixels:
        box = rasterio_window(window)
        try:
            bands = self._file.bands
            values = np.ascontiguousarray(self._warped.read(bands, window=box).transpose(1, 2, 0))
            alpha = self._warped.read(self._warped.count, window=box) if self._file.warp_nodata is None else None
        except GDAL_ERRORS as err:
            raise read_error(self._scene_id, self._file.uri, window, failure_of(self._file.dataset, err)) from err
        nodata = () if self._file.warp_nodata is None else (self._file.warp_nodata,) * len(bands)
        valid = valid_pixels(values, nodata, alpha)
        return Pixels(self._file.scaled(values), valid)


def _bounds_of(grid: Grid) -> tuple[float, float, float, float]:
    bounds: tuple[float, float, float, float] = rasterio.transform.array_bounds(
        grid.height, grid.width, rasterio.Affine(*grid.transform)
    )
    return bounds


def _warped(file: RasterFile, grid: Grid, resampling: str, window: Any) -> Any:
    """The file as GDAL warps it: what has no value is nodata where the file has such a value, else not in its alpha."""
    options: dict[str, Any] = {"add_alpha": True} if file.warp_nodata is None else {
        "src_nodata": file.warp_nodata, "nodata": file.warp_nodata,
    }  # fmt: skip
    if file.alpha is not None and file.warp_nodata is None:
        options = {"src_alpha": file.alpha, "add_alpha": True}
    return WarpedVRT(
        file.dataset,
        crs=grid.crs,
        transform=rasterio.Affine(*grid.transform),
        width=grid.width,
        height=grid.height,
        resampling=Resampling[resampling],
        tolerance=_EXACT_PX,
        # Else the size of the kernel would be guessed anew for every window.
        XSCALE=repr(float(window.width) / file.grid.width),
        YSCALE=repr(float(window.height) / file.grid.height),
        **options,
    )


def _apart(source: RasterFile | Mosaic, scene_id: str, place: str) -> SourceFieldError:
    return _refused(source, scene_id, place, "it lies wholly outside of the scene", "give rasters of one place")


def _refused(source: RasterFile | Mosaic, scene_id: str, place: str, why: str, fix: str) -> SourceFieldError:
    where = ", ".join(file.uri for file in _files_of(source))
    kind = "mask" if place.endswith("mask") else "source"
    what = f"a {kind} of scene {scene_id!r} cannot be laid on the pixels of the others"
    return SourceFieldError(what, field=place, where=where, why=why, fix=fix)
