"""Areas of interest: which windows of a scene lie where it is fully labelled. The union of all polygons counts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from rv_core.errors import DataError
from rv_pipeline_chip_classification.config import SceneConfig, VectorAreaConfig
from rv_pipeline_chip_classification.labels.overlaps import window_boxes
from rv_pipeline_chip_classification.scenes.grid import Grid
from rv_pipeline_chip_classification.scenes.windows import Window, WindowArray, clip_windows
from rv_pipeline_chip_classification.vectors.files import is_vector_name
from rv_pipeline_chip_classification.vectors.geojson import file_of_scene, read_geojson
from rv_pipeline_chip_classification.vectors.placing import Spread, table_in_pixels
from rv_pipeline_chip_classification.vectors.polygons import FeaturePolygons, polygons_in_pixels
from rv_pipeline_chip_classification.vectors.reader import read_vector
from rv_pipeline_chip_classification.vectors.table import VectorChoice, choice_of

#: Closes the seams that reprojecting leaves between polygons that share an edge, and forgives rounded coordinates.
_TOLERANCE_PX = 1e-3


class Aoi(NamedTuple):
    """The area of interest of one scene.

    Args:
        area: union of the polygons in pixel coordinates, or None where all of the scene is of interest.
        extent: the pixels there are; what a window has beyond them need not lie in the area.
        notes: sentences for the user.
    """

    area: Any
    extent: Window
    notes: tuple[str, ...] = ()

    def selects(self, windows: WindowArray, *, within: bool) -> NDArray[np.bool_]:
        """Which windows lie inside the area (or, if not `within`, share any area with it): (N,) bool."""
        if self.area is None or not len(windows):
            return np.ones(len(windows), np.bool_)
        inside = clip_windows(windows, self.extent)
        selected: NDArray[np.bool_]
        if within:
            selected = shapely.covers(self.area, window_boxes(inside))
        else:
            # The area is a little larger than drawn: windows that only touch what was drawn share none.
            selected = shapely.intersects(self.area, window_boxes(inside, inset_px=2 * _TOLERANCE_PX))
        return selected

    def bounds(self) -> Window:
        """The box of whole pixels that holds the area inside the extent; empty where they do not meet."""
        if self.area is None:
            return self.extent
        if self.area.is_empty:
            return Window(self.extent.row_off, self.extent.col_off, 0, 0)
        left, top, right, bottom = self.area.bounds
        row, col = int(np.floor(top)), int(np.floor(left))
        return Window(row, col, int(np.ceil(bottom)) - row, int(np.ceil(right)) - col).intersection(self.extent)


def read_aoi(scene: SceneConfig, grid: Grid, extent: Window) -> Aoi:
    """The area of interest of a scene from its vector files.

    Raises:
        DataError: if a file cannot be used, or none of them holds a polygon.
    """
    if not scene.aoi_uris and not scene.aois:
        return Aoi(None, extent)
    every: list[str | VectorAreaConfig] = [*scene.aoi_uris, *scene.aois]
    found = [_read(area, grid, scene.id) for area in every]
    polygons = np.concatenate([its.polygons for its in found])
    if not len(polygons):
        where = ", ".join(area if isinstance(area, str) else area.uri for area in every)
        fix = "leave out aoi_uris and aois for all of it"
        raise DataError(f"the AOI of scene {scene.id!r} has no polygon", where=where, fix=fix)
    area = shapely.union_all(shapely.buffer(polygons, _TOLERANCE_PX, join_style="mitre"))
    shapely.prepare(area)
    return Aoi(area, extent, tuple(note for its in found for note in its.notes))


def _read(area: str | VectorAreaConfig, grid: Grid, scene_id: str) -> FeaturePolygons:
    uri = area if isinstance(area, str) else area.uri
    with file_of_scene(uri, f"an AOI of scene {scene_id!r}"):
        if isinstance(area, str) and not is_vector_name(area):
            return polygons_in_pixels(read_geojson(area), grid)
        choice = VectorChoice(area) if isinstance(area, str) else choice_of(area)
        return table_in_pixels(read_vector(choice), grid, Spread(None if isinstance(area, str) else area.buffer_m))
