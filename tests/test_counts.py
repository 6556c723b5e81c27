"""Access counts: hand-worked, against plain loops, conserved from level to level."""

from dataclasses import replace

import naive
import numpy as np
import pytest
from draws import CHIP, layers, legal_triples
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eyeriss_sim.counts import count
from eyeriss_sim.dataflows import rs_kernels as kernels
from eyeriss_sim.dataflows.rs_geometry import cut, cut_shape, even_cuts
from eyeriss_sim.hardware import load_hardware
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.levels import (
    DRAIN,
    DRAM,
    FILL,
    FILTER,
    GLB,
    HOP,
    IFMAP,
    NOC,
    PSUM,
    READ,
    RF,
    WRITE,
)
from eyeriss_sim.mapping import Mapping

ISCA16 = load_hardware("isca16_256")


def test_one_window_of_one_pe_by_hand():
    layer = ConvLayer(name="dot", M=1, C=1, H=1, W=3, R=1, S=3)
    counts = count(layer, CHIP, Mapping(1, 1, 1, 1, 1, 1, 1))
    expected = np.zeros((4, 3, 5), int)
    expected[DRAM, [IFMAP, FILTER], READ] = 3
    expected[GLB, [IFMAP, FILTER], FILL] = 3
    expected[GLB, [IFMAP, FILTER], READ] = 3
    expected[NOC, [IFMAP, FILTER], FILL] = 3
    expected[NOC, [IFMAP, FILTER], READ] = 3
    expected[RF, [IFMAP, FILTER], FILL] = 3
    expected[RF, :, READ] = 3
    expected[RF, PSUM, WRITE] = 3
    for port in (READ, WRITE, DRAIN):
        expected[GLB, PSUM, port] = 1
    for port in (FILL, READ, WRITE, DRAIN):
        expected[NOC, PSUM, port] = 1
    expected[DRAM, PSUM, WRITE] = 1
    assert (counts.accesses == expected).all()
    assert (counts.macs, counts.passes, counts.active_pes) == (3, 1, 1)


def test_two_strips_share_a_halo_row_by_hand():
    # 3x3 filters on a 5x5 ifmap, ofmap rows in strips of 2 and 1: 4 + 3 ifmap rows.
    layer = ConvLayer(name="halo", M=2, C=2, H=5, W=5, R=3, S=3)
    counts = count(layer, CHIP, Mapping(m=2, n=1, e=2, p=2, q=1, r=2, t=1))
    assert counts.accesses[DRAM, IFMAP, READ] == 2 * (4 + 3) * 5
    assert counts.accesses[GLB, IFMAP, READ] == 2 * (4 + 3) * 5
    assert counts.accesses[NOC, IFMAP, READ] == 2 * 3 * 3 * 5
    assert counts.accesses[NOC, PSUM, HOP] == 2 * 9 * (2 * 3 - 1)
    assert counts.accesses[DRAM, FILTER, READ] == 2 * 36
    assert (counts.passes, counts.active_pes) == (2, 12)


def test_two_column_strips_share_halo_columns_by_hand():
    # 5 ofmap columns in strips of 3 and 2: 5 + 4 ifmap columns, filters twice.
    layer = ConvLayer(name="halo", M=2, C=2, H=3, W=7, R=3, S=3)
    mapping = Mapping(m=2, n=1, e=1, p=2, q=1, r=2, t=1, column_strips=2)
    counts = count(layer, CHIP, mapping)
    assert counts.accesses[DRAM, IFMAP, READ] == 2 * 3 * (5 + 4)
    assert counts.accesses[GLB, IFMAP, READ] == 2 * 3 * (5 + 4)
    assert counts.accesses[DRAM, FILTER, READ] == 2 * 36
    assert counts.accesses[DRAM, PSUM, WRITE] == 2 * 5
    assert (counts.macs, counts.passes, counts.active_pes) == (layer.macs, 2, 6)


