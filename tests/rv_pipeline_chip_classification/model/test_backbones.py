"""Networks: shapes, names, freezing."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from rv_core.errors import ConfigError, TaskError
from rv_pipeline_chip_classification.config_checks import BACKBONES
from rv_pipeline_chip_classification.model.backbones import (
    build_model,
    check_forward,
    first_conv_names,
    head_names,
    seed_everything,
    set_backbone_frozen,
)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize(("channels", "size_px"), [(1, 32), (4, 33), (13, 16)])
def test_every_backbone_takes_any_number_of_channels_and_odd_sizes(backbone: str, channels: int, size_px: int) -> None:
    model = build_model(backbone, channels, 5).eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, channels, size_px, size_px)).shape == (2, 5)


@pytest.mark.parametrize(
    ("backbone", "num_parameters"),
    # The numbers that torchvision's documentation gives for 3 channels and 1000 classes.
    [("resnet18", 11_689_512), ("resnet34", 21_797_672), ("resnet50", 25_557_032)],
)
def test_resnets_have_as_many_parameters_as_those_of_torchvision(backbone: str, num_parameters: int) -> None:
    assert sum(p.numel() for p in build_model(backbone, 3, 1000).parameters()) == num_parameters


def test_resnets_use_the_names_of_torchvision() -> None:
    small, large = build_model("resnet18", 3, 10).state_dict(), build_model("resnet50", 3, 10).state_dict()
    assert len(small) == 122  # as a torchvision checkpoint of ResNet-18
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "fc.bias"} <= set(small)
    assert small["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)
    assert large["layer1.0.downsample.1.weight"].shape == (256,)
    assert large["layer4.2.conv3.weight"].shape == (2048, 512, 1, 1)
    assert "layer1.0.downsample.0.weight" not in small


def test_a_bottleneck_strides_in_its_three_by_three_convolution() -> None:
    block = build_model("resnet50", 3, 10).layer2[0]  # type: ignore[index]
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))


def test_the_same_seed_gives_the_same_weights() -> None:
    states = []
    for seed in (3, 3, 4):
        seed_everything(seed)
        states.append(build_model("small_cnn", 2, 3).state_dict()["conv1.weight"])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@pytest.mark.parametrize("backbone", ["small_cnn", "resnet18"])
def test_a_frozen_backbone_learns_nothing_and_its_head_does(backbone: str) -> None:
    model = build_model(backbone, 3, 2)
    model.train()
    set_backbone_frozen(model, True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.nn.functional.cross_entropy(model(torch.rand(4, 3, 16, 16)), torch.tensor([0, 1, 0, 1])).backward()
    optimizer.step()
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"fc.weight", "fc.bias"}


def test_a_backbone_that_is_freed_learns_again() -> None:
    model = build_model("small_cnn", 3, 2)
    set_backbone_frozen(model, True)
    model.train()
    set_backbone_frozen(model, False)
    assert all(p.requires_grad for p in model.parameters()) and model.training


def test_the_layers_that_depend_on_the_data_are_named() -> None:
    model = build_model("resnet18", 3, 2)
    assert (first_conv_names(model), head_names(model)) == (("conv1",), ("fc",))


def test_several_heads_are_all_heads() -> None:
    model = build_model("small_cnn", 3, 2)
    model.default_cfg = {"classifier": ("fc", "conv5"), "first_conv": "conv1"}  # as timm describes a network
    set_backbone_frozen(model, True)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {"fc.weight", "fc.bias", "conv5.weight"}


def test_a_network_that_takes_the_chips_passes() -> None:
    check_forward(build_model("resnet18", 4, 3), 4, 3, 8)


def test_a_network_for_larger_chips_is_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match="chips of 8 px") as caught:
        check_forward(torch.nn.Sequential(torch.nn.Conv2d(4, 3, 16), torch.nn.Flatten()), 4, 3, 8)
    assert "chip_size_px" in caught.value.block.fix


def test_a_network_that_answers_with_something_else_is_refused() -> None:
    with pytest.raises(ConfigError, match="shape"):
        check_forward(torch.nn.Flatten(), 4, 3, 8)


def test_a_backbone_that_does_not_exist_comes_with_the_near_miss() -> None:
    with pytest.raises(ConfigError, match="resnet19") as caught:
        build_model("resnet19", 3, 2)
    assert "resnet18" in caught.value.block.fix


@pytest.mark.skipif(importlib.util.find_spec("timm") is not None, reason="timm is installed")
def test_a_timm_backbone_without_timm_says_what_to_install() -> None:
    with pytest.raises(TaskError, match="timm") as caught:
        build_model("timm:resnet18", 3, 2)
    assert "[timm]" in caught.value.block.fix


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("import torchvision_of_no_build", "No module named 'torchvision_of_no_build'"),
        ("raise RuntimeError('operator torchvision::nms does not exist')", "torchvision::nms"),
        ("raise OSError('libcudart.so: cannot open shared object file')", "libcudart"),
    ],
)
def test_timm_that_cannot_be_imported_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, problem: str
) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == "timm"]:
        monkeypatch.delitem(sys.modules, module)
    (tmp_path / "timm.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TaskError, match="cannot be imported") as caught:
        build_model("timm:resnet18", 3, 2)
    assert problem in caught.value.block.why and "from the same package index" in caught.value.block.fix


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")
def test_a_timm_backbone_takes_any_number_of_channels() -> None:
    model = build_model("timm:resnet18", 5, 2).eval()
    assert model(torch.zeros(1, 5, 64, 64)).shape == (1, 2)
    with pytest.raises(ConfigError, match="timm model"):
        build_model("timm:resnet1", 3, 2)


def test_features_of_the_surroundings_are_left_out_but_seen() -> None:
    torch.manual_seed(0)
    model = build_model("small_cnn", 2, 3, context_px=32).eval()
    chips = torch.rand(1, 2, 96, 96)
    far, near = chips.clone(), chips.clone()
    far[:, :, :, :16] = 0  # 16 px and more beyond the cell, which begins at 32
    near[:, :, :, 28:32] = 0
    with torch.inference_mode():
        plain = model(chips)
        assert torch.allclose(model(far), plain, atol=1e-6)
        assert not torch.allclose(model(near), plain, atol=1e-4)


@pytest.mark.parametrize("side_px", [8, 9, 16, 24, 33, 64])
def test_a_chip_of_any_size_with_half_of_it_around_has_features_of_its_own(side_px: int) -> None:
    model = build_model("small_cnn", 2, 3, context_px=side_px // 2).eval()
    check_forward(model, 2, 3, side_px + 2 * (side_px // 2))
    with torch.inference_mode():
        assert model(torch.rand(2, 2, side_px * 2, side_px * 2)).isfinite().all()
