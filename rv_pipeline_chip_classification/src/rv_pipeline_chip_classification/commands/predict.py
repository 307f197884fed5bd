"""The command `predict`: a class and scores for every cell of a scene, written as they come."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rv_core import DataError, Storage
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
from rv_pipeline_chip_classification.prediction.category_file import categories_text
from rv_pipeline_chip_classification.prediction.cell_scores import (
    Answers,
    PredictionNames,
    ScoredCells,
    prediction_names,
)
from rv_pipeline_chip_classification.prediction.cell_windows import CellGrid, CellList
from rv_pipeline_chip_classification.prediction.classifier import Classifier
from rv_pipeline_chip_classification.prediction.geojson_file import GeoJsonWriter
from rv_pipeline_chip_classification.prediction.geotiff_file import GridRasterWriter
from rv_pipeline_chip_classification.prediction.qgis_style import prediction_style
from rv_pipeline_chip_classification.prediction.value_watch import WatchedCells, sample_of
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.scenes.windows import Window

_log = logging.getLogger(__name__)


@dataclass
class CellCounts:
    """What a prediction came to.

    Args:
        per_class: cells by class id.
        num_without_data: cells without a valid pixel, which have no class.
        num_without_numbers: cells that have one, and for which the model gives no numbers: no class either.
        first_without_numbers: the window of the first of these.
        num_abstained: cells whose scores say too little: no class either.
        seconds: wall time.
        drift: which channels have other values than the training pixels, in words; "" for none.
    """

    per_class: NDArray[np.int64]
    num_without_data: int = 0
    num_without_numbers: int = 0
    first_without_numbers: Window | None = None
    num_abstained: int = 0
    seconds: float = 0.0
    drift: str = ""

    @property
    def num_cells(self) -> int:
        """All cells."""
        return int(self.per_class.sum()) + self.num_without_data + self.num_without_numbers + self.num_abstained

    def add(self, cells: ScoredCells) -> None:
        """Count some more cells."""
        known = cells.class_ids[cells.class_ids >= 0]
        self.per_class += np.bincount(known, minlength=len(self.per_class))
        num_lost, num_abstained = int(cells.without_numbers.sum()), int(cells.abstained.sum())
        self.num_without_numbers += num_lost
        self.num_abstained += num_abstained
        self.num_without_data += len(cells.class_ids) - len(known) - num_lost - num_abstained
        self.first_without_numbers = self.first_without_numbers or cells.first_without_numbers()

    def abstained_note(self) -> str:
        """In words, that some cells have scores and no class; "" if none."""
        if not self.num_abstained:
            return ""
        return f"{self.num_abstained} of {self.num_cells} cells have no class, because no class reaches abstain_below"

    def lost_note(self) -> str:
        """In words, that some cells have no numbers; "" if all have."""
        if self.first_without_numbers is None:
            return ""
        window = list(self.first_without_numbers)
        return (
            f"{self.num_without_numbers} of {self.num_cells} cells have no class, because the model gives no numbers for "
            f"their pixel values; the first is the window {window}"
        )


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
    """

    classifier: Classifier
    write_geotiff: bool = True
    tells_drift: bool = True
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
        check_image(self.contract, raster.num_channels, raster.dtype, where=raster.scene_id)
        _check_number(cells.num_cells, raster)
        watched = WatchedCells(cells, raster.num_channels)
        counts = CellCounts(np.zeros(self.contract.num_classes, np.int64))
        self._started_s = time.monotonic()
        with ExitStack() as stack:
            writers = self._open_writers(stack, raster, cells, names, storage)
            for scored in self.classifier.classify(watched, raster):
                for writer in writers:
                    writer.write(scored)
                counts.add(scored)
                self._tell(counts, cells.num_cells, control)
            writers[0].close()
        self._write_legends(names, storage, has_rasters=len(writers) > 1)
        if writers[0].num_without_place:
            _log.warning(
                "scene %s: %d of %d cells have a corner that is not on Earth: they have no geometry in the GeoJSON",
                raster.scene_id,
                writers[0].num_without_place,
                counts.num_cells,
            )
        counts.seconds = time.monotonic() - self._started_s
        if self.tells_drift:
            counts.drift = drift_in_words(drift_notes(self.contract.values, watched.sample, self.contract.channels))
        return counts

    def _tell(self, counts: CellCounts, total: int, control: Control) -> None:
        if control.stop_requested:
            control.stopped()
        elapsed_s = max(time.monotonic() - self._started_s, 1e-6)
        control.progress(counts.num_cells, total, cells_per_s=round(counts.num_cells / elapsed_s, 1))

    def _write_legends(self, names: PredictionNames, storage: Storage, *, has_rasters: bool) -> None:
        """Names and colours of the classes, for QGIS and GDAL."""
        classes = self.contract.class_names, self.contract.class_colors
        storage.write_text(names.style, prediction_style(*classes))
        if has_rasters:
            # Viewers write statistics into it.
            storage.write_text(names.categories, categories_text(*classes), may_change=True)

    def _open_writers(
        self,
        stack: ExitStack,
        raster: SceneRaster,
        cells: CellGrid | CellList,
        names: PredictionNames,
        storage: Storage,
    ) -> tuple[GeoJsonWriter] | tuple[GeoJsonWriter, GridRasterWriter]:
        """The writers, the GeoJSON one first; rasters of an earlier prediction that would not be replaced go."""
        contract = self.contract
        path = stack.enter_context(storage.output_file(names.geojson))
        file = stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))
        geojson = GeoJsonWriter(
            file,
            raster.grid,
            scene_id=raster.scene_id,
            class_names=contract.class_names,
            where=raster.scene_id,
            gives_logits=self.classifier.answers.gives_logits,
        )
        if not self.write_geotiff or not isinstance(cells, CellGrid) or not cells.num_cells:
            for stale in (names.classes, names.scores, names.categories):
                if storage.exists(stale):
                    storage.delete(stale)
            return (geojson,)
        classes_path = stack.enter_context(storage.output_file(names.classes))
        scores_path = stack.enter_context(storage.output_file(names.scores))
        rasters = GridRasterWriter(
            classes_path,
            scores_path,
            cells,
            raster.grid,
            class_names=contract.class_names,
            class_colors=contract.class_colors,
        )
        return geojson, stack.enter_context(rasters)


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

    def predict_scene(self, scene: SceneConfig, storage: Storage, control: Control) -> CellCounts:
        """Write `predict/<scene id>.geojson`, and for a grid of cells `.tif` and `.scores.tif`.

        All of the extent is predicted, whatever the AOI.

        Args:
            scene: the scene.
            storage: where the files go.
            control: told of progress and counts.

        Raises:
            DataError: if the image or the labels cannot be used.
        """
        with SceneRaster(scene.raster, scene.id) as raster:
            raster.tell_notes()
            self._look_at(scene, raster)
            cells = self._cells_of(scene, raster)
            counts = self._writer.write(raster, cells, prediction_names(scene.id), storage, control)
        control.record(
            num_cells=counts.num_cells,
            num_without_data=counts.num_without_data,
            **({"num_without_numbers": counts.num_without_numbers} if counts.num_without_numbers else {}),
            **({"num_abstained": counts.num_abstained} if counts.num_abstained else {}),
            **{
                f"cells_of_{name}": int(count)
                for name, count in zip(self._classes.names, counts.per_class, strict=True)
            },
        )
        if counts.num_without_data:
            _log.warning(
                "scene %s: %d of %d cells have no valid pixel and no class",
                scene.id,
                counts.num_without_data,
                counts.num_cells,
            )
        for note in filter(None, [counts.lost_note(), counts.abstained_note(), counts.drift]):
            _log.warning("scene %s: %s", scene.id, note)
        return counts

    def _look_at(self, scene: SceneConfig, raster: SceneRaster) -> None:
        """Refuse a scene that the model was not made for, and tell of what is odd, before anything is written."""
        contract = self._writer.contract
        check_image(contract, raster.num_channels, raster.dtype, where=scene.id)
        note = channel_note(contract, raster, is_order_given=scene.raster.channel_order is not None)
        for text in filter(None, [note, *header_notes(contract, raster, scene.raster.nodata)]):
            _log.warning("image of scene %s: %s", scene.id, text)
        if self._predict.on_drift == "refuse":
            refuse_drift(contract, sample_of(raster), where=f"scene {scene.id!r}", fix='set predict.on_drift to "warn"')

    def _cells_of(self, scene: SceneConfig, raster: SceneRaster) -> CellGrid | CellList:
        """A grid over the extent, or the bounds of the labels' features where these are the cells."""
        size_px = cell_size_px(scene.labels, self._chip.chip_size_px)
        if scene.labels is None or scene.labels.has_cell_grid():
            return CellGrid(raster.extent, size_px, self._predict.stride_px or size_px)
        with open_labels(scene, self._classes, raster.grid, raster.extent) as source:
            return CellList(source.label_cells(size_px)[0])


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
        answers=Answers(config.predict.abstain_below, config.predict.scores == "logits"),
    )
    writer = SceneWriter(classifier, config.predict.write_geotiff, tells_drift=config.predict.on_drift == "warn")
    if contract.values is None and config.predict.on_drift == "warn":
        _log.info("%s", UNKNOWN_VALUES)
    return Predictor(writer, config.classes, config.chip, config.predict)
