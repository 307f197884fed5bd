"""Scores of cells: the same bytes for any number of threads, no class without data, and what happens when memory ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rv_core.errors import DataError, TaskError
from rv_pipeline_chip_classification.config import RasterSourceConfig
from rv_pipeline_chip_classification.model.backbones import build_model
from rv_pipeline_chip_classification.model.normalize import Normalization
from rv_pipeline_chip_classification.prediction.cell_scores import Answers
from rv_pipeline_chip_classification.prediction.cell_windows import BatchSizeOf, CellChips, CellGrid
from rv_pipeline_chip_classification.prediction.classifier import (
    NO_CLASS,
    Classifier,
    ScoredCells,
    default_device,
    num_inference_threads,
)
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster

CPU = torch.device("cpu")


def classify(classifier: Classifier, path: str, *, size_px: int = 16, stride_px: int = 16) -> ScoredCells:
    with SceneRaster(RasterSourceConfig(uris=[path]), "scene-1") as raster:
        batches = list(classifier.classify(CellGrid(raster.extent, size_px, stride_px), raster))
    assert [batch.first for batch in batches] == np.cumsum([0, *(len(b.windows) for b in batches[:-1])]).tolist()
    return ScoredCells(0, *(np.concatenate(column) for column in list(zip(*batches, strict=True))[1:]))


@pytest.fixture
def bright_image(write_image: Callable[..., str]) -> str:
    """Three cells of 16 px: green, then blue, then nothing but nodata."""
    array = np.full((16, 48, 3), 1000, np.uint16)
    array[:, :16, 1], array[:, 16:32, 2], array[:, 32:] = 60_000, 60_000, 0
    return write_image("bright.tif", array, nodata=0)


def test_the_class_is_that_of_the_largest_score(make_contract: Any, brightest_channel: Any, bright_image: str) -> None:
    cells = classify(Classifier(brightest_channel(), make_contract(), device=CPU), bright_image)
    assert cells.class_ids.tolist() == [1, 2, NO_CLASS]
    assert cells.valid_fractions.tolist() == [1.0, 1.0, 0.0]
    assert np.abs(cells.scores[:2].sum(axis=1) - 1).max() < 1e-5
    assert np.isnan(cells.scores[2]).all()


def test_scores_are_softmax_over_the_temperature(make_contract: Any, brightest_channel: Any, bright_image: str) -> None:
    contract = make_contract(temperature=4.0)
    cells = classify(Classifier(brightest_channel(), contract, device=CPU), bright_image)
    logits = 10 * np.array([1000, 60_000, 1000]) / 65535
    expected = np.exp(logits / 4) / np.exp(logits / 4).sum()
    assert np.allclose(cells.scores[0], expected, atol=1e-6)


def test_pixels_without_data_do_not_count(
    make_contract: Any, brightest_channel: Any, write_image: Callable[..., str]
) -> None:
    array = np.full((16, 16, 3), (100, 200, 300), np.uint16)
    array[:12] = (60_000, 1, 65_535)
    cells = classify(
        Classifier(brightest_channel(), make_contract(), device=CPU), write_image("a.tif", array, nodata=65_535)
    )
    assert cells.class_ids.tolist() == [2]
    assert cells.valid_fractions.tolist() == [0.25]


@pytest.mark.parametrize("backbone", ["small_cnn", "resnet50"])
def test_scores_are_the_same_bytes_for_any_number_of_threads(
    make_contract: Any, write_image: Callable[..., str], pixels: Any, backbone: str
) -> None:
    torch.manual_seed(0)
    model = build_model(backbone, 3, 3)
    path = write_image("a.tif", pixels(96, 80, 3))
    results = [
        classify(Classifier(model, make_contract(), device=CPU, num_threads=threads, batch_size=7), path)
        for threads in (1, 2, 3)
    ]
    assert len({result.scores.tobytes() for result in results}) == 1
    assert len(results[0].windows) == 30


@pytest.mark.parametrize("backbone", ["small_cnn", "resnet18"])
def test_in_bfloat16_scores_are_near_and_the_same_bytes_for_any_number_of_threads(
    make_contract: Any, write_image: Callable[..., str], pixels: Any, backbone: str
) -> None:
    torch.manual_seed(0)
    model, path = build_model(backbone, 3, 3), write_image("a.tif", pixels(96, 80, 3))
    answers = Answers(precision="bfloat16")
    exact = classify(Classifier(model, make_contract(), device=CPU, batch_size=7), path)
    rough = [
        classify(Classifier(model, make_contract(), device=CPU, num_threads=n, batch_size=7, answers=answers), path)
        for n in (1, 3)
    ]
    assert rough[0].scores.tobytes() == rough[1].scores.tobytes()
    assert 0 < np.abs(rough[0].scores - exact.scores).max() < 0.01
    assert rough[0].scores.dtype == np.float32 and np.abs(rough[0].scores.sum(axis=1) - 1).max() < 1e-5


def test_float16_without_a_gpu_is_refused_when_the_model_is_loaded(make_contract: Any, brightest_channel: Any) -> None:
    with pytest.raises(TaskError, match="float16") as caught:
        Classifier(brightest_channel(), make_contract(), device=CPU, answers=Answers(precision="float16"))
    assert "'auto'" in caught.value.block.fix


def test_threads_of_the_process_stay_as_they_were(
    make_contract: Any, brightest_channel: Any, bright_image: str
) -> None:
    before = torch.get_num_threads()
    classify(Classifier(brightest_channel(), make_contract(), device=CPU, num_threads=2), bright_image)
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert [torch.get_num_threads(), *seen] == [before, before]


def test_an_iterator_that_is_given_up_leaves_no_threads(
    make_contract: Any, brightest_channel: Any, write_image: Callable[..., str], pixels: Any
) -> None:
    before = threading.active_count()
    path = write_image("a.tif", pixels(160, 160, 3))
    classifier = Classifier(brightest_channel(), make_contract(), device=CPU, num_threads=3, batch_size=2)
    with SceneRaster(RasterSourceConfig(uris=[path]), "scene-1") as raster:
        iterator = classifier.classify(CellGrid(raster.extent, 16, 16), raster)
        next(iterator)
        iterator.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_an_image_that_is_cut_short_is_an_error_that_names_it(
    make_contract: Any, brightest_channel: Any, write_image: Callable[..., str], pixels: Any
) -> None:
    path = write_image("short.tif", pixels(128, 128, 3), compress="none")
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: len(data) - 20_000])
    with pytest.raises(DataError, match="cannot be read") as caught:
        classify(Classifier(brightest_channel(), make_contract(), device=CPU), path)
    assert "short.tif" in str(caught.value)


class _Hungry(nn.Module):
    """Runs out of memory above a number of chips."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.seen = most, list[int]()

    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        if len(chips) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.seen.append(len(chips))
        return chips.mean((2, 3))


