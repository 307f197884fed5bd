"""Predicted cells as GeoTIFF, one pixel per cell: class ids with their colours, and the scores of every class.

The files are cloud-optimised: tiled, with overviews before the pixels, so that a viewer reads only what it shows. An overview
has the most frequent class of the pixels below, or the mean of their scores.

`<name>.tif` holds the class ids (uint8, or uint16 from 256 classes on; the largest value is nodata: a cell without any
valid pixel), with a colour table and the class names as tags `class_<id>`. `<name>.scores.tif` holds one float32 band
per class, described by the class name; NaN is nodata. Where cells overlap (stride below the cell size), the pixel of a
cell is the middle of it, as wide as the stride. The same cells give the same bytes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window as RasterWindow

from rv_pipeline_chip_classification.prediction.cell_scores import ScoredCells
from rv_pipeline_chip_classification.prediction.cell_windows import CellGrid
from rv_pipeline_chip_classification.raster_files.gdal_env import gdal_env
from rv_pipeline_chip_classification.scenes.grid import Grid

_BLOCK_PX = 256


class GridRasterWriter:
    """Writes both rasters of a scene as cells come in order; a context manager.

    Args:
        classes_path: where the class ids go.
        scores_path: where the scores go.
        cells: the grid.
        grid: of the scene.
        class_names: by class id.
        class_colors: `#rrggbb` by class id.
    """

    def __init__(
        self,
        classes_path: Path,
        scores_path: Path,
        cells: CellGrid,
        grid: Grid,
        *,
        class_names: Sequence[str],
        class_colors: Sequence[str],
    ) -> None:
        self._num_cols, self._row, self._buffered = cells.shape[1], 0, 0
        self._nodata = 255 if len(class_names) < 256 else 65_535
        dtype = "uint8" if self._nodata == 255 else "uint16"
        profile = _profile(cells, grid)
        self._paths = classes_path, scores_path
        with ExitStack() as stack:
            self._folder = Path(stack.enter_context(TemporaryDirectory(prefix="rv-map-")))
            self._classes = stack.enter_context(
                _created(self._folder / "classes", **profile, count=1, dtype=dtype, nodata=self._nodata)
            )
            self._scores = stack.enter_context(
                _created(
                    self._folder / "scores",
                    **profile,
                    count=len(class_names),
                    dtype="float32",
                    nodata=np.nan,
                    interleave="band",
                )
            )
            self._stack = stack.pop_all()
        self._describe(class_names, class_colors)
        size = _BLOCK_PX * self._num_cols
        self._ids = np.empty(size, dtype)
        self._values = np.empty((size, len(class_names)), np.float32)

    def _describe(self, names: Sequence[str], colors: Sequence[str]) -> None:
        table = {class_id: _rgba(color) for class_id, color in enumerate(colors)}
        self._classes.write_colormap(1, {**table, self._nodata: (0, 0, 0, 0)})
        self._classes.set_band_description(1, "class_id")
        self._classes.update_tags(1, **{f"class_{class_id}": name for class_id, name in enumerate(names)})
        # Or GDAL takes the fourth of four classes for transparency.
        self._scores.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (len(names) - 1)
        for band, name in enumerate(names, 1):
            self._scores.set_band_description(band, name)

    def write(self, cells: ScoredCells) -> None:
        """Append cells; they must come in the order of the grid."""
        ids = np.where(cells.class_ids < 0, self._nodata, cells.class_ids)
        begin = 0
        while begin < len(ids):
            count = min(len(ids) - begin, len(self._ids) - self._buffered)
            place = slice(self._buffered, self._buffered + count)
            self._ids[place] = ids[begin : begin + count]
            self._values[place] = cells.scores[begin : begin + count]
            self._buffered, begin = self._buffered + count, begin + count
            if self._buffered == len(self._ids):
                self._flush()

    def _flush(self) -> None:
        """Write whole rows of blocks: each is compressed once."""
        num_rows = self._buffered // self._num_cols if self._num_cols else 0
        if not num_rows:
            return
        count, shape = num_rows * self._num_cols, (num_rows, self._num_cols)
        place = RasterWindow(0, self._row, self._num_cols, num_rows)
        self._classes.write(self._ids[:count].reshape(shape), 1, window=place)
        self._scores.write(self._values[:count].T.reshape(-1, *shape), window=place)
        self._row, self._buffered = self._row + num_rows, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._stack:
            if kind is None:
                self._flush()
                self._classes.close()
                self._scores.close()
                # Differences of class ids take more room than these.
                write_optimized(self._folder / "classes", self._paths[0], overviews="mode", predictor="no")
                write_optimized(self._folder / "scores", self._paths[1], overviews="average", predictor="yes")


def write_optimized(draft: Path, path: Path, *, overviews: str, predictor: str) -> None:
    """Write a raster again as a cloud-optimised GeoTIFF: GDAL's driver cannot do so in pieces.

    Args:
        draft: the raster.
        path: where to.
        overviews: how pixels are put together.
        predictor: whether differences are compressed.
    """
    options = {
        "driver": "COG",
        "blocksize": _BLOCK_PX,
        "compress": "deflate",
        "predictor": predictor,
        "bigtiff": "if_safer",
        "overview_resampling": overviews,
        "overviews": "ignore_existing",
    }
    # What the driver puts aside is as large as the overviews, and lies beside the file without this.
    with warnings.catch_warnings(), gdal_env(CPL_TMPDIR=str(draft.parent)):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        rasterio.shutil.copy(draft, path, **options)


def _profile(cells: CellGrid, grid: Grid) -> dict[str, Any]:
    rows, cols = cells.shape
    # The middle of a cell, as wide as the step to the next one.
    margin = (cells.size_px - cells.stride_px) / 2
    left, top, step = cells.extent.col_off + margin, cells.extent.row_off + margin, cells.stride_px
    a, b, c, d, e, f = grid.transform
    origin_x, origin_y = a * left + b * top + c, d * left + e * top + f
    transform = rasterio.Affine(a * step, b * step, origin_x, d * step, e * step, origin_y)
    return {
        "driver": "GTiff",
        "height": rows,
        "width": cols,
        "crs": grid.crs,
        "transform": transform,
        "tiled": True,
        "blockxsize": _BLOCK_PX,
        "blockysize": _BLOCK_PX,
        "compress": "deflate",
        "zlevel": 1,
        "bigtiff": "if_safer",
    }


def _created(path: Path, **profile: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, "w", **profile)


def _rgba(color: str) -> tuple[int, int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16), 255
