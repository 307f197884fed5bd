"""Cells to look at: labels that scores contradict, and cells to label next, as layers that are read back as labels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rv_core.errors import UsageError
from rv_core.files import by_uri, uris
from rv_pipeline_chip_classification.config import ChipClassificationConfig
from rv_pipeline_chip_classification.labels.sources import UNLABELLED
from rv_pipeline_chip_classification.neighbours.joined_cells import joined_cells
from rv_pipeline_chip_classification.prediction.cell_file import read_cells
from rv_pipeline_chip_classification.prediction.cell_scores import SCORE_DECIMALS, Answers, prediction_names
from rv_pipeline_chip_classification.prediction.geojson_file import PredictedCell
from rv_pipeline_chip_classification.sampling.review import (
    doubts,
    most_doubtful,
    uncertain_and_diverse,
    with_neighbours,
)
from rv_pipeline_chip_classification.verbs.experiment import LabelledScene, boundary_of, load_experiment
from rv_pipeline_chip_classification.verbs.labels.cell_table import CellTable, all_cells, open_scene
from rv_pipeline_chip_classification.verbs.labels.layer import layer_lines, write_layer


@dataclass(frozen=True)
class Scores:
    """Predictions of a scene by a model that was not trained on it.

    Args:
        uri: the file.
        cells: in its order.
    """

    uri: str
    cells: Sequence[PredictedCell]

    def of(self, windows: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
        """Scores of cells, (N, K) float64: of a map with smaller cells the mean of those in each; NaN where there are none."""
        by_window = {cell.window: cell.scores for cell in joined_cells(self.cells, windows, Answers(None))}
        found = np.full((len(windows), num_classes), np.nan)
        for number, window in enumerate(map(tuple, windows.tolist())):
            its = by_window.get(window)
            if its is not None and len(its) == num_classes:
                found[number] = its
        return found


@dataclass(frozen=True)
class Review:
    """What was chosen in one scene.

    Args:
        scene_id: the scene.
        target: the layer.
        num_cells: cells in it.
        num_scored: of these, with scores.
        num_doubtful: labels to look at again.
        num_next: cells to label next.
    """

    scene_id: str
    target: Path
    num_cells: int
    num_scored: int
    num_doubtful: int
    num_next: int


def find_scores(entries: Sequence[LabelledScene], folders: Sequence[str]) -> tuple[dict[str, Scores], list[str]]:
    """Predictions of scenes: scene id -> scores, and the scenes whose only predictions are by a model that saw them.

    Args:
        entries: the scenes.
        folders: roots of runs, or folders with SCENE.geojson; the first with a prediction counts.
    """
    found: dict[str, Scores] = {}
    seen_in_training: dict[str, None] = {}
    for folder in folders:
        root = uris.absolute(folder, os.getcwd())
        trained = _trained_on(folder)
        for entry in entries:
            name = prediction_names(entry.scene.id).geojson if trained is not None else f"{entry.scene.id}.geojson"
            uri = uris.join(root, name)
            if trained is not None and not by_uri.exists(uri):
                uri = uris.join(root, prediction_names(entry.scene.id).cells)
            if entry.scene.id in found or not by_uri.exists(uri):
                continue
            if trained is not None and entry.scene.id in trained:
                seen_in_training[entry.scene.id] = None
            else:
                found[entry.scene.id] = _read(uri)
    return found, [name for name in seen_in_training if name not in found]


def _trained_on(folder: str) -> set[str] | None:
    """The scenes that the model of a root was trained on; None for a plain folder."""
    if not os.path.isfile(os.path.join(folder, "pipeline-config.json")):
        return None
    return {scene.id for scene in load_experiment(folder, None, None).dataset.train_scenes}


def _read(uri: str) -> Scores:
    return Scores(uri, list(read_cells(by_uri.local_copy(uri), where=uri)))


def count_of(text: str, total: int) -> int:
    """`"5%"` or `"20"` of so many.

    Raises:
        UsageError: if it is neither.
    """
    number = text.strip().removesuffix("%")
    try:
        value = float(number)
    except ValueError as err:
        raise UsageError(f"{text!r} is no number of cells", fix="write 20, or a share such as 5%") from err
    if not 0 <= value < float("inf"):
        raise UsageError(f"{text!r} is no number of cells", fix="write 20, or a share such as 5%")
    return int(np.ceil(value / 100 * total - 1e-9)) if text.strip().endswith("%") else int(value)


def write_review(
    config: ChipClassificationConfig,
    entries: Sequence[LabelledScene],
    scores: Mapping[str, Scores],
    output: Path,
    *,
    doubtful: str,
    num_next: int,
) -> Iterator[Review]:
    """Write a layer for each scene with scores: all its cells, those to look at with their rank.

    Args:
        config: the config.
        entries: its scenes, also those without labels.
        scores: by scene.
        output: the folder of the layers.
        doubtful: how many labels to look at again, a number or a share of the labels with scores.
        num_next: how many cells without a label to choose.
    """
    num_classes = len(config.classes.names)
    tables: list[tuple[LabelledScene, CellTable, NDArray[np.float64]]] = []
    for entry in (entry for entry in entries if entry.scene.id in scores):
        with boundary_of(entry), open_scene(entry.scene, config.classes, config.chip) as opened:
            table = all_cells(opened, config.chip)
            tables.append((entry, table, scores[entry.scene.id].of(table.windows, num_classes)))
    doubt_ranks, next_ranks = _chosen([(table, its) for _, table, its in tables], doubtful, num_next)
    first = 0
    for entry, table, its in tables:
        own = slice(first, first + len(table.windows))
        first += len(table.windows)
        extras = _extras(config, table, its, doubt_ranks[own], next_ranks[own])
        target = output / f"{entry.scene.id}.geojson"
        with boundary_of(entry), open_scene(entry.scene, config.classes, config.chip) as opened:
            write_layer(target, layer_lines(opened, table, entry.subset, extras))
        yield Review(
            entry.scene.id,
            target,
            len(table.windows),
            int(np.isfinite(its).all(axis=1).sum()),
            int((doubt_ranks[own] > 0).sum()),
            int((next_ranks[own] > 0).sum()),
        )


def _chosen(
    tables: Sequence[tuple[CellTable, NDArray[np.float64]]], doubtful: str, num_next: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ranks from 1 over the cells of all scenes; 0 is not chosen."""
    if not tables:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    scores = np.concatenate([its for _, its in tables])
    labels = np.concatenate([np.where(table.is_used, table.class_ids, UNLABELLED) for table, _ in tables])
    # Scenes are as far from each other as a scene is wide: a cell of another scene is another place.
    places = np.concatenate(
        [
            np.column_stack([table.windows[:, :2], np.full(len(table.windows), number * 1e4)])
            for number, (table, _) in enumerate(tables)
        ]
    ).astype(np.float64)
    scenes = np.concatenate([np.full(len(table.windows), number) for number, (table, _) in enumerate(tables)])
    windows = np.concatenate([table.windows for table, _ in tables])
    doubt = doubts(with_neighbours(scores, labels, windows, scenes), labels)
    worst = most_doubtful(doubt, count_of(doubtful, int(np.isfinite(doubt).sum())))
    upcoming = uncertain_and_diverse(scores, places, labels == UNLABELLED, num_next)
    ranks = np.zeros((2, len(labels)), np.int64)
    ranks[0, worst] = np.arange(1, len(worst) + 1)
    ranks[1, upcoming] = np.arange(1, len(upcoming) + 1)
    return ranks[0], ranks[1]


def _extras(
    config: ChipClassificationConfig,
    table: CellTable,
    scores: NDArray[np.float64],
    doubt_ranks: NDArray[np.int64],
    next_ranks: NDArray[np.int64],
) -> list[dict[str, Any]]:
    """Properties of the cells: ranks, what the model says, and how the label scores."""
    extras = []
    for number, its in enumerate(scores):
        has_scores = bool(np.isfinite(its).all())
        best = int(its.argmax()) if has_scores else -1
        class_id = int(table.class_ids[number])
        is_known = has_scores and class_id != UNLABELLED
        extras.append(
            {
                "doubt_rank": int(doubt_ranks[number]) or None,
                "next_rank": int(next_ranks[number]) or None,
                "suggested": config.classes.names[best] if has_scores else None,
                "suggested_score": round(float(its[best]), SCORE_DECIMALS) if has_scores else None,
                "label_score": round(float(its[class_id]), SCORE_DECIMALS) if is_known else None,
            }
        )
    return extras
