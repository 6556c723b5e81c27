"""Workload: a network and what its source says of its values; importers give one."""

from dataclasses import dataclass, field, replace

from eyeriss_sim.layer import Network
from eyeriss_sim.widths import Bits
from eyeriss_sim.zeros import Densities


@dataclass(frozen=True, eq=False)
class Workload:
    """A network with the zeros and the widths that its source states.

    Parameters
    ----------
    network : Network
    densities : dict of str to Densities
        Shares of values that are not zero, by layer name; empty where the source says
        nothing. Layers not named are dense.
    bits : dict of str to Bits
        Widths of the operands by layer name. Layers not named have 16 bits.

    Examples
    --------
    >>> from eyeriss_sim.importers import load_workload
    >>> alexnet = load_workload("alexnet", batch=4)
    >>> alexnet.network.batch, alexnet.densities, alexnet.bits
    (4, {}, {})
    """

    network: Network
    densities: dict[str, Densities] = field(default_factory=dict)
    bits: dict[str, Bits] = field(default_factory=dict)

    def with_batch(self, batch: int | None) -> "Workload":
        """The same workload for another number of images; None leaves it as it is."""
        if batch is None:
            return self
        return replace(self, network=self.network.with_batch(batch))
