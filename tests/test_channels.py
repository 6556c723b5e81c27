"""Channels that hang together go together, and the smaller network does the same."""

import copy

import pytest
import torch
from pruning_nets import NETS, batches, make, pictures
from torch import nn
from torch.nn import functional

from eyeriss_sim.oracle import EnergyOracle
from pruning import Density, Energy, Params, Recipe, prune
from pruning.channels import find_channels
from pruning.masks import Masks
from pruning.problem import Problem
from pruning.prunable import prunable
from pruning.shrink import shrink
from pruning.step_training import StepTraining


def random_groups(channels, share, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(channels.groups, generator=draw) < share


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("name", NETS)
def test_the_smaller_network_gives_the_outputs_of_the_masked_one(name, share):
    model = make(name)
    channels = find_channels(model, pictures())
    gone = random_groups(channels, share)
    masks = channels.masks(gone, prunable(model))
    small = shrink(model, pictures(), masks)
    masked = copy.deepcopy(model)
    masks.apply(masked)
    with torch.no_grad():
        assert torch.allclose(small(pictures()), masked(pictures()), atol=1e-5)
    size, dense = (sum(weight.numel() for weight in one.parameters())
                   for one in (small, model))
    assert size == dense if share == 0 else size < dense
    small.train()(pictures()).sum().backward()
    assert all(weight.grad is not None for weight in small.parameters())


@pytest.mark.parametrize("name", NETS)
def test_a_smaller_network_shrinks_again(name):
    model = make(name)
    for seed in range(3):
        channels = find_channels(model, pictures())
        masks = channels.masks(random_groups(channels, 0.3, seed), prunable(model))
        masked = copy.deepcopy(model)
        masks.apply(masked)
        model = shrink(model, pictures(), masks)
        with torch.no_grad():
            assert torch.allclose(model(pictures()), masked(pictures()), atol=1e-5)


def test_a_sum_ties_what_it_adds_and_padding_shifts_it():
    channels = find_channels(make("option A"), pictures())
    first, second = channels.outputs["conv1b"], channels.outputs["conv2b"]
    assert torch.equal(channels.outputs["stem"], first)
    assert torch.equal(second[4:12], first)
    assert len(set(second.tolist())) == 16
    assert (channels.outputs["fc"] == -1).all()
    assert (channels.inputs["stem"] == -1).all()
    assert set(channels.outputs["conv1a"].tolist()).isdisjoint(first.tolist())


def test_a_projection_keeps_its_two_sides_apart():
    channels = find_channels(make("option B"), pictures())
    assert torch.equal(channels.outputs["project"], channels.outputs["conv2b"])
    assert set(channels.outputs["stem"].tolist()).isdisjoint(
        channels.outputs["conv2b"].tolist())


def test_depthwise_filters_go_with_their_input():
    channels = find_channels(make("separable"), pictures())
    assert torch.equal(channels.outputs["depth"], channels.outputs["stem"])
    assert torch.equal(channels.inputs["both"], torch.cat(
        [channels.outputs["stem"], channels.outputs["point"]]))


def test_a_channel_that_any_layer_reads_stays():
    model = make("option A")
    masks = {name: torch.ones(one.shape, dtype=torch.bool)
             for name, one in prunable(model).items()}
    masks["conv1a.weight"][:, 3] = False        # but the sum still carries it
    masks["conv1b.weight"][:, 5] = False        # nothing else reads that one
    small = shrink(model, pictures(), Masks(masks))
    assert small.stem.out_channels == 8 and small.conv1a.out_channels == 7


def test_a_layer_whose_filters_all_go_keeps_one():
    model = make("chain")
    channels = find_channels(model, pictures())
    masks = channels.masks(torch.ones(channels.groups, dtype=torch.bool),
                           prunable(model))
    small = shrink(model, pictures(), masks)
    assert [small.get_submodule(name).out_channels for name in "04"] == [1, 1]


BETWEEN = {
    "prelu": nn.PReLU(8, 0.3), "one slope": nn.PReLU(1, 0.3), "celu": nn.CELU(),
    "selu": nn.SELU(), "zero padding": nn.ZeroPad2d(1), "constant": nn.ConstantPad2d(
        1, 0.5), "reflection": nn.ReflectionPad2d(1), "circular": nn.CircularPad2d(1),
    "replication": nn.ReplicationPad2d(2), "instance": nn.InstanceNorm2d(8),
    "affine instance": nn.InstanceNorm2d(8, affine=True, track_running_stats=True),
    "group norm": nn.GroupNorm(4, 8), "norm of each": nn.GroupNorm(8, 8),
    "spatial norm": nn.LayerNorm((8, 8)), "lp": nn.LPPool2d(2, 2),
    "largest": nn.AdaptiveMaxPool2d(4), "groups": nn.Conv2d(8, 12, 3, groups=4),
    "two for each": nn.Conv2d(8, 16, 3, groups=8), "shuffle": nn.ChannelShuffle(4),
    "pixel shuffle": nn.PixelShuffle(2), "pixel unshuffle": nn.PixelUnshuffle(2),
    "grouped and shuffled": nn.Sequential(
        nn.Conv2d(8, 12, 1, groups=2), nn.ChannelShuffle(2), nn.GroupNorm(3, 12),
        nn.Conv2d(12, 8, 1, groups=4))}


def between(name):
    """Two convolutions with an operator between them."""
    torch.manual_seed(0)
    middle = copy.deepcopy(BETWEEN[name])
    channels = middle(torch.zeros(1, 8, 8, 8)).shape[1]
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), middle,
                         nn.Conv2d(channels, 6, 3, padding=1), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)).eval()


