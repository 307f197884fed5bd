"""One raster of the classes of all maps, on the pixels of the first of them; maps on other pixels are laid onto these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RasterWindow

from rv_core.errors import DataError
from rv_pipeline_chip_classification.prediction.geojson_file import to_map
from rv_pipeline_chip_classification.prediction.geotiff_file import write_optimized
from rv_pipeline_chip_classification.scenes.crs import is_same_crs, project_each
from rv_pipeline_chip_classification.verbs.exporting.map_rasters import MapRaster

#: A raster of so many pixels is a byte or two each on disk before it is compressed, and nobody wants the gaps in it.
_MAX_PIXELS = 1 << 33
_SIDE_PX, _BLOCK_PX = 1024, 256
#: Maps whose pixels are this close to those of the mosaic have the same.
_ALIGNED_PX = 1e-3


def write_mosaic(path: Path, maps: Sequence[MapRaster]) -> tuple[int, int]:
    """Write the mosaic as a cloud-optimised GeoTIFF; returns its rows and columns."""
    with mosaic_of(maps) as draft:
        with rasterio.open(draft) as file:
            shape: tuple[int, int] = file.shape
        write_optimized(draft, path, overviews="mode", predictor="no")
    return shape


@contextmanager
def mosaic_of(maps: Sequence[MapRaster]) -> Iterator[Path]:
    """The mosaic as a temporary file.

    Raises:
        DataError: if the maps lie too far apart for one raster.
    """
    first = maps[0]
    boxes = [_box_of(one, first) for one in maps]
    top, left = (int(min(box[axis] for box in boxes)) for axis in (0, 1))
    rows, cols = (int(max(box[axis + 2] for box in boxes)) - begin for axis, begin in ((0, top), (1, left)))
    if rows * cols > _MAX_PIXELS:
        why = f"around all of them there are {rows:,} x {cols:,} cells"
        raise DataError("the maps lie too far apart for one mosaic", why=why, fix="export some of them: --scene")
    transform = rasterio.Affine(*first.transform) * rasterio.Affine.translation(left, top)
    profile = {
        "driver": "GTiff", "height": rows, "width": cols, "count": 1, "crs": first.crs, "transform": transform,
        "dtype": "uint8" if first.nodata == 255 else "uint16", "nodata": first.nodata, "tiled": True,
        "blockxsize": _BLOCK_PX, "blockysize": _BLOCK_PX, "compress": "deflate", "zlevel": 1, "bigtiff": "if_safer",
        "sparse_ok": True,
    }  # fmt: skip
    with TemporaryDirectory(prefix="rv-mosaic-") as folder:
        draft = Path(folder) / "mosaic"
        with rasterio.open(draft, "w+", **profile) as target:
            _describe(target, first)
            for one, box in zip(maps, boxes, strict=True):
                _lay(one, target, (box[0] - top, box[1] - left, box[2] - top, box[3] - left))
        yield draft


def _describe(target: Any, first: MapRaster) -> None:
    colors = {
        class_id: tuple(int(color[begin : begin + 2], 16) for begin in (1, 3, 5))
        for class_id, color in enumerate(first.class_colors)
    }
    target.write_colormap(1, {**colors, first.nodata: (0, 0, 0, 0)})
    target.set_band_description(1, "class_id")
    target.update_tags(1, **{f"class_{class_id}": name for class_id, name in enumerate(first.class_names)})


def _box_of(one: MapRaster, first: MapRaster) -> tuple[int, int, int, int]:
    """First row and column, and those after the last, of a map in pixels of the first one."""
    rows, cols = one.shape
    steps = np.linspace(0, 1, 21)
    edge = np.concatenate([np.column_stack([steps * cols, np.full(21, side * rows)]) for side in (0, 1)])
    edge = np.concatenate([edge, *(np.column_stack([np.full(21, side * cols), steps * rows]) for side in (0, 1))])
    points = to_map(edge, one.transform)
    if first.crs is not None and one.crs is not None:
        points = project_each(points, one.crs, first.crs, where=one.name)
    pixels = to_map(points, tuple(~rasterio.Affine(*first.transform))[:6])
    begin = np.floor(np.nanmin(pixels, axis=0) + _ALIGNED_PX)
    end = np.ceil(np.nanmax(pixels, axis=0) - _ALIGNED_PX)
    return int(begin[1]), int(begin[0]), int(end[1]), int(end[0])


def _lay(one: MapRaster, target: Any, box: tuple[int, int, int, int]) -> None:
    """Fill what no earlier map has filled."""
    top, left, bottom, right = box
    is_aligned = (bottom - top, right - left) == one.shape and is_same_crs(one.crs, target.crs and target.crs.to_wkt())
    sizes = np.array([one.transform[place] - tuple(target.transform)[place] for place in (0, 1, 3, 4)])
    is_aligned &= bool(np.abs(sizes).max() * max(one.shape) <= _ALIGNED_PX * np.abs(one.transform[:2]).max())
    origin = target.transform * (left, top)
    shift = ~rasterio.Affine(*one.transform) * origin
    is_aligned &= max(map(abs, shift)) <= _ALIGNED_PX
    with ExitStack() as stack:
        source: Any = stack.enter_context(rasterio.open(one.path))
        if not is_aligned:
            options = {"crs": target.crs, "transform": target.transform, "height": target.height, "width": target.width}
            source = stack.enter_context(WarpedVRT(source, nodata=one.nodata, **options))
        for row in range(top, bottom, _SIDE_PX):
            for col in range(left, right, _SIDE_PX):
                height, width = min(_SIDE_PX, bottom - row), min(_SIDE_PX, right - col)
                place = RasterWindow(col, row, width, height)
                found = RasterWindow(col - left, row - top, width, height) if is_aligned else place
                _fill(target, place, source.read(1, window=found), one.nodata)


def _fill(target: Any, place: RasterWindow, ids: NDArray[Any], nodata: int) -> None:
    before = target.read(1, window=place)
    is_new = (before == nodata) & (ids != nodata)
    if is_new.any():
        target.write(np.where(is_new, ids, before), 1, window=place)
