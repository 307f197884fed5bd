"""Labels: one class per window, from polygons or from a raster of class values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray

from rv_core.errors import DataError
from rv_pipeline_chip_classification.config import (
    ClassConfig,
    ClassRasterLabelsConfig,
    GeoJsonLabelsConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.labels.candidates import TOLERANCE, Candidates, winners_of
from rv_pipeline_chip_classification.labels.class_counts import count_classes
from rv_pipeline_chip_classification.labels.class_raster import open_class_raster
from rv_pipeline_chip_classification.labels.feature_classes import classify_features
from rv_pipeline_chip_classification.labels.label_features import features_of
from rv_pipeline_chip_classification.labels.overlaps import overlaps_of, window_boxes
from rv_pipeline_chip_classification.scenes.grid import Grid
from rv_pipeline_chip_classification.scenes.raster_reader import raster_env
from rv_pipeline_chip_classification.scenes.windows import Window, WindowArray, clip_windows, windows_over
from rv_pipeline_chip_classification.vectors.geojson import file_of_scene

UNLABELLED = -1
#: Polygons of less area, in square pixels, are taken for slivers of drawing or clipping.
_SLIVER_PX2 = 0.01


class WindowLabels(NamedTuple):
    """The labels of N windows.

    Args:
        class_ids: (N,) int64, `UNLABELLED` where there is none.
        shares: (N,) float64, how much of the denominator the class has; NaN where nothing was measured (background).
    """

    class_ids: NDArray[np.int64]
    shares: NDArray[np.float64]


@dataclass(frozen=True)
class LabelReport:
    """What was found in a label source, for messages.

    Args:
        num_features: features, or 0 for a raster.
        dropped: reason -> how many features or polygons were left out.
        notes: sentences for the user.
    """

    num_features: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


class LabelSource(Protocol):
    """Labels of one scene.

    Attributes:
        share_name: what `WindowLabels.shares` are, denominator included.
        report: what was found.
    """

    share_name: str
    report: LabelReport

    def label(self, windows: WindowArray) -> WindowLabels:
        """The class of each window, wherever it lies."""
        ...

    def label_cells(self, cell_size_px: int) -> tuple[WindowArray, NDArray[np.int64]]:
        """The cells that have a class, row by row, and their class ids: the truth of an evaluation."""
        ...

    def warn_of(self, size_px: int) -> str:
        """What the user should know about windows of this size and these labels; "" if nothing."""
        ...

    def lies_on_image(self) -> bool:
        """Whether labels and extent share an area (or there is nothing but background)."""
        ...

    def fix_of_place(self) -> str:
        """What to do where they do not."""
        ...


@contextmanager
def open_labels(scene: SceneConfig, classes: ClassConfig, grid: Grid, extent: Window) -> Iterator[LabelSource]:
    """The labels of a scene, on its grid.

    Raises:
        DataError: if the scene has none, or they cannot be used for it.
    """
    labels = scene.labels
    if isinstance(labels, GeoJsonLabelsConfig):
        with file_of_scene(labels.uri, f"the labels of scene {scene.id!r}"):
            polygons = PolygonLabels(labels, classes.names, grid, extent, scene_id=scene.id)
        yield polygons
    elif isinstance(labels, ClassRasterLabelsConfig):
        with raster_env([labels.uri]):
            with file_of_scene(labels.uri, f"the labels of scene {scene.id!r}"):
                source = RasterLabels(labels, classes.names, grid, extent, scene_id=scene.id)
            try:
                yield source
            finally:
                source.close()
    else:
        raise DataError(f"scene {scene.id!r} has no labels", fix="give it labels, or use it for prediction only")


class PolygonLabels:
    """Labels from the polygons of a vector file; see `GeoJsonLabelsConfig`, `VectorLabelsConfig` and `LabelSource`."""

    def __init__(
        self, config: GeoJsonLabelsConfig, class_names: list[str], grid: Grid, extent: Window, *, scene_id: str
    ) -> None:
        collection, found = features_of(config, grid, extent)
        classes = classify_features(collection.properties, config, class_names)
        is_used = classes.class_ids[found.features] >= 0
        self._config, self._extent = config, extent
        self._polygons: NDArray[Any] = found.polygons[is_used]
        self._features = found.features[is_used]
        self._class_ids = classes.class_ids[self._features]
        self._areas_px2 = shapely.area(self._polygons)
        background = config.background_class
        self._background = UNLABELLED if background is None else class_names.index(background)
        self.share_name = f"ioa_over_{'cell' if config.use_intersection_over_cell else 'polygon'}"
        self.report = LabelReport(len(collection.properties), classes.dropped + found.dropped)
        self._has_crs, self._is_out_of_reach = grid.crs is not None, found.is_out_of_reach
        self._check_usable(scene_id)
        self._check_pixels(scene_id)
        self.report.notes.extend(found.notes)
        self._note(grid, found.num_repaired)
        self.report.notes.extend(
            f"{doubt} ({count} of {len(collection.properties)} features): the id counts, from 0 in classes.names; "
            'class_property="class_name" takes the names'
            for doubt, count in classes.doubts.items()
        )

    def _check_usable(self, scene_id: str) -> None:
        if len(self._polygons) or self._background != UNLABELLED:
            return
        reasons = "; ".join(f"{count} x {reason}" for reason, count in self.report.dropped.items())
        raise DataError(
            f"the labels of scene {scene_id!r} hold no polygon with a class",
            where=self._config.uri,
            why=f"{self.report.num_features} features{': ' if reasons else ''}{reasons}",
            fix="set background_class if all of the scene is background",
        )

    def _check_pixels(self, scene_id: str) -> None:
        """Longitudes and latitudes taken as pixels all lie in a few of them."""
        if self._has_crs or not len(self._areas_px2) or self._areas_px2.max() >= 1.0:
            return
        left, top, right, bottom = shapely.total_bounds(self._polygons)
        raise DataError(
            f"the labels of scene {scene_id!r} are not in pixels",
            where=self._config.uri,
            why=f"the image has no CRS, and every polygon is smaller than a pixel; they lie between x = {left:.6g} and "
            f"{right:.6g}, y = {top:.6g} and {bottom:.6g}, as longitudes and latitudes do",
            fix="give the image its CRS, for instance with gdal_translate -a_srs",
        )

    def _note(self, grid: Grid, num_repaired: int) -> None:
        notes = self.report.notes
        if grid.crs is None:
            notes.append("the image has no CRS: label coordinates are taken as pixels (x = column, y = row)")
        if num_repaired:
            notes.append(f"{num_repaired} polygons cross themselves and were made valid")
        notes.extend(f"left out: {count} x {reason}" for reason, count in self.report.dropped.items())

    def warn_of(self, size_px: int) -> str:
        """A warning if the denominator is the polygon and polygons are larger than a cell; "" if not."""
        if self._config.use_intersection_over_cell:
            return ""
        num_large = int((self._areas_px2 > size_px**2 * (1 + TOLERANCE)).sum())
        num_small = int((self._areas_px2 < _SLIVER_PX2).sum())
        if num_small:
            self_area = (
                "each has a share of 1 in the cell it lies in, because intersection over area divides by its area"
            )
            return (
                f"{num_small} of {len(self._polygons)} polygons are slivers (the smallest has "
                f"{self._areas_px2.min():.2g} square pixels), and {self_area}; delete them, or consider "
                "use_intersection_over_cell=True"
            )
        if not num_large:
            return ""
        return (
            f"{num_large} of {len(self._polygons)} polygons are larger than a cell of {size_px} px, and intersection "
            "over area divides by the polygon's area: they label few cells or none; consider "
            "use_intersection_over_cell=True"
        )

    def fix_of_place(self) -> str:
        """What to do where labels and image do not overlap."""
        if self._has_crs:
            return "check their CRS and the order of coordinates"
        if len(self._polygons) and shapely.total_bounds(self._polygons)[3] <= 0:
            return (
                "y is negative, as QGIS draws on an image without CRS; in pixels y is the row and runs down: negate it"
            )
        return "the image has no CRS, so coordinates are pixels: x the column, y the row, from the upper left corner"

    def label(self, windows: WindowArray) -> WindowLabels:
        """The class of each window: of its candidates the one with the largest intersection, or the smallest id."""
        class_ids = np.full(len(windows), self._background, np.int64)
        shares = np.full(len(windows), np.nan)
        found = self.candidates(windows)
        winners = winners_of(found, self._config)
        places = found.windows[winners]
        class_ids[places] = found.class_ids[winners]
        shares[places] = np.minimum(np.round(found.ratios(self._config)[winners], 6), 1.0)
        return WindowLabels(class_ids, shares)

    def candidates(self, windows: WindowArray) -> Candidates:
        """Every polygon with a class that shares an area with each window, also those below the threshold."""
        overlaps = overlaps_of(windows, self._polygons)
        return Candidates(
            overlaps.windows,
            self._features[overlaps.polygons],
            self._class_ids[overlaps.polygons],
            overlaps.areas_px2,
            (windows[:, 2] * windows[:, 3])[overlaps.windows].astype(np.float64),
            self._areas_px2[overlaps.polygons],
        )

    def lies_on_image(self) -> bool:
        """Whether some polygon meets the extent. Of background alone the box around all polygons has to, if any.

        One file often serves many scenes, and one of them may lie where it has no polygon.
        """
        extent = window_boxes(np.array([self._extent], np.int64))[0]
        if not len(self._polygons):
            return not self._is_out_of_reach
        if self._background != UNLABELLED:
            return bool(shapely.box(*shapely.total_bounds(self._polygons)).intersects(extent))
        return bool(shapely.intersects(self._polygons, extent).any())

    def label_cells(self, cell_size_px: int) -> tuple[WindowArray, NDArray[np.int64]]:
        """The cells that have a class, and their class ids: a grid over the extent, or the bounds of features."""
        if self._config.infer_cells:
            return _labelled_grid(self, self._extent, cell_size_px)
        return self._feature_cells()

    def _feature_cells(self) -> tuple[WindowArray, NDArray[np.int64]]:
        """The bounds of each feature to whole pixels, each box once.

        The size is rounded and laid on the middle of the feature: features of one size that begin between pixels are
        cells of one size.
        """
        features, firsts = np.unique(self._features, return_index=True)
        if not len(features):
            return np.empty((0, 4), np.int64), np.empty(0, np.int64)
        bounds = shapely.bounds(self._polygons)
        low = np.minimum.reduceat(bounds[:, :2], firsts)
        high = np.maximum.reduceat(bounds[:, 2:], firsts)
        sizes = np.rint(high - low)
        begins = np.rint((low + high - sizes) / 2)
        cells = np.column_stack([begins[:, ::-1], sizes[:, ::-1]]).astype(np.int64)
        inside = clip_windows(cells, self._extent)[:, 2:].min(axis=1) > 0
        # Of features with the same box the smaller class id counts, as in any other tie.
        order = np.lexsort((self._class_ids[firsts], *cells.T[::-1]))
        cells, ids = cells[order][inside[order]], self._class_ids[firsts][order][inside[order]]
        is_first = np.ones(len(cells), np.bool_)
        is_first[1:] = (cells[1:] != cells[:-1]).any(axis=1)
        return cells[is_first], ids[is_first]


class RasterLabels:
    """Labels from a raster of class values; see `ClassRasterLabelsConfig` and `LabelSource`."""

    share_name = "label_fraction"

    def __init__(
        self, config: ClassRasterLabelsConfig, class_names: list[str], grid: Grid, extent: Window, *, scene_id: str
    ) -> None:
        self._config, self._extent, self._num_classes = config, extent, len(class_names)
        self._class_of_value = {value: class_names.index(name) for value, name in config.class_values.items()}
        self.report = LabelReport()
        values = tuple(config.class_values)
        self._source = open_class_raster(config.uri, scene_id, grid, class_values=values, note=self.report.notes.append)
        nodata = self._source.declared_nodata
        for value in (value for value in config.class_values if value == nodata):
            name = config.class_values[value]
            note = f"value {value} is declared as nodata in {config.uri}, so its pixels are unlabelled, not {name!r}"
            self.report.notes.append(note)

    def label(self, windows: WindowArray) -> WindowLabels:
        """The class of most labelled pixels of each window (ties: the smaller id), if it has enough of all pixels."""
        counts = self.class_counts(windows)
        class_ids = counts.argmax(axis=1).astype(np.int64) if len(counts) else np.empty(0, np.int64)
        best = counts.max(axis=1, initial=0)
        fractions = best / (windows[:, 2] * windows[:, 3])
        is_unlabelled = (best == 0) | (fractions < self._config.min_fraction - 1e-12)
        class_ids[is_unlabelled] = UNLABELLED
        return WindowLabels(class_ids, np.where(is_unlabelled, np.nan, np.round(fractions, 6)))

    def class_counts(self, windows: WindowArray) -> NDArray[np.int64]:
        """Pixels of each class in each window: (N, K)."""
        return count_classes(self._source, self._class_of_value, self._num_classes, windows, self._extent)

    def warn_of(self, size_px: int) -> str:
        """Nothing: shares of pixels mean the same at every size."""
        del size_px
        return ""

    def label_cells(self, cell_size_px: int) -> tuple[WindowArray, NDArray[np.int64]]:
        """The cells that have a class, and their class ids."""
        return _labelled_grid(self, self._extent, cell_size_px)

    def lies_on_image(self) -> bool:
        """Whether raster and image share an area."""
        return self._source.covers_something()

    def fix_of_place(self) -> str:
        """What to do where labels and image do not overlap."""
        return "check the CRS and transform of both"

    def close(self) -> None:
        """Close the raster."""
        self._source.close()


def _labelled_grid(source: LabelSource, extent: Window, cell_size_px: int) -> tuple[WindowArray, NDArray[np.int64]]:
    cells = windows_over(extent, size_px=cell_size_px, stride_px=cell_size_px)
    class_ids = source.label(cells).class_ids
    is_labelled = class_ids != UNLABELLED
    return cells[is_labelled], class_ids[is_labelled]