@pytest.mark.parametrize("name", BETWEEN)
def test_what_keeps_channels_apart_holds_none_of_them(name):
    model = between(name)
    channels = find_channels(model, pictures())
    assert (channels.outputs["0"] >= 0).all() and set(channels.held) == {"6"}
    assert channels.outputs["0"].unique().numel() > 1       # not all of one fate
    for share in (0.3, 0.6, 1.0):
        gone = random_groups(channels, share, seed=3)
        masks = channels.masks(gone, prunable(model))
        small, masked = shrink(model, pictures(), masks), copy.deepcopy(model)
        masks.apply(masked)
        with torch.no_grad():
            assert torch.allclose(small(pictures()), masked(pictures()), atol=1e-5)
        assert len(small.get_submodule("0").weight) < 8
        again = shrink(small, pictures(), Masks.of(small, prunable(small)))
        with torch.no_grad():
            assert torch.allclose(again(pictures()), masked(pictures()), atol=1e-5)


@pytest.mark.parametrize("call", [
    functional.celu, functional.selu, lambda x: x.amax((2, 3)),
    lambda x: functional.pad(x, (1, 1, 1, 1), mode="reflect"), lambda x: x.sum((2, 3)),
    lambda x: functional.pixel_shuffle(x, 2), lambda x: functional.lp_pool2d(x, 2, 2),
    lambda x: functional.channel_shuffle(x, 4), lambda x: functional.max_pool2d(x, 2)])
def test_functions_that_keep_channels_apart_hold_none(call):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 8, 3, padding=1), nn.LazyLinear(5)

        def forward(self, x):
            return self.two(call(self.one(x)).flatten(1))

    torch.manual_seed(0)
    model = Net().eval()
    model(pictures())
    channels = find_channels(model, pictures())
    assert (channels.outputs["one"] >= 0).all() and set(channels.held) == {"two"}
    masks = channels.masks(random_groups(channels, 0.5, 1), prunable(model))
    small, masked = shrink(model, pictures(), masks), copy.deepcopy(model)
    masks.apply(masked)
    with torch.no_grad():
        assert torch.allclose(small(pictures()), masked(pictures()), atol=1e-5)


