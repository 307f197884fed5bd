"""Windows: how many there are, where they lie, and that random ones depend on seed and scene alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rv_pipeline_chip_classification.scenes.windows import (
    Window,
    bounding_window,
    clip_windows,
    covered_rows,
    num_steps,
    random_windows,
    scene_rng,
    windows_over,
)

sizes = st.integers(1, 40)


@pytest.mark.parametrize(
    ("length", "size", "stride", "expected"),
    [
        (600, 512, 256, 2),
        (301, 300, 300, 2),
        (300, 300, 300, 1),
        (101, 50, 50, 3),
        (10, 50, 50, 1),
        (0, 50, 50, 0),
        (100, 10, 50, 2),
        (105, 10, 50, 2),
        (110, 10, 50, 3),
        (5, 10, 50, 1),
    ],
)
def test_number_of_windows_along_a_side(length: int, size: int, stride: int, expected: int) -> None:
    assert num_steps(length, size_px=size, stride_px=stride) == expected


def test_windows_run_row_by_row_from_the_first_pixel_of_the_extent() -> None:
    windows = windows_over(Window(100, 20, 5, 7), size_px=4, stride_px=4)
    assert windows.tolist() == [[100, 20, 4, 4], [100, 24, 4, 4], [104, 20, 4, 4], [104, 24, 4, 4]]


@given(st.integers(1, 90), st.integers(1, 90), sizes, st.data())
def test_sliding_windows_cover_every_pixel_and_begin_inside(
    height: int, width: int, size: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, size))
    extent = Window(3, 5, height, width)
    windows = windows_over(extent, size_px=size, stride_px=stride)
    covered = np.zeros((height, width), bool)
    for row, col, h, w in clip_windows(windows, extent):
        assert h > 0 and w > 0
        covered[row - 3 : row - 3 + h, col - 5 : col - 5 + w] = True
    assert covered.all()
    assert len({tuple(window) for window in windows.tolist()}) == len(windows)


@given(st.integers(1, 90), sizes, st.integers(1, 60))
def test_a_stride_above_the_size_never_overflows(length: int, size: int, gap: int) -> None:
    windows = windows_over(Window(0, 0, length, length), size_px=size, stride_px=size + gap)
    if length >= size:
        assert (windows[:, :2] + size <= length).all()
    else:
        assert windows.tolist() == [[0, 0, size, size]]


def test_random_windows_lie_inside_and_depend_on_seed_and_scene() -> None:
    extent = Window(10, 20, 100, 50)

    def draw(seed: int, scene: str) -> list[list[int]]:
        return random_windows(extent, 200, size_px=16, rng=scene_rng(seed, scene)).tolist()

    assert draw(1, "a") == draw(1, "a")
    assert draw(1, "a") != draw(1, "b")
    assert draw(1, "a") != draw(2, "a")
    assert all(extent.contains(Window(*window)) for window in draw(1, "a"))


def test_random_windows_reach_both_ends() -> None:
    windows = random_windows(Window(0, 0, 10, 10), 500, size_px=8, rng=scene_rng(0, "a"))
    assert set(windows[:, 0].tolist()) == {0, 1, 2}


def test_a_scene_smaller_than_a_window_has_one_place() -> None:
    windows = random_windows(Window(4, 6, 5, 5), 3, size_px=8, rng=scene_rng(0, "a"))
    assert windows.tolist() == [[4, 6, 8, 8]] * 3


def test_intersection_of_boxes_that_do_not_meet_is_empty() -> None:
    assert Window(0, 0, 5, 5).intersection(Window(5, 0, 5, 5)).is_empty
    assert Window(0, 0, 5, 5).intersection(Window(3, 4, 5, 5)) == Window(3, 4, 2, 1)


def test_bounding_window_and_covered_rows() -> None:
    windows = np.array([[10, 5, 4, 4], [20, 2, 4, 4]])
    box = bounding_window(windows)
    assert box == Window(10, 2, 14, 7)
    assert np.flatnonzero(~covered_rows(windows, box)).tolist() == [4, 5, 6, 7, 8, 9]
    assert bounding_window(np.empty((0, 4), int)).is_empty
