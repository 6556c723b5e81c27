"""What every PE and network does in each cycle of a layer's first passes."""

from dataclasses import dataclass
from itertools import islice

import numpy as np

from eyeriss_sim.kernels import R_FULL, S_FULL
from eyeriss_sim.machine import array
from eyeriss_sim.machine.layer_run import micro_architecture, no_progress, pieces
from eyeriss_sim.machine.timing import PassKind, pass_words, size
from eyeriss_sim.mapping import cut

# Some 12 bytes each: what is recorded of one pass stays within a quarter gigabyte.
MOST_PE_CYCLES = 20_000_000


@dataclass(frozen=True, eq=False)
class PassTrace:
    """One pass, cycle by cycle.

    Parameters
    ----------
    pes : int16 ndarray, shape (recorded cycles, rows, columns, 6)
        PEs as the mapping sets them up, not where the array folds them; the bottom row
        first. The last axis is that of ``array.DID`` and its like.
    networks : int32 ndarray, shape (recorded cycles, 5, 4 + words)
        Axes as ``array.IFMAP_NET`` and ``array.OFFERED`` and their like.
    cycles : int
        Of the whole pass.
    micro : int64 ndarray, shape (18,)
        The machine's choices, FIFO depths and network widths among them.
    """

    pes: np.ndarray
    networks: np.ndarray
    cycles: int
    micro: np.ndarray


class PassRecorder:
    """Records the first passes of a layer; ``run_layer`` takes it as ``on_pass``.

    Parameters
    ----------
    layer, hardware, mapping
        Legal, on ``chip`` hardware.
    most_passes : int

    Attributes
    ----------
    passes : list of PassTrace
    """

    def __init__(self, layer, hardware, mapping, most_passes):
        self.layer, self.mapping = layer, mapping
        self.micro = micro_architecture(hardware)
        self.most_passes = most_passes
        self.passes = []

    def __call__(self, ifmap, filt, psums, row_of):
        """Record one more pass, unless there are enough; the psums stay as they are."""
        if len(self.passes) == self.most_passes:
            return
        filters, channels, R, _ = filt.shape
        height = -(-channels // self.mapping.q) * R
        width = -(-filters // self.mapping.p) * row_of.shape[1]
        # Stepped twice: the first time tells how long it is.
        cycles = self._step(ifmap, filt, psums.copy(), row_of, None, None)
        if cycles < 0:
            raise ValueError(no_progress(self.layer, self.mapping))
        recorded = min(cycles, max(1, MOST_PE_CYCLES // (height * width)))
        pes, networks = array.trace_arrays(recorded, height * width, self.micro)
        self._step(ifmap, filt, psums.copy(), row_of, pes, networks)
        self.passes.append(PassTrace(
            pes.reshape(recorded, height, width, array.PE_TRACE_AXES), networks,
            cycles, self.micro))

    def _step(self, ifmap, filt, psums, row_of, pes, networks):
        layer, mapping = self.layer, self.mapping
        return int(array.run_pass(
            ifmap, filt, psums, row_of, mapping.p, mapping.q, layer.V,
            layer.dilation[1], layer.F, 1, self.micro,
            np.zeros(array.EVENT_AXES, np.int64), np.zeros(array.SPENT_AXES, np.int64),
            pes, networks))


def record_passes(layer, hardware, mapping, most_passes):
    """The first passes of a layer on dense random words, as timing mode steps them.

    Returns
    -------
    list of PassTrace
    """
    recorder = PassRecorder(layer, hardware, mapping, most_passes)
    for kind in islice(pass_order(layer, hardware, mapping), most_passes):
        recorder(*pass_words(layer, kind))
    return recorder.passes


def pass_order(layer, hardware, mapping):
    """The kind of each pass, in the order in which they run."""
    shape = cut(layer, hardware, mapping.row_segments).shape
    for _ in range(layer.groups):
        for images in pieces(layer.N, mapping.n):
            for strip in pieces(layer.E, mapping.e):
                for loaded in pieces(layer.M_group, mapping.m):
                    for channels in pieces(layer.C, mapping.q * mapping.r):
                        for rows in pieces(layer.R, int(shape[R_FULL])):
                            for cols in pieces(layer.S, int(shape[S_FULL])):
                                for filters in pieces(size(loaded),
                                                      mapping.p * mapping.t):
                                    yield PassKind(*map(size, (
                                        images, strip, filters, channels, rows, cols)))
