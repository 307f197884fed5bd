"""What the command `train` learns from: the chips of the training and validation scenes, and the model's contract."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rv_core import Storage
from rv_core.errors import DataError
from rv_pipeline_chip_classification.chips.store import ChipStore
from rv_pipeline_chip_classification.commands.analyze import (
    merge_statistics,
    read_channel_names,
    read_histogram,
    read_source_facts,
    read_statistics,
    source_facts,
)
from rv_pipeline_chip_classification.config import ChipClassificationConfig, SceneConfig
from rv_pipeline_chip_classification.config_checks import palette_color
from rv_pipeline_chip_classification.config_parts import cell_size_px
from rv_pipeline_chip_classification.model.contract import ModelContract
from rv_pipeline_chip_classification.model.normalize import Normalization, normalization_for, normalization_to_range
from rv_pipeline_chip_classification.model.own_code import digest_of_backbone
from rv_pipeline_chip_classification.model.value_histogram import ValueHistogram, merge_histograms
from rv_pipeline_chip_classification.prediction.value_watch import sample_of
from rv_pipeline_chip_classification.pretrained.start import InitialWeights, open_initial
from rv_pipeline_chip_classification.pretrained.units import card_columns, normalization_of, unit_misfit
from rv_pipeline_chip_classification.scenes.channel_names import merge_names
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.scenes.statistics import ChannelStatistics

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingData:
    """The chips that a model learns from and is validated with, and what is known about them."""

    train: ChipStore
    validation: ChipStore
    contract: ModelContract
    initial: InitialWeights | None = None


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
    sources = _sources(config, storage)
    channels = merge_names({scene_id: source.names for scene_id, source in sources.items()})
    initial = None
    if config.model.weights is not None:
        initial = open_initial(config.model.weights, config.model.backbone, channels)
    contract = _contract_of(config, storage, train, channels, initial)
    return TrainingData(train, validation, replace(contract, **_source_fields(config, sources)), initial)


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


def _contract_of(
    config: ChipClassificationConfig,
    storage: Storage,
    train: ChipStore,
    channels: tuple[str | None, ...],
    initial: InitialWeights | None,
) -> ModelContract:
    scenes, classes = config.dataset.train_scenes, config.classes
    return ModelContract(
        backbone=config.model.backbone,
        backbone_code=digest_of_backbone(config.model.backbone),
        weights=None if initial is None else initial.record(),
        channels=channels,
        dtype=train.dtype.name,
        normalization=_normalization_of(config, storage, train, initial),
        class_names=tuple(classes.names),
        # Other colours are no other model: those of the config come with predictions and the bundle.
        class_colors=tuple(map(palette_color, range(len(classes.names)))),
        chip_size_px=config.chip.chip_size_px,
        context_px=config.chip.context_px,
        cell_size_px=cell_size_px(scenes[0].labels, config.chip.chip_size_px),
    )


def _normalization_of(
    config: ChipClassificationConfig, storage: Storage, train: ChipStore, initial: InitialWeights | None
) -> Normalization:
    if config.scale_to is not None:
        return normalization_to_range(config.scale_to, train.num_channels)
    if config.normalize == "none":
        return normalization_for("none", train.dtype, train.num_channels)
    merged = merge_statistics(storage, [scene.id for scene in config.dataset.train_scenes])
    if initial is not None and config.normalize == "weights":
        return _normalization_of_card(config.dataset.train_scenes[0], initial, merged, train.dtype.name)
    return normalization_for(config.normalize, train.dtype, train.num_channels, merged.columns())


def _normalization_of_card(
    scene: SceneConfig, initial: InitialWeights, found: ChannelStatistics, dtype: str
) -> Normalization:
    with SceneRaster(scene.raster, scene.id) as raster:
        columns = card_columns(initial.card, initial.match, dtype, raster.scales)
    if why := unit_misfit(columns, found.mean, found.std, initial.card):
        fix = 'bring the images to the unit of the card, or set normalize to "stats"'
        raise DataError("the pixel values are not of the unit of the card", where="normalize", why=why, fix=fix)
    return normalization_of(columns, found.mean, found.std)


@dataclass(frozen=True)
class _Source:
    """What the image of a training scene is like: names of channels, `source_facts`, valid pixels and their values."""

    names: Sequence[str | None]
    facts: Mapping[str, Any]
    num_pixels: int
    histogram: ValueHistogram | None


def _sources(config: ChipClassificationConfig, storage: Storage) -> dict[str, _Source]:
    """From the statistics, else (also where an earlier version wrote these) from the config or the images."""
    found = {}
    scenes_are_analyzed = config.normalize != "none" and config.scale_to is None
    for scene in config.dataset.train_scenes:
        if scenes_are_analyzed:
            names, facts = read_channel_names(storage, scene.id), read_source_facts(storage, scene.id)
            count = read_statistics(storage, scene.id).count
            found[scene.id] = _Source(names, facts, count, read_histogram(storage, scene.id))
        else:
            with SceneRaster(scene.raster, scene.id) as raster:
                sample = sample_of(raster)
                facts = source_facts(scene, raster)
                found[scene.id] = _Source(raster.channel_names, facts, sample.num_pixels, sample.histogram())
    return found


def _source_fields(config: ChipClassificationConfig, sources: Mapping[str, _Source]) -> dict[str, Any]:
    """The fields of the contract that describe the files."""
    scenes = config.dataset.train_scenes
    orders = {_order_of(sources[scene.id].facts.get("file_channels") or scene.raster.channel_order) for scene in scenes}
    counts = {source.facts.get("num_bands") for source in sources.values()}
    # NaN and infinity are no data in any image.
    nodata = {
        value if (value := scene.raster.nodata) is not None and math.isfinite(value) else None for scene in scenes
    }
    if len(nodata) > 1:
        _log.warning("training scenes have different raster.nodata: a bundle cannot know which one holds elsewhere")
    sizes = [size for source in sources.values() if (size := source.facts.get("pixel_size_m"))]
    return {
        "file_channels": orders.pop() if len(orders) == 1 else (),
        "num_bands": counts.pop() if len(counts) == 1 else None,
        "nodata": nodata.pop() if len(nodata) == 1 else None,
        "pixel_size_m": (min(sizes), max(sizes)) if sizes else None,
        "apply_scale": scenes[0].raster.apply_scale,
        **_value_fields(list(sources.values())),
    }


def _value_fields(sources: Sequence[_Source]) -> dict[str, Any]:
    """The fields of the contract that say what the values are; unknown where it is unknown of one scene."""
    declared = {source.facts["nodata"] for source in sources if "nodata" in source.facts}
    is_known = all("nodata" in source.facts for source in sources)
    scales = {tuple(map(tuple, source.facts.get("scales") or ())) for source in sources}
    parts = [(source.num_pixels, source.histogram) for source in sources if source.num_pixels]
    histograms = [(count, histogram) for count, histogram in parts if histogram is not None]
    return {
        "declared_nodata": tuple(sorted(declared, key=lambda value: (value is not None, value))) if is_known else (),
        "scales": (scales.pop() or None) if len(scales) == 1 else None,
        "values": merge_histograms(histograms) if len(histograms) == len(parts) else None,
    }


def _order_of(channels: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if channels is None else tuple(channels)
