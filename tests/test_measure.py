"""Zeros of a module's operands, measured by running it, chunk by chunk."""

import pytest
import torch
from small_nets import small_net, three_images
from torch import nn
from torch.nn.utils import parametrizations

from eyeriss_sim.oracle import EnergyOracle


@pytest.fixture
def images():
    return three_images()


def test_measured_zeros_are_those_of_the_tensors(images):
    model = small_net()
    table = EnergyOracle("eap_tool", batch=3)(model, images).table.set_index("layer")
    with torch.no_grad():
        first = torch.relu(model.conv1(images))
        second = torch.relu(model.conv2(first))
        padded = nn.functional.pad(first, (1, 1, 1, 1))
        pooled = model.pool(second)
    for layer, kind, tensor in (
            ("conv1", "ofmap", first), ("conv2", "ifmap", padded),
            ("conv2", "ofmap", second), ("fc", "ifmap", pooled)):
        share = float((tensor != 0).double().mean())
        assert table.loc[layer, f"{kind}_density"] == pytest.approx(share, rel=1e-12)


def test_chunks_of_images_add_up(images, monkeypatch):
    model = small_net()
    whole = EnergyOracle("eap_tool", batch=2)(model, images)
    monkeypatch.setattr("eyeriss_sim.measure.FIRST_IMAGES", 1)
    pieces = EnergyOracle("eap_tool", batch=2)(model, images)
    assert pieces.total_uJ == pytest.approx(whole.total_uJ, rel=1e-12)
    assert pieces.table.ifmap_density.tolist() == whole.table.ifmap_density.tolist()


@pytest.mark.parametrize("fmaps_at_once, ends", [
    (1000, [9]), (1000, [8, 72]), (1000, [8, 43, 77]), (3, [8, 11, 13, 15]),
    (1, [8, 11]), (1, [8, 11, 13])])
def test_as_many_images_run_at_once_as_their_fmaps_leave_room_for(
        fmaps_at_once, ends, monkeypatch):
    monkeypatch.setattr("eyeriss_sim.measure.FMAP_WORDS", fmaps_at_once * (3 + 1) * 64)
    images, done = torch.ones(ends[-1], 3, 8, 8), []
    EnergyOracle("eyeriss_chip")(
        nn.Conv2d(3, 1, 1), images, progress=lambda *of: done.append(of))
    assert done == [(end, len(images)) for end in ends]


class Rare(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.rare = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)

    def forward(self, x):
        y = self.conv(x)
        return self.rare(y) if x.max() > 5 else y


@pytest.mark.parametrize("place", [0, 11])
def test_layers_that_run_for_some_images_only_are_refused(place):
    images = torch.zeros(12, 3, 4, 4)
    images[place] = 6
    with pytest.raises(ValueError, match=r"^rare: runs for some images only, of 9 to"):
        EnergyOracle("eap_tool")(Rare(), images)


def test_layers_may_run_in_another_order_for_other_images():
    class Turned(Rare):
        def forward(self, x):
            y = nn.functional.pad(x, (0, 0, 0, 0, 0, 5)).relu()
            first, second = (self.rare, self.more) if x.max() > 5 else (
                self.more, self.rare)
            return first(second(y))

    model = Turned()
    model.more = nn.Conv2d(8, 8, 1)
    images = torch.zeros(12, 3, 4, 4)
    images[-1] = 6
    assert EnergyOracle("eap_tool")(model, images).network.macs == 2 * 64 * 16


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1)

    def forward(self, x, y):
        return self.conv(x) + self.conv(y)


def test_a_list_holds_one_input_each_and_is_cut_into_chunks_of_images(
        images, monkeypatch):
    torch.manual_seed(0)
    model = TwoInputs()
    whole = EnergyOracle("eap_tool")(model, [images, images.relu()])
    monkeypatch.setattr("eyeriss_sim.measure.FIRST_IMAGES", 1)
    done = []
    pieces = EnergyOracle("eap_tool")(model, [images, images.relu()],
                                      progress=lambda *of: done.append(of))
    assert done == [(1, 3), (3, 3)]
    assert pieces.total_uJ == pytest.approx(whole.total_uJ, rel=1e-12)
    for wrong, words in (([images, images[:2]], "as many images; got 3, 2"),
                         (3, "got int"), (torch.tensor(1.0), "got a single number")):
        with pytest.raises(ValueError, match=words):
            EnergyOracle("eap_tool")(model, wrong)


