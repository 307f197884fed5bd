"""Whether the values of each scene's pixels are like those of the training scenes: by a sample of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from rv_core.errors import Finding, RvError
from rv_core.files import uris
from rv_pipeline_chip_classification.checks.cheap import LocatedScene, is_missing
from rv_pipeline_chip_classification.config import ChipClassificationConfig
from rv_pipeline_chip_classification.file_boundary import file_boundary
from rv_pipeline_chip_classification.model.source_fit import drift_in_words, drift_of
from rv_pipeline_chip_classification.model.value_histogram import ValueHistogram, merge_histograms
from rv_pipeline_chip_classification.prediction.value_watch import sample_of
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster

#: Training scenes that are opened for the comparison alone, because nothing of theirs is to do.
_MAX_OPENED = 16
#: Places along each side of an image; each is a request where the image is remote.
_PLACES, _REMOTE_PLACES = 3, 2


@dataclass
class SeenValues:
    """The values of the scenes that were looked at: scene id -> (dotted path, names of channels, pixels, values)."""

    found: dict[str, tuple[str, tuple[str | None, ...], int, ValueHistogram]] = field(default_factory=dict)

    def look_at(self, path: str, raster: SceneRaster, uri: str) -> bool:
        """Sample an open scene, and return whether any pixel of the sample is valid: else it has no values.

        Raises:
            DataError: if pixels cannot be read.
        """
        sample = sample_of(raster, _PLACES if uris.is_local(uris.expand(uri)) else _REMOTE_PLACES)
        if (histogram := sample.histogram()) is not None:
            self.found[raster.scene_id] = (path, raster.channel_names, sample.num_pixels, histogram)
        return histogram is not None


def nothing_valid(path: str) -> Finding:
    """The warning about a scene whose sample holds no valid pixel."""
    what = "no pixel is valid, everywhere that was looked at: all are nodata, masked or not a number"
    return Finding(f"{path}.raster", what, "look at the nodata value and the mask of the image", "warning")


def compare_values(config: ChipClassificationConfig, seen: SeenValues) -> Iterator[Finding]:
    """Warnings about scenes whose values are not those of the (other) training scenes.

    Args:
        config: the config.
        seen: the scenes to do.
    """
    if config.predict.on_drift == "ignore" or not seen.found:
        return
    training = _training_values(config, seen)
    for scene_id, (path, names, _, own) in seen.found.items():
        others = [part for other_id, part in training.items() if other_id != scene_id]
        merged = merge_histograms([part for part in others if part[1].num_channels == own.num_channels])
        drifts = drift_of(merged, own, names) if merged is not None else []
        if notes := [str(drift) for drift in drifts if drift.is_told]:
            what = f"its values are not those of the training scenes: {drift_in_words(notes)}"
            fix = 'bring all images to one scale; predict.on_drift="refuse" makes it an error, "ignore" silences it'
            yield Finding(f"{path}.raster", what, fix, "warning")


def _training_values(config: ChipClassificationConfig, seen: SeenValues) -> dict[str, tuple[int, ValueHistogram]]:
    """Of the training scenes that were looked at, and of some of the others."""
    located = [entry for entry in config.dataset.located_scenes() if entry[1] == "train"]
    unseen = [entry for entry in located if entry[2].id not in seen.found]
    opened = SeenValues()
    for entry in unseen[:: max(1, len(unseen) // _MAX_OPENED)][:_MAX_OPENED]:
        _open(entry, opened)
    every = {**seen.found, **opened.found}
    return {scene.id: every[scene.id][2:] for _, _, scene in located if scene.id in every}


def _open(entry: LocatedScene, opened: SeenValues) -> None:
    """Look at a scene that is not to do; what is wrong with it is said where it is."""
    path, _subset, scene = entry
    if any(is_missing(uri) for uri in scene.raster.uris):
        return
    try:
        with file_boundary("", where=""), SceneRaster(scene.raster, scene.id) as raster:
            opened.look_at(f"dataset.{path}", raster, scene.raster.uris[0])
    except (RvError, OSError):
        return
