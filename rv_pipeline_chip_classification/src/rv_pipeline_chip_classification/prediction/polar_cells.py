"""Outlines of cells that hold a pole, or have a corner there: four corners alone do not say it in degrees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: A corner this close to a pole lies on it; so close to each other, longitudes are one.
_SEAM_DEG = 1e-9
_DECIMALS = 12

Ring = list[list[float]]


def outlines_of(rings: NDArray[np.float64]) -> list[Ring]:
    """Rings of projected cells as lists, those at a pole with the points that lead along it.

    Args:
        rings: (N, 5, 2) float64, closed, longitude then latitude; NaN where a cell has no place.

    Returns:
        A closed ring for each, counterclockwise.
    """
    outlines: list[Ring] = rings.tolist()
    # A ring around a pole has no gap of 180 degrees, wherever it is cut.
    is_wide = np.ptp(rings[..., 0], axis=1) > 180
    has_corner = np.any(np.abs(rings[..., 1]) >= 90 - _SEAM_DEG, axis=1)
    for index in np.flatnonzero(is_wide | has_corner).tolist():
        corners = outlines[index][:-1]
        if has_corner[index]:
            outlines[index] = _closed(_without_polar_corner(corners))
        elif _goes_around(corners):
            outlines[index] = _closed(_along_pole(corners))
    return outlines


def _goes_around(corners: Ring) -> bool:
    steps = [_turned(after[0] - before[0]) for before, after in zip(corners, corners[1:] + corners[:1], strict=True)]
    return all(abs(step) < 180 - _SEAM_DEG for step in steps) and abs(sum(steps)) > 180


def _turned(degrees: float) -> float:
    """The same direction, from -180 to below 180."""
    return (degrees + 180) % 360 - 180


def _along_pole(corners: Ring) -> Ring:
    """From west to east along the corners, and back along the pole."""
    pole = 90.0 if sum(latitude for _, latitude in corners) > 0 else -90.0
    edge = sorted([_turned(longitude), latitude] for longitude, latitude in corners)
    (last, last_lat), (first, first_lat) = edge[-1], edge[0]
    seam = last_lat + (first_lat - last_lat) * (180 - last) / (first + 360 - last)
    if first > -180:
        edge.insert(0, [-180.0, seam])
    return [*edge, [180.0, seam], [180.0, pole], [-180.0, pole]]


def _without_polar_corner(corners: Ring) -> Ring:
    """The corner on the pole is a line in degrees: from the longitude of the corner before to that of the one after."""
    at = next(index for index, (_, latitude) in enumerate(corners) if abs(latitude) >= 90 - _SEAM_DEG)
    pole = 90.0 if corners[at][1] > 0 else -90.0
    others = corners[at + 1 :] + corners[:at]
    # As the cell is no wider than half a turn, each corner lies less than that from the one before.
    edge = [others[0]]
    for longitude, latitude in others[1:]:
        edge.append([edge[-1][0] + _turned(longitude - edge[-1][0]), latitude])
    ring = [*edge, [edge[-1][0], pole], [edge[0][0], pole]]
    turns = 360 * np.floor((min(longitude for longitude, _ in ring) + 180 + _SEAM_DEG) / 360)
    return [[float(longitude - turns), latitude] for longitude, latitude in ring]


def _closed(ring: Ring) -> Ring:
    """Counterclockwise and closed."""
    pairs: Sequence[tuple[list[float], list[float]]] = list(zip(ring, ring[1:] + ring[:1], strict=True))
    if sum(one[0] * other[1] - one[1] * other[0] for one, other in pairs) < 0:
        ring = ring[::-1]
    rounded = [[round(longitude, _DECIMALS) + 0.0, round(latitude, _DECIMALS) + 0.0] for longitude, latitude in ring]
    return [*rounded, rounded[0]]
