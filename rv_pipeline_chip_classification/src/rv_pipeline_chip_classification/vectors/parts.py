"""The polygons of GeoJSON geometries as flat lists of positions, before coordinates are understood."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rv_pipeline_chip_classification.vectors.geojson import GEOMETRY_TYPES, MAX_DEPTH, refused

Position = Sequence[float]


class Parts:
    """The polygons of geometries as flat lists, so that shapely makes them all at once.

    Attributes:
        ring_lengths: positions of each ring, of which the first of a polygon is its outline.
        ring_counts: rings of each polygon.
        features: number of the feature of each polygon.
        dropped: reason -> how many parts of features gave no polygon.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._positions: list[Position] = []
        self.ring_lengths: list[int] = []
        self.ring_counts: list[int] = []
        self.features: list[int] = []
        self.dropped: Counter[str] = Counter()

    def add(self, index: int, geometry: Any) -> None:
        """Take the polygons of a feature's geometry.

        Args:
            index: number of the feature.
            geometry: as GeoJSON has it; None for none.

        Raises:
            DataError: if it is not as GeoJSON says.
        """
        try:
            for polygon in self._polygons_of(geometry, MAX_DEPTH):
                self._add_polygon(index, polygon)
        except (TypeError, KeyError, ValueError) as err:
            what = f"it has no {err}" if isinstance(err, KeyError) else str(err)
            raise refused(self._uri, f"the geometry of features[{index}] is not as GeoJSON says: {what}") from err

    def _polygons_of(self, geometry: Any, levels: int) -> Iterator[list[list[Position]]]:
        if geometry is None:
            self.dropped["no geometry"] += 1
            return
        if not isinstance(geometry, dict):
            raise ValueError("it is no object")
        kind = geometry.get("type")
        if kind in ("MultiPolygon", "GeometryCollection"):
            members = geometry["coordinates" if kind == "MultiPolygon" else "geometries"]
            if not members:
                self.dropped[f"empty {kind}"] += 1
        if kind == "Polygon":
            yield geometry["coordinates"]
        elif kind == "MultiPolygon":
            yield from members
        elif kind == "GeometryCollection":
            if levels == 0:
                raise ValueError(f"geometry collections are nested more than {MAX_DEPTH} deep")
            for member in members:
                yield from self._polygons_of(member, levels - 1)
        elif kind in GEOMETRY_TYPES:
            self.dropped[f"{kind} has no area"] += 1
        else:
            raise ValueError("it has no type" if kind is None else f"no geometry has the type {str(kind)[:100]!r}")

    def _add_polygon(self, index: int, rings: list[list[Position]]) -> None:
        if rings and not isinstance(rings, list):
            raise ValueError("a polygon is no list of rings")
        if not rings or not rings[0]:
            self.dropped["empty polygon"] += 1
            return
        whole = [self._closed(ring) for ring in rings]
        if whole[0] is None:
            self.dropped["ring of fewer than 3 corners"] += 1
            return
        kept = [ring for ring in whole if ring is not None]
        if sum(map(bool, rings)) > len(kept):
            self.dropped["hole of fewer than 3 corners"] += sum(map(bool, rings)) - len(kept)
        for ring in kept:
            self._positions.extend(ring)
            self.ring_lengths.append(len(ring))
        self.ring_counts.append(len(kept))
        self.features.append(index)

    def _closed(self, ring: list[Position]) -> list[Position] | None:
        """A ring that ends where it begins; None for one that cannot have an area."""
        if not isinstance(ring, list):
            raise ValueError("a ring is no list of positions")
        if not ring:
            return None
        if isinstance(ring[0], list) and ring[0] and isinstance(ring[0][0], list):
            raise ValueError("a Polygon is nested like a MultiPolygon")
        closed = ring if ring[0] == ring[-1] else [*ring, ring[0]]
        return closed if len(closed) >= 4 else None

    def starts(self) -> NDArray[np.int64]:
        """The first point of each polygon."""
        first_rings = np.cumsum([0, *self.ring_counts[:-1]])
        first_points = np.cumsum([0, *self.ring_lengths[:-1]])
        starts: NDArray[np.int64] = first_points[first_rings]
        return starts

    def points(self) -> NDArray[np.float64]:
        """All positions, (N, 2) float64; what they have beyond two numbers is left out."""
        try:
            if set(map(len, self._positions)) != {2}:
                self._refuse_first(lambda position: len(position) < 2, "is not two numbers")
                self._positions = [(position[0], position[1]) for position in self._positions]
            numbers = list(chain.from_iterable(self._positions))
            # numpy takes true and false for numbers.
            if not set(map(type, numbers)) <= {int, float}:
                self._refuse_first(lambda position: not all(map(_is_number, position)), "is not two numbers")
            found = np.array(numbers).reshape(-1, 2)
        except (TypeError, ValueError, IndexError, KeyError) as err:
            raise refused(self._uri, f"a position is not two numbers: {err}") from err
        if found.dtype.kind not in "iuf" and found.size:
            self._refuse_first(lambda position: max(map(abs, position)) > 1e300, "is not finite")
        points = found.astype(np.float64, copy=False)
        if not np.isfinite(points).all():
            self._refuse_first(lambda position: not np.isfinite(position).all(), "is not finite")
        return points

    def _refuse_first(self, is_wrong: Callable[[Position], bool], what: str) -> None:
        """Raise for the first position that is wrong, if there is one."""
        for number, position in enumerate(self._positions):
            if is_wrong(position):
                feature = self.features[int(np.searchsorted(self.starts(), number, side="right")) - 1]
                raise refused(self._uri, f"a position of features[{feature}] {what}{_shown(position)}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(position: Position) -> str:
    """A position in a message; digits of huge numbers cannot be shown."""
    try:
        return f": {list(position)}"[:100]
    except ValueError:
        return ""
