"""The best legal mapping of a layer for energy, cycles, EDP or joules."""

from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from eyeriss_sim.access_prices import NOMINAL_V, PRICED, resolved_prices
from eyeriss_sim.dataflows.base import OBJECTIVES, PRICED_BY_TIME, SKIPS
from eyeriss_sim.hardware import REMEMBERED, Hardware
from eyeriss_sim.layer import ConvLayer, Shape
from eyeriss_sim.mapping import Mapping
from eyeriss_sim.product_maps import maps_of, on_map
from eyeriss_sim.zeros import NO_SAVINGS, Savings

MEASURED = tuple(f"{name}_pJ" for name in PRICED)


@dataclass(frozen=True)
class SearchResult:
    """Mappings that a search found.

    Parameters
    ----------
    mappings : tuple of Mapping
        The best first, then the runners-up that were asked for.
    scores : tuple of float
        Their objective, in MAC energies, cycles, or the product of both. Clock and
        leakage are counted in MAC energies, too.
    evaluated : int
        Mappings whose energy or cycles were computed.
    """

    mappings: tuple[Mapping, ...]
    scores: tuple[float, ...]
    evaluated: int


def search(layer: ConvLayer, hardware: Hardware, objective: str | None = None,
           keep: int = 1, skip: str = "hopeless",
           savings: Savings = NO_SAVINGS) -> SearchResult:
    """Exhaustive search over the legal mappings of a layer, and ways to cut it.

    A filter that fits the array is tried cut into row segments as well: two 4-row
    pieces of a 7-row filter leave room for two channels where the whole leaves PEs
    idle. So a larger array never does worse than a smaller one that has to cut. Fmaps
    are tried cut into column strips: where the GLB can't hold many filters' psums of
    whole rows, narrower ones let more PEs work and reload less; where the stride
    exceeds the filter, the columns between two strips need not be sent. What is skipped
    and why nothing better is among it stands with ``rs_kernels.search_chip`` and
    ``rs_kernels.search_strips``. Rows of a matrix product that fill no map near to a
    square are tried on larger ones as well (``product_maps.py``).

    Ties are broken by fewer cycles, by the closed forms alone, which take a hundredth
    of the time (by less energy where cycles are the objective), then by the least
    bound of the closed forms and the order of the search, so that the result is the
    same everywhere.

    Parameters
    ----------
    layer : ConvLayer
    hardware : Hardware
        At the layer's widths (``widths.at_widths``) where they are not 16 bits.
    objective : {"energy", "cycles", "edp", "joules", "edp_normalised"}, optional
        Normalised energy, which knows no time, as the papers' own searches; total
        cycles; joules times seconds; all that the report's total_uJ is made of, clock
        and leakage too; normalised energy times cycles. The hardware's own unless
        given.
    keep : int
        How many of the best to return, of those that are not skipped.
    skip : {"hopeless", "dominated", "nothing"}
        Mappings that are not evaluated, each provably no better than another: those
        that differ from an evaluated one only in being no better (an m that saves no
        load, say); hopeless also leaves out what a bound shows to be behind the best.
    savings : Savings
        Zeros that the search takes into account; none unless given.

    Returns
    -------
    SearchResult

    Raises
    ------
    ValueError
        No mapping fits, with the limit that not even the smallest keeps.
    """
    if objective is None:
        objective = hardware.objective
    for what, name, known in (("objective", objective, OBJECTIVES),
                              ("skip", skip, SKIPS)):
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}; known: " + ", ".join(known))
    hardware.dataflow.check_layer(layer, hardware)
    result = _on_best_map(layer, as_searched(hardware, objective), objective, keep,
                          skip, savings)
    if not result.mappings:
        raise ValueError(hardware.dataflow.why_nothing_fits(layer, hardware))
    return result


def _on_best_map(layer, hardware, objective, keep, skip, savings):
    """``search`` on every map that the layer may be laid on; its own wins a tie.

    Zeros have no say in the map, so that exact ones can be counted on it.
    """
    own, *others = maps_of(layer, upright=hardware.dataflow.upright_maps)
    if others and savings != NO_SAVINGS:
        dense = _on_best_map(layer, hardware, objective, 1, skip, NO_SAVINGS).mappings
        others = []
        if dense:
            own = dense[0].map_H or layer.H, dense[0].map_W or layer.W
    results = []
    for H, W in (own, *others):
        found = search_shape(on_map(layer, H, W).shape, hardware, objective, keep, skip,
                             savings)
        if (H, W) != (layer.H, layer.W):
            found = replace(found, mappings=tuple(
                replace(mapping, map_H=H, map_W=W) for mapping in found.mappings))
        results.append(found)
    if not others:
        return results[0]
    ranked = sorted(((score, mapping) for found in results for score, mapping
                     in zip(found.scores, found.mappings, strict=True)),
                    key=lambda one: one[0])[:keep]
    return SearchResult(tuple(mapping for _, mapping in ranked),
                        tuple(score for score, _ in ranked),
                        sum(found.evaluated for found in results))


# What the best mapping does not depend on: names, the scale of all prices and, but for
# objectives in which they are added again, what time costs; what zeros save unless it
# is told.
UNSEARCHED = {
    "name": "any", "mac_pJ": 1.0, "clock_pJ_per_PE_cycle": 0.0, "static_mW": 0.0,
    "zeros": "dense", "fmap_code": "none", "filter_code": "none"}


@lru_cache(maxsize=4096)
def as_searched(hardware: Hardware, objective: str) -> Hardware:
    """One machine for all those that the same mappings are best for.

    The prices of the search are ratios, its cycles those of the core clock, and the
    global buffer holds whole banks ("chip") or words ("isca16", for which only the
    product of rows and columns matters).
    """
    same = copy(hardware)
    # Not checked again: no user sees it, and a product may be beyond any one field.
    said = vars(same)
    said.update(UNSEARCHED)
    for remembered in REMEMBERED:       # of the machine itself
        said.pop(remembered, None)
    said.update(dict.fromkeys(MEASURED), voltage_V=NOMINAL_V, price_by_size=False,
                priced_sizes=None)
    said.update(resolved_prices(hardware))
    if objective in PRICED_BY_TIME:
        said["clock_pJ_per_PE_cycle"] = (
            hardware.clock_pJ
            + hardware.static_mW * 1e3 / hardware.clock_MHz / hardware.pes
        ) / hardware.mac_pJ
    said.update(hardware.dataflow.shared(hardware))
    return same


@lru_cache(maxsize=65536)
def search_shape(shape: Shape, hardware: Hardware, objective: str, keep: int, skip: str,
                 savings: Savings) -> SearchResult:
    """``search`` for a Shape, remembered; an empty result if nothing fits."""
    clock = hardware.pes * hardware.clock_pJ_per_PE_cycle
    best = np.full((keep, 2), np.inf)
    mappings = np.zeros((keep, 9), np.int64)
    evaluated = hardware.dataflow.search(
        shape, hardware, objective, skip, savings, clock, best, mappings)
    found = [place for place in range(keep) if mappings[place].any()]
    return SearchResult(
        tuple(Mapping(*(int(v) for v in mappings[place])) for place in found),
        tuple(float(best[place, 0]) for place in found), int(evaluated))
