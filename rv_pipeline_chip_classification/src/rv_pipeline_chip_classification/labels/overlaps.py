"""How much of each polygon lies in each window: exact areas for many pairs at once. Pure.

Coordinates are pixels: x is the column, y the row, and pixel (r, c) is the square from (c, r) to (c + 1, r + 1).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from rv_pipeline_chip_classification.scenes.windows import WindowArray

#: Polygons with more corners are cut into pieces, so that a window only meets the corners near it.
_MAX_CORNERS = 64
#: Pairs of edges and windows that are looked at together: so few that their numbers stay in the cache of a core.
_EDGES_AT_ONCE = 1 << 15

Polygons = NDArray[Any]


class Overlaps(NamedTuple):
    """The pairs of a window and a polygon that share an area, in no particular order.

    Args:
        windows: (P,) int64, number of the window.
        polygons: (P,) int64, number of the polygon.
        areas_px2: (P,) float64, square pixels in both; above 0.
    """

    windows: NDArray[np.int64]
    polygons: NDArray[np.int64]
    areas_px2: NDArray[np.float64]


def window_boxes(windows: WindowArray, *, inset_px: float = 0.0) -> Polygons:
    """Windows (N, 4) as shapely polygons (N,), each side moved inwards by `inset_px`."""
    top, left = windows[:, 0] + inset_px, windows[:, 1] + inset_px
    bottom, right = windows[:, 0] + windows[:, 2] - inset_px, windows[:, 1] + windows[:, 3] - inset_px
    boxes: Polygons = shapely.box(left, top, right, bottom)
    return boxes


def overlaps_of(windows: WindowArray, polygons: Polygons) -> Overlaps:
    """Every pair of a window and a polygon that share an area.

    Args:
        windows: (N, 4) int64.
        polygons: (M,) valid shapely polygons or multipolygons in pixel coordinates.
    """
    pieces, owners = _small_pieces(polygons)
    if not len(pieces) or not len(windows):
        empty = np.empty(0, np.int64)
        return Overlaps(empty, empty, np.empty(0))
    window_numbers, piece_numbers = _near_pairs(windows, shapely.bounds(pieces))
    areas = _areas(windows, pieces, window_numbers, piece_numbers)
    kept = areas > 0
    window_numbers, polygon_numbers, areas = window_numbers[kept], owners[piece_numbers[kept]], areas[kept]
    if len(pieces) == len(polygons):
        return Overlaps(window_numbers, polygon_numbers, areas)
    keys, places = np.unique(window_numbers * len(polygons) + polygon_numbers, return_inverse=True)
    return Overlaps(keys // len(polygons), keys % len(polygons), np.bincount(places, areas).astype(np.float64))


def _near_pairs(windows: WindowArray, bounds: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of a window and a piece whose bounds meet, and for windows of different sizes a few more.

    Windows share rows: a piece is first paired with rows of windows, then with a run of windows in each. An STRtree
    would need every window as a geometry, and making those alone takes longer than all of this.

    Args:
        windows: (N, 4) int64.
        bounds: (M, 4) float64 left, top, right, bottom.

    Returns:
        Numbers of windows and of pieces: (P,) int64 each.
    """
    left, top, right, bottom = bounds.T
    height, width = windows[:, 2].max(), windows[:, 3].max()
    row_offs, row_numbers = np.unique(windows[:, 0], return_inverse=True)
    row_length = int(windows[:, 1].max()) + 1
    keys = row_numbers * row_length + windows[:, 1]
    order = np.argsort(keys, kind="stable")
    first_rows = np.searchsorted(row_offs + height, top, side="right")
    pieces, rows = _spread(first_rows, np.searchsorted(row_offs, bottom, side="left"))
    low = np.clip(np.floor(left - width).astype(np.int64) + 1, 0, row_length)[pieces]
    high = np.clip(np.ceil(right).astype(np.int64), 0, row_length)[pieces]
    sorted_keys = keys[order]
    pairs, places = _spread(
        np.searchsorted(sorted_keys, rows * row_length + low), np.searchsorted(sorted_keys, rows * row_length + high)
    )
    return order[places], pieces[pairs]


