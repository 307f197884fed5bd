"""Learning rates and optimisers."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from rv_pipeline_chip_classification.model.backbones import build_model
from rv_pipeline_chip_classification.training.optimizers import make_optimizer, pack_optimizer, unpack_optimizer
from rv_pipeline_chip_classification.training.schedule import learning_rate_at, plateaus_passed


def _curve(schedule: str, num_steps: int = 100) -> list[float]:
    return [learning_rate_at(s, num_steps=num_steps, peak=0.1, schedule=schedule) for s in range(num_steps)]  # type: ignore[arg-type]


def test_one_cycle_rises_for_a_quarter_and_falls_to_nothing() -> None:
    rates = _curve("one_cycle")
    assert max(rates) == rates[24] == pytest.approx(0.1)
    assert rates[0] < 0.01
    assert all(a < b for a, b in pairwise(rates[:25])) and all(a > b for a, b in pairwise(rates[24:]))
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_cosine_warms_up_shortly_and_is_at_half_the_peak_in_the_middle() -> None:
    rates = _curve("cosine")
    assert rates[4] == pytest.approx(0.1) and rates[0] == pytest.approx(0.02)
    assert rates[51] == pytest.approx(0.05, abs=0.002)
    assert rates[-1] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("schedule", ["constant", "multi_step", "plateau"])
def test_constant_stays_and_what_drops_does_so_from_there(schedule: str) -> None:
    assert set(_curve(schedule)) == {0.1}


def test_a_plateau_is_so_many_epochs_in_a_row_without_a_better_one() -> None:
    scores = [0.1, 0.3, 0.3, 0.2, 0.4, 0.1, 0.1, 0.4, 0.1, 0.5]
    assert [plateaus_passed(scores[:end], 2) for end in range(11)] == [0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3]
    assert plateaus_passed(scores, 4) == 1 and plateaus_passed(scores, 5) == 0


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "constant"])
def test_a_training_of_a_single_step_has_a_rate(schedule: str) -> None:
    assert _curve(schedule, 1) == [pytest.approx(0.1)]


def _step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    torch.manual_seed(seed)
    optimizer.zero_grad()
    model(torch.rand(4, 2, 16, 16).contiguous(memory_format=torch.channels_last)).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_an_optimizer_goes_on_from_its_state_bit_for_bit(name: str) -> None:
    finals = []
    for is_interrupted in (False, True):
        torch.manual_seed(0)
        model = build_model("small_cnn", 2, 3).to(memory_format=torch.channels_last).eval()
        optimizer = make_optimizer(model, name, 0.01, 0.1)  # type: ignore[arg-type]
        _step(model, optimizer, 1)
        if is_interrupted:
            state = {key: tensor.clone().contiguous() for key, tensor in pack_optimizer(optimizer).items()}
            optimizer = make_optimizer(model, name, 0.01, 0.1)  # type: ignore[arg-type]
            unpack_optimizer(optimizer, state)
        _step(model, optimizer, 2)
        _step(model, optimizer, 3)
        finals.append([p.detach().clone() for p in model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*finals, strict=True))


def test_biases_and_norms_are_not_decayed() -> None:
    model = build_model("small_cnn", 2, 3)
    optimizer = make_optimizer(model, "adamw", 0.1, 0.5)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer.step()
    shrunk = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert shrunk == {name for name in before if name.endswith("weight") and before[name].ndim > 1}
