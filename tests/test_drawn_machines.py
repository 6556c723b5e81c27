"""The counting model's cycles on drawn layers and machines, beside the machine's."""

from dataclasses import replace

import numpy as np
import pytest
from draws import CHIP

from benchmarks.drawn_machines import draw_case
from eyeriss_sim.counts import count
from eyeriss_sim.cycles import count_cycles
from eyeriss_sim.dataflows import rs_kernels as kernels
from eyeriss_sim.dataflows.rs_geometry import cut, timing
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.machine.timing import time_layer
from eyeriss_sim.mapping import Mapping
from eyeriss_sim.zeros import NO_SAVINGS

SETTINGS = [(0, 0), (0, 1), (1, 0), (1, 1)]


def errors_percent(seeds, **fixed):
    """Model over machine less one, in percent, of one drawn case a seed."""
    errors = []
    for seed in seeds:
        layer, hardware, mapping = draw_case(np.random.default_rng(seed), **fixed)
        model = count_cycles(layer, hardware, mapping, count(layer, hardware, mapping),
                             NO_SAVINGS)
        machine = time_layer(layer, hardware, mapping)
        errors.append(100 * (model.processing / machine.processing_cycles - 1))
    return np.array(errors)


@pytest.mark.parametrize("filters_first, window_first", SETTINGS)
def test_cycles_are_the_machines_to_the_cycle_where_no_bank_is_in_the_way(
        filters_first, window_first):
    errors = errors_percent(range(25), filters_first=filters_first, glb_ports=0,
                            window_first=window_first, pass_overlap=0)
    assert not errors.any()


# Seeds of which most have cycles that waits for a bank's port lengthen.
@pytest.mark.parametrize("seeds, fixed", [
    ((65, 81, 168, 193, 213, 411, 443, 482, 573, 581, 661), {}),
    (range(20), {"glb_ports": 1, "psum_in_net_words": 8, "psum_out_net_words": 8}),
    (range(20), {"glb_ports": 1, "psum_in_net_words": 8, "psum_out_net_words": 3}),
    (range(20), {"glb_ports": 1, "ifmap_net_words": 8, "glb_bank_B": 64})])
def test_cycles_are_the_machines_to_the_cycle_where_banks_make_networks_wait(
        seeds, fixed):
    assert not errors_percent(seeds, **fixed).any()


@pytest.mark.parametrize("net_in, net_out, machine", [
    (4, 4, 788), (8, 8, 748), (8, 4, 1065), (4, 8, 1118)])
def test_reads_wait_for_writes_in_the_only_two_banks(net_in, net_out, machine):
    """Of unlike networks one comes back to rows that the other has done with."""
    hardware = replace(CHIP, psum_in_net_words=net_in, psum_out_net_words=net_out,
                       ifmap_net_words=4, glb_ifmap_psum_B=4 * 4096,
                       dram_link_MHz=6000)
    layer = ConvLayer(name="1x1", M=8, C=6, H=12, W=30, R=1, S=1)
    mapping = Mapping(8, 1, 12, 8, 1, 6, 1)
    model = count_cycles(layer, hardware, mapping, count(layer, hardware, mapping),
                         NO_SAVINGS)
    assert model.processing == machine
    assert time_layer(layer, hardware, mapping).processing_cycles == machine


def test_sets_behind_a_larger_pass_are_looked_at():
    """Two filters in a set that the pass before filled, where passes overlap."""
    assert not errors_percent([124]).any()


