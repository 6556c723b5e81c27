"""Row stationary as the ISCA 2016 analysis has it: closed forms, one RF pool a PE."""

from math import ceil

import numpy as np

from eyeriss_sim.access_prices import PARTS
from eyeriss_sim.area import MEMORY_B, UM2_PER_B, memory_um2
from eyeriss_sim.codes import WORD_B, WORD_BITS
from eyeriss_sim.counts import Counts
from eyeriss_sim.cycles import Cycles
from eyeriss_sim.dataflows import isca16_kernels, register
from eyeriss_sim.dataflows.base import SKIPS, Dataflow, Loop, kernel_place, step_loop
from eyeriss_sim.dataflows.row_stationary import RowStationary
from eyeriss_sim.levels import (
    ACCESSES_SHAPE,
    DRAM,
    FILTER,
    GLB,
    HOP,
    IFMAP,
    KINDS,
    NOC,
    PSUM,
    READ,
    RF,
    WRITE,
)
from eyeriss_sim.plain import ceil_div

# The search of the ISCA 2016 analysis weighs a psum hop twice, its figures once; so
# "joules", which asks for the least that is reported, weighs it once in both.
SEARCHED_HOP_WEIGHT = 2.0


@register
class Isca16(Dataflow):
    """The closed forms of Chen, Emer, Sze, ISCA 2016; e counts ofmap columns.

    It has no clock but that of its MACs, and no chip to be stepped.
    """

    name = "isca16"
    needs = ("rf_words",)
    ignores = (
        *RowStationary.needs, "hop_cycles", "ifmap_fifo_words", "filter_fifo_words",
        "psum_in_fifo_words", "psum_out_fifo_words", "accumulate_bubbles",
        "stride_bubbles", "image_gap_cycles", "filters_first", "window_first",
        "glb_ports", "pass_overlap", "first_row_on_top",
        *(f"{name}_{unit}" for name in PARTS for unit in ("MAC", "pJ")))
    upright_maps = True

    def limits(self, layer, hardware, mapping):
        """Limits of the analysis; e is its f, the ofmap columns of a strip."""
        m, n, f, p, q, r, t = mapping.letters
        width = (f - 1) * layer.V + layer.S_span
        yield ("row_segments", mapping.row_segments, 0,
               "the analysis, which cuts no filter,", "leave it out")
        yield ("column_strips", mapping.column_strips, 1,
               "the analysis, whose e counts columns,", "leave it out")
        yield "n", n, layer.N, "the batch", "lower n"
        yield "e", f, layer.F, "the ofmap width", "lower e"
        yield "m", m, layer.M_group, "the filters of one group", "lower m"
        yield "p*t", p * t, m, "the filters in the GLB m", "lower p or t"
        yield "q*r", q * r, layer.C, "the channels", "lower q or r"
        ifmap, filt, psum = (hardware.stored_bits(kind)
                             for kind in ("ifmap", "filter", "psum"))
        words = WORD_BITS == ifmap == filt == psum
        unit, per = ("words", WORD_BITS) if words else ("bits", 1)
        yield ("p*q*R + q*R + p" + (" in bits" if per == 1 else ""),
               (p * q * layer.R * filt + q * layer.R * ifmap + p * psum) // per,
               hardware.rf_words * WORD_BITS // per, f"the RF {unit}", "lower p or q")
        yield "S*e*r*t", layer.S * f * r * t, hardware.pes, "the PEs", "lower e, r or t"
        yield (f"GLB {unit}",
               n * (m * layer.E * f * psum + q * r * layer.H * width * ifmap) // per,
               hardware.glb_words * WORD_BITS // per, f"the GLB {unit}",
               "lower m, n or e")

    def count(self, layer, hardware, mapping):
        m, n, f, p, q, r, t = mapping.letters
        ifmap, filters, ofmap = layer.ifmap_words, layer.filter_words, layer.ofmap_words
        M, C, S = layer.M_group, layer.C, layer.S
        alpha_v, alpha_h = layer.E / layer.H, layer.F / layer.W
        beta_h = f / ((f - 1) * layer.V + layer.S_span)
        accesses = np.zeros(ACCESSES_SHAPE)
        accesses[DRAM, IFMAP, READ] = ifmap * ceil_div(M, m) * alpha_h / beta_h
        accesses[GLB, IFMAP, READ] = ifmap * ceil_div(M, p * t) * alpha_h / beta_h
        accesses[NOC, IFMAP, READ] = ifmap * ceil_div(M, p) * S * alpha_h
        accesses[RF, IFMAP, READ] = ifmap * M * layer.R * S * alpha_v * alpha_h
        loads = filters * ceil_div(layer.N, n)
        accesses[DRAM, FILTER, READ] = loads * ceil_div(layer.F, f)
        accesses[NOC, FILTER, READ] = loads * layer.F
        accesses[RF, FILTER, READ] = filters * layer.N * layer.E * layer.F
        accesses[DRAM, PSUM, WRITE] = ofmap
        accesses[GLB, PSUM, [READ, WRITE]] = ofmap * (ceil_div(C, q * r) - 1)
        accesses[NOC, PSUM, HOP] = ofmap * (ceil_div(C, q) * S - ceil_div(C, q * r))
        accesses[RF, PSUM, [READ, WRITE]] = ofmap * (
            C * layer.R * S - ceil_div(C, q) * S)
        passes = (layer.groups * ceil_div(layer.N, n) * ceil_div(layer.F, f)
                  * ceil_div(C, q * r) * ceil_div(M, p * t))
        return Counts(accesses, layer.macs, passes, S * f * r * t)

    def cycles(self, layer, hardware, mapping, counts, savings):
        """The analysis knows no other time: delay = 1 / active PEs."""
        return Cycles(ceil(counts.macs / counts.active_pes), 0, 0, 0, 0, 0)

    def search(self, layer, hardware, objective, skip, savings, clock, best, mappings):
        sizes = np.array([
            layer.N, layer.M_group, layer.C, layer.H, layer.W, layer.E, layer.F,
            layer.R, layer.S, layer.V, layer.S_span, hardware.pes,
            hardware.glb_words * WORD_BITS, hardware.rf_words * WORD_BITS,
            *(hardware.stored_bits(kind) for kind in KINDS)], np.int64)
        words = np.array([layer.ifmap_words, layer.filter_words, layer.ofmap_words,
                          layer.macs], np.float64)
        (rf, noc, glb, dram), alu = hardware.prices_at_widths
        cost = np.array([alu, *rf, *noc, glb[IFMAP], glb[PSUM], *dram])
        reported = objective == "joules" or (objective == "edp" and clock > 0)
        hop_weight = 1.0 if reported else SEARCHED_HOP_WEIGHT
        return isca16_kernels.search_isca16(
            sizes, words, cost, hop_weight, savings.ifmap_ratio,
            savings.filter_ratio, savings.ofmap_ratio, savings.macs_left,
            kernel_place(objective), clock, SKIPS.index(skip), best, mappings)

    def why_nothing_fits(self, layer, hardware):
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

    def shared(self, hardware):
        """Only the product of rows and columns matters; the GLB holds whole words."""
        return {"clock_MHz": 1.0, "rows": hardware.pes, "cols": 1,
                "glb_ifmap_psum_B": hardware.glb_words * WORD_B}

    def search_note(self, objective):
        if objective not in ("energy", "edp_normalised"):
            return ""
        return "ranked with a psum's hops weighed twice, as the analysis does"

    def loop_nest(self, layer, hardware, mapping):
        m, n, f, p, q, r, t = mapping.letters
        width = (f - 1) * layer.V + layer.S_span
        ifmap, filt, psum = (hardware.stored_bits(kind) for kind in KINDS)
        psum_words, ifmap_words, rf_words = (ceil_div(bits, WORD_BITS) for bits in (
            n * m * layer.E * f * psum, n * q * r * layer.H * width * ifmap,
            p * q * layer.R * filt + q * layer.R * ifmap + p * psum))
        return [
            *step_loop(layer),
            Loop("DRAM", f"{layer.groups} groups"),
            Loop("DRAM", f"{ceil_div(layer.N, n)} image groups of n={n}"),
            Loop("DRAM", f"{ceil_div(layer.F, f)} strips of e={f} ofmap columns"),
            Loop("DRAM", f"{ceil_div(layer.M_group, m)} loads of m={m} filters",
                 f"psums n*m*E*e = {psum_words} of {hardware.glb_words}"),
            Loop("GLB", f"{ceil_div(layer.C, q * r)} channel groups of q*r={q * r}",
                 f"ifmaps {ifmap_words} of {hardware.glb_words}"),
            Loop("GLB", f"{ceil_div(m, p * t)} passes of p*t={p * t} filters"),
            Loop("array", f"S*e*r*t = {layer.S * f * r * t} PEs at once",
                 f"of {hardware.pes} PEs"),
            Loop("PE", f"q={q} channels, R={layer.R} taps, p={p} filters",
                 f"RF p*q*R + q*R + p = {rf_words} of "
                 f"{hardware.rf_words}"),
        ]

    def memory_of(self, level, kind):
        return {"glb": "glb_ifmap_psum_B", "rf": "rf_words"}.get(level)

    def rf_memories_B(self, hardware):
        return (WORD_B * hardware.rf_words,)

    def glb_um2(self, hardware):
        return memory_um2(hardware.glb_ifmap_psum_B)

    def glb_that_fits_B(self, hardware, um2):
        """Whole words of one memory."""
        if um2 >= memory_um2(MEMORY_B[-1]):
            return int(um2 / UM2_PER_B[-1]) // WORD_B * WORD_B
        sizes = np.arange(WORD_B, MEMORY_B[-1], WORD_B)
        fitting = sizes[memory_um2(sizes) <= um2]
        return int(fitting[-1]) if fitting.size else 0
