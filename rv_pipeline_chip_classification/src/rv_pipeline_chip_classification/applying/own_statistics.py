"""Images normalised by the statistics of their own pixels (`rv predict --update-stats`), and what must not be mixed."""

from __future__ import annotations

from dataclasses import replace

from rv_core.errors import UsageError
from rv_pipeline_chip_classification.model.contract import ModelContract
from rv_pipeline_chip_classification.model.normalize import normalization_for
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.scenes.statistics import merge, no_pixels, statistics_of

OWN_STATISTICS = "normalised by the statistics of its own pixels (--update-stats)"


def check_options(contract: ModelContract, on_drift: str, *, updates_stats: bool) -> None:
    """Refuse options that do not go together, or not with the model.

    Raises:
        UsageError: saying which.
    """
    if not updates_stats:
        return
    kind = contract.normalization.kind
    if kind not in ("stats", "minmax"):
        why = "it was trained with scale_to" if kind == "range" else f'it was trained with normalize="{kind}"'
        raise UsageError("--update-stats has no effect on this model: it uses no statistics", why=why)
    if on_drift == "refuse":
        what = "--update-stats and --on-drift refuse contradict each other"
        why = "statistics of its own are for an image whose values differ from those of the training images"
        raise UsageError(what, why=why, fix="leave one of them out")


def by_own_statistics(contract: ModelContract, raster: SceneRaster) -> ModelContract:
    """The contract with the normalisation that the valid pixels of an image give; each block is read once.

    Args:
        contract: of the model; one without pixels to go by keeps its normalisation.
        raster: the open image.

    Raises:
        DataError: if pixels cannot be read.
    """
    statistics = no_pixels(raster.num_channels)
    for _, pixels in raster.iter_strips(raster.extent):
        statistics = merge(statistics, statistics_of(pixels.values, pixels.valid))
    if not statistics.count:
        return contract
    kind = contract.normalization.kind
    return replace(
        contract, normalization=normalization_for(kind, raster.dtype, raster.num_channels, statistics.columns())
    )
