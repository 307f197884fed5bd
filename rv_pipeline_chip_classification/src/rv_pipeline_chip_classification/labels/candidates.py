"""Which polygon gives a window its class, of all that share an area with it. Pure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rv_pipeline_chip_classification.config import GeoJsonLabelsConfig

#: Reprojecting moves corners by parts of a billionth: shares this close are equal.
TOLERANCE = 1e-6


class Candidates(NamedTuple):
    """Pairs of a window and a polygon that share an area, in no particular order.

    Args:
        windows: (P,) int64, number of the window.
        features: (P,) int64, number of the feature that the polygon belongs to.
        class_ids: (P,) int64, of the polygon.
        shared_px2: (P,) float64, square pixels in both.
        cell_px2: (P,) float64, square pixels of the window.
        polygon_px2: (P,) float64, square pixels of the polygon.
    """

    windows: NDArray[np.int64]
    features: NDArray[np.int64]
    class_ids: NDArray[np.int64]
    shared_px2: NDArray[np.float64]
    cell_px2: NDArray[np.float64]
    polygon_px2: NDArray[np.float64]

    def ratios(self, labels: GeoJsonLabelsConfig) -> NDArray[np.float64]:
        """Intersection over area, with the area that the config says: (P,) float64."""
        over_cell = labels.use_intersection_over_cell
        ratios: NDArray[np.float64] = self.shared_px2 / (self.cell_px2 if over_cell else self.polygon_px2)
        return ratios

    def without_touching(self) -> Candidates:
        """Those that share more than the rounding of corners: neighbours that only touch are left out."""
        is_shared = self.shared_px2 > TOLERANCE * np.minimum(self.cell_px2, self.polygon_px2)
        return Candidates._make(column[is_shared] for column in self)


def winners_of(found: Candidates, labels: GeoJsonLabelsConfig) -> NDArray[np.int64]:
    """One pair for each window with a polygon that reaches the threshold: positions in the pairs, by window."""
    reaching = np.flatnonzero(found.ratios(labels) >= labels.ioa_threshold - TOLERANCE)
    windows, ids = found.windows[reaching], found.class_ids[reaching]
    sizes = -np.rint(found.shared_px2[reaching] / found.cell_px2[reaching] / TOLERANCE)
    keys = (sizes, ids, windows) if labels.pick_min_class_id else (ids, sizes, windows)
    order = np.lexsort(keys)
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = windows[order][1:] != windows[order][:-1]
    return reaching[order[is_first]]
