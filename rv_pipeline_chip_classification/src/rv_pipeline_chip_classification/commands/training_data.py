"""What the command `train` learns from: the chips of the training and validation scenes, and the model's contract."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from rv_core import Storage
from rv_core.errors import DataError
from rv_pipeline_chip_classification.chips.store import ChipStore
from rv_pipeline_chip_classification.commands.analyze import merge_statistics, read_channel_names
from rv_pipeline_chip_classification.config import ChipClassificationConfig
from rv_pipeline_chip_classification.config_checks import palette_color
from rv_pipeline_chip_classification.config_parts import cell_size_px
from rv_pipeline_chip_classification.model.contract import ModelContract, merge_channel_names
from rv_pipeline_chip_classification.model.normalize import Normalization, normalization_for
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingData:
    """The chips that a model learns from and is validated with, and what is known about them."""

    train: ChipStore
    validation: ChipStore
    contract: ModelContract


def open_training_data(config: ChipClassificationConfig, storage: Storage) -> TrainingData:
    """The chips of the training and validation scenes.

    Raises:
        DataError: if there are too few chips, or scenes do not go together.
    """
    train_ids = [scene.id for scene in config.dataset.train_scenes]
    train = ChipStore.open(storage, train_ids)
    validation = ChipStore.open(storage, [scene.id for scene in config.dataset.validation_scenes])
    if train.num_chips < 2:
        raise DataError(
            f"there are {train.num_chips} training chips, and at least 2 are needed",
            where=", ".join(train_ids),
            fix="look at labels, AOI and chip.min_valid_fraction (the log of the command chip says what was left out)",
        )
    _check_alike(train, validation)
    _check_class_ids(config, train, validation)
    _tell_of_missing_classes(train, config.classes.names)
    return TrainingData(train, validation, _contract_of(config, storage, train))


def _check_alike(train: ChipStore, validation: ChipStore) -> None:
    layouts = [(s.dtype.name, s.num_channels, *s.chip_shape) for s in (train, validation) if s.num_chips]
    if len(set(layouts)) > 1:
        why = " against ".join(f"{dtype}, {channels} channels, {h} x {w} px" for dtype, channels, h, w in layouts)
        raise DataError(
            "the chips of training and validation scenes differ",
            why=why,
            fix="give all scenes the same channels (channel_order) and images of one dtype",
        )


def _check_class_ids(config: ChipClassificationConfig, *stores: ChipStore) -> None:
    highest = max(int(store.class_ids.max()) for store in stores if store.num_chips)
    if highest >= len(config.classes.names):
        what = f"a chip has the class id {highest}, and there are {len(config.classes.names)} classes"
        raise DataError(what, where="chip", fix='run the command "chip" again (--rerun)')


def _tell_of_missing_classes(train: ChipStore, names: Sequence[str]) -> None:
    missing = [name for name, count in zip(names, train.class_counts(len(names)), strict=True) if not count]
    if missing:
        _log.warning("no training chip has the class %s: it will never be learnt", ", ".join(map(repr, missing)))


def _contract_of(config: ChipClassificationConfig, storage: Storage, train: ChipStore) -> ModelContract:
    scenes, classes = config.dataset.train_scenes, config.classes
    return ModelContract(
        backbone=config.model.backbone,
        channels=_channel_names(config, storage),
        dtype=train.dtype.name,
        normalization=_normalization_of(config, storage, train),
        class_names=tuple(classes.names),
        # Other colours are no other model: those of the config come with predictions and the bundle.
        class_colors=tuple(map(palette_color, range(len(classes.names)))),
        chip_size_px=config.chip.chip_size_px,
        cell_size_px=cell_size_px(scenes[0].labels, config.chip.chip_size_px),
    )


def _normalization_of(config: ChipClassificationConfig, storage: Storage, train: ChipStore) -> Normalization:
    if config.normalize == "none":
        return normalization_for("none", train.dtype, train.num_channels)
    merged = merge_statistics(storage, [scene.id for scene in config.dataset.train_scenes])
    arrays = {"mean": merged.mean, "std": merged.std, "min": merged.minimum, "max": merged.maximum}
    columns = {name: array.tolist() for name, array in arrays.items()}
    return normalization_for(config.normalize, train.dtype, train.num_channels, columns)


def _channel_names(config: ChipClassificationConfig, storage: Storage) -> tuple[str | None, ...]:
    """What the training images call their channels: from the statistics, else from the images themselves."""
    names: dict[str, Sequence[str | None]] = {}
    for scene in config.dataset.train_scenes:
        if config.normalize != "none":
            names[scene.id] = read_channel_names(storage, scene.id)
        else:
            with SceneRaster(scene.raster, scene.id) as raster:
                names[scene.id] = raster.channel_names
    return merge_channel_names(names)
