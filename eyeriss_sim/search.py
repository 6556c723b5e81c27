"""The best legal mapping of a layer for energy, cycles, EDP or joules."""

from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from eyeriss_sim import kernels
from eyeriss_sim.codes import WORD_BITS
from eyeriss_sim.levels import KINDS
from eyeriss_sim.energy import search_coefficients
from eyeriss_sim.codes import WORD_B
from eyeriss_sim.hardware import REMEMBERED
from eyeriss_sim.kernels import ceil_div
from eyeriss_sim.dataflows.rs_geometry import cut, even_cuts, glb_use, limits, timing
from eyeriss_sim.mapping import Mapping, layer_of, shape_key
from eyeriss_sim.prices import NOMINAL_V, PRICED, resolved_prices
from eyeriss_sim.product_maps import maps_of, on_map
from eyeriss_sim.zeros import NO_SAVINGS

OBJECTIVES = {"energy": kernels.ENERGY, "cycles": kernels.CYCLES, "edp": kernels.EDP,
              "joules": kernels.JOULES}
SKIPS = {"nothing": kernels.SKIP_NOTHING, "dominated": kernels.SKIP_DOMINATED,
         "hopeless": kernels.SKIP_HOPELESS}
# The search of the ISCA 2016 analysis weighs a psum hop twice, its figures once; so
# "joules", which asks for the least that is reported, weighs it once in both.
ISCA16_HOP_WEIGHT = 2.0
# Mappings more than asked for that the first look leaves to the closed forms.
FIRST_LOOK = 7
MEASURED = tuple(f"{name}_pJ" for name in PRICED)


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Parameters
    ----------
    mappings : tuple of Mapping
        The best first, then the runners-up that were asked for.
    scores : tuple of float
        Their objective, in MAC energies, cycles, or the product of both.
    evaluated : int
        Mappings whose energy or cycles were computed.
    """

    mappings: tuple[Mapping, ...]
    scores: tuple[float, ...]
    evaluated: int


def search(layer, hardware, objective="energy", keep=1, skip="hopeless",
           savings=NO_SAVINGS):
    """Exhaustive search over the legal mappings of a layer, and ways to cut it.

    A filter that fits the array is tried cut into row segments as well: two 4-row
    pieces of a 7-row filter leave room for two channels where the whole leaves PEs
    idle. So a larger array never does worse than a smaller one that has to cut. Fmaps
    are tried cut into column strips: where the GLB can't hold many filters' psums of
    whole rows, narrower ones let more PEs work and reload less; where the stride
    exceeds the filter, the columns between two strips need not be sent. What is skipped
    and why nothing better is among it stands with ``kernels.search_chip`` and
    ``kernels.search_strips``. Rows of a matrix product that fill no map near to a
    square are tried on larger ones as well (``product_maps.py``).

    Ties are settled by fewer cycles, by the closed forms alone, which take a hundredth
    of the time (by less energy where cycles are the objective), then by the order of
    the search, so that the result is the same everywhere.

    Parameters
    ----------
    layer : ConvLayer
    hardware : Hardware
        At the layer's widths (``widths.at_widths``) where they are not 16 bits.
    objective : {"energy", "cycles", "edp", "joules"}
        Normalised energy, which knows no time, as the papers' own searches; total
        cycles; the product of both; or all that the report's total_uJ is made of:
        clock and leakage too.
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
    for what, name, known in (("objective", objective, OBJECTIVES),
                              ("skip", skip, SKIPS)):
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}; known: " + ", ".join(known))
    if hardware.accounting == "chip":
        cut(layer, hardware)    # names the layer if its filters can't be cut
    result = _on_best_map(layer, as_searched(hardware, objective), objective, keep,
                          skip, savings)
    if not result.mappings:
        raise ValueError(_why_nothing_fits(layer, hardware))
    return result


