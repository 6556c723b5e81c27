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
