"""Results of a simulation: a layer's, a network's, and the columns of the table."""

from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from eyeriss_sim.codes import WORD_B
from eyeriss_sim.counts import Counts
from eyeriss_sim.cycles import CAUSES, Cycles
from eyeriss_sim.energy import edp_isca16, width_factors
from eyeriss_sim.hardware import Hardware
from eyeriss_sim.layer import ConvLayer, Network
from eyeriss_sim.levels import (
    DIRECTIONS,
    DRAIN,
    DRAM,
    FILL,
    FILTER,
    GLB,
    IFMAP,
    JOULE_PARTS,
    KINDS,
    LEVELS,
    PART_NAMES,
    PSUM,
    READ,
    WRITE,
)
from eyeriss_sim.mapping import Mapping
from eyeriss_sim.read_only import read_only
from eyeriss_sim.widths import Bits, at_widths
from eyeriss_sim.zeros import Densities, Savings

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class LayerResult:
    """One layer on one machine.

    Parameters
    ----------
    layer : ConvLayer
        The network's layer; ``laid(layer, mapping)`` is what runs.
    mapping : Mapping
    mapping_source : str
        ``search:energy`` or the table that the mapping was read from.
    densities : Densities
    savings : Savings
        What the machine makes of them.
    bits : Bits
        Widths of the operands.
    counts : Counts
        Dense accesses.
    accesses : float64 ndarray, shape (4, 3, 5), words
        What zeros leave of them, [level, kind, direction].
    cycles : Cycles
    energy_MAC, energy_pJ : float64 ndarray, shape (4, 3)
        [level, kind]; levels RF NOC GLB DRAM, kinds ifmap filter psum.
    alu_MAC, alu_pJ : float
        Energy of the MACs.
    clock_pJ, static_pJ : float
        Clock and leakage over the total latency.
    """

    layer: ConvLayer
    mapping: Mapping
    mapping_source: str
    densities: Densities
    savings: Savings
    bits: Bits
    counts: Counts
    accesses: np.ndarray
    cycles: Cycles
    energy_MAC: np.ndarray
    alu_MAC: float
    energy_pJ: np.ndarray
    alu_pJ: float
    clock_pJ: float
    static_pJ: float

    @property
    def total_MAC(self) -> float:
        """Normalised energy of all levels and the MACs."""
        return float(self.energy_MAC.sum()) + self.alu_MAC

    @property
    def chip_pJ(self) -> float:
        """Energy of the chip: all but DRAM, clock and leakage included."""
        on_chip = float(self.energy_pJ[:DRAM].sum())
        return on_chip + self.alu_pJ + self.clock_pJ + self.static_pJ

    @property
    def total_uJ(self) -> float:
        """Energy of the chip and its DRAM accesses, as in the table."""
        return (self.chip_pJ + float(self.energy_pJ[DRAM].sum())) * 1e-6

    @property
    def parts_uJ(self) -> dict[str, float]:
        """All that the layer's joules are spent on: ``energy.JOULE_PARTS`` to uJ."""
        levels = zip(LEVELS, self.energy_pJ.sum(axis=1).tolist(), strict=True)
        parts = {"alu": self.alu_pJ, **dict(levels), "clock": self.clock_pJ,
                 "leakage": self.static_pJ}
        return {part: parts[part] * 1e-6 for part in JOULE_PARTS}


@dataclass(frozen=True, eq=False)
class SimulationResult:
    """A network on one machine.

    Parameters
    ----------
    network : Network
    hardware : Hardware
    by_layer : tuple of LayerResult
        In the order in which they run.
    provenance : dict
        What the figures stand on; constant columns of ``table``.
    """

    network: Network
    hardware: Hardware
    by_layer: tuple[LayerResult, ...]
    provenance: dict

    @property
    def table(self) -> "pd.DataFrame":
        """One row a layer, for the whole batch; every unit stands in its column's name.

        Returns
        -------
        pandas.DataFrame
            The caller's own: what is written to it changes no result.
        """
        return self._table.copy()

    @cached_property
    def _table(self):
        import pandas as pd  # takes longer to import than all else of a report
        return pd.DataFrame(self._rows)

    @cached_property
    def _rows(self):
        return [
            {**layer_row(result, self.hardware, self.network.batch), **self.provenance}
            for result in self.by_layer]

    @cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """The columns of ``table`` by name, for those who need no DataFrame.

        Returns
        -------
        dict of str to numpy.ndarray, shape (layers,)
            Read-only; text as Python's own.
        """
        columns = {}
        for name in self._rows[0]:
            values = [row[name] for row in self._rows]
            columns[name] = read_only(np.array(
                values, object if isinstance(values[0], str) else None))
        return columns

    @property
    def layers(self) -> "pd.DataFrame":
        """``table`` under the name by which an oracle's report is asked for it."""
        return self.table

    @cached_property
    def accesses(self) -> "pd.Series":
        """Words that move in each layer, by name.

        Returns
        -------
        pandas.Series
            Indexed by layer, level, kind and direction, as in ``counts``; what zeros
            leave of them.

        Examples
        --------
        >>> from eyeriss_sim import simulate
        >>> words = simulate("alexnet").accesses
        >>> float(words["CONV1", "rf", "filter", "read"])       # one a MAC
        105415200.0
        """
        import pandas as pd
        names = [one.layer.name for one in self.by_layer]
        return pd.Series(
            np.concatenate([one.accesses.ravel() for one in self.by_layer]),
            pd.MultiIndex.from_product(
                (names, LEVELS, KINDS, DIRECTIONS),
                names=("layer", "level", "kind", "direction")), name="words")

    @property
    def parts_uJ(self) -> dict[str, float]:
        """All that the network's joules are spent on: ``levels.JOULE_PARTS`` to uJ."""
        return {part: sum(one.parts_uJ[part] for one in self.by_layer)
                for part in JOULE_PARTS}

    def __repr__(self):
        return (f"<{self.network.name}, batch {self.network.batch}, on "
                f"{self.hardware.name}: {self.total_uJ:,.0f} uJ, "
                f"{self.total_ms:,.2f} ms, {len(self.by_layer)} layers>")

    def _repr_html_(self):
        """HTML for a notebook: totals, where the joules go, and the main columns."""
        parts = "; ".join(f"{PART_NAMES[part]} {uJ:,.1f}"
                          for part, uJ in self.parts_uJ.items() if uJ)
        shown = self.table[["layer", "macs", *"mnepqrt", "active_pes", "cycles",
                            "total_ms", "total_uJ", "power_mW", "utilization"]]
        return (f"<p>{escape(repr(self)[1:-1])}; zeros: {self.hardware.zeros}<br>"
                f"uJ by part: {parts}</p>{shown.to_html(index=False)}")

    @property
    def total_uJ(self) -> float:
        """Energy of the chip and its DRAM accesses, the whole batch."""
        dram = sum(float(result.energy_pJ[DRAM].sum()) for result in self.by_layer)
        return (sum(result.chip_pJ for result in self.by_layer) + dram) * 1e-6

    @property
    def total_ms(self) -> float:
        """Total latency of the whole batch."""
        cycles = sum(result.cycles.total for result in self.by_layer)
        return cycles / self.hardware.clock_MHz / 1e3


