"""The command `predict` of `apply`: images of the config mapped with its bundle, in a task."""

from __future__ import annotations

import logging

from rv_core import Storage
from rv_pipeline_chip_classification.applying.bundle_use import bundle_of, in_config_words, look_at_image, step_px
from rv_pipeline_chip_classification.applying.config import ApplyConfig, ImageConfig
from rv_pipeline_chip_classification.applying.image_parts import ImageItem, image_of, num_image_parts
from rv_pipeline_chip_classification.commands.merge import PartsOfScene, merge_parts
from rv_pipeline_chip_classification.control import Control
from rv_pipeline_chip_classification.file_boundary import file_boundary
from rv_pipeline_chip_classification.maps.scene_files import SceneFiles
from rv_pipeline_chip_classification.model.bundle_file import Bundle
from rv_pipeline_chip_classification.prediction.cell_scores import FOLDER, answers_of, part_name, prediction_names
from rv_pipeline_chip_classification.prediction.cell_windows import CellGrid
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster

_log = logging.getLogger(__name__)


class ImageMapper:
    """The bundle of a config with its model loaded; made once per task.

    Args:
        config: reads all but `images`.
        bundle: its bundle.
    """

    def __init__(self, config: ApplyConfig, bundle: Bundle) -> None:
        from rv_pipeline_chip_classification.applying.image_predictor import ImagePredictor

        self._config, self._bundle = config, bundle
        self._predictor = ImagePredictor(
            bundle,
            stride_px=config.stride_px,
            batch_size=config.batch_size,
            write_geotiff=config.write_geotiff,
            tells_drift=config.on_drift == "warn" and not config.update_stats,
            updates_stats=config.update_stats,
            answers=answers_of(config),
            vector=config.vector,
        )

    def map(self, item: ImageItem, storage: Storage, control: Control) -> None:
        """Write the files of one image, or the scores of a part of it.

        Args:
            item: the image, or the part.
            storage: the root.
            control: told of progress and counts.

        Raises:
            DataError: if it cannot be mapped.
        """
        image, part = image_of(item)
        with file_boundary(f"the image {image.id!r} cannot be mapped", where=image.uri):
            job = look_at_image(self._config, image, self._bundle.contract)
            if part is None:
                counts = self._predictor.predict(job, prediction_names(job.stem), storage, control)
            else:
                name = part_name(FOLDER, item.id)
                counts = self._predictor.predict_part(job, part, name, storage, control)
        control.record(num_cells=counts.num_cells)
        if not counts.num_unfinished:
            control.record(num_without_data=counts.num_without_data)
        if counts.num_abstained:
            control.record(num_abstained=counts.num_abstained)
        notes = job.notes if part is None or part.number == 1 else ()
        for note in filter(None, [*notes, counts.lost_note(), counts.abstained_note(), counts.drift]):
            _log.warning("image %s: %s", item.id, in_config_words(note))


def merge_image(config: ApplyConfig, image: ImageConfig, storage: Storage, control: Control) -> None:
    """Write the files of an image that was mapped in parts.

    Args:
        config: reads all but `images`.
        image: the image.
        storage: the root.
        control: told of progress and counts.

    Raises:
        DataError: if scores of parts are damaged, or no cell has any numbers.
        StorageError: if some are not there.
    """
    bundle = bundle_of(config)
    contract = bundle.contract
    files = SceneFiles(
        contract.class_names,
        contract.class_colors,
        config.write_geotiff,
        config.scores == "logits",
        vector=config.vector,
    )
    with file_boundary(f"the parts of the image {image.id!r} cannot be put together", where=image.uri):
        job = look_at_image(config, image, contract)
        with SceneRaster(job.source, job.stem) as raster:
            cells = CellGrid(raster.extent, contract.cell_size_px, step_px(bundle, config.stride_px))
            parts = PartsOfScene(image.id, FOLDER, num_image_parts(config, image), answers_of(config))
            merge_parts(raster, cells, parts, files, storage, control)


def open_mapper(config: ApplyConfig) -> ImageMapper:
    """The model of a config's bundle, ready to map images.

    Raises:
        DataError: if the bundle is damaged.
        StorageError: if it is not there.
        UsageError: if it wants code that the config does not name.
    """
    return ImageMapper(config, bundle_of(config))
