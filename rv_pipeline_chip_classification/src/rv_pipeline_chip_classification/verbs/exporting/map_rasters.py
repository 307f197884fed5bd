"""The GeoTIFFs of predicted classes under a root, with what they say of themselves; and where several have cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.warp import transform_bounds
from rasterio.windows import Window as RasterWindow

from rv_core import Storage
from rv_core.errors import DataError, RvError, UsageError
from rv_pipeline_chip_classification.file_boundary import file_boundary
from rv_pipeline_chip_classification.prediction.cell_scores import FOLDER
from rv_pipeline_chip_classification.prediction.geojson_file import to_map
from rv_pipeline_chip_classification.scenes.crs import is_same_crs, project_each
from rv_pipeline_chip_classification.scenes.grid import Affine6

_SCORES = ".scores.tif"
_ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class MapRaster:
    """A map of classes, a pixel per cell.

    Args:
        name: of the scene.
        path: of the raster of class ids.
        scores: of the raster of scores; None where there is none.
        crs: as WKT; None for pixels.
        transform: from pixels (column, row) to the map.
        shape: rows and columns.
        nodata: the id of a cell without a class.
        class_names: by class id.
        class_colors: `#rrggbb` by class id.
    """

    name: str
    path: Path
    scores: Path | None
    crs: str | None
    transform: Affine6
    shape: tuple[int, int]
    nodata: int
    class_names: tuple[str, ...]
    class_colors: tuple[str, ...]

    @cached_property
    def lonlat_bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north; west is larger than east across the date line."""
        rows, cols = self.shape
        corners = to_map(np.array([[0.0, 0], [cols, 0], [0, rows], [cols, rows]]), self.transform)
        west, south, east, north = transform_bounds(
            self.crs, "EPSG:4326", *corners.min(axis=0), *corners.max(axis=0), densify_pts=21
        )
        return west, south, east, north


class CellRows(NamedTuple):
    """The cells of some rows of a map that have a class and lie on no earlier map.

    Args:
        places: (N, 2) int64, row and column.
        class_ids: (N,) int64.
        scores: (N, K) float64; None where the map has none.
    """

    places: NDArray[np.int64]
    class_ids: NDArray[np.int64]
    scores: NDArray[np.float64] | None


def find_maps(root: str, patterns: Sequence[str] | None) -> list[MapRaster]:
    """The maps of a root by name, or those that lie in a folder.

    Args:
        root: path or URI.
        patterns: of names of scenes; None for all.

    Raises:
        UsageError: if there is none.
        DataError: if one cannot be read, they are not of the same classes, or have no common ground.
    """
    storage = Storage(root)
    try:
        folder = FOLDER if any(name.endswith(".tif") for name in storage.list_files(FOLDER)) else ""
        found = sorted(storage.list_files(folder))
    except RvError as err:
        raise UsageError("there is no root or folder of maps", where=root, why=err.block.what) from err
    names = [name for name in found if name.endswith(".tif") and not name.endswith(_SCORES) and "/" not in name]
    prefix = f"{folder}/" if folder else ""
    maps = []
    for name in names:
        scene = name.removesuffix(".tif")
        if patterns and not any(fnmatchcase(scene, pattern) for pattern in patterns):
            continue
        scores = f"{scene}{_SCORES}"
        path = storage.input_file(prefix + scores) if scores in found else None
        with file_boundary("a raster among the maps cannot be read", where=storage.uri(prefix + name)):
            one = _opened(storage.input_file(prefix + name), scene, path)
        if one is not None:
            maps.append(one)
    if not maps:
        fix = "maps are written with predict.write_geotiff; look at --scene" if patterns else ""
        raise UsageError("there is no map of classes", where=root, fix=fix or "run predict with write_geotiff")
    _check_together(maps, root)
    return maps


