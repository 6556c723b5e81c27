"""The oracle: energies with zeros, what one more zero is worth, quick to ask again."""

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from eyeriss_sim import Densities, load_hardware, simulate
from eyeriss_sim.mapping import Mapping
from eyeriss_sim.networks import load_zoo
from eyeriss_sim.oracle import EnergyOracle
from eyeriss_sim.widths import Bits

NETWORK = load_zoo("resnet20_cifar")


@pytest.mark.parametrize("hardware", ["eyeriss_chip", "eap_tool", "isca16_256"])
def test_without_zeros_the_oracle_says_what_simulate_says(hardware):
    result = EnergyOracle(hardware, batch=4).energy(NETWORK)
    assert result.layers.layer.tolist() == [layer.name for layer in NETWORK.layers]
    simulated = simulate("resnet20_cifar", hardware, 4)
    assert result.total_uJ == simulated.total_uJ
    assert set(result.table.mapping_source) == {"search:energy:dense"}


@pytest.mark.parametrize("hardware, zeros", [
    ("eap_tool", None), ("eyeriss_chip", "skip_either"), ("isca16_256", "skip_either")])
def test_marginal_energy_is_the_slope_of_the_energy(hardware, zeros):
    oracle = EnergyOracle(hardware, zeros, batch=2)
    weights = NETWORK.layer("layer2.1.conv1").filter_words

    def energy(kept):
        return oracle.energy(NETWORK, {"layer2.1.conv1": Densities(
            0.6, kept / weights, 0.5)})

    at = energy(weights // 2)
    slope = at.total_uJ - energy(weights // 2 - 1).total_uJ
    # Clock energy stands for time, which zero weights do not change.
    assert oracle.marginal(oracle.works(at)["layer2.1.conv1"]) == pytest.approx(
        slope, rel=1e-6)
    assert slope > 0


@pytest.mark.parametrize("zeros", ["gate_ifmap", "dense"])
def test_a_zero_weight_is_worth_nothing_where_the_machine_ignores_it(zeros):
    oracle = EnergyOracle("eyeriss_chip", zeros)
    dense = oracle.energy(NETWORK)
    pruned = oracle.energy(NETWORK, {"layer1.0.conv1": Densities(filter=0.1)})
    assert pruned.total_uJ == dense.total_uJ
    assert pruned.total_ms == dense.total_ms
    assert set(map(oracle.marginal, oracle.works(dense).values())) == {0.0}


def test_a_search_that_sees_zeros_says_so():
    oracle = EnergyOracle("eap_tool", search="sparse")
    result = oracle.energy(NETWORK, {"fc": Densities(filter=0.01)})
    assert set(result.table.mapping_source) == {"search:energy:sparse"}


@pytest.mark.parametrize("options, words", [
    (dict(search="both"), "unknown search 'both'; known: dense, sparse"),
    (dict(batch=0), "batch must be a whole number of at least 1, got 0"),
    (dict(zeros="few"), "unknown zeros 'few'; known: dense, gate_ifmap, skip_either"),
    (dict(filter_code="zip"), "unknown filter_code 'zip'; known: none, rlc"),
])
def test_wrong_options_list_the_known_ones(options, words):
    with pytest.raises(ValueError) as caught:
        EnergyOracle("eap_tool", **options)
    assert words in str(caught.value)


@pytest.mark.parametrize("options, words", [
    (dict(mapping={"conv9": Mapping(*[1] * 7)}), "mapping for layer 'conv9'"),
    (dict(bits={"conv9": Bits(8, 8, 8)}), "bits for layer 'conv9', which resnet20")])
def test_mappings_and_widths_of_unknown_layers_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        EnergyOracle("eap_tool", **options).energy(NETWORK)


def test_densities_of_unknown_layers_are_refused():
    with pytest.raises(ValueError, match="density for layer 'conv9', which resnet20"):
        EnergyOracle("eap_tool").energy(NETWORK, {"conv9": Densities()})


# ---------------------------------------------------------------- real modules


def small_net():
    torch.manual_seed(0)
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(3, 8, 3, padding=1), relu1=nn.ReLU(),
        conv2=nn.Conv2d(8, 8, 3, padding=1, groups=2), relu2=nn.ReLU(),
        pool=nn.MaxPool2d(2), flat=nn.Flatten(), fc=nn.Linear(8 * 4 * 4, 10)))


