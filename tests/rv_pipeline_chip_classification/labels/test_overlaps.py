"""Shared areas of windows and polygons: exact, for any polygon, checked against GEOS."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from rv_pipeline_chip_classification.labels import overlaps
from rv_pipeline_chip_classification.labels.overlaps import overlaps_of, window_boxes


def table(windows: np.ndarray, polygons: np.ndarray) -> np.ndarray:
    """The areas as a dense table (N, M)."""
    found = overlaps_of(windows, polygons)
    dense = np.zeros((len(windows), len(polygons)))
    dense[found.windows, found.polygons] = found.areas_px2
    assert len(set(zip(found.windows.tolist(), found.polygons.tolist(), strict=True))) == len(found.windows)
    return dense


def expected(windows: np.ndarray, polygons: np.ndarray) -> np.ndarray:
    return shapely.area(shapely.intersection(window_boxes(windows)[:, None], polygons[None, :]))


corner = st.floats(-10, 70, allow_nan=False).map(lambda value: round(value, 3))


@st.composite
def polygons(draw: st.DrawFn) -> object:
    points = draw(st.lists(st.tuples(corner, corner), min_size=3, max_size=9))
    shape = shapely.MultiPoint(points).convex_hull
    hole = shapely.box(*sorted(draw(st.tuples(corner, corner)))[:1] * 2, 30, 30)
    return shape.difference(hole) if draw(st.booleans()) else shape


windows_strategy = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=8
).map(lambda rows: np.array(rows, np.int64))


@settings(max_examples=150, deadline=None)
@given(windows_strategy, st.lists(polygons(), min_size=1, max_size=5))
def test_areas_are_those_of_geos(windows: np.ndarray, shapes: list[object]) -> None:
    usable = np.array([shape for shape in shapes if shape.area > 1e-6 and "Polygon" in shape.geom_type], object)
    if len(usable):
        assert table(windows, usable) == pytest.approx(expected(windows, usable), abs=1e-9)


@pytest.mark.parametrize("angle", [0, 1e-9, 30, 45])
def test_turned_boxes_and_boxes_that_reprojection_has_turned_a_little(angle: float) -> None:
    box = shapely.affinity.rotate(shapely.box(10, 10, 42, 42), angle, origin=(10, 10))
    windows = np.array([[r, c, 16, 16] for r in range(0, 64, 8) for c in range(0, 64, 8)])
    assert table(windows, np.array([box])) == pytest.approx(expected(windows, np.array([box])), abs=1e-6)


def test_polygons_with_thousands_of_corners_are_cut_into_pieces_that_add_up() -> None:
    angles = np.linspace(0, 2 * np.pi, 5001)[:-1]
    radii = 300 + 80 * np.sin(25 * angles)
    star = shapely.Polygon(np.column_stack([400 + radii * np.cos(angles), 400 + radii * np.sin(angles)]))
    ring = (
        shapely.Point(400, 400)
        .buffer(350, quad_segs=800)
        .difference(shapely.Point(400, 400).buffer(200, quad_segs=800))
    )
    both = np.array([star, ring, shapely.box(0, 0, 800, 800)])
    windows = np.array([[r, c, 64, 64] for r in range(0, 800, 50) for c in range(0, 800, 50)])
    assert table(windows, both) == pytest.approx(expected(windows, both), abs=1e-8)


def test_small_chunks_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = shapely.buffer(shapely.points(np.random.default_rng(0).uniform(0, 100, (30, 2))), 12)
    windows = np.array([[r, c, 20, 20] for r in range(0, 100, 7) for c in range(0, 100, 7)])
    before = table(windows, shapes)
    monkeypatch.setattr(overlaps, "_EDGES_AT_ONCE", 10)
    assert (table(windows, shapes) == before).all()


def test_multipolygons_count_as_one() -> None:
    two = shapely.MultiPolygon([shapely.box(0, 0, 4, 4), shapely.box(6, 0, 10, 4)])
    assert table(np.array([[0, 0, 10, 10], [0, 0, 4, 8]]), np.array([two])).tolist() == [[32.0], [24.0]]


def test_touching_is_not_sharing_an_area() -> None:
    found = overlaps_of(np.array([[0, 0, 8, 8]]), np.array([shapely.box(8, 0, 16, 8), shapely.box(0, 8, 8, 16)]))
    assert len(found.windows) == 0


def test_nothing_with_nothing_is_nothing() -> None:
    none = np.empty(0, object)
    assert len(overlaps_of(np.empty((0, 4), np.int64), np.array([shapely.box(0, 0, 1, 1)])).windows) == 0
    assert len(overlaps_of(np.array([[0, 0, 8, 8]]), none).windows) == 0


def test_ten_thousand_windows_and_a_detailed_polygon_take_well_under_five_seconds() -> None:
    import time

    shape = shapely.Point(1000, 1000).buffer(900, quad_segs=2500)
    windows = np.array([[r, c, 64, 64] for r in range(0, 2000, 20) for c in range(0, 2000, 20)])
    before = time.process_time()
    overlaps_of(windows, np.array([shape]))
    assert len(windows) == 10_000
    assert time.process_time() - before < 5
