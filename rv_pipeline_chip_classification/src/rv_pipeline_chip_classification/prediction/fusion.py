"""Batch norms folded into the convolutions before them: fewer passes over the pixels, and the same scores.

In inference a batch norm is an affine map per channel, and the convolution before it can take it in: its weights are
scaled, and a bias is added after the padding, so that borders are exact too. What is folded is known by construction:
the blocks of this package (`conv1` and `bn1`, …) and plain `nn.Sequential`s, in which one follows the other, as long as all
that they are in is one of these too: a forward of somebody else may take what lies between two layers of a sequence.

The normalisation of the pixels is not folded into the first convolution: its shift would be missing from the zeros
that this convolution pads with, and from pixels without data.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from rv_pipeline_chip_classification.model.backbones import BasicBlock, Bottleneck, ResNet, SmallCnn

_OURS = (BasicBlock, Bottleneck, ResNet, SmallCnn)


def fused(model: nn.Module) -> nn.Module:
    """A copy of a network for inference, its batch norms folded where that is exact; itself where there is none to fold.

    Args:
        model: in eval mode; it is not changed.
    """
    if next(_pairs(model), None) is None:
        return model
    copied = copy.deepcopy(model)
    uses = _uses(copied)
    for parent, conv_name, norm_name in list(_pairs(copied)):
        conv, norm = getattr(parent, conv_name), getattr(parent, norm_name)
        if norm.running_mean is not None and not norm.training and uses[conv] == uses[norm] == 1:
            setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
            setattr(parent, norm_name, nn.Identity())
    return copied


def _pairs(model: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """(module, name of a convolution in it, name of the batch norm that follows)."""
    for parent in _known(model, set()):
        children = list(parent.named_children())
        if type(parent) in _OURS:
            names = [(f"conv{number}", f"bn{number}") for number in range(1, 6)]
        else:
            names = [(one, other) for (one, _), (other, _) in pairwise(children)]
        kinds = dict(children)
        for conv_name, norm_name in names:
            if type(kinds.get(conv_name)) is nn.Conv2d and type(kinds.get(norm_name)) is nn.BatchNorm2d:
                yield parent, conv_name, norm_name


def _known(module: nn.Module, seen: set[nn.Module]) -> Iterator[nn.Module]:
    """The modules whose forward is known, and so is that of all that they are in; each once."""
    if module in seen or type(module) not in (*_OURS, nn.Sequential):
        return
    seen.add(module)
    yield module
    for child in module.children():
        yield from _known(child, seen)


def _uses(model: nn.Module) -> dict[nn.Module, int]:
    """How many places each module has: one that is shared cannot take in what follows one of them."""
    counts: dict[nn.Module, int] = {}
    for parent in model.modules():
        for child in parent._modules.values():
            if child is not None:
                counts[child] = counts.get(child, 0) + 1
    return counts
