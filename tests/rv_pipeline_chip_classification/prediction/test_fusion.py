"""Batch norms folded into convolutions: the same scores, the model untouched, and only where it is exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rv_pipeline_chip_classification.model.backbones import build_model
from rv_pipeline_chip_classification.prediction.classifier import Classifier
from rv_pipeline_chip_classification.prediction.fusion import fused


def settled(model: nn.Module) -> nn.Module:
    """The model in eval mode, every batch norm with statistics and weights of its own."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            shape = module.running_mean.shape
            module.running_mean = torch.randn(shape, generator=generator) * 0.2
            module.running_var = torch.rand(shape, generator=generator) + 0.5
            nn.init.uniform_(module.weight, 0.5, 1.2)
            nn.init.uniform_(module.bias, -0.3, 0.3)
    return model.eval()


def num_norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize("backbone", ["small_cnn", "resnet18", "resnet50"])
def test_scores_are_the_same_and_no_batch_norm_is_left(backbone: str) -> None:
    torch.manual_seed(0)
    model = settled(build_model(backbone, 4, 3))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    folded = fused(model)
    chips = torch.randn(6, 4, 33, 33)
    with torch.inference_mode():
        scores = [torch.softmax(one(chips), 1) for one in (model, folded)]
    torch.testing.assert_close(scores[0], scores[1], rtol=0, atol=1e-5)
    assert num_norms(model) and not num_norms(folded)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


class Skipping(nn.Module):
    """A network of the user's own that does not call its layers in the order of their names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.tail = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, chips: Tensor) -> Tensor:
        """The batch norm comes first."""
        return self.tail(self.conv1(self.bn1(chips)))


class Tapping(Skipping):
    """One that takes what lies between two layers of a sequence."""

    def forward(self, chips: Tensor) -> Tensor:
        """What the convolution of the tail gives counts twice."""
        between = self.tail[0](chips)
        return self.tail[2:](between + self.tail[1](between))


@pytest.mark.parametrize("kind", [Skipping, Tapping])
def test_networks_with_a_forward_of_others_are_left_and_sequences_of_layers_are_folded(kind: type[nn.Module]) -> None:
    model = settled(kind())
    folded = fused(model)
    chips = torch.randn(2, 3, 9, 9)
    with torch.inference_mode():
        torch.testing.assert_close(folded(chips), model(chips), rtol=0, atol=1e-5)
    assert num_norms(folded) == 2
    inside = nn.Sequential(model, nn.Sequential(nn.Unflatten(1, (2, 1, 1)), nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)))
    assert num_norms(fused(settled(inside))) == 2


def test_a_layer_with_two_places_and_one_that_has_no_statistics_are_left() -> None:
    conv = nn.Conv2d(3, 3, 3, padding=1)
    shared = settled(nn.Sequential(conv, nn.BatchNorm2d(3), conv, nn.ReLU()))
    assert num_norms(fused(shared)) == 1
    assert num_norms(fused(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)).eval())) == 1


def test_a_classifier_on_a_cpu_folds_and_leaves_the_model_as_it_is(make_contract: Any, pixels: Any) -> None:
    torch.manual_seed(0)
    model = settled(build_model("small_cnn", 3, 3))
    classifier = Classifier(model, make_contract(), device=torch.device("cpu"))
    chips = np.stack([pixels(16, 16, seed=seed) for seed in range(3)])
    scores = classifier.score(chips, None)
    with torch.inference_mode():
        batch = torch.from_numpy(make_contract().normalization.apply(chips)).permute(0, 3, 1, 2)
        expected = torch.softmax(model(batch), 1).numpy()
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)
    assert num_norms(model) == 5 and num_norms(classifier._model) == 0