class OwnMask(nn.Conv2d):
    """A mask of the forward's own, as many pruning papers' code has it."""

    def __init__(self):
        super().__init__(3, 8, 1)
        self.register_buffer("mask", torch.ones_like(self.weight))

    def forward(self, x):
        return nn.functional.conv2d(x, self.weight * self.mask)


class TurnedWeight(nn.Module):
    """Weights by input and output, the other way round than in nn.Linear."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 8))

    def forward(self, x):
        return x.mean((1, 2)) @ self.weight


@pytest.mark.parametrize("build", [
    OwnMask, TurnedWeight,
    lambda: torch.nn.utils.spectral_norm(nn.Conv2d(3, 8, 1))])
def test_weights_that_only_a_run_shows_are_not_taken_for_those_of_the_module(
        build, images):
    model = nn.Sequential(build())
    oracle = EnergyOracle("eap_tool")
    oracle(model, images)
    with pytest.raises(ValueError, match=r"^0: its filters are not the module's weigh"):
        oracle(model)


@pytest.mark.parametrize("build, shape", [
    (lambda: nn.LSTM(6, 5, batch_first=True), (3, 4, 6)),
    (lambda: nn.Conv3d(4, 6, (2, 3, 1), groups=2), (3, 4, 5, 4, 3)),
    (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, groups=2), (3, 4, 5, 4)),
    (lambda: nn.Conv2d(4, 6, 3).half(), (3, 4, 5, 5)),
])
def test_weights_of_every_kind_of_layer_are_followed_tap_by_tap(build, shape):
    torch.manual_seed(0)
    model = nn.Sequential(build())
    inputs = torch.randn(shape).relu()
    oracle = EnergyOracle("eap_tool", filter_code="rlc")
    oracle(model, inputs)
    for weight in model.parameters():
        if weight.dim() > 1:
            weight.data *= torch.rand(weight.shape) < 0.5
    recounted = oracle(model).by_layer[0]
    assert recounted.densities.filter < 0.8
    assert recounted.savings == oracle(model, inputs).by_layer[0].savings


def test_asking_for_a_parametrized_weight_leaves_the_module_as_it_was(images):
    model = small_net().train()
    parametrizations.spectral_norm(model.conv1)
    oracle = EnergyOracle("eap_tool")
    oracle(model, images)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    oracle(model)
    assert all(torch.equal(value, before[key])
               for key, value in model.state_dict().items())
    assert model.conv1.training


def test_a_layer_that_was_replaced_by_another_shape_is_refused(images):
    model = small_net()
    oracle = EnergyOracle("eap_tool")
    oracle(model, images)
    model.conv1 = nn.Conv2d(3, 4, 3, padding=1)
    with pytest.raises(ValueError, match=r"^conv1: weights of shape \(4, 3, 3, 3\), "):
        oracle(model)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_went_wrong_since_the_images_are_refused(value, images):
    model = small_net()
    oracle = EnergyOracle("eap_tool")
    oracle(model, images)
    model.conv2.weight.data[3, 1, 2, 0] = value
    with pytest.raises(ValueError, match=r"^conv2: the filter holds NaN or infinite"):
        oracle(model)


class SelfProduct(nn.Module):
    def forward(self, x):
        return x @ x.transpose(1, 2)


def test_filters_that_each_image_brings_are_coded_over_all_chunks(images, monkeypatch):
    images = images.flatten(1, 2).clone()
    images[2:] = 0
    whole = EnergyOracle("eap_tool")(SelfProduct(), images)
    monkeypatch.setattr("eyeriss_sim.measure.FIRST_IMAGES", 1)
    pieces = EnergyOracle("eap_tool")(SelfProduct(), images)
    assert whole.by_layer[0].savings.filter_ratio == pytest.approx(2 / 3 + 1 / 16)
    assert pieces.by_layer[0].savings.filter_ratio == pytest.approx(2 / 3 + 1 / 16)


class Branches(nn.Module):
    """Its first layer is done last: the sum of both belongs to it."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1)

    def forward(self, x):
        return self.left(x) + self.right(x)


