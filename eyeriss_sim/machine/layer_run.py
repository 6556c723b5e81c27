"""A whole layer on the machine: pass after pass, real words in, the real ofmap out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np

from eyeriss_sim.dataflows.rs_geometry import cut
from eyeriss_sim.hardware import Hardware
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.levels import (
    ACCESSES_SHAPE,
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
from eyeriss_sim.machine import array
from eyeriss_sim.machine.dram import FmapStream, Phases, phases_of
from eyeriss_sim.machine.micro import check_machine, micro_architecture
from eyeriss_sim.machine.passes import step_passes
from eyeriss_sim.mapping import Mapping, check_mapping
from eyeriss_sim.strips import column_strips
from eyeriss_sim.zero_handling import ZERO_HANDLINGS


@dataclass(frozen=True, eq=False)
class LayerRun:
    """Results of the machine's run of a layer.

    Parameters
    ----------
    ofmap : int16 ndarray, shape (N, M, E, F)
    accesses : int64 ndarray, shape (4, 3, 5), words
        [level, kind, direction], as ``counts.py`` defines them, after gating and before
        coding.
    pass_cycles : int64 ndarray, shape (passes,), cycles
        Cycles of each pass, in the order in which they ran.
    phases : Phases
        Cycles by what the chip was doing.
    ifmap_dram_words, ofmap_dram_words : int or float
        16-bit words that crossed the DRAM link, coded as the hardware says.
    macs : int
        Multiply-accumulates, gated ones included.
    """

    ofmap: np.ndarray
    accesses: np.ndarray
    pass_cycles: np.ndarray
    phases: Phases
    ifmap_dram_words: int | float
    ofmap_dram_words: int | float
    macs: int


def run_layer(layer: ConvLayer, hardware: Hardware, mapping: Mapping, ifmap: np.ndarray,
              filt: np.ndarray, bias: np.ndarray | None = None, *, shift: int = 0,
              saturate: bool = False, relu: bool = False, first_layer: bool = False,
              progress: Callable | None = None,
              on_run: Callable | None = None) -> LayerRun:
    """Run a layer on real 16-bit words, every pass stepped.

    Parameters
    ----------
    layer : ConvLayer
    hardware : Hardware
        With ``chip`` accounting, ``dense`` or ``gate_ifmap``, at the layer's widths:
        they say how many values storage holds and networks move.
    mapping : Mapping
        Legal.
    ifmap : int16 ndarray, shape (N, groups * C, H, W), padding included
    filt : int16 ndarray, shape (M, C, R, S)
    bias : int16 ndarray, shape (M,), optional
    shift : int
        Lowest bit of the 32-bit product that a psum keeps.
    saturate : bool
        Psums stay at the ends of the 16-bit range instead of wrapping.
    relu : bool
        Negative ofmap values leave for DRAM as zeros.
    first_layer : bool
        The network's input is not run-length coded (JSSC 2017).
    progress : callable, optional
        Called with the passes done.
    on_run : callable, optional
        Called before each run of passes with its ifmap, filters, psums and the row that
        each PE works on, as ``step_passes`` takes them.

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
    check_zeros(hardware)
    check_mapping(layer, hardware, mapping)
    check_tensors(layer, ifmap, filt)
    micro = micro_architecture(layer, hardware, mapping, shift, saturate)
    coded = hardware.coded("ifmap")
    ifmaps = FmapStream(coded and not first_layer, hardware.stored_bits("ifmap"))
    ofmaps = FmapStream(coded, hardware.stored_bits("ofmap"))
    accesses = np.zeros(ACCESSES_SHAPE, np.int64)
    ofmap = np.zeros((layer.N, layer.M, layer.E, layer.F), np.int16)
    cycles, filter_words, macs = [], [], 0
    for group, images, columns, strip, loaded in blocks(layer, mapping):
        kept = slice(group * layer.M_group + loaded.start,
                     group * layer.M_group + loaded.stop)
        ofmap_columns, ifmap_columns = columns
        psums = np.zeros((size(images), size(kept), size(strip), size(ofmap_columns)),
                         np.int16)
        if bias is not None:
            psums += bias[None, kept, None, None]
        strip_rows = ifmap_rows(layer, strip)
        for channels in pieces(layer.C, mapping.q * mapping.r):
            first = group * layer.C
            glb = ifmaps.carry(ifmap[images, first + channels.start:
                                     first + channels.stop][:, :, strip_rows,
                                                            ifmap_columns])
            accesses[[DRAM, GLB], IFMAP, [READ, FILL]] += glb.size
            for rows, cols, filters in passes_of_load(
                    layer, hardware, mapping, size(loaded)):
                weights = np.ascontiguousarray(
                    filt[kept][filters, channels, rows, cols])
                out = np.ascontiguousarray(psums[:, filters])
                stream, row_of = send(layer, glb, strip_rows, strip, rows, cols,
                                      size(ofmap_columns))
                if on_run is not None:
                    on_run(stream, weights, out, row_of)
                stepped = step_passes(layer, mapping, stream, weights, out, row_of,
                                      micro)
                psums[:, filters] = out
                book_passes(accesses, stepped.events, weights)
                cycles.append(stepped.cycles)
                filter_words += [part.size for part in np.split(
                    weights, range(mapping.p * mapping.t, len(weights),
                                   mapping.p * mapping.t))]
                macs += int(stepped.events[array.MACS])
                if progress is not None:
                    progress(len(filter_words))
        accesses[GLB, PSUM, DRAIN] += psums.size
        accesses[DRAM, PSUM, WRITE] += psums.size
        ofmap[images, kept, strip, ofmap_columns] = ofmaps.carry(
            np.maximum(psums, 0) if relu else psums)
    pass_cycles = np.concatenate(cycles)
    return LayerRun(
        ofmap, accesses, pass_cycles,
        phases_of(hardware, pass_cycles, np.array(filter_words), ifmaps.words,
                  ofmaps.words),
        ifmaps.words, ofmaps.words, macs)


