"""The search against every legal mapping, all cuts too, on odd layers and machines."""

from dataclasses import replace
from itertools import islice

import naive
import numpy as np
import pytest
from draws import CHIP, CHOICES, odd_layer, odd_machine

from eyeriss_sim.dataflows import rs_kernels as kernels
from eyeriss_sim.dataflows.rs_geometry import cut
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.levels import DRAM
from eyeriss_sim.mapping import Mapping
from eyeriss_sim.search import OBJECTIVES, search
from eyeriss_sim.simulate import simulate_layer
from eyeriss_sim.zeros import Densities


def drawn(seed, most=2500):
    """A layer, a machine, and all of its mappings, of which it has at least one."""
    rng = np.random.default_rng(seed)
    while True:
        layer = odd_layer(rng)
        hardware = odd_machine(rng, layer)
        legal = list(islice(naive.legal_mappings(layer, hardware), most + 1))
        if 0 < len(legal) <= most:
            return layer, hardware, [Mapping(*one) for one in legal]


def reported(layer, hardware, mapping):
    """What reports say of a mapping, by objective."""
    one = simulate_layer(layer, hardware, mapping, "test", Densities(), False)
    cycles, joules = one.cycles.total, one.chip_pJ + float(one.energy_pJ[DRAM].sum())
    return {"energy": one.total_MAC, "cycles": cycles, "joules": joules,
            "edp": joules * cycles, "edp_normalised": one.total_MAC * cycles}


def assert_nothing_is_better(layer, hardware, legal):
    every = [reported(layer, hardware, mapping) for mapping in legal]
    for objective in OBJECTIVES:
        found = search(layer, hardware, objective).mappings[0]
        best = min(range(len(legal)), key=lambda at: every[at][objective])
        # Nearer than that are ties.
        assert reported(layer, hardware, found)[objective] <= (
            every[best][objective] * (1 + 3e-9)), (objective, found, legal[best])


@pytest.mark.parametrize("seed", range(40))
def test_no_legal_mapping_is_better_than_the_one_found(seed):
    assert_nothing_is_better(*drawn(seed, most=300))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1500))
def test_no_legal_mapping_is_better_than_the_one_found_on_500_draws(seed):
    assert_nothing_is_better(*drawn(seed))


@pytest.mark.parametrize("sizes, machine, better", [
    # Four columns of ifmap between windows of three pixels that two strips don't send.
    (dict(N=3, M=2, C=5, groups=2, H=3, W=7, R=2, S=3, U=4, V=4),
     dict(rows=2, cols=6, spad_ifmap_words=1, spad_filter_words=20, spad_psum_words=1,
          glb_bank_B=8, glb_filter_B=200, filter_net_words=1, psum_out_net_words=1,
          hop_cycles=0, window_first=0, glb_ports=0, pass_overlap=1, dram_link_bits=16,
          dram_link_MHz=6000), 2),
    # Filters as wide as the stride is, but the spad holds a third of a row.
    (dict(N=6, M=6, C=1, H=2, W=5, R=1, S=3, U=2, V=2),
     dict(rows=1, cols=1, spad_ifmap_words=1, spad_psum_words=1, glb_MAC=300.0,
          dram_MAC=0.0), 2),
    # No window meets three columns of four: one strip a column sends a fourth of them.
    (dict(M=1, C=1, H=8, W=13, R=1, S=1, U=1, V=4),
     dict(rows=2, cols=8, glb_MAC=300.0, dram_MAC=0.0), 4),
])
def test_strips_that_the_GLB_has_no_need_of_are_found_where_they_send_less(
        sizes, machine, better):
    layer, hardware = ConvLayer(name="gaps", **sizes), replace(CHIP, **machine)
    legal = [Mapping(*one) for one in naive.legal_mappings(layer, hardware)]
    assert_nothing_is_better(layer, hardware, legal)
    assert better in {search(layer, hardware, objective).mappings[0].column_strips
                      for objective in OBJECTIVES}


@pytest.mark.parametrize("seed", range(40))
def test_no_objective_gets_worse_with_a_larger_glb(seed):
    layer, hardware, _ = drawn(2000 + seed, most=1000)
    for field, more in (("glb_ifmap_psum_B", hardware.glb_bank_B),
                        ("glb_ifmap_psum_B", 4000), ("glb_filter_B", 100)):
        larger = replace(hardware, **{field: getattr(hardware, field) + more})
        for objective in OBJECTIVES:
            before, after = (search(layer, one, objective).scores[0]
                             for one in (hardware, larger))
            assert after <= before * (1 + 2e-9), (field, more, objective)


@pytest.mark.parametrize("seed", range(40))
def test_neither_energy_nor_time_gets_worse_with_more_pes(seed):
    layer, hardware, _ = drawn(3000 + seed, most=1000)
    for field, more in (("rows", 1), ("cols", 1), ("rows", 6)):
        larger = replace(hardware, **{field: getattr(hardware, field) + more})
        # Not joules, which idle PEs burn.
        for objective in ("energy", "cycles", "edp_normalised"):
            before, after = (search(layer, one, objective).scores[0]
                             for one in (hardware, larger))
            assert after <= before * (1 + 2e-9), (field, more, objective)


def test_the_draws_reach_what_the_rules_of_the_search_are_about():
    seen = {field: set() for field in CHOICES}
    reached = set()
    for seed in range(40):
        layer, hardware, legal = drawn(seed, most=300)
        for field, values in seen.items():
            values.add(getattr(hardware, field))
        shape = cut(layer, hardware).shape
        rows = [kernels.strip_rows(shape, kernels.WHOLE_FILTER, e)
                for e in range(1, layer.E + 1)]
        reached |= {what for what, true in {
            "stride beyond the filter": layer.V > layer.S_span,
            "trailing columns": (layer.W - layer.S_span) % layer.V,
            "trailing rows": (layer.H - layer.R_span) % layer.U,
            "dilation": layer.dilation != (1, 1), "groups": layer.groups > 1,
            "rows that are not linear": len(set(np.diff(rows))) > 1,
            "column segments": layer.S_span > hardware.spad_ifmap_words,
            "row segments": any(one.row_segments for one in legal),
            "column strips": any(one.column_strips > 2 for one in legal),
        }.items() if true}
    assert len(reached) == 9
    for field in ("filters_first", "window_first", "pass_overlap", "glb_ports",
                  "hop_cycles", "ifmap_net_words", "psum_out_net_words"):
        assert seen[field] == set(CHOICES[field])
