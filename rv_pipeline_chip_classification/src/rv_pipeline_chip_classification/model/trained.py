"""A trained model as `train` leaves it and as a bundle holds it: its contract and its weights.

`train/model.json` is the `ModelContract`, `train/model.safetensors` the weights.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rv_core import DataError, Storage
from rv_pipeline_chip_classification.config import ClassConfig
from rv_pipeline_chip_classification.model.contract import ModelContract
from rv_pipeline_chip_classification.model.own_code import digest_of_backbone

if TYPE_CHECKING:
    from torch import nn

_log = logging.getLogger(__name__)

WEIGHTS, CONTRACT = "train/model.safetensors", "train/model.json"


def load_model(contract: ModelContract, weights: Path, *, shown: str = "") -> nn.Module:
    """A trained model in eval mode, on the CPU.

    Args:
        contract: of the model.
        weights: its safetensors file.
        shown: what to call the file in messages; its path when "".

    Raises:
        DataError: if the weights cannot be read or do not fit.
    """
    import torch

    from rv_pipeline_chip_classification.model.backbones import build_model
    from rv_pipeline_chip_classification.model.weights import load_exactly, read_weights

    shown = shown or str(weights)
    # The initial weights are thrown away: torch's global random state stays as it was.
    with torch.random.fork_rng(devices=[]):
        model = build_model(
            contract.backbone, contract.num_channels, contract.num_classes, context_px=contract.context_px
        )
    load_exactly(model, read_weights(weights, shown=shown), shown=shown)
    if contract.backbone_code not in (None, digest_of_backbone(contract.backbone)):
        _log.warning("the code of the backbone %s is not that which the model was trained with", contract.backbone)
    return model.eval()


def read_trained(
    storage: Storage, classes: ClassConfig | None = None, *, backbone: str | None = None
) -> tuple[ModelContract, Path]:
    """The contract of the model under a root, and a local path of its weights.

    Args:
        storage: the root.
        classes: whose colours the contract gets, for the training does not ask for them; None leaves the palette's.
        backbone: the one of the config, where the model is about to be made: a file under a root is not what says which
            code is imported.

    Raises:
        DataError: if the contract is damaged, or names another backbone than the config.
        StorageError: if a file is not there.
    """
    contract = ModelContract.from_text(storage.read_text(CONTRACT), where=storage.uri(CONTRACT))
    if backbone is not None and contract.backbone != backbone:
        raise DataError(
            f"the trained model is a {contract.backbone}, and the config says {backbone}",
            where=storage.uri(CONTRACT),
            why="the file was changed, or put there from another root",
            fix='run the command "train" again (--rerun)',
        )
    if classes is None:
        return contract, storage.input_file(WEIGHTS)
    colors = tuple(classes.color_of(class_id) for class_id in range(contract.num_classes))
    return replace(contract, class_colors=colors), storage.input_file(WEIGHTS)
