"""Traces of every PE and network in each cycle of a layer's first passes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from eyeriss_sim.hardware import Hardware
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.machine import array
from eyeriss_sim.machine.layer_run import blocks, passes_of_load, pieces, size
from eyeriss_sim.machine.micro import micro_architecture
from eyeriss_sim.machine.passes import step_passes
from eyeriss_sim.machine.timing import random_words
from eyeriss_sim.mapping import Mapping

# Some 12 bytes each: what is recorded of a layer stays within 240 MB.
MOST_PE_CYCLES = 20_000_000


@dataclass(frozen=True, eq=False)
class PassTrace:
    """One pass, cycle by cycle: from the last psum of the pass before to its own.

    Parameters
    ----------
    pes : int16 ndarray, shape (recorded cycles, rows, columns, 6)
        PEs as the mapping sets them up, not where the array folds them; the bottom row
        first. The last axis is that of ``array.DOING`` and its like.
    networks : int32 ndarray, shape (recorded cycles, 5, 4 + words)
        Axes as ``array.IFMAP_NET`` and ``array.OFFERED`` and their like.
    cycles : int
        Cycles of the whole pass.
    micro : int64 ndarray, shape (24,)
        The machine's choices, FIFO depths and network widths among them.
    """

    pes: np.ndarray
    networks: np.ndarray
    cycles: int
    micro: np.ndarray


class PassRecorder:
    """Records the first passes of a layer; ``run_layer`` takes it as ``on_run``.

    Parameters
    ----------
    layer, hardware, mapping
        Legal, on ``chip`` hardware.
    most_passes : int

    Attributes
    ----------
    passes : list of PassTrace
    """

    def __init__(self, layer: ConvLayer, hardware: Hardware, mapping: Mapping,
                 most_passes: int):
        self.layer, self.mapping = layer, mapping
        self.micro = micro_architecture(layer, hardware, mapping)
        self.most_passes = most_passes
        self.passes: list[PassTrace] = []

    def __call__(self, ifmap: np.ndarray, filt: np.ndarray, psums: np.ndarray,
                 row_of: np.ndarray) -> None:
        """Record the passes of one more run, unless there are enough."""
        wanted = self.most_passes - len(self.passes)
        if wanted == 0:
            return
        # Stepped twice: the first time tells how long the passes are.
        stepped = self._step(ifmap, filt, psums, row_of)
        ends = np.cumsum(stepped.cycles)[:wanted].tolist()
        R, e = row_of.shape
        filters = min(len(filt), self.mapping.p * self.mapping.t)
        height = -(-filt.shape[1] // self.mapping.q) * R
        width = -(-filters // self.mapping.p) * e
        room = MOST_PE_CYCLES - sum(one.pes[..., 0].size for one in self.passes)
        recorded = min(ends[-1], room // (height * width))
        if recorded == 0 and self.passes:
            self.most_passes = len(self.passes)
            return
        recorded = max(1, recorded)
        pes, networks = array.trace_arrays(recorded, height * width, self.micro)
        self._step(ifmap, filt, psums, row_of, (pes, networks))
        pes = pes.reshape(recorded, height, width, array.PE_TRACE_AXES)
        start = 0
        for end in ends:
            if start < recorded:
                part = slice(start, end)
                self.passes.append(PassTrace(pes[part], networks[part], end - start,
                                             self.micro))
            start = end
        if recorded < ends[-1]:
            self.most_passes = len(self.passes)     # what follows would leave a gap

    def _step(self, ifmap, filt, psums, row_of, trace=(None, None)):
        # A copy: the run itself is yet to come.
        return step_passes(self.layer, self.mapping, ifmap, filt, psums.copy(), row_of,
                           self.micro, trace=trace)


def record_passes(layer: ConvLayer, hardware: Hardware, mapping: Mapping,
                  most_passes: int) -> list[PassTrace]:
    """The first passes of a layer on dense random words, as timing mode steps them.

    Returns
    -------
    list of PassTrace
    """
    recorder = PassRecorder(layer, hardware, mapping, most_passes)
    for sizes in runs(layer, hardware, mapping):
        recorder(*random_words(layer, *sizes))
        if len(recorder.passes) == recorder.most_passes:
            break
    return recorder.passes


def cut_short(passes: Sequence[PassTrace], wanted: int) -> str:
    """A line on what was recorded of the passes asked for; empty where all of it.

    Parameters
    ----------
    passes : list of PassTrace
    wanted : int
        Passes asked for, no more than the layer has.
    """
    last = passes[-1]
    if len(passes) == wanted and len(last.pes) == last.cycles:
        return ""
    return (f"recorded: {len(passes):,} of {wanted:,} passes, "
            f"{len(last.pes):,} of {last.cycles:,} cycles of the last; more would take "
            f"over {12 * MOST_PE_CYCLES / 1e6:.0f} MB")


def runs(layer: ConvLayer, hardware: Hardware,
         mapping: Mapping) -> Iterator[tuple[int, ...]]:
    """Sizes of each run of passes, in the order in which they are stepped.

    Yields
    ------
    tuple of int
        Images, ofmap columns, ofmap rows, filters, channels, R, S.
    """
    for _, images, (columns, _), strip, loaded in blocks(layer, mapping):
        for channels in pieces(layer.C, mapping.q * mapping.r):
            for rows, cols, filters in passes_of_load(
                    layer, hardware, mapping, size(loaded)):
                yield tuple(map(size, (images, columns, strip, filters, channels, rows,
                                       cols)))
