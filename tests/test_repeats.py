"""One weight for every image, however it is repeated; work on constants is done once.

What an array reads of a repeated weight is that weight; a batch is that many images.
"""

import pytest
import torch
import torch.nn.functional as F
from models import MobileNetV2, ResNet18, SmallViT
from test_activations import Call, check_arithmetic
from torch import nn

from eyeriss_sim.importers.activations import watch_layers
from eyeriss_sim.importers.torch_module import network_from_module


def laid_as_channels(x, filters):
    """Each image with its own filters, which a convolution takes as groups."""
    return F.conv2d(x.reshape(1, -1, *x.shape[2:]), filters, groups=x.shape[0])


REPEATED = {
    "expanded": (lambda m, x: torch.bmm(x, m.w.expand(len(x), -1, -1)), (1, 8, 5)),
    "repeated": (lambda m, x: torch.bmm(x, m.w.repeat(len(x), 1, 1)), (1, 8, 5)),
    "stacked": (lambda m, x: x @ torch.stack([m.w[0]] * len(x)), (1, 8, 5)),
    "joined": (lambda m, x: x @ torch.cat([m.w] * len(x)), (1, 8, 5)),
    "tiled": (lambda m, x: x @ torch.tile(m.w, (len(x), 1, 1)), (1, 8, 5)),
    "interleaved": (lambda m, x: x @ m.w.repeat_interleave(len(x), 0), (1, 8, 5)),
    "expanded, then scaled": (lambda m, x: x @ (m.w.expand(len(x), -1, -1) * 2 + 1),
                              (1, 8, 5)),
    "expanded, then copied and cut": (
        lambda m, x: x @ m.w.expand(len(x), -1, -1).clone()[:, :, 1:3], (1, 8, 5)),
    "indexed": (lambda m, x: x @ m.w[torch.zeros(len(x), dtype=torch.long)], (1, 8, 5)),
    "indexed by a list": (lambda m, x: x @ m.w[[0] * len(x)], (1, 8, 5)),
    "one of three, indexed": (
        lambda m, x: x @ m.w[torch.full((len(x),), 2)], (3, 8, 5)),
    "selected": (lambda m, x: x @ m.w.index_select(
        0, torch.zeros(len(x), dtype=torch.long)), (1, 8, 5)),
    "looked up": (lambda m, x: x @ F.embedding(
        torch.ones(len(x), 1, dtype=torch.long), m.w).reshape(-1, 8, 5), (3, 40)),
    "on the left": (lambda m, x: m.w.expand(len(x), -1, -1) @ x, (1, 5, 7)),
    "queries": (lambda m, x: m.w.expand(len(x), -1, -1) @ x.mT, (1, 4, 8)),
    "by name": (lambda m, x: torch.einsum(
        "bij,bjk->bik", x, m.w.expand(len(x), -1, -1)), (1, 8, 5)),
}
HEADS = {
    "heads": (lambda m, x: x @ m.w[None].repeat(len(x), 1, 1, 1), (2, 8, 5)),
    "heads, flat": (lambda m, x: torch.bmm(x.flatten(0, 1), m.w[None].expand(
        len(x), -1, -1, -1).flatten(0, 1)), (2, 8, 5)),
    "heads before images": (lambda m, x: torch.bmm(
        x.transpose(0, 1).flatten(0, 1), m.w[:, None].expand(
            -1, len(x), -1, -1).flatten(0, 1)), (2, 8, 5)),
    "heads before images, interleaved": (lambda m, x: torch.bmm(
        x.transpose(0, 1).flatten(0, 1), m.w.repeat_interleave(len(x), 0)), (2, 8, 5)),
    "heads, indexed": (lambda m, x: torch.bmm(x.flatten(0, 1), m.w[
        torch.arange(2).repeat(len(x))]), (2, 8, 5)),
    "heads before images, indexed": (lambda m, x: torch.bmm(
        x.transpose(0, 1).flatten(0, 1), m.w[
            torch.tensor([1, 0]).repeat_interleave(len(x))]), (2, 8, 5)),
    "heads, indexed by image and head": (lambda m, x: x @ m.w[
        torch.tensor([[1, 0]]).repeat(len(x), 1)], (2, 8, 5)),
}
FILTERS = {
    "filters, repeated": (
        lambda m, x: laid_as_channels(x, m.w.repeat(len(x), 1, 1, 1)), (5, 4, 3, 3)),
    "filters, expanded": (
        lambda m, x: laid_as_channels(x, m.w.expand(
            len(x), -1, -1, -1, -1).flatten(0, 1)), (5, 4, 3, 3)),
}
CASES = [(case, (7, 8)) for case in REPEATED.items()] + [
    (case, (2, 7, 8)) for case in HEADS.items()] + [
    (case, (4, 6, 6)) for case in FILTERS.items()]


