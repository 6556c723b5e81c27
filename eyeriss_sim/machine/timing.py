"""Timing of a layer on the machine: each distinct pass stepped once, times its number.

Zeros save no cycle on the chip, so dense random words stand for any.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import product
from math import ceil

import numpy as np

from eyeriss_sim.counts import COUNTS_SHAPE, count
from eyeriss_sim.kernels import (
    DRAIN, DRAM, FILL, GLB, IFMAP, PSUM, R_FULL, READ, S_FULL, WRITE)
from eyeriss_sim.machine import array
from eyeriss_sim.machine.layer_run import (
    book_pass, check_machine, micro_architecture, no_progress, pieces)
from eyeriss_sim.mapping import check_mapping, cut

CAUSES = ("mac", "wait_filter", "wait_ifmap", "wait_psum_in", "wait_psum_out",
          "accumulate", "shift", "finished")


@dataclass(frozen=True)
class PassKind:
    """Passes that are alike: how much of each dimension one works on."""

    images: int
    rows_out: int
    filters: int
    channels: int
    R: int
    S: int


@dataclass(frozen=True)
class PassTiming:
    """Stepped cycles of one kind of pass.

    Parameters
    ----------
    kind : PassKind
    times : int
        Passes of this kind in the layer.
    isolated_cycles : int
        From its first word on a network to its last psum out.
    streaming_cycles : int
        Steady increment from one such pass to the next when the networks feed on.
    filter_fetch_cycles : int
        In which the DRAM link brings as many filters for the next pass.
    causes : dict
        Share of the isolated cycles, in cycles of an average PE.
    accesses : int64 ndarray, shape (4, 3, 5), words
        [level, kind, direction] of one such pass, as ``counts.py`` defines them.
    """

    kind: PassKind
    times: int
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
    processing_cycles : int
        Passes one after the other, none before its filters have come from DRAM.
    fmap_cycles : int
        Loads of uncoded ifmaps and dumps of uncoded ofmaps; the array stands still.
    complete : bool
        Whether every kind of pass was stepped.
    accesses : int64 ndarray, shape (4, 3, 5), words
        Of the passes stepped, times their number, and of the loads between them.
    """

    passes: tuple[PassTiming, ...]
    processing_cycles: int
    fmap_cycles: int
    complete: bool
    accesses: np.ndarray


def pass_kinds(layer, hardware, mapping):
    """How many passes of each kind a layer has; a Counter of PassKind."""
    shape = cut(layer, hardware, mapping.row_segments).shape
    sizes = [
        Counter(size(piece) for piece in pieces(layer.N, mapping.n)),
        Counter(size(piece) for piece in pieces(layer.E, mapping.e)),
        Counter(size(piece) for loaded in pieces(layer.M_group, mapping.m)
                for piece in pieces(size(loaded), mapping.p * mapping.t)),
        Counter(size(piece) for piece in pieces(layer.C, mapping.q * mapping.r)),
        Counter(size(piece) for piece in pieces(layer.R, int(shape[R_FULL]))),
        Counter(size(piece) for piece in pieces(layer.S, int(shape[S_FULL])))]
    kinds = Counter()
    for chosen in product(*(counter.items() for counter in sizes)):
        times = layer.groups
        for _, number in chosen:
            times *= number
        kinds[PassKind(*(length for length, _ in chosen))] += times
    return kinds


def size(piece):
    """Length of a slice."""
    return piece.stop - piece.start


def time_layer(layer, hardware, mapping, most_kinds=None, progress=None):
    """Step one pass of each kind.

    Parameters
    ----------
    layer, hardware, mapping
        Legal, on ``chip`` hardware.
    most_kinds : int, optional
        Step only so many kinds, full passes first; the sums are of those.
    progress : callable, optional
        Called with the kinds done and the kinds in all.

    Returns
    -------
    LayerTiming

    Raises
    ------
    ValueError
        As ``run_layer``.
    """
    check_machine(hardware)
    check_mapping(layer, hardware, mapping)
    kinds = list(pass_kinds(layer, hardware, mapping).items())
    chosen = kinds[:most_kinds]
    timings = []
    for kind, times in chosen:
        timings.append(time_pass(layer, hardware, mapping, kind, times))
        if progress is not None:
            progress(len(timings), len(chosen))
    dram = count(layer, hardware, mapping).accesses[DRAM]
    words = int(dram[IFMAP, READ] + dram[PSUM, WRITE])
    return LayerTiming(
        tuple(timings),
        sum(one.times * max(one.isolated_cycles, one.filter_fetch_cycles)
            for one in timings),
        ceil(words * hardware.cycles_per_dram_word), len(timings) == len(kinds),
        sum((one.times * one.accesses for one in timings),
            load_accesses(layer, mapping)))


def time_pass(layer, hardware, mapping, kind, times):
    """One kind of pass alone, and its increment when it follows itself."""
    ifmap, filt, psums, row_of = pass_words(layer, kind)
    events = np.zeros(array.EVENT_AXES, np.int64)
    spent = np.zeros(array.SPENT_AXES, np.int64)
    cycles = []
    # Longest first, so that what is counted is left as the single pass has it.
    for repeats in (3, 2, 1):
        cycles.append(array.run_pass(
            ifmap, filt, psums, row_of, mapping.p, mapping.q, layer.V,
            layer.dilation[1], layer.F, repeats, micro_architecture(hardware), events,
            spent))
        if cycles[-1] < 0:
            raise ValueError(no_progress(layer, mapping))
    three, two, one = cycles
    fetch = filt.size * hardware.cycles_per_dram_word
    shares = {cause: one * int(part) / int(spent.sum())
              for cause, part in zip(CAUSES, spent)}
    accesses = np.zeros(COUNTS_SHAPE, np.int64)
    book_pass(accesses, events, filt)
    return PassTiming(kind, times, int(one), int(three - two), ceil(fetch), shares,
                      accesses)


def pass_words(layer, kind):
    """Dense random words of one pass, and which row of the ifmap each PE works on.

    Returns
    -------
    ifmap, filt, psums : int16 ndarray
    row_of : int64 ndarray
        As ``array.run_pass`` takes them.
    """
    rng = np.random.default_rng(0)

    def words(*shape):
        return rng.integers(1, 2**15, shape).astype(np.int16)

    needed = np.array([[e * layer.U + k * layer.dilation[0]
                        for e in range(kind.rows_out)] for k in range(kind.R)])
    rows, row_of = np.unique(needed, return_inverse=True)
    columns = (layer.F - 1) * layer.V + (kind.S - 1) * layer.dilation[1] + 1
    return (words(kind.images, kind.channels, len(rows), columns),
            words(kind.filters, kind.channels, kind.R, kind.S),
            np.zeros((kind.images, kind.filters, kind.rows_out, layer.F), np.int16),
            row_of.reshape(needed.shape).astype(np.int64))


def load_accesses(layer, mapping):
    """Words that the control moves between passes: strips in, finished ofmaps out.

    Returns
    -------
    int64 ndarray, shape (4, 3, 5)
    """
    accesses = np.zeros(COUNTS_SHAPE, np.int64)
    loads = layer.groups * len(pieces(layer.M_group, mapping.m))
    for strip in pieces(layer.E, mapping.e):
        rows = {e * layer.U + k * layer.dilation[0]
                for e in range(strip.start, strip.stop) for k in range(layer.R)}
        words = loads * layer.N * layer.C * len(rows) * layer.W
        accesses[[DRAM, GLB], IFMAP, [READ, FILL]] += words
    accesses[[GLB, DRAM], PSUM, [DRAIN, WRITE]] = layer.ofmap_words
    return accesses
