"""The command `predict` of `apply`: images of the config mapped with its bundle, in a task."""

from __future__ import annotations

import logging

from rv_core import Storage
from rv_pipeline_chip_classification.applying.bundle_use import bundle_of, in_config_words, look_at_image
from rv_pipeline_chip_classification.applying.config import ApplyConfig, ImageConfig
from rv_pipeline_chip_classification.applying.image_predictor import ImagePredictor
from rv_pipeline_chip_classification.control import Control
from rv_pipeline_chip_classification.file_boundary import file_boundary
from rv_pipeline_chip_classification.model.bundle_file import Bundle
from rv_pipeline_chip_classification.prediction.cell_scores import Answers, PredictionNames

_log = logging.getLogger(__name__)


class ImageMapper:
    """The bundle of a config with its model loaded; made once per task.

    Args:
        config: reads all but `images`.
        bundle: its bundle.
    """

    def __init__(self, config: ApplyConfig, bundle: Bundle) -> None:
        self._config, self._bundle = config, bundle
        self._predictor = ImagePredictor(
            bundle,
            stride_px=config.stride_px,
            batch_size=config.batch_size,
            write_geotiff=config.write_geotiff,
            tells_drift=config.on_drift == "warn" and not config.update_stats,
            updates_stats=config.update_stats,
            answers=Answers(config.abstain_below, config.scores == "logits"),
        )

    def map(self, image: ImageConfig, folder: str, storage: Storage, control: Control) -> None:
        """Write the files of one image.

        Args:
            image: the image.
            folder: under the root, where its outputs go.
            storage: the root.
            control: told of progress and counts.

        Raises:
            DataError: if it cannot be mapped.
        """
        with file_boundary(f"the image {image.id!r} cannot be mapped", where=image.uri):
            job = look_at_image(self._config, image, self._bundle.contract)
            counts = self._predictor.predict(job, PredictionNames(f"{folder}/{job.stem}"), storage, control)
        control.record(num_cells=counts.num_cells, num_without_data=counts.num_without_data)
        if counts.num_abstained:
            control.record(num_abstained=counts.num_abstained)
        for note in filter(None, [*job.notes, counts.lost_note(), counts.abstained_note(), counts.drift]):
            _log.warning("image %s: %s", image.id, in_config_words(note))


def open_mapper(config: ApplyConfig) -> ImageMapper:
    """The model of a config's bundle, ready to map images.

    Raises:
        DataError: if the bundle is damaged.
        StorageError: if it is not there.
        UsageError: if it wants code that the config does not name.
    """
    return ImageMapper(config, bundle_of(config))
