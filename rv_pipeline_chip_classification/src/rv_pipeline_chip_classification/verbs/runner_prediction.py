"""`rv predict … --runner NAME`: the pipeline that applies a bundle, from the options of `rv predict`."""

from __future__ import annotations

from typing import Literal

from rv_core import api
from rv_core.machine.cores import available_cores
from rv_pipeline_chip_classification.applying.config import FOLDER, ApplyConfig, ImageConfig
from rv_pipeline_chip_classification.applying.image_list import expand_lists, stems_of
from rv_pipeline_chip_classification.verbs.image_prediction import (
    PredictionRequest,
    parse_channel_order,
    parse_nodata,
)


def predict_on_runner(
    request: PredictionRequest, runner: str, num_tasks: int | None, *, profile: str | None, is_quiet: bool
) -> int:
    """Map the images of a request as a run whose root is the output: split, resumed, watched by `rv status`.

    Args:
        request: what the command line asks for.
        runner: the runner's name.
        num_tasks: into how many tasks the images are split at most, and how many run at once where the runner works on
            this machine; None for one per core of it.
        profile: the profile of the settings; None for the default one.
        is_quiet: print failures only.

    Returns:
        The exit code of `rv run`.

    Raises:
        RvError: as `rv_core.api.run`.
    """
    splits = num_tasks or available_cores()
    result = api.run(apply_config(request), runner, splits=splits, jobs=num_tasks, profile=profile, quiet=is_quiet)
    return result.exit_code


def apply_config(request: PredictionRequest) -> ApplyConfig:
    """The config that has the same files written as the request.

    Raises:
        UsageError: if the command line does not go together.
    """
    images = expand_lists(request.images)
    stems = stems_of(images, f"{request.output}/{FOLDER}")
    order, answers = parse_channel_order(request.channel_order), request.answers
    return ApplyConfig(
        root_uri=request.output,
        bundle=request.bundle,
        images=[ImageConfig(id=stem, uri=image) for image, stem in zip(images, stems, strict=True)],
        channel_order=None if order is None else list(order),
        nodata=_nodata(request.nodata),
        stride_px=request.stride_px,
        batch_size=request.batch_size,
        write_geotiff=request.write_geotiff,
        on_drift=request.on_drift,
        abstain_below=answers.abstain_below,
        scores="logits" if answers.gives_logits else "probabilities",
        augment="d4" if answers.averages_symmetries else "none",
        overlap="average" if answers.averages_overlaps else "separate",
        smooth=answers.smooth,
        precision=answers.precision,
        vector=request.vector,
        update_stats=request.updates_stats,
        backbone=request.backbone,
    )


def _nodata(text: str | None) -> float | Literal["training", "none"]:
    if text is None:
        return "training"
    value = parse_nodata(text)
    return "none" if value is None else value
