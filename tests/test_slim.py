"""A narrower network: every layer loses the same share of its channels."""

import pytest
import torch
from pruning_nets import batches, make, pictures
from torch import nn

from pruning import Energy, Macs, Params, prune
from pruning.channels import find_channels
from pruning.methods.slim import families


def kept_shares(model, network):
    """Share of its filters that each convolution has left, by name."""
    return {name: len(network.get_submodule(name).weight) / len(layer.weight)
            for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)}


@pytest.mark.parametrize("name", ["chain", "option A", "option B", "separable"])
@pytest.mark.parametrize("target", [Energy(0.7), Params(0.4), Macs(0.3)])
def test_every_layer_keeps_the_same_share_to_one_channel(name, target):
    model = make(name)
    found = prune(model, "slim", target, data=batches())
    assert found.report["met"] <= target.share
    families_of = families(find_channels(model, pictures()))
    # What is left differs by a channel of the smallest family at most.
    step = 1 / min(map(len, families_of))
    shares = kept_shares(model, found.network)
    assert max(shares.values()) - min(shares.values()) <= step + 1e-12
    assert max(shares.values()) < 1


def test_half_the_channels_are_half_of_every_layer():
    model = make("option A")
    sizes = {name: len(layer.weight) // 2 for name, layer in model.named_modules()
             if isinstance(layer, nn.Conv2d)}
    found = []
    for percent in range(32, 25, -1):
        narrow = prune(model, "slim", Params(percent / 100), data=batches()).network
        found.append({name: len(narrow.get_submodule(name).weight) for name in sizes})
    half = [one for one in found if sum(one.values()) == sum(sizes.values())]
    assert half and half[0] == sizes


def test_families_are_channels_that_the_same_layers_make():
    found = find_channels(make("option A"), pictures())
    sizes = sorted(len(family) for family in families(found))
    # conv1a and conv2a of the blocks; the stem's stage; what the second stage adds.
    assert sizes == [8, 8, 8, 16]
    everything = torch.cat(families(found)).sort().values
    assert torch.equal(everything, torch.arange(found.groups))


def test_the_weakest_channels_of_a_family_go():
    model = make("chain")
    with torch.no_grad():
        model[0].weight[[1, 4, 6]] *= 1e-3
        model[4].weight[:, [1, 4, 6]] *= 1e-3
    found = prune(model, "slim", Params(0.6), data=batches())
    kept = found.shrinks[0]["0.weight"].flatten(1).any(1)
    gone = torch.nonzero(~kept).flatten().tolist()
    assert 0 < len(gone) <= 3 and set(gone) <= {1, 4, 6}


def test_weights_can_go_afterwards_and_an_impossible_target_is_refused():
    model = make("option B")
    found = prune(model, "slim+energy_aware", (Energy(0.7), Energy(0.6)),
                  data=batches())
    assert found.report["met"] <= 0.6 and len(found.shrinks) == 1
    with pytest.raises(ValueError, match="one channel a layer"):
        prune(model, "slim", Energy(0.01), data=batches())