def layer_row(result: LayerResult, hardware: Hardware, batch: int) -> dict:
    """One layer of ``SimulationResult.table``, without the provenance.

    Parameters
    ----------
    result : LayerResult
    hardware : Hardware
    batch : int
        Images of the network's run, which the row's figures are for.

    Returns
    -------
    dict
    """
    layer, mapping, cycles = result.layer, result.mapping, result.cycles
    per_ms = hardware.clock_MHz * 1e3
    total_ms = cycles.total / per_ms
    of_access, _ = width_factors(at_widths(hardware, result.bits, layer.name))
    bytes_moved = result.accesses * (of_access * WORD_B)[..., None]
    glb = bytes_moved[GLB]
    by_level = result.energy_MAC.sum(axis=1)
    by_kind = result.energy_MAC.sum(axis=0)
    parts = result.parts_uJ
    chip_uJ = result.chip_pJ * 1e-6
    total_uJ = chip_uJ + parts["dram"]
    return {
        "layer": layer.name,
        "macs": layer.macs,
        **{key: getattr(mapping, key) for key in "mnepqrt"},
        "row_segments": hardware.dataflow.row_segments(layer, hardware, mapping),
        "column_strips": mapping.column_strips,
        "map_H": mapping.map_H,
        "map_W": mapping.map_W,
        "padding_macs": result.counts.macs - layer.macs,
        "steps": layer.steps,
        **shape_columns(layer),
        "passes": result.counts.passes,
        "active_pes": result.counts.active_pes,
        "cycles": cycles.total,
        "processing_ms": cycles.processing / per_ms,
        "total_ms": total_ms,
        "glb_MB": megabytes(glb[IFMAP, READ] + glb[PSUM, READ] + glb[PSUM, WRITE]),
        "glb_dram_side_MB": megabytes(glb[IFMAP, FILL] + glb[PSUM, DRAIN]),
        "glb_filter_MB": megabytes(glb[FILTER, FILL] + glb[FILTER, READ]),
        "dram_MB": megabytes(bytes_moved[DRAM].sum()),
        "energy_MAC": result.total_MAC,
        **{f"{level}_MAC": by_level[axis]
           for axis, level in enumerate(LEVELS)},
        "alu_MAC": result.alu_MAC,
        **{f"{kind}_MAC": by_kind[axis] for axis, kind in enumerate(KINDS)},
        "chip_uJ": chip_uJ,
        **{f"{part}_uJ": energy for part, energy in parts.items()},
        "total_uJ": total_uJ,
        "total_uJ_per_image": total_uJ / batch,
        "power_mW": chip_uJ / total_ms,
        "edp_isca16": edp_isca16(result.total_MAC, layer.macs,
                                 result.counts.active_pes, hardware.pes, batch,
                                 result.counts.macs - layer.macs),
        "utilization": layer.macs / (cycles.total * hardware.pes),
        **{f"{cause}_cycles": getattr(cycles, cause) for cause in CAUSES},
        "ifmap_density": result.densities.ifmap,
        "filter_density": result.densities.filter,
        "ofmap_density": result.densities.ofmap,
        "ifmap_bits": result.bits.ifmap,
        "filter_bits": result.bits.filter,
        "ofmap_bits": result.bits.ofmap,
        "psum_bits": hardware.psum_bits,
        "mapping_source": result.mapping_source,
    }


def shape_columns(layer: ConvLayer) -> dict:
    """A layer's shape as tables of layers have it, for the whole batch."""
    return {**{key: getattr(layer, key) for key in (*"NMCHWRSUV", "groups")},
            "dilation": "x".join(map(str, layer.dilation)),
            "padding": "x".join(map(str, layer.padding)),
            "dynamic_filters": layer.dynamic_filters}


def megabytes(moved: float) -> float:
    """10^6 bytes of that many."""
    return float(moved) / 1e6
