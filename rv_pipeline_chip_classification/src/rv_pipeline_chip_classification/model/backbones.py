"""Networks that classify chips of any size and any number of channels.

The ResNets are those of He et al. 2016 (https://arxiv.org/abs/1512.03385) as torchvision builds them (stride in the
3x3 convolution of a bottleneck), with the same names in their state_dict, so that its weights fit; only the first
convolution and the head depend on the data. `timm:<name>` builds any network of timm, if that is installed, and
`module:callable` calls a function of the user's own.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import torch
from torch import Tensor, nn

from rv_core.errors import ConfigError, TaskError, unknown_name
from rv_pipeline_chip_classification.config_checks import check_backbone, own_backbone
from rv_pipeline_chip_classification.model.own_code import code_digest

SMALL_CNN_WIDTH = 32


def build_model(backbone: str, num_channels: int, num_classes: int, *, context_px: int = 0) -> nn.Module:
    """A freshly initialised network, from torch's global random state.

    Args:
        backbone: `small_cnn`, `resnet18`, `resnet34`, `resnet50`, `timm:<name>` or `module:callable`.
        num_channels: C of the chips.
        num_classes: number of logits.
        context_px: pixels of the chips on every side of what they are classified by; `small_cnn` takes its features
            from the middle, others from all that they see.

    Returns:
        A module from (B, C, H, W) float32 to (B, num_classes) logits.

    Raises:
        ConfigError: if there is no such network, or what the user's own callable gives is none.
        TaskError: if timm is needed and not installed.
    """
    if backbone.startswith("timm:"):
        return _build_timm(backbone.removeprefix("timm:"), num_channels, num_classes)
    if own := own_backbone(backbone):
        return _build_own(*own, num_channels, num_classes)
    if backbone not in _BUILDERS:
        what, fix = unknown_name("backbone", backbone, [*_BUILDERS, "timm:<name>"])
        raise ConfigError(what, where="model.backbone", fix=fix)
    if backbone == "small_cnn":
        return SmallCnn(num_channels, num_classes, context_px=context_px)
    return _BUILDERS[backbone](num_channels, num_classes)


def seed_everything(seed: int) -> None:
    """Set torch's global random state, of which initial weights and dropout are drawn."""
    torch.manual_seed(seed)


def head_names(model: nn.Module) -> tuple[str, ...]:
    """Names of the layers that make the logits, the only ones that depend on the number of classes."""
    return _names_in(model, "classifier", "fc", nn.Linear, last=True)


def first_conv_names(model: nn.Module) -> tuple[str, ...]:
    """Names of the layers that see the pixels, the only ones that depend on the number of channels."""
    return _names_in(model, "first_conv", "conv1", nn.Conv2d, last=False)


def _names_in(model: nn.Module, key: str, ours: str, kind: type[nn.Module], *, last: bool) -> tuple[str, ...]:
    """What timm says about a model of its own (a name or several), our name, or the first or last layer of a kind."""
    config = getattr(model, "default_cfg", {})
    names: str | tuple[str, ...] = (config.get(key) if isinstance(config, dict) else None) or ours
    if names == ours and not hasattr(model, ours):
        found = [name for name, module in model.named_modules() if isinstance(module, kind)]
        names = found[-1 if last else 0] if found else ours
    return (names,) if isinstance(names, str) else tuple(names)


def check_forward(model: nn.Module, num_channels: int, num_classes: int, size_px: int) -> None:
    """Send empty chips through a network, so that one that cannot be trained on them is refused before it is.

    Raises:
        ConfigError: if it does not take chips of this size, or does not answer with one row of logits per chip.
    """
    try:
        with torch.inference_mode():
            logits = model.eval()(torch.zeros(2, num_channels, size_px, size_px))
        shape = tuple(logits.shape)
    except (RuntimeError, AssertionError, ValueError, AttributeError) as err:
        raise ConfigError(
            f"the backbone does not take chips of {size_px} px",
            where="model.backbone",
            why=str(err)[:300],
            fix="use larger chips (chip.chip_size_px) or another backbone",
        ) from err
    if shape != (2, num_classes):
        what = f"the backbone answers two chips with an array of shape {shape} instead of {(2, num_classes)}"
        raise ConfigError(what, where="model.backbone", fix="use another backbone")


