"""Cycles of a layer by cause."""

from dataclasses import dataclass
from math import ceil

import numpy as np

from eyeriss_sim import kernels
from eyeriss_sim.mapping import cut, timing
from eyeriss_sim.product_maps import laid


@dataclass(frozen=True)
class Cycles:
    """Core cycles of one layer, each charged to what the array was waiting for.

    Parameters
    ----------
    mac : int
        MACs of a full pass, one a PE and cycle.
    ramp : int
        Filters and first windows loaded into the spads, windows shifting, PEs waiting
        for one another through full FIFOs, last psums climbing out.
    psum_net : int
        Psum networks slower than the MACs.
    glb : int
        Ifmaps that the GLB sends slower than both.
    dram_filter : int
        Filters of the next pass still on their way from DRAM.
    dram_fmap : int
        Ifmaps loading and ofmaps dumping, when the array stands still.
    """

    mac: int
    ramp: int
    psum_net: int
    glb: int
    dram_filter: int
    dram_fmap: int

    @property
    def processing(self):
        """Processing latency: fmap loads and dumps fully overlapped (JSSC Table V)."""
        return self.total - self.dram_fmap

    @property
    def total(self):
        """Total latency (JSSC 2017, Table V)."""
        return sum(vars(self).values())

    def times(self, steps):
        """Cycles of the same work so many times, one after the other."""
        return Cycles(**{cause: cycles * steps for cause, cycles in vars(self).items()})


CAUSES = tuple(Cycles.__dataclass_fields__)


def count_cycles(layer, hardware, mapping, counts, savings):
    """Cycles of one step of a layer under a mapping.

    The chip does not process while ifmaps load and ofmaps dump (JSSC 2017),
    so both add up; filters preload beside the processing. The machine of the ISCA 2016
    analysis has no time but that of its MACs: delay = 1 / active PEs.

    Parameters
    ----------
    layer, hardware, mapping
        A legal mapping; the hardware at the layer's widths.
    counts : Counts
        The accesses of one step.
    savings : Savings
        Shrink the fmaps that cross the DRAM link; nothing else.

    Returns
    -------
    Cycles
    """
    layer = laid(layer, mapping)
    if hardware.accounting == "isca16":
        return Cycles(ceil(counts.macs / counts.active_pes), 0, 0, 0, 0, 0)
    geometry = cut(layer, hardware, mapping.row_segments, mapping.column_strips)
    causes = np.zeros(kernels.CAUSES)
    kernels.chip_cycles(
        geometry.shape, timing(hardware),
        hardware.cycles_per_dram_value("filter"), layer.M_group,
        *mapping.letters, kernels.EXACT, causes)
    dram = counts.accesses[kernels.DRAM]
    ifmaps = dram[kernels.IFMAP, kernels.READ] * savings.ifmap_ratio
    ofmaps = dram[kernels.PSUM, kernels.WRITE] * savings.ofmap_ratio
    by_cause = [ceil(cause) for cause in causes.tolist()]
    return Cycles(
        mac=by_cause[kernels.MAC], ramp=by_cause[kernels.RAMP],
        psum_net=by_cause[kernels.PSUM_NET], glb=by_cause[kernels.IFMAP_NET],
        dram_filter=by_cause[kernels.FILTER_WAIT],
        dram_fmap=int(
            kernels.link_cycles(ifmaps, hardware.cycles_per_dram_value("ifmap"))
            + kernels.link_cycles(ofmaps, hardware.cycles_per_dram_value("ofmap"))))
