"""Cycles by cause: against plain loops over passes, and the bounds that they keep."""

from dataclasses import replace

import naive
import numpy as np
import pytest
from draws import CHIP, legal_triples
from hypothesis import given, settings

from eyeriss_sim.counts import count
from eyeriss_sim.cycles import Cycles, count_cycles
from eyeriss_sim.dataflows import rs_kernels as kernels
from eyeriss_sim.dataflows.rs_cycles import kinds_of, mapping_ends
from eyeriss_sim.dataflows.rs_geometry import cut, timing
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.mapping import Mapping
from eyeriss_sim.zeros import Savings

DENSE = Savings(1.0, 1.0, 1.0, 1.0)


def cycles_of(layer, hardware, mapping, savings=DENSE):
    counts = count(layer, hardware, mapping)
    return count_cycles(layer, hardware, mapping, counts, savings)


@pytest.mark.parametrize("compiled", [True, False], ids=["jit", "py"])
@settings(max_examples=150, deadline=None)
@given(triple=legal_triples())
def test_cycles_by_cause_equal_plain_loops_over_all_passes(compiled, triple):
    layer, hardware, mapping = triple
    geometry = cut(layer, hardware, mapping.row_segments, mapping.column_strips)
    causes = np.zeros(kernels.CAUSES)
    kernel = kernels.chip_cycles
    if not compiled:
        kernel = getattr(kernel, "py_func", kernel)
    letters = kernels.Letters(*mapping.letters)
    kinds = kinds_of(geometry.shape, letters)
    total = kernel(geometry.shape, timing(hardware), hardware.cycles_per_dram_word,
                   letters, kinds, mapping_ends(geometry.shape, timing(hardware),
                                                letters, kinds), causes)
    expected = naive.count_cycles(layer, hardware, mapping)
    assert causes[:4].tolist() == expected[:4].tolist()
    assert causes[4] == pytest.approx(expected[4], rel=1e-12)
    assert total == pytest.approx(expected.sum(), rel=1e-12)


@settings(max_examples=200, deadline=None)
@given(triple=legal_triples())
def test_bounds_of_the_search_are_never_above_the_cycles(triple):
    layer, hardware, mapping = triple
    geometry = cut(layer, hardware, mapping.row_segments, mapping.column_strips)
    shape, letters = geometry.shape, kernels.Letters(*mapping.letters)
    kinds = kinds_of(shape, letters)

    def cycles(ends):
        return kernels.chip_cycles(
            shape, timing(hardware), hardware.cycles_per_dram_word, letters, kinds,
            ends, np.zeros(kernels.CAUSES))

    ends = mapping_ends(shape, timing(hardware), letters, kinds)
    exact = cycles(ends)
    portless = cycles(mapping_ends(shape, timing(hardware), letters, kinds, False))
    assert cycles(np.zeros_like(ends)) <= portless * (1 + 1e-12)
    assert portless <= exact * (1 + 1e-12)
    m, n, e, p, q, _, t = mapping.letters
    floors = np.zeros(kernels.FLOOR_AXES)
    kernels.find_floors(shape, timing(hardware), kinds, q, floors)
    of_m = kernels.least_of_m(timing(hardware), floors, layer.M_group, m, p, t)
    assert of_m <= exact * (1 + 1e-12)
    of_all = kernels.least_of_all_m(timing(hardware), floors, layer.M_group, p, t,
                                    kernels.ceil_div(layer.M_group, p * t))
    assert of_all <= of_m * (1 + 1e-12)
    stays = kernels.ceil_div(layer.N, n) * kernels.ceil_div(layer.E, e) * (
        layer.groups * mapping.column_strips)
    assert kernels.fetch_of_m(shape, hardware.cycles_per_dram_word, stays,
                              letters) <= exact * (1 + 1e-12)


@settings(max_examples=100, deadline=None)
@given(triple=legal_triples())
def test_no_machine_beats_one_mac_a_cycle_and_pe(triple):
    layer, hardware, mapping = triple
    cycles = cycles_of(layer, hardware, mapping)
    assert cycles.mac * count(layer, hardware, mapping).active_pes >= layer.macs
    assert cycles.processing >= cycles.mac
    assert cycles.total >= cycles.processing


