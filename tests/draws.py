"""Random layers and machines for property tests: small, and odd in every way."""

from dataclasses import replace

import naive
import numpy as np
from hypothesis import strategies as st

from eyeriss_sim.hardware import load_hardware
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.mapping import Mapping

CHIP = load_hardware("eyeriss_chip")


@st.composite
def layers(draw, most_channels=6, most_filters=7, most_images=3, most_windows=7):
    """A CONV layer: any stride, dilation, groups, rectangular filters, ragged edges."""
    R, S = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 2), (3, 2)]))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    return ConvLayer(
        name="drawn",
        N=draw(st.integers(1, most_images)),
        M=groups * draw(st.integers(1, most_filters)),
        C=draw(st.integers(1, most_channels)),
        H=(R - 1) * dilation[0] + draw(st.integers(1, most_windows)),
        W=(S - 1) * dilation[1] + draw(st.integers(1, most_windows)),
        R=R, S=S, U=draw(st.integers(1, 3)), V=draw(st.integers(1, 3)),
        groups=groups, dilation=dilation)


# Networks, FIFOs and choices of the small machines. No FIFO may be too small for the
# words that come at once.
SMALL_CHOICES = {
    "ifmap_net_words": (1, 1, 2), "filter_net_words": (1, 2, 4),
    "psum_in_net_words": (1, 2, 4), "psum_out_net_words": (1, 2, 4),
    "hop_cycles": tuple(range(10)), "ifmap_fifo_words": (1, 2, 3, 5, 16, 16),
    "filter_fifo_words": (4, 6, 16), "psum_in_fifo_words": (4, 5, 8, 32, 32),
    "psum_out_fifo_words": (4, 5, 8, 32, 32), "glb_ports": (0, 1, 1),
    "pass_overlap": (0, 0, 1), "dram_link_MHz": (6, 60, 600)}
RTL_CHOICES = dict(accumulate_bubbles=1, stride_bubbles=1, image_gap_cycles=2,
                   filters_first=0, window_first=0)


@st.composite
def machines(draw):
    """A chip with a small array, small spads, small banks and uneven networks."""
    return replace(
        CHIP, name="drawn",
        rows=draw(st.integers(1, 6)), cols=draw(st.integers(1, 6)),
        spad_ifmap_words=draw(st.integers(1, 12)),
        spad_filter_words=draw(st.integers(5, 40)),
        spad_psum_words=draw(st.integers(1, 6)),
        glb_bank_B=draw(st.sampled_from([2, 32, 128])),
        glb_ifmap_psum_B=draw(st.integers(128, 3000)),
        glb_filter_B=draw(st.integers(60, 600)),
        **{field: draw(st.sampled_from(values))
           for field, values in SMALL_CHOICES.items()},
        **draw(st.sampled_from([{}, {}, RTL_CHOICES])))


# Limits that a mapping may be at, in the order in which they are checked.
LIMITS = ("n", "e", "m", "p", "t", "q", "r", "ifmap spad", "filter spad", "psum spad",
          "rows", "columns", "filter buffer", "banks")


