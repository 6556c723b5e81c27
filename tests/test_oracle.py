"""The oracle: energies of networks with zeros, quick to ask again."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from small_nets import (
    prune_in_place,
    prune_with_hooks,
    prune_with_parametrization,
    small_net,
    three_images,
)
from torch import nn

from eyeriss_sim import Densities, load_hardware, simulate
from eyeriss_sim.mapping import Mapping
from eyeriss_sim.networks import load_zoo
from eyeriss_sim.oracle import EnergyOracle, ask_together
from eyeriss_sim.widths import Bits

NETWORK = load_zoo("resnet20_cifar")


@pytest.fixture
def images():
    return three_images()


@pytest.mark.parametrize("hardware", ["eyeriss_chip", "eap_tool", "isca16_256"])
def test_without_zeros_the_oracle_says_what_simulate_says(hardware):
    result = EnergyOracle(hardware, batch=4).energy(NETWORK)
    assert result.layers.layer.tolist() == [layer.name for layer in NETWORK.layers]
    simulated = simulate("resnet20_cifar", hardware, 4)
    assert result.total_uJ == simulated.total_uJ
    objective = "joules" if hardware == "eyeriss_chip" else "energy"
    assert set(result.table.mapping_source) == {f"search:{objective}:dense"}


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


def test_the_run_length_code_gains_less_on_narrow_values(images):
    """It stores 16 bits of each, so it is switched off where it would lose."""
    model = small_net()
    packed = replace(load_hardware("eyeriss_chip"), pack=True)
    for width in (16, 12, 8):
        oracle = EnergyOracle(packed, bits=width)
        seen = oracle(model, images)
        shares = oracle.energy(seen.network, {
            one.layer.name: one.densities for one in seen.by_layer})
        for real, expected in zip(seen.by_layer, shares.by_layer, strict=True):
            assert real.savings.ofmap_ratio == pytest.approx(
                expected.savings.ofmap_ratio, abs=0.06)


def test_a_module_has_an_energy_by_the_shape_of_its_input():
    oracle = EnergyOracle("eyeriss_chip", batch=2)
    known = oracle.energy(simulate(small_net(), input_shape=(1, 3, 8, 8)).network)
    assert oracle.energy(
        small_net(), input_shape=(1, 3, 8, 8)).total_uJ == known.total_uJ


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
    with pytest.raises(ValueError, match=r"conv2: its kernel supports|fc: its kernel"):
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


def test_oracles_that_are_asked_together_say_what_each_says_alone():
    model, images = small_net().eval(), torch.randn(70, 3, 8, 8).relu()
    oracles = {"chip": EnergyOracle("eyeriss_chip"),
               "four": EnergyOracle("eyeriss_chip", batch=4),
               "tool": EnergyOracle("eap_tool", filter_code="significance_map"),
               "narrow": EnergyOracle("eyeriss_chip", bits=8)}
    runs = []
    hook = model.register_forward_hook(lambda module, given, out: runs.append(len(out)))
    EnergyOracle("eyeriss_chip")(model, images)
    alone, runs = len(runs), []
    together = ask_together(oracles, model, images)
    hook.remove()
    assert len(runs) <= alone           # as often for four as for one
    for key, oracle in oracles.items():
        fresh = oracle.with_batch(oracle.batch)
        assert together[key].table.equals(fresh(model, images).table)
    # Each remembers its measurement.
    with torch.no_grad():
        model.fc.weight[:2] = 0         # which no activation follows
    for key, oracle in oracles.items():
        fresh = oracle.with_batch(oracle.batch)
        assert oracle(model).total_uJ == fresh(model, images).total_uJ, key
