"""The pixels of a scene, whether it is one file or a mosaic: windows, strips, rows and batches of chips."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from rv_pipeline_chip_classification.config import GeoJsonLabelsConfig, RasterConfig, SceneConfig
from rv_pipeline_chip_classification.scenes.grid import Grid, Pixels
from rv_pipeline_chip_classification.scenes.headers import Misplaced, RasterNote
from rv_pipeline_chip_classification.scenes.mosaic import Mosaic
from rv_pipeline_chip_classification.scenes.raster_reader import RasterFile, SourceFieldError, raster_env
from rv_pipeline_chip_classification.scenes.row_reader import (
    HELD_BYTES,
    RowReader,
    Rows,
    joined_in_rows,
    slices_of,
    strips_over,
)
from rv_pipeline_chip_classification.scenes.stack import RasterStack, open_pixels
from rv_pipeline_chip_classification.scenes.windows import Window, WindowArray, bounding_window

_log = logging.getLogger(__name__)
_MAX_ALPHA_LOOKS = 4
#: What a pixel counts for in a strip at least: so much its mask takes while it is looked at, however small the values.
_MIN_PIXEL_BYTES = 32
#: What a mask and the table that counts its pixels take, for a pixel of strips that are joined.
_MASK_PIXEL_BYTES = 8


class ChipBatch(NamedTuple):
    """Chips of some windows that follow each other.

    Args:
        first: number of the first window.
        chips: (B, H, W, C) in the scene's dtype, padding 0.
        valid: (B, H, W) bool, or None where every pixel is valid; padding is not.
    """

    first: int
    chips: NDArray[Any]
    valid: NDArray[np.bool_] | None


class SceneRaster:
    """The open pixels of one scene; a context manager that closes them.

    A reader belongs to one thread at a time. Coordinates count from the first pixel of the file (of the mosaic).

    Attributes:
        scene_id: the scene.
        grid: the pixel grid of the file or mosaic: size, transform, CRS.
        extent: what may be read, which is the grid after `bbox`.
        dtype: of the pixels.
        num_channels: channels after `channel_order`.
        channel_names: their descriptions in the file, None where there is none.
        file_channels: which channels of the file they are, 0-based.
        num_bands: how many bands the (first) file has.
        band_names: the descriptions of all of them.
        declared_nodata: the nodata value that the (first) file declares; None for none, NaN included.
        scales: (scale, offset) that the (first) file declares, by channel.
        misplaced: why its place is not known although the file seems to say it; None if nothing is odd.
        notes: what the user should know about the headers.
    """

    def __init__(self, raster: RasterConfig, scene_id: str) -> None:
        self.scene_id = scene_id
        with ExitStack() as stack:
            stack.enter_context(raster_env([*raster.uris, *raster.mask_uris()]))
            self._source: RasterFile | Mosaic | RasterStack = open_pixels(raster, scene_id, stack)
            self.grid: Grid = self._source.grid
            self.extent = _extent(self.grid, raster, scene_id)
            self._stack = stack.pop_all()
        self.dtype: np.dtype[Any] = self._source.dtype
        self.num_channels: int = self._source.num_channels
        self.channel_names: tuple[str | None, ...] = self._source.channel_names
        self.file_channels: tuple[int, ...] = self._source.file_channels
        self.num_bands: int = self._source.num_bands
        self.band_names: tuple[str | None, ...] = self._source.band_names
        self.declared_nodata: float | None = finite_or_none(self._source.declared_nodata)
        self.scales: tuple[tuple[float, float], ...] = self._source.scales
        self.misplaced: Misplaced | None = self._source.misplaced
        self.notes: list[RasterNote] = self._source.notes

    def read(self, window: Window) -> Pixels:
        """The pixels of any window; outside the extent they are 0 and not valid.

        Returns:
            values (H, W, C) and valid (H, W) bool, or None where all are valid.
        """
        inside = window.intersection(self.extent)
        if inside == window:
            return self._source.read(window)
        values = np.zeros((window.height, window.width, self.num_channels), self.dtype)
        valid = np.zeros((window.height, window.width), np.bool_)
        if not inside.is_empty:
            pixels, place = self._source.read(inside), slices_of(inside, window)
            values[place], valid[place] = pixels.values, True if pixels.valid is None else pixels.valid
        return Pixels(values, valid)

    def iter_strips(
        self,
        box: Window,
        needed_part: Callable[[Window], Window] | None = None,
        *,
        joined: bool = False,
    ) -> Iterator[tuple[Window, Pixels]]:
        """The pixels of a box of the extent, strip by strip from top to bottom; each block is read once.

        Args:
            box: what to read.
            needed_part: which box of a strip is wanted; what is empty is not read.
            joined: whether boxes that lie side by side come as one where they are small.

        Yields:
            (box, its pixels); the boxes do not overlap.
        """
        is_mosaic = isinstance(self._source, Mosaic)
        block_shape = (self._source.block_shape[0], self.grid.width) if is_mosaic else self._source.block_shape
        rows = self.rows(box) if is_mosaic else None
        strips = strips_over(box, block_shape, max(_MIN_PIXEL_BYTES, self._source.file_pixel_bytes))
        parts = [
            part for strip in strips if not (part := strip if needed_part is None else needed_part(strip)).is_empty
        ]
        if joined:
            pixel_bytes = max(_MIN_PIXEL_BYTES // 2, self._source.file_pixel_bytes + _MASK_PIXEL_BYTES)
            parts = joined_in_rows(parts, pixel_bytes)
        if not isinstance(self._source, Mosaic):
            self._source.announce(parts)
        for part in parts:
            if rows is None:
                yield part, self._source.read(part)
            else:
                whole_rows = part._replace(col_off=box.col_off, width=box.width)
                yield whole_rows, rows.read(part.row_off, part.height)

    def file_boxes(self) -> list[Window]:
        """The boxes of the grid that files fill: of a mosaic one each, else all of it."""
        if isinstance(self._source, Mosaic):
            return [placed.box for placed in self._source.files]
        return [self.grid.extent]

    def read_last_pixels(self) -> None:
        """Read the last block of every file: what was cut short fails here.

        Raises:
            DataError: naming the file.
        """
        for file in self._files():
            file.read(Window(file.grid.height - 1, file.grid.width - 1, 1, 1))

    def check_place(self, scene: SceneConfig) -> None:
        """Refuse polygons for an image that knows its place in a way that is not read: they would land anywhere.

        Raises:
            SourceFieldError: naming the image.
        """
        has_polygons = isinstance(scene.labels, GeoJsonLabelsConfig) or bool(scene.aoi_uris or scene.aois)
        if self.misplaced and has_polygons:
            raise SourceFieldError(
                f"polygons cannot be placed on the image of scene {self.scene_id!r}",
                field="uris",
                where=", ".join(scene.raster.uris),
                why=self.misplaced.why,
                fix=self.misplaced.fix,
            )

    def alpha_doubts(self) -> list[RasterNote]:
        """What speaks against an alpha band that is taken as the mask: a look at some of its pixels."""
        files = self._files()[:_MAX_ALPHA_LOOKS]
        return [note for note in (file.alpha_doubt() for file in files) if note is not None]

    def _files(self) -> list[RasterFile]:
        if isinstance(self._source, RasterFile):
            return [self._source]
        return (
            [placed.file for placed in self._source.files] if isinstance(self._source, Mosaic) else self._source.files
        )

    def tell_notes(self) -> None:
        """Write the notes to the log."""
        for note in self.notes:
            _log.warning("image of scene %s: %s", self.scene_id, note.text)

    def rows(self, box: Window, *, by_columns: bool = False) -> Rows:
        """The rows of a box of the extent, to be asked for from top to bottom; each block is read once.

        Args:
            box: the columns and rows that will be asked for.
            by_columns: whether some columns are asked for at a time; memory then depends on no size of the raster.
        """
        held_bytes = HELD_BYTES if by_columns else None
        if isinstance(self._source, Mosaic):
            return self._source.rows(box, held_bytes=held_bytes)
        return RowReader(self._source, box, held_bytes=held_bytes)

    def iter_chips(self, windows: WindowArray, batch_size: int) -> Iterator[ChipBatch]:
        """The chips of windows in batches, in order; each block of the scene is read once.

        Args:
            windows: (N, 4) int64, all of one size, by ascending `row_off`, beginning inside the extent.
            batch_size: chips per batch; the last one may have fewer.
        """
        if not len(windows):
            return
        rows = self.rows(bounding_window(windows).intersection(self.extent))
        height, width = int(windows[0, 2]), int(windows[0, 3])
        left, bottom = bounding_window(windows).intersection(self.extent).col_off, self.extent.row_end
        for first in range(0, len(windows), batch_size):
            batch = windows[first : first + batch_size]
            chips = np.zeros((len(batch), height, width, self.num_channels), self.dtype)
            valid = np.zeros((len(batch), height, width), np.bool_)
            for position, (row, col) in enumerate(batch[:, :2].tolist()):
                pixels = rows.read(row, min(height, bottom - row))
                part = pixels.values[:, col - left : col - left + width]
                place = (position, slice(part.shape[0]), slice(part.shape[1]))
                chips[place] = part
                valid[place] = True if pixels.valid is None else pixels.valid[:, col - left : col - left + width]
            yield ChipBatch(first, chips, None if valid.all() else valid)

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def finite_or_none(value: float | None) -> float | None:
    """A nodata value; None for NaN and infinity, which are never valid, whatever is declared."""
    return None if value is None or not math.isfinite(value) else float(value)


def _extent(grid: Grid, raster: RasterConfig, scene_id: str) -> Window:
    if raster.bbox is None:
        return grid.extent
    box = Window(*raster.bbox)
    if not grid.extent.contains(box):
        raise SourceFieldError(
            f"bbox {raster.bbox} of scene {scene_id!r} leaves the image",
            field="bbox",
            where=", ".join(raster.uris),
            why=f"the image has {grid.height} rows and {grid.width} columns",
            fix="write [row_off, col_off, height, width] in pixels of the image",
        )
    return box
