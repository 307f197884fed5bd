"""Longitudes are a circle: where polygons lie on an image in degrees that is written from 0 to 360, or across 180."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from rv_pipeline_chip_classification.scenes.crs import degrees_per_unit
from rv_pipeline_chip_classification.scenes.grid import Grid

#: Turns of the world that are tried: a file and an image differ by one at most.
_TURNS = (-1, 0, 1)
#: Parts that were cut at the date line meet again so well, in pixels.
_SEAM_PX = 1e-6


def turn_px(grid: Grid) -> tuple[float, float] | None:
    """What 360 degrees of longitude are on a grid, as columns and rows; None if it is not in degrees."""
    degrees = degrees_per_unit(grid.crs)
    if degrees is None:
        return None
    a, b, _, d, e, _ = grid.transform
    turn, determinant = 360.0 / degrees, a * e - b * d
    return e * turn / determinant, -d * turn / determinant


def around_the_world(
    polygons: NDArray[Any], features: NDArray[np.int64], grid: Grid
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Polygons and their features, each polygon wherever on the image it lies after a turn of the world or none.

    One that lies nowhere on the image stays where it is. Parts of a feature that meet on the image after a turn, as
    those do that were cut at the date line, are one polygon again.

    Args:
        polygons: (M,) valid polygons in pixels.
        features: (M,) int64, ascending.
        grid: of the image.
    """
    turn = turn_px(grid)
    if turn is None or not len(polygons):
        return polygons, features
    bounds = shapely.bounds(polygons)
    step = np.array([*turn, *turn])
    meets = np.array([_is_on(bounds + turns * step, grid) for turns in _TURNS])
    meets[1] |= ~meets.any(axis=0)
    if not meets[[0, 2]].any():
        return polygons, features
    placed = [_moved(polygons[its], turns * np.array(turn)) for turns, its in zip(_TURNS, meets, strict=True)]
    owners = [features[its] for its in meets]
    turned = np.unique(np.concatenate([owners[0], owners[2]]))
    order = np.argsort(np.concatenate(owners), kind="stable")
    return _joined(np.concatenate(placed)[order], np.concatenate(owners)[order], turned)


def _is_on(bounds: NDArray[np.float64], grid: Grid) -> NDArray[np.bool_]:
    """Which bounds (M, 4) left, top, right, bottom share an area with the image."""
    left, top, right, bottom = bounds.T
    return (left < grid.width) & (right > 0) & (top < grid.height) & (bottom > 0)


def _moved(polygons: NDArray[Any], by_px: NDArray[np.float64]) -> NDArray[Any]:
    moved: NDArray[Any] = shapely.transform(polygons, lambda corners: corners + by_px)
    return moved


def _joined(
    polygons: NDArray[Any], features: NDArray[np.int64], turned: NDArray[np.int64]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The polygons, those of each of some features joined where they meet."""
    is_turned = np.isin(features, turned)
    kept, owners = [polygons[~is_turned]], [features[~is_turned]]
    for feature in turned.tolist():
        parts = polygons[features == feature]
        if len(parts) > 1:
            parts = shapely.get_parts(shapely.union_all(shapely.set_precision(parts, _SEAM_PX)))
        kept.append(parts)
        owners.append(np.full(len(parts), feature))
    order = np.argsort(np.concatenate(owners), kind="stable")
    return np.concatenate(kept)[order], np.concatenate(owners)[order].astype(np.int64)
