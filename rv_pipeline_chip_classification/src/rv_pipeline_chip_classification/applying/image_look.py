"""An image of the user beside what a bundle was trained on: which channels, which nodata value, what to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rv_pipeline_chip_classification.applying.channel_choice import check_given_order, choose_channels
from rv_pipeline_chip_classification.config import RasterSourceConfig
from rv_pipeline_chip_classification.model.contract import ModelContract, check_image
from rv_pipeline_chip_classification.model.source_fit import header_notes, refuse_drift
from rv_pipeline_chip_classification.prediction.value_watch import sample_of
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster


@dataclass(frozen=True)
class ImageJob:
    """One image, looked at.

    Args:
        image: path or URI.
        stem: of its outputs.
        channels: 0-based channels of the file in the model's order; None is all but alpha.
        nodata: the value that means "no data"; None for what the file declares.
        notes: what the user should know about the image.
        applies_scale: whether its scale and offset tags are applied.
    """

    image: str
    stem: str
    channels: tuple[int, ...] | None
    nodata: float | None
    notes: tuple[str, ...]
    applies_scale: bool = False

    @property
    def source(self) -> RasterSourceConfig:
        """What is opened."""
        return _source(self.image, self.channels, self.nodata, self.applies_scale)


def look_at(
    image: str,
    stem: str,
    contract: ModelContract,
    order: tuple[int, ...] | None,
    nodata: float | None = None,
    *,
    refuses_drift: bool = False,
) -> ImageJob:
    """Open an image's header and decide which of its channels the model sees; of pixels a sample is read for drift.

    Raises:
        DataError: if it cannot be opened, or does not fit the model.
    """
    channels, notes = order, []
    if order is None:
        with SceneRaster(_source(image, None, nodata, contract.apply_scale), stem) as raster:
            notes += [note.text for note in raster.notes]
            names, own, num_bands = raster.channel_names, raster.file_channels, raster.num_bands
        channels, note = choose_channels(contract, names, own, where=image, num_bands=num_bands)
        notes.append(note)
    with SceneRaster(_source(image, channels, nodata, contract.apply_scale), stem) as raster:
        check_image(contract, raster.num_channels, raster.dtype, where=image)
        notes.append(check_given_order(contract, raster.channel_names, raster.band_names, where=image))
        notes += [note.text for note in raster.notes if note.text not in notes]
        notes += header_notes(contract, raster, nodata)
        if refuses_drift:
            refuse_drift(contract, sample_of(raster), where=image, fix="predict with --on-drift warn")
    if nodata is not None and nodata == contract.nodata:
        notes.append(f"pixels of {nodata:g} are no data, as in training (--nodata)")
    return ImageJob(image, stem, channels, nodata, tuple(filter(None, notes)), contract.apply_scale)


def _source(image: str, channels: Sequence[int] | None, nodata: float | None, apply_scale: bool) -> RasterSourceConfig:
    order = None if channels is None else list(channels)
    return RasterSourceConfig(uris=[image], channel_order=order, nodata=nodata, apply_scale=apply_scale)
