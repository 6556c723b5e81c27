"""Accesses of a layer by level, kind and direction.

What one access is, in 16-bit words, on ``chip`` hardware ([level, kind, direction]):

========== ====== ==============================================================
level      dir.   counts
========== ====== ==============================================================
RF         READ   spad read by the datapath; ifmap, filter and psum once a MAC
RF         WRITE  psum spad written, once a MAC
RF         FILL   ifmap or filter word written into one PE's spad
NOC        FILL   word that the GLB puts on a network, once for all its targets
NOC        READ   word taken from a network, once at each target PE
NOC        HOP    psum passed from a PE to the one above it
NOC        WRITE  psum that a PE column puts on the output network
NOC        DRAIN  the same psum leaving that network for the GLB
GLB        READ   word sent to the array: ifmap, psum (also in the first channel
                  pass, which reads the bias), filter from the preload banks
GLB        WRITE  psum received from the array
GLB        FILL   word that arrived from DRAM, decoded
GLB        DRAIN  finished ofmap word read out for DRAM, before coding
DRAM       READ   ifmap or filter word read, before run-length coding
DRAM       WRITE  ofmap word written, before run-length coding
========== ====== ==============================================================

A psum's first MAC of a window starts from zero without a spad read, and the read that
hands the window's result to the column takes its place: READ = WRITE = MACs. A ragged
pass moves only the words that its channels, filters and rows need. GLB READ and WRITE
of ifmaps and psums are what the chip's counters show (JSSC 2017, Table V).

``isca16`` hardware fills the same table from the closed forms of that paper's analysis
(ISCA 2016): NOC READ and RF READ of inputs, HOP of psums at the array
level, RF READ and WRITE of psums; it counts no fills.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eyeriss_sim.product_maps import laid

if TYPE_CHECKING:
    from eyeriss_sim.hardware import Hardware
    from eyeriss_sim.layer import ConvLayer, Shape
    from eyeriss_sim.mapping import Mapping


@dataclass(frozen=True, eq=False)
class Counts:
    """Dense accesses of one layer.

    Parameters
    ----------
    accesses : ndarray, shape (4, 3, 5), words
        [level, kind, direction]; int64 on ``chip`` hardware, float64 on ``isca16``,
        whose closed forms are not whole.
    macs : int
        Multiply-accumulates, zeros included, and pixels that pad a product's map.
    passes : int
        Processing passes.
    active_pes : int
        PEs at work in a full pass.
    """

    accesses: np.ndarray
    macs: int
    passes: int
    active_pes: int

    def times(self, steps: int) -> "Counts":
        """Counts of the same work so many times, one after the other."""
        return Counts(self.accesses * steps, self.macs * steps, self.passes * steps,
                      self.active_pes)


def count(layer: "ConvLayer | Shape", hardware: "Hardware",
          mapping: "Mapping") -> Counts:
    """Accesses of one step of a layer under a mapping, whatever its zeros.

    Returns
    -------
    Counts
    """
    return hardware.dataflow.count(laid(layer.one_step, mapping), hardware, mapping)