def _spread(begins: NDArray[np.int64], ends: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For every i each number of `range(begins[i], ends[i])`: i and the number."""
    counts = np.maximum(ends - begins, 0)
    owners = np.repeat(np.arange(len(begins)), counts)
    return owners, np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts - begins, counts)


def _small_pieces(polygons: Polygons) -> tuple[Polygons, NDArray[np.int64]]:
    """Single polygons of at most `_MAX_CORNERS` corners that make up the given ones, and the number of the owner."""
    pieces, owners = shapely.get_parts(polygons, return_index=True)
    done: list[tuple[Polygons, NDArray[np.int64]]] = []
    while True:
        is_large = shapely.get_num_coordinates(pieces) > _MAX_CORNERS
        if not is_large.any():
            break
        done.append((pieces[~is_large], owners[~is_large]))
        pieces, owners = _halves(pieces[is_large], owners[is_large])
    done.append((pieces, owners))
    all_pieces, all_owners = np.concatenate([p for p, _ in done]), np.concatenate([o for _, o in done])
    order = np.argsort(all_owners, kind="stable")
    return all_pieces[order], all_owners[order].astype(np.int64)


def _halves(polygons: Polygons, owners: NDArray[np.int64]) -> tuple[Polygons, NDArray[np.int64]]:
    """Each polygon cut in two across its longer side."""
    left, top, right, bottom = shapely.bounds(polygons).T
    is_wide = right - left > bottom - top
    middle_x, middle_y = np.where(is_wide, (left + right) / 2, right), np.where(is_wide, bottom, (top + bottom) / 2)
    first = shapely.box(left, top, middle_x, middle_y)
    second = shapely.box(np.where(is_wide, middle_x, left), np.where(is_wide, top, middle_y), right, bottom)
    both = np.concatenate([shapely.intersection(polygons, first), shapely.intersection(polygons, second)])
    parts, places = shapely.get_parts(both, return_index=True)
    is_area = shapely.area(parts) > 0
    return parts[is_area], np.concatenate([owners, owners])[places[is_area]]


class _Edges(NamedTuple):
    """The edges of polygons, those of polygon i from `starts[i]` to `starts[i + 1]`.

    Args:
        ends: (4, E) float64, x1, y1, x2, y2.
        lows: (E,) float64, the smaller y.
        highs: (E,) float64, the larger y.
        rights: (E,) float64, the larger x.
        starts: (M + 1,) int64.
    """

    ends: NDArray[np.float64]
    lows: NDArray[np.float64]
    highs: NDArray[np.float64]
    rights: NDArray[np.float64]
    starts: NDArray[np.int64]


def _edges_of(polygons: Polygons) -> _Edges:
    # Normal form: outer rings clockwise, holes counter-clockwise, so that signed areas add up.
    rings, ring_owners = shapely.get_rings(shapely.normalize(polygons), return_index=True)
    corners, corner_rings = shapely.get_coordinates(rings, return_index=True)
    is_edge = (corner_rings[1:] == corner_rings[:-1]) & (corners[1:, 1] != corners[:-1, 1])
    ends = np.compress(is_edge, np.concatenate([corners[:-1].T, corners[1:].T]), axis=1)
    owners = ring_owners[corner_rings[:-1][is_edge]]
    x1, y1, x2, y2 = ends
    starts = np.searchsorted(owners, np.arange(len(polygons) + 1))
    return _Edges(ends, np.minimum(y1, y2), np.maximum(y1, y2), np.maximum(x1, x2), starts)


def _areas(
    windows: WindowArray, pieces: Polygons, window_numbers: NDArray[np.int64], piece_numbers: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Square pixels that each pair of a window and a piece share: (P,) float64."""
    left, top, right, bottom = np.take(shapely.bounds(pieces).T, piece_numbers, axis=1)
    rows, cols = np.take(windows[:, :2].T, window_numbers, axis=1)
    row_ends, col_ends = np.take((windows[:, :2] + windows[:, 2:]).T, window_numbers, axis=1)
    shared_widths = np.minimum(right, col_ends) - np.maximum(left, cols)
    shared_heights = np.minimum(bottom, row_ends) - np.maximum(top, rows)
    areas: NDArray[np.float64] = np.maximum(shared_widths, 0.0) * np.maximum(shared_heights, 0.0)
    # A piece fills a known share of its bounds: all for a box, so that is it; and all of a piece lies in some windows.
    fill_ratios = _fill_ratios(pieces)[piece_numbers]
    is_inside = (shared_widths == right - left) & (shared_heights == bottom - top)
    areas[is_inside] *= fill_ratios[is_inside]
    crossing = np.flatnonzero(~is_inside & (fill_ratios < 1.0) & (areas > 0))
    if not len(crossing):
        return areas
    edges = _edges_of(pieces)
    counts = (edges.starts[1:] - edges.starts[:-1])[piece_numbers[crossing]]
    ends = np.cumsum(counts)
    begin = 0
    while begin < len(crossing):
        before = ends[begin - 1] if begin else 0
        stop = max(begin + 1, int(np.searchsorted(ends, before + _EDGES_AT_ONCE, side="right")))
        chosen = crossing[begin:stop]
        areas[chosen] = _crossing_areas(windows[window_numbers[chosen]], edges, piece_numbers[chosen])
        begin = stop
    return areas


def _fill_ratios(pieces: Polygons) -> NDArray[np.float64]:
    """The area of each piece as a share of that of its bounds; exactly 1 for a box."""
    left, top, right, bottom = shapely.bounds(pieces).T
    ratios: NDArray[np.float64] = shapely.area(pieces) / ((right - left) * (bottom - top))
    # Reprojecting turns the sides of a box by parts of a billionth.
    return np.where(ratios > 1.0 - 1e-9, 1.0, ratios)


def _crossing_areas(windows: WindowArray, edges: _Edges, piece_numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """Square pixels shared by window i and piece i: (P,) float64.

    A row of the plane meets a polygon between its left and right edges. The length of that inside a window from x0 to
    x1 is the sum of the edges' x, clamped to x0..x1, with the sign of their direction. Integrated over the window's
    rows this is the shared area. GEOS' general intersection takes ten times as long for small polygons.
    """
    pairs, places = _spread(edges.starts[piece_numbers], edges.starts[piece_numbers + 1])
    boxes = np.ascontiguousarray(windows.T, np.float64)
    rows, cols, heights, _ = boxes
    # An edge can add to a shared area if it lies at the rows of the window and not all left of it.
    is_met = (edges.lows[places] < (rows + heights)[pairs]) & (edges.highs[places] > rows[pairs])
    is_met &= edges.rights[places] > cols[pairs]
    pairs, places = pairs[is_met], places[is_met]
    x1, y1, x2, y2 = np.take(edges.ends, places, axis=1)
    rows, cols, heights, widths = np.take(boxes, pairs, axis=1)
    bottoms = rows + heights
    y_begin, y_end = np.minimum(np.maximum(y1, rows), bottoms), np.minimum(np.maximum(y2, rows), bottoms)
    slope = (x2 - x1) / (y2 - y1)
    x_begin, x_end = x1 + (y_begin - y1) * slope - cols, x1 + (y_end - y1) * slope - cols
    shares = _mean_clamped(x_begin, x_end, widths) * (y_end - y_begin)
    return np.abs(np.bincount(pairs, shares, minlength=len(piece_numbers)))


def _mean_clamped(
    begin: NDArray[np.float64], end: NDArray[np.float64], top: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The mean of `min(max(x, 0), top)` for x running from begin to end."""
    low, high = np.minimum(begin, end), np.maximum(begin, end)
    length = np.where(high > low, high - low, 1.0)
    share_below = np.maximum(np.minimum(high, 0.0) - low, 0.0) / length
    share_above = np.maximum(high - np.maximum(low, top), 0.0) / length
    middle = (np.minimum(np.maximum(low, 0.0), top) + np.minimum(np.maximum(high, 0.0), top)) / 2
    # Shares of the whole, so that rounding in a short edge cannot make them add up to more than one.
    return share_above * top + (1.0 - share_above - share_below) * middle