def set_backbone_frozen(model: nn.Module, frozen: bool) -> None:
    """Freeze or free everything but the head. Call after `model.train()`: frozen, it also stops tracking statistics."""
    prefixes = tuple(f"{name}." for name in head_names(model))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not frozen or name.startswith(prefixes))
    if frozen:
        model.eval()


class SmallCnn(nn.Module):
    """Five 3x3 convolutions and a head on the mean and the spread of each feature over the chip.

    The spread is what tells textures apart, so that a small network is enough for land cover; chips from 8 px. Features
    of the surroundings are left out of both: those of the cell have seen up to 13 px beyond it, and taken together a cell would
    be told by its neighbours.
    """

    def __init__(
        self, num_channels: int, num_classes: int, width: int = SMALL_CNN_WIDTH, *, context_px: int = 0
    ) -> None:
        super().__init__()
        self.context_px = context_px
        self.conv1 = _conv(num_channels, width, 3, stride=2)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, 2 * width, 3, stride=2)
        self.bn3 = nn.BatchNorm2d(2 * width)
        self.conv4 = _conv(2 * width, 2 * width, 3)
        self.bn4 = nn.BatchNorm2d(2 * width)
        self.conv5 = _conv(2 * width, 4 * width, 3, stride=2)
        self.bn5 = nn.BatchNorm2d(4 * width)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(8 * width, num_classes)
        _initialise(self)

    def forward(self, chips: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K) logits."""
        x = torch.relu_(self.bn1(self.conv1(chips)))
        x = torch.relu_(self.bn2(self.conv2(x)))
        x = torch.relu_(self.bn3(self.conv3(x)))
        x = torch.relu_(self.bn4(self.conv4(x)))
        x = torch.relu_(self.bn5(self.conv5(x)))
        if self.context_px:
            top, left = (
                round(features * self.context_px / pixels)
                for features, pixels in zip(x.shape[2:], chips.shape[2:], strict=True)
            )
            x = x[:, :, top : x.shape[2] - top, left : x.shape[3] - left]
        mean = x.mean((2, 3))
        spread = (x.var((2, 3), correction=0) + 1e-5).sqrt()
        logits: Tensor = self.fc(self.dropout(torch.cat([mean, spread], 1)))
        return logits


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut; the block of ResNet-18 and -34."""

    expansion = 1

    def __init__(self, num_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(num_in, width, 3, stride=stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(num_in, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, num_in, H, W) -> (B, width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = torch.relu_(self.bn1(self.conv1(x)))
        return torch.relu_(self.bn2(self.conv2(x)).add_(shortcut))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with a shortcut; the block of ResNet-50."""

    expansion = 4

    def __init__(self, num_in: int, width: int, stride: int) -> None:
        super().__init__()
        num_out = width * self.expansion
        self.conv1 = _conv(num_in, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, stride=stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, num_out, 1)
        self.bn3 = nn.BatchNorm2d(num_out)
        self.downsample = _shortcut(num_in, num_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, num_in, H, W) -> (B, 4 * width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = torch.relu_(self.bn1(self.conv1(x)))
        x = torch.relu_(self.bn2(self.conv2(x)))
        return torch.relu_(self.bn3(self.conv3(x)).add_(shortcut))


class ResNet(nn.Module):
    """A ResNet with torchvision's names: conv1, bn1, layer1 … layer4, fc.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        depths: number of blocks in each of the four layers.
        num_channels: C of the chips.
        num_classes: number of logits.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: tuple[int, int, int, int],
        num_channels: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        self.conv1 = _conv(num_channels, 64, 7, stride=2)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _layer(block, 64, 64, depths[0], stride=1)
        self.layer2 = _layer(block, 64 * block.expansion, 128, depths[1], stride=2)
        self.layer3 = _layer(block, 128 * block.expansion, 256, depths[2], stride=2)
        self.layer4 = _layer(block, 256 * block.expansion, 512, depths[3], stride=2)
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        _initialise(self)

    def forward(self, chips: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K) logits."""
        x = self.maxpool(torch.relu_(self.bn1(self.conv1(chips))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def _conv(num_in: int, num_out: int, kernel_px: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(num_in, num_out, kernel_px, stride=stride, padding=kernel_px // 2, bias=False)


def _shortcut(num_in: int, num_out: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and num_in == num_out:
        return None
    return nn.Sequential(_conv(num_in, num_out, 1, stride=stride), nn.BatchNorm2d(num_out))


def _layer(
    block: type[BasicBlock] | type[Bottleneck], num_in: int, width: int, depth: int, *, stride: int
) -> nn.Sequential:
    blocks = [block(num_in, width, stride)]
    blocks += [block(width * block.expansion, width, 1) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)


def _initialise(model: nn.Module) -> None:
    """He et al. 2015 (https://arxiv.org/abs/1502.01852), by the number of outputs, as torchvision does."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _build_timm(name: str, num_channels: int, num_classes: int) -> nn.Module:
    try:
        import timm
    except Exception as err:  # it imports torchvision, of which another build than torch's fails as it likes
        raise _timm_problem(name, err) from err
    if not timm.is_model(name):
        what, fix = unknown_name("timm model", name, timm.list_models())
        raise ConfigError(what, where="model.backbone", fix=fix)
    # pretrained=False: no command goes to the network for weights; init_weights names them.
    model: nn.Module = timm.create_model(name, pretrained=False, in_chans=num_channels, num_classes=num_classes)
    return model


def _timm_problem(name: str, err: Exception) -> TaskError:
    others = ", or choose one of: " + ", ".join(_BUILDERS)
    if isinstance(err, ModuleNotFoundError) and err.name == "timm":
        what = f"the backbone 'timm:{name}' needs timm, which is not installed here"
        return TaskError(
            what, where="model.backbone", fix="pip install 'rv-pipeline-chip-classification[timm]'" + others
        )
    return TaskError(
        f"the backbone 'timm:{name}' needs timm, which is installed and cannot be imported",
        where="model.backbone",
        why=f"{type(err).__name__}: {str(err)[:300]}",
        fix="install torch and torchvision from the same package index, both with CUDA or both without" + others,
    )


def _build_own(module: str, name: str, num_channels: int, num_classes: int) -> nn.Module:
    where, own = "model.backbone", f"{module}:{name}"
    for finding in check_backbone(own):  # a bundle names it too, and that may come from anybody
        raise ConfigError(finding.what, where=where, fix=finding.fix)
    code_digest(module)  # tells what to do where there is no such module
    try:
        build = getattr(import_module(module), name, None)
        model = build(num_channels, num_classes) if callable(build) else None
    except Exception as err:  # the user's own code
        why = f"{type(err).__name__}: {str(err)[:300]}"
        raise ConfigError(f"the backbone {own} cannot be built", where=where, why=why, fix="correct that code") from err
    if not callable(build):
        what, fix = unknown_name("callable", name, [n for n, v in vars(import_module(module)).items() if callable(v)])
        raise ConfigError(f"{module}: {what}", where=where, fix=fix)
    if not isinstance(model, nn.Module):
        what = f"the backbone {own} gave {type(model).__name__} and no torch.nn.Module"
        fix = f"let {name}(num_channels, num_classes) return the network"
        raise ConfigError(what, where=where, fix=fix)
    return model


_BUILDERS: dict[str, Callable[[int, int], nn.Module]] = {
    "small_cnn": SmallCnn,
    "resnet18": lambda channels, classes: ResNet(BasicBlock, (2, 2, 2, 2), channels, classes),
    "resnet34": lambda channels, classes: ResNet(BasicBlock, (3, 4, 6, 3), channels, classes),
    "resnet50": lambda channels, classes: ResNet(Bottleneck, (3, 4, 6, 3), channels, classes),
}
