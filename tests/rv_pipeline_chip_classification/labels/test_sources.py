"""Labels of windows: who wins a window, what the share is of, and what happens where nobody does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from rv_core.errors import DataError
from rv_pipeline_chip_classification.config import (
    ClassConfig,
    ClassRasterLabelsConfig,
    GeoJsonLabelsConfig,
    LabelsConfig,
    RasterSourceConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.labels.class_counts import count_classes
from rv_pipeline_chip_classification.labels.sources import UNLABELLED, LabelSource, open_labels
from rv_pipeline_chip_classification.scenes.grid import Grid
from rv_pipeline_chip_classification.scenes.raster_reader import RasterFile
from rv_pipeline_chip_classification.scenes.windows import Window, windows_over

NAMES = ["background", "forest", "rock"]
PLAIN = Grid(30, 30, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), None)
Square = Callable[..., list[tuple[float, float]]]


@pytest.fixture
def labels_of(write_labels: Callable[..., str]) -> Callable[..., LabelSource]:
    """`labels_of([(polygon, class_id), …], **options)`: labels in pixels of a 30 x 30 image without a CRS."""
    with ExitStack() as stack:

        def open_source(shapes: list[tuple[Any, int]], *, extent: Window = PLAIN.extent, **options: Any) -> LabelSource:
            features = [(shape, {"class_id": class_id}) for shape, class_id in shapes]
            labels = GeoJsonLabelsConfig(uri=write_labels("labels.geojson", features, crs=None), **options)
            return stack.enter_context(open_labels(scene(labels), ClassConfig(names=NAMES), PLAIN, extent))

        yield open_source


def scene(labels: LabelsConfig | None) -> SceneConfig:
    return SceneConfig(id="a", raster=RasterSourceConfig(uris=["/a.tif"]), labels=labels)


def nine_cells() -> np.ndarray:
    return windows_over(PLAIN.extent, size_px=10, stride_px=10)


def class_ids(source: LabelSource, windows: np.ndarray) -> list[int]:
    return source.label(windows).class_ids.tolist()


def test_three_polygons_over_nine_cells_as_made_by_hand(labels_of: Callable[..., LabelSource], square: Square) -> None:
    # forest: 6 x 10 of 80 px2 in cell 0, 2 x 10 in cell 1; rock: all of cell 4; a small forest in cell 8
    shapes = [(square(0, 4, 10, 8), 1), (square(10, 10, 10), 2), (square(25, 25, 2), 1)]
    over_polygon = labels_of(shapes, background_class="background").label(nine_cells())
    assert over_polygon.class_ids.tolist() == [1, 0, 0, 0, 2, 0, 0, 0, 1]
    assert over_polygon.shares.tolist()[0] == pytest.approx(0.75)
    assert over_polygon.shares.tolist()[4] == 1.0
    assert np.isnan(over_polygon.shares[1])
    over_cell = labels_of(shapes, background_class="background", use_intersection_over_cell=True).label(nine_cells())
    assert over_cell.class_ids.tolist() == [1, 0, 0, 0, 2, 0, 0, 0, 0]
    assert over_cell.shares.tolist()[0] == pytest.approx(0.6)


def test_a_share_equal_to_the_threshold_counts(labels_of: Callable[..., LabelSource], square: Square) -> None:
    half = [(square(0, 5, 10), 1)]
    assert class_ids(labels_of(half, ioa_threshold=0.5), nine_cells())[:2] == [1, 1]
    assert class_ids(labels_of(half, ioa_threshold=0.50001), nine_cells())[:2] == [UNLABELLED] * 2


def test_a_polygon_over_four_cells_labels_none_with_its_own_area_and_all_with_the_cells(
    labels_of: Callable[..., LabelSource], square: Square
) -> None:
    large = [(square(0, 0, 20), 1)]
    by_polygon = labels_of(large, background_class="background")
    assert class_ids(by_polygon, nine_cells()) == [0] * 9
    assert "1 of 1 polygons are larger than a cell of 10 px" in by_polygon.warn_of(10)
    assert by_polygon.warn_of(20) == ""
    by_cell = labels_of(large, background_class="background", use_intersection_over_cell=True)
    assert class_ids(by_cell, nine_cells()) == [1, 1, 0, 1, 1, 0, 0, 0, 0]
    assert by_cell.warn_of(10) == ""


def test_only_candidates_compete_for_the_smallest_class_id(
    labels_of: Callable[..., LabelSource], square: Square
) -> None:
    shapes = [(square(0, 0, 10, 6), 1), (square(9, 9, 1), 0)]
    source = labels_of(shapes, use_intersection_over_cell=True, pick_min_class_id=True, background_class="rock")
    assert class_ids(source, nine_cells())[:2] == [1, 2]


def test_the_largest_intersection_wins_and_not_the_largest_share(
    labels_of: Callable[..., LabelSource], square: Square
) -> None:
    shapes = [(square(0, 0, 2), 1), (square(0, 3, 10, 9), 2)]  # shares 1 and 7 / 9, shared areas 4 and 70
    assert class_ids(labels_of(shapes), nine_cells())[0] == 2
    assert class_ids(labels_of(shapes, pick_min_class_id=True), nine_cells())[0] == 1


def test_ties_go_to_the_smaller_class_whatever_the_order(labels_of: Callable[..., LabelSource], square: Square) -> None:
    left, right = square(0, 0, 10, 5), square(0, 5, 10, 5)
    for shapes in ([(left, 2), (right, 1)], [(right, 1), (left, 2)], [(left, 1), (right, 2)]):
        assert class_ids(labels_of(shapes), nine_cells())[0] == 1


def test_polygons_of_one_class_are_not_added_up(labels_of: Callable[..., LabelSource], square: Square) -> None:
    shapes = [(square(0, 0, 10, 4), 1), (square(0, 4, 10, 4), 1)]
    source = labels_of(shapes, use_intersection_over_cell=True)
    assert class_ids(source, nine_cells())[0] == UNLABELLED


def test_without_a_background_unmatched_windows_are_unlabelled(
    labels_of: Callable[..., LabelSource], square: Square
) -> None:
    source = labels_of([(square(0, 0, 10), 1)])
    windows, ids = source.label_cells(10)
    assert windows.tolist() == [[0, 0, 10, 10]]
    assert ids.tolist() == [1]


def test_windows_may_lie_anywhere(labels_of: Callable[..., LabelSource], square: Square) -> None:
    source = labels_of([(square(7, 13, 10), 2)], background_class="background")
    assert class_ids(source, np.array([[7, 13, 10, 10], [3, 13, 10, 10], [0, 13, 10, 10]])) == [2, 2, 0]


def test_reprojected_cells_have_the_shares_that_were_drawn(
    write_image: Callable[..., str], write_labels: Callable[..., str], square: Square
) -> None:
    image = write_image("a.tif", np.ones((64, 64), np.uint8), pixel=30.0)
    shapes = [
        (square(row, col, 16), {"class_id": (row + col) // 16 % 3})
        for row in range(0, 64, 16)
        for col in range(0, 64, 16)
    ]
    config = GeoJsonLabelsConfig(uri=write_labels("a.geojson", shapes, pixel=30.0))
    grid = RasterFile(image, "a", None, None).grid
    with open_labels(scene(config), ClassConfig(names=NAMES), grid, grid.extent) as source:
        half_way = source.label(np.array([[0, 8, 16, 16]]))
        assert half_way.class_ids.tolist() == [0]  # a tie in spite of rounding: both halves reach 0.5
        found = source.label(windows_over(grid.extent, size_px=16, stride_px=16))
    assert found.class_ids.tolist() == [(row + col) % 3 for row in range(4) for col in range(4)]
    assert found.shares.tolist() == [1.0] * 16


def test_cells_can_be_the_bounds_of_features(labels_of: Callable[..., LabelSource], square: Square) -> None:
    shapes = [(square(0, 20, 10), 2), (square(10.2, 0.1, 9.7), 1), (square(90, 90, 10), 1)]
    windows, ids = labels_of(shapes, infer_cells=False).label_cells(10)
    assert windows.tolist() == [[0, 20, 10, 10], [10, 0, 10, 10]]
    assert ids.tolist() == [2, 1]


def test_cells_outside_a_crop_are_left_out_together_with_their_classes(
    labels_of: Callable[..., LabelSource], square: Square
) -> None:
    shapes = [(square(0, 0, 10), 0), (square(10, 10, 10), 1), (square(20, 20, 10), 2)]
    windows, ids = labels_of(shapes, infer_cells=False, extent=Window(10, 10, 20, 20)).label_cells(10)
    assert windows.tolist() == [[10, 10, 10, 10], [20, 20, 10, 10]]
    assert ids.tolist() == [1, 2]


def test_a_multipolygon_is_one_cell_and_equal_cells_count_once(
    labels_of: Callable[..., LabelSource], square: Square
) -> None:
    rings = [[[*map(list, square(0, 0, 4)), [0, 0]]], [[*map(list, square(6, 6, 4)), [6, 6]]]]
    two = {"type": "MultiPolygon", "coordinates": rings}
    windows, ids = labels_of([(two, 2), (square(0, 0, 10), 1)], infer_cells=False).label_cells(10)
    assert windows.tolist() == [[0, 0, 10, 10]]
    assert ids.tolist() == [1]


def test_a_file_without_features_is_all_background_or_an_error(labels_of: Callable[..., LabelSource]) -> None:
    source = labels_of([], background_class="rock")
    assert class_ids(source, nine_cells()) == [2] * 9
    assert source.lies_on_image()
    assert len(labels_of([], background_class="rock", infer_cells=False).label_cells(10)[0]) == 0
    with pytest.raises(DataError, match="set background_class"):
        labels_of([])


def test_features_that_all_fall_out_are_counted_in_the_error(write_labels: Callable[..., str], square: Square) -> None:
    config = GeoJsonLabelsConfig(uri=write_labels("a.geojson", [(square(0, 0, 5), {"label": None})], crs=None))
    with (
        pytest.raises(DataError, match="1 features: 1 x no property class_id"),
        open_labels(scene(config), ClassConfig(names=NAMES), PLAIN, PLAIN.extent),
    ):
        pass


def test_labels_beside_the_image_are_noticed(labels_of: Callable[..., LabelSource], square: Square) -> None:
    assert not labels_of([(square(500, 500, 10), 1)]).lies_on_image()
    assert labels_of([(square(25, 25, 10), 1)]).lies_on_image()


def test_an_id_that_contradicts_the_name_is_noted_and_counts(write_labels: Callable[..., str], square: Square) -> None:
    shapes = [
        (square(0, 0, 5), {"class_id": 1, "class_name": NAMES[0]}),
        (square(9, 0, 5), {"class_id": 1, "class_name": NAMES[0]}),
        (square(0, 9, 5), {"class_id": 2, "class_name": NAMES[2]}),
        (square(9, 9, 5), {"class_id": 2, "class_name": "some other vocabulary"}),
    ]
    config = GeoJsonLabelsConfig(uri=write_labels("a.geojson", shapes, crs=None), infer_cells=False)
    with open_labels(scene(config), ClassConfig(names=NAMES), PLAIN, PLAIN.extent) as source:
        assert sorted(source.label_cells(10)[1].tolist()) == [1, 1, 2, 2]
        (note,) = [note for note in source.report.notes if "class_id" in note]
    assert note.startswith(f"class_id 1 is {NAMES[1]!r}, and class_name says {NAMES[0]!r} (2 of 4 features)")


def test_one_file_may_serve_a_scene_of_background_between_its_polygons(
    labels_of: Callable[..., LabelSource], square: Square
) -> None:
    around = [(square(-50, -50, 10), 1), (square(500, 500, 10), 1)]
    assert labels_of(around, background_class="rock").lies_on_image()
    assert not labels_of(around[1:], background_class="rock").lies_on_image()
    assert not labels_of(around).lies_on_image()


def test_what_was_left_out_and_pixel_coordinates_are_noted(write_labels: Callable[..., str], square: Square) -> None:
    features = [(square(0, 0, 5), {"class_id": 1}), (square(0, 0, 5), {})]
    config = GeoJsonLabelsConfig(uri=write_labels("a.geojson", features, crs=None))
    with open_labels(scene(config), ClassConfig(names=NAMES), PLAIN, PLAIN.extent) as source:
        assert source.report.num_features == 2
        assert [note for note in source.report.notes if "no CRS" in note]
        assert [note for note in source.report.notes if note.startswith("left out: 1 x no property")]


def test_a_scene_without_labels_is_an_error() -> None:
    with (
        pytest.raises(DataError, match="no labels"),
        open_labels(scene(None), ClassConfig(names=NAMES), PLAIN, PLAIN.extent),
    ):
        pass


# --- class rasters ----------------------------------------------------------------------------------------------------

VALUES = {1: "background", 2: "forest", 3: "rock"}


def raster_labels(
    image: str, labels: str, windows: np.ndarray, *, extent: Window | None = None, **options: Any
) -> tuple[list[int], np.ndarray]:
    grid = RasterFile(image, "a", None, None).grid
    config = ClassRasterLabelsConfig(**{"uri": labels, "class_values": VALUES, **options})
    with open_labels(scene(config), ClassConfig(names=NAMES), grid, extent or grid.extent) as source:
        assert source.lies_on_image()
        found = source.label(windows)
    return found.class_ids.tolist(), found.shares


def by_hand(values: np.ndarray, windows: np.ndarray, min_fraction: float = 0.0) -> list[int]:
    found = []
    for row, col, height, width in windows:
        part = values[row : row + height, col : col + width]
        counts = [int((part == value).sum()) for value in (1, 2, 3)]
        best = max(counts)
        enough = best > 0 and best >= min_fraction * height * width
        found.append(counts.index(best) if enough else UNLABELLED)
    return found


@pytest.mark.parametrize(("size", "stride"), [(8, 8), (8, 4), (16, 6), (7, 3), (5, 9), (100, 100)])
@pytest.mark.parametrize("min_fraction", [0.0, 0.4])
def test_the_majority_of_labelled_pixels_at_any_stride(
    write_image: Callable[..., str], size: int, stride: int, min_fraction: float
) -> None:
    values = np.random.default_rng(size).integers(0, 5, (50, 70)).astype(np.uint8)
    path = write_image("labels.tif", values)
    windows = windows_over(Window(0, 0, 50, 70), size_px=size, stride_px=stride)
    ids, shares = raster_labels(path, path, windows, min_fraction=min_fraction)
    assert ids == by_hand(values, windows, min_fraction)
    assert ((shares >= min_fraction) | np.isnan(shares)).all()


def test_random_windows_and_small_strips_give_the_same(
    write_image: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).integers(0, 5, (90, 70)).astype(np.uint8)
    path = write_image("labels.tif", values)
    rng = np.random.default_rng(1)
    windows = np.column_stack([rng.integers(0, 80, 40), rng.integers(0, 60, 40), np.full((40, 2), 9)])
    monkeypatch.setattr("rv_pipeline_chip_classification.labels.class_counts._ROWS_AT_ONCE", 11)
    assert raster_labels(path, path, windows)[0] == by_hand(values, windows)


def test_the_share_is_of_all_pixels_of_the_window(write_image: Callable[..., str]) -> None:
    values = np.zeros((10, 10), np.uint8)
    values[:3] = 2
    path = write_image("labels.tif", values)
    window = np.array([[0, 0, 10, 10]])
    assert raster_labels(path, path, window)[1].tolist() == [0.3]
    assert raster_labels(path, path, window, min_fraction=0.3)[0] == [1]
    assert raster_labels(path, path, window, min_fraction=0.31)[0] == [UNLABELLED]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32])
def test_values_of_any_integer_dtype_and_several_for_one_class(write_image: Callable[..., str], dtype: Any) -> None:
    values = np.full((10, 20), 41, dtype)
    values[:, 10:] = 90
    path = write_image("labels.tif", values)
    windows = windows_over(Window(0, 0, 10, 20), size_px=10, stride_px=10)
    mapping = {41: "forest", 43: "forest", 90: "rock", 100_000: "background", -7: "background"}
    assert raster_labels(path, path, windows, class_values=mapping)[0] == [1, 2]


def test_nodata_pixels_of_the_label_raster_are_unlabelled(write_image: Callable[..., str]) -> None:
    values = np.full((10, 10), 2, np.uint8)
    path = write_image("labels.tif", values, nodata=2)
    assert raster_labels(path, path, np.array([[0, 0, 10, 10]]))[0] == [UNLABELLED]


def test_a_class_whose_value_is_declared_nodata_is_noted(write_image: Callable[..., str]) -> None:
    path = write_image("labels.tif", np.full((10, 10), 2, np.uint8), nodata=2)
    grid = RasterFile(path, "a", None, None).grid
    config = ClassRasterLabelsConfig(uri=path, class_values=VALUES)
    with open_labels(scene(config), ClassConfig(names=NAMES), grid, grid.extent) as source:
        assert "value 2 is declared as nodata" in source.report.notes[0]


def test_pixels_outside_a_crop_do_not_count(write_image: Callable[..., str]) -> None:
    values = np.full((10, 10), 2, np.uint8)
    values[5:] = 3
    path = write_image("labels.tif", values)
    ids, shares = raster_labels(path, path, np.array([[0, 0, 10, 10]]), extent=Window(0, 0, 4, 10))
    assert ids == [1]
    assert shares.tolist() == [0.4]


def test_another_pixel_size_and_another_crs_are_brought_to_the_scene(write_image: Callable[..., str]) -> None:
    from rasterio.warp import Resampling, reproject

    image = write_image("image.tif", np.ones((64, 64), np.uint16), pixel=10.0)
    quarters = np.kron([[1, 2], [3, 0]], np.ones((16, 16))).astype(np.uint8)
    windows = windows_over(Window(0, 0, 64, 64), size_px=32, stride_px=32)
    coarse = write_image("coarse.tif", quarters, pixel=20.0)
    assert raster_labels(image, coarse, windows)[0] == [0, 1, 2, UNLABELLED]
    # The same in the neighbouring zone, made with a finer pixel so that edges stay in place.
    from rasterio.warp import transform_bounds

    with rasterio.open(coarse) as file:
        left, bottom, right, top = transform_bounds(file.crs, "EPSG:32617", *file.bounds)
        place = rasterio.Affine(2.0, 0, left, 0, -2.0, top)
        moved = np.zeros((int((top - bottom) / 2), int((right - left) / 2)), np.uint8)
        reproject(
            file.read(1), moved, src_transform=file.transform, src_crs=file.crs, dst_transform=place,
            dst_crs="EPSG:32617", resampling=Resampling.nearest,
        )  # fmt: skip
    other = write_image("other.tif", moved, pixel=2.0, origin=(left, top), crs="EPSG:32617")
    ids, shares = raster_labels(image, other, windows)
    assert ids == [0, 1, 2, UNLABELLED]
    assert shares[:3] == pytest.approx(1.0, abs=0.05)


def test_what_a_label_raster_does_not_cover_is_unlabelled(write_image: Callable[..., str]) -> None:
    image = write_image("image.tif", np.ones((32, 32), np.uint8))
    part = write_image("part.tif", np.full((32, 16), 1, np.uint8))
    windows = windows_over(Window(0, 0, 32, 32), size_px=16, stride_px=16)
    assert raster_labels(image, part, windows)[0] == [0, UNLABELLED, 0, UNLABELLED]
    assert raster_labels(image, part, windows, class_values={0: "rock", 1: "forest"})[0] == [1, UNLABELLED] * 2


def test_a_label_raster_elsewhere_does_not_lie_on_the_image(write_image: Callable[..., str]) -> None:
    grid = RasterFile(write_image("image.tif", np.ones((32, 32), np.uint8)), "a", None, None).grid
    far = write_image("far.tif", np.ones((32, 32), np.uint8), origin=(600_000.0, 4_500_000.0))
    config = ClassRasterLabelsConfig(uri=far, class_values=VALUES)
    with open_labels(scene(config), ClassConfig(names=NAMES), grid, grid.extent) as source:
        assert not source.lies_on_image()


@pytest.mark.parametrize(
    ("array", "options", "why"),
    [
        (np.ones((32, 32), np.complex64), {}, "real number"),
        (np.ones((32, 32, 3), np.uint8), {"photometric": "RGB"}, "a picture of colours in 3 bands"),
        (np.ones((16, 16), np.uint8), {"crs": 'LOCAL_CS["x",UNIT["metre",1]]'}, "no known place on Earth"),
        (np.ones((16, 16), np.uint8), {"crs": "+proj=longlat +R=1737400 +no_defs"}, "labels.tif"),
        (np.ones((16, 16), np.uint8), {"transform": rasterio.Affine(1, 1, 5e5, 1, 1, 4.5e6)}, "no inverse"),
        (np.ones((16, 32), np.uint8), {"crs": None}, "without a CRS"),
    ],
)
def test_label_rasters_that_cannot_be_used(
    write_image: Callable[..., str], array: np.ndarray, options: dict[str, Any], why: str
) -> None:
    grid = RasterFile(write_image("image.tif", np.ones((32, 32), np.uint8)), "a", None, None).grid
    config = ClassRasterLabelsConfig(uri=write_image("labels.tif", array, **options), class_values=VALUES)
    with (
        pytest.raises(DataError, match=why),
        open_labels(scene(config), ClassConfig(names=NAMES), grid, grid.extent),
    ):
        pass


def test_each_block_of_a_label_raster_is_read_once(
    write_image: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).integers(0, 4, (100, 40)).astype(np.uint8)
    file = RasterFile(write_image("labels.tif", values), "a", [0], None)
    seen = np.zeros((100, 40), int)
    read = file.read

    def counted(window: Window) -> Any:
        seen[window.row_off : window.row_end, window.col_off : window.col_end] += 1
        return read(window)

    monkeypatch.setattr(file, "read", counted)
    monkeypatch.setattr("rv_pipeline_chip_classification.labels.class_counts._ROWS_AT_ONCE", 5)
    monkeypatch.setattr("rv_pipeline_chip_classification.scenes.row_reader.STRIP_BYTES", 16 * 40)
    windows = windows_over(Window(0, 0, 100, 40), size_px=12, stride_px=5)
    counts = count_classes(file, {1: 0, 2: 1, 3: 2}, 3, windows, Window(0, 0, 100, 40))
    assert (seen == 1).all()
    assert counts.sum(axis=1).tolist() == [(values[r : r + h, c : c + w] > 0).sum() for r, c, h, w in windows.tolist()]


def test_the_cells_of_a_class_raster_are_a_grid(write_image: Callable[..., str]) -> None:
    values = np.kron([[1, 0], [3, 2]], np.ones((10, 10))).astype(np.uint8)
    path = write_image("labels.tif", values)
    grid = RasterFile(path, "a", None, None).grid
    config = ClassRasterLabelsConfig(uri=path, class_values=VALUES)
    with open_labels(scene(config), ClassConfig(names=NAMES), grid, grid.extent) as source:
        windows, ids = source.label_cells(10)
    assert windows[:, :2].tolist() == [[0, 0], [10, 0], [10, 10]]
    assert ids.tolist() == [0, 2, 1]


@pytest.mark.parametrize("pixel", [1.0, 2.0])
def test_a_label_raster_that_is_cut_short_names_the_file(write_image: Callable[..., str], pixel: float) -> None:
    values = np.random.default_rng(0).integers(0, 4, (200, 200)).astype(np.uint8)
    grid = RasterFile(write_image("image.tif", values), "a", None, None).grid
    path = Path(write_image("labels.tif", values, pixel=pixel))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 4])
    config = ClassRasterLabelsConfig(uri=str(path), class_values=VALUES)
    with (
        pytest.raises(DataError, match=r"labels\.tif, rows"),
        open_labels(scene(config), ClassConfig(names=NAMES), grid, grid.extent) as source,
    ):
        source.label(np.array([[0, 0, 200, 200]]))


def test_repaired_polygons_are_noted(labels_of: Callable[..., LabelSource]) -> None:
    source = labels_of([([(0, 0), (10, 10), (10, 0), (0, 10)], 1)])
    assert any("1 polygons cross themselves" in note for note in source.report.notes)
