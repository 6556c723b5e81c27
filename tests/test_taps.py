"""A network cut at a tap is the same network, in two halves."""

import itertools
from dataclasses import replace

import pytest
import torch
from models import MobileNetV2, SmallViT
from pruning_nets import make, pictures
from torch import nn
from torch.nn import functional

from cascade.taps import cut, find_taps
from eyeriss_sim.importers.torch_module import network_from_module
from pruning.channels import find_channels
from pruning.models import make_model
from pruning.prunable import prunable
from pruning.shrink import shrink

LAYERS = (nn.Conv2d, nn.Linear)


class Branches(nn.Module):
    """Two branches that are put together, then one more convolution."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.left, self.right = nn.Conv2d(4, 4, 3, 2, 1), nn.Conv2d(4, 6, 5, 2, 2)
        self.both = nn.Conv2d(10, 8, 3, 2, 1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = functional.relu(self.stem(x))
        x = torch.cat([self.left(x), functional.relu(self.right(x))], 1)
        return self.fc(functional.relu(self.both(x)).mean((2, 3)))


class SharedScale(nn.Module):
    """Both halves read one parameter that no layer owns."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, 2, 1)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        x = functional.relu(self.one(x) * self.scale)
        x = functional.relu(self.two(x) * self.scale)
        return self.fc(x.mean((2, 3)))


class AllTheWay(nn.Module):
    """The image itself is needed to the end: it flows round every feature map."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 4, 3, padding=1)
        self.two = nn.Conv2d(7, 4, 3, padding=1)
        self.fc = nn.Linear(7, 5)

    def forward(self, x):
        y = torch.cat([functional.relu(self.one(x)), x], 1)
        y = functional.relu(self.two(y)).mean((2, 3))
        return self.fc(torch.cat([y, x.mean((2, 3))], 1))


class Same(nn.Conv2d):
    """A layer of one's own, which torch.fx does not take as one operator."""

    def forward(self, x):
        x = functional.pad(x, (1, 1, 1, 1))
        return functional.conv2d(x, self.weight, self.bias)


class Functional(nn.Module):
    """Its layers are calls; one belongs to a part that has no name of its own."""

    def __init__(self):
        super().__init__()
        self.one = Same(3, 4, 3)
        self.two = nn.Parameter(torch.randn(6, 4, 3, 3))
        self.three, self.fc = nn.ConvTranspose2d(6, 4, 2, 2), nn.Linear(4, 5)

    def forward(self, x):
        x = functional.relu(self.one(x))
        x = functional.relu(functional.conv2d(x, self.two, stride=2, padding=1))
        x = functional.relu(self.three(x))
        return self.fc(functional.relu(x).mean((2, 3)))


def shrunk(name):
    """A smaller network really built: a graph module with placed channels."""
    model = make(name)
    channels = find_channels(model, pictures())
    draw = torch.Generator().manual_seed(5)
    gone = torch.rand(channels.groups, generator=draw) < 0.4
    return shrink(model, pictures(), channels.masks(gone, prunable(model)))


def of_collection(name):
    torch.manual_seed(0)
    return make_model(name)


NETS = {
    "resnet20": (lambda: of_collection("resnet20"), (3, 32, 32), 3),
    "resnet18": (lambda: of_collection("resnet18"), (3, 32, 32), 4),
    "vgg16": (lambda: of_collection("vgg16"), (3, 32, 32), 5),
    "mobilenet": (MobileNetV2, (3, 64, 64), 5),
    "chain": (lambda: make("chain"), (3, 8, 8), 2),
    "option A": (lambda: make("option A"), (3, 8, 8), 2),
    "option B": (lambda: make("option B"), (3, 8, 8), 2),
    "separable": (lambda: make("separable"), (3, 8, 8), 1),
    "shrunk option A": (lambda: shrunk("option A"), (3, 8, 8), 2),
    "shrunk separable": (lambda: shrunk("separable"), (3, 8, 8), 1),
    "branches": (Branches, (3, 8, 8), 3),
    "shared scale": (SharedScale, (3, 8, 8), 2)}


@pytest.fixture(params=NETS, scope="module")
def net(request):
    build, shape, count = NETS[request.param]
    return build().eval(), shape, count


