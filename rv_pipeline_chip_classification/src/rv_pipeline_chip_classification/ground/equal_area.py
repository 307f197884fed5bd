"""Areas and short distances on the ground: in Lambert's equal-area projection around a point, on the ellipsoid.

PROJ's `laea` on WGS 84 keeps areas exactly, wherever its centre is (Snyder 1987, Map Projections: A Working Manual,
p. 187). Distances are kept near the centre: within 300 km of it to three parts in ten thousand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from rv_pipeline_chip_classification.scenes.crs import project_each

WGS84 = "EPSG:4326"
#: Radius of the sphere that has the surface of the Earth.
EARTH_RADIUS_M = 6_371_007.0
HECTARE_M2 = 10_000.0


def equal_area_crs(lon: float, lat: float) -> str:
    """The equal-area CRS around a point, in metres."""
    return f"+proj=laea +lat_0={lat:.9f} +lon_0={lon:.9f} +datum=WGS84 +units=m +type=crs"


def on_sphere(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (N, 2) longitude, latitude in degrees as (N, 3) on a sphere of the Earth's size, in metres."""
    lon, lat = np.radians(lonlat).T
    return EARTH_RADIUS_M * np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def middle_of(lonlat: NDArray[np.float64]) -> tuple[float, float]:
    """Longitude and latitude amidst points (N, 2), also where they lie around the date line or a pole."""
    x, y, z = on_sphere(lonlat).mean(axis=0)
    return float(np.degrees(np.arctan2(y, x))), float(np.degrees(np.arctan2(z, np.hypot(x, y))))


def projected(polygons: NDArray[Any], center: tuple[float, float]) -> NDArray[Any]:
    """Polygons (N,) of longitude and latitude in the equal-area CRS around a point, valid; empty where one has no place.

    Args:
        polygons: shapely polygons or multipolygons.
        center: longitude and latitude.
    """
    points, owners = shapely.get_coordinates(polygons, return_index=True)
    placed = project_each(points, WGS84, equal_area_crs(*center), where="")
    is_lost = np.zeros(len(polygons), np.bool_)
    is_lost[owners[~np.isfinite(placed).all(axis=1)]] = True
    found: NDArray[Any] = shapely.set_coordinates(polygons.copy(), np.nan_to_num(placed))
    found[is_lost] = shapely.Polygon()
    is_wrong = ~shapely.is_valid(found)
    found[is_wrong] = shapely.make_valid(found[is_wrong])
    return found


def ring_areas_m2(rings: NDArray[np.float64]) -> NDArray[np.float64]:
    """Square metres inside rings of longitude and latitude, edges straight in the equal-area projection around them.

    Args:
        rings: (N, P, 2) float64, closed or not; NaN gives NaN.
    """
    if not len(rings):
        return np.empty(0)
    is_known = np.isfinite(rings).all(axis=(1, 2))
    areas = np.full(len(rings), np.nan)
    if is_known.any():
        known = rings[is_known]
        points = known.reshape(-1, 2)
        placed = project_each(points, WGS84, equal_area_crs(*middle_of(points)), where="").reshape(known.shape)
        x, y = placed[..., 0] - placed[:, :1, 0], placed[..., 1] - placed[:, :1, 1]
        doubled = (x * np.roll(y, -1, axis=1) - np.roll(x, -1, axis=1) * y).sum(axis=1)
        areas[is_known] = np.abs(doubled) / 2
    return areas
