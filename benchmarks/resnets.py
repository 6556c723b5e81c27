"""Residual networks in torch, with random weights, to time the oracle on.

Names of modules are those of the zoo, so that the traced network is the zoo's.
"""

from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """Two 3x3 convolutions, or 1x1 - 3x3 - 1x1 when ``wide`` is more than 1."""

    def __init__(self, inputs, planes, stride, wide, project):
        super().__init__()
        outputs = planes * wide
        if wide == 1:
            shapes = [(inputs, planes, 3, stride), (planes, planes, 3, 1)]
        else:
            shapes = [(inputs, planes, 1, 1), (planes, planes, 3, stride),
                      (planes, outputs, 1, 1)]
        self.steps = len(shapes)
        for place, (before, after, size, step) in enumerate(shapes, 1):
            setattr(self, f"conv{place}", nn.Conv2d(
                before, after, size, step, size // 2, bias=False))
            setattr(self, f"bn{place}", nn.BatchNorm2d(after))
        self.stride, self.added = stride, outputs - inputs
        self.downsample = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False),
            nn.BatchNorm2d(outputs)) if project and (stride > 1 or self.added) else None

    def forward(self, x):
        y = x
        for place in range(1, self.steps + 1):
            y = getattr(self, f"bn{place}")(getattr(self, f"conv{place}")(y))
            if place < self.steps:
                y = F.relu(y)
        if self.downsample is not None:
            x = self.downsample(x)
        elif self.stride > 1 or self.added:
            # He et al. 2016, option A: no weights, missing channels are zero.
            x = F.pad(x[:, :, ::self.stride, ::self.stride],
                      (0, 0, 0, 0, self.added // 2, self.added - self.added // 2))
        return F.relu(y + x)


class ResNet(nn.Module):
    """Stem, stages of blocks, pooling, one linear layer."""

    def __init__(self, blocks, planes, classes, wide=1, imagenet=True):
        super().__init__()
        width = planes[0]
        size, stride = (7, 2) if imagenet else (3, 1)
        self.conv1 = nn.Conv2d(3, width, size, stride, size // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(3, 2, 1) if imagenet else nn.Identity()
        self.stages = len(blocks)
        for stage, (count, plane) in enumerate(zip(blocks, planes, strict=True), 1):
            layers = []
            for place in range(count):
                step = 2 if place == 0 and stage > 1 else 1
                layers.append(Block(width, plane, step, wide, project=imagenet))
                width = plane * wide
            setattr(self, f"layer{stage}", nn.Sequential(*layers))
        self.fc = nn.Linear(width, classes)

    def forward(self, x):
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def resnet20():
    """ResNet-20 for CIFAR-10."""
    return ResNet((3, 3, 3), (16, 32, 64), 10, imagenet=False)


def resnet18():
    """ResNet-18 for ImageNet."""
    return ResNet((2, 2, 2, 2), (64, 128, 256, 512), 1000)


def resnet50():
    """ResNet-50 for ImageNet."""
    return ResNet((3, 4, 6, 3), (64, 128, 256, 512), 1000, wide=4)
