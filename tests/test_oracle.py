"""The oracle: energies with zeros, what one more zero is worth, quick to ask again."""

import pytest

from eyeriss_sim import Densities, simulate
from eyeriss_sim.networks import load_zoo
from eyeriss_sim.oracle import EnergyOracle

NETWORK = load_zoo("resnet20_cifar")


@pytest.mark.parametrize("hardware", ["eyeriss_chip", "eap_tool", "isca16_256"])
def test_without_zeros_the_oracle_says_what_simulate_says(hardware):
    result = EnergyOracle(hardware, batch=4).energy(NETWORK)
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


def test_narrow_operands_scale_data_with_bits_and_macs_with_both():
    from eyeriss_sim.zeros import Bits
    wide, narrow = (
        EnergyOracle("isca16_256", bits=Bits(bits, bits, bits)).energy(NETWORK)
        for bits in (16, 8))
    for one, other in zip(wide.layers, narrow.layers):
        assert other.energy_MAC.sum() == pytest.approx(one.energy_MAC.sum() / 2)
        assert other.alu_MAC == pytest.approx(one.alu_MAC / 4)


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


def test_densities_of_unknown_layers_are_refused():
    with pytest.raises(ValueError, match="density for layer 'conv9', which resnet20"):
        EnergyOracle("eap_tool").energy(NETWORK, {"conv9": Densities()})
