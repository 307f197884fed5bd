"""Weights from files of others, and our own."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch

from rv_core.errors import DataError
from rv_pipeline_chip_classification.model.backbones import build_model
from rv_pipeline_chip_classification.model.weights import (
    fit_channels,
    initialise_from,
    load_exactly,
    read_weights,
    save_weights,
)

Tensors = dict[str, torch.Tensor]


@pytest.fixture
def rgb_weights() -> Tensors:
    """Of a ResNet-18 for 3 channels and 7 classes, all numbers different from a fresh one's."""
    return {name: torch.full_like(t, 0.5) for name, t in build_model("resnet18", 3, 7).state_dict().items()}


def _fresh(channels: int, classes: int) -> torch.nn.Module:
    return build_model("resnet18", channels, classes)


def test_weights_of_the_same_network_are_all_taken_over(rgb_weights: Tensors) -> None:
    model = _fresh(3, 7)
    loaded = initialise_from(model, rgb_weights, shown="x")
    assert (loaded.adapted, loaded.left_out) == ((), ())
    assert all(bool((tensor == 0.5).all()) for tensor in model.state_dict().values() if tensor.is_floating_point())


def test_a_head_of_another_size_is_left_out_and_told(rgb_weights: Tensors) -> None:
    model = _fresh(3, 4)
    before = model.state_dict()["fc.weight"].clone()
    assert set(initialise_from(model, rgb_weights, shown="x").left_out) == {"fc.weight", "fc.bias"}
    assert torch.equal(model.state_dict()["fc.weight"], before)
    assert bool((model.state_dict()["layer4.1.conv2.weight"] == 0.5).all())


def test_the_first_convolution_repeats_its_channels_and_keeps_their_sum() -> None:
    weight = torch.rand(8, 3, 7, 7)
    wide = fit_channels(weight, 5)
    assert wide.shape == (8, 5, 7, 7)
    assert torch.allclose(wide[:, 3], weight[:, 0] * 3 / 5) and torch.allclose(wide[:, 1], weight[:, 1] * 3 / 5)
    grey = torch.ones(1, 6, 7, 7)
    assert torch.allclose((fit_channels(weight, 6) * grey).sum((1, 2, 3)), weight.sum((1, 2, 3)), atol=1e-4)
    assert fit_channels(weight, 1).shape == (8, 1, 7, 7)


@pytest.mark.parametrize("channels", [1, 4])
def test_weights_for_another_number_of_channels_are_adapted_and_told(rgb_weights: Tensors, channels: int) -> None:
    model = _fresh(channels, 7)
    assert initialise_from(model, rgb_weights, shown="x").adapted == ("conv1.weight",)
    assert bool((model.state_dict()["conv1.weight"] == 0.5 * 3 / channels).all())


def test_weights_saved_from_several_gpus_have_a_prefix_that_does_not_matter(rgb_weights: Tensors) -> None:
    prefixed = {f"module.{name}": tensor for name, tensor in rgb_weights.items()}
    assert initialise_from(_fresh(3, 7), prefixed, shown="x").left_out == ()


def test_every_tensor_that_does_not_fit_is_named(rgb_weights: Tensors) -> None:
    del rgb_weights["layer1.0.conv1.weight"]
    rgb_weights["layer1.0.conv.weight"] = torch.zeros(1)
    rgb_weights["bn1.weight"] = torch.zeros(3)
    with pytest.raises(DataError, match="do not fit") as caught:
        initialise_from(_fresh(3, 7), rgb_weights, shown="weights.safetensors")
    text = str(caught.value)
    assert "layer1.0.conv1.weight: is missing in the file; it has 'layer1.0.conv.weight'" in text
    assert "layer1.0.conv.weight: is not part of the model" in text
    assert "bn1.weight: has shape (3,) instead of (64,)" in text


def test_weights_of_a_larger_network_are_refused() -> None:
    with pytest.raises(DataError, match="more like these|do not fit"):
        initialise_from(_fresh(3, 7), build_model("resnet34", 3, 7).state_dict(), shown="x")


def test_a_trained_model_must_have_every_tensor_its_head_included(rgb_weights: Tensors) -> None:
    del rgb_weights["fc.bias"]
    with pytest.raises(DataError, match="do not fit") as caught:
        load_exactly(_fresh(3, 7), rgb_weights, shown="x")
    assert "fc.bias" in str(caught.value)


def test_weights_are_written_the_same_every_time_and_read_back(tmp_path: Path) -> None:
    model = _fresh(2, 3).to(memory_format=torch.channels_last)
    for name in ("a", "b"):
        save_weights(model.state_dict(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    other = _fresh(2, 3)
    load_exactly(other, read_weights(tmp_path / "a", shown="a"), shown="a")
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), other.parameters(), strict=True))


def test_weights_can_be_read_by_others(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch(0o644)
    save_weights({"x": torch.zeros(1)}, path)
    assert path.stat().st_mode & 0o044 == 0o044


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("this must never be printed",))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_is_refused_unopened_with_the_remedy(
    tmp_path: Path, protocol: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(_Evil(), protocol))
    with pytest.raises(DataError, match="pickle") as caught:
        read_weights(path, shown="weights.pth")
    assert "weights_only=True" in caught.value.block.fix
    assert capsys.readouterr().out == ""


def test_what_torch_saves_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"  # whatever it is called
    torch.save({"fc.weight": torch.zeros(1)}, path)
    with pytest.raises(DataError, match="pickle"):
        read_weights(path, shown="x")


@pytest.mark.parametrize("cut", [0, 4, 40, -1])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    data = safetensors.torch.save({"fc.weight": torch.zeros(100)})
    path = tmp_path / "w.safetensors"
    path.write_bytes(data[:cut])
    with pytest.raises(DataError, match="no weights that can be read"):
        read_weights(path, shown="x")