@pytest.fixture
def images():
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


@pytest.mark.parametrize("how", [
    prune_with_hooks, prune_with_parametrization, prune_in_place])
def test_a_pruned_model_works_as_it_is_with_and_without_new_images(how, images):
    model = small_net()
    oracle = EnergyOracle("eap_tool", batch=3)
    dense = oracle(model, images)
    how(model)
    recounted = oracle(model)
    measured = oracle(model, images)
    for one in (recounted, measured):
        assert one.table.filter_density.tolist() == [0.5, 0.5, 0.5]
        assert one.total_uJ < dense.total_uJ
    # Only activations, which pruning changed too, tell the two apart.
    assert recounted.table.ifmap_density.tolist() == dense.table.ifmap_density.tolist()
    assert measured.by_layer[0].alu_MAC == recounted.by_layer[0].alu_MAC


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
    monkeypatch.setattr("eyeriss_sim.oracle.FIRST_IMAGES", 1)
    pieces = EnergyOracle("eap_tool", batch=2)(model, images)
    assert pieces.total_uJ == pytest.approx(whole.total_uJ, rel=1e-12)
    assert pieces.table.ifmap_density.tolist() == whole.table.ifmap_density.tolist()


@pytest.mark.parametrize("fmaps_at_once, ends", [
    (1000, [9]), (1000, [8, 72]), (1000, [8, 43, 77]), (3, [8, 11, 13, 15]),
    (1, [8, 11]), (1, [8, 11, 13])])
def test_as_many_images_run_at_once_as_their_fmaps_leave_room_for(
        fmaps_at_once, ends, monkeypatch):
    monkeypatch.setattr("eyeriss_sim.oracle.FMAP_WORDS", fmaps_at_once * (3 + 1) * 64)
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
    with pytest.raises(ValueError, match="^rare: runs for some images only, of 9 to"):
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


def test_the_run_length_code_gains_less_on_narrow_values(images):
    """It stores 16 bits of each, so it is switched off where it would lose."""
    model = small_net()
    packed = replace(load_hardware("eyeriss_chip"), pack=True)
    for width in (16, 12, 8):
        oracle = EnergyOracle(packed, bits=width)
        seen = oracle(model, images)
        shares = oracle.energy(seen.network, {
            one.layer.name: one.densities for one in seen.by_layer})
        for real, expected in zip(seen.by_layer, shares.by_layer):
            assert real.savings.ofmap_ratio == pytest.approx(
                expected.savings.ofmap_ratio, abs=0.06)


def test_a_module_has_an_energy_by_the_shape_of_its_input():
    oracle = EnergyOracle("eyeriss_chip", batch=2)
    known = oracle.energy(simulate(small_net(), input_shape=(1, 3, 8, 8)).network)
    assert oracle.energy(
        small_net(), input_shape=(1, 3, 8, 8)).total_uJ == known.total_uJ


@pytest.mark.parametrize("batch", [1, 3])
def test_prices_of_weights_add_up_to_what_their_zeros_save(batch, images):
    model = small_net()
    oracle = EnergyOracle("eap_tool", batch=batch)
    dense = oracle(model, images)
    prices = oracle.weight_prices(model)
    assert prices["conv2"].shape == (8, 3, 3)
    prune_in_place(model)
    saved = 0.0
    for name, price in prices.items():
        weight = model.get_submodule(name).weight.detach()
        groups, channels = (2, 4) if name == "conv2" else (1, price.shape[0])
        zero = (weight == 0).reshape(
            groups, -1, channels, *price.shape[1:]).sum(1).numpy()
        saved += (zero.reshape(price.shape) * price).sum()
    assert dense.total_uJ - oracle(model).total_uJ == pytest.approx(saved, rel=1e-9)


