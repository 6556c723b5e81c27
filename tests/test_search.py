"""The search: equal to trying everything, tight at each limit, and monotone."""

from dataclasses import astuple, replace

import naive
import numpy as np
import pytest
from draws import CHIP, layers, machines
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eyeriss_sim.counts import count
from eyeriss_sim.cycles import count_cycles
from eyeriss_sim.dataflows import rs_kernels as kernels
from eyeriss_sim.dataflows import rs_search
from eyeriss_sim.dataflows.rs_cycles import kinds_of
from eyeriss_sim.dataflows.rs_geometry import cut, even_cuts, timing
from eyeriss_sim.energy import level_energy
from eyeriss_sim.hardware import load_hardware
from eyeriss_sim.layer import ConvLayer, Network
from eyeriss_sim.levels import DRAM
from eyeriss_sim.mapping import Mapping, check_mapping
from eyeriss_sim.product_maps import maps_of
from eyeriss_sim.search import OBJECTIVES, SKIPS, search, search_shape
from eyeriss_sim.simulate import simulate, simulate_layer
from eyeriss_sim.zeros import NO_SAVINGS, Densities, Savings

ISCA16 = load_hardware("isca16_256")


def scores(layer, hardware, mapping, savings=NO_SAVINGS):
    """Normalised energy and total cycles by the model that reports use."""
    counts = count(layer, hardware, mapping)
    by_level, alu = level_energy(
        hardware.zero_handling.accesses_left(counts.accesses, savings),
        counts.macs * savings.macs_left, hardware.cost_MAC)
    cycles = count_cycles(layer, hardware, mapping, counts, savings)
    return by_level.sum() + alu, cycles.total


def closed_cycles(layer, hardware, mapping, savings):
    """Total cycles, those of processing by the closed forms alone."""
    geometry = cut(layer, hardware, mapping.row_segments, mapping.column_strips)
    fmaps = count_cycles(layer, hardware, mapping, count(layer, hardware, mapping),
                         savings).dram_fmap
    letters = kernels.Letters(*mapping.letters)
    kinds = kinds_of(geometry.shape, letters)
    return fmaps + kernels.chip_cycles(
        geometry.shape, timing(hardware), hardware.cycles_per_dram_word, letters, kinds,
        np.zeros((len(kinds), 3, kernels.STEADY + 1), np.int64),
        np.zeros(kernels.CAUSES))


def objective_of(name, energy, cycles, hardware):
    burnt = cycles * hardware.pes * hardware.clock_pJ_per_PE_cycle / hardware.mac_pJ
    return {"energy": energy, "cycles": cycles, "edp": (energy + burnt) * cycles,
            "joules": energy + burnt, "edp_normalised": energy * cycles}[name]


@settings(max_examples=45, deadline=None)
@given(layer=layers(most_channels=4, most_filters=5, most_images=2, most_windows=5),
       hardware=machines(), coded=st.sampled_from([1.0, 0.3]))
def test_search_finds_what_trying_everything_finds(layer, hardware, coded):
    assume(len(maps_of(layer)) == 1)    # tests/test_product_maps.py has the others
    legal = [Mapping(*m) for m in naive.legal_mappings(layer, hardware)]
    assume(0 < len(legal) < 500)
    savings = Savings(coded, coded, 1.0, coded)
    every = [scores(layer, hardware, mapping, savings) for mapping in legal]
    for name in OBJECTIVES:
        found = search(layer, hardware, name, savings=savings)
        best = min(objective_of(name, *pair, hardware) for pair in every)
        own = objective_of(name, *scores(layer, hardware, found.mappings[0], savings),
                           hardware)
        assert own == pytest.approx(best, rel=3e-9)
        if name != "energy":
            assert found.scores[0] == pytest.approx(own, rel=1e-12)
        for skip in ("dominated", "nothing"):
            assert search(layer, hardware, name, skip=skip, savings=savings).scores == (
                pytest.approx(found.scores, rel=3e-9))


@pytest.mark.parametrize("base", [CHIP, ISCA16], ids=["chip", "isca16"])
@settings(max_examples=30, deadline=None)
@given(layer=layers(most_channels=4, most_filters=5, most_images=2, most_windows=5),
       prices=st.fixed_dictionaries({
           "static_mW": st.sampled_from([0.0, 80.0]),
           "mac_pJ": st.sampled_from([0.7, 3.0]),
           "clock_pJ_per_PE_cycle": st.sampled_from([0.0, 9.0]),
           "rf_pJ": st.sampled_from([None, 2.5]),
           "voltage_V": st.sampled_from([1.0, 0.82]),
           "dram_pJ": st.sampled_from([None, 90.0])}))
