"""What `eval` left of a subset: its figures, and its labelled cells with what was predicted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rv_core import Storage
from rv_core.errors import DataError
from rv_pipeline_chip_classification.commands.results import evaluation_name, outcomes_name
from rv_pipeline_chip_classification.config import ChipClassificationConfig
from rv_pipeline_chip_classification.prediction.outcome_file import read_outcomes
from rv_pipeline_chip_classification.scenes.windows import WindowArray

#: A class id for what is not predicted.
NOT_PREDICTED = -1


@dataclass(frozen=True)
class SceneCells:
    """The labelled cells of a scene.

    Args:
        scene_id: the scene.
        windows: (N, 4) int64.
        truth: (N,) int64, class ids.
        predicted: (N,) int64, class ids or `NOT_PREDICTED`.
        scores: (N,) float64, of the predicted class; NaN where there is none.
        middles: (N, 2) float64, longitude and latitude of the middle of the cell, or column and row where the image has
            no CRS; NaN where it has no place on Earth.
        is_placed: whether the image has a CRS.
    """

    scene_id: str
    windows: WindowArray
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    scores: NDArray[np.float64]
    middles: NDArray[np.float64]
    is_placed: bool

    @property
    def is_predicted(self) -> NDArray[np.bool_]:
        """(N,) bool."""
        return np.asarray(self.predicted != NOT_PREDICTED)

    @property
    def is_wrong(self) -> NDArray[np.bool_]:
        """Which are predicted with another class than theirs: (N,) bool."""
        return np.asarray(self.is_predicted & (self.predicted != self.truth))


@dataclass(frozen=True)
class Evaluated:
    """A subset that was evaluated.

    Args:
        subset: its name.
        report: the content of its `eval.json`; its `overall` is there.
        scenes: the cells of its scenes; none for a scene whose file of cells is not there.
    """

    subset: str
    report: dict[str, Any]
    scenes: tuple[SceneCells, ...] = ()

    @property
    def overall(self) -> dict[str, Any]:
        """The figures of all scenes."""
        found: dict[str, Any] = self.report["overall"]
        return found


def read_evaluated(config: ChipClassificationConfig, storage: Storage) -> list[Evaluated]:
    """The subsets of `eval.subsets` that have a labelled cell, in their order.

    Raises:
        StorageError: if a file is missing.
        ValueError: if one is damaged.
    """
    found = []
    for subset in config.eval.subsets:
        report = json.loads(storage.read_text(evaluation_name(subset)))
        if report["overall"] is not None:
            found.append(Evaluated(subset, report, tuple(_scenes(config, storage, subset, report))))
    return found


def _scenes(
    config: ChipClassificationConfig, storage: Storage, subset: str, report: dict[str, Any]
) -> list[SceneCells]:
    evaluated = [scene.id for scene in config.dataset.scenes_of(subset) if scene.id in report["per_scene"]]
    # An earlier version wrote no map of errors.
    return [
        read_cells(storage, subset, scene_id, len(config.classes.names))
        for scene_id in evaluated
        if storage.exists(outcomes_name(subset, scene_id))
    ]


def read_cells(storage: Storage, subset: str, scene_id: str, num_classes: int) -> SceneCells:
    """The labelled cells of a scene.

    Raises:
        DataError: if the file is damaged, or is that of other classes.
    """
    name = outcomes_name(subset, scene_id)
    path = storage.input_file(name)
    cells = list(read_outcomes(path, where=storage.uri(name)))
    with path.open(encoding="utf-8") as file:
        is_placed = '"rv:coordinates": "pixels"' not in file.readline()
    truth = np.array([cell.truth for cell in cells], np.int64)
    predicted = np.array([NOT_PREDICTED if c.predicted is None else c.predicted for c in cells], np.int64)
    if cells and (truth.min() < 0 or max(truth.max(), predicted.max()) >= num_classes):
        fix = 'run the command "eval" again (--rerun)'
        raise DataError(f"a class id is none of the {num_classes} classes", where=storage.uri(name), fix=fix)
    return SceneCells(
        scene_id,
        np.array([cell.window for cell in cells], np.int64).reshape(-1, 4),
        truth,
        predicted,
        np.array([np.nan if cell.score is None else cell.score for cell in cells], np.float64),
        np.array([_middle(cell.ring) for cell in cells], np.float64).reshape(-1, 2),
        is_placed,
    )


def _middle(ring: Any) -> tuple[float, float]:
    """The mean of the corners of a closed ring."""
    if ring is None:
        return np.nan, np.nan
    corners = ring[:-1]
    return sum(x for x, _ in corners) / len(corners), sum(y for _, y in corners) / len(corners)
