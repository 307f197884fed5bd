"""Optimisers, and their state and that of the random numbers as named tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

OptimizerName = Literal["adamw", "adam", "sgd"]
_MOMENTUM = 0.9


def make_optimizer(
    model: nn.Module, name: OptimizerName, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """An optimiser of all parameters; biases and the scales of norms are not decayed.

    Args:
        model: whose parameters it changes.
        name: `adamw` (decay apart from the gradient), `adam` (decay in the gradient) or `sgd` (momentum 0.9).
        learning_rate: to begin with.
        weight_decay: per step, times the learning rate (`adam` and `sgd`: added to the gradient).
    """
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, momentum=_MOMENTUM)
    kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    return kind(groups, lr=learning_rate, fused=True)


def pack_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What the optimiser remembers of each parameter: tensors named `<number of the parameter>.<what>`."""
    return {
        f"{number}.{what}": value
        for number, remembered in optimizer.state_dict()["state"].items()
        for what, value in remembered.items()
        if isinstance(value, Tensor)
    }


def unpack_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `pack_optimizer` gave; the settings of the optimiser stay as they are.

    Raises:
        IndexError, ValueError: if it is not the state of such an optimiser.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, what = name.partition(".")
        parameter = parameters[int(number)]
        if tensor.shape not in ((), parameter.shape):
            raise ValueError(f"the state {name!r} of the optimiser has the shape {tuple(tensor.shape)}")
        state.setdefault(int(number), {})[what] = _laid_out_like(parameter, tensor)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _laid_out_like(parameter: Tensor, tensor: Tensor) -> Tensor:
    """A fused step walks through parameter and state side by side, so they must lie in memory alike."""
    return torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor


def random_states(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's generators, of the CPU and of a GPU that is used."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_states(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Put back what `random_states` gave."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