def legal_case(rng, tight=()):
    """A mapping first, then a layer and a machine around it that it fits on.

    Parameters
    ----------
    rng : numpy.random.Generator
    tight : collection of str
        Of ``LIMITS``, those that the mapping is to be exactly at; at most one of p, t
        and one of q, r. The others have room for more or not.

    Returns
    -------
    layer : ConvLayer
    hardware : Hardware
    mapping : Mapping
    """
    def one_of(least, most):
        return int(rng.integers(least, most + 1))

    def room(limit, most):
        return 0 if limit in tight else one_of(0, most)

    p, q, r, t = one_of(1, 4), one_of(1, 3), one_of(1, 3), one_of(1, 3)
    n, e, fold = one_of(1, 2), one_of(1, 3), one_of(1, 2)
    if "p" in tight:
        t = 1
    if "q" in tight:
        r = 1
    if "columns" in tight:
        e *= fold
    m = p if "p" in tight else t * p if "t" in tight else (
        max(p, (t - 1) * p + 1) + one_of(0, p))
    C = q if "q" in tight else r * q if "r" in tight else (
        max(q, (r - 1) * q + 1) + one_of(0, q + 1))
    R, S, U, V = one_of(1, 4), one_of(1, 4), one_of(1, 3), one_of(1, 3)
    dilation = [(1, 1), (1, 1), (2, 1), (1, 2), (3, 2)][one_of(0, 4)]
    groups = [1, 1, 2][one_of(0, 2)]
    layer = ConvLayer(
        name="drawn", N=n + room("n", 2), M=groups * (m + room("m", 3)), C=C,
        H=(R - 1) * dilation[0] + 1 + (e + room("e", 3) - 1) * U + one_of(0, U - 1),
        W=(S - 1) * dilation[1] + 1 + one_of(0, 5) * V + one_of(0, V - 1),
        R=R, S=S, U=U, V=V, groups=groups, dilation=dilation)
    pieces = one_of(1, R) if one_of(0, 2) == 0 else 1
    R_full = -(-R // pieces)
    row_segments = -(-R // R_full)
    strips = naive.ways_to_cut_columns(layer)
    column_strips = strips[one_of(0, len(strips) - 1)] if one_of(0, 1) else 1
    spad, S_full = q * layer.S_span + room("ifmap spad", 3), S
    if q == 1 and S > 1 and "ifmap spad" not in tight and one_of(0, 2) == 0:
        # Too small for a row of the filter, which is then cut.
        spad = one_of(1, layer.S_span - 1)
        fits = (spad - 1) // dilation[1] + 1
        S_full = -(-S // -(-S // fits))
    rows = R_full * r * fold + room("rows", R_full * r - 1)
    if "rows" in tight:
        fold, rows = 1, R_full * r
    cols = -(-e * t // fold) + room("columns", 2)
    channels = min(q * r, C)
    ifmaps = n * channels * naive.widest_load(layer, column_strips) * len(
        naive.ifmap_rows(layer, range(e), range(R)))
    psums = n * m * e * -(-layer.F // column_strips)
    bank_B = [2, 8, 32, 128][one_of(0, 3)]
    banks = -(-2 * ifmaps // bank_B) + -(-2 * psums // bank_B) + room("banks", 3)
    hardware = replace(
        CHIP, name="drawn", rows=rows, cols=cols, spad_ifmap_words=spad,
        spad_filter_words=p * q * S_full + room("filter spad", 6),
        spad_psum_words=p + room("psum spad", 2), glb_bank_B=bank_B,
        glb_ifmap_psum_B=banks * bank_B + one_of(0, bank_B - 1),
        glb_filter_B=2 * (min(p * t, m) * channels * R_full * S_full
                          + room("filter buffer", 20)), **small_choices(rng))
    return layer, hardware, Mapping(m, n, e, p, q, r, t, row_segments, column_strips)


def small_choices(rng):
    """Networks, FIFOs and choices of a drawn machine, as ``machines`` draws them."""
    chosen = {field: values[rng.integers(len(values))]
              for field, values in SMALL_CHOICES.items()}
    return chosen | [{}, {}, RTL_CHOICES][rng.integers(3)]


@st.composite
def legal_triples(draw):
    """A layer, a machine and a legal mapping, built around the mapping."""
    return legal_case(np.random.default_rng(draw(st.integers(0, 2**32))))


def odd_layer(rng):
    """A small layer, likely odd: strides beyond the filter, edges that nothing meets.

    Parameters
    ----------
    rng : numpy.random.Generator
    """
    def one_of(least, most):
        return int(rng.integers(least, most + 1))

    R, S, U, V = one_of(1, 5), one_of(1, 4), one_of(1, 4), one_of(1, 4)
    dilation = [(1, 1), (1, 1), (2, 1), (1, 2), (3, 2), (2, 2)][one_of(0, 5)]
    groups = [1, 1, 2, 3][one_of(0, 3)]
    return ConvLayer(
        name="odd", N=one_of(1, 3), M=groups * one_of(1, 6), C=one_of(1, 5),
        H=(R - 1) * dilation[0] + 1 + one_of(0, 4) * U + one_of(0, U - 1),
        W=(S - 1) * dilation[1] + 1 + one_of(0, 6) * V + one_of(0, V - 1),
        R=R, S=S, U=U, V=V, groups=groups, dilation=dilation)


# What ``odd_machine`` chooses from, beside sizes.
CHOICES = {
    "glb_bank_B": (2, 8, 32, 128, 512), "glb_filter_B": (60, 200, 600, 8192),
    "spad_psum_words": (1, 2, 4, 24), "ifmap_net_words": (1, 1, 2, 3),
    "filter_net_words": (1, 2, 4), "psum_in_net_words": (1, 2, 4),
    "psum_out_net_words": (1, 2, 4), "hop_cycles": (0, 0, 3, 9),
    "ifmap_fifo_words": (1, 2, 3, 5, 16, 16), "filter_fifo_words": (4, 6, 16),
    "psum_in_fifo_words": (4, 5, 8, 32), "psum_out_fifo_words": (4, 5, 8, 32),
    "accumulate_bubbles": (0, 1), "stride_bubbles": (0, 1), "image_gap_cycles": (0, 2),
    "filters_first": (0, 1), "window_first": (0, 1), "glb_ports": (0, 1, 2),
    "pass_overlap": (0, 1), "dram_link_bits": (16, 64),
    "dram_link_MHz": (6, 60, 600, 6000), "noc_MAC": (0.0, 2.0, 2.0, 20.0),
    "glb_MAC": (0.0, 6.0, 6.0, 300.0), "dram_MAC": (0.0, 2.0, 200.0, 200.0),
    "clock_pJ_per_PE_cycle": (0.0, 5.26, 50.0), "static_mW": (0.0, 80.0)}


def odd_machine(rng, layer):
    """A chip of any choice, its ifmap spad often too small for a row of the filter."""
    spads = (1, 2, layer.S_span, 2 * layer.S_span, layer.C * layer.S_span, 12)
    chosen = {field: values[rng.integers(len(values))]
              for field, values in CHOICES.items()}
    return replace(
        CHIP, name="odd", zeros="dense", rows=int(rng.integers(1, 8)),
        cols=int(rng.integers(1, 7)),
        spad_ifmap_words=spads[rng.integers(len(spads))],
        spad_filter_words=layer.S * int(rng.integers(1, 13)),
        glb_ifmap_psum_B=max(2 * chosen["glb_bank_B"], int(2 ** rng.uniform(6, 13))),
        **chosen)