def test_batches_are_halved_where_memory_is_too_small(
    make_contract: Any, pixels: Any, caplog: pytest.LogCaptureFixture
) -> None:
    chips = np.stack([pixels(8, 8, 3, seed) for seed in range(20)])
    hungry = _Hungry(6)
    expected = Classifier(_Hungry(99), make_contract(), device=CPU).score(chips, None)
    with caplog.at_level(logging.WARNING):
        scores = Classifier(hungry, make_contract(), device=CPU, batch_size=20).score(chips, None)
    assert np.allclose(scores, expected, atol=1e-6)
    assert hungry.seen == [5, 5, 5, 5]
    assert [record.getMessage() for record in caplog.records] == [
        "the GPU has too little memory: going on with batches of 10 windows",
        "the GPU has too little memory: going on with batches of 5 windows",
    ]


def test_a_window_that_does_not_fit_at_all_is_an_error(make_contract: Any, pixels: Any) -> None:
    with pytest.raises(DataError, match="too little memory"):
        Classifier(_Hungry(0), make_contract(), device=CPU).score(pixels(8, 8, 3)[None], None)


def test_scores_that_are_no_numbers_are_an_error(make_contract: Any, bright_image: str) -> None:
    class Broken(nn.Module):
        def forward(self, chips: torch.Tensor) -> torch.Tensor:
            return chips.mean((2, 3)) * torch.nan

    with pytest.raises(DataError, match=r"no numbers for the window \[0, 0, 16, 16\]"):
        classify(Classifier(Broken(), make_contract(), device=CPU), bright_image)


