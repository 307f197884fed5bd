"""The command `analyze`: statistics of each training scene, and of all of them together."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

from rv_core import Storage
from rv_core.errors import DataError
from rv_pipeline_chip_classification.config import AnalyzeConfig, SceneConfig
from rv_pipeline_chip_classification.model.normalize import MAX_BANDS, MAX_CHANNELS
from rv_pipeline_chip_classification.model.plain_fields import integer_of, list_of, mapping_of, number_of, numbers_of
from rv_pipeline_chip_classification.model.value_histogram import PixelSample, ValueHistogram
from rv_pipeline_chip_classification.scenes.crs import pixel_size_m
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster, finite_or_none
from rv_pipeline_chip_classification.scenes.statistics import (
    ChannelStatistics,
    from_json,
    merge,
    merge_all,
    no_pixels,
    statistics_of,
)
from rv_pipeline_chip_classification.scenes.windows import Window

_log = logging.getLogger(__name__)
_LEAST_PLAUSIBLE = -1e30
_RUN_AGAIN = 'run the command "analyze" of this scene again (--rerun)'

Progress = Callable[[int, int], None]


def statistics_name(scene_id: str) -> str:
    """Name of a scene's statistics under the root."""
    return f"analyze/{scene_id}.json"


def analyze_scene(
    scene: SceneConfig, analyze: AnalyzeConfig, storage: Storage, progress: Progress | None = None
) -> ChannelStatistics:
    """Write the statistics of a scene's valid pixels to `analyze/<scene id>.json`; each block is read once.

    Args:
        scene: the scene; all of its extent counts, whatever its AOI.
        analyze: how much of it is read.
        storage: where the file goes.
        progress: called with (rows done, rows in all).

    Raises:
        DataError: if the image cannot be read.
    """
    with SceneRaster(scene.raster, scene.id) as raster:
        statistics = no_pixels(raster.num_channels)
        box = raster.extent
        sample = PixelSample(raster.num_channels, box.height * box.width)
        for part, pixels in raster.iter_strips(box, _Sample(analyze.sample_fraction)):
            statistics = merge(statistics, statistics_of(pixels.values, pixels.valid))
            sample.add(pixels.values, pixels.valid)
            if progress is not None:
                progress(part.row_end - box.row_off, box.height)
        names, dtype, source = list(raster.channel_names), str(raster.dtype), source_facts(scene, raster)
    histogram = sample.histogram(statistics.minimum, statistics.maximum)
    _tell_of_extremes(scene.id, statistics)
    plain: dict[str, Any] = {
        "scene": scene.id,
        "dtype": dtype,
        "channels": names,
        "source": source,
        **statistics.to_json(),
        "values": None if histogram is None else histogram.to_json(),
    }
    storage.write_text(statistics_name(scene.id), json.dumps(plain, indent=1) + "\n")
    return statistics


def source_facts(scene: SceneConfig, raster: SceneRaster) -> dict[str, Any]:
    """What a model's contract has to know of the files that it is trained on, as plain JSON values."""
    nodata = raster.declared_nodata if scene.raster.nodata is None else finite_or_none(scene.raster.nodata)
    is_finite = all(math.isfinite(number) for pair in raster.scales for number in pair)
    return {
        "file_channels": list(raster.file_channels),
        "num_bands": raster.num_bands,
        "pixel_size_m": pixel_size_m(raster.grid),
        "nodata": nodata,
        "scales": [list(pair) for pair in raster.scales] if is_finite else None,
    }


def _tell_of_extremes(scene_id: str, statistics: ChannelStatistics) -> None:
    """No sensor measures such values: they mark what is no data, and the file does not say so."""
    if statistics.count and statistics.minimum.min() < _LEAST_PLAUSIBLE:
        channel = int(statistics.minimum.argmin())
        _log.warning(
            "scene %s: the minimum of channel %d is %g, which looks like nodata that is not declared; set raster.nodata",
            scene_id,
            channel,
            statistics.minimum[channel],
        )


class _Sample:
    """Chooses a share of the strips, evenly spread and always the first: which part of a strip is wanted."""

    def __init__(self, fraction: float) -> None:
        self._fraction, self._seen = fraction, 0

    def __call__(self, strip: Window) -> Window:
        before = math.ceil(self._seen * self._fraction)
        self._seen += 1
        is_chosen = math.ceil(self._seen * self._fraction) > before
        return strip if is_chosen else strip._replace(height=0)


