"""A new model that starts from the weights of a card. Needs torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rv_core.errors import DataError
from rv_pipeline_chip_classification.model.backbones import first_conv_names
from rv_pipeline_chip_classification.model.weights import LoadedWeights, initialise_from, read_weights
from rv_pipeline_chip_classification.pretrained.bands import BandMatch, match_bands
from rv_pipeline_chip_classification.pretrained.card import WeightCard, check_architecture
from rv_pipeline_chip_classification.pretrained.store import fetch, find_card, sha256_of

_SAFETENSORS = ".safetensors"


@dataclass(frozen=True)
class InitialWeights:
    """What a training starts from.

    Args:
        card: the card.
        path: its file, which is what the card says.
        match: which band each channel of the images is.
    """

    card: WeightCard
    path: Path
    match: BandMatch

    def record(self) -> dict[str, str]:
        """What a bundle says of it: name of the card, SHA-256 of the file, licence."""
        return {"card": self.card.name, "sha256": sha256_of(self.path), "licence": self.card.licence}


def open_initial(named: str, backbone: str, channels: Sequence[str | None]) -> InitialWeights:
    """The weights that a card names, here and checked, and how they go with the channels of the images.

    Args:
        named: name or URI of the card.
        backbone: of the config.
        channels: names of the images' channels in the model's order.

    Raises:
        ConfigError: if the card is of another backbone.
        DataError: if there is no such card, its file is another one, or the bands do not fit.
        StorageError: if something cannot be read.
    """
    card = find_card(named)
    check_architecture(card, backbone)
    match = match_bands(card, channels)
    return InitialWeights(card, fetch(card), match)


def initialise(model: nn.Module, initial: InitialWeights) -> LoadedWeights:
    """Put the weights of a card into a model.

    Raises:
        DataError: if they do not fit it, or the file holds no weights.
    """
    tensors = read_tensors(initial.card, initial.path)
    for layer in first_conv_names(model):
        weight = tensors.get(f"{layer}.weight")
        if weight is not None and weight.ndim == 4 and weight.shape[1] != len(initial.card.bands):
            what = (
                f"card {initial.card.name!r} names {len(initial.card.bands)} bands, and {layer} sees {weight.shape[1]}"
            )
            raise DataError(what, where=initial.card.file, fix="correct the bands of the card")
    return initialise_from(model, tensors, shown=initial.card.file, columns=initial.match.columns)


def read_tensors(card: WeightCard, path: Path) -> dict[str, Tensor]:
    """The tensors of a card's file by the names that they have in the network.

    A file of torch is unpickled by torch's reader of tensors alone (`weights_only`), and only because its digest is
    that of the card.

    Raises:
        DataError: if it holds no tensors, or not where the card says.
    """
    if path.suffix == _SAFETENSORS:
        found: Any = read_weights(path, shown=card.file)
    else:
        found = _load(card, path)
    for key in card.tensors_key.split("/") if card.tensors_key else ():
        found = found.get(key) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping):
        raise _no_tensors(
            card, f"there is nothing under {card.tensors_key!r}" if card.tensors_key else "it is no table"
        )
    tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    if card.name_prefix:
        prefixed = {name: tensor for name, tensor in tensors.items() if name.startswith(card.name_prefix)}
        tensors = {name.removeprefix(card.name_prefix): tensor for name, tensor in prefixed.items()}
    if not tensors:
        raise _no_tensors(
            card, f"no name in it begins with {card.name_prefix!r}" if card.name_prefix else "it is empty"
        )
    return tensors


def _load(card: WeightCard, path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as err:  # a damaged pickle raises whatever it likes
        why = f"{type(err).__name__}: {str(err)[:300]}"
        fix = "torch reads tensors alone (weights_only): ask for the weights as .safetensors"
        raise DataError("this file holds no weights that can be read", where=card.file, why=why, fix=fix) from err


def _no_tensors(card: WeightCard, why: str) -> DataError:
    fix = "correct tensors_key or name_prefix of the card"
    return DataError("this file holds no weights that can be read", where=card.file, why=why, fix=fix)
