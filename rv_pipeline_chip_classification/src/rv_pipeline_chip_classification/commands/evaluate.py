"""The command `eval`: predicted cells against labelled ones, per class, scene and subset.

A labelled cell and a predicted one belong together if they are the same window, to the pixel; where overlapping cells
were averaged (`predict.overlap`), a labelled one has the mean scores of those in it. `coverage` says how many
cells were `labelled` (inside the AOI), how many were `predicted` with a class, and how many of the labelled ones
`matched` a predicted one; only these enter the confusion matrix. `without_data` are labelled cells that have no valid
pixel and so no predicted class; `abstained`, where there are any, those of which no class reaches
`predict.abstain_below`.

    {"subset", "overall": {…metrics, "coverage"}, "baselines": {"constant", "linear_probe"},
     "calibration": {"interval_95", "blocks", "bins"}, "warnings": […],
     "per_scene": {scene id: as overall}, "skipped": [scene ids], "notes": […]}

`calibration_error` is how far scores are from how often their answers are right, on average over 15 bins of scores, which
`calibration` lists with the middle 95 % of that error if 4 x 4 parts of each scene were drawn anew (from five parts on).
`baselines` are the simplest answers on the same cells (see `baselines`), null where the training left none; `skipped`
are scenes without labels. Where nothing in a subset is labelled, `overall` and `baselines` are null and `notes` say why.
Beside it lie the cells of every scene with truth and prediction, `<scene id>.geojson`, with a style for QGIS, and of each
labelled test scene a picture, `<scene id>.png`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rv_core import Storage
from rv_core.errors import DataError, Finding
from rv_pipeline_chip_classification.commands.baselines import Baselines, notes_of, read_baselines, warnings_of
from rv_pipeline_chip_classification.commands.cell_comparison import (
    ComparedCells,
    Coverage,
    compare_cells,
    predicted_cells,
)
from rv_pipeline_chip_classification.commands.results import evaluation_name, outcomes_name, picture_name, style_name
from rv_pipeline_chip_classification.config import ChipClassificationConfig, SceneConfig
from rv_pipeline_chip_classification.control import Control
from rv_pipeline_chip_classification.labels.cells import LabelledCells, labelled_cells
from rv_pipeline_chip_classification.maps.formats import ENDINGS
from rv_pipeline_chip_classification.maps.probe_file import read_probe_answers
from rv_pipeline_chip_classification.prediction.cell_scores import answers_of, prediction_names
from rv_pipeline_chip_classification.prediction.cell_windows import CellList
from rv_pipeline_chip_classification.prediction.geojson_file import PredictedCell
from rv_pipeline_chip_classification.prediction.outcome_file import Outcomes, write_outcomes
from rv_pipeline_chip_classification.prediction.qgis_style import outcome_style
from rv_pipeline_chip_classification.scenes.grid import Grid
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.training.calibration import (
    BLOCKS_PER_SCENE,
    Reliability,
    blocks_of,
    calibration_error,
)
from rv_pipeline_chip_classification.training.metrics import Confusion, confusion_matrix, metrics_of

_log = logging.getLogger(__name__)

#: Cells whose pixels are held together while their statistics are taken.
_CELLS_AT_ONCE = 64
#: Of a cell without a class the prediction does not say which it is.
_NO_DATA = "no valid pixel, or none that the model gives numbers for"


class SceneResult(NamedTuple):
    """The comparison of one scene.

    Args:
        confusion: (K, K) int64, rows truth, columns prediction.
        coverage: of its cells.
        confidences: (N,) float64, the score of the predicted class of each matched cell.
        is_right: (N,) bool, whether that class is the truth.
        truth: (N,) int64, its class id.
        blocks: (N,) int64, which part of the scene it lies in.
        probed: (N,) int64, what the linear probe says of it; None where there is none.
        sizes: sides of labelled and of predicted cells in words, for messages.
    """

    confusion: Confusion
    coverage: Coverage
    confidences: NDArray[np.float64]
    is_right: NDArray[np.bool_]
    truth: NDArray[np.int64]
    blocks: NDArray[np.int64]
    probed: NDArray[np.int64] | None = None
    sizes: str = ""

    @classmethod
    def of(cls, cells: ComparedCells, probed: NDArray[np.int64] | None, num_classes: int) -> SceneResult:
        """The comparison of the labelled cells of a scene."""
        truth, predicted = cells.truth[cells.is_matched], cells.predicted[cells.is_matched]
        confusion = confusion_matrix(truth, predicted, num_classes)
        confidences, blocks = cells.scores[cells.is_matched], blocks_of(cells.windows[cells.is_matched])
        return cls(confusion, cells.coverage, confidences, truth == predicted, truth, blocks, probed, cells.sizes)

    def to_json(self, class_names: list[str]) -> dict[str, Any]:
        """Metrics and coverage as plain values."""
        return {
            **metrics_of(self.confusion, class_names),
            "calibration_error": calibration_error(self.confidences, self.is_right),
            "coverage": self.coverage.to_json(),
        }


def merge_results(results: Sequence[SceneResult]) -> SceneResult:
    """The cells of several scenes, at least one, together."""
    probed = [result.probed for result in results]
    return SceneResult(
        np.sum([result.confusion for result in results], axis=0),
        sum((result.coverage for result in results), Coverage()),
        np.concatenate([result.confidences for result in results]),
        np.concatenate([result.is_right for result in results]),
        np.concatenate([result.truth for result in results]),
        np.concatenate([result.blocks + number * BLOCKS_PER_SCENE for number, result in enumerate(results)]),
        None if any(one is None for one in probed) else np.concatenate(probed),  # type: ignore[arg-type]
    )


def run_evaluate(config: ChipClassificationConfig, storage: Storage, control: Control) -> None:
    """Write `eval/<subset>/eval.json` for every subset of `eval.subsets`, the cells on the map, and pictures of the test scenes.

    Args:
        config: reads `name`, `classes`, `chip.chip_size_px`, `chip.within_aoi`, `dataset`, `eval`, and of `predict` whether
            cells were averaged.
        storage: the root, where `train` and `predict` left their files.
        control: told of progress and of the accuracy of each subset.

    Raises:
        DataError: if no subset has a labelled cell, if none of a subset's labelled cells is predicted, or if files
            cannot be read.
    """
    evaluation = Evaluation(config, storage, read_baselines(storage, len(config.classes.names)))
    subsets: list[str] = list(config.eval.subsets)
    total = sum(len(config.dataset.scenes_of(subset)) for subset in subsets)
    done = 0
    reports: dict[str, dict[str, Any]] = {}
    for subset in subsets:
        results: dict[str, SceneResult] = {}
        for scene in config.dataset.scenes_of(subset):
            if scene.labels is not None:
                results[scene.id] = evaluation.of_scene(subset, scene)
            done += 1
            control.progress(done, total)
        _check_matches(subset, results)
        reports[subset] = evaluation.report(subset, results)
    _check_labelled(reports)
    for subset, report in reports.items():
        for warning in report["warnings"]:
            _log.warning("%s", warning)
        storage.write_text(evaluation_name(subset), json.dumps(report, indent=1, allow_nan=False) + "\n")
        if report["overall"] is not None:
            control.record(**_figures(subset, report["overall"]))


class Evaluation(NamedTuple):
    """What scenes are evaluated with.

    Args:
        config: as of `run_evaluate`.
        storage: the root.
        baselines: the simplest answers to compare with.
    """

    config: ChipClassificationConfig
    storage: Storage
    baselines: Baselines

    def of_scene(self, subset: str, scene: SceneConfig) -> SceneResult:
        """Compare the predicted cells of one labelled scene with its labels; draw it if it is a test scene.

        Raises:
            DataError: if labels or predictions cannot be used.
            StorageError: if there is no prediction.
        """
        with SceneRaster(scene.raster, scene.id) as raster:
            labelled = labelled_cells(raster, scene, self.config.classes, self.config.chip)
            predict = self.config.predict
            is_joined = predict.overlap == "average" and scene.labels is not None and scene.labels.has_cell_grid()
            answers = answers_of(predict) if is_joined else None
            # A picture shows them all.
            predictions = list(predicted_cells(scene.id, self.storage)) if subset == "test" else None
            num_classes = len(self.config.classes.names)
            cells = compare_cells(labelled, scene.id, num_classes, self.storage, answers, cells=predictions)
            coverage = cells.coverage
            if missing := coverage.missing:
                _log.warning(
                    "scene %s: %d of %d labelled cells are not predicted and not evaluated (%s)",
                    scene.id,
                    missing,
                    coverage.labelled,
                    cells.sizes,
                )
            self._write_outcomes(subset, scene, cells, raster.grid)
            if predictions is not None:
                self._draw(subset, raster, labelled, predictions)
            return SceneResult.of(cells, self._probed(raster, cells), num_classes)

    def _write_outcomes(self, subset: str, scene: SceneConfig, cells: ComparedCells, grid: Grid) -> None:
        """The labelled cells on the map, right and wrong."""
        outcomes = Outcomes(cells.windows, cells.truth, cells.predicted, cells.scores, cells.margins, cells.geometries)
        with self.storage.output_file(outcomes_name(subset, scene.id)) as path:
            write_outcomes(path, outcomes, grid, scene_id=scene.id, class_names=self.config.classes.names)
        if (kind := self.config.eval.vector) != "geojson":
            from rv_pipeline_chip_classification.maps.outcome_layer import write_outcome_layer

            name = outcomes_name(subset, scene.id, ENDINGS[kind])
            with self.storage.output_file(name) as path:
                names = self.config.classes.names
                write_outcome_layer(path, kind, outcomes, grid, scene_id=scene.id, class_names=names)
        self.storage.write_text(style_name(subset, scene.id), outcome_style())

    def _draw(
        self, subset: str, raster: SceneRaster, labelled: LabelledCells, predictions: Sequence[PredictedCell]
    ) -> None:
        """A picture of the scene; without one the figures are as good."""
        from rv_pipeline_chip_classification.commands.quicklook import write_quicklook

        name, classes = self.config.name, self.config.classes
        title = f"{name}: {raster.scene_id}" if name else raster.scene_id
        try:
            with self.storage.output_file(picture_name(subset, raster.scene_id)) as target:
                write_quicklook(raster, classes, labelled, predictions=predictions, target=target, title=title)
        except DataError as err:
            _log.warning("there is no picture of scene %s: %s", raster.scene_id, err.block.what)

    def _probed(self, raster: SceneRaster, cells: ComparedCells) -> NDArray[np.int64] | None:
        """What the linear probe says of the matched cells; None where there is none."""
        probe = self.baselines.probe
        if probe is None or not probe.fits(raster.num_channels):
            return None
        kept = read_probe_answers(self.storage, prediction_names(raster.scene_id).probe, len(self.config.classes.names))
        if kept is not None and len(kept) == cells.num_predictions:
            return kept[cells.numbers[cells.is_matched]].astype(np.int64)
        # Cells were averaged, or an older version predicted them.
        windows = cells.windows[cells.is_matched]
        order = np.argsort(windows[:, 0], kind="stable")
        answers = np.empty(len(windows), np.int64)
        try:
            for batch in CellList(windows[order]).iter_chips(raster, lambda _: _CELLS_AT_ONCE):
                place = order[batch.first : batch.first + len(batch.chips)]
                answers[place] = probe.classes_of_chips(batch.chips, batch.valid)
        except DataError as err:
            _log.warning("scene %s is not compared with the linear probe: %s", raster.scene_id, err.block.what)
            return None
        return answers

    def report(self, subset: str, results: Mapping[str, SceneResult]) -> dict[str, Any]:
        """The content of `eval.json` of one subset, scenes in the order of the config."""
        scenes, class_names = self.config.dataset.scenes_of(subset), self.config.classes.names
        skipped = [scene.id for scene in scenes if scene.id not in results]
        notes, warnings = [], list[str]()
        if skipped:
            notes.append(f"{len(skipped)} of {len(scenes)} scenes have no labels and are not evaluated.")
        overall = baselines = calibration = None
        if sum(result.coverage.labelled for result in results.values()):
            merged = merge_results(list(results.values()))
            overall = merged.to_json(class_names)
            calibration = Reliability.of(merged.confidences, merged.is_right, merged.blocks).to_json()
            baselines = self.baselines.to_json(merged.truth, merged.probed, class_names)
            warnings = warnings_of(subset, overall, baselines)
            notes += [*_coverage_notes(merged.coverage), *notes_of(overall, baselines)]
        elif not scenes:
            notes.append(f"There are no {subset} scenes.")
        elif results:
            notes.append("No cell has a label inside the AOI.")
        per_scene = {scene_id: result.to_json(class_names) for scene_id, result in results.items()}
        return {
            "subset": subset,
            "overall": overall,
            "baselines": baselines,
            "calibration": calibration,
            "warnings": warnings,
            "per_scene": per_scene,
            "skipped": skipped,
            "notes": notes,
        }


def _check_matches(subset: str, results: Mapping[str, SceneResult]) -> None:
    """Labels that meet no prediction at all are a mistake, not an accuracy of null."""
    coverage = sum((result.coverage for result in results.values()), Coverage())
    if not coverage.labelled or coverage.matched:
        return
    if coverage.abstained and not coverage.missing:
        raise DataError(
            f"none of the {coverage.labelled} labelled cells of the {subset} scenes has a class",
            where=evaluation_name(subset),
            why=f"of {coverage.abstained} no class reaches predict.abstain_below",
            fix="lower predict.abstain_below",
        )
    if coverage.without_data == coverage.labelled:
        raise DataError(
            f"none of the {coverage.labelled} labelled cells of the {subset} scenes has a valid pixel",
            where=evaluation_name(subset),
            why=f"scenes: {', '.join(list(results)[:20])}; the images have no data there",
            fix="look at nodata and masks of these images (raster.nodata), and at where the labels lie",
        )
    findings = [Finding(scene_id, result.sizes) for scene_id, result in results.items() if result.coverage.labelled]
    if coverage.without_data:
        what = f"{coverage.without_data} of these cells have {_NO_DATA}"
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


def _coverage_notes(coverage: Coverage) -> list[str]:
    notes = []
    if coverage.missing:
        notes.append(f"{coverage.missing} of {coverage.labelled} labelled cells are not predicted.")
    if coverage.abstained:
        share = f"{coverage.abstained} of {coverage.labelled} labelled cells"
        notes.append(f"{share} have no class, because none reaches predict.abstain_below; scores are of the others.")
    if coverage.without_data:
        notes.append(f"{coverage.without_data} of {coverage.labelled} labelled cells have {_NO_DATA}.")
    return notes


def _figures(subset: str, overall: Mapping[str, Any]) -> dict[str, float]:
    """The numbers for the manifest; what is undefined is left out."""
    figures = {
        f"{subset}_accuracy": overall["accuracy"],
        f"{subset}_macro_f1": overall["macro"]["f1"],
        f"{subset}_cells": overall["coverage"]["matched"],
    }
    return {name: value for name, value in figures.items() if value is not None}
