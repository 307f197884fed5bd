"""The command `predict`: a class and scores for every cell of a scene, written as they come."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import numpy as np

from rv_core import DataError, Storage
from rv_pipeline_chip_classification.commands.baselines import read_baselines
from rv_pipeline_chip_classification.config import (
    ChipClassificationConfig,
    ChipConfig,
    ClassConfig,
    PredictConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.config_parts import cell_size_px
from rv_pipeline_chip_classification.control import Control
from rv_pipeline_chip_classification.labels.sources import open_labels
from rv_pipeline_chip_classification.maps.probe_file import probe_file
from rv_pipeline_chip_classification.maps.scene_files import CellCounts, SceneFiles, grid_of
from rv_pipeline_chip_classification.model.contract import ModelContract, check_image
from rv_pipeline_chip_classification.model.source_fit import (
    UNKNOWN_VALUES,
    channel_note,
    drift_in_words,
    drift_notes,
    header_notes,
    refuse_drift,
)
from rv_pipeline_chip_classification.model.trained import load_model, read_trained
from rv_pipeline_chip_classification.neighbours.refinement import refined, scored_grid, written_grid
from rv_pipeline_chip_classification.parts.scene_parts import Part, SceneItem, scene_of
from rv_pipeline_chip_classification.prediction.cell_scores import (
    FOLDER,
    PredictionNames,
    ScoredCells,
    answers_of,
    part_name,
    part_probe_name,
    prediction_names,
)
from rv_pipeline_chip_classification.prediction.cell_windows import CellGrid, CellList, GridPart, part_of_grid
from rv_pipeline_chip_classification.prediction.classifier import Classifier
from rv_pipeline_chip_classification.prediction.score_file import ScoreWriter
from rv_pipeline_chip_classification.prediction.value_watch import OnPixels, WatchedCells, sample_of
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.training.linear_probe import LinearProbe

_log = logging.getLogger(__name__)

#: A cell takes some 200 bytes of the GeoJSON: of more than these nobody opens the file, and weeks would pass before.
_MAX_CELLS = 1 << 30


def _check_number(num_cells: int, raster: SceneRaster) -> None:
    """Refuse what a header alone can claim: an image of a few bytes that says it is as large as the world."""
    if num_cells > _MAX_CELLS:
        extent = raster.extent
        raise DataError(
            f"the image of scene {raster.scene_id!r} has too many cells",
            where=raster.scene_id,
            why=f"its {extent.height} x {extent.width} px are {num_cells:,} cells; at most {_MAX_CELLS:,} are predicted",
            fix="predict it in parts (bbox), or choose a larger stride_px",
        )


@dataclass
class SceneWriter:
    """Predicts rasters and writes the files.

    Args:
        classifier: the model.
        write_geotiff: whether rasters are written beside the GeoJSON, where cells are a grid.
        tells_drift: whether the values that are read are compared with those of the training pixels.
        batch_size: chips per forward pass at most: where the parts of a scene begin.
        vector: the format of the vector file, or `none`.
        keeps_cells: whether cells are written for `eval` and others where there is no GeoJSON.
        probe: asked of every cell, for `eval`, unless cells are averaged; None for none.
    """

    classifier: Classifier
    write_geotiff: bool = True
    tells_drift: bool = True
    batch_size: int = 256
    vector: str = "geojson"
    keeps_cells: bool = False
    probe: LinearProbe | None = None
    _started_s: float = field(default=0.0, init=False)

    @property
    def contract(self) -> ModelContract:
        """What the model expects."""
        return self.classifier.contract

    def write(
        self,
        raster: SceneRaster,
        cells: CellGrid | CellList,
        names: PredictionNames,
        storage: Storage,
        control: Control,
    ) -> CellCounts:
        """Predict all cells of an open scene.

        Raises:
            DataError: if pixels cannot be read, or the image does not fit the model.
        """
        answers = self.classifier.answers
        with ExitStack() as stack:
            if isinstance(cells, CellGrid):
                scored = scored_grid(cells, answers)
                counts, watched = self._begin(raster, scored, self._asked(stack, names.probe, scored, raster, storage))
                cells, found = written_grid(scored), refined(self.classifier.classify(watched, raster), scored, answers)
            else:
                counts, watched = self._begin(raster, cells, self._asked(stack, names.probe, cells, raster, storage))
                found = self.classifier.classify(watched, raster)
            self._files.write(raster, cells, self._scored(found, counts, cells.num_cells, control), names, storage)
        counts.seconds = time.monotonic() - self._started_s
        if self.tells_drift:
            counts.drift = drift_in_words(drift_notes(self.contract.values, watched.sample, self.contract.channels))
        return counts

    def write_part(
        self, raster: SceneRaster, grid: CellGrid, part: Part, name: str, storage: Storage, control: Control
    ) -> CellCounts:
        """Predict the cells of a part of an open scene: their scores, for `merge` to make files of.

        Args:
            raster: the open scene.
            grid: all of its cells.
            part: which part.
            name: of the file.
            storage: where it goes.
            control: told of progress.

        Raises:
            DataError: if pixels cannot be read, or the image does not fit the model.
        """
        context_px = self.contract.context_px
        _check_number(grid.num_cells, raster)
        answers = self.classifier.answers
        grid = scored_grid(grid, answers)
        cells = part_of_grid(grid, part, batch_size=self.batch_size, context_px=context_px)
        with ExitStack() as stack:
            asked = self._asked(stack, part_probe_name(name), cells, raster, storage)
            counts, watched = self._begin(raster, cells, asked)
            found = self.classifier.classify(watched, raster, is_all=False)
            path = stack.enter_context(storage.output_file(name))
            writer = stack.enter_context(ScoreWriter(path, cells.num_cells, self.contract.num_classes))
            for some in self._scored(found, counts, cells.num_cells, control, is_finished=not answers.are_refined):
                writer.write(some)
        counts.seconds = time.monotonic() - self._started_s
        if self.tells_drift and part.number == 1:
            # A part has values of its own; those of the whole image are compared, in a few places.
            sample = sample_of(raster)
            counts.drift = drift_in_words(drift_notes(self.contract.values, sample, self.contract.channels))
        return counts

    @property
    def _files(self) -> SceneFiles:
        contract = self.contract
        gives_logits = self.classifier.answers.gives_logits
        return SceneFiles(
            contract.class_names,
            contract.class_colors,
            self.write_geotiff,
            gives_logits,
            vector=self.vector,
            keeps_cells=self.keeps_cells,
        )

    def _asked(
        self, stack: ExitStack, name: str, cells: CellGrid | CellList | GridPart, raster: SceneRaster, storage: Storage
    ) -> OnPixels | None:
        """What is given the pixels of the cells for the linear probe, whose answers go to a file; None without one."""
        if self.probe is None or not self.probe.fits(raster.num_channels) or self.classifier.answers.averages_overlaps:
            if self.keeps_cells and storage.exists(name):
                storage.delete(name)
            return None
        path = stack.enter_context(storage.output_file(name))
        write, probe = stack.enter_context(probe_file(path, cells.num_cells)), self.probe
        return lambda pixels, valid: write(probe.classes_of_chips(pixels, valid))

    def _begin(
        self, raster: SceneRaster, cells: CellGrid | CellList | GridPart, on_pixels: OnPixels | None
    ) -> tuple[CellCounts, WatchedCells]:
        check_image(self.contract, raster.num_channels, raster.dtype, where=raster.scene_id)
        _check_number(cells.num_cells, raster)
        self._started_s = time.monotonic()
        return CellCounts(np.zeros(self.contract.num_classes, np.int64)), WatchedCells(
            cells, raster.num_channels, on_pixels
        )

    def _scored(
        self,
        cells: Iterable[ScoredCells],
        counts: CellCounts,
        total: int,
        control: Control,
        *,
        is_finished: bool = True,
    ) -> Iterator[ScoredCells]:
        """The cells, counted and told once whoever asks for them has written those before."""
        for some in cells:
            yield some
            if is_finished:
                counts.add(some)
            else:
                counts.num_unfinished += len(some.class_ids)
            self._tell(counts, total, control)

    def _tell(self, counts: CellCounts, total: int, control: Control) -> None:
        if control.stop_requested:
            control.stopped()
        elapsed_s = max(time.monotonic() - self._started_s, 1e-6)
        control.progress(counts.num_cells, total, cells_per_s=round(counts.num_cells / elapsed_s, 1))


class Predictor:
    """A trained model that predicts scenes of a config; made once per task.

    Args:
        writer: the model and what to write.
        classes: the classes.
        chip: for the cell size where a scene has none.
        predict: the stride.
    """

    def __init__(self, writer: SceneWriter, classes: ClassConfig, chip: ChipConfig, predict: PredictConfig) -> None:
        self._writer, self._classes, self._chip, self._predict = writer, classes, chip, predict

    def predict_scene(self, item: SceneItem, storage: Storage, control: Control) -> CellCounts:
        """Write `predict/<scene id>.geojson`, and for a grid of cells `.tif` and `.scores.tif`; of a part its scores.

        All of the extent is predicted, whatever the AOI.

        Args:
            item: the scene, or a part of it.
            storage: where the files go.
            control: told of progress and counts.

        Raises:
            DataError: if the image or the labels cannot be used.
        """
        scene, part = scene_of(item)
        with SceneRaster(scene.raster, scene.id) as raster:
            is_told = part is None or part.number == 1
            if is_told:
                raster.tell_notes()
            self._look_at(scene, raster, is_told=is_told)
            cells = self._cells_of(scene, raster)
            # Nothing else is evaluated.
            writer = self._writer if scene.labels is not None else replace(self._writer, probe=None)
            if part is None or not isinstance(cells, CellGrid):
                counts = writer.write(raster, cells, prediction_names(scene.id), storage, control)
            else:
                counts = writer.write_part(raster, cells, part, part_name(FOLDER, item.id), storage, control)
        control.record(**counts.to_json(self._classes.names))
        counts.tell(item.id)
        return counts

    def _look_at(self, scene: SceneConfig, raster: SceneRaster, *, is_told: bool) -> None:
        """Refuse a scene that the model was not made for, and tell of what is odd, before anything is written."""
        contract = self._writer.contract
        check_image(contract, raster.num_channels, raster.dtype, where=scene.id)
        note = channel_note(contract, raster, is_order_given=scene.raster.channel_order is not None)
        for text in filter(None, [note, *header_notes(contract, raster, scene.raster.nodata)] if is_told else []):
            _log.warning("image of scene %s: %s", scene.id, text)
        if self._predict.on_drift == "refuse":
            refuse_drift(contract, sample_of(raster), where=f"scene {scene.id!r}", fix='set predict.on_drift to "warn"')

    def _cells_of(self, scene: SceneConfig, raster: SceneRaster) -> CellGrid | CellList:
        """A grid over the extent, or the bounds of the labels' features where these are the cells."""
        if scene.labels is None or scene.labels.has_cell_grid():
            return grid_of(scene, raster.extent, self._chip.chip_size_px, self._predict.stride_px)
        with open_labels(scene, self._classes, raster.grid, raster.extent) as source:
            return CellList(source.label_cells(cell_size_px(scene.labels, self._chip.chip_size_px))[0])


def open_predictor(config: ChipClassificationConfig, storage: Storage) -> Predictor:
    """The trained model of a pipeline, ready to predict.

    Args:
        config: reads `classes`, `chip.chip_size_px`, `model.backbone` and `predict`.
        storage: the root, where `train` left its files.

    Raises:
        DataError: if the files of the model are damaged.
        StorageError: if they are not there.
    """
    contract, weights = read_trained(storage, config.classes, backbone=config.model.backbone)
    classifier = Classifier(
        load_model(contract, weights),
        contract,
        batch_size=config.predict.batch_size,
        answers=answers_of(config.predict),
    )
    writer = SceneWriter(
        classifier,
        config.predict.write_geotiff,
        tells_drift=config.predict.on_drift == "warn",
        batch_size=config.predict.batch_size,
        vector=config.predict.vector,
        keeps_cells=True,
        probe=read_baselines(storage, len(config.classes.names)).probe,
    )
    if contract.values is None and config.predict.on_drift == "warn":
        _log.info("%s", UNKNOWN_VALUES)
    return Predictor(writer, config.classes, config.chip, config.predict)
