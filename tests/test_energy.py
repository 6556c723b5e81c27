"""Energy: prices times accesses, and what zeros save under each handling."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from draws import CHIP, legal_triples
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeriss_sim import Densities, Mapping, simulate
from eyeriss_sim.codes import expected_ratio
from eyeriss_sim.counts import count
from eyeriss_sim.cycles import Cycles
from eyeriss_sim.energy import edp_isca16, level_energy
from eyeriss_sim.hardware import load_hardware, preset_names
from eyeriss_sim.layer import ConvLayer, Network
from eyeriss_sim.levels import DRAM, FILTER, GLB, IFMAP, NOC, PSUM, READ, RF, WRITE
from eyeriss_sim.networks import zoo_names
from eyeriss_sim.report import joules, totals
from eyeriss_sim.simulate import simulate_layer
from eyeriss_sim.zeros import count_zeros

shares = st.floats(0, 1)


def one_layer(densities, zeros, first_layer=False, layer=None, mapping=None):
    layer = layer or ConvLayer(name="conv", N=2, M=8, C=4, H=9, W=9, R=3, S=3)
    mapping = mapping or Mapping(8, 2, 7, 4, 2, 2, 2)
    return simulate_layer(layer, CHIP.with_zeros(zeros), mapping, "given", densities,
                          first_layer)


def test_dense_energy_of_one_window_by_hand():
    layer = ConvLayer(name="dot", M=1, C=1, H=1, W=3, R=1, S=3)
    counts = count(layer, CHIP, Mapping(1, 1, 1, 1, 1, 1, 1))
    by_level, alu = level_energy(counts.accesses, counts.macs, CHIP.cost_MAC)
    assert by_level[RF].tolist() == [3 + 3, 3 + 3, 3 + 3]
    assert by_level[NOC].tolist() == [2 * 3, 2 * 3, 2 * 2]
    assert by_level[GLB].tolist() == [6 * 6, 6 * 6, 6 * 3]
    assert by_level[DRAM].tolist() == [200 * 3, 200 * 3, 200 * 1]
    assert alu == 3


def test_rlc_takes_64_thirds_of_bits_for_a_level_and_is_off_where_it_would_expand():
    assert expected_ratio("rlc", 0.3) == pytest.approx(0.3 * (64 / 3) / 16, rel=2e-5)
    assert expected_ratio("rlc", 0.75) == expected_ratio("rlc", 0.9) == 1.0
    # Nothing but zeros: pairs of 32.
    assert expected_ratio("rlc", 0.0) == pytest.approx((64 / 3) / 16 / 32)


def test_gating_scales_the_pe_and_the_fmaps_in_dram_and_nothing_else():
    dense = one_layer(Densities(), "gate_ifmap")
    gated = one_layer(Densities(ifmap=0.25, ofmap=0.5), "gate_ifmap")
    assert (gated.accesses[RF, :, READ] == 0.25 * dense.accesses[RF, :, READ]).all()
    assert gated.accesses[RF, PSUM, WRITE] == 0.25 * dense.accesses[RF, PSUM, WRITE]
    assert gated.alu_MAC == 0.25 * dense.alu_MAC
    assert gated.accesses[DRAM, IFMAP, READ] == pytest.approx(
        dense.accesses[DRAM, IFMAP, READ] * 0.25 * 4 / 3, rel=2e-4)
    assert gated.accesses[DRAM, PSUM, WRITE] == pytest.approx(
        dense.accesses[DRAM, PSUM, WRITE] * 0.5 * 4 / 3, rel=1e-9)
    for level in (NOC, GLB):
        assert (gated.accesses[level] == dense.accesses[level]).all()
    assert gated.cycles.processing == dense.cycles.processing


def test_a_zero_weight_saves_nothing_on_the_chip():
    dense = one_layer(Densities(ifmap=0.4, filter=1.0), "gate_ifmap")
    pruned = one_layer(Densities(ifmap=0.4, filter=0.1), "gate_ifmap")
    assert pruned.total_MAC == dense.total_MAC
    assert pruned.cycles == dense.cycles


def test_skipping_either_operand_multiplies_densities_and_codes_filters():
    dense = one_layer(Densities(), "skip_either")
    sparse = one_layer(Densities(ifmap=0.5, filter=0.25), "skip_either")
    assert sparse.alu_MAC == dense.alu_MAC / 8
    assert sparse.accesses[DRAM, FILTER, READ] == pytest.approx(
        dense.accesses[DRAM, FILTER, READ] * 0.25 * 4 / 3, rel=2e-4)
    assert sparse.cycles.processing == dense.cycles.processing


def test_the_networks_own_input_is_not_coded():
    first, later = (one_layer(Densities(ifmap=0.3), "gate_ifmap", first_layer=first)
                    for first in (True, False))
    assert first.accesses[DRAM, IFMAP, READ] == 2 * 4 * 9 * 9
    assert later.accesses[DRAM, IFMAP, READ] == pytest.approx(
        0.4 * 2 * 4 * 9 * 9, rel=2e-5)


@pytest.mark.parametrize("zeros", ["dense", "gate_ifmap", "skip_either"])
@settings(max_examples=40, deadline=None)
@given(triple=legal_triples(), low=st.tuples(shares, shares, shares),
       more=st.tuples(shares, shares, shares))
def test_fewer_non_zeros_never_cost_more_and_density_one_is_dense(
        zeros, triple, low, more):
    layer, hardware, mapping = triple
    hardware = hardware.with_zeros(zeros)

    def energy(*values, under=hardware):
        return simulate_layer(layer, under, mapping, "drawn", Densities(*values),
                              False).total_MAC

    high = tuple(max(pair) for pair in zip(low, more, strict=True))
    assert energy(*low) <= energy(*high)
    assert energy(1.0, 1.0, 1.0) == energy(
        1.0, 1.0, 1.0, under=hardware.with_zeros("dense"))


def test_power_is_energy_over_total_latency_with_clock_and_leakage():
    hardware = replace(CHIP, static_mW=10.0)
    layer = ConvLayer(name="conv", M=8, C=4, H=9, W=9, R=3, S=3)
    row = simulate(Network("one", (layer,)), hardware).table.iloc[0]
    idle_mW = hardware.pes * hardware.clock_pJ_per_PE_cycle * 200e6 * 1e-9 + 10
    on_chip = (row.energy_MAC - row.dram_MAC) * hardware.mac_pJ * 1e-6
    assert row.power_mW == pytest.approx(idle_mW + on_chip / row.total_ms)
    assert row.chip_uJ == pytest.approx(row.power_mW * row.total_ms)
    assert row.dram_uJ == pytest.approx(row.dram_MAC * hardware.mac_pJ * 1e-6)


def test_the_cost_table_of_a_result_names_all_that_its_energy_is_made_of():
    plain = simulate("alexnet").table.cost_table[0]
    for change in (dict(glb_pJ=12.5), dict(static_mW=10.0), dict(mac_pJ=2.0),
                   dict(clock_pJ_per_PE_cycle=0.0), dict(noc_MAC=3),
                   dict(voltage_V=0.9), dict(rf_filter_MAC=1.5),
                   dict(glb_filter_pJ=2.0)):
        other = simulate("alexnet", replace(CHIP, **change)).table.cost_table[0]
        assert other != plain
    assert plain == ("alu 1 rf 1 noc 2 glb 6 dram 200; 1 MAC = 1.44 pJ; "
                     "clock 5.26 pJ a PE and cycle")


@pytest.mark.parametrize("preset", ["eyeriss_chip", "isca16_256", "eap_tool"])
@pytest.mark.parametrize("objective", ["energy", "edp", "joules"])
def test_a_price_is_the_same_in_pJ_and_as_a_ratio_in_every_column(
        tmp_path, preset, objective):
    tables = []
    for unit, prices in (
            ("pJ", {"dram": 1000, "alu": 3.3, "glb": 20, "rf": 1.1}),
            ("MAC", {"dram": 1000 / 1.44, "alu": 3.3 / 1.44, "glb": 20 / 1.44,
                     "rf": 1.1 / 1.44})):
        path = tmp_path / unit / "mine.toml"
        path.parent.mkdir()
        path.write_text(f'extends = "{preset}"\n[energy_per_word_{unit}]\n'
                        + "".join(f"{level} = {price!r}\n"
                                  for level, price in prices.items()))
        tables.append(simulate("resnet20_cifar", str(path), 2,
                               objective=objective).table)
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    # Nor do they cost what they cost at the preset's prices, mappings included.
    plain = simulate("resnet20_cifar", preset, 2, objective=objective).table
    assert (plain.dram_MAC < tables[0].dram_MAC).all()
    assert (plain.energy_MAC != tables[0].energy_MAC).all()


def test_a_measured_dram_energy_steers_the_mapping():
    cheap, dear = (simulate("alexnet", replace(CHIP, dram_pJ=price)).table
                   for price in (1.0, 2880.0))
    assert (dear.dram_MB <= cheap.dram_MB).all()
    assert dear.dram_MB[1] < 0.7 * cheap.dram_MB[1]         # CONV2


def test_each_spad_and_the_filter_buffer_may_have_a_price_of_its_own():
    layer = ConvLayer(name="dot", M=1, C=1, H=1, W=3, R=1, S=3)
    hardware = replace(CHIP, rf_ifmap_MAC=2.0, rf_filter_MAC=3.0, rf_psum_pJ=5 * 1.44,
                       glb_filter_MAC=7.0)
    counts = count(layer, hardware, Mapping(1, 1, 1, 1, 1, 1, 1))
    by_level, alu = level_energy(counts.accesses, counts.macs, hardware.cost_MAC)
    assert by_level[RF].tolist() == pytest.approx([2 * 6, 3 * 6, 5 * 6])
    assert by_level[GLB].tolist() == [6 * 6, 7 * 6, 6 * 3]
    assert alu == 3


@pytest.mark.parametrize("hardware", ["eyeriss_chip", "isca16_256"])
def test_columns_of_the_table_add_up(hardware):
    densities = {"CONV2": Densities(0.6, 0.5, 0.2), "FC7": Densities(0.1, 0.09, 0.3)}
    table = simulate("alexnet", hardware, 4, densities=densities,
                     zeros="skip_either").table
    levels = table[["rf_MAC", "noc_MAC", "glb_MAC", "dram_MAC", "alu_MAC"]].sum(axis=1)
    kinds = table[["ifmap_MAC", "filter_MAC", "psum_MAC", "alu_MAC"]].sum(axis=1)
    causes = table[[c for c in table.columns if c.endswith("_cycles")]].sum(axis=1)
    np.testing.assert_allclose(levels, table.energy_MAC, rtol=1e-12)
    np.testing.assert_allclose(kinds, table.energy_MAC, rtol=1e-12)
    assert (causes == table.cycles).all()


def test_the_edp_of_the_papers_is_energy_a_mac_times_macs_over_active_pes():
    result = simulate("alexnet", "isca16_256", 16)
    table = result.table
    work = sum(one.layer.macs / 16 * 256 / one.counts.active_pes
               for one in result.by_layer)
    energy = sum(one.total_MAC for one in result.by_layer) / table.macs.sum()
    assert totals(result)["edp_isca16"] == pytest.approx(energy * work, rel=1e-12)
    # A layer's is that of a network of this layer alone.
    np.testing.assert_allclose(
        table.edp_isca16, table.energy_MAC / 16 * 256 / table.active_pes, rtol=1e-12)


def test_pixels_that_pad_a_product_take_time_and_are_no_work():
    # 6 a MAC; (100 + 20) on 4 of 8 PEs and 200 on all; two images.
    assert edp_isca16([600.0, 1200.0], [100, 200], [4, 8], 8, 2, [20, 0]) == (
        6 * (240 + 200) / 2)


PARTS = ["alu_uJ", "rf_uJ", "noc_uJ", "glb_uJ", "clock_uJ", "leakage_uJ", "dram_uJ"]


@pytest.mark.parametrize("hardware", preset_names())
@pytest.mark.parametrize("network", zoo_names())
def test_the_joules_of_every_part_add_up_on_every_network_and_preset(network, hardware):
    # Whatever the mappings were searched for; this search takes the least time.
    result = simulate(network, hardware, 2, objective="energy")
    table = result.table
    np.testing.assert_allclose(table[PARTS].sum(axis=1), table.total_uJ, rtol=1e-12)
    np.testing.assert_allclose(table.chip_uJ + table.dram_uJ, table.total_uJ, 1e-12)
    np.testing.assert_allclose(table.total_uJ_per_image * 2, table.total_uJ, rtol=1e-12)
    assert table.total_uJ.sum() == pytest.approx(result.total_uJ, rel=1e-12)
    assert "energy_uJ" not in table


def test_clock_and_leakage_are_apart_where_the_hardware_has_both():
    layer = ConvLayer(name="conv", M=8, C=4, H=9, W=9, R=3, S=3)
    leaking = simulate(Network("one", (layer,)), replace(CHIP, static_mW=10.0))
    row = leaking.table.iloc[0]
    assert row.leakage_uJ == pytest.approx(10 * row.total_ms)
    assert row.clock_uJ == pytest.approx(168 * 5.26e-6 * row.cycles)
    assert list(joules(leaking))[-3:] == ["DRAM", "clock", "leakage"]
    own = simulate(Network("one", (layer,)), CHIP)
    assert list(joules(own))[-2:] == ["DRAM", "clock and leakage"]
    for result in (leaking, own):
        assert sum(joules(result).values()) == pytest.approx(result.total_uJ, rel=1e-12)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_density_outside_0_to_1_is_refused_with_the_layer(value):
    with pytest.raises(ValueError, match=r"CONV1: ifmap density must be in 0\.\.1"):
        simulate("alexnet", densities={"CONV1": Densities(ifmap=value)})


def test_isca16_hardware_has_no_time_but_its_macs():
    result = simulate("alexnet", "isca16_256", 16)
    for one in result.by_layer:
        macs = -(-one.layer.macs // one.counts.active_pes)
        assert one.cycles == Cycles(macs, 0, 0, 0, 0, 0)
    assert load_hardware("isca16_256").zeros == "dense"


def test_where_zeros_lie_changes_nothing_when_only_their_share_is_known():
    rng = np.random.default_rng(0)
    layer = ConvLayer(name="conv", N=2, M=8, C=4, H=9, W=9, R=3, S=3)
    ifmap = rng.random((2, 4, 9, 9)) * (rng.random((2, 4, 9, 9)) < 0.4)
    filt = rng.random((8, 4, 3, 3)) * (rng.random((8, 4, 3, 3)) < 0.3)
    ofmap = rng.random((2, 8, 7, 7)) * (rng.random((2, 8, 7, 7)) < 0.5)
    shares = count_zeros(layer, ifmap, filt, ofmap).densities
    moved = count_zeros(layer, *(rng.permutation(tensor.ravel()).reshape(tensor.shape)
                                 for tensor in (ifmap, filt, ofmap))).densities
    assert moved == shares
    assert one_layer(moved, "skip_either").total_MAC == one_layer(
        shares, "skip_either").total_MAC


def test_preset_dense_is_the_chip_without_its_zero_handling():
    densities = {"CONV4": Densities(0.2, 1.0, 0.3)}
    dense = simulate("alexnet", "dense", 4, densities=densities)
    chip = simulate("alexnet", "eyeriss_chip", 4)
    assert dense.total_uJ == chip.total_uJ
    assert simulate("alexnet", "eyeriss_chip", 4,
                    densities=densities).total_uJ < dense.total_uJ