def _on_best_map(layer, hardware, objective, keep, skip, savings):
    """``search`` on every map that the layer may be laid on; its own wins a tie.

    Zeros have no say in the map, so that exact ones can be counted on it.
    """
    own, *others = maps_of(layer, upright=hardware.accounting == "isca16")
    if others and savings != NO_SAVINGS:
        dense = _on_best_map(layer, hardware, objective, 1, skip, NO_SAVINGS).mappings
        others = ()
        if dense:
            own = dense[0].map_H or layer.H, dense[0].map_W or layer.W
    results = []
    for H, W in (own, *others):
        found = search_shape(shape_key(on_map(layer, H, W)), hardware, objective, keep,
                             skip, savings)
        if (H, W) != (layer.H, layer.W):
            found = replace(found, mappings=tuple(
                replace(mapping, map_H=H, map_W=W) for mapping in found.mappings))
        results.append(found)
    if not others:
        return results[0]
    ranked = sorted(((score, mapping) for found in results
                     for score, mapping in zip(found.scores, found.mappings)),
                    key=lambda one: one[0])[:keep]
    return SearchResult(tuple(mapping for _, mapping in ranked),
                        tuple(score for score, _ in ranked),
                        sum(found.evaluated for found in results))


# What the best mapping does not depend on: names, the scale of all prices and, but for
# "joules", which adds them again, what time costs; what zeros save unless it is told.
UNSEARCHED = {
    "name": "any", "mac_pJ": 1.0, "clock_pJ_per_PE_cycle": 0.0, "static_mW": 0.0,
    "zeros": "dense", "fmap_code": "none", "filter_code": "none"}


@lru_cache(maxsize=4096)
def as_searched(hardware, objective):
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
    if objective == "joules":
        said["clock_pJ_per_PE_cycle"] = (
            hardware.clock_pJ
            + hardware.static_mW * 1e3 / hardware.clock_MHz / hardware.pes
        ) / hardware.mac_pJ
    if hardware.accounting == "chip":
        said.update(clock_MHz=hardware.cycles_per_dram_word, dram_link_MHz=1.0,
                    dram_link_bits=8 * WORD_B,
                    glb_ifmap_psum_B=hardware.glb_banks * hardware.glb_bank_B)
    else:
        said.update(clock_MHz=1.0, rows=hardware.pes, cols=1,
                    glb_ifmap_psum_B=hardware.glb_words * WORD_B)
    return same


@lru_cache(maxsize=65536)
def search_shape(key, hardware, objective, keep, skip, savings):
    """``search`` for a ``shape_key``, remembered; an empty result if nothing fits."""
    layer = layer_of(key)
    clock = hardware.pes * hardware.clock_pJ_per_PE_cycle
    best = np.full((keep, 2), np.inf)
    mappings = np.zeros((keep, 9), np.int64)
    if hardware.accounting == "chip":
        evaluated = _search_chip(layer, hardware, objective, skip, savings, clock, best,
                                 mappings)
    else:
        sizes = np.array([
            layer.N, layer.M_group, layer.C, layer.H, layer.W, layer.E, layer.F,
            layer.R, layer.S, layer.V, layer.S_span, hardware.pes,
            hardware.glb_words * WORD_BITS, hardware.rf_words * WORD_BITS,
            *(hardware.stored_bits(kind) for kind in KINDS)], np.int64)
        words = np.array([layer.ifmap_words, layer.filter_words, layer.ofmap_words,
                          layer.macs], np.float64)
        cost = isca16_costs(hardware)
        hop_weight = 1.0 if objective == "joules" else ISCA16_HOP_WEIGHT
        evaluated = kernels.search_isca16(
            sizes, words, cost, hop_weight, savings.ifmap_ratio,
            savings.filter_ratio, savings.ofmap_ratio, savings.macs_left,
            OBJECTIVES[objective], clock, SKIPS[skip], best, mappings)
    found = [place for place in range(keep) if mappings[place].any()]
    return SearchResult(
        tuple(Mapping(*(int(v) for v in mappings[place])) for place in found),
        tuple(float(best[place, 0]) for place in found), int(evaluated))


def isca16_costs(hardware):
    """Prices as ``kernels.search_isca16`` reads them, at the hardware's widths."""
    (rf, noc, glb, dram), alu = hardware.prices_at_widths
    return np.array([alu, *rf, *noc, glb[kernels.IFMAP], glb[kernels.PSUM], *dram])


