"""The command `chip` and the chips read back: every chip is what its window holds, each pixel is stored once."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rv_core.errors import DataError
from rv_core.files.storage import Storage
from rv_pipeline_chip_classification.chips.counts import ChipCounts
from rv_pipeline_chip_classification.chips.layout import layout_of
from rv_pipeline_chip_classification.chips.store import ChipStore
from rv_pipeline_chip_classification.chips.writer import NpyWriter, bounds_of
from rv_pipeline_chip_classification.commands.chip import chip_scene
from rv_pipeline_chip_classification.config import (
    ChipConfig,
    ClassConfig,
    ClassRasterLabelsConfig,
    GeoJsonLabelsConfig,
    RasterSourceConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.scenes import row_reader
from rv_pipeline_chip_classification.scenes.raster_reader import RasterFile
from rv_pipeline_chip_classification.scenes.windows import Window

CLASSES = ClassConfig(names=["background", "forest", "rock"])
WriteImage = Callable[..., str]
Square = Callable[..., Any]


@pytest.fixture
def scene_of(write_image: WriteImage, write_labels: Callable[..., str], square: Square) -> Callable[..., SceneConfig]:
    """`scene_of(array, image={…}, labels={…}, …)`: a scene with a forest polygon around (0, 0) and background."""

    def make(array: np.ndarray, **options: Any) -> SceneConfig:
        name = options.pop("id", "a")
        image, source = options.pop("image", {}), options.pop("raster", {})
        shapes = options.pop("shapes", [(square(0, 0, 20), {"class_name": "forest"})])
        config = {"background_class": "background", "use_intersection_over_cell": True, **options.pop("labels", {})}
        labels = GeoJsonLabelsConfig(uri=write_labels(f"{name}.geojson", shapes), **config)
        raster = RasterSourceConfig(uris=[write_image(f"{name}.tif", array, **image)], **source)
        return SceneConfig(id=name, raster=raster, labels=labels, **options)

    return make


def cut(scene: SceneConfig, storage: Storage, *, seed: int = 0, **options: Any) -> ChipCounts:
    return chip_scene(scene, "train", CLASSES, ChipConfig(**options), seed, storage)


def index_of(storage: Storage, scene_id: str = "a") -> list[dict[str, Any]]:
    return [json.loads(line) for line in storage.read_text(f"chip/{scene_id}.jsonl").splitlines()]


def assert_chips_are(store: ChipStore, array: np.ndarray, is_valid: np.ndarray | None = None) -> None:
    """Every chip equals the image in its window; beyond the image it is 0 and not valid."""
    chips, valid = store.gather(np.arange(store.num_chips))
    assert chips.dtype == array.dtype
    margin = ((0, 64), (0, 64), (0, 0))
    padded = np.pad(array, margin)
    ok = np.pad(np.ones(array.shape[:2], bool) if is_valid is None else is_valid, margin[:2])
    for number, (row, col, height, width) in enumerate(store.windows.tolist()):
        place = (slice(row, row + height), slice(col, col + width))
        inside = np.pad(np.ones(array.shape[:2], bool), margin[:2])[place]
        assert (chips[number][inside] == padded[place][inside]).all()
        assert not chips[number][~inside].any()
        if valid is None:
            assert ok[place].all()
        else:
            assert (valid[number] == ok[place]).all()


@pytest.mark.parametrize(("size", "stride"), [(16, 16), (16, 8), (16, 5), (16, 20), (40, 13), (100, 100)])
@pytest.mark.parametrize("budget", [2_000, 10**8])
def test_chips_are_what_their_windows_hold_at_any_stride(
    scene_of: Callable[..., SceneConfig],
    storage: Storage,
    pixels: Callable[..., np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    stride: int,
    budget: int,
) -> None:
    monkeypatch.setattr(row_reader, "STRIP_BYTES", budget)
    array = pixels(70, 85)
    counts = cut(scene_of(array), storage, chip_size_px=size, stride_px=stride)
    store = ChipStore.open(storage, ["a"])
    assert store.num_chips == len(store) == counts.num_chips == len(index_of(storage)) > 0
    assert store.chip_shape == (size, size)
    assert_chips_are(store, array)
    stored = np.load(storage.input_file("chip/a.npy"), allow_pickle=False)
    assert stored.size <= array.size
    assert sum(counts.class_counts.values()) == counts.num_chips


def test_a_line_says_where_a_chip_is_and_why_it_has_its_class(
    scene_of: Callable[..., SceneConfig], storage: Storage, pixels: Callable[..., np.ndarray]
) -> None:
    counts = cut(scene_of(pixels(40, 40)), storage, chip_size_px=16, stride_px=16)
    lines = index_of(storage)
    assert lines[0] == {
        "scene": "a", "window": [0, 0, 16, 16], "offset": [0, 0],
        "bounds": [500_000.0, 4_499_984.0, 500_016.0, 4_500_000.0], "class_id": 1, "class_name": "forest",
        "ioa_over_cell": 1.0, "valid_fraction": 1.0, "masked": False,
    }  # fmt: skip
    assert lines[-1]["window"] == [32, 32, 16, 16]
    assert lines[-1]["ioa_over_cell"] is None
    assert lines[-1]["valid_fraction"] == 0.25
    assert counts.class_counts == {"background": 8, "forest": 1, "rock": 0}
    assert counts.to_json()["chips_of_background"] == 8
    assert counts.why_none() == "none of its 9 labelled windows has enough valid pixels"


def test_each_block_is_read_once_and_each_pixel_stored_once(
    scene_of: Callable[..., SceneConfig],
    storage: Storage,
    pixels: Callable[..., np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(row_reader, "STRIP_BYTES", 4_000)
    array = pixels(100, 100)
    scene = scene_of(array)
    seen = np.zeros((100, 100), int)
    read = RasterFile.read

    def counted(file: RasterFile, window: Window) -> Any:
        seen[window.row_off : window.row_end, window.col_off : window.col_end] += 1
        return read(file, window)

    monkeypatch.setattr(RasterFile, "read", counted)
    cut(scene, storage, chip_size_px=32, stride_px=4)
    assert (seen == 1).all()
    assert (np.load(storage.input_file("chip/a.npy")) == array).all()


def test_the_same_bytes_every_time(
    scene_of: Callable[..., SceneConfig], tmp_path: Path, pixels: Callable[..., np.ndarray]
) -> None:
    array = pixels(60, 60)
    array[20:40, 20:40] = 0
    scene = scene_of(array, image={"nodata": 0})

    def run(name: str) -> dict[str, str]:
        hashes: dict[str, str] = {}
        storage = Storage(str(tmp_path / name), on_written=lambda key, output: hashes.update({key: output.sha256}))
        cut(scene, storage, chip_size_px=16, sampling="random", windows_per_scene=20, seed=3)
        return hashes

    assert run("one") == run("two")
    assert set(run("one")) == {"chip/a.npy", "chip/a.mask.npy", "chip/a.jsonl"}


# --- validity ---------------------------------------------------------------------------------------------------------


def test_nodata_travels_with_the_chips(
    scene_of: Callable[..., SceneConfig],
    storage: Storage,
    pixels: Callable[..., np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(row_reader, "STRIP_BYTES", 3_000)
    array = pixels(70, 60)
    array[30:50, 20:37] = 0
    cut(scene_of(array, image={"nodata": 0}), storage, chip_size_px=16, stride_px=6)
    store = ChipStore.open(storage, ["a"])
    assert store.has_invalid_pixels
    assert_chips_are(store, array, (array != 0).all(axis=2))
    for line in index_of(storage):
        row, col, height, width = line["window"]
        part = array[row : row + height, col : col + width]
        assert line["valid_fraction"] == pytest.approx((part != 0).all(axis=2).sum() / 256, abs=1e-6)
        assert line["masked"] == bool((part == 0).any())


def test_legal_zeros_are_kept(scene_of: Callable[..., SceneConfig], storage: Storage) -> None:
    counts = cut(scene_of(np.zeros((32, 32, 2), np.uint16), image={"nodata": 9}), storage, chip_size_px=16)
    assert counts.num_chips == 4
    assert not storage.exists("chip/a.mask.npy")
    assert ChipStore.open(storage, ["a"]).gather([0])[1] is None


@pytest.mark.parametrize(("least", "expected"), [(0.0, 3), (0.4, 3), (0.5, 3), (0.51, 2), (1.0, 2)])
def test_windows_with_too_few_valid_pixels_are_left_out(
    scene_of: Callable[..., SceneConfig],
    storage: Storage,
    pixels: Callable[..., np.ndarray],
    least: float,
    expected: int,
) -> None:
    array = pixels(32, 32)
    array[:16, :16] = 0  # no valid pixel at all: left out whatever the fraction
    array[16:24, :16] = 0  # one half
    counts = cut(scene_of(array, image={"nodata": 0}), storage, chip_size_px=16, min_valid_fraction=least)
    assert counts.num_chips == expected
    assert counts.num_labelled == 4


def test_a_mask_of_an_earlier_run_is_not_taken_for_one_of_this_run(
    scene_of: Callable[..., SceneConfig], storage: Storage, pixels: Callable[..., np.ndarray]
) -> None:
    array = pixels(32, 32)
    array[0, 0] = 0
    scene = scene_of(array, image={"nodata": 0})
    cut(scene, storage, chip_size_px=16)
    assert storage.exists("chip/a.mask.npy")
    scene.raster.nodata = 7.0
    cut(scene, storage, chip_size_px=16)
    assert not storage.exists("chip/a.mask.npy")
    assert ChipStore.open(storage, ["a"]).gather([0])[1] is None


# --- which windows ----------------------------------------------------------------------------------------------------


def test_rows_and_columns_that_no_window_covers_are_not_stored(
    scene_of: Callable[..., SceneConfig],
    storage: Storage,
    pixels: Callable[..., np.ndarray],
    square: Square,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(row_reader, "STRIP_BYTES", 1)
    array = pixels(200, 100)
    array[170, 50] = 0
    shapes = [(square(16, 32, 16), {"class_id": 1}), (square(160, 48, 16), {"class_id": 2})]
    reads: list[Window] = []
    read = RasterFile.read
    monkeypatch.setattr(RasterFile, "read", lambda file, window: (reads.append(window), read(file, window))[1])
    scene = scene_of(array, shapes=shapes, labels={"background_class": None}, image={"nodata": 0})
    counts = cut(scene, storage, chip_size_px=16)
    assert counts.num_chips == 2
    assert np.load(storage.input_file("chip/a.npy")).shape == (32, 32, 3)
    assert [line["offset"] for line in index_of(storage)] == [[0, 0], [16, 16]]
    assert sum(window.height * window.width for window in reads) == 2 * 256
    assert_chips_are(ChipStore.open(storage, ["a"]), array, (array != 0).all(axis=2))


def test_random_windows_depend_on_seed_and_scene_and_not_on_the_order_of_scenes(
    scene_of: Callable[..., SceneConfig], storage: Storage, pixels: Callable[..., np.ndarray]
) -> None:
    array = pixels(90, 90)
    options = {"chip_size_px": 16, "sampling": "random", "windows_per_scene": 12}

    def windows(scene: SceneConfig, seed: int) -> list[Any]:
        assert cut(scene, storage, seed=seed, **options).num_windows == 12
        return [line["window"] for line in index_of(storage, scene.id)]

    one, two = scene_of(array), scene_of(array, id="b")
    first = windows(one, 1)
    assert len(first) == 12
    assert windows(two, 1) != first
    assert windows(one, 1) == first
    assert windows(one, 2) != first
    assert_chips_are(ChipStore.open(storage, ["a"]), array)


def test_an_aoi_selects_windows_inside_the_union_or_touching_it(
    scene_of: Callable[..., SceneConfig],
    storage: Storage,
    pixels: Callable[..., np.ndarray],
    write_labels: Callable[..., str],
    square: Square,
) -> None:
    # Two polygons with a common edge inside a window, and a third file: their union counts.
    halves = write_labels("aoi.geojson", [(square(0, 0, 16, 10), {}), (square(0, 10, 16, 22), {})])
    third = write_labels("aoi2.geojson", [(square(16, 0, 20, 20), {})])
    scene = scene_of(pixels(64, 64), aoi_uris=[halves, third])
    inside = cut(scene, storage, chip_size_px=16)
    assert [line["window"][:2] for line in index_of(storage)] == [[0, 0], [0, 16], [16, 0]]
    assert (inside.num_windows, inside.num_in_aoi) == (16, 3)
    touching = cut(scene, storage, chip_size_px=16, within_aoi=False)
    assert touching.num_in_aoi == 6


def test_random_windows_stay_in_a_small_aoi(
    scene_of: Callable[..., SceneConfig],
    storage: Storage,
    pixels: Callable[..., np.ndarray],
    write_labels: Callable[..., str],
    square: Square,
) -> None:
    aoi = write_labels("aoi.geojson", [(square(20, 30, 22), {})])
    scene = scene_of(pixels(90, 90), aoi_uris=[aoi])
    counts = cut(scene, storage, chip_size_px=16, sampling="random", windows_per_scene=15)
    assert counts.num_chips == 15
    box = Window(20, 30, 22, 22)
    assert all(box.contains(Window(*line["window"])) for line in index_of(storage))


@pytest.mark.parametrize("options", [{}, {"sampling": "random", "windows_per_scene": 5}])
def test_an_aoi_without_a_window_gives_no_chips_and_says_so(
    scene_of: Callable[..., SceneConfig],
    storage: Storage,
    pixels: Callable[..., np.ndarray],
    write_labels: Callable[..., str],
    square: Square,
    caplog: pytest.LogCaptureFixture,
    options: dict[str, Any],
) -> None:
    aoi = write_labels("aoi.geojson", [(square(20, 30, 10), {})])
    scene = scene_of(pixels(64, 64), aoi_uris=[aoi])
    with caplog.at_level(logging.WARNING):
        counts = cut(scene, storage, chip_size_px=16, **options)
    assert counts.num_chips == 0
    assert "is selected by the AOI" in counts.why_none()
    assert "scene a has no chips" in caplog.text
    store = ChipStore.open(storage, ["a"])
    assert store.num_chips == 0
    assert store.gather([])[0].shape == (0, 0, 0, 3)


def test_an_aoi_that_is_the_whole_scene_selects_padded_windows_too(
    scene_of: Callable[..., SceneConfig],
    storage: Storage,
    pixels: Callable[..., np.ndarray],
    write_labels: Callable[..., str],
    square: Square,
) -> None:
    aoi = write_labels("aoi.geojson", [(square(0, 0, 40), {})])
    assert cut(scene_of(pixels(40, 40), aoi_uris=[aoi]), storage, chip_size_px=16).num_chips == 9


def test_an_aoi_without_polygons_is_an_error(
    scene_of: Callable[..., SceneConfig],
    storage: Storage,
    pixels: Callable[..., np.ndarray],
    write_labels: Callable[..., str],
) -> None:
    scene = scene_of(pixels(40, 40), aoi_uris=[write_labels("aoi.geojson", [])])
    with pytest.raises(DataError, match="has no polygon"):
        cut(scene, storage, chip_size_px=16)


def test_an_aoi_beside_the_scene_selects_nothing(
    scene_of: Callable[..., SceneConfig],
    storage: Storage,
    pixels: Callable[..., np.ndarray],
    write_labels: Callable[..., str],
    square: Square,
) -> None:
    aoi = write_labels("aoi.geojson", [(square(500, 500, 40), {})])
    scene = scene_of(pixels(40, 40), aoi_uris=[aoi])
    for options in ({}, {"sampling": "random", "windows_per_scene": 5}):
        assert cut(scene, storage, chip_size_px=16, within_aoi=False, **options).num_in_aoi == 0


def test_unlabelled_windows_are_not_chipped(
    scene_of: Callable[..., SceneConfig], storage: Storage, pixels: Callable[..., np.ndarray]
) -> None:
    counts = cut(scene_of(pixels(64, 64), labels={"background_class": None}), storage, chip_size_px=16)
    assert (counts.num_in_aoi, counts.num_labelled, counts.num_chips) == (16, 1, 1)


def test_a_share_of_a_class_is_kept_by_subset_whatever_else_is_chipped(
    scene_of: Callable[..., SceneConfig], storage: Storage, pixels: Callable[..., np.ndarray]
) -> None:
    scene, keep = scene_of(pixels(320, 320, 1)), {"train": {"background": 0.25}, "validation": {"forest": 0.0}}
    everything = cut(scene, storage, chip_size_px=8).class_counts

    def kept_windows(seed: int = 0, **options: Any) -> set[tuple[int, ...]]:
        cut(scene, storage, seed=seed, chip_size_px=8, **options)
        return {tuple(line["window"]) for line in index_of(storage) if line["class_id"] == 0}

    whole, kept = kept_windows(), kept_windows(keep=keep)
    assert len(kept) == pytest.approx(len(whole) / 4, rel=0.15)
    assert kept < kept_windows(keep={"train": {"background": 0.5}}) < whole
    assert kept <= kept_windows(keep=keep, stride_px=4), "of a denser sampling the same and others"
    assert kept_windows(seed=1, keep=keep) not in (kept, whole)
    assert kept_windows(keep={"train": {"background": 0.0}}) == set()
    assert cut(scene, storage, chip_size_px=8, keep=keep).class_counts["forest"] == everything["forest"]
    chip = ChipConfig(chip_size_px=8, keep=keep)
    validation = chip_scene(scene, "validation", CLASSES, chip, 0, storage).class_counts
    assert validation == {**everything, "forest": 0}


def test_a_scene_without_labels_or_with_a_crop_or_smaller_than_a_window(
    scene_of: Callable[..., SceneConfig], storage: Storage, pixels: Callable[..., np.ndarray]
) -> None:
    array = pixels(40, 50)
    scene = scene_of(array, raster={"bbox": [8, 6, 20, 30]})
    cut(scene, storage, chip_size_px=16)
    assert [line["window"] for line in index_of(storage)] == [
        [8, 6, 16, 16], [8, 22, 16, 16], [24, 6, 16, 16], [24, 22, 16, 16],
    ]  # fmt: skip
    assert_chips_are(
        ChipStore.open(storage, ["a"]),
        np.where(inside(array, 8, 6, 20, 30), array, 0),
        inside(array, 8, 6, 20, 30)[..., 0],
    )
    scene.raster.bbox = None
    assert cut(scene, storage, chip_size_px=64).num_chips == 1
    scene.labels = None
    bare = cut(scene, storage, chip_size_px=16)
    assert bare.num_chips == 0
    assert "no labels" in bare.why_none()


def inside(array: np.ndarray, row: int, col: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros((*array.shape[:2], 1), bool)
    mask[row : row + height, col : col + width] = True
    return mask


def test_large_polygons_are_warned_of(
    scene_of: Callable[..., SceneConfig],
    storage: Storage,
    pixels: Callable[..., np.ndarray],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        cut(scene_of(pixels(40, 40), labels={"use_intersection_over_cell": False}), storage, chip_size_px=8)
    assert "larger than a cell of 8 px" in caplog.text


def test_progress_ends_with_all_rows(
    scene_of: Callable[..., SceneConfig],
    storage: Storage,
    pixels: Callable[..., np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(row_reader, "STRIP_BYTES", 1)
    seen: list[tuple[int, int]] = []
    scene = scene_of(pixels(64, 32))
    chip_scene(scene, "train", CLASSES, ChipConfig(chip_size_px=16), 0, storage, lambda *done: seen.append(done))
    assert seen[-1] == (64, 64)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_an_image_that_is_cut_short_leaves_no_output(
    scene_of: Callable[..., SceneConfig], storage: Storage, pixels: Callable[..., np.ndarray]
) -> None:
    scene = scene_of(pixels(200, 200))
    path = Path(scene.raster.uris[0])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match="scene 'a' cannot be read"):
        cut(scene, storage, chip_size_px=16)
    assert storage.list_files() == {}


# --- the store --------------------------------------------------------------------------------------------------------


def test_scenes_are_numbered_through_in_the_order_asked_for(
    scene_of: Callable[..., SceneConfig], storage: Storage, pixels: Callable[..., np.ndarray]
) -> None:
    arrays = {name: pixels(48, 32, seed=seed) for seed, name in enumerate("abc")}
    arrays["b"][0, 0] = 0
    for name, array in arrays.items():
        cut(scene_of(array, id=name, image={"nodata": 0}), storage, chip_size_px=16)
    store = ChipStore.open(storage, ["c", "a", "b"])
    assert store.num_chips == 18
    assert store.scene_indices.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert store.class_counts(3).tolist() == [15, 3, 0]
    chips, valid = store.gather([13, 0, 12, 0])
    assert (chips[1] == arrays["c"][:16, :16]).all()
    assert (chips[0] == arrays["b"][:16, 16:32]).all()
    assert valid is not None
    assert [int(part.sum()) for part in valid] == [256, 256, 255, 256]
    out = np.full((8, 16, 16, 3), 7, np.uint16)
    again, _ = store.gather(np.array([5, 6]), out)
    assert np.shares_memory(again, out)
    assert (out[2:] == 7).all()
    assert (out[1] == arrays["a"][:16, :16]).all()


def test_scenes_that_differ_are_refused_by_name(
    scene_of: Callable[..., SceneConfig], storage: Storage, pixels: Callable[..., np.ndarray]
) -> None:
    cut(scene_of(pixels(32, 32, 3), id="a"), storage, chip_size_px=16)
    cut(scene_of(pixels(32, 32, 2), id="b"), storage, chip_size_px=16)
    cut(scene_of(pixels(32, 32, 3), id="c"), storage, chip_size_px=8)
    cut(scene_of(pixels(32, 32, 3).astype(np.uint8), id="d"), storage, chip_size_px=16)
    for other in "bd":
        with pytest.raises(DataError, match=f"'a' and '{other}'"):
            ChipStore.open(storage, ["a", other])
    with pytest.raises(DataError, match="differ in size"):
        ChipStore.open(storage, ["a", "c"])


def _cut_file(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _pickle(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([{}], object), allow_pickle=True)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _flat(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros((4, 4), np.uint16))


def _small(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros((4, 4, 3), np.uint16))


def _words(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.full((16, 16, 2), "pixel"))


@pytest.mark.parametrize("damage", [_cut_file, _pickle, _empty, _flat, _small, _words])
def test_damaged_pixels_are_found_when_the_store_is_opened(
    scene_of: Callable[..., SceneConfig],
    storage: Storage,
    pixels: Callable[..., np.ndarray],
    damage: Callable[[Path], None],
) -> None:
    cut(scene_of(pixels(32, 32)), storage, chip_size_px=16)
    damage(storage.input_file("chip/a.npy"))
    with pytest.raises(DataError, match=r"a\.npy"):
        ChipStore.open(storage, ["a"])


def _record(**changes: Any) -> str:
    record = {"window": [0, 0, 16, 16], "offset": [0, 0], "class_id": 0, "valid_fraction": 1.0, "masked": False}
    return json.dumps({**record, **changes})


@pytest.mark.parametrize(
    "line",
    [
        "{",
        '{"window": 3}',
        '{"window": [0, 0], "offset": 1, "class_id": 0}',
        "[]",
        "[" * 100_000,
        _record(window=[0, 0]),
        _record(window=[[0], 0, 16, 16]),
        _record(window=[0, 0, 10**9, 10**9]),
        _record(window=[0, 0, 0, 0]),
        _record(window=[0, 0, 10**30, 16]),
        _record(window=[0, 0, 16.5, 16]),
        _record(offset=["0", "0"]),
        _record(class_id=-1),
        _record(class_id=10**9),
        _record(class_id=None),
        _record(valid_fraction=float("nan")),
        _record(valid_fraction=7),
    ],
)
def test_a_damaged_index_is_an_error(
    scene_of: Callable[..., SceneConfig], storage: Storage, pixels: Callable[..., np.ndarray], line: str
) -> None:
    cut(scene_of(pixels(32, 32)), storage, chip_size_px=16)
    storage.write_text("chip/a.jsonl", line + "\n")
    with pytest.raises(DataError, match="list of chips"):
        ChipStore.open(storage, ["a"])


def test_an_empty_store_has_no_chips() -> None:
    store = ChipStore([])
    assert (store.num_chips, store.num_channels, store.chip_shape) == (0, 0, (0, 0))
    assert not store.has_invalid_pixels


# --- parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", [0, 1])
def test_the_array_file_is_a_standard_one_filled_in_any_order(tmp_path: Path, fill: int) -> None:
    path, expected = tmp_path / "a.npy", np.full((5, 4, 2), fill, np.int16)
    boxes = [(3, 0, np.full((2, 4, 2), 7, np.int16)), (0, 1, np.arange(8, dtype=np.int16).reshape(2, 2, 2))]
    with NpyWriter(path, (5, 4, 2), np.dtype(np.int16), fill=fill) as writer:
        for row, col, box in boxes:
            writer.write(row, col, box)
            expected[row : row + box.shape[0], col : col + box.shape[1]] = box
        writer.write(0, 0, np.empty((0, 4, 2), np.int16))
    assert (np.load(path, allow_pickle=False) == expected).all()


def test_bounds_of_windows_on_a_turned_grid_hold_all_corners() -> None:
    windows = np.array([[0, 0, 2, 4]])
    assert bounds_of(windows, (1.0, 1.0, 10.0, 1.0, -1.0, 20.0)).tolist() == [[10.0, 18.0, 16.0, 24.0]]


def test_a_layout_leaves_out_rows_between_windows() -> None:
    layout = layout_of(np.array([[2, 3, 4, 4], [20, 5, 4, 4]]), Window(0, 0, 22, 30))
    assert layout.shape == (6, 6)
    assert layout.offsets.tolist() == [[0, 0], [4, 2]]
    assert layout.needed_part(Window(0, 0, 10, 30)) == Window(2, 3, 4, 4)
    assert layout.needed_part(Window(8, 0, 8, 30)).is_empty
    assert layout.runs(Window(4, 3, 18, 6)) == [(0, 2, 2), (16, 4, 2)]


def test_a_class_raster_labels_chips(
    write_image: WriteImage, storage: Storage, pixels: Callable[..., np.ndarray]
) -> None:
    values = np.kron([[1, 2], [3, 0]], np.ones((16, 16))).astype(np.uint8)
    labels = ClassRasterLabelsConfig(
        uri=write_image("labels.tif", values), class_values={1: "background", 2: "forest", 3: "rock"}
    )
    raster = RasterSourceConfig(uris=[write_image("a.tif", pixels(32, 32))])
    counts = cut(SceneConfig(id="a", raster=raster, labels=labels), storage, chip_size_px=16)
    assert counts.class_counts == {"background": 1, "forest": 1, "rock": 1}
    assert index_of(storage)[1]["label_fraction"] == 1.0