def read_statistics(storage: Storage, scene_id: str) -> ChannelStatistics:
    """What `analyze` wrote for a scene.

    Raises:
        DataError: if the file is damaged.
        StorageError: if it cannot be read.
    """
    return from_json(_read_plain(storage, scene_id), where=storage.uri(statistics_name(scene_id)))


def read_channel_names(storage: Storage, scene_id: str) -> list[str | None]:
    """What the image of a scene calls its channels, as `analyze` noted it; None for one that it does not describe.

    Raises:
        DataError: if the file is damaged.
        StorageError: if it cannot be read.
    """
    names = _read_plain(storage, scene_id).get("channels")
    if not isinstance(names, list) or not all(name is None or isinstance(name, str) for name in names):
        where = storage.uri(statistics_name(scene_id))
        raise DataError("statistics are damaged", where=where, why="they name no channels", fix=_RUN_AGAIN)
    return names


def read_source_facts(storage: Storage, scene_id: str) -> dict[str, Any]:
    """The `source_facts` of a scene, as `analyze` noted them; empty where an earlier version of rv wrote the file.

    Raises:
        DataError: if the file is damaged.
        StorageError: if it cannot be read.
    """
    plain = _read_plain(storage, scene_id)
    try:
        return _facts_of(mapping_of(plain, "source")) if "source" in plain else {}
    except (KeyError, ValueError) as err:
        where = storage.uri(statistics_name(scene_id))
        raise DataError("statistics are damaged", where=where, why=f"source: {err}", fix=_RUN_AGAIN) from err


def _facts_of(source: dict[str, Any]) -> dict[str, Any]:
    channels = list_of(source, "file_channels", MAX_CHANNELS)
    facts = {
        "file_channels": [
            integer_of({"file_channels": channel}, "file_channels", 0, MAX_BANDS) for channel in channels
        ],
        "num_bands": integer_of(source, "num_bands", 1, MAX_BANDS),
        "pixel_size_m": None if source["pixel_size_m"] is None else number_of(source, "pixel_size_m"),
    }
    if "nodata" in source:
        facts["nodata"] = None if source["nodata"] is None else number_of(source, "nodata")
    if source.get("scales") is not None:
        pairs = list_of(source, "scales", MAX_CHANNELS)
        facts["scales"] = [numbers_of({"scales": pair}, "scales", 2) for pair in pairs]
    return facts


def read_histogram(storage: Storage, scene_id: str) -> ValueHistogram | None:
    """How the values of a scene are distributed, as `analyze` noted it; None where an earlier version wrote the file.

    Raises:
        DataError: if the file is damaged.
        StorageError: if it cannot be read.
    """
    plain = _read_plain(storage, scene_id)
    try:
        histogram = None if plain.get("values") is None else ValueHistogram.from_json(mapping_of(plain, "values"))
        if histogram is not None and histogram.num_channels != len(list_of(plain, "channels", MAX_CHANNELS)):
            raise ValueError("there is not one histogram per channel")
    except (KeyError, ValueError) as err:
        where = storage.uri(statistics_name(scene_id))
        raise DataError("statistics are damaged", where=where, why=f"values: {err}", fix=_RUN_AGAIN) from err
    return histogram


def _read_plain(storage: Storage, scene_id: str) -> dict[str, Any]:
    where = storage.uri(statistics_name(scene_id))
    try:
        plain = json.loads(storage.read_text(statistics_name(scene_id)))
    except (ValueError, RecursionError) as err:
        raise DataError("statistics are damaged", where=where, why=str(err), fix=_RUN_AGAIN) from err
    return plain if isinstance(plain, dict) else {}


def merge_statistics(storage: Storage, scene_ids: Sequence[str]) -> ChannelStatistics:
    """The statistics of some scenes together, from the files of `analyze`.

    Raises:
        DataError: if scenes differ in the number of channels, or no scene has a valid pixel.
    """
    parts = [read_statistics(storage, scene_id) for scene_id in scene_ids]
    counts = {part.num_channels: scene_id for scene_id, part in zip(scene_ids, parts, strict=True)}
    if len(counts) > 1:
        why = ", ".join(f"{scene_id!r} has {count}" for count, scene_id in counts.items())
        raise DataError("training scenes differ in the number of channels", why=why, fix="set channel_order")
    merged = merge_all(parts, next(iter(counts), 0))
    if not merged.count:
        raise DataError("no training scene has a valid pixel", where=", ".join(scene_ids), fix="check nodata")
    return merged