def _search_chip(layer, hardware, objective, skip, savings, clock, best, mappings):
    """``search_shape`` on chip hardware, into ``best`` and ``mappings``.

    Exact cycles take a thousand times as long as the closed forms, and these a hundred
    times as long as the bounds that ``kernels.find_floors`` begins. So a first look by
    bounds alone, at what is likely, gives a score to be beaten: so many mappings are at
    least as good as the worst of those that it finds. Each mapping whose bound is below
    that has its closed forms asked and, if these are too, its exact cycles.
    """
    column_cuts = np.array(even_cuts(layer.F, layer.F))
    _, *more = even_cuts(layer.R, hardware.rows)
    filter_bits = hardware.stored_bits("filter")
    coefficients = {row_segments: search_coefficients(
        cut(layer, hardware, row_segments).shape, hardware, savings)
        for row_segments in (0, *more)}

    def given(row_segments):
        return (timing(hardware), hardware.cycles_per_dram_value("filter"),
                coefficients[row_segments],
                savings.ifmap_ratio * (hardware.stored_bits("ifmap") / filter_bits),
                savings.ofmap_ratio * (hardware.stored_bits("ofmap") / filter_bits),
                OBJECTIVES[objective], clock)

    def visit(skipped, scores, found):
        return sum(kernels.search_chip(
            cut(layer, hardware, row_segments).shape, column_cuts, limits(hardware),
            *given(row_segments), skipped, row_segments, scores, found)
            for row_segments in (0, *more))

    def scored(mapping, how):
        *letters, row_segments, column_strips = (int(number) for number in mapping)
        shape = cut(layer, hardware, row_segments, column_strips).shape
        return kernels.score_chip(shape, *given(row_segments), how, *letters)

    evaluated = 0
    if objective != "energy" and skip == "hopeless":
        keep = best.shape[0]
        rough = np.full((keep + FIRST_LOOK, 2), np.inf)
        likely = np.zeros((keep + FIRST_LOOK, 9), np.int64)
        evaluated += visit(kernels.SKIP_UNLIKELY, rough, likely)
        likely = sorted((one for one in likely if one.any()),
                        key=lambda one: scored(one, kernels.CLOSED))[:keep]
        if len(likely) == keep:
            known = max(scored(one, kernels.EXACT) for one in likely)
            # A little above, so that they are found once more.
            best[:, 0] = known[0] * (1 + kernels.TIE)
            if keep == 1:
                best[:, 1] = known[1] * (1 + 4 * kernels.TIE)
    return evaluated + visit(SKIPS[skip], best, mappings)


def _why_nothing_fits(layer, hardware):
    """One line: which limit the smallest mapping breaks, and what would help."""
    smallest = Mapping(1, 1, 1, 1, 1, 1, 1, row_segments=layer.R,
                       column_strips=layer.F)
    if hardware.accounting == "isca16":
        ifmap, filt, psum = (hardware.stored_bits(kind) for kind in KINDS)
        rf = ceil_div(layer.R * (ifmap + filt) + psum, WORD_BITS)
        if rf > hardware.rf_words:
            return (f"{layer.name}: one filter and ifmap column of {rf} words exceeds "
                    f"the {hardware.rf_words}-word RF of {hardware.name}; enlarge [rf] "
                    f"words")
        if layer.S > hardware.pes:
            return (f"{layer.name}: filter width S={layer.S} exceeds the "
                    f"{hardware.pes} PEs of {hardware.name}; enlarge [array]")
        words = ceil_div(layer.E * psum + layer.H * layer.S_span * ifmap, WORD_BITS)
        return (f"{layer.name}: one strip of {words} words exceeds the "
                f"{hardware.glb_words}-word GLB of {hardware.name}; enlarge "
                f"[glb] ifmap_psum_B")
    use = glb_use(layer, hardware, smallest)
    if use["filter_words"] > hardware.values.filter_buffer:
        return (f"{layer.name}: one filter row of {use['filter_words']} words exceeds "
                f"the {hardware.values.filter_buffer}-word filter buffer of "
                f"{hardware.name}; enlarge [glb] filter_B")
    return (f"{layer.name}: one strip takes {use['ifmap_banks']} GLB banks of ifmaps "
            f"({use['ifmap_words']} words) and {use['psum_banks']} of psums "
            f"({use['psum_words']} words), but {hardware.name} has "
            f"{hardware.glb_banks}; enlarge [glb] ifmap_psum_B")
