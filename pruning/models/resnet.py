"""Residual networks for 32x32 images (He et al., CVPR 2016)."""

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional

from pruning.models import register
from pruning.recipe import Recipe


class SubsampledShortcut(nn.Module):
    """Option A of the paper: every second pixel, new channels of zeros, no weights."""

    def __init__(self, channels: int, filters: int):
        super().__init__()
        before = (filters - channels) // 2
        self.new_channels = (before, filters - channels - before)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, *self.new_channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and what goes round them."""

    def __init__(self, channels: int, filters: int, stride: int,
                 shortcut: Callable[[int, int], nn.Module]):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.downsample = None      # torchvision's name, so that layers have its names
        if stride > 1 or channels != filters:
            self.downsample = shortcut(channels, filters)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


def projected_shortcut(channels: int, filters: int) -> nn.Sequential:
    """Option B of the paper: a 1x1 convolution with stride 2."""
    return nn.Sequential(nn.Conv2d(channels, filters, 1, 2, bias=False),
                         nn.BatchNorm2d(filters))


class ResNet(nn.Module):
    """A 3x3 stem without pooling, stages of basic blocks, mean, one linear layer."""

    def __init__(self, widths: Sequence[int], blocks: int,
                 shortcut: Callable[[int, int], nn.Module], num_classes: int,
                 channels: int = 3):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        channels = widths[0]
        self.stages = []
        for i, filters in enumerate(widths, 1):
            stride = 1 if i == 1 else 2
            stage = nn.Sequential(
                BasicBlock(channels, filters, stride, shortcut),
                *[BasicBlock(filters, filters, 1, shortcut) for _ in range(blocks - 1)])
            self.stages.append(f"layer{i}")
            self.add_module(f"layer{i}", stage)
            channels = filters
        self.fc = nn.Linear(channels, num_classes)
        start_weights(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        for stage in self.stages:
            x = getattr(self, stage)(x)
        return self.fc(x.mean((2, 3)))


def start_weights(model: torch.nn.Module) -> None:
    """He et al.'s normal weights for convolutions, as the paper trains them."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


# The recipes are usual values, not searched for. ResNet-20 is too small to learn by
# heart what it sees, so it gets milder crops and true labels. Two epochs make of its
# rung at energy 0.45, on 5,000 images of the JPEG copy of CIFAR-10 that it never saw,
# 85.3 % without a teacher and 86.3 with one at a learning rate of 0.02, 86.8 at 0.05.
@register("resnet20", recipe=Recipe(epochs=30), rung_lr=0.05)
def resnet20(num_classes: int = 10,
             image_shape: tuple[int, int, int] = (3, 32, 32)) -> ResNet:
    """ResNet-20 of the paper's Section 4.2: 16, 32 and 64 filters, option A."""
    return ResNet((16, 32, 64), 3, SubsampledShortcut, num_classes, image_shape[0])


# The learning rate of its rungs was not tried.
@register("resnet18", rung_lr=0.05,
          recipe=Recipe(epochs=20, lr=0.1, crop=4, label_smoothing=0.1))
def resnet18(num_classes: int = 10,
             image_shape: tuple[int, int, int] = (3, 32, 32)) -> ResNet:
    """ResNet-18 with a 3x3 stem in place of 7x7 and pooling, option B."""
    return ResNet((64, 128, 256, 512), 2, projected_shortcut, num_classes,
                  image_shape[0])