@pytest.mark.parametrize("filters_first, window_first", SETTINGS)
def test_closed_forms_are_never_above_the_followed_cycles_of_a_pass(
        filters_first, window_first):
    ends = np.zeros(1, np.int64)
    for seed in range(60):
        layer, hardware, mapping = draw_case(
            np.random.default_rng(seed), filters_first=filters_first, glb_ports=0,
            window_first=window_first)
        shape = cut(layer, hardware, mapping.row_segments, mapping.column_strips).shape
        e, p, q = mapping.e, mapping.p, mapping.q
        filters = min(mapping.m, p * mapping.t)
        kind = kernels.Kind(
            R=shape.R_full, S=shape.S_full, span=shape.span_full, F=shape.F,
            images=mapping.n, rows_out=e, channels=min(layer.C, q * mapping.r),
            rows=kernels.strip_rows(shape, 0, e), above=kernels.rows_above(shape, 0, e),
            V=shape.V, U=shape.U, D=shape.D)
        bounds = kernels.pass_cycles(timing(hardware), kind, filters, p, q, 1)
        kernels.run_of_passes(timing(hardware), kind, filters, filters, p, q, 1,
                              kernels.UNHINDERED, ends)
        assert list(bounds) == sorted(bounds)
        assert bounds[-1] <= ends[0], (seed, layer, hardware, mapping)


def test_macs_begin_with_the_first_word_though_filters_went_first():
    # One PE, one window of three taps, a filter: its three weights come in cycles 0 to
    # 2, from when on ifmaps go, a word in each of cycles 2 to 4. They are taken a cycle
    # later, and each is multiplied in the cycle in which it is taken: 3, 4, 5. Two
    # stages of the pipeline, and out in cycle 8.
    layer = ConvLayer(name="row", M=1, C=1, H=1, W=3, R=1, S=3)
    mapping = Mapping(1, 1, 1, 1, 1, 1, 1)
    hardware = replace(CHIP, window_first=0, filter_net_words=1)
    model = count_cycles(layer, hardware, mapping, count(layer, hardware, mapping),
                         NO_SAVINGS)
    assert model.processing - model.dram_filter == 9
    assert time_layer(layer, hardware, mapping).phases.array == 9


@pytest.mark.parametrize("hop, fifo, R, channels, stride", [
    (100, 8, 3, 2, 2), (50, 8, 3, 2, 1), (60, 4, 2, 2, 1), (20, 4, 3, 1, 1)])
def test_windows_are_skipped_only_once_full_fifos_have_had_their_say(
        hop, fifo, R, channels, stride):
    """Psums that climb slowly fill FIFOs in a few windows, which then set the pace."""
    hardware = replace(CHIP, glb_ports=0, hop_cycles=hop, ifmap_fifo_words=4,
                       psum_in_fifo_words=fifo, psum_out_fifo_words=fifo)
    layer = ConvLayer(name="L", M=1, C=channels, H=R, W=127 * stride, R=R, S=1,
                      U=1, V=stride)
    mapping = Mapping(1, 1, 1, 1, 1, channels, 1)
    model = count_cycles(layer, hardware, mapping, count(layer, hardware, mapping),
                         NO_SAVINGS)
    assert model.processing == time_layer(layer, hardware, mapping).processing_cycles


@pytest.mark.parametrize("letters, R, S, F, C, filters_first, fifo", [
    ((8, 4, 1, 5, 3, 1, 1), 2, 2, 11, 3, 1, 16),
    ((18, 5, 1, 9, 2, 2, 1), 2, 1, 21, 4, 0, 5)])
def test_filters_of_a_next_pass_wait_for_the_images_that_were_skipped(
        letters, R, S, F, C, filters_first, fifo):
    mapping = Mapping(*letters)
    layer = ConvLayer(name="L", N=mapping.n, M=mapping.m, C=C, H=R, W=F + S - 1, R=R,
                      S=S)
    hardware = replace(
        CHIP, glb_ports=0, pass_overlap=1, filters_first=filters_first,
        window_first=filters_first, hop_cycles=9 if filters_first else 3,
        ifmap_fifo_words=fifo, psum_in_fifo_words=8)
    model = count_cycles(layer, hardware, mapping, count(layer, hardware, mapping),
                         NO_SAVINGS)
    assert model.processing == time_layer(layer, hardware, mapping).processing_cycles
