"""Prices of one more zero weight, beside the energies that they are the slope of."""

import pytest
from small_nets import prune_in_place, small_net, three_images

from eyeriss_sim import Densities
from eyeriss_sim.networks import load_zoo
from eyeriss_sim.oracle import EnergyOracle

NETWORK = load_zoo("resnet20_cifar")


@pytest.fixture
def images():
    return three_images()


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
