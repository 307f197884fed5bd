"""The values that a prediction meets: a sample taken before it, in a few places, or while all cells are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rv_pipeline_chip_classification.model.value_histogram import PixelSample
from rv_pipeline_chip_classification.prediction.cell_windows import BatchSizeOf, CellChips, CellGrid, CellList, GridPart
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.scenes.windows import Window

#: Places along each side, and the side of what is read at each of them: no more than a block of most files.
_PLACES, _PLACE_PX = 6, 128
#: Called with the pixels of cells (B, H, W, C), and which are valid (B, H, W), None for all.
OnPixels = Callable[[NDArray[Any], NDArray[np.bool_] | None], None]


def sample_of(raster: SceneRaster, places: int = _PLACES) -> PixelSample:
    """The values of an image at `places` times `places` evenly spread windows of 128 px; a small image whole.

    Args:
        raster: the open image.
        places: along each side.

    Raises:
        DataError: if pixels cannot be read.
    """
    extent = raster.extent
    rows = _places(extent.row_off, extent.height, places)
    cols = _places(extent.col_off, extent.width, places)
    windows = [Window(row, col, height, width) for row, height in rows for col, width in cols]
    sample = PixelSample(raster.num_channels, sum(window.height * window.width for window in windows))
    for window in windows:
        pixels = raster.read(window)
        sample.add(pixels.values, pixels.valid)
    return sample


def _places(first: int, length: int, places: int) -> list[tuple[int, int]]:
    """(first pixel, pixels) of each place along a side: all of it where that is no more."""
    if length <= places * _PLACE_PX:
        return [(first, length)]
    # In the middle of equal parts: the rims of an image are often empty.
    middles = (np.arange(places) + 0.5) * length / places
    return [(first + int(middle) - _PLACE_PX // 2, _PLACE_PX) for middle in middles]


class WatchedCells:
    """Cells whose pixels are sampled as they are read: nothing is read for it.

    Args:
        cells: which cells.
        num_channels: C.
        on_pixels: called with those of some cells after those of the cells before them.
    """

    def __init__(
        self,
        cells: CellGrid | CellList | GridPart,
        num_channels: int,
        on_pixels: OnPixels | None = None,
    ) -> None:
        self._cells, self._on_pixels = cells, on_pixels
        self.sample = PixelSample(num_channels, cells.num_pixels)

    @property
    def num_cells(self) -> int:
        """How many cells there are."""
        return self._cells.num_cells

    def iter_chips(self, raster: SceneRaster, batch_size_of: BatchSizeOf, context_px: int = 0) -> Iterator[CellChips]:
        """Their chips in order; what is around a cell is not sampled."""
        for batch in self._cells.iter_chips(raster, batch_size_of, context_px):
            height, width = batch.chips.shape[1:3]
            cell = np.s_[:, context_px : height - context_px, context_px : width - context_px]
            pixels, valid = batch.chips[cell], None if batch.valid is None else batch.valid[cell]
            self.sample.add(pixels, valid)
            if self._on_pixels is not None:
                self._on_pixels(pixels, valid)
            yield batch
