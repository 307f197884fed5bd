"""Weights from and to safetensors files. Pickles run code when they are loaded, so they are refused.

**First convolution for another number of channels.** A file made for C0 channels and a model with C channels: channel
i of the model gets the weights of channel `i mod C0`, and all are multiplied by `C0 / C`, so that the sum over the
channels, and with it the size of the activations, stays what the following layers expect. With RGB weights, channels
that are given in the order red, green, blue, … so keep their own filters. (timm adapts weights by the same rule.)
Where it is known which band each channel is, it gets the filters of that band, and one that the file does not know the
mean of all.

**Head.** The layer of the logits is taken over if it has the model's shape, else left as it was initialised.
Everything else must be there under its name and in its shape.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from rv_core.errors import DataError, Finding, nearest
from rv_pipeline_chip_classification.model.backbones import first_conv_names, head_names
from rv_pipeline_chip_classification.model.bundle_file import WEIGHTS, open_bundle, refuse_pickle

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class LoadedWeights:
    """What was done with a file of weights.

    Args:
        adapted: names of tensors that were fitted to the number of channels.
        left_out: names of tensors in the file that the model has no use for (a head of another size).
    """

    adapted: tuple[str, ...]
    left_out: tuple[str, ...]


def read_weights(path: Path, *, shown: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a model bundle, by name; on the CPU.

    Args:
        path: the file.
        shown: what to call it in messages.

    Raises:
        DataError: if it is a pickle, or damaged, or something else.
    """
    refuse_pickle(path, shown=shown)
    try:
        if zipfile.is_zipfile(path):
            return dict(safetensors.torch.load(open_bundle(path, shown=shown).read(WEIGHTS)))
        return dict(safetensors.torch.load_file(path))
    except (SafetensorError, OSError, ValueError) as err:
        fix = "weights are read from .safetensors files and from model bundles of rv"
        raise DataError("this file holds no weights that can be read", where=shown, why=str(err), fix=fix) from err


def initialise_from(
    model: nn.Module, tensors: Tensors, *, shown: str, columns: Sequence[int | None] | None = None
) -> LoadedWeights:
    """Put weights of another model of this kind into a new one, by the rules above.

    Args:
        model: the new one.
        tensors: the weights by name.
        shown: what to call them in messages.
        columns: for each channel of the model the channel of the weights, or None for one that they do not know; None
            in all goes by position.

    Raises:
        DataError: naming every tensor that is missing or of another shape.
    """
    given = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    # Types of 8 bits know no isfinite of their own.
    odd = next((n for n, t in given.items() if t.is_floating_point() and not bool(t.float().isfinite().all())), None)
    if odd is not None:
        fix = "take weights that are whole"
        raise DataError("weights to start from hold what is no finite number", where=shown, why=f"in {odd!r}", fix=fix)
    own = model.state_dict()
    heads = tuple(f"{name}." for name in head_names(model))
    adapted = []
    for name in (f"{layer}.weight" for layer in first_conv_names(model)):
        if name in given and name in own and _fits_but_for_channels(given[name], own[name], is_by_name=bool(columns)):
            fitted = take_channels(given[name], columns) if columns else fit_channels(given[name], own[name].shape[1])
            if fitted is not None:
                given[name] = fitted
                adapted.append(name)
    left_out = [name for name in given if name.startswith(heads) and not _has_shape(name, given, own)]
    usable = {name: tensor for name, tensor in given.items() if name not in left_out}
    _refuse_misfits(usable, {name: t for name, t in own.items() if not name.startswith(heads)}, own, shown)
    model.load_state_dict(usable, strict=False)
    return LoadedWeights(tuple(adapted), tuple(left_out))


def load_exactly(model: nn.Module, tensors: Tensors, *, shown: str) -> None:
    """Put a trained model's own weights back, every tensor of them.

    Raises:
        DataError: naming every tensor that is missing, unknown or of another shape.
    """
    own = model.state_dict()
    _refuse_misfits(tensors, own, own, shown)
    model.load_state_dict(dict(tensors), strict=True)


def fit_channels(weight: Tensor, num_channels: int) -> Tensor:
    """A convolution's weights for another number of input channels: repeated in order and scaled.

    Args:
        weight: (out, C0, kernel height, kernel width).
        num_channels: C.

    Returns:
        (out, C, kernel height, kernel width).
    """
    num_given = weight.shape[1]
    channels = [channel % num_given for channel in range(num_channels)]
    return weight[:, channels] * (num_given / num_channels)


def take_channels(weight: Tensor, columns: Sequence[int | None]) -> Tensor | None:
    """A convolution's weights for channels that are known by name, scaled as `fit_channels` does.

    Args:
        weight: (out, C0, kernel height, kernel width).
        columns: for each of C channels one of C0, or None for their mean.

    Returns:
        (out, C, kernel height, kernel width), or None where there is nothing to change or a column is not there.
    """
    num_given = weight.shape[1]
    if list(columns) == list(range(num_given)) or any(c is not None and c >= num_given for c in columns):
        return None
    mean = weight.mean(1)
    taken = torch.stack([mean if column is None else weight[:, column] for column in columns], 1)
    return taken * (num_given / len(columns))


def _has_shape(name: str, given: Tensors, own: Tensors) -> bool:
    return name in own and given[name].shape == own[name].shape


def _fits_but_for_channels(given: Tensor, own: Tensor, *, is_by_name: bool) -> bool:
    same = given.ndim == own.ndim and given.shape[:1] + given.shape[2:] == own.shape[:1] + own.shape[2:]
    return same and (is_by_name or given.shape != own.shape) and given.shape[1] > 0


def _refuse_misfits(given: Tensors, needed: Tensors, own: Tensors, shown: str) -> None:
    findings = []
    for name in needed:
        # Counts of batches are of no use to inference and absent from older files.
        if name not in given and not name.endswith("num_batches_tracked"):
            near = nearest(name, set(given) - set(own))
            findings.append(Finding(name, "is missing in the file", f"it has {near!r}" if near else ""))
    for name, tensor in given.items():
        if name not in own:
            findings.append(Finding(name, "is not part of the model"))
        elif tensor.shape != own[name].shape:
            findings.append(Finding(name, f"has shape {tuple(tensor.shape)} instead of {tuple(own[name].shape)}"))
        elif tensor.is_floating_point() != own[name].is_floating_point():
            findings.append(Finding(name, f"holds {tensor.dtype} instead of {own[name].dtype}"))
    if findings:
        rest = len(findings) - 20
        why = f"{rest} more like these" if rest > 0 else ""
        fix = "take weights of the same backbone, or change model.backbone"
        raise DataError("the weights do not fit the model", where=shown, why=why, findings=findings[:20], fix=fix)


def save_weights(model_state: Tensors, path: Path) -> None:
    """Write tensors to a safetensors file: the same tensors give the same bytes."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in model_state.items()}
    # save_file would make a file of its own that only its owner may read.
    path.write_bytes(safetensors.torch.save(plain))
