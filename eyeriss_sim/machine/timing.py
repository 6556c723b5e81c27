"""Timing of a layer on the machine: each distinct pass stepped once, times its number.

Zeros save no cycle on the chip, so dense random words stand for any.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from eyeriss_sim.counts import count
from eyeriss_sim.dataflows.rs_geometry import cut
from eyeriss_sim.dataflows.rs_kernels import STEADY
from eyeriss_sim.hardware import Hardware
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.levels import (
    ACCESSES_SHAPE,
    DRAIN,
    DRAM,
    FILL,
    GLB,
    IFMAP,
    PSUM,
    READ,
    WRITE,
)
from eyeriss_sim.machine.dram import Phases, phases_of, words_on_link
from eyeriss_sim.machine.layer_run import book_passes, ifmap_rows, pieces, size
from eyeriss_sim.machine.micro import check_machine, micro_architecture
from eyeriss_sim.machine.passes import step_passes
from eyeriss_sim.mapping import Mapping, check_mapping
from eyeriss_sim.strips import column_strips

CAUSES = ("mac", "wait_filter", "wait_ifmap", "wait_psum_in", "wait_psum_out",
          "accumulate", "shift", "finished")


@dataclass(frozen=True)
class PassKind:
    """Passes that are alike: how much of each dimension one works on.

    ``after`` counts the passes, up to three, that run on into it: none but where passes
    overlap.
    """

    images: int
    columns_out: int
    rows_out: int
    filters: int
    channels: int
    R: int
    S: int
    after: int


@dataclass(frozen=True)
class PassTiming:
    """Stepped cycles of one kind of pass.

    Parameters
    ----------
    kind : PassKind
    times : int
        Passes of this kind in the layer.
    cycles : int
        Cycles that one adds to the layer: isolated, or on top of those before it.
    isolated_cycles : int
        From its first word on a network to its last psum out.
    streaming_cycles : int
        Steady increment from one such pass to the next when the networks feed on.
    filter_fetch_cycles : int
        Cycles in which the DRAM link brings its filters.
    causes : dict
        Share of the isolated cycles, in cycles of an average PE.
    accesses : int64 ndarray, shape (4, 3, 5), words
        [level, kind, direction] of one such pass, as ``counts.py`` defines them.
    """

    kind: PassKind
    times: int
    cycles: int
    isolated_cycles: int
    streaming_cycles: int
    filter_fetch_cycles: int
    causes: dict
    accesses: np.ndarray


@dataclass(frozen=True)
class LayerTiming:
    """A layer's cycles on the machine.

    Parameters
    ----------
    passes : tuple of PassTiming
    phases : Phases
        Cycles by what the chip is doing; of the stepped kinds of pass.
    complete : bool
        Whether every kind of pass was stepped.
    accesses : int64 ndarray, shape (4, 3, 5), words
        Accesses of the passes stepped, times their number, and of loads between them.
    """

    passes: tuple[PassTiming, ...]
    phases: Phases
    complete: bool
    accesses: np.ndarray

    @property
    def processing_cycles(self) -> int:
        """Passes one after the other, none before its filters have come from DRAM."""
        return self.phases.processing

    @property
    def fmap_cycles(self) -> int:
        """Loads of ifmaps and dumps of ofmaps; the array stands still."""
        return self.phases.ifmap_load + self.phases.ofmap_dump


def pass_order(layer: ConvLayer, hardware: Hardware,
               mapping: Mapping) -> tuple[list[PassKind], np.ndarray]:
    """Every pass of one group, in the order in which they run.

    Returns
    -------
    kinds : list of PassKind
    order : int64 ndarray, shape (passes,)
        Place in ``kinds`` of each pass.
    """
    shape = cut(layer, hardware, mapping.row_segments, mapping.column_strips).shape

    def sizes(length, part):
        return [size(piece) for piece in pieces(length, part)]

    def numbered(values):
        known = list(dict.fromkeys(values))
        return known, np.array([known.index(value) for value in values])

    def pieces_of_load(filters):
        return [(part, min(place, STEADY) if hardware.pass_overlap else 0)
                for place, part in enumerate(sizes(filters, mapping.p * mapping.t))]

    images, images_at = numbered(sizes(layer.N, mapping.n))
    columns_out, columns_out_at = numbered(
        [size(columns) for columns, _ in column_strips(layer, mapping)])
    rows_out, rows_out_at = numbered(sizes(layer.E, mapping.e))
    channels, channels_at = numbered(sizes(layer.C, mapping.q * mapping.r))
    rows, rows_at = numbered(sizes(layer.R, shape.R_full))
    cols, cols_at = numbered(sizes(layer.S, shape.S_full))
    loads = sizes(layer.M_group, mapping.m)
    filters = list(dict.fromkeys(one for load in dict.fromkeys(loads)
                                 for one in pieces_of_load(load)))
    dimensions = (images, columns_out, rows_out, channels, rows, cols, filters)
    radix = [len(one) for one in dimensions]

    def of_load(load):
        filters_at = np.array([filters.index(one) for one in pieces_of_load(load)])
        parts = np.ix_(channels_at, rows_at, cols_at, filters_at)
        return np.ravel_multi_index(np.broadcast_arrays(*parts), radix[3:]).ravel()

    stay = np.concatenate([np.tile(of_load(loads[0]), len(loads) - 1),
                           of_load(loads[-1])])
    parts = np.broadcast_arrays(*np.ix_(images_at, columns_out_at, rows_out_at, stay))
    codes = np.ravel_multi_index(parts, (*radix[:3], np.prod(radix[3:])))
    distinct, order = np.unique(codes.ravel(), return_inverse=True)
    kinds = []
    for places in np.stack(np.unravel_index(distinct, radix), axis=1).tolist():
        n, F, E, c, R, S, (f, after) = (
            one[place] for one, place in zip(dimensions, places, strict=True))
        kinds.append(PassKind(n, F, E, f, c, R, S, after))
    return kinds, order


def time_layer(layer: ConvLayer, hardware: Hardware, mapping: Mapping,
               most_kinds: int | None = None, ifmap_words: float | None = None,
               ofmap_words: float | None = None,
               progress: Callable | None = None) -> LayerTiming:
    """Step one pass of each kind.

    Parameters
    ----------
    layer, hardware, mapping
        Legal, on ``chip`` hardware at the layer's widths.
    most_kinds : int, optional
        Step only so many kinds, full passes first; the sums are of those.
    ifmap_words, ofmap_words : int, optional
        16-bit words that cross the DRAM link; without them those of uncoded fmaps.
    progress : callable, optional
        Called with the kinds done and the kinds in all.

    Returns
    -------
    LayerTiming

    Raises
    ------
    ValueError
        Arguments of ``run_layer``.
    """
    check_machine(hardware)
    check_mapping(layer, hardware, mapping)
    kinds, order = pass_order(layer, hardware, mapping)
    times = layer.groups * np.bincount(order)
    stepped = len(kinds[:most_kinds])
    timings = []
    for kind, number in zip(kinds[:most_kinds], times[:most_kinds], strict=True):
        timings.append(time_pass(layer, hardware, mapping, kind, int(number)))
        if progress is not None:
            progress(len(timings), stepped)
    order = np.tile(order[order < stepped], layer.groups)
    dram = count(layer, hardware, mapping).accesses[DRAM]
    if ifmap_words is None:
        ifmap_words = words_on_link(int(dram[IFMAP, READ]),
                                    hardware.stored_bits("ifmap"))
    if ofmap_words is None:
        ofmap_words = words_on_link(int(dram[PSUM, WRITE]),
                                    hardware.stored_bits("ofmap"))
    phases = phases_of(
        hardware, np.array([one.cycles for one in timings])[order],
        np.array([filter_words(one.kind) for one in timings])[order], ifmap_words,
        ofmap_words)
    accesses = sum((one.times * one.accesses for one in timings),
                   load_accesses(layer, mapping))
    return LayerTiming(tuple(timings), phases, stepped == len(kinds), accesses)


def filter_words(kind: PassKind) -> int:
    """Filter words that a pass takes."""
    return kind.filters * kind.channels * kind.R * kind.S


def time_pass(layer: ConvLayer, hardware: Hardware, mapping: Mapping, kind: PassKind,
              times: int) -> PassTiming:
    """One kind of pass alone, behind those before it, and behind itself."""
    micro = micro_architecture(layer, hardware, mapping)

    def step(passes, in_pass):
        ifmap, filt, psums, row_of = random_words(
            layer, kind.images, kind.columns_out, kind.rows_out,
            (passes - 1) * in_pass + kind.filters, kind.channels, kind.R, kind.S)
        return step_passes(layer, mapping, ifmap, filt, psums, row_of, micro,
                           in_pass), filt

    alone, filt = step(1, kind.filters)
    cycles = isolated = int(alone.cycles[0])
    streaming = int(step(3, kind.filters)[0].cycles[2])
    if kind.after:
        cycles = int(step(kind.after + 1, mapping.p * mapping.t)[0].cycles[-1])
    fetch = phases_of(hardware, np.array([0]), np.array([filter_words(kind)]), 0, 0)
    shares = {cause: isolated * int(part) / int(alone.spent.sum())
              for cause, part in zip(CAUSES, alone.spent, strict=True)}
    accesses = np.zeros(ACCESSES_SHAPE, np.int64)
    book_passes(accesses, alone.events, filt)
    return PassTiming(kind, times, cycles, isolated, streaming, fetch.filter_wait,
                      shares, accesses)


def random_words(layer: ConvLayer, images: int, columns_out: int, rows_out: int,
                 filters: int, channels: int, R: int,
                 S: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Dense random words of passes, and which row of the ifmap each PE works on.

    Returns
    -------
    ifmap, filt, psums : int16 ndarray
    row_of : int64 ndarray
        Arguments of ``step_passes``.
    """
    rng = np.random.default_rng(0)

    def words(*shape):
        return rng.integers(1, 2**15, shape, dtype=np.int16)

    needed = np.array([[e * layer.U + k * layer.dilation[0] for e in range(rows_out)]
                       for k in range(R)])
    rows, row_of = np.unique(needed, return_inverse=True)
    columns = (columns_out - 1) * layer.V + (S - 1) * layer.dilation[1] + 1
    return (words(images, channels, len(rows), columns),
            words(filters, channels, R, S),
            np.zeros((images, filters, rows_out, columns_out), np.int16),
            row_of.reshape(needed.shape))


def load_accesses(layer: ConvLayer, mapping: Mapping) -> np.ndarray:
    """Words that the control moves between passes: strips in, finished ofmaps out.

    Returns
    -------
    int64 ndarray, shape (4, 3, 5)
    """
    accesses = np.zeros(ACCESSES_SHAPE, np.int64)
    loads = layer.groups * len(pieces(layer.M_group, mapping.m))
    columns = sum(size(of_ifmap) for _, of_ifmap in column_strips(layer, mapping))
    for strip in pieces(layer.E, mapping.e):
        words = loads * layer.N * layer.C * len(ifmap_rows(layer, strip)) * columns
        accesses[[DRAM, GLB], IFMAP, [READ, FILL]] += words
    accesses[[GLB, DRAM], PSUM, [DRAIN, WRITE]] = layer.ofmap_words
    return accesses