def images_of(shape, count=3):
    draw = torch.Generator().manual_seed(1)
    return torch.randn(count, *shape, generator=draw)


@pytest.mark.parametrize("training", [False, True])
def test_the_halves_give_the_whole_networks_logits_to_the_last_bit(net, training):
    model, shape, count = net
    found = find_taps(model, shape)
    assert len(found) == count
    images = images_of(shape)
    model.train(training)       # normalisations by the batch: the halves see it too
    try:
        with torch.no_grad():
            torch.manual_seed(3)        # of MobileNet's dropout
            whole = model(images)
            for tap in found:
                front, back = cut(model, tap)
                torch.manual_seed(3)
                features = front(images)
                assert features.shape == (len(images), *tap.shape)
                assert torch.equal(back(features), whole)
    finally:
        model.eval()


def test_the_layers_of_a_tap_are_those_that_its_front_runs(net):
    model, shape, _ = net
    calls = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: calls.append(name))
        for name, module in model.named_modules() if isinstance(module, LAYERS)]
    try:
        model(images_of(shape))
        whole = list(calls)
        for tap in find_taps(model, shape):
            front, back = cut(model, tap)
            calls.clear()
            features = front(images_of(shape))
            assert tuple(calls) == tap.layer_names
            back(features)
            assert calls == whole
    finally:
        for handle in handles:
            handle.remove()


def test_the_taps_go_deeper_and_the_last_has_every_convolution(net):
    model, shape, _ = net
    found = find_taps(model, shape)
    for one, other in itertools.pairwise(found):
        assert len(one.layer_names) < len(other.layer_names)
        assert other.layer_names[:len(one.layer_names)] == one.layer_names
    assert {name for name, module in model.named_modules()
            if isinstance(module, nn.Conv2d)} <= set(found[-1].layer_names)


def test_the_back_leaves_the_features_as_they_are(net):
    model, shape, _ = net
    for tap in find_taps(model, shape):
        front, back = cut(model, tap)
        with torch.no_grad():
            features = front(images_of(shape))
            before = features.clone()
            back(features)
        assert torch.equal(features, before)


def test_the_halves_share_the_networks_weights(net):
    model, shape, _ = net
    own = {id(one) for one in (*model.parameters(), *model.buffers())}
    for tap in find_taps(model, shape):
        halves = [{id(one) for one in (*half.parameters(), *half.buffers())}
                  for half in cut(model, tap)]
        assert halves[0] and halves[0] | halves[1] <= own
        assert {id(one) for one in model.parameters()} <= halves[0] | halves[1]


def test_a_change_of_a_weight_is_seen_by_both_halves():
    model = SharedScale().eval()
    front, back = cut(model, find_taps(model, (3, 8, 8))[0])
    with torch.no_grad():
        model.scale.mul_(2)
        model.one.weight.mul_(3)
        assert torch.equal(back(front(images_of((3, 8, 8)))),
                           model(images_of((3, 8, 8))))


def test_cutting_changes_nothing_in_a_network_that_is_being_trained():
    model = make("chain")
    model.train()
    model[1].eval()             # a frozen normalisation in a network in training
    before = {key: one.clone() for key, one in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    for tap in find_taps(model, (3, 8, 8)):
        cut(model, tap)
    assert [module.training for module in model.modules()] == modes
    for key, one in model.state_dict().items():
        assert torch.equal(one, before[key]), key


def test_a_place_whose_values_are_written_over_is_no_tap():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 2), nn.Flatten(),
        nn.ReLU(inplace=True), nn.Linear(4 * 9, 5))
    # Flatten is a view: the ReLU behind it writes into the last map, of 3x3 pixels.
    assert [tap.shape for tap in find_taps(model, (3, 8, 8))] == [(4, 4, 4)]
    model[4] = nn.ReLU()
    assert [tap.shape for tap in find_taps(model, (3, 8, 8))] == [(4, 4, 4), (4, 3, 3)]


def test_taps_are_found_inside_inference_mode_and_in_double_precision():
    model = make("option A")
    expected = find_taps(model, (3, 8, 8))
    with torch.inference_mode():
        assert find_taps(model, (3, 8, 8)) == expected
    assert find_taps(model.double(), (3, 8, 8)) == expected


