"""`load_bundle(uri).predict(image)`: a model bundle in a script or a notebook, as `rv predict` uses it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from rv_core import Storage
from rv_core.errors import UsageError
from rv_core.files.by_uri import local_copy
from rv_pipeline_chip_classification.applying.image_look import ImageJob, look_at
from rv_pipeline_chip_classification.config_parts import Precision, check_smooth
from rv_pipeline_chip_classification.control import Unheard
from rv_pipeline_chip_classification.file_boundary import file_boundary
from rv_pipeline_chip_classification.from_python.records import Records, cells_of
from rv_pipeline_chip_classification.model.bundle_file import Bundle, open_bundle
from rv_pipeline_chip_classification.model.contract import ModelContract
from rv_pipeline_chip_classification.model.openmp import wait_passively
from rv_pipeline_chip_classification.model.own_code import refuse_unnamed_code
from rv_pipeline_chip_classification.prediction.cell_scores import NO_CLASS, Answers, PredictionNames

if TYPE_CHECKING:
    from rv_pipeline_chip_classification.applying.image_predictor import ImagePredictor

_ARRAY = "array"


class Prediction(Records):
    """The cells of one image, a record per cell as `Results.predictions` has them.

    Args:
        records: the cells, row by row.
        crs: of their geometries; None for pixels.
        notes: what the user should know about the image, as `rv predict` prints it.
    """

    def __init__(self, records: Records, *, notes: tuple[str, ...] = ()) -> None:
        super().__init__(records, crs=records.crs)
        self.notes = notes

    @property
    def class_ids(self) -> NDArray[np.int64]:
        """(rows, cols) of cells, class ids; -1 where a cell has no valid pixel."""
        ids = [NO_CLASS if cell["class_id"] is None else cell["class_id"] for cell in self]
        return np.array(ids, np.int64).reshape(self._shape)

    @property
    def scores(self) -> NDArray[np.float64]:
        """(rows, cols, K) of cells, softmax, rows sum to 1; NaN where a cell has no valid pixel."""
        num_classes = next((len(cell["scores"]) for cell in self if cell["scores"] is not None), 1)
        nothing = [np.nan] * num_classes
        scores = [nothing if cell["scores"] is None else cell["scores"] for cell in self]
        return np.array(scores, np.float64).reshape(*self._shape, num_classes)

    @property
    def _shape(self) -> tuple[int, int]:
        num_rows = len({cell["window"][0] for cell in self})
        return num_rows, len(self) // max(num_rows, 1)


@dataclass(frozen=True)
class LoadedBundle:
    """A bundle whose model is loaded once, at the first prediction.

    Args:
        bundle: the opened bundle.
    """

    bundle: Bundle

    @property
    def contract(self) -> ModelContract:
        """What the model expects and answers: channels, data type, size of a cell, pixel size, normalisation."""
        return self.bundle.contract

    @property
    def class_names(self) -> list[str]:
        """By class id."""
        return list(self.contract.class_names)

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Of the training and validation chips."""
        return self.bundle.metrics

    def predict(
        self,
        image: str | Path | NDArray[Any],
        *,
        channel_order: tuple[int, ...] | None = None,
        nodata: float | None = None,
        stride_px: int | None = None,
        augment: Literal["none", "d4"] = "none",
        overlap: Literal["separate", "average"] = "separate",
        smooth: int = 1,
        precision: Precision = "float32",
    ) -> Prediction:
        """Classify the cells of an image; the scores are those that `rv predict` writes.

        Args:
            image: path or URI of what GDAL reads, or pixels (rows, columns, channels) in the order of the model, of
                the data type of the training images; masked pixels of a masked array are no data.
            channel_order: 0-based channels of the image in the model's order; None for by band names, else as trained.
            nodata: the pixel value that means "no data"; None for as in training.
            stride_px: step between cells; None for that of the bundle.
            augment: this and what follows: as of `PredictConfig`.
            overlap: likewise.
            smooth: likewise.
            precision: likewise.

        Raises:
            DataError: if the image cannot be read, or does not fit the model.
            UsageError: for an array of another shape, or options that do not go together.
        """
        for found in check_smooth(smooth):
            raise UsageError(f"smooth: {found.what}", fix=found.fix)
        answers = Answers(None, False, augment == "d4", overlap == "average", smooth, precision)
        with tempfile.TemporaryDirectory(prefix="rv-predict-") as folder:
            if isinstance(image, np.ndarray):
                shown, source = _ARRAY, _written(image, Path(folder) / f"{_ARRAY}.tif")
                channel_order = channel_order or tuple(range(image.shape[2]))
            else:
                shown = source = str(image)
            nodata = self.contract.nodata if nodata is None else nodata
            with file_boundary("the image cannot be predicted", where=shown):
                job = look_at(source, "cells", self.contract, channel_order, nodata)
                return self._predict(job, Storage(folder), answers, stride_px)

    def _predict(self, job: ImageJob, storage: Storage, answers: Answers, stride_px: int | None) -> Prediction:
        names = PredictionNames(job.stem)
        counts = self._predictor_for(answers).predict(job, names, storage, Unheard(), stride_px=stride_px)
        notes = tuple(filter(None, [*job.notes, counts.lost_note(), counts.abstained_note(), counts.drift]))
        return Prediction(cells_of(storage.input_file(names.geojson), where=job.image), notes=notes)

    @cached_property
    def _predictors(self) -> dict[Answers, ImagePredictor]:
        return {}

    def _predictor_for(self, answers: Answers) -> ImagePredictor:
        """One that has the model loaded; each is made once."""
        wait_passively()
        from rv_pipeline_chip_classification.applying.image_predictor import ImagePredictor

        if answers not in self._predictors:
            self._predictors[answers] = ImagePredictor(
                self.bundle,
                stride_px=None,
                batch_size=256,
                write_geotiff=False,
                tells_drift=True,
                updates_stats=False,
                answers=answers,
            )
        return self._predictors[answers]