def _opened(path: Path, scene: str, scores: Path | None) -> MapRaster | None:
    """A map, or None for another raster."""
    with rasterio.open(path) as file:
        tags = file.tags(1)
        names: list[str] = []
        while f"class_{len(names)}" in tags:
            names.append(tags[f"class_{len(names)}"])
        if not names or file.nodata is None:
            return None
        table = file.colormap(1)
        colors = tuple("#{:02x}{:02x}{:02x}".format(*table[class_id][:3]) for class_id in range(len(names)))
        crs = None if file.crs is None else file.crs.to_wkt()
        transform = tuple(file.transform)[:6]
        return MapRaster(scene, path, scores, crs, transform, file.shape, int(file.nodata), tuple(names), colors)


def _check_together(maps: Sequence[MapRaster], root: str) -> None:
    first = maps[0]
    for other in maps[1:]:
        if other.class_names != first.class_names:
            why = f"{first.name} has {', '.join(first.class_names)}; {other.name} has {', '.join(other.class_names)}"
            raise DataError("the maps are not of the same classes", where=root, why=why, fix="choose by --scene")
        if other.crs is None or first.crs is None:
            name = (other if other.crs is None else first).name
            why = f"{name} has no CRS: its pixels are no place"
            raise DataError(
                "the maps have no common ground", where=root, why=why, fix=f"export it alone: --scene {name}"
            )


def cell_rows(maps: Sequence[MapRaster], index: int) -> Iterator[CellRows]:
    """The cells of a map, some rows at a time, but those whose middle lies on a cell with a class of an earlier map.

    Args:
        maps: all of them.
        index: of the map.
    """
    one = maps[index]
    earlier = [other for other in maps[:index] if _may_overlap(one, other)]
    with rasterio.open(one.path) as classes:
        for row in range(0, one.shape[0], _ROWS_AT_ONCE):
            window = RasterWindow(0, row, one.shape[1], min(_ROWS_AT_ONCE, one.shape[0] - row))
            ids = classes.read(1, window=window)
            places = np.argwhere(ids != one.nodata)
            own = ids[places[:, 0], places[:, 1]].astype(np.int64)
            below = places + np.array([row, 0])
            is_new = ~_are_covered(below, one, earlier)
            scores = None
            if one.scores is not None:
                with rasterio.open(one.scores) as file:
                    values = file.read(window=window)[:, places[is_new, 0], places[is_new, 1]]
                    scores = values.T.astype(np.float64)
            yield CellRows(below[is_new], own[is_new], scores)


def _may_overlap(one: MapRaster, other: MapRaster) -> bool:
    west, south, east, north = one.lonlat_bounds
    its_west, its_south, its_east, its_north = other.lonlat_bounds
    if west > east or its_west > its_east:
        return south <= its_north and its_south <= north
    return south <= its_north and its_south <= north and west <= its_east and its_west <= east


def _are_covered(places: NDArray[np.int64], one: MapRaster, earlier: Sequence[MapRaster]) -> NDArray[np.bool_]:
    """Whether the middle of each cell lies on a cell with a class of an earlier map: (N,) bool."""
    covered = np.zeros(len(places), np.bool_)
    middles = to_map(places[:, ::-1].astype(np.float64) + 0.5, one.transform)
    for other in earlier:
        if one.crs is None or other.crs is None or not len(places):
            continue
        points = middles if is_same_crs(one.crs, other.crs) else project_each(middles, one.crs, other.crs, where="")
        inverse = ~rasterio.Affine(*other.transform)
        pixels = to_map(points, tuple(inverse)[:6])
        is_inside = np.asarray(np.isfinite(pixels).all(axis=1))
        cols, rows = np.floor(np.where(is_inside[:, None], pixels, -1)).astype(np.int64).T
        is_inside &= (rows >= 0) & (rows < other.shape[0]) & (cols >= 0) & (cols < other.shape[1])
        ids = _ids_of(other.path)
        covered[is_inside] |= ids[rows[is_inside], cols[is_inside]] != other.nodata
    return covered


@lru_cache(maxsize=8)
def _ids_of(path: Path) -> NDArray[np.integer]:
    """All class ids of a map: a byte or two per cell."""
    with rasterio.open(path) as file:
        ids: NDArray[np.integer] = file.read(1)
    return ids