@settings(max_examples=100, deadline=None)
@given(layer=layers(), column_strips=st.integers(1, 7))
def test_column_strips_cost_what_narrower_layers_cost(layer, column_strips):
    assume(column_strips in even_cuts(layer.F, layer.F))
    mapping = Mapping(layer.M_group, 1, 1, 1, 1, 1, 1, row_segments=0,
                      column_strips=column_strips)
    width = -(-layer.F // column_strips)
    parts = []
    for left in range(0, layer.F, width):
        windows = min(width, layer.F - left)
        of_whole = layer.W - left * layer.V
        if left + windows < layer.F:
            # Up to the next strip: what no window meets is loaded all the same.
            of_whole = (windows - 1) * layer.V + max(layer.S_span, layer.V)
        parts.append(count(replace(layer, W=of_whole), CHIP,
                           replace(mapping, column_strips=1)))
    whole = count(layer, CHIP, mapping)
    assert (whole.accesses == sum(part.accesses for part in parts)).all()
    assert whole.passes == sum(part.passes for part in parts)


@pytest.mark.parametrize("compiled", [True, False], ids=["jit", "py"])
@settings(max_examples=150, deadline=None)
@given(triple=legal_triples())
def test_counts_equal_plain_loops(compiled, triple):
    layer, hardware, mapping = triple
    geometry = cut(layer, hardware, mapping.row_segments, mapping.column_strips)
    accesses = np.zeros((4, 3, 5), np.int64)
    kernel = kernels.chip_counts
    if not compiled:
        kernel = getattr(kernel, "py_func", kernel)
    passes = kernel(geometry.shape, kernels.Letters(*mapping.letters), accesses)
    expected, macs, expected_passes = naive.count_accesses(layer, hardware, mapping)
    assert (accesses == expected).all()
    assert macs == layer.macs
    assert passes == expected_passes


@settings(max_examples=150, deadline=None)
@given(triple=legal_triples())
def test_words_leave_a_level_as_often_as_they_enter_the_next(triple):
    layer, hardware, mapping = triple
    counts = count(layer, hardware, mapping)
    words = counts.accesses
    for kind in (IFMAP, FILTER):
        assert words[DRAM, kind, READ] == words[GLB, kind, FILL]
        assert words[GLB, kind, READ] == words[NOC, kind, FILL]
        assert words[NOC, kind, READ] == words[RF, kind, FILL]
        assert words[NOC, kind, READ] >= words[NOC, kind, FILL]
    assert words[GLB, PSUM, READ] == words[NOC, PSUM, FILL] == words[NOC, PSUM, READ]
    assert words[NOC, PSUM, WRITE] == words[NOC, PSUM, DRAIN] == words[GLB, PSUM, WRITE]
    assert words[GLB, PSUM, DRAIN] == words[DRAM, PSUM, WRITE] == layer.ofmap_words
    assert (words[RF, :, READ] == layer.macs).all()
    assert words[DRAM, FILTER, READ] % layer.filter_words == 0
    assert counts.active_pes <= hardware.pes


@settings(max_examples=300, deadline=None)
@given(R=st.integers(1, 8), cuts=st.integers(0, 7), stride=st.integers(1, 12),
       dilation=st.integers(1, 8), e=st.integers(1, 20))
def test_rows_of_a_strip_are_the_distinct_rows_that_its_taps_meet(
        R, cuts, stride, dilation, e):
    H = (e - 1) * stride + (R - 1) * dilation + 1
    layer = ConvLayer(name="rows", M=1, C=1, H=H, W=1, R=R, S=1, U=stride, V=1,
                      dilation=(dilation, 1))
    cut_rows = even_cuts(R, R)
    segments = cut_rows[cuts % len(cut_rows)]
    shape = cut_shape(layer.shape, segments, 1, 12).shape
    full = -(-R // segments)
    for part, height in ((kernels.FULL_SEGMENT, full),
                         (kernels.LAST_SEGMENT, R - (segments - 1) * full),
                         (kernels.WHOLE_FILTER, R)):
        met = {i * stride + k * dilation for i in range(e) for k in range(height)}
        assert kernels.strip_rows(shape, part, e) == len(met)
        assert kernels.rows_above(shape, part, e) == sum(
            row < (e - 1) * stride for row in met)
        for row in met:
            assert kernels.rows_before(height, stride, dilation, e, row) == sum(
                other < row for other in met)


def test_a_hundred_thousand_rows_are_counted_without_laying_them_out():
    layer = ConvLayer(name="tall", M=2, C=3, H=100_002, W=8, R=3, S=3)
    mapping = Mapping(2, 1, 14, 2, 3, 1, 1)
    counts = count(layer, CHIP, mapping)
    strips, left = divmod(layer.E, mapping.e)
    rows = strips * (mapping.e + 2) + left + 2
    assert counts.accesses[DRAM, IFMAP, READ] == 3 * rows * 8


def test_counts_of_the_isca16_analysis_by_hand_on_a_layer_with_nothing_square():
    # E, F = 4, 5; three ofmap columns of a strip lie over 8 of the ifmap's.
    layer = ConvLayer(name="conv", N=3, M=12, C=5, H=9, W=14, R=3, S=2, U=2, V=3,
                      groups=2)
    counts = count(layer, ISCA16, Mapping(m=6, n=1, e=3, p=3, q=2, r=1, t=2))
    ifmap, filters, ofmap = 3 * 2 * 5 * 9 * 14, 12 * 5 * 3 * 2, 3 * 12 * 4 * 5
    expected = {
        (DRAM, IFMAP, READ): ifmap * 1 * 5 / 14 * 8 / 3,
        (GLB, IFMAP, READ): ifmap * 1 * 5 / 14 * 8 / 3,
        (NOC, IFMAP, READ): ifmap * 2 * 2 * 5 / 14,
        (RF, IFMAP, READ): layer.macs,
        (DRAM, FILTER, READ): filters * 3 * 2, (NOC, FILTER, READ): filters * 3 * 5,
        (RF, FILTER, READ): layer.macs,
        (DRAM, PSUM, WRITE): ofmap,
        (GLB, PSUM, READ): ofmap * 2, (GLB, PSUM, WRITE): ofmap * 2,
        (NOC, PSUM, HOP): ofmap * (3 * 2 - 3),
        (RF, PSUM, READ): ofmap * (5 * 3 * 2 - 3 * 2),
        (RF, PSUM, WRITE): ofmap * (5 * 3 * 2 - 3 * 2)}
    assert {tuple(at): counts.accesses[tuple(at)] for at in np.argwhere(
        counts.accesses)} == pytest.approx(expected, rel=1e-12)
    assert counts.passes == 2 * 3 * 2 * 3 * 1
    assert (counts.macs, counts.active_pes) == (layer.macs, 2 * 3 * 2)


def test_steps_multiply_all_that_is_counted_but_the_pes_at_work():
    one = count(ConvLayer(name="L", M=2, C=2, H=5, W=5, R=3, S=3), CHIP,
                Mapping(m=2, n=1, e=2, p=2, q=1, r=2, t=1))
    five = one.times(5)
    assert (five.accesses == 5 * one.accesses).all()
    assert (five.macs, five.passes, five.active_pes) == (5 * 2 * 9 * 2 * 9, 5 * 2, 12)