def _written(pixels: NDArray[Any], path: Path) -> str:
    """An array as a raster without a place, so that it is read as any image is."""
    import warnings

    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    from rv_pipeline_chip_classification.raster_files.gdal_env import gdal_env

    if pixels.ndim != 3 or 0 in pixels.shape:
        raise UsageError(
            f"an array of the shape {pixels.shape} is no image",
            fix="give (rows, columns, channels); one channel is pixels[..., None]",
        )
    rows, cols, channels = pixels.shape
    mask = np.ma.getmask(pixels)
    try:
        with warnings.catch_warnings(), gdal_env(GDAL_TIFF_INTERNAL_MASK=True):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            options = {"width": cols, "height": rows, "count": channels, "dtype": pixels.dtype}
            with rasterio.open(path, "w", driver="GTiff", photometric="minisblack", **options) as file:
                file.write(np.moveaxis(np.ma.getdata(pixels), 2, 0))
                if mask is not np.ma.nomask:
                    file.write_mask(~np.asarray(mask).any(axis=2))
    except (RasterioError, TypeError, ValueError) as err:
        raise UsageError(f"an array of the type {pixels.dtype} is no image", why=str(err)) from err
    return str(path)


def load_bundle(uri: str | Path, *, backbone: str | None = None) -> LoadedBundle:
    """Open a model bundle.

    Args:
        uri: path or URI of a model-bundle.zip.
        backbone: `module:callable` of a network of your own that the bundle may import and call; None for none.

    Raises:
        DataError: if it is no bundle, damaged, or wants code that was not named.
        StorageError: if it cannot be read.
    """
    bundle = open_bundle(local_copy(str(uri)), shown=str(uri))
    refuse_unnamed_code(bundle.contract.backbone, backbone, where=str(uri))
    return LoadedBundle(bundle)