class ByFunction(nn.Module):
    """Two convolutions with functions of one number a channel between them."""

    def __init__(self, call):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 6, 3)
        self.a, self.b = nn.Parameter(torch.rand(8)), nn.Parameter(torch.rand(8))
        self.slope = nn.Parameter(torch.full((1,), 0.2))
        self.spatial = nn.Parameter(torch.rand(8, 8))
        self.register_buffer("mean", torch.rand(8))
        self.register_buffer("variance", torch.rand(8) + 0.5)
        self.fc, self.call = nn.Linear(6, 5), call

    def forward(self, x):
        y = self.two(self.call(self, self.one(x)))
        return self.fc(y.relu().mean((2, 3)))


BY_FUNCTION = {
    "prelu": lambda net, x: functional.prelu(x, net.a),
    "prelu as a method, of one slope": lambda net, x: x.prelu(net.slope),
    "vectors twice": lambda net, x: functional.prelu(
        functional.instance_norm(x, weight=net.a, bias=net.b), net.a),
    "spatial norm": lambda net, x: functional.layer_norm(x, (8, 8), net.spatial),
    "spatial norm by shape": lambda net, x: functional.layer_norm(x, x.shape[2:]),
    "last axis by size": lambda net, x: functional.layer_norm(x, x.size()[-1:]),
    "group norm": lambda net, x: functional.group_norm(x, 4, net.a, net.b, 1e-3),
    "group norm by name": lambda net, x: functional.group_norm(
        x, num_groups=2, bias=net.b),
    "norm of each": lambda net, x: torch.group_norm(x, 8, net.a, net.b, 1e-5, False),
    "instance norm": lambda net, x: functional.instance_norm(x),
    "instance norm with statistics": lambda net, x: functional.instance_norm(
        x, net.mean, net.variance, net.a, net.b, use_input_stats=False),
    "batch norm": lambda net, x: functional.batch_norm(
        x, net.mean, net.variance, net.a, net.b),
    "shuffle of pairs": lambda net, x: x.reshape(
        x.size(0), x.size(1) // 2, 2, -1).swapdims(1, 2).reshape(x.shape),
    "shuffle, flattened first": lambda net, x: x.reshape(
        x.size(0), x.size(1) // 2, 2, -1).transpose(1, 2).flatten(1, 2).view(x.shape)}


def same_as_masked(model, share, seed=1):
    """The smaller network, after its outputs were compared with the masked one's."""
    channels = find_channels(model, pictures())
    masks = channels.masks(random_groups(channels, share, seed), prunable(model))
    small, masked = shrink(model, pictures(), masks), copy.deepcopy(model)
    masks.apply(masked)
    again = shrink(small, pictures(), Masks.of(small, prunable(small)))
    with torch.no_grad():
        for one in (small, again):
            assert torch.allclose(one(pictures()), masked(pictures()), atol=1e-5)
    return small


@pytest.mark.parametrize("name", BY_FUNCTION)
def test_functions_of_one_number_a_channel_hold_none(name):
    torch.manual_seed(0)
    model = ByFunction(BY_FUNCTION[name]).eval()
    channels = find_channels(model, pictures())
    assert set(channels.held) == {"fc"}
    assert channels.outputs["one"].unique().numel() > 1
    for share in (0.3, 0.6, 1.0):
        assert len(same_as_masked(model, share).one.weight) < 8


@pytest.mark.parametrize("call", [
    lambda net, x: functional.layer_norm(x, x.shape[1:]),
    lambda net, x: functional.layer_norm(x, (8, 8, 8)),
    lambda net, x: functional.prelu(x, net.a.abs()),
    lambda net, x: functional.prelu(x, net.a) * net.a.sum(),
    lambda net, x: functional.group_norm(x, x.shape[1] // 2)])
def test_functions_whose_numbers_of_channels_cannot_be_told_hold_them(call):
    torch.manual_seed(0)
    model = ByFunction(call).eval()
    assert set(find_channels(model, pictures()).held) == {"one", "fc"}
    assert len(same_as_masked(model, 0.5).one.weight) == 8


class StochasticDepth(nn.Module):
    """Drops some images' branch while it trains, as torchvision's module of that name.

    It calls no function that is known, so that a trace must take it as a whole.
    """

    def __init__(self, weighted=False):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1)) if weighted else None

    def forward(self, x):
        if self.training:
            return x * torch.floor(torch.rand(len(x), 1, 1, 1) + 0.5)
        return x[:, torch.arange(x.shape[1])]


def test_what_drops_images_holds_no_channels_and_stays_in_the_smaller_network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), StochasticDepth(), nn.Conv2d(8, 6, 3),
                          nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)).eval()
    assert set(find_channels(model, pictures()).held) == {"5"}
    small = same_as_masked(model, 0.5)
    assert any(isinstance(one, StochasticDepth) for one in small.modules())
    model[1] = StochasticDepth(weighted=True)       # another of that name
    assert "0" in find_channels(model, pictures()).held


class OwnShuffle(nn.Module):
    """ShuffleNet's unit: half of the channels go round, all are shuffled by views."""

    def __init__(self, counted, groups=2):
        super().__init__()
        self.stem, self.fc = nn.Conv2d(3, 12, 3, padding=1), nn.Linear(12, 5)
        self.first, self.depth = nn.Conv2d(6, 6, 1), nn.Conv2d(
            6, 6, 3, padding=1, groups=6)
        self.second = nn.Conv2d(12, 12, 1)
        self.counted, self.groups = counted, groups

    def shuffle(self, x):
        if self.counted:
            x = x.reshape(-1, self.groups, 12 // self.groups, 64).permute(0, 2, 1, 3)
            return x.reshape(-1, 12, 8, 8)
        n, channels, height, width = x.size()
        x = x.view(n, self.groups, channels // self.groups, height, width)
        return torch.transpose(x, 1, 2).contiguous().view(n, channels, height, width)

    def forward(self, x):
        x = self.stem(x)
        if self.counted:
            first, second = x[:, :6], x[:, 6:]
        else:
            first, second = x.chunk(2, dim=1)
        x = self.shuffle(torch.cat((first, self.depth(self.first(second)).relu()), 1))
        return self.fc(self.second(x).relu().mean((2, 3)))


@pytest.mark.parametrize("groups", [2, 3])
@pytest.mark.parametrize("counted", [False, True])
def test_shuffles_by_views_and_halves_hold_no_channels(counted, groups):
    torch.manual_seed(0)
    model = OwnShuffle(counted, groups).eval()
    channels = find_channels(model, pictures())
    assert set(channels.held) == {"fc"}
    assert channels.outputs["stem"].unique().numel() == 12
    for share in (0.3, 0.6, 1.0):
        assert len(same_as_masked(model, share).stem.weight) < 12


def test_a_view_that_only_looks_like_a_shuffle_holds_its_channels():
    class Turned(OwnShuffle):
        def shuffle(self, x):
            n, channels, height, width = x.size()
            return x.view(n, 3, 4, height, width).transpose(2, 3).reshape(
                n, channels, height, width)

    torch.manual_seed(0)
    model = Turned(False).eval()
    assert {"stem", "depth"} <= set(find_channels(model, pictures()).held)
    same_as_masked(model, 0.5)


def test_layers_that_hold_their_channels_say_why():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.LocalResponseNorm(3), nn.Conv2d(8, 6, 3), nn.ReLU(),
        nn.Conv2d(6, 5, 3), nn.Flatten(), nn.Linear(20, 4))
    channels = find_channels(model, pictures())
    assert channels.held == {
        "0": "1, LocalResponseNorm is not known to keep channels apart",
        "6": "they are the network's output"}
    found = prune(model, "channels", Params(0.9), data=batches())
    assert "0: 1, LocalResponseNorm" in found.report["held_channels"]
    with pytest.raises(ValueError, match="no channel that can go: 0: 1, LocalResponse"):
        prune(nn.Sequential(*model[:2], nn.Flatten(), nn.Linear(288, 4)), "channels",
              Params(0.9), data=batches())


def test_what_mixes_channels_is_left_alone():
    class Shuffled(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1, groups=2)
            self.three = nn.Conv2d(8, 4, 1)

        def forward(self, x):
            return self.three(self.two(self.one(x).transpose(2, 3)))

    channels = find_channels(Shuffled(), pictures())
    assert (channels.outputs["one"] == -1).all() and set(channels.held) == {
        "one", "three"}
    # Filters in one place of both groups go together.
    assert torch.equal(channels.outputs["two"][:4], channels.outputs["two"][4:])
    assert channels.groups == 4


def test_a_vector_of_as_many_numbers_as_channels_holds_them():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(192, 12), nn.Linear(12, 8)
            self.three, self.gamma = nn.Linear(8, 5), nn.Parameter(torch.rand(12))

        def forward(self, x):
            x = self.two((self.one(x.flatten(1)) * self.gamma).relu())
            return self.three(2 * x.relu())

    net = Scaled().eval()
    assert find_channels(net, pictures()).groups == 8
    found = prune(net, "channels", Density(0.98), data=batches())
    assert found.network.one.weight.shape == (12, 192)
    assert found.network.two.weight.shape[0] < 8


def test_a_smaller_network_costs_less_even_where_zero_weights_save_nothing():
    model = make("option A")
    oracle = EnergyOracle("eyeriss_chip")
    channels = find_channels(model, pictures())
    masks = channels.masks(random_groups(channels, 0.5), prunable(model))
    small = shrink(model, pictures(), masks)
    assert oracle(small, pictures()).total_uJ < oracle(model, pictures()).total_uJ
    assert {layer.layer.name for layer in oracle(small, pictures()).by_layer} == {
        layer.layer.name for layer in oracle(model, pictures()).by_layer}


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1)

    def forward(self, x):
        return self.conv(x) if x.sum() > 0 else x


class Rigid(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 1), nn.Linear(8 * 64, 2)

    def forward(self, x):
        return self.fc(self.conv(x).view(x.shape[0], 512))


@pytest.mark.parametrize("per_energy", [True, False])
def test_narrow_layers_are_not_emptied_before_wide_ones(per_energy):
    """One of 8 filters that cost much is not less of its layer than eight of 64."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(), nn.MaxPool2d(4), nn.Conv2d(8, 64, 3, padding=1), nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5))
    found = prune(model, "channels", Energy(0.6), data=batches(), per_energy=per_energy)
    kept = [len(found.network.get_submodule(name).weight) / len(layer.weight)
            for name, layer in model.named_children() if isinstance(layer, nn.Conv2d)]
    assert min(kept) >= 0.5


def test_channels_before_weights_take_first_what_weights_alone_cannot_save():
    torch.manual_seed(0)
    model = nn.Sequential(      # first many activations, then many weights
        nn.Conv2d(3, 32, 1), nn.ReLU(), nn.Conv2d(32, 32, 1), nn.ReLU(),
        nn.MaxPool2d(4), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5))
    alone = prune(model, "channels", Energy(0.6), data=batches())
    first = prune(model, "channels+random", (Energy(0.6), Density(1)), data=batches())
    assert first.report["floor_rel_eap_tool"] < alone.report["floor_rel_eap_tool"]
    twice = prune(model, "channels+channels", (Energy(0.6), Energy(0.6)),
                  data=batches())
    assert twice.masks == alone.masks       # no weights go afterwards


def test_channels_are_priced_again_on_a_network_that_has_lost_some(monkeypatch):
    """As happens where training made zeros rarer, so that the target was missed."""
    asked = []

    def missed_once(problem, network):
        asked.append(1)
        return 0.95 if len(asked) == 1 else cost(problem, network)

    train, cost = StepTraining.train, Problem.cost
    monkeypatch.setattr(StepTraining, "train", lambda *args, **options: (
        train(*args, **options), monkeypatch.setattr(Problem, "cost", missed_once)))
    found = prune(make("chain"), "channels+random", (Energy(0.8), Energy(0.6)),
                  data=batches(), recipe=Recipe(epochs=1, lr=0.01, precision="float32"))
    assert asked and len(found.shrinks) == 2
    assert found.report["met"] <= 0.6


def test_layers_that_are_excluded_keep_their_filters_and_their_inputs():
    for name, excluded in (("chain", "8"), ("option B", "conv2a"), ("chain", "0")):
        model = make(name)
        found = prune(model, "channels", Params(0.9), data=batches(),
                      exclude=[excluded])
        before, after = (one.get_submodule(excluded).weight
                         for one in (model, found.network))
        assert torch.equal(before, after)
        assert found.report["met"] <= 0.9
    with pytest.raises(ValueError, match=r"excluded layers whole, 1\.0000 of the"):
        prune(make("chain"), "channels", Params(0.9), data=batches(), exclude=["4"])


def test_models_that_cannot_be_taken_apart_are_refused_in_one_line():
    with pytest.raises(ValueError, match=r"^Branching cannot be traced") as caught:
        find_channels(Branching(), pictures())
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="does not take images of shape"):
        find_channels(make("chain"), torch.zeros(1, 4, 8, 8))
    model = Rigid()
    channels = find_channels(model, pictures())
    masks = channels.masks(random_groups(channels, 0.5), prunable(model))
    with pytest.raises(ValueError, match=r"^Rigid: its forward counts on numbers"):
        shrink(model, pictures(), masks)


class Scaled(nn.Module):
    """Reads channels by methods that give tuples, and has dropout by function."""

    def __init__(self, read):
        super().__init__()
        self.read = read
        self.c1, self.c2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        y = self.c1(x)
        z = self.c2(y).relu() * self.read(y)
        z = functional.dropout(z, 0.5, training=self.training)
        return self.fc(z.mean((2, 3)))


READS = {"max": lambda y: y.max(1, keepdim=True)[0],
         "split": lambda y: y.split(2, 1)[3].mean(1, keepdim=True),
         "chunk": lambda y: torch.chunk(y, 2, dim=1)[1].mean(1, keepdim=True)}


def scaled(read):
    torch.manual_seed(0)
    return Scaled(READS[read])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("read", READS)
def test_channels_that_a_method_reads_stay(read, training):
    model = scaled(read)
    model.c2.weight.data[:, :6] = 0
    masks = Masks.of(model, prunable(model))
    with torch.no_grad():
        expected = model.eval()(pictures())
        model.train(training)
        small = shrink(model, pictures(), masks)
        assert small.training == model.training == model.c1.training == training
        assert torch.allclose(small.eval()(pictures()), expected, atol=1e-6)


def test_dropout_by_function_goes_on_in_training():
    model = scaled("max").eval()
    small = shrink(model, pictures(), Masks.dense(model, prunable(model)))
    with torch.no_grad():
        assert torch.equal(small(pictures()), small(pictures()))
        small = shrink(model.train(), pictures(), Masks.dense(model, prunable(model)))
        assert not torch.equal(small(pictures()), small(pictures()))


def test_frozen_weights_stay_frozen_in_the_smaller_network():
    model = make("option B")
    for weight in (model.conv1a.weight, model.conv1a.bias, model.bn1a.weight):
        weight.requires_grad_(False)
    small = shrink(model, pictures(), Masks.dense(model, prunable(model)))
    assert {name for name, weight in small.named_parameters()
            if not weight.requires_grad} == {
                "conv1a.weight", "conv1a.bias", "bn1a.weight"}


@pytest.mark.parametrize("exclude", [[], ["aux"]])
def test_a_layer_that_does_not_run_bars_no_channels(exclude):
    model = make("option A")
    model.aux = nn.Linear(16, 5)
    found = prune(model, "channels+magnitude_global",
                  [Params(0.8), Density(0.5)], data=batches(), exclude=exclude)
    assert found.report["met"] <= 0.5


def test_more_channels_go_after_training_where_a_layer_does_not_run(monkeypatch):
    trained, cost = [], Problem.cost
    monkeypatch.setattr(
        StepTraining, "train", lambda run, network, *_: trained.append(network))
    # As if training had brought activations back: once, beyond the target.
    monkeypatch.setattr(Problem, "cost", lambda problem, network: cost(
        problem, network) + 0.2 * (len(trained) == 1 and network is trained[0]))
    model = make("option A")
    model.aux = nn.Linear(16, 5)
    found = prune(model, "channels", Energy(0.7), data=batches(),
                  recipe=Recipe(epochs=1))
    assert len(trained) == 2 and found.report["met"] <= 0.7
