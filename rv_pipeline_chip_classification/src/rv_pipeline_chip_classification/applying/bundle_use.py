"""The bundle of an `ApplyConfig` as it is used: opened, judged against the config, and its images looked at."""

from __future__ import annotations

from collections.abc import Iterator

from rv_core.errors import Finding, RvError
from rv_core.files.by_uri import local_copy
from rv_pipeline_chip_classification.applying.config import ApplyConfig, ImageConfig
from rv_pipeline_chip_classification.applying.image_look import ImageJob, look_at
from rv_pipeline_chip_classification.applying.own_statistics import check_options
from rv_pipeline_chip_classification.config_parts import check_overlap
from rv_pipeline_chip_classification.model.bundle_file import Bundle, open_bundle
from rv_pipeline_chip_classification.model.contract import ModelContract
from rv_pipeline_chip_classification.model.own_code import refuse_unnamed_code

#: What errors of images call the options of `rv predict` -> what the fields of the config are called.
_OPTIONS = {
    "--channel-order": "channel_order",
    "--nodata": "nodata",
    "--on-drift": "on_drift",
    "--update-stats": "update_stats",
    "--backbone": "backbone",
}


def in_config_words(text: str) -> str:
    """A message of `rv predict` for whoever writes a config: fields instead of options."""
    for option, field in _OPTIONS.items():
        text = text.replace(option, field)
    return text


def bundle_of(config: ApplyConfig) -> Bundle:
    """The opened bundle; a remote one is fetched once.

    Raises:
        DataError: if it is none.
        UsageError: if it wants code that the config does not name.
    """
    bundle = open_bundle(local_copy(config.bundle), shown=config.bundle)
    refuse_unnamed_code(bundle.contract.backbone, config.backbone, where=config.bundle)
    return bundle


def misfits(config: ApplyConfig, bundle: Bundle) -> Iterator[Finding]:
    """What of the config has no effect on this model."""
    try:
        check_options(bundle.contract, config.on_drift, updates_stats=config.update_stats)
    except RvError as err:
        yield Finding("update_stats", in_config_words(err.one_line()), "leave it out")
    yield from check_overlap("overlap", config.overlap, bundle.contract.cell_size_px, step_px(bundle, config.stride_px))


def step_px(bundle: Bundle, stride_px: int | None) -> int:
    """The step between cells that is asked for, else that of the bundle, else the size of a cell."""
    return stride_px or bundle.stride_px or bundle.contract.cell_size_px


def look_at_image(config: ApplyConfig, image: ImageConfig, contract: ModelContract) -> ImageJob:
    """An image beside the bundle's contract: its channels, what is no data, what to know.

    Raises:
        DataError: if it cannot be opened, or does not fit the model.
    """
    nodata = (
        {"training": contract.nodata, "none": None}.get(config.nodata)
        if isinstance(config.nodata, str)
        else config.nodata
    )
    order = None if config.channel_order is None else tuple(config.channel_order)
    return look_at(image.uri, image.id, contract, order, nodata, refuses_drift=config.on_drift == "refuse")