def test_a_cell_without_numbers_has_no_class_and_the_others_keep_theirs(
    make_contract: Any, brightest_channel: Any, write_image: Any
) -> None:
    array = np.full((16, 48, 3), 1, np.float32)
    array[..., 1] = 2
    array[3, 20, 0] = 1e38
    array[0, 0, 0] = np.nan

    class Wild(nn.Module):
        def forward(self, chips: torch.Tensor) -> torch.Tensor:
            return brightest_channel()(chips) + 0 * (chips * 1e3).sum((2, 3))

    contract = make_contract(dtype="float32", normalization=Normalization("none", (0.0,) * 3, (1.0,) * 3))
    path = write_image("a.tif", array)
    with SceneRaster(RasterSourceConfig(uris=[path]), "scene-1") as raster:
        (found,) = Classifier(Wild(), contract, device=CPU).classify(CellGrid(raster.extent, 16, 16), raster)
    assert found.class_ids.tolist() == [1, NO_CLASS, 1]
    assert np.isnan(found.scores[1]).all()
    assert found.without_numbers.tolist() == [False, True, False]
    assert found.first_without_numbers() == (0, 16, 16, 16)


class _OnlySixteen(nn.Module):
    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        if chips.shape[-1] != 16:
            raise RuntimeError("shape mismatch")
        raise RuntimeError("broken for another reason")


def test_a_model_that_takes_one_size_says_so(make_contract: Any, bright_image: str) -> None:
    classifier = Classifier(_OnlySixteen(), make_contract(), device=CPU)
    with pytest.raises(DataError, match="does not take cells of 8 x 8 px") as caught:
        classify(classifier, bright_image, size_px=8, stride_px=8)
    assert "trained on 16 px" in str(caught.value)
    with pytest.raises(RuntimeError, match="another reason"):
        classify(classifier, bright_image)


def test_reading_is_only_a_few_batches_ahead(make_contract: Any, brightest_channel: Any, pixels: Any) -> None:
    most_ahead = 0
    done = 0

    class Counted:
        num_cells = 200

        def iter_chips(
            self, raster: SceneRaster, batch_size_of: BatchSizeOf, context_px: int = 0
        ) -> Iterator[CellChips]:
            nonlocal most_ahead
            for first in range(200):
                most_ahead = max(most_ahead, first - done)
                yield CellChips(first, np.array([[0, 0, 8, 8]]), pixels(8, 8, 3)[None], None)

    classifier = Classifier(brightest_channel(), make_contract(), device=CPU, num_threads=2)
    raster: Any = None
    for _ in classifier.classify(Counted(), raster):
        done += 1
    assert done == 200
    assert most_ahead <= 12


def test_batches_on_a_cpu_are_small_for_large_windows(make_contract: Any, brightest_channel: Any) -> None:
    classifier = Classifier(brightest_channel(), make_contract(), device=CPU, batch_size=256)
    assert [classifier.batch_size_of(size_px**2) for size_px in (16, 64, 128, 5000)] == [64, 64, 16, 1]
    assert Classifier(brightest_channel(), make_contract(), device=CPU, batch_size=5).batch_size_of(64) == 5


def test_threads_are_those_of_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert num_inference_threads() == 3
    monkeypatch.setenv("RV_NUM_THREADS", "2")
    assert num_inference_threads() == 2
    monkeypatch.setenv("RV_NUM_THREADS", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert num_inference_threads() >= 1


def test_the_device_is_the_gpu_where_there_is_one() -> None:
    assert default_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_gpu_gives_nearly_the_scores_of_the_cpu(
    make_contract: Any, write_image: Any, pixels: Any, precision: Any
) -> None:
    torch.manual_seed(0)
    model = build_model("small_cnn", 3, 3)
    path = write_image("a.tif", pixels(96, 80, 3))
    on_cpu = classify(Classifier(model, make_contract(), device=CPU), path)
    on_gpu = classify(Classifier(model, make_contract(), answers=Answers(precision=precision)), path)
    assert np.allclose(on_cpu.scores, on_gpu.scores, atol=5e-3 if precision == "float32" else 1e-2)
