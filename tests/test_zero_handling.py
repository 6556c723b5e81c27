"""Handlings of zeros: what each saves, and one that a user's file brings."""

import numpy as np
import pytest

from eyeriss_sim import ConvLayer, Densities, EnergyOracle, Network, levels
from eyeriss_sim.dataflows import rs_kernels as kernels
from eyeriss_sim.hardware import load_hardware
from eyeriss_sim.levels import PSUM, READ, RF, WRITE
from eyeriss_sim.registry import import_plugin
from eyeriss_sim.simulate import simulate
from eyeriss_sim.zero_handling import ZERO_HANDLINGS
from eyeriss_sim.zeros import count_zeros

LAYER = ConvLayer(name="conv", M=6, C=4, H=9, W=9, R=3, S=3)
OWN = '''
from eyeriss_sim.zero_handling import ZeroHandling, register

@register
class GateFilter(ZeroHandling):
    """A zero weight gates its MAC, and two cycles in a hundred are saved."""

    name = "gate_filter"
    skips = ("filter",)

    def cycles_left(self, cycles, layer, hardware, mapping, savings):
        from dataclasses import replace
        return replace(cycles, mac=cycles.mac // 2)
'''


@pytest.fixture
def gate_filter(tmp_path):
    file = tmp_path / "gate_filter.py"
    file.write_text(OWN)
    import_plugin(file)
    yield "gate_filter"
    ZERO_HANDLINGS._things.pop("gate_filter")


def test_axes_of_the_kernels_are_those_of_the_table_of_levels():
    for axis in ("RF", "NOC", "GLB", "DRAM", "IFMAP", "FILTER", "PSUM", "READ", "WRITE",
                 "FILL", "DRAIN", "HOP"):
        assert getattr(kernels, axis) == getattr(levels, axis)


def test_each_handling_leaves_the_macs_of_the_zeros_that_it_skips():
    rng = np.random.default_rng(3)
    ifmap, filt = (rng.integers(0, 2, shape).astype(np.int16) for shape in (
        (1, 4, 9, 9), (6, 4, 3, 3)))
    nonzero = count_zeros(LAYER, ifmap, filt, np.ones((1, 6, 7, 7))).nonzero_macs
    met = sum(int((ifmap[0, c, r:r + 7, s:s + 7] != 0).sum() * 6)
              for c in range(4) for r in range(3) for s in range(3))
    assert nonzero.all == LAYER.macs and nonzero.ifmaps == met
    assert nonzero.filters == np.count_nonzero(filt) * 49
    left = {name: one.exact_macs_left(nonzero) for name, one in ZERO_HANDLINGS.items()}
    assert left == {"dense": LAYER.macs, "gate_ifmap": met,
                    "skip_either": nonzero.pairs}


def test_streams_are_coded_where_handling_and_code_say_so():
    chip, tool = load_hardware("eyeriss_chip"), load_hardware("eap_tool")
    streams = ("ifmap", "filter", "ofmap")
    assert [chip.coded(one) for one in streams] == [True, False, True]
    assert [chip.with_zeros("dense").coded(one) for one in streams] == [False] * 3
    assert [tool.coded(one) for one in streams] == [True] * 3


def test_a_users_handling_of_zeros_is_one_file(gate_filter):
    network = Network("net", [LAYER])
    densities = {"conv": Densities(ifmap=0.5, filter=0.25)}
    dense = simulate(network, zeros="dense", densities=densities).by_layer[0]
    own = simulate(network, zeros=gate_filter, densities=densities).by_layer[0]
    assert own.alu_pJ == dense.alu_pJ / 4
    assert (own.accesses[RF, :, READ] == dense.accesses[RF, :, READ] / 4).all()
    assert own.accesses[RF, PSUM, WRITE] == dense.accesses[RF, PSUM, WRITE] / 4
    assert (own.accesses[1:] == dense.accesses[1:]).all()
    assert own.cycles.mac == dense.cycles.mac // 2
    assert own.cycles.ramp == dense.cycles.ramp


def test_the_oracle_prices_the_weights_of_a_users_handling(gate_filter):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(4, 6, 3, bias=False))
    oracle = EnergyOracle(zeros=gate_filter)
    images = torch.relu(torch.randn(2, 4, 9, 9))
    dense = oracle(model, images)
    prices = oracle.weight_prices(model)["0"]
    assert prices.min() == prices.max() > 0     # whatever ifmap values a weight meets
    with torch.no_grad():
        model[0].weight[:, 0, 1, 2] = 0
    assert dense.total_uJ - oracle(model).total_uJ == pytest.approx(6 * prices[0, 1, 2])


def test_an_unknown_handling_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match="unknown zeros 'gate'; known: dense, "):
        simulate(Network("net", [LAYER]), zeros="gate")
