"""Small modules, and three ways in which users prune one by half."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn.utils import parametrize, prune


def small_net():
    torch.manual_seed(0)
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(3, 8, 3, padding=1), relu1=nn.ReLU(),
        conv2=nn.Conv2d(8, 8, 3, padding=1, groups=2), relu2=nn.ReLU(),
        pool=nn.MaxPool2d(2), flat=nn.Flatten(), fc=nn.Linear(8 * 4 * 4, 10)))


def three_images():
    return torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def prune_with_hooks(model):
    for name in ("conv1", "conv2", "fc"):
        prune.l1_unstructured(model.get_submodule(name), "weight", amount=0.5)


def prune_with_parametrization(model):
    class Mask(nn.Module):
        def __init__(self, mask):
            super().__init__()
            self.register_buffer("mask", mask)

        def forward(self, weight):
            return weight * self.mask

    for name in ("conv1", "conv2", "fc"):
        layer = model.get_submodule(name)
        mask = torch.ones_like(layer.weight)
        size = mask.numel() // 2
        mask.view(-1)[layer.weight.detach().abs().view(-1).argsort()[:size]] = 0
        parametrize.register_parametrization(layer, "weight", Mask(mask))


def prune_in_place(model):
    for name in ("conv1", "conv2", "fc"):
        weight = model.get_submodule(name).weight
        size = weight.numel() // 2
        # Behind autograd's back, as many pruning loops do.
        weight.data.view(-1)[weight.data.abs().view(-1).argsort()[:size]] = 0
