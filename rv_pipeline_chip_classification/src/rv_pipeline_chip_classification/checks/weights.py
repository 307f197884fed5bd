"""Whether the weights that a training starts from can be read and fit its network; in the check, before anything runs.

A training that finds out comes after the chips have been cut. Needs torch, so it is part of the deep check alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rv_core.errors import Finding, RvError
from rv_core.files.by_uri import local_copy
from rv_pipeline_chip_classification.checks.cheap import Todo, check_weights_file, is_missing
from rv_pipeline_chip_classification.checks.headers import Header
from rv_pipeline_chip_classification.checks.training_facts import check_own_parts, finding_of
from rv_pipeline_chip_classification.config import ChipClassificationConfig
from rv_pipeline_chip_classification.file_boundary import file_boundary
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.scenes.windows import Window

if TYPE_CHECKING:
    from torch import nn

    from rv_pipeline_chip_classification.pretrained.start import InitialWeights

_INIT, _CARD = "model.init_weights", "model.weights"
#: Pixels of a scene that are looked at to see of which unit they are: so many a side, in the middle.
_SAMPLE_PX = 512


def check_weights(config: ChipClassificationConfig, todo: Todo, header: Header | None) -> Iterator[Finding]:
    """What is wrong with a backbone of the user's own, with `model.weights` and with `model.init_weights`.

    Args:
        config: the config.
        todo: ids of the items to do, by command.
        header: of the first scene that could be opened; None for none, and 3 channels are taken.
    """
    if not todo.get("train") or any(check_own_parts(config)):
        return
    if own := list(_check_own_backbone(config, header)):
        yield from own
        return
    if config.model.weights is not None:
        yield from _check_card(config, config.model.weights, header)
    uri = config.model.init_weights
    if uri is None or is_missing(uri):
        return
    if not _can_build(config):
        yield Finding(_INIT, "was not opened: what builds the network is not installed here", "", "skipped")
        return
    if any(check_weights_file(_INIT, uri)):
        return
    try:
        _initialise(config, uri, header)
    except RvError as err:
        yield finding_of(_INIT, err) if err.block.where.startswith("model.") else _finding(err, uri)


def _can_build(config: ChipClassificationConfig) -> bool:
    names = ["torch", *(["timm"] if config.model.backbone.startswith("timm:") else [])]
    return all(find_spec(name) is not None for name in names)


def _check_own_backbone(config: ChipClassificationConfig, header: Header | None) -> Iterator[Finding]:
    from rv_pipeline_chip_classification.config_checks import own_backbone

    if own_backbone(config.model.backbone) is None or not _can_build(config):
        return
    from rv_pipeline_chip_classification.model.backbones import check_forward

    channels, classes = header.num_channels if header else 3, len(config.classes.names)
    try:
        check_forward(_built(config, header), channels, classes, config.chip.chip_size_px + 2 * config.chip.context_px)
    except RvError as err:
        yield finding_of("model.backbone", err)


def _check_card(config: ChipClassificationConfig, named: str, header: Header | None) -> Iterator[Finding]:
    """Whether the card's bands and unit are those of the images, and its file is what it says and fits."""
    if not _can_build(config):
        yield Finding(_CARD, "was not opened: what builds the network is not installed here", "", "skipped")
        return
    from rv_pipeline_chip_classification.pretrained.start import initialise, open_initial

    try:
        initial = open_initial(named, config.model.backbone, header.names if header else [None] * 3)
        initialise(_built(config, header), initial)
    except RvError as err:
        yield finding_of(_CARD, err)
        return
    for note in initial.match.notes:
        yield Finding(_CARD, note, "", "warning")
    if config.normalize in ("minmax", "none"):
        what = f'normalize="{config.normalize}" gives the network other numbers than those that it was trained on'
        yield Finding("normalize", what, 'set it to "stats", or to "weights"', "warning")
    yield from _check_unit(config, initial)


def _check_unit(config: ChipClassificationConfig, initial: InitialWeights) -> Iterator[Finding]:
    """Pixels from the middle of the first training scene, held against the unit of the card.

    With statistics of the training scenes every linear unit comes to the same, so that it is worth a warning alone.
    """
    from rv_pipeline_chip_classification.pretrained.units import card_columns, unit_misfit

    scene = config.dataset.train_scenes[0]
    if any(is_missing(uri) for uri in scene.raster.uris):
        return
    try:
        with file_boundary("", where=""), SceneRaster(scene.raster, scene.id) as raster:
            pixels = _sample(raster)
            columns = card_columns(initial.card, initial.match, str(raster.dtype), raster.scales)
    except (RvError, OSError):  # said where this scene itself is checked
        return
    if len(pixels) and (why := unit_misfit(columns, pixels.mean(0), pixels.std(0), initial.card)):
        if config.normalize == "weights":
            fix = 'bring the images to the unit of the card, or set normalize to "stats"'
            yield Finding("normalize", f"scene {scene.id!r}: {why}", fix)
        elif config.normalize == "stats":
            fix = 'normalize="stats" brings both to one scale; see that the card is of such images'
            yield Finding(_CARD, f"scene {scene.id!r}: {why}", fix, "warning")


def _sample(raster: SceneRaster) -> NDArray[np.float64]:
    """(N, C) valid pixels from the middle of a scene."""
    box = raster.extent
    height, width = min(_SAMPLE_PX, box.height), min(_SAMPLE_PX, box.width)
    row, col = box.row_off + (box.height - height) // 2, box.col_off + (box.width - width) // 2
    read = raster.read(Window(row, col, height, width))
    pixels = read.values.astype(np.float64)
    valid = np.ones(pixels.shape[:2], bool) if read.valid is None else read.valid
    found: NDArray[np.float64] = pixels[valid]
    return found[np.isfinite(found).all(axis=1)]


def _built(config: ChipClassificationConfig, header: Header | None) -> nn.Module:
    from rv_pipeline_chip_classification.model.backbones import build_model

    return build_model(config.model.backbone, header.num_channels if header else 3, len(config.classes.names))


def _finding(err: RvError, uri: str) -> Finding:
    """One for the file, whatever number of tensors does not fit."""
    block = err.block
    if not block.findings:
        return Finding(_INIT, f"{uri}: {block.what}" + (f" ({block.why})" if block.why else ""), block.fix)
    first, more = block.findings[0], len(block.findings) - 1
    rest = f", and {more} more" if more else ""
    what = f"{uri}: {block.what}: {first.where}: {first.what}{rest}"
    return Finding(_INIT, what, first.fix or block.fix)


def _initialise(config: ChipClassificationConfig, uri: str, header: Header | None) -> None:
    from rv_pipeline_chip_classification.model.weights import initialise_from, read_weights

    initialise_from(_built(config, header), read_weights(local_copy(uri), shown=uri), shown=uri)
