"""Labelled cells beside the predicted ones of a scene: the same window, to the pixel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rv_core import Storage
from rv_core.errors import DataError
from rv_pipeline_chip_classification.labels.cells import LabelledCells
from rv_pipeline_chip_classification.neighbours.joined_cells import joined_cells
from rv_pipeline_chip_classification.prediction.cell_file import cells_name, read_cells
from rv_pipeline_chip_classification.prediction.cell_scores import NO_CLASS, Answers, prediction_names
from rv_pipeline_chip_classification.prediction.geojson_file import PredictedCell
from rv_pipeline_chip_classification.scenes.windows import WindowArray


@dataclass(frozen=True)
class Coverage:
    """How the labelled cells of a scene, or of several, meet the predicted ones.

    Args:
        labelled: cells that have a class in the labels, inside the AOI.
        predicted: cells that the model gave a class, wherever they are.
        matched: labelled cells that are also predicted with a class.
        without_data: labelled cells that are predicted without a class, for want of valid pixels.
        abstained: labelled cells that are predicted without a class, because their scores say too little.
    """

    labelled: int = 0
    predicted: int = 0
    matched: int = 0
    without_data: int = 0
    abstained: int = 0

    @property
    def missing(self) -> int:
        """Labelled cells that are not predicted."""
        return self.labelled - self.matched - self.without_data - self.abstained

    def to_json(self) -> dict[str, int]:
        """Plain values; `abstained` only where there are such cells."""
        return {name: count for name, count in asdict(self).items() if name != "abstained" or count}

    def __add__(self, other: Coverage) -> Coverage:
        return Coverage(
            self.labelled + other.labelled,
            self.predicted + other.predicted,
            self.matched + other.matched,
            self.without_data + other.without_data,
            self.abstained + other.abstained,
        )


class ComparedCells(NamedTuple):
    """The labelled cells of a scene, row by row, and what is predicted for each.

    Args:
        windows: (N, 4) int64.
        truth: (N,) int64, class ids.
        predicted: (N,) int64, class ids; `NO_CLASS` for a cell that is not predicted or has no class.
        scores: (N,) float64, of the predicted class; NaN where there is none.
        margins: (N,) float64, by how much that is more than the next class; NaN likewise.
        coverage: of them.
        sizes: sides of labelled and of predicted cells in words, for messages.
        numbers: (N,) int64, which of the predicted cells each is, negative for none; where these were taken together,
            which of what came of them.
        num_predictions: how many of these there are.
        geometries: of each the text in the GeoJSON of the prediction; None where that has none.
    """

    windows: WindowArray
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    scores: NDArray[np.float64]
    margins: NDArray[np.float64]
    coverage: Coverage
    sizes: str
    numbers: NDArray[np.int64]
    num_predictions: int
    geometries: list[str | None]

    @property
    def is_matched(self) -> NDArray[np.bool_]:
        """Which are predicted with a class: (N,) bool."""
        return np.asarray(self.predicted != NO_CLASS)

    @property
    def is_wrong(self) -> NDArray[np.bool_]:
        """Which are predicted with another class than theirs: (N,) bool."""
        return np.asarray(self.is_matched & (self.predicted != self.truth))


def compare_cells(
    labelled: LabelledCells,
    scene_id: str,
    num_classes: int,
    storage: Storage,
    answers: Answers | None = None,
    *,
    cells: Iterable[PredictedCell] | None = None,
) -> ComparedCells:
    """Look up what is predicted for labelled cells.

    Args:
        labelled: the cells.
        scene_id: the scene.
        num_classes: how many there are.
        storage: the root.
        answers: of the prediction, where overlapping cells were averaged: the cells of the map in a labelled one are
            taken together.
        cells: what `predicted_cells` gives, where it was read before.

    Raises:
        DataError: if the predictions cannot be used.
        StorageError: if there are none.
    """
    name = cells_name(storage, prediction_names(scene_id))
    places = {window: place for place, window in enumerate(map(tuple, labelled.windows.tolist()))}
    predicted = np.full(len(places), NO_CLASS, np.int64)
    scores, margins = np.full(len(places), np.nan), np.full(len(places), np.nan)
    numbers, number = np.full(len(places), -1, np.int64), -1
    geometries: list[str | None] = [None] * len(places)
    num_predicted = num_without_data = num_abstained = 0
    sides: set[tuple[int, int]] = set()
    cells = predicted_cells(scene_id, storage) if cells is None else cells
    for number, cell in enumerate(cells if answers is None else joined_cells(cells, labelled.windows, answers)):
        sides.add(cell.window[2:])
        place = places.get(cell.window)
        if place is not None:
            geometries[place] = cell.geometry
        if cell.class_id is None or cell.scores is None:
            num_without_data += place is not None and cell.scores is None
            num_abstained += place is not None and cell.scores is not None
            continue
        _check_class(cell.class_id, min(num_classes, len(cell.scores)), storage.uri(name))
        num_predicted += 1
        if place is not None:
            others = [score for class_id, score in enumerate(cell.scores) if class_id != cell.class_id]
            predicted[place], scores[place], numbers[place] = cell.class_id, cell.scores[cell.class_id], number
            margins[place] = cell.scores[cell.class_id] - max(others, default=0.0)
    num_matched = int((predicted != NO_CLASS).sum())
    coverage = Coverage(len(places), num_predicted, num_matched, num_without_data, num_abstained)
    words = f"labelled cells of {_in_words({window[2:] for window in places})}, predicted cells of {_in_words(sides)}"
    return ComparedCells(
        labelled.windows,
        labelled.class_ids,
        predicted,
        scores,
        margins,
        coverage,
        words,
        numbers,
        number + 1,
        geometries,
    )


def predicted_cells(scene_id: str, storage: Storage) -> Iterator[PredictedCell]:
    """The predicted cells of a scene; see `compare_cells` for what is raised."""
    name = cells_name(storage, prediction_names(scene_id))
    return read_cells(storage.input_file(name), where=storage.uri(name))


def _check_class(class_id: int, num_classes: int, where: str) -> None:
    if not 0 <= class_id < num_classes:
        fix = 'run the command "predict" again (--rerun)'
        raise DataError(f"class id {class_id} is predicted, and there are {num_classes} classes", where=where, fix=fix)


def _in_words(sides: set[tuple[Any, ...]]) -> str:
    some = ", ".join(f"{height} x {width} px" for height, width in sorted(sides)[:3])
    return (some or "no size (there are none)") + (f" and {len(sides) - 3} other sizes" if len(sides) > 3 else "")