def test_joules_are_what_is_reported_with_measured_prices_clock_and_leakage(
        base, layer, prices):
    hardware = replace(base, rows=6, cols=6, zeros="dense", **prices)

    def reported(mapping):
        one = simulate_layer(layer, hardware, mapping, "test", Densities(), False)
        return one.chip_pJ + one.energy_pJ[DRAM].sum()

    try:
        found = search(layer, hardware, "joules").mappings[0]
    except ValueError:
        assume(False)
    # Reports round cycles up to whole ones.
    slack = 8 * (prices["static_mW"] * 1e3 / hardware.clock_MHz
                 + hardware.pes * prices["clock_pJ_per_PE_cycle"])
    for objective in OBJECTIVES:
        other = search(layer, hardware, objective).mappings[0]
        assert reported(found) <= reported(other) * (1 + 1e-9) + slack


@pytest.mark.parametrize("skip", SKIPS)
@settings(max_examples=60, deadline=None)
@given(layer=layers(most_channels=4, most_filters=5, most_images=2, most_windows=5),
       hardware=machines(), objective=st.sampled_from(list(OBJECTIVES)))
def test_every_mapping_that_a_search_returns_is_legal(
        skip, layer, hardware, objective):
    assume(len(maps_of(layer)) == 1)    # tests/test_product_maps.py has the others
    legal = set(naive.legal_mappings(layer, hardware))
    assume(legal)
    found = search(layer, hardware, objective, keep=4, skip=skip)
    assert found.mappings
    assert {astuple(mapping)[:9] for mapping in found.mappings} <= legal
    if skip == "nothing":
        assert found.evaluated == len(legal)


def test_a_small_filter_buffer_keeps_no_more_filters_in_a_pe_than_there_are():
    # One filter fills the buffer, so m = 1; a PE that interleaves two would wait idly.
    layer = ConvLayer(name="conv", N=2, M=4, C=1, H=10, W=4, R=6, S=4, V=2, groups=2)
    tight = replace(CHIP, rows=6, cols=6, glb_filter_B=68)
    for one in search(layer, tight, "edp", keep=4).mappings:
        check_mapping(layer, tight, one)


@pytest.mark.parametrize("objective", OBJECTIVES)
@settings(max_examples=45, deadline=None)
@given(layer=layers(most_channels=3, most_filters=4, most_images=6, most_windows=6),
       hardware=machines(), coded=st.sampled_from([1.0, 0.3, 0.0]))
def test_skipping_loses_neither_the_optimum_nor_its_tie_break(
        objective, layer, hardware, coded):
    assume(len(maps_of(layer)) == 1)    # tests/test_product_maps.py has the others
    legal = [Mapping(*m) for m in naive.legal_mappings(layer, hardware)]
    assume(0 < len(legal) < 2000)
    savings = Savings(coded, coded, 1.0, coded)
    searched = [search(layer, hardware, objective, skip=skip,
                       savings=savings).mappings[0]
                for skip in SKIPS]
    full, *others = (scores(layer, hardware, mapping, savings) for mapping in searched)
    if objective == "energy":
        # Ties of energy are settled by the closed forms' cycles.
        full, *others = ((energy, closed_cycles(layer, hardware, mapping, savings))
                         for (energy, _), mapping
                         in zip((full, *others), searched, strict=True))
    for other in others:
        assert other == pytest.approx(full, rel=3e-9)


def test_a_wide_ifmap_network_makes_unequal_image_groups_worth_trying():
    # Six images in groups of 3 + 3 send an odd number of words twice and so waste half
    # a cycle of a two-word network twice; groups of 4 + 2 send even numbers.
    layer = ConvLayer(name="conv", N=6, M=18, C=1, H=17, W=7, R=6, S=3, U=3, V=2,
                      groups=3, dilation=(3, 2))
    wide = replace(CHIP, rows=3, cols=4, spad_ifmap_words=5, spad_filter_words=8,
                   spad_psum_words=1, glb_bank_B=2, glb_ifmap_psum_B=492,
                   glb_filter_B=476, ifmap_net_words=2, psum_in_net_words=2,
                   psum_out_net_words=2, hop_cycles=0)
    full, *others = (search(layer, wide, "cycles", skip=skip).scores for skip in SKIPS)
    assert others == [full, full]