def test_mac_cycles_of_a_full_pass_by_hand():
    # 2 images x 3 windows x 4 filters x 2 channels x 3 taps, in each of 3 x 3 PEs.
    layer = ConvLayer(name="one pass", N=2, M=4, C=2, H=5, W=5, R=3, S=3)
    cycles = cycles_of(layer, CHIP, Mapping(4, 2, 3, 4, 2, 1, 1))
    assert cycles.mac == 2 * 3 * 4 * 2 * 3
    # Spads: 9 taps x 2 channels, four filters at once. The lowest PE of the third
    # column has its window after two columns of 5 rows x 2 channels, five rows of the
    # third and its own third row; of its first window all but 4 MACs go before a psum.
    # Two hops of 9, four psums collected and two stages of the pipeline, and out. Two
    # shifts in each of two images, of 2 words; one new window of 6; the last of these
    # words is used at once.
    start = 18 + (2 * 10 + 5 + 3) - 1 + (24 - 4)
    assert cycles.mac + cycles.ramp == (
        start + 2 * 9 + (4 + 2) + 1 + 5 * 24 + 4 * (2 - 1) + (6 - 1))
    assert cycles.psum_net == cycles.glb == 0


def test_one_filter_a_pe_wastes_three_lanes_of_the_psum_network():
    layer = ConvLayer(name="1x1", M=4, C=1, H=14, W=14, R=1, S=1)
    narrow = cycles_of(layer, CHIP, Mapping(4, 1, 14, 1, 1, 1, 4))
    wide = cycles_of(layer, CHIP, Mapping(4, 1, 14, 4, 1, 1, 1))
    # Filters, a first pixel, the psum's pipeline; then the network never rests.
    assert narrow.processing == 4 + (1 + 2) + 14 * 14 * 4
    assert wide.processing == 1 + (4 + 2) + 14 * 14


def test_a_slow_link_makes_the_array_wait_for_filters_and_nothing_else_changes():
    layer = ConvLayer(name="FC", M=64, C=32, H=1, W=1, R=1, S=1)
    mapping = Mapping(64, 1, 1, 16, 4, 2, 2)
    fast, slow = (cycles_of(layer, replace(CHIP, dram_link_MHz=mhz), mapping)
                  for mhz in (6000, 6))
    assert fast.dram_filter == 0
    assert slow.dram_filter > 0
    assert (slow.mac, slow.ramp, slow.psum_net) == (fast.mac, fast.ramp, fast.psum_net)


def test_fmap_loads_and_dumps_add_to_the_total_only_and_shrink_with_the_code():
    layer = ConvLayer(name="conv", M=4, C=2, H=8, W=8, R=3, S=3)
    mapping = Mapping(4, 1, 6, 4, 2, 1, 1)
    dense = cycles_of(layer, CHIP, mapping)
    coded = cycles_of(layer, CHIP, mapping, Savings(1.0, 0.5, 1.0, 0.5))
    # Ifmaps and ofmaps, each to the end of a core cycle.
    words = 2 * 8 * 8, 4 * 6 * 6
    assert dense.dram_fmap == sum(-(-one * 5 // 6) for one in words)
    assert coded.dram_fmap == sum(-(-one * 5 // 12) for one in words)
    assert coded.processing == dense.processing


@pytest.mark.parametrize("bank_B, psums", [(2, 1), (4, 2), (6, 3), (8, 4), (4096, 4)])
def test_a_row_of_a_glb_bank_is_no_wider_than_the_bank(bank_B, psums):
    hardware = replace(CHIP, glb_bank_B=bank_B, glb_ifmap_psum_B=40 * 4096)
    assert timing(hardware).glb_row == psums


def test_every_cause_is_part_of_the_total_and_is_multiplied_by_steps():
    cycles = Cycles(mac=1, ramp=20, psum_net=300, glb=4000, dram_filter=50_000,
                    dram_fmap=600_000)
    assert (cycles.total, cycles.processing) == (654_321, 54_321)
    assert cycles.times(3) == Cycles(3, 60, 900, 12_000, 150_000, 1_800_000)
