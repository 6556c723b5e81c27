"""Random layers and machines for property tests: small, and odd in every way."""

from dataclasses import replace

from hypothesis import strategies as st

from eyeriss_sim.hardware import load_hardware
from eyeriss_sim.layer import ConvLayer

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
        ifmap_net_words=draw(st.sampled_from([1, 1, 2])),
        filter_net_words=draw(st.sampled_from([1, 2, 4])),
        psum_in_net_words=draw(st.sampled_from([1, 2, 4])),
        psum_out_net_words=draw(st.sampled_from([1, 2, 4])),
        hop_cycles=draw(st.integers(0, 9)),
        # No FIFO may be too small for the words that come at once.
        ifmap_fifo_words=draw(st.sampled_from([1, 2, 3, 5, 16, 16])),
        filter_fifo_words=draw(st.sampled_from([4, 6, 16])),
        psum_in_fifo_words=draw(st.sampled_from([4, 5, 8, 32, 32])),
        psum_out_fifo_words=draw(st.sampled_from([4, 5, 8, 32, 32])),
        glb_ports=draw(st.sampled_from([0, 1, 1])),
        pass_overlap=draw(st.sampled_from([0, 0, 1])),
        **draw(st.sampled_from([
            {}, {}, dict(accumulate_bubbles=1, stride_bubbles=1, image_gap_cycles=2,
                         filters_first=0, window_first=0)])),
        dram_link_MHz=draw(st.sampled_from([6, 60, 600])))


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