@pytest.mark.parametrize("case, image", CASES, ids=[case[0] for case, _ in CASES])
def test_weight_repeated_for_each_image_is_one_weight(case, image):
    _, (forward, weight) = case
    module = Call(forward, w=weight)
    one, three = (network_from_module(module, (batch, *image)) for batch in (1, 3))
    assert one.layers[0].filter_words == three.layers[0].filter_words
    assert one.with_batch(3).layers == three.layers
    assert three.with_batch(1).layers == one.layers
    check_arithmetic(module.double(), torch.randn(3, *image, dtype=torch.double))


@pytest.mark.parametrize("which", [[0, 1], [1, 0, 0], [0, 1, 1, 0]])
def test_weights_of_different_places_stay_apart(which):
    module = Call(lambda m, x: x @ m.w[torch.tensor(which)], w=(2, 8, 5))
    layer, = network_from_module(module, (len(which), 7, 8)).layers
    assert layer.filter_words == len(which) * 40
    check_arithmetic(module.double(), torch.randn(len(which), 7, 8).double())


def test_a_blur_of_each_channel_by_one_kernel_stays_a_filter_a_channel():
    blur = Call(lambda m, x: F.conv2d(x, m.w.repeat(x.shape[1], 1, 1, 1),
                                      groups=x.shape[1]), w=(1, 1, 3, 3))
    for batch in (1, 2):
        layer, = network_from_module(blur, (batch, 4, 8, 8)).layers
        assert (layer.N, layer.M, layer.groups) == (batch, 4, 4)


CONSTANTS = {
    "a table": (lambda m, x: (torch.arange(6.0)[:, None] @ m.w[:1]).sum() + x @ m.w, 1),
    "a map": (lambda m, x: F.conv2d(torch.ones(1, 8, 6, 6, device=x.device),
                                    m.w[..., None, None].transpose(0, 1)).mean()
              + x @ m.w, 1),
    "a state": (lambda m, x: torch.zeros(len(x), 8) @ m.w + (x @ m.w)[:, 0], 2),
    "a table and a state": (lambda m, x: (
        torch.eye(8) @ m.w @ m.w.T).sum() + torch.zeros(len(x), 8) @ m.w
        + (x @ m.w)[:, 0], 2),
    "queries": (lambda m, x: (torch.ones(4, 8) @ m.w) @ (x @ m.w).mT, 2),
}


@pytest.mark.parametrize("kind", CONSTANTS)
@pytest.mark.parametrize("batch", [2, 3, 6])
def test_work_on_constants_counts_in_one_way_at_any_batch(kind, batch):
    """Once for a batch, and then left out, or once for each image."""
    forward, layers = CONSTANTS[kind]
    module = Call(forward, w=(8, 5))
    one = network_from_module(module, (1, 7, 8))
    many = network_from_module(module, (batch, 7, 8))
    assert len(one.layers) == layers
    assert one.with_batch(batch).layers == many.layers
    watched = watch_layers(module, torch.randn(batch, 7, 8), lambda *tensors: None)
    assert watched.layers == many.layers


@pytest.mark.parametrize("module, image", [
    (ResNet18(), (3, 64, 64)), (MobileNetV2(), (3, 64, 64)), (SmallViT(), (3, 32, 32)),
    (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (5, 8)),
    (nn.LSTM(8, 6, batch_first=True, bidirectional=True), (9, 8)),
    (nn.Sequential(nn.Conv3d(3, 4, 3), nn.Flatten(), nn.Linear(108, 5)), (3, 5, 5, 5)),
])
@pytest.mark.parametrize("batch", [2, 5])
def test_batch_of_a_network_is_a_trace_at_that_batch(module, image, batch):
    one, many = (network_from_module(module, (k, *image)) for k in (1, batch))
    assert one.with_batch(batch).layers == many.layers
    assert many.with_batch(1).layers == one.layers