@settings(max_examples=60, deadline=None)
@given(layer=layers(most_channels=4, most_filters=5, most_images=2, most_windows=5),
       hardware=machines(),
       mapping=st.builds(Mapping, *[st.integers(1, 6)] * 7, st.integers(0, 5),
                         st.integers(1, 5)))
def test_a_mapping_is_refused_exactly_when_it_breaks_a_limit(layer, hardware, mapping):
    try:
        check_mapping(layer, hardware, mapping)
        accepted = True
    except ValueError:
        accepted = False
    if mapping.row_segments == even_cuts(layer.R, hardware.rows)[0]:
        mapping = replace(mapping, row_segments=0)
    legal = set(naive.legal_mappings(layer, hardware))
    assert accepted == (astuple(mapping)[:9] in legal)


def test_searched_energy_is_the_reported_energy_to_the_last_unit():
    for layer in (ConvLayer(name="A", N=3, M=20, C=7, H=19, W=17, R=5, S=3, U=2),
                  ConvLayer(name="B", M=12, C=1, H=9, W=9, R=3, S=3, groups=12),
                  ConvLayer(name="C", N=2, M=9, C=3, H=30, W=30, R=13, S=13)):
        # And at prices of which none is the sum or product of others.
        for hardware in (CHIP, replace(CHIP, rf_MAC=3, noc_MAC=11, glb_MAC=29)):
            found = search(layer, hardware, "energy")
            assert found.scores[0] == scores(layer, hardware, found.mappings[0])[0]


@pytest.mark.parametrize("objective", ["energy", "cycles"])     # PEs burn joules
@settings(max_examples=40, deadline=None)
@given(layer=layers(), hardware=machines(), data=st.data())
def test_more_pes_or_a_larger_glb_never_make_the_optimum_worse(
        objective, layer, hardware, data):
    field, more = data.draw(st.sampled_from([
        ("rows", 1), ("cols", 1), ("rows", 5), ("glb_ifmap_psum_B", 128),
        ("glb_ifmap_psum_B", 4000), ("glb_filter_B", 100)]))
    larger = replace(hardware, **{field: getattr(hardware, field) + more})
    try:
        before = search(layer, hardware, objective).scores[0]
    except ValueError:
        assume(False)
    after = search(layer, larger, objective).scores[0]
    assert after <= before * (1 + 2e-9)


@pytest.mark.parametrize("hardware", [CHIP, ISCA16], ids=["chip", "isca16"])
def test_runners_up_come_in_order_and_start_with_the_optimum(hardware):
    layer = ConvLayer(name="conv", N=2, M=24, C=16, H=15, W=15, R=3, S=3)
    one, five = (search(layer, hardware, keep=k) for k in (1, 5))
    assert five.mappings[0] == one.mappings[0]
    assert len(set(five.mappings)) == 5
    assert list(five.scores) == sorted(five.scores)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_isca16_search_skips_nothing_better(objective):
    for sizes in (dict(N=5, M=13, C=6, H=9, W=9, R=3, S=3),
                  dict(N=3, M=10, C=5, H=1, W=1, R=1, S=1),
                  dict(N=2, M=8, C=3, H=15, W=11, R=5, S=5, U=2)):
        layer = ConvLayer(name="conv", **sizes)
        small = replace(ISCA16, rows=4, cols=8, rf_words=40, glb_ifmap_psum_B=900)
        pruned = search(layer, small, objective)
        everything = search(layer, small, objective, skip="nothing")
        assert pruned.scores == pytest.approx(everything.scores, rel=3e-9)
        assert everything.evaluated > pruned.evaluated
        check_mapping(layer, small, pruned.mappings[0])


@settings(max_examples=40, deadline=None)
@given(layer=layers(most_channels=4, most_filters=5, most_images=3, most_windows=4),
       rows=st.integers(1, 4), cols=st.integers(1, 5), rf_words=st.integers(4, 40),
       glb_words=st.integers(20, 400))