def check_tensors(layer: ConvLayer, ifmap: np.ndarray, filt: np.ndarray) -> None:
    """Refuse tensors that are not the layer's."""
    for kind, tensor, shape in (
            ("ifmap", ifmap, (layer.N, layer.groups * layer.C, layer.H, layer.W)),
            ("filter", filt, (layer.M, layer.C, layer.R, layer.S))):
        if tensor.shape != shape or tensor.dtype != np.int16:
            raise ValueError(f"{layer.name}: {kind} must be int16 of shape {shape}, "
                             f"got {tensor.dtype} of shape {tensor.shape}")


def check_zeros(hardware: Hardware) -> None:
    """Refuse a handling of zeros that the chip's datapath does not have."""
    if not hardware.zero_handling.in_machine:
        known = (name for name, one in ZERO_HANDLINGS.items() if one.in_machine)
        raise ValueError(f"{hardware.name}: the machine has no datapath for zeros = "
                         f"\"{hardware.zeros}\"; give {' or '.join(known)}")
    if hardware.coded("ifmap") and hardware.fmap_code != "rlc":
        raise ValueError(f"{hardware.name}: the machine has no codec for [zeros] "
                         f"fmap_code = \"{hardware.fmap_code}\"; give none or rlc")


def pieces(length: int, part: int) -> list[slice]:
    """Consecutive slices of ``part``, the last one maybe shorter."""
    return [slice(start, min(start + part, length)) for start in range(0, length, part)]


def size(piece: slice) -> int:
    """Length of a slice."""
    return piece.stop - piece.start


def blocks(layer: ConvLayer,
           mapping: Mapping,
           ) -> Iterable[tuple[int, slice, tuple[slice, slice], slice, slice]]:
    """Work of each stay of psums in the GLB.

    Returns
    -------
    iterable of (int, slice, (slice, slice), slice, slice)
        Group; images; columns of ofmap and ifmap; ofmap rows; filters of the group.
    """
    return product(range(layer.groups), pieces(layer.N, mapping.n),
                   column_strips(layer, mapping), pieces(layer.E, mapping.e),
                   pieces(layer.M_group, mapping.m))


def passes_of_load(layer: ConvLayer, hardware: Hardware, mapping: Mapping,
                   filters: int) -> Iterable[tuple[slice, slice, slice]]:
    """Filter rows, columns and filters of each pass over ifmaps that are loaded.

    Where passes overlap, those that share a piece of the filters' rows and columns are
    one run: the array is set up for it once.
    """
    shape = cut(layer, hardware, mapping.row_segments, mapping.column_strips).shape
    run = filters if hardware.pass_overlap else mapping.p * mapping.t
    return product(pieces(layer.R, shape.R_full),
                   pieces(layer.S, shape.S_full), pieces(filters, run))


def ifmap_rows(layer: ConvLayer, strip: slice) -> np.ndarray:
    """Ifmap rows that a strip of ofmap rows needs."""
    return np.unique(rows_of_pes(layer, strip, slice(0, layer.R)))


def rows_of_pes(layer: ConvLayer, strip: slice, rows: slice) -> np.ndarray:
    """Ifmap row of the PE of each filter row and ofmap row, shape (R, e)."""
    return np.add.outer(np.arange(rows.start, rows.stop) * layer.dilation[0],
                        np.arange(strip.start, strip.stop) * layer.U)


def send(layer: ConvLayer, glb: np.ndarray, strip_rows: np.ndarray, strip: slice,
         rows: slice, cols: slice, F: int) -> tuple[np.ndarray, np.ndarray]:
    """Ifmaps that a pass sends from the GLB, and the row that each PE works on."""
    needed = rows_of_pes(layer, strip, rows)
    sent, row_of = np.unique(needed, return_inverse=True)
    first = cols.start * layer.dilation[1]
    span = (size(cols) - 1) * layer.dilation[1] + 1
    return (np.ascontiguousarray(glb[:, :, np.searchsorted(strip_rows, sent),
                                     first:first + (F - 1) * layer.V + span]),
            row_of.reshape(needed.shape))


def book_passes(accesses: np.ndarray, events: np.ndarray, weights: np.ndarray) -> None:
    """Add what passes moved to the accesses of the layer."""
    accesses[[DRAM, GLB], FILTER, [READ, FILL]] += weights.size
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