def test_the_first_layer_to_run_reads_the_plain_input(images):
    result = EnergyOracle("eyeriss_chip")(Branches(), images.relu() * (images > 1))
    left, right = result.by_layer
    assert left.savings.ifmap_ratio == 1.0 > right.savings.ifmap_ratio


@pytest.mark.parametrize("act, words", [
    (lambda oracle, model: oracle(model), "was not measured yet; give the oracle"),
    (lambda oracle, model: oracle(model, torch.zeros(0, 3, 8, 8)), "no images"),
    (lambda oracle, model: oracle(model, torch.zeros(1, 4, 8, 8)), "4"),
    (lambda oracle, model: oracle(model, torch.ones(1, 3, 8, 8) / 0 * 0), "NaN"),
])
def test_images_that_can_not_be_measured_are_refused_in_one_line(act, words):
    with pytest.raises(ValueError) as caught:
        act(EnergyOracle("eap_tool"), small_net())
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_model_that_mixes_the_images_of_a_batch_is_told_apart():
    class Mixing(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 5)

        def forward(self, x):
            return self.fc(x.mean((0, 2, 3)))

    model, oracle = Mixing(), EnergyOracle("eap_tool")
    with pytest.raises(ValueError, match=r"^fc: N=1 for 2 images, so it does not"):
        oracle(model, torch.ones(2, 3, 4, 4))
    assert oracle(model, torch.ones(1, 3, 4, 4)).total_uJ > 0


class Tied(nn.Module):
    """Two layers with one weight, an attention and a head."""

    def __init__(self):
        super().__init__()
        self.body = nn.ModuleDict({"a": nn.Linear(6, 6), "b": nn.Linear(6, 6)})
        self.body["b"].weight = self.body["a"].weight
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = self.body["b"](self.body["a"](x).relu())
        return self.head(self.attention(x, x, x, need_weights=False)[0])


def halve(parameter):
    """Zeros in places that no earlier call chose, as an edit through .data."""
    parameter.data *= torch.rand(parameter.shape) < 0.5


@pytest.mark.parametrize("edited, named", [
    ("body.a.weight", ["body.a"]), ("body.a.weight", ["body.b.weight"]),
    ("body.a.weight", ["body"]), ("head.weight", ["head"]),
    ("attention.in_proj_weight", ["attention.in_proj_weight"]),
    ("attention.in_proj_weight", ["attention"]),
    ("attention.out_proj.weight", ["attention.out_proj", "head.bias"])])
def test_only_what_is_named_as_changed_is_looked_at_again(edited, named):
    torch.manual_seed(0)
    model, inputs = Tied(), torch.randn(3, 5, 6)
    oracle, all_again = EnergyOracle("eap_tool"), EnergyOracle("eap_tool")
    dense = oracle(model, inputs)
    all_again(model, inputs)
    halve(model.get_parameter(edited))
    told = oracle(model, changed=named)
    assert told.table.filter_density.tolist() == (
        all_again(model).table.filter_density.tolist())
    assert told.total_uJ == all_again(model).total_uJ < dense.total_uJ
    # It is remembered, and what nobody names is seen by the next call without names.
    assert oracle(model, changed=[]).total_uJ == told.total_uJ
    halve(model.get_parameter("head.weight"))
    assert oracle(model, changed=["body"]).total_uJ == told.total_uJ
    assert oracle(model).total_uJ == all_again(model).total_uJ < told.total_uJ


@pytest.mark.parametrize("changed, told", [
    (["hed"], "changed: Tied has no 'hed'; did you mean head\\? its layers are body.a"),
    ("head", "changed must be a list of names, got 'head'"),
    (["head.scale"], "Tied has no 'head.scale'")])
def test_an_unknown_name_of_what_changed_is_refused(changed, told):
    model, inputs = Tied(), torch.randn(3, 5, 6)
    oracle = EnergyOracle("eap_tool")
    oracle(model, inputs)
    with pytest.raises(ValueError, match=told):
        oracle(model, changed=changed)
    with pytest.raises(ValueError, match="images measure all; give one of both"):
        oracle(model, inputs, changed=["head"])
