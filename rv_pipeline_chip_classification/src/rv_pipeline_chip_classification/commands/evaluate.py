"""The command `eval`: predicted cells against labelled ones, per class, scene and subset.

A labelled cell and a predicted one belong together if they are the same window, to the pixel. `coverage` says how many
cells were `labelled` (inside the AOI), how many were `predicted` with a class, and how many of the labelled ones
`matched` a predicted one; only these enter the confusion matrix. `without_data` are labelled cells that have no valid
pixel and so no predicted class.

    {"subset", "overall": {…metrics, "coverage"}, "per_scene": {scene id: the same}, "skipped": [scene ids], "notes": […]}

`skipped` are scenes without labels. Where nothing in a subset is labelled, `overall` is null and `notes` say why.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rv_core import Storage
from rv_core.errors import DataError, Finding
from rv_pipeline_chip_classification.config import ChipClassificationConfig, ChipConfig, ClassConfig, SceneConfig
from rv_pipeline_chip_classification.control import Control
from rv_pipeline_chip_classification.labels.cells import LabelledCells, label_cells
from rv_pipeline_chip_classification.prediction.cell_scores import prediction_names
from rv_pipeline_chip_classification.prediction.geojson_file import read_predictions
from rv_pipeline_chip_classification.training.calibration import calibration_error
from rv_pipeline_chip_classification.training.metrics import Confusion, confusion_matrix, metrics_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Coverage:
    """How the labelled cells of a scene, or of several, meet the predicted ones.

    Args:
        labelled: cells that have a class in the labels, inside the AOI.
        predicted: cells that the model gave a class, wherever they are.
        matched: labelled cells that are also predicted with a class.
        without_data: labelled cells that are predicted without a class, for want of valid pixels.
    """

    labelled: int = 0
    predicted: int = 0
    matched: int = 0
    without_data: int = 0

    def __add__(self, other: Coverage) -> Coverage:
        return Coverage(
            self.labelled + other.labelled,
            self.predicted + other.predicted,
            self.matched + other.matched,
            self.without_data + other.without_data,
        )


@dataclass(frozen=True)
class SceneResult:
    """The comparison of one scene.

    Args:
        confusion: (K, K) int64, rows truth, columns prediction.
        coverage: of its cells.
        confidences: (N,) float64, the score of the predicted class of each matched cell.
        is_right: (N,) bool, whether that class is the truth.
        sizes: sides of labelled and of predicted cells in words, for messages.
    """

    confusion: Confusion
    coverage: Coverage
    confidences: NDArray[np.float64]
    is_right: NDArray[np.bool_]
    sizes: str = ""

    def to_json(self, class_names: list[str]) -> dict[str, Any]:
        """Metrics and coverage as plain values."""
        return {
            **metrics_of(self.confusion, class_names),
            "calibration_error": calibration_error(self.confidences, self.is_right),
            "coverage": asdict(self.coverage),
        }


def merge_results(results: Sequence[SceneResult]) -> SceneResult:
    """The cells of several scenes, at least one, together."""
    return SceneResult(
        np.sum([result.confusion for result in results], axis=0),
        sum((result.coverage for result in results), Coverage()),
        np.concatenate([result.confidences for result in results]),
        np.concatenate([result.is_right for result in results]),
    )


def evaluation_name(subset: str) -> str:
    """Name of the metrics of a subset under the root."""
    return f"eval/{subset}/eval.json"


def run_evaluate(config: ChipClassificationConfig, storage: Storage, control: Control) -> None:
    """Write `eval/<subset>/eval.json` for every subset of `eval.subsets`.

    Args:
        config: reads `classes`, `chip.chip_size_px`, `chip.within_aoi`, `dataset` and `eval`.
        storage: the root, where `predict` left its files.
        control: told of progress and of the accuracy of each subset.

    Raises:
        DataError: if no subset has a labelled cell, if none of a subset's labelled cells is predicted, or if files
            cannot be read.
    """
    subsets: list[str] = list(config.eval.subsets)
    total = sum(len(config.dataset.scenes_of(subset)) for subset in subsets)
    done = 0
    reports: dict[str, dict[str, Any]] = {}
    for subset in subsets:
        results: dict[str, SceneResult] = {}
        for scene in config.dataset.scenes_of(subset):
            if scene.labels is not None:
                results[scene.id] = evaluate_scene(scene, config.classes, config.chip, storage)
            done += 1
            control.progress(done, total)
        _check_matches(subset, results)
        reports[subset] = report_of(subset, config.dataset.scenes_of(subset), results, config.classes.names)
    _check_labelled(reports)
    for subset, report in reports.items():
        storage.write_text(evaluation_name(subset), json.dumps(report, indent=1, allow_nan=False) + "\n")
        if report["overall"] is not None:
            control.record(**_figures(subset, report["overall"]))


def evaluate_scene(scene: SceneConfig, classes: ClassConfig, chip: ChipConfig, storage: Storage) -> SceneResult:
    """Compare the predicted cells of one labelled scene with its labels.

    Raises:
        DataError: if labels or predictions cannot be used.
        StorageError: if there is no prediction.
    """
    labelled = label_cells(scene, classes, chip)
    result = _compare(labelled, scene.id, len(classes.names), storage)
    missing = result.coverage.labelled - result.coverage.matched - result.coverage.without_data
    if missing:
        _log.warning(
            "scene %s: %d of %d labelled cells are not predicted and not evaluated (%s)",
            scene.id,
            missing,
            result.coverage.labelled,
            result.sizes,
        )
    return result


def _compare(labelled: LabelledCells, scene_id: str, num_classes: int, storage: Storage) -> SceneResult:
    name = prediction_names(scene_id).geojson
    truth = dict(zip(map(tuple, labelled.windows.tolist()), labelled.class_ids.tolist(), strict=True))
    pairs: list[tuple[int, int]] = []
    confidences: list[float] = []
    num_predicted = num_without_data = 0
    sides: set[tuple[int, int]] = set()
    for cell in read_predictions(storage.input_file(name), where=storage.uri(name)):
        sides.add(cell.window[2:])
        true_id = truth.get(cell.window)
        if cell.class_id is None or cell.scores is None:
            num_without_data += true_id is not None
            continue
        _check_class(cell.class_id, min(num_classes, len(cell.scores)), storage.uri(name))
        num_predicted += 1
        if true_id is not None:
            pairs.append((true_id, cell.class_id))
            confidences.append(cell.scores[cell.class_id])
    array = np.array(pairs, np.int64).reshape(-1, 2)
    return SceneResult(
        confusion_matrix(array[:, 0], array[:, 1], num_classes),
        Coverage(len(truth), num_predicted, len(pairs), num_without_data),
        np.array(confidences, np.float64),
        array[:, 0] == array[:, 1],
        f"labelled cells of {_in_words({window[2:] for window in truth})}, predicted cells of {_in_words(sides)}",
    )


def _check_class(class_id: int, num_classes: int, where: str) -> None:
    if not 0 <= class_id < num_classes:
        fix = 'run the command "predict" again (--rerun)'
        raise DataError(f"class id {class_id} is predicted, and there are {num_classes} classes", where=where, fix=fix)


def _in_words(sides: set[tuple[Any, ...]]) -> str:
    some = ", ".join(f"{height} x {width} px" for height, width in sorted(sides)[:3])
    return (some or "no size (there are none)") + (f" and {len(sides) - 3} other sizes" if len(sides) > 3 else "")


def _check_matches(subset: str, results: Mapping[str, SceneResult]) -> None:
    """Labels that meet no prediction at all are a mistake, not an accuracy of null."""
    coverage = sum((result.coverage for result in results.values()), Coverage())
    if not coverage.labelled or coverage.matched:
        return
    if coverage.without_data == coverage.labelled:
        raise DataError(
            f"none of the {coverage.labelled} labelled cells of the {subset} scenes has a valid pixel",
            where=evaluation_name(subset),
            why=f"scenes: {', '.join(list(results)[:20])}; the images have no data there",
            fix="look at nodata and masks of these images (raster.nodata), and at where the labels lie",
        )
    findings = [Finding(scene_id, result.sizes) for scene_id, result in results.items() if result.coverage.labelled]
    if coverage.without_data:
        what = f"{coverage.without_data} of these cells have no valid pixel"
        findings.append(Finding("", what, "look at nodata of the images"))
    raise DataError(
        f"none of the {coverage.labelled} labelled cells of the {subset} scenes is predicted",
        where=evaluation_name(subset),
        why="cells are compared by their window, to the pixel",
        findings=findings[:20],
        fix="give labels and chips the same size (cell_size_px, chip_size_px), and predict.stride_px a divisor of it",
    )


def _check_labelled(reports: Mapping[str, Mapping[str, Any]]) -> None:
    if not reports or any(report["overall"] is not None for report in reports.values()):
        return
    raise DataError(
        "there is nothing to evaluate",
        where="eval.subsets",
        why="; ".join(f"{subset}: {' '.join(report['notes'])}" for subset, report in reports.items()),
        fix="give validation or test scenes labels, or run the other commands only (--to bundle needs no eval)",
    )


def report_of(
    subset: str, scenes: list[SceneConfig], results: Mapping[str, SceneResult], class_names: list[str]
) -> dict[str, Any]:
    """The content of `eval.json` of one subset, scenes in the order of the config."""
    skipped = [scene.id for scene in scenes if scene.id not in results]
    notes = []
    if skipped:
        notes.append(f"{len(skipped)} of {len(scenes)} scenes have no labels and are not evaluated.")
    overall = None
    if sum(result.coverage.labelled for result in results.values()):
        merged = merge_results(list(results.values()))
        overall = merged.to_json(class_names)
        notes += _coverage_notes(merged.coverage)
    elif not scenes:
        notes.append(f"There are no {subset} scenes.")
    elif results:
        notes.append("No cell has a label inside the AOI.")
    per_scene = {scene_id: result.to_json(class_names) for scene_id, result in results.items()}
    return {"subset": subset, "overall": overall, "per_scene": per_scene, "skipped": skipped, "notes": notes}


def _coverage_notes(coverage: Coverage) -> list[str]:
    missing = coverage.labelled - coverage.matched - coverage.without_data
    notes = []
    if missing:
        notes.append(f"{missing} of {coverage.labelled} labelled cells are not predicted.")
    if coverage.without_data:
        notes.append(f"{coverage.without_data} of {coverage.labelled} labelled cells have no valid pixel.")
    return notes


def _figures(subset: str, overall: Mapping[str, Any]) -> dict[str, float]:
    """The numbers for the manifest; what is undefined is left out."""
    figures = {
        f"{subset}_accuracy": overall["accuracy"],
        f"{subset}_macro_f1": overall["macro"]["f1"],
        f"{subset}_cells": overall["coverage"]["matched"],
    }
    return {name: value for name, value in figures.items() if value is not None}
