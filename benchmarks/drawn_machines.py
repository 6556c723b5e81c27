"""Drawn layers, mappings and machines on which the model is held to the machine.

A mapping is drawn first, then a layer that it is legal for and a machine around both
whose array, spads and GLB are just large enough or a little larger. So every letter is
above one about as often as not, and limits are met exactly.
"""

from dataclasses import replace

from eyeriss_sim.dataflows.rs_geometry import even_cuts, glb_use
from eyeriss_sim.hardware import load_hardware
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.mapping import Mapping, check_mapping


def draw_case(rng, short_fifos=False, **settings):
    """A layer, a machine and a legal mapping.

    Parameters
    ----------
    rng : numpy.random.Generator
    short_fifos : bool
        Whether FIFOs may be shorter than those of the presets.
    **settings
        Of the hardware, held fixed.

    Returns
    -------
    layer : ConvLayer
    hardware : Hardware
    mapping : Mapping
    """
    while True:
        layer, mapping, rows_needed = draw_mapping(rng)
        hardware = draw_hardware(rng, layer, mapping, rows_needed, short_fifos,
                                 settings)
        try:
            check_mapping(layer, hardware, mapping)
        except ValueError:
            continue        # the rows of a segment or the spans did not come out
        return layer, hardware, mapping


def draw_mapping(rng):
    """A layer, a mapping of it, and the array rows that one PE set takes."""
    def one_of(*values):
        return values[rng.integers(len(values))]

    R, S = one_of(1, 2, 3, 3, 4, 5, 7), one_of(1, 2, 3, 3, 5, 7)
    dilation = one_of((1, 1), (1, 1), (1, 1), (2, 1), (1, 2), (3, 2))
    N = one_of(1, 1, 2, 3)
    p, t = one_of(1, 2, 3, 4, 5, 6, 8), one_of(1, 1, 2, 3, 4)
    q, r = one_of(1, 1, 2, 3, 4), one_of(1, 1, 2, 3)
    filters = max(p, (t - 1) * p + 1) + int(rng.integers(0, 2 * p * t + 1))
    channels = (r - 1) * q + 1 + int(rng.integers(0, 2 * q * r + 1))
    channels = max(channels, q)
    groups = one_of(1, 1, 1, 2)
    E, F = int(rng.integers(1, 11)), int(rng.integers(1, 21))
    layer = ConvLayer(
        name="drawn", N=N, M=groups * filters, C=channels,
        H=(E - 1) * (U := one_of(1, 1, 2, 3)) + (R - 1) * dilation[0] + 1,
        W=(F - 1) * (V := one_of(1, 1, 2, 4)) + (S - 1) * dilation[1] + 1
        + int(rng.integers(0, 2)),
        R=R, S=S, U=U, V=V, groups=groups, dilation=dilation)
    pieces = one_of(1, 1, 1, *even_cuts(R, R))
    strips = one_of(1, 1, 1, *even_cuts(layer.F, layer.F))
    e = int(rng.integers(1, layer.E + 1))
    m = int(rng.integers(max(p, (t - 1) * p + 1), filters + 1))
    mapping = Mapping(m, int(rng.integers(1, N + 1)), e, p, q, r, t,
                      row_segments=pieces, column_strips=strips)
    return layer, mapping, -(-R // pieces)


def draw_hardware(rng, layer, mapping, rows_needed, short_fifos, settings):
    """A machine that the mapping fills, or nearly."""
    def one_of(*values):
        return values[rng.integers(len(values))]

    _, _, e, p, q, r, t = mapping.letters
    rows = rows_needed * r * one_of(1, 1, 2) + one_of(0, 0, 1)
    hardware = replace(
        load_hardware("eyeriss_chip"), name="drawn", rows=rows,
        cols=-(-e * t // (rows // (rows_needed * r))) + one_of(0, 0, 1),
        spad_ifmap_words=q * layer.S_span + one_of(0, 0, 1),
        spad_filter_words=p * q * layer.S + one_of(0, 3),
        spad_psum_words=p + one_of(0, 2),
        glb_bank_B=one_of(64, 256, 1024), glb_ifmap_psum_B=2**24, glb_filter_B=2**24,
        ifmap_net_words=one_of(1, 1, 2, 4), filter_net_words=one_of(1, 2, 4),
        psum_in_net_words=one_of(1, 2, 4), psum_out_net_words=one_of(1, 2, 4),
        hop_cycles=one_of(0, 1, 9, 20), glb_ports=one_of(0, 1, 1, 2),
        pass_overlap=one_of(0, 1), first_row_on_top=one_of(0, 1),
        accumulate_bubbles=one_of(0, 1), stride_bubbles=one_of(0, 1),
        image_gap_cycles=one_of(0, 1, 2, 5),
        filters_first=one_of(0, 1), window_first=one_of(0, 1), zeros="dense",
        dram_link_MHz=one_of(6, 60, 600))
    hardware = replace(hardware, **settings)
    if short_fifos:
        hardware = replace(
            hardware, ifmap_fifo_words=one_of(1, 2, 3, 4, 6, 16),
            filter_fifo_words=hardware.filter_net_words + one_of(0, 1, 4, 12),
            psum_in_fifo_words=max(hardware.psum_in_net_words,
                                   hardware.psum_out_net_words) + one_of(0, 1, 4, 28),
            psum_out_fifo_words=hardware.psum_out_net_words + one_of(0, 1, 4, 28))
    # As many banks as the mapping fills, or some that are left over.
    use = glb_use(layer, hardware, mapping)
    banks = use["ifmap_banks"] + use["psum_banks"] + one_of(0, 0, 1, 3, 20)
    return replace(hardware, glb_ifmap_psum_B=banks * hardware.glb_bank_B)