def test_isca16_search_finds_what_trying_every_mapping_of_the_analysis_finds(
        layer, rows, cols, rf_words, glb_words):
    layer = replace(layer, dilation=(1, 1))
    small = replace(ISCA16, rows=rows, cols=cols, rf_words=rf_words,
                    glb_ifmap_psum_B=2 * glb_words)
    twice, once = (list(naive.isca16_scores(layer, small, hop_weight))
                   for hop_weight in (2, 1))
    assume(twice)
    for name in OBJECTIVES:
        best = min(objective_of(name, *pair, small)
                   for pair in (once if name == "joules" else twice))
        for skip in SKIPS:
            found = search(layer, small, name, skip=skip)
            assert found.scores[0] == pytest.approx(best, rel=3e-9)
            check_mapping(layer, small, found.mappings[0])


def test_a_search_minimises_what_the_hardware_says_unless_it_is_told():
    layer = ConvLayer(name="fc", N=4, M=64, C=48, H=7, W=7, R=3, S=3)
    assert search(layer, CHIP) is search(layer, CHIP, "joules")
    assert search(layer, ISCA16) is search(layer, ISCA16, "energy")
    for_cycles = replace(CHIP, search_objective="cycles")
    assert search(layer, for_cycles) is search(layer, CHIP, "cycles")
    assert search(layer, for_cycles, "energy") is search(layer, CHIP, "energy")


def test_where_cycles_cost_nothing_edp_is_energy_times_cycles():
    layer = ConvLayer(name="conv", N=2, M=24, C=10, H=15, W=15, R=3, S=3)
    free = replace(CHIP, clock_pJ_per_PE_cycle=0)
    normalised = search(layer, CHIP, "edp_normalised")
    assert search(layer, free, "edp").scores == normalised.scores
    burnt = search(layer, CHIP, "edp").scores[0]
    assert burnt > normalised.scores[0]         # by what the clock burns


def test_unknown_objective_lists_the_known_ones():
    with pytest.raises(ValueError, match="'speed'; known: energy, cycles, edp, joules"):
        search(ConvLayer(name="x", M=1, C=1, H=1, W=1, R=1, S=1), CHIP, "speed")


def test_a_filter_of_seven_rows_is_cut_so_that_two_channels_fill_the_array():
    conv1 = ConvLayer(name="conv1", M=64, C=3, H=230, W=230, R=7, S=7, U=2)
    best = search(conv1, CHIP, "cycles").mappings[0]
    assert best.row_segments > 1 and best.r > 1
    whole = [one for one in search(conv1, CHIP, "cycles", keep=50).mappings
             if not one.row_segments]
    assert all(scores(conv1, CHIP, one)[1] > scores(conv1, CHIP, best)[1]
               for one in whole)


def test_a_wide_fmap_is_cut_into_columns_so_that_more_pes_work():
    # Whole rows of 2,048 psums leave room for 16 filters and one row: 3 PEs.
    wide = ConvLayer(name="wide", M=64, C=64, H=34, W=2050, R=3, S=3)
    best = search(wide, CHIP, "energy").mappings[0]
    whole = replace(best, m=16, e=1, q=2, r=1, column_strips=1)
    check_mapping(wide, CHIP, whole)
    energy, cycles = scores(wide, CHIP, best)
    assert best.column_strips > 1 and best.e > 4
    assert energy < 0.8 * scores(wide, CHIP, whole)[0]
    assert cycles < 0.2 * scores(wide, CHIP, whole)[1]


def test_a_long_one_dimensional_signal_has_a_mapping():
    # One row of psums alone would take three times the GLB.
    signal = ConvLayer(name="wav", M=8, C=1, H=1, W=160_000, R=1, S=10)
    best = search(signal, CHIP).mappings[0]
    check_mapping(signal, CHIP, best)
    assert best.column_strips > 3


@pytest.mark.parametrize("change, words", [
    (dict(spad_filter_words=2), "one filter row of 3 words exceeds the 2-word filter"),
    (dict(glb_ifmap_psum_B=4096), "one strip takes 1 GLB banks of ifmaps"),
    (dict(glb_filter_B=4), "one filter row of 3 words exceeds the 2-word filter buf"),
])
def test_a_machine_too_small_is_refused_with_the_limit(change, words):
    layer = ConvLayer(name="conv", M=2, C=2, H=6, W=6, R=3, S=3)
    with pytest.raises(ValueError) as caught:
        search(layer, replace(CHIP, **change))
    assert str(caught.value).startswith("conv: ")
    assert words in str(caught.value)