def test_weights_have_no_price_where_their_zeros_save_nothing(images):
    oracle = EnergyOracle("eyeriss_chip")
    model = small_net()
    oracle(model, images)
    assert not any(price.any() for price in oracle.weight_prices(model).values())


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
    monkeypatch.setattr("eyeriss_sim.oracle.FIRST_IMAGES", 1)
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
    with pytest.raises(ValueError, match="^0: its filters are not the module's weigh"):
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
    with pytest.raises(ValueError, match="^conv2: the filter holds NaN or infinite"):
        oracle(model)


class SelfProduct(nn.Module):
    def forward(self, x):
        return x @ x.transpose(1, 2)


def test_filters_that_each_image_brings_are_coded_over_all_chunks(images, monkeypatch):
    images = images.flatten(1, 2).clone()
    images[2:] = 0
    whole = EnergyOracle("eap_tool")(SelfProduct(), images)
    monkeypatch.setattr("eyeriss_sim.oracle.FIRST_IMAGES", 1)
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


def test_zero_weights_change_nothing_on_the_chip_but_zero_activations_do(images):
    model = small_net()
    oracle = EnergyOracle("eyeriss_chip", batch=3)
    dense = oracle(model, images)
    prune_in_place(model)
    pruned = oracle(model)
    assert pruned.total_uJ == dense.total_uJ
    assert pruned.table.filter_density.tolist() == [0.5, 0.5, 0.5]
    blank = oracle(model, torch.zeros_like(images))
    assert blank.total_uJ < dense.total_uJ
    assert [one.cycles.processing for one in blank.by_layer] == [
        one.cycles.processing for one in dense.by_layer]


@pytest.mark.parametrize("code", ["none", "rlc", "significance_map", "csr", "csc"])
def test_every_filter_code_prices_the_same_pruned_model(code, images):
    model = small_net()
    oracle = EnergyOracle("eap_tool", filter_code=code)
    dense = oracle(model, images)
    prune_in_place(model)
    assert oracle(model).total_uJ < dense.total_uJ
    assert oracle(model).total_uJ == pytest.approx(
        oracle(model, images).total_uJ, rel=0.2)


def test_periodic_supports_are_stored_once(images):
    model = small_net()
    place = torch.arange(8)[:, None] + torch.arange(3)[None]
    model.conv1.weight.data *= torch.eye(9).reshape(9, 3, 3)[place % 4]
    oracle = EnergyOracle("eap_tool", filter_code="periodic")
    with pytest.raises(ValueError, match="conv2: its kernel supports|fc: its kernel"):
        model.conv2.weight.data *= (torch.rand(8, 4, 3, 3) < 0.5)
        oracle(model, images)


def test_many_threads_get_one_answer(images):
    model = small_net()
    oracle = EnergyOracle("eap_tool")
    expected = oracle(model, images).total_uJ
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: oracle(model).total_uJ, range(64)))
    assert set(answers) == {expected}


def test_threads_that_measure_one_model_leave_it_as_it_was(images):
    model = nn.Sequential(nn.BatchNorm2d(3), small_net()).train()
    oracle = EnergyOracle("eap_tool")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    expected = oracle(model, images).total_uJ
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: oracle(model, images).total_uJ, range(24)))
    assert set(answers) == {expected}
    assert model.training
    assert "forward" not in vars(model[0])
    assert all(weight.requires_grad for weight in model.parameters())
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


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
    with pytest.raises(ValueError, match="^fc: N=1 for 2 images, so it does not"):
        oracle(model, torch.ones(2, 3, 4, 4))
    assert oracle(model, torch.ones(1, 3, 4, 4)).total_uJ > 0


def test_the_benchmarks_resnets_are_the_zoos():
    from benchmarks import resnets
    from eyeriss_sim.importers.torch_module import network_from_module
    for build, name, size in ((resnets.resnet20, "resnet20_cifar", 32),
                              (resnets.resnet18, "resnet18", 224),
                              (resnets.resnet50, "resnet50", 224)):
        traced = network_from_module(build(), (1, 3, size, size))
        zoo = load_zoo(name)
        assert [(layer.name, layer.macs) for layer in traced.layers] == [
            (layer.name, layer.macs) for layer in zoo.layers]
