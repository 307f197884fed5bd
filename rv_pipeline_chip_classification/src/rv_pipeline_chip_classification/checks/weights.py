"""Whether the weights that a training starts from can be read and fit its network; in the check, before anything runs.

A training that finds out comes after the chips have been cut. Needs torch, so it is part of the deep check alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from rv_core.errors import Finding, RvError
from rv_core.files.by_uri import local_copy
from rv_pipeline_chip_classification.checks.cheap import Todo, check_weights_file, is_missing
from rv_pipeline_chip_classification.config import ChipClassificationConfig

_WHERE = "model.init_weights"


def check_weights(config: ChipClassificationConfig, todo: Todo, num_channels: int | None) -> Iterator[Finding]:
    """What is wrong with `model.init_weights`.

    Args:
        config: the config.
        todo: ids of the items to do, by command.
        num_channels: of the scenes, as far as one could be opened; None else, and 3 are taken.
    """
    uri = config.model.init_weights
    if not todo.get("train") or uri is None or is_missing(uri):
        return
    if find_spec("torch") is None or (config.model.backbone.startswith("timm:") and find_spec("timm") is None):
        yield Finding(_WHERE, "was not opened: what builds the network is not installed here", "", "skipped")
        return
    if any(check_weights_file(_WHERE, uri)):
        return
    try:
        _initialise(config, uri, num_channels or 3)
    except RvError as err:
        yield _finding(err, uri)


def _finding(err: RvError, uri: str) -> Finding:
    """One for the file, whatever number of tensors does not fit."""
    block = err.block
    if block.where.startswith("model."):
        return Finding(block.where, block.what, block.fix)
    if not block.findings:
        return Finding(_WHERE, f"{uri}: {block.what}" + (f" ({block.why})" if block.why else ""), block.fix)
    first, more = block.findings[0], len(block.findings) - 1
    rest = f", and {more} more" if more else ""
    what = f"{uri}: {block.what}: {first.where}: {first.what}{rest}"
    return Finding(_WHERE, what, first.fix or block.fix)


def _initialise(config: ChipClassificationConfig, uri: str, num_channels: int) -> None:
    from rv_pipeline_chip_classification.model.backbones import build_model
    from rv_pipeline_chip_classification.model.weights import initialise_from, read_weights

    model = build_model(config.model.backbone, num_channels, len(config.classes.names))
    initialise_from(model, read_weights(local_copy(uri), shown=uri), shown=uri)
