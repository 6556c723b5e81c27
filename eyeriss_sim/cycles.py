"""Cycles of a layer by cause."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eyeriss_sim.product_maps import laid

if TYPE_CHECKING:
    from eyeriss_sim.counts import Counts
    from eyeriss_sim.hardware import Hardware
    from eyeriss_sim.layer import ConvLayer, Shape
    from eyeriss_sim.mapping import Mapping
    from eyeriss_sim.zeros import Savings


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
    def processing(self) -> float:
        """Processing latency: fmap loads and dumps fully overlapped (JSSC Table V)."""
        return self.total - self.dram_fmap

    @property
    def total(self) -> float:
        """Total latency (JSSC 2017, Table V)."""
        return sum(vars(self).values())

    def times(self, steps: int) -> "Cycles":
        """Cycles of the same work so many times, one after the other."""
        return Cycles(**{cause: cycles * steps for cause, cycles in vars(self).items()})


CAUSES = tuple(Cycles.__dataclass_fields__)


def count_cycles(layer: "ConvLayer | Shape", hardware: "Hardware", mapping: "Mapping",
                 counts: "Counts", savings: "Savings") -> Cycles:
    """Cycles of one step of a layer under a mapping.

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
    return hardware.dataflow.cycles(
        laid(layer, mapping), hardware, mapping, counts, savings)
