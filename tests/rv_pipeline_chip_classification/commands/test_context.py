"""What a model sees around a cell: chips and predicted windows are slices of the scene, padded and masked outside."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rv_core.errors import DataError
from rv_core.files.storage import Storage
from rv_pipeline_chip_classification.chips.store import ChipStore
from rv_pipeline_chip_classification.commands.cell_comparison import Coverage, compare_cells
from rv_pipeline_chip_classification.commands.chip import chip_scene
from rv_pipeline_chip_classification.commands.predict import Predictor, SceneWriter
from rv_pipeline_chip_classification.config import (
    ChipConfig,
    ClassConfig,
    GeoJsonLabelsConfig,
    PredictConfig,
    RasterSourceConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.control import Unheard
from rv_pipeline_chip_classification.labels.cells import label_cells
from rv_pipeline_chip_classification.prediction.cell_windows import CellGrid, CellList
from rv_pipeline_chip_classification.prediction.classifier import Classifier
from rv_pipeline_chip_classification.scenes import row_reader
from rv_pipeline_chip_classification.scenes.raster_reader import RasterFile
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.scenes.windows import Window, WindowArray

HEIGHT, WIDTH = 37, 45
#: More than any window here reaches beyond the scene.
PAD = 80
CLASSES = ClassConfig(names=["background", "forest"])


@dataclass(frozen=True)
class Written:
    """A scene on disk, and its pixels: (H, W, C) uint16; 0 is no data."""

    array: np.ndarray
    image: str
    labels: str

    def scene(self, bbox: list[int] | None = None) -> SceneConfig:
        labels = GeoJsonLabelsConfig(uri=self.labels, background_class="background")
        raster = RasterSourceConfig(uris=[self.image], bbox=bbox, nodata=0)
        return SceneConfig(id="a", raster=raster, labels=labels)

    def expected(self, window: Any, context_px: int, bbox: list[int] | None) -> tuple[np.ndarray, np.ndarray]:
        """Chip and valid pixels of a window: a slice of the padded scene."""
        row_off, col_off, height, width = bbox or [0, 0, HEIGHT, WIDTH]
        inside = np.zeros(self.array.shape[:2], bool)
        inside[row_off : row_off + height, col_off : col_off + width] = True
        padded = np.pad(np.where(inside[..., None], self.array, 0), ((PAD, PAD), (PAD, PAD), (0, 0)))
        row, col, height, width = (int(number) for number in window)
        top, left = PAD + row - context_px, PAD + col - context_px
        chip = padded[top : top + height + 2 * context_px, left : left + width + 2 * context_px]
        return chip, (chip != 0).all(axis=2)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    import rasterio

    folder = tmp_path_factory.mktemp("context")
    array = np.random.default_rng(0).integers(1, 60_000, (HEIGHT, WIDTH, 2), dtype=np.uint16)
    array[5:12, 20:33] = 0
    array[30, 0] = 0
    profile: dict[str, Any] = {"driver": "GTiff", "height": HEIGHT, "width": WIDTH, "count": 2, "dtype": "uint16"}
    profile |= {"tiled": True, "blockxsize": 16, "blockysize": 16, "crs": "EPSG:32618"}
    with rasterio.open(
        folder / "a.tif", "w", transform=rasterio.Affine(1, 0, 500_000, 0, -1, 4_500_000), **profile
    ) as file:
        file.write(array.transpose(2, 0, 1))
    labels = folder / "a.geojson"
    labels.write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    return Written(array, str(folder / "a.tif"), str(labels))


@pytest.fixture
def small_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_reader, "STRIP_BYTES", 2_000)


boxes = st.none() | st.tuples(st.integers(0, 12), st.integers(0, 20), st.integers(1, 25), st.integers(1, 25)).map(list)


@settings(max_examples=25, deadline=None)
@given(boxes, st.integers(1, 24), st.integers(4, 30), st.integers(0, 40), st.booleans(), st.sampled_from([0.0, 0.6]))
def test_chips_are_slices_of_the_padded_scene(
    written: Written,
    bbox: list[int] | None,
    size_px: int,
    stride_px: int,
    context_px: int,
    is_random: bool,
    min_valid_fraction: float,
) -> None:
    sampling: dict[str, Any] = {"stride_px": stride_px}
    if is_random:
        sampling = {"sampling": "random", "windows_per_scene": 7}
    plain = ChipConfig(chip_size_px=size_px, min_valid_fraction=min_valid_fraction, **sampling)
    chip = ChipConfig(chip_size_px=size_px, context_px=context_px, min_valid_fraction=min_valid_fraction, **sampling)
    with tempfile.TemporaryDirectory() as folder:
        stores = []
        for name, config in (("plain", plain), ("context", chip)):
            storage = Storage(str(Path(folder) / name))
            chip_scene(written.scene(bbox), "train", CLASSES, config, 3, storage)
            stores.append((storage, ChipStore.open(storage, ["a"])))
        (_, bare), (storage, store) = stores
        # Which windows are chips, and what is said of them, does not depend on the context.
        for name in ("windows", "class_ids", "valid_fractions"):
            assert (getattr(store, name) == getattr(bare, name)).all()
        chips, valid = store.gather(np.arange(len(store)), out=_rubbish(len(store), store))
        valid = np.ones(chips.shape[:3], bool) if valid is None else valid
        for index, window in enumerate(store.windows):
            expected, is_valid = written.expected(window, context_px, bbox)
            assert (chips[index][is_valid] == expected[is_valid]).all()
            assert (valid[index] == is_valid).all()
        pixels = np.load(storage.input_file("chip/a.npy")) if len(store) else np.empty(0)
        assert pixels.size <= written.array.size


def _rubbish(count: int, store: ChipStore) -> np.ndarray:
    return np.full((count, *store.chip_shape, store.num_channels), 777, store.dtype)


@settings(max_examples=25, deadline=None)
@given(boxes, st.integers(1, 24), st.integers(4, 30), st.integers(0, 40), st.integers(1, 9))
def test_windows_of_a_predicted_grid_are_slices_of_the_padded_scene(
    written: Written, bbox: list[int] | None, size_px: int, stride_px: int, context_px: int, batch_size: int
) -> None:
    with SceneRaster(written.scene(bbox).raster, "a") as raster:
        cells = CellGrid(raster.extent, size_px, stride_px)
        windows = cells.windows(0, cells.num_cells)
        _assert_slices(written, windows, cells.iter_chips(raster, lambda _: batch_size, context_px), context_px, bbox)


cell_lists = st.lists(
    st.tuples(st.integers(-3, 30), st.integers(-3, 40), st.integers(4, 6), st.integers(4, 6)), min_size=1, max_size=9
)


@settings(max_examples=25, deadline=None)
@given(boxes, cell_lists, st.integers(0, 40), st.integers(1, 4))
def test_windows_of_listed_cells_are_slices_of_the_padded_scene(
    written: Written, bbox: list[int] | None, cells: list[tuple[int, ...]], context_px: int, batch_size: int
) -> None:
    windows = np.array(sorted(cells), np.int64)
    with SceneRaster(written.scene(bbox).raster, "a") as raster:
        batches = CellList(windows).iter_chips(raster, lambda _: batch_size, context_px)
        _assert_slices(written, windows, batches, context_px, bbox)


def _assert_slices(
    written: Written, windows: WindowArray, batches: Iterator[Any], context_px: int, bbox: list[int] | None
) -> None:
    seen = 0
    for batch in batches:
        assert batch.first == seen
        for index, window in enumerate(batch.windows):
            assert (window == windows[seen + index]).all()
            expected, is_valid = written.expected(window, context_px, bbox)
            assert (batch.chips[index][is_valid] == expected[is_valid]).all()
            assert (is_valid if batch.valid is None else batch.valid[index] == is_valid).all()
        seen += len(batch.windows)
    assert seen == len(windows)


def test_each_pixel_is_read_once_whatever_the_context(
    written: Written, storage: Storage, small_strips: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = np.zeros((HEIGHT, WIDTH), int)
    read = RasterFile.read

    def counted(file: RasterFile, window: Window) -> Any:
        seen[window.row_off : window.row_end, window.col_off : window.col_end] += 1
        return read(file, window)

    monkeypatch.setattr(RasterFile, "read", counted)
    chip_scene(written.scene(), "train", CLASSES, ChipConfig(chip_size_px=6, context_px=11), 0, storage)
    assert (seen == 1).all()
    with SceneRaster(written.scene().raster, "a") as raster:
        grid = CellGrid(raster.extent, 6, 6)
        for cells in (grid, CellList(grid.windows(0, grid.num_cells))):
            seen[...] = 0
            for _ in cells.iter_chips(raster, lambda _: 5, 11):
                pass
            assert (seen == 1).all()


def test_a_line_says_its_context_and_one_without_is_as_before(written: Written, storage: Storage) -> None:
    for context_px, last in ((0, '"masked": false}'), (2, '"masked": false, "context_px": 2}')):
        chip_scene(written.scene(), "train", CLASSES, ChipConfig(chip_size_px=4, context_px=context_px), 0, storage)
        line = storage.read_text("chip/a.jsonl").splitlines()[0]
        assert line.endswith(last)
        assert json.loads(line)["window"] == [0, 0, 4, 4]
        assert json.loads(line)["offset"] == [-context_px, -context_px]


@pytest.mark.parametrize(
    ("old", "new"),
    [('"context_px": 2', '"context_px": -1'), ('"context_px": 2', '"context_px": 1'), (', "context_px": 2', "")],
)
def test_a_damaged_context_is_refused(written: Written, storage: Storage, old: str, new: str) -> None:
    chip_scene(written.scene(), "train", CLASSES, ChipConfig(chip_size_px=4, context_px=2), 0, storage)
    text = storage.read_text("chip/a.jsonl")
    storage.write_text("chip/a.jsonl", text.replace(old, new, 1))
    with pytest.raises(DataError, match="list of chips is damaged"):
        ChipStore.open(storage, ["a"])


def test_scenes_of_different_context_are_refused(written: Written, storage: Storage) -> None:
    for scene_id, context_px in (("a", 2), ("b", 3)):
        scene = written.scene()
        scene.id = scene_id
        chip_scene(scene, "train", CLASSES, ChipConfig(chip_size_px=4, context_px=context_px), 0, storage)
    with pytest.raises(DataError, match="differ in context"):
        ChipStore.open(storage, ["a", "b"])


# --- cells that are features ------------------------------------------------------------------------------------------


def test_features_anywhere_are_chipped_predicted_and_evaluated_as_cells_of_their_own(
    written: Written, storage: Storage, tmp_path: Path, make_contract: Any, brightest_channel: Any
) -> None:
    corners = [(-2.6, 3.5), (0.4, 20.2), (14.3, 33.9), (30.7, 38.6), (31.2, 1.7)]
    features = []
    for number, (row, col) in enumerate(corners):
        xs, ys = (500_000 + col, 500_000 + col + 8.4), (4_500_000 - row, 4_500_000 - row - 8.4)
        ring = [[xs[0], ys[0]], [xs[0], ys[1]], [xs[1], ys[1]], [xs[1], ys[0]], [xs[0], ys[0]]]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        features.append({"type": "Feature", "properties": {"class_id": number % 2}, "geometry": geometry})
    labels = tmp_path / "cells.geojson"
    crs = {"type": "name", "properties": {"name": "EPSG:32618"}}
    labels.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    scene = written.scene()
    scene.labels = GeoJsonLabelsConfig(uri=str(labels), infer_cells=False)
    cells = [[-2, 4, 8, 8], [1, 20, 8, 8], [14, 34, 8, 8], [31, 2, 8, 8], [31, 39, 8, 8]]

    for size_px, context_px in ((8, 0), (8, 5), (12, 3)):
        chip = ChipConfig(chip_size_px=size_px, context_px=context_px, sampling="cells")
        assert chip_scene(scene, "train", CLASSES, chip, 0, storage).num_chips == 5
        store = ChipStore.open(storage, ["a"])
        around_px = (size_px - 8) // 2
        assert store.windows.tolist() == [
            [row - around_px, col - around_px, size_px, size_px] for row, col, *_ in cells
        ]
        chips, valid = store.gather(np.arange(5))
        for index, window in enumerate(store.windows):
            expected, is_valid = written.expected(window, context_px, None)
            assert valid is not None
            assert (valid[index] == is_valid).all()
            assert (chips[index][is_valid] == expected[is_valid]).all()

    contract = make_contract(channels=("red", "green"), chip_size_px=8, cell_size_px=8, context_px=5)
    contract = replace(contract, class_names=("background", "forest"), class_colors=("#000000", "#ffffff"))
    writer = SceneWriter(Classifier(brightest_channel(), contract, device=torch.device("cpu")))
    chip = ChipConfig(chip_size_px=8, context_px=5)
    Predictor(writer, CLASSES, chip, PredictConfig()).predict_scene(scene, storage, Unheard())
    found = json.loads(storage.read_text("predict/a.geojson"))["features"]
    assert [cell["properties"]["window"] for cell in found] == cells
    labelled = label_cells(scene, CLASSES, chip)
    assert compare_cells(labelled, scene.id, 2, storage).coverage == Coverage(5, 5, 5, 0)


def test_a_cell_without_a_valid_pixel_has_no_class_whatever_lies_around_it(
    written: Written, make_contract: Any, brightest_channel: Any
) -> None:
    contract = make_contract(channels=("red", "green"), chip_size_px=4, cell_size_px=4, context_px=9)
    contract = replace(contract, class_names=("a", "b"), class_colors=("#000000", "#ffffff"))
    windows = np.array([[4, 20, 4, 4], [6, 24, 4, 4]], np.int64)
    with SceneRaster(written.scene().raster, "a") as raster:
        classifier = Classifier(brightest_channel(), contract, device=torch.device("cpu"))
        (found,) = classifier.classify(CellList(windows), raster)
    assert found.valid_fractions.tolist() == [0.25, 0.0]
    assert found.class_ids[0] >= 0
    assert found.class_ids[1] == -1