def test_a_layer_that_runs_again_is_named_as_the_simulator_names_it():
    class Again(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.conv = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1)
            self.last, self.fc = nn.Conv2d(4, 6, 3, 2), nn.Linear(6, 5)

        def forward(self, x):
            x = self.stem(x)
            for _ in range(3):
                x = functional.relu(self.conv(x))
            return self.fc(self.last(x).mean((2, 3)))

    model, images = Again().eval(), images_of((3, 8, 8))
    names = tuple(one.name for one in network_from_module(model, (1, 3, 8, 8)).layers)
    assert len(names) == len(set(names)) == 6
    first, last = find_taps(model, (3, 8, 8))
    assert first.layer_names == names[:4] and last.layer_names == names[:5]
    front, back = cut(model, first)
    with torch.no_grad():
        assert torch.equal(back(front(images)), model(images))


def test_a_place_before_all_layers_is_no_tap():
    class Centred(nn.Module):
        def __init__(self):
            super().__init__()
            self.mean = nn.Parameter(torch.zeros(1, 3, 1, 1))
            self.conv, self.fc = nn.Conv2d(3, 4, 3, 2), nn.Linear(4, 5)

        def forward(self, x):
            return self.fc(self.conv(x - self.mean).relu().mean((2, 3)))

    tap, = find_taps(Centred().eval(), (3, 8, 8))
    assert tap.layer_names == ("conv",)


def test_layers_of_any_kind_are_those_that_the_simulator_counts():
    torch.manual_seed(0)
    model, shape = Functional().eval(), (3, 8, 8)
    whole = [one.name for one in network_from_module(model, (1, *shape)).layers]
    found = find_taps(model, shape)
    assert [list(tap.layer_names) for tap in found] == [whole[:2], whole[:3]]
    for tap in found:
        front, back = cut(model, tap)
        assert [one.name for one in network_from_module(front, (1, *shape)).layers] == (
            list(tap.layer_names))
        with torch.no_grad():
            assert torch.equal(back(front(images_of(shape))), model(images_of(shape)))


def test_taps_stay_in_order_where_a_size_comes_back():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, 2, 1), nn.ReLU(),
        nn.Upsample(scale_factor=2), nn.Conv2d(6, 5, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(5 * 64, 5)).eval()
    found = find_taps(model, (3, 8, 8))
    assert [(tap.shape, tap.layer_names) for tap in found] == [
        ((6, 4, 4), ("0", "2")), ((5, 8, 8), ("0", "2", "5"))]


@pytest.mark.parametrize("build, shape", [
    (AllTheWay, (3, 8, 8)),
    (lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), (3, 8, 8))])
def test_a_network_without_a_tap_is_refused_in_one_line(build, shape):
    with pytest.raises(ValueError, match="no place between a CONV layer") as problem:
        find_taps(build(), shape)
    assert "\n" not in str(problem.value)


def test_a_network_that_cant_be_traced_is_refused_in_one_line():
    class Asks(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            x = self.conv(x)
            return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))

    for call in (lambda: find_taps(Asks(), (3, 8, 8)),
                 lambda: cut(Asks(), find_taps(make("chain"), (3, 8, 8))[0])):
        with pytest.raises(ValueError, match="Asks can't be traced") as problem:
            call()
        assert "\n" not in str(problem.value)


def test_a_transformers_patches_are_its_only_tap():
    tap, = find_taps(SmallViT().eval(), (3, 32, 32))
    assert tap.layer_names == ("patch",)


def test_images_of_a_wrong_shape_are_refused_in_one_line(capfd):
    with pytest.raises(ValueError, match=r"image of shape \(1, 8, 8\)") as problem:
        find_taps(make("chain"), (1, 8, 8))
    assert "\n" not in str(problem.value)
    assert capfd.readouterr() == ("", "")


def test_a_tap_of_another_network_is_refused():
    tap = find_taps(make("chain"), (3, 8, 8))[0]
    with pytest.raises(ValueError, match="is not of this Residual"):
        cut(make("option A"), tap)
    # A name that both have is not enough.
    deeper = find_taps(make("option A"), (3, 8, 8))[1]
    with pytest.raises(ValueError, match="is not of this Residual"):
        cut(make("option A"), replace(deeper, position=deeper.position - 1))
