"""A bundle's model that maps images: loaded once, then one image after the other."""

from __future__ import annotations

from rv_core import Storage
from rv_core.errors import UsageError
from rv_pipeline_chip_classification.applying.bundle_use import step_px
from rv_pipeline_chip_classification.applying.image_look import ImageJob
from rv_pipeline_chip_classification.applying.own_statistics import by_own_statistics
from rv_pipeline_chip_classification.commands.predict import SceneWriter
from rv_pipeline_chip_classification.config_parts import check_overlap
from rv_pipeline_chip_classification.control import Control
from rv_pipeline_chip_classification.maps.scene_files import CellCounts
from rv_pipeline_chip_classification.model.bundle_file import Bundle
from rv_pipeline_chip_classification.model.contract import ModelContract
from rv_pipeline_chip_classification.model.trained import load_model
from rv_pipeline_chip_classification.parts.scene_parts import Part
from rv_pipeline_chip_classification.prediction.cell_scores import Answers, PredictionNames
from rv_pipeline_chip_classification.prediction.cell_windows import CellGrid
from rv_pipeline_chip_classification.prediction.classifier import Classifier
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster


class ImagePredictor:
    """Maps images with the model of a bundle.

    Args:
        bundle: the opened bundle.
        stride_px: step between cells; None is that of the bundle.
        batch_size: windows per forward pass at most.
        write_geotiff: whether GeoTIFFs are written beside the GeoJSON.
        tells_drift: whether values are compared with those of the training images while they are read.
        updates_stats: whether each image is normalised by the statistics of its own pixels.
        answers: which scores are given, and when no class.
        vector: the format of the vector file, or `none`.

    Raises:
        DataError: if the weights are not those that were put in.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        stride_px: int | None,
        batch_size: int,
        write_geotiff: bool,
        tells_drift: bool,
        updates_stats: bool,
        answers: Answers,
        vector: str = "geojson",
    ) -> None:
        self._contract = bundle.contract
        self._stride_px = step_px(bundle, stride_px)
        self._batch_size, self._updates_stats, self._answers = batch_size, updates_stats, answers
        self._write_geotiff, self._tells_drift, self._vector = write_geotiff, tells_drift, vector
        with bundle.weights_file() as weights:
            self._model = load_model(bundle.contract, weights, shown=bundle.shown)
        self._writer = self._writer_for(bundle.contract)

    def predict(
        self, job: ImageJob, names: PredictionNames, storage: Storage, control: Control, *, stride_px: int | None = None
    ) -> CellCounts:
        """Map one image.

        Args:
            job: the image, looked at.
            names: of its outputs.
            storage: where they go.
            control: told of progress.
            stride_px: step between the cells of this image; None is that of the others.

        Raises:
            DataError: if pixels cannot be read, or the model gives no numbers for any of them.
            UsageError: if cells are to be averaged that do not overlap by whole steps.
        """
        writer = self._writer_of(job)
        with SceneRaster(job.source, job.stem) as raster:
            return writer.write(raster, self.cells_of(raster, stride_px), names, storage, control)

    def predict_part(self, job: ImageJob, part: Part, name: str, storage: Storage, control: Control) -> CellCounts:
        """Map a part of an image: the scores of its cells. Arguments and errors as of `predict`; `name` is that of the file."""
        writer = self._writer_of(job)
        with SceneRaster(job.source, job.stem) as raster:
            return writer.write_part(raster, self.cells_of(raster), part, name, storage, control)

    def cells_of(self, raster: SceneRaster, stride_px: int | None = None) -> CellGrid:
        """All cells of an open image."""
        cells = CellGrid(raster.extent, self._contract.cell_size_px, stride_px or self._stride_px)
        overlap = "average" if self._answers.averages_overlaps else "separate"
        for found in check_overlap("overlap", overlap, cells.size_px, cells.stride_px):
            raise UsageError(found.what, where="overlap", fix=found.fix)
        return cells

    def _writer_of(self, job: ImageJob) -> SceneWriter:
        if not self._updates_stats:
            return self._writer
        with SceneRaster(job.source, job.stem) as raster:
            return self._writer_for(by_own_statistics(self._contract, raster))

    def _writer_for(self, contract: ModelContract) -> SceneWriter:
        classifier = Classifier(self._model, contract, batch_size=self._batch_size, answers=self._answers)
        return SceneWriter(
            classifier,
            self._write_geotiff,
            tells_drift=self._tells_drift,
            batch_size=self._batch_size,
            vector=self._vector,
        )
