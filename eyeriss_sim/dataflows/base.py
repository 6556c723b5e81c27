"""Protocol of a dataflow: all that the rest of the model asks of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from eyeriss_sim.counts import Counts
    from eyeriss_sim.cycles import Cycles
    from eyeriss_sim.hardware import Hardware
    from eyeriss_sim.layer import ConvLayer, Shape
    from eyeriss_sim.mapping import Mapping
    from eyeriss_sim.zeros import Savings


# What a search minimises, and what it leaves out; kernels take places, see below.
OBJECTIVES = ("energy", "cycles", "edp", "joules", "edp_normalised")
# Those in which a cycle burns energy: clock and leakage.
PRICED_BY_TIME = ("edp", "joules")
SKIPS = ("nothing", "dominated", "hopeless")


@dataclass(frozen=True)
class Loop:
    """A line of the loop nest: where it runs, what it does, what is held meanwhile."""

    level: str
    step: str
    held: str = ""


def kernel_place(objective: str) -> int:
    """Place of an objective among those that kernels tell apart.

    The normalised product is ``edp`` to them, on a machine whose cycles cost nothing.
    """
    return OBJECTIVES.index(objective.removesuffix("_normalised"))


class Dataflow:
    """A way to run layers on an array, with its costs; one object for each name.

    Layers come as they run: on the map that their mapping names (``product_maps``).

    Attributes
    ----------
    name : str
        The hardware's ``accounting``.
    needs, ignores : tuple of str
        Fields of Hardware without which there is no such machine, and those on which
        nothing of it depends.
    upright_maps : bool
        Whether maps of a matrix product are tried turned by a right angle as well,
        because columns are cut into strips where the chip cuts rows.
    cuts_filters : bool
        Whether filters are cut into segments.
    can_be_stepped : bool
        Whether ``machine`` steps it cycle by cycle.
    mapping_tables : tuple of str
        Tables of mappings in ``mappings/`` that are this dataflow's.
    """

    name = ""
    needs: tuple[str, ...] = ()
    ignores: tuple[str, ...] = ()
    upright_maps = False
    cuts_filters = False
    can_be_stepped = False
    mapping_tables: tuple[str, ...] = ()

    def check(self, hardware: Hardware) -> None:
        """Refuse hardware whose fields contradict one another, with a ValueError."""

    def check_layer(self, layer: ConvLayer | Shape, hardware: Hardware) -> None:
        """Refuse a layer that no mapping could run, with a ValueError."""

    def limits(self, layer: ConvLayer | Shape, hardware: Hardware,
               mapping: Mapping) -> Iterator[tuple[str, int, int, str, str]]:
        """Limits that a mapping must keep to, in the order of severity.

        Yields
        ------
        quantity, value, limit, what the limit is, what to do about it
        """
        raise NotImplementedError

    def row_segments(self, layer: ConvLayer | Shape, hardware: Hardware,
                     mapping: Mapping) -> int:
        """Row segments that the filters are cut into; 1 for whole filters."""
        return 1

    def count(self, layer: ConvLayer | Shape, hardware: Hardware,
              mapping: Mapping) -> Counts:
        """Dense accesses of one step of a layer, which may be given as its Shape."""
        raise NotImplementedError

    def cycles(self, layer: ConvLayer | Shape, hardware: Hardware, mapping: Mapping,
               counts: Counts, savings: Savings) -> Cycles:
        """Cycles by cause of one step of a layer, which may be given as its Shape."""
        raise NotImplementedError

    def search(self, layer: ConvLayer | Shape, hardware: Hardware, objective: str,
               skip: str, savings: Savings, clock: float, best: np.ndarray,
               mappings: np.ndarray) -> int:
        """Fill ``best`` and ``mappings`` with the mappings of least score.

        Parameters
        ----------
        layer : ConvLayer or Shape
        hardware : Hardware
            The machine that ``search.as_searched`` makes.
        objective, skip : str
            One of ``OBJECTIVES``; one of ``SKIPS``.
        savings : Savings
        clock : float
            MAC energies that the whole array burns in a cycle.
        best : float64 ndarray, shape (keep, 2)
            Scores and what breaks ties, ascending; infinite where nothing is known.
        mappings : int64 ndarray, shape (keep, 9)
            m n e p q r t, row segments, column strips; zeros where nothing was found.

        Returns
        -------
        int
            Mappings whose energy or cycles were computed.
        """
        raise NotImplementedError

    def why_nothing_fits(self, layer: ConvLayer, hardware: Hardware) -> str:
        """One line: the limit that not even the smallest mapping keeps, and a cure."""
        raise NotImplementedError

    def search_note(self, objective: str) -> str:
        """Note for readers of runners-up on how they are ranked, or ""."""
        return ""

    def shared(self, hardware: Hardware) -> dict:
        """Fields of Hardware, the same for all machines with the same best mappings."""
        return {}

    def loop_nest(self, layer: ConvLayer, hardware: Hardware,
                  mapping: Mapping) -> list[Loop]:
        """The mapping as loops from DRAM inwards."""
        raise NotImplementedError

    def ifmap_strips(self, layer: ConvLayer,
                     mapping: Mapping) -> list[tuple[np.ndarray, slice]]:
        """Rows and columns of each strip of an ifmap that is coded by itself."""
        return [(np.arange(layer.H), slice(0, layer.W))]

    def ofmap_strips(self, layer: ConvLayer,
                     mapping: Mapping) -> list[tuple[np.ndarray, slice]]:
        """Rows and columns of each strip of an ofmap that is coded by itself."""
        return [(np.arange(layer.E), slice(0, layer.F))]

    def memory_of(self, level: str, kind: str) -> str | None:
        """The field of Hardware with the size of the memory accessed, or None."""
        raise NotImplementedError

    def rf_memories_B(self, hardware: Hardware) -> tuple[int, ...]:
        """Sizes of the memories of one PE, in bytes."""
        raise NotImplementedError

    def glb_um2(self, hardware: Hardware) -> float:
        """Area of the global buffer."""
        raise NotImplementedError

    def glb_that_fits_B(self, hardware: Hardware, um2: float) -> int:
        """Bytes for ifmaps and psums of the largest global buffer of that area."""
        raise NotImplementedError


def step_loop(layer: ConvLayer) -> list[Loop]:
    """The steps of a recurrent layer, each of which reads all from DRAM anew."""
    return [Loop("DRAM", f"{layer.steps} steps")] if layer.steps > 1 else []