@pytest.mark.parametrize("sizes", [
    {"N": 10**9}, {"C": 10**9}, {"M": 10**9}, {"W": 50, "N": 10**9, "M": 1000}])
@pytest.mark.parametrize("base", [CHIP, ISCA16], ids=["chip", "isca16"])
def test_search_of_a_huge_layer_neither_hangs_nor_fills_memory(sizes, base):
    layer = ConvLayer(**{"name": "huge", "M": 8, "C": 8, "H": 1, "W": 1, "R": 1, "S": 1}
                      | sizes)
    check_mapping(layer, base, search(layer, base).mappings[0])


def test_search_on_an_array_of_endless_rows_ends():
    hardware = replace(CHIP, rows=10**9, spad_psum_words=10**9)
    layer = ConvLayer(name="L", M=8, C=8, H=9, W=9, R=3, S=3)
    assert search(layer, hardware).mappings[0].r <= 8


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("sizes", [
    dict(H=10**9, W=1, R=1, S=1), dict(H=10**5, W=10**5, R=3, S=3),
    dict(H=8, W=8, R=3, S=3, U=10**6), dict(H=2 * 10**6 + 1, W=3, R=3, S=3, U=10**6,
                                            V=1),
    dict(H=2 * 10**6 + 1, W=3, R=3, S=3, dilation=(10**6, 1))],
    ids=["a billion rows", "1e5 x 1e5", "stride", "tall stride", "dilation"])
def test_sizes_far_beyond_any_network_are_searched_and_simulated(sizes, objective):
    layer = ConvLayer(name="vast", M=4, C=2, **sizes)
    network = Network("vast", (layer,))
    (result,) = simulate(network, CHIP, objective=objective).by_layer
    assert result.cycles.mac * result.counts.active_pes >= layer.macs


def test_what_the_search_does_not_see_shares_its_mapping():
    conv = ConvLayer(name="conv", M=24, C=10, H=15, W=15, R=3, S=3)
    search_shape.cache_clear()
    best = search(conv, CHIP, "energy")
    for change in (dict(mac_pJ=9.0), dict(clock_pJ_per_PE_cycle=0), dict(zeros="dense"),
                   dict(clock_MHz=400, dram_link_MHz=120),
                   dict(dram_pJ=200 * CHIP.mac_pJ), dict(voltage_V=1.0, static_mW=4.0),
                   dict(glb_ifmap_psum_B=CHIP.glb_ifmap_psum_B + 2)):
        assert search(conv, replace(CHIP, **change), "energy") is best
    for change in (dict(clock_MHz=400), dict(dram_MAC=100), dict(hop_cycles=3),
                   dict(dram_pJ=1.0), dict(voltage_V=0.5), dict(rf_psum_MAC=2),
                   dict(glb_ifmap_psum_B=CHIP.glb_ifmap_psum_B + 4096)):
        assert search(conv, replace(CHIP, **change), "energy") is not best


@settings(max_examples=60, deadline=None)
@given(layers(), machines(), st.sampled_from(list(OBJECTIVES)))
def test_a_search_for_the_shared_machine_finds_what_one_for_the_machine_itself_finds(
        layer, machine, objective):
    machine = replace(machine, mac_pJ=1.0, clock_MHz=137.0, psum_in_fifo_words=2,
                      psum_out_fifo_words=3, ifmap_fifo_words=1, filter_fifo_words=2)
    try:
        found = search(layer, machine, objective)
    except ValueError:
        return
    if objective == "edp_normalised":
        machine = replace(machine, clock_pJ_per_PE_cycle=0)
    own = search_shape.__wrapped__(
        layer.shape, machine, objective, 1, "hopeless", NO_SAVINGS)
    assert found == own


def test_more_candidates_than_there_is_room_for_are_searched_once_more(monkeypatch):
    layer = ConvLayer(name="conv", N=2, M=24, C=16, H=15, W=15, R=3, S=3)
    rtl = load_hardware("eyeriss_rtl")
    wide = search(layer, rtl, "cycles", keep=4)
    search_shape.cache_clear()
    monkeypatch.setattr(rs_search, "ROOM", 0)
    assert search(layer, rtl, "cycles", keep=4) == replace(
        wide, evaluated=search(layer, rtl, "cycles", keep=4).evaluated)
