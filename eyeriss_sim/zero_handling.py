"""Handlings of zeros: each way to save by a zero is a class that registers.

A mask has other energies on other machines, so hardware names its handling of zeros,
and every result prints it. A new one is a subclass of ``ZeroHandling`` in any file,
with ``@register`` above it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eyeriss_sim.levels import DRAM, FILTER, IFMAP, PSUM, READ, RF, WRITE
from eyeriss_sim.registry import Registry

if TYPE_CHECKING:
    from eyeriss_sim.cycles import Cycles
    from eyeriss_sim.hardware import Hardware
    from eyeriss_sim.layer import ConvLayer, Shape
    from eyeriss_sim.mapping import Mapping
    from eyeriss_sim.zeros import Densities, NonzeroMacs, Savings

ZERO_HANDLINGS = Registry("zero handling", "eyeriss_sim.zero_handlings")


def register(handling: type[ZeroHandling]) -> type[ZeroHandling]:
    """Make a class a handling of zeros under its ``name``."""
    ZERO_HANDLINGS.add(handling.name, handling())
    return handling


class ZeroHandling:
    """A handling of zeros; what a subclass does not say saves nothing.

    Attributes
    ----------
    name : str
        Name by which hardware and ``--zeros`` call it.
    skips : tuple of str
        Operands, "ifmap" and "filter", whose zeros spare a MAC and its spad accesses.
    coded : tuple of str
        Streams, "ifmap", "filter" and "ofmap", that cross the DRAM link in the
        hardware's codes.
    in_machine : bool
        Whether the datapath of the stepped machine does it.
    """

    name = "dense"
    skips: tuple[str, ...] = ()
    coded: tuple[str, ...] = ()
    in_machine = False

    @property
    def counts_weights(self) -> bool:
        """True if a zero weight saves anything, so that weights have to be counted."""
        return "filter" in self.skips or "filter" in self.coded

    def macs_left(self, densities: Densities) -> float:
        """Share of the MACs, and of their spad accesses, that is done, expected."""
        left = 1.0
        for operand in self.skips:
            left *= getattr(densities, operand)
        return left

    def exact_macs_left(self, nonzero: NonzeroMacs) -> int:
        """MACs that are done, counted on real tensors."""
        if not self.skips:
            return nonzero.all
        if len(self.skips) == 2:
            return nonzero.pairs
        return nonzero.ifmaps if "ifmap" in self.skips else nonzero.filters

    def accesses_left(self, accesses: np.ndarray, savings: Savings) -> np.ndarray:
        """Accesses that are left of a layer's dense ones.

        A MAC that is not done spares its three spads (JSSC 2017; psum accesses being
        among them is inferred from the measured powers). A coded stream crosses the
        DRAM link coded; the GLB and the networks move every word.

        Parameters
        ----------
        accesses : ndarray, shape (4, 3, 5), words
            [level, kind, direction], as in ``counts``.
        savings : Savings

        Returns
        -------
        float64 ndarray of that shape
        """
        left = accesses.astype(np.float64)
        left[RF, :, READ] *= savings.macs_left
        left[RF, PSUM, WRITE] *= savings.macs_left
        left[DRAM, IFMAP, READ] *= savings.ifmap_ratio
        left[DRAM, FILTER, READ] *= savings.filter_ratio
        left[DRAM, PSUM, WRITE] *= savings.ofmap_ratio
        return left

    def cycles_left(self, cycles: Cycles, layer: ConvLayer | Shape, hardware: Hardware,
                    mapping: Mapping, savings: Savings) -> Cycles:
        """Cycles that are left of a layer's dense ones; coded fmaps are in them."""
        return cycles


@register
class Dense(ZeroHandling):
    """Nothing is saved."""

    in_machine = True


@register
class GateIfmap(ZeroHandling):
    """Eyeriss v1: a zero ifmap value gates its MAC and spads; fmaps are coded."""

    name = "gate_ifmap"
    skips = ("ifmap",)
    coded = ("ifmap", "ofmap")
    in_machine = True


@register
class SkipEither(ZeroHandling):
    """The energy-aware-pruning tool: either zero spares a MAC; all is coded."""

    name = "skip_either"
    skips = ("ifmap", "filter")
    coded = ("ifmap", "filter", "ofmap")
