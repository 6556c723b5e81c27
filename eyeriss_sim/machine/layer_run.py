"""A whole layer on the machine: pass after pass, real words in, the real ofmap out."""

from dataclasses import dataclass

import numpy as np

from eyeriss_sim.counts import COUNTS_SHAPE
from eyeriss_sim.kernels import (
    DRAIN, DRAM, FILL, FILTER, GLB, HOP, IFMAP, NOC, PSUM, R_FULL, READ, RF, S_FULL,
    WRITE)
from eyeriss_sim.machine import array
from eyeriss_sim.mapping import check_mapping, cut

# Cycles without any movement after which a pass is given up.
PATIENCE = 10_000


@dataclass(frozen=True, eq=False)
class LayerRun:
    """What the machine did.

    Parameters
    ----------
    ofmap : int16 ndarray, shape (N, M, E, F)
    accesses : int64 ndarray, shape (4, 3, 5), words
        [level, kind, direction], as ``counts.py`` defines them, after gating.
    pass_cycles : int64 ndarray, shape (passes,), cycles
        Of each pass on its own, in the order in which they ran.
    macs : int
        Multiply-accumulates, gated ones included.
    """

    ofmap: np.ndarray
    accesses: np.ndarray
    pass_cycles: np.ndarray
    macs: int


def micro_architecture(hardware, shift=0, saturate=False):
    """The machine's choices as its kernel reads them.

    A psum group collects in the lower PE and is taken up in the upper one; what
    ``hop_cycles`` has beyond that is latency on the way.
    """
    micro = np.zeros(array.MICRO_AXES, np.int64)
    micro[array.IFMAP_FIFO] = hardware.ifmap_fifo_words
    micro[array.FILTER_FIFO] = hardware.filter_fifo_words
    micro[array.PSUM_IN_FIFO] = hardware.psum_in_fifo_words
    micro[array.PSUM_OUT_FIFO] = hardware.psum_out_fifo_words
    micro[array.NET_I] = hardware.ifmap_net_words
    micro[array.NET_F] = hardware.filter_net_words
    micro[array.NET_P_IN] = hardware.psum_in_net_words
    micro[array.NET_P_OUT] = hardware.psum_out_net_words
    micro[array.HOP] = max(1, hardware.hop_cycles - hardware.psum_out_net_words - 1)
    micro[array.BUBBLES] = hardware.accumulate_bubbles
    micro[array.STRIDE_CYCLES] = hardware.stride_bubbles
    micro[array.IMAGE_GAP] = hardware.image_gap_cycles
    micro[array.FILTERS_FIRST] = hardware.filters_first
    micro[array.WINDOW_FIRST] = hardware.window_first
    micro[array.GATING] = hardware.zeros != "dense"
    micro[array.SHIFT] = shift
    micro[array.SATURATE] = saturate
    micro[array.PATIENCE] = PATIENCE
    return micro


def run_layer(layer, hardware, mapping, ifmap, filt, bias=None, shift=0,
              saturate=False, progress=None, on_pass=None):
    """Run a layer on real 16-bit words, every pass stepped.

    Parameters
    ----------
    layer : ConvLayer
    hardware : Hardware
        With ``chip`` accounting.
    mapping : Mapping
        Legal.
    ifmap : int16 ndarray, shape (N, groups * C, H, W), padding included
    filt : int16 ndarray, shape (M, C, R, S)
    bias : int16 ndarray, shape (M,), optional
    shift : int
        Lowest bit of the 32-bit product that a psum keeps.
    saturate : bool
        Psums stay at the ends of the 16-bit range instead of wrapping.
    progress : callable, optional
        Called with the passes done.
    on_pass : callable, optional
        Called before each pass with its ifmap, filters, psums and the row that each PE
        works on, as ``array.run_pass`` takes them.

    Returns
    -------
    LayerRun

    Raises
    ------
    ValueError
        A mapping that doesn't fit, tensors that are not the layer's, a machine that can
        run no passes, or one that stands still.
    """
    check_machine(hardware)
    check_mapping(layer, hardware, mapping)
    for kind, tensor, shape in (
            ("ifmap", ifmap, (layer.N, layer.groups * layer.C, layer.H, layer.W)),
            ("filter", filt, (layer.M, layer.C, layer.R, layer.S))):
        if tensor.shape != shape or tensor.dtype != np.int16:
            raise ValueError(f"{layer.name}: {kind} must be int16 of shape {shape}, "
                             f"got {tensor.dtype} of shape {tensor.shape}")
    micro = micro_architecture(hardware, shift, saturate)
    shape = cut(layer, hardware, mapping.row_segments).shape
    row_segments = pieces(layer.R, int(shape[R_FULL]))
    col_segments = pieces(layer.S, int(shape[S_FULL]))
    accesses = np.zeros(COUNTS_SHAPE, np.int64)
    ofmap = np.zeros((layer.N, layer.M, layer.E, layer.F), np.int16)
    cycles, macs = [], 0
    for group in range(layer.groups):
        for images in pieces(layer.N, mapping.n):
            for strip in pieces(layer.E, mapping.e):
                for loaded in pieces(layer.M_group, mapping.m):
                    kept = slice(group * layer.M_group + loaded.start,
                                 group * layer.M_group + loaded.stop)
                    psums = np.zeros((
                        images.stop - images.start, kept.stop - kept.start,
                        strip.stop - strip.start, layer.F), np.int16)
                    if bias is not None:
                        psums += bias[None, kept, None, None]
                    for channels in pieces(layer.C, mapping.q * mapping.r):
                        glb = load_strip(layer, ifmap, group, images, channels, strip,
                                         accesses)
                        for rows in row_segments:
                            for cols in col_segments:
                                for filters in pieces(psums.shape[1],
                                                      mapping.p * mapping.t):
                                    events = np.zeros(array.EVENT_AXES, np.int64)
                                    weights = np.ascontiguousarray(
                                        filt[kept][filters, channels, rows, cols])
                                    took = run_pass(layer, mapping, glb, weights, psums,
                                                    filters, strip, rows, cols, micro,
                                                    events, on_pass)
                                    book_pass(accesses, events, weights)
                                    cycles.append(took)
                                    macs += int(events[array.MACS])
                                    if progress is not None:
                                        progress(len(cycles))
                    ofmap[images, kept, strip] = psums
                    accesses[GLB, PSUM, DRAIN] += psums.size
                    accesses[DRAM, PSUM, WRITE] += psums.size
    return LayerRun(ofmap, accesses, np.array(cycles, np.int64), macs)


def check_machine(hardware):
    """Refuse hardware that is only an analysis."""
    if hardware.accounting != "chip":
        raise ValueError(f"{hardware.name}: only hardware with accounting = \"chip\" "
                         f"can be stepped")


def no_progress(layer, mapping):
    """Why the machine gave a pass up, in one line."""
    return (f"{layer.name}: nothing moved for {PATIENCE} cycles of a pass; the FIFOs "
            f"of [machine] are too shallow for {mapping}")


def pieces(length, size):
    """Consecutive slices of ``size``, the last one maybe shorter."""
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def load_strip(layer, ifmap, group, images, channels, strip, accesses):
    """Move a strip from DRAM into the GLB: its rows by their number in the ifmap."""
    rows = sorted({e * layer.U + k * layer.dilation[0]
                   for e in range(strip.start, strip.stop) for k in range(layer.R)})
    first = group * layer.C
    words = ifmap[images, first + channels.start:first + channels.stop][:, :, rows]
    accesses[DRAM, IFMAP, READ] += words.size
    accesses[GLB, IFMAP, FILL] += words.size
    return dict(zip(rows, range(len(rows)))), words


def run_pass(layer, mapping, glb, weights, psums, filters, strip, rows, cols, micro,
             events, on_pass=None):
    """Set up the array for one pass and step it; returns its cycles."""
    place_of, words = glb
    needed = np.array([[e * layer.U + k * layer.dilation[0]
                        for e in range(strip.start, strip.stop)]
                       for k in range(rows.start, rows.stop)])
    sent, row_of = np.unique(needed, return_inverse=True)
    first = cols.start * layer.dilation[1]
    span = (cols.stop - cols.start - 1) * layer.dilation[1] + 1
    streams = np.ascontiguousarray(
        words[:, :, [place_of[row] for row in sent.tolist()],
              first:first + (layer.F - 1) * layer.V + span])
    row_of = row_of.reshape(needed.shape).astype(np.int64)
    out = psums[:, filters].copy()
    if on_pass is not None:
        on_pass(streams, weights, out, row_of)
    cycles = array.run_pass(
        streams, weights, out, row_of, mapping.p, mapping.q, layer.V,
        layer.dilation[1], layer.F, 1, micro, events,
        np.zeros(array.SPENT_AXES, np.int64))
    if cycles < 0:
        raise ValueError(no_progress(layer, mapping))
    if events[array.LEFT_OVER]:
        raise ValueError(f"{layer.name}: {events[array.LEFT_OVER]} words were left in "
                         f"FIFOs at the end of a pass")
    psums[:, filters] = out
    return cycles


def book_pass(accesses, events, weights):
    """Add what a pass moved to the accesses of the layer."""
    accesses[DRAM, FILTER, READ] += weights.size
    accesses[GLB, FILTER, FILL] += weights.size
    accesses[GLB, FILTER, READ] += events[array.FILTER_SENT]
    accesses[NOC, FILTER, FILL] += events[array.FILTER_SENT]
    accesses[[NOC, RF], FILTER, [READ, FILL]] += events[array.FILTER_TAKEN]
    accesses[GLB, IFMAP, READ] += events[array.IFMAP_SENT]
    accesses[NOC, IFMAP, FILL] += events[array.IFMAP_SENT]
    accesses[[NOC, RF], IFMAP, [READ, FILL]] += events[array.IFMAP_TAKEN]
    accesses[GLB, PSUM, READ] += events[array.PSUM_SENT]
    accesses[NOC, PSUM, [FILL, READ]] += events[array.PSUM_SENT]
    accesses[NOC, PSUM, HOP] += events[array.PSUM_HOPS]
    accesses[NOC, PSUM, [WRITE, DRAIN]] += events[array.PSUM_OUT]
    accesses[GLB, PSUM, WRITE] += events[array.PSUM_OUT]
    accesses[RF, IFMAP, READ] += events[array.IFMAP_READS]
    accesses[RF, FILTER, READ] += events[array.FILTER_READS]
    accesses[RF, PSUM, READ] += events[array.PSUM_READS]
    accesses[RF, PSUM, WRITE] += events[array.PSUM_WRITES]
