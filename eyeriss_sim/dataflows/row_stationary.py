"""Row stationary on the chip: strips of rows, three spads, the chip's counters."""

from math import ceil

import numpy as np

from eyeriss_sim.area import memory_um2
from eyeriss_sim.codes import WORD_B
from eyeriss_sim.counts import Counts
from eyeriss_sim.cycles import Cycles
from eyeriss_sim.dataflows import register
from eyeriss_sim.dataflows import rs_kernels as kernels
from eyeriss_sim.dataflows.base import Dataflow, Loop, step_loop
from eyeriss_sim.dataflows.rs_cycles import cycles_by_cause
from eyeriss_sim.dataflows.rs_geometry import cut, even_cuts, glb_use, timing
from eyeriss_sim.dataflows.rs_search import search_chip
from eyeriss_sim.levels import ACCESSES_SHAPE, DRAM, IFMAP, PSUM, READ, WRITE
from eyeriss_sim.mapping import Mapping
from eyeriss_sim.plain import ceil_div
from eyeriss_sim.strips import column_strips, row_strips


@register
class RowStationary(Dataflow):
    """The dataflow of the chip (JSSC 2017), whose counters it is held to."""

    name = "chip"
    needs = (
        "spad_ifmap_words", "spad_filter_words", "spad_psum_words", "glb_bank_B",
        "glb_filter_B", "ifmap_net_words", "filter_net_words", "psum_in_net_words",
        "psum_out_net_words", "dram_link_bits", "dram_link_MHz")
    ignores = ("rf_words",)
    cuts_filters = True
    can_be_stepped = True
    mapping_tables = ("published", "published-table3", "inferred-table6")

    def check(self, hardware):
        if hardware.glb_bank_B % WORD_B or (
                hardware.glb_bank_B > hardware.glb_ifmap_psum_B):
            raise ValueError(
                f"{hardware.name}: [glb] bank_B = {hardware.glb_bank_B} must be an "
                f"even number of bytes, at most the {hardware.glb_ifmap_psum_B} of "
                f"[glb] ifmap_psum_B")
        if hardware.dram_link_bits % (8 * WORD_B):
            raise ValueError(
                f"{hardware.name}: [dram] link_bits = {hardware.dram_link_bits} must "
                f"be a multiple of the 16-bit word")
        _ = hardware.values     # each network carries a value, or its lack is told

    def check_layer(self, layer, hardware):
        cut(layer, hardware)    # names the layer if its filters can't be cut

    def limits(self, layer, hardware, mapping):
        """(quantity, value, limit, what the limit is, cure), in order of severity."""
        m, n, e, p, q, r, t = mapping.letters
        shape = cut(layer, hardware, mapping.row_segments, mapping.column_strips).shape
        R, S, span = shape.R_full, shape.S_full, shape.span_full
        yield "n", n, layer.N, "the batch", "lower n"
        yield "e", e, layer.E, "the ofmap height", "lower e"
        yield "m", m, layer.M_group, "the filters of one group", "lower m"
        yield "p", p, m, "the filters in the GLB m", "lower p or raise m"
        yield "(t-1)*p + 1", (t - 1) * p + 1, m, "the filters in the GLB m", "lower t"
        yield "q", q, layer.C, "the channels", "lower q"
        yield ("(r-1)*q + 1", (r - 1) * q + 1, layer.C, "the channels", "lower r")
        yield ("q*S", q * span, hardware.values.ifmap_spad, "the ifmap spad words",
               "lower q")
        yield ("p*q*S", p * q * S, hardware.values.filter_spad, "the filter spad words",
               "lower p or q")
        yield "p", p, hardware.values.psum_spad, "the psum spad words", "lower p"
        yield "R*r", R * r, hardware.rows, "the array rows", "lower r"
        columns = hardware.rows // (R * r) * hardware.cols
        yield ("e*t", e * t, columns, "the array columns, folded,", "lower e or t")
        use = glb_use(layer, hardware, mapping)
        yield ("filter words of a pass", use["filter_words"],
               hardware.values.filter_buffer, "the filter buffer words",
               "lower p, q, r or t")
        banks = use["ifmap_banks"] + use["psum_banks"]
        yield (f"GLB banks, {use['ifmap_banks']} of ifmaps and {use['psum_banks']} of "
               f"psums,", banks, hardware.glb_banks, "the GLB banks",
               "lower m, n or e" + (", or raise column_strips"
                                    if mapping.column_strips < layer.F else ""))

    def row_segments(self, layer, hardware, mapping):
        return mapping.row_segments or even_cuts(layer.R, hardware.rows)[0]

    def count(self, layer, hardware, mapping):
        geometry = cut(layer, hardware, mapping.row_segments, mapping.column_strips)
        accesses = np.zeros(ACCESSES_SHAPE, np.int64)
        passes = kernels.chip_counts(
            geometry.shape, kernels.Letters(*mapping.letters), accesses)
        r_used = min(mapping.r, ceil_div(layer.C, mapping.q))
        active = geometry.shape.R_full * r_used * mapping.e * mapping.t
        return Counts(accesses, layer.macs, int(passes), active)

    def cycles(self, layer, hardware, mapping, counts, savings):
        """The chip does not process while ifmaps load and ofmaps dump (JSSC 2017).

        So both add up; filters preload beside the processing.
        """
        geometry = cut(layer, hardware, mapping.row_segments, mapping.column_strips)
        causes = cycles_by_cause(
            geometry.shape, timing(hardware), hardware.cycles_per_dram_value("filter"),
            kernels.Letters(*mapping.letters))
        dram = counts.accesses[DRAM]
        ifmaps = dram[IFMAP, READ] * savings.ifmap_ratio
        ofmaps = dram[PSUM, WRITE] * savings.ofmap_ratio
        by_cause = [ceil(cause) for cause in causes.tolist()]
        return Cycles(
            mac=by_cause[kernels.MAC], ramp=by_cause[kernels.RAMP],
            psum_net=by_cause[kernels.PSUM_NET], glb=by_cause[kernels.IFMAP_NET],
            dram_filter=by_cause[kernels.FILTER_WAIT],
            dram_fmap=int(
                kernels.link_cycles(ifmaps, hardware.cycles_per_dram_value("ifmap"))
                + kernels.link_cycles(ofmaps, hardware.cycles_per_dram_value("ofmap"))))

    def search(self, *given):
        return search_chip(*given)

    def why_nothing_fits(self, layer, hardware):
        smallest = Mapping(1, 1, 1, 1, 1, 1, 1, row_segments=layer.R,
                           column_strips=layer.F)
        use = glb_use(layer, hardware, smallest)
        if use["filter_words"] > hardware.values.filter_buffer:
            return (f"{layer.name}: one filter row of {use['filter_words']} words "
                    f"exceeds the {hardware.values.filter_buffer}-word filter buffer "
                    f"of {hardware.name}; enlarge [glb] filter_B")
        return (f"{layer.name}: one strip takes {use['ifmap_banks']} GLB banks of "
                f"ifmaps ({use['ifmap_words']} words) and {use['psum_banks']} of psums "
                f"({use['psum_words']} words), but {hardware.name} has "
                f"{hardware.glb_banks}; enlarge [glb] ifmap_psum_B")

    def shared(self, hardware):
        """Prices are ratios, cycles those of the core; the GLB holds whole banks."""
        return {"clock_MHz": hardware.cycles_per_dram_word, "dram_link_MHz": 1.0,
                "dram_link_bits": 8 * WORD_B,
                "glb_ifmap_psum_B": hardware.glb_banks * hardware.glb_bank_B}

    def loop_nest(self, layer, hardware, mapping):
        m, n, e, p, q, r, t = mapping.letters
        shape = cut(layer, hardware, mapping.row_segments, mapping.column_strips).shape
        R, S, span = shape.R_full, shape.S_full, shape.span_full
        row_segments, col_segments = shape.R_segs, shape.S_segs
        use, values = glb_use(layer, hardware, mapping), hardware.values
        channels, filters = min(q * r, layer.C), min(p * t, m)
        loops = step_loop(layer)
        if layer.groups > 1:
            loops.append(Loop("DRAM", f"{layer.groups} groups"))
        loops += [
            Loop("DRAM", f"{ceil_div(layer.N, n)} image groups of n={n}")]
        F = shape.F
        if mapping.column_strips > 1:
            loops.append(
                Loop("DRAM", f"{mapping.column_strips} column strips of F={F}"))
        loops += [
            Loop("DRAM", f"{ceil_div(layer.E, e)} strips of e={e} ofmap rows"),
            Loop("DRAM", f"{ceil_div(layer.M_group, m)} loads of m={m} filters",
                 f"psums n*m*e*F = {use['psum_words']}, "
                 f"{use['psum_banks']} of {hardware.glb_banks} banks"),
            Loop("GLB", f"{ceil_div(layer.C, q * r)} channel groups of q*r={channels}",
                 f"ifmaps {use['ifmap_words']}, "
                 f"{use['ifmap_banks']} of {hardware.glb_banks} banks"),
        ]
        if row_segments > 1:
            loops.append(Loop("GLB", f"{row_segments} segments of {R} filter rows",
                              "psums through the GLB"))
        if col_segments > 1:
            loops.append(Loop("GLB", f"{col_segments} segments of {S} filter columns",
                              "psums through the GLB"))
        columns = hardware.rows // (R * r) * hardware.cols
        loops += [
            Loop("GLB", f"{ceil_div(m, p * t)} passes of p*t={filters} filters",
                 f"filter banks {use['filter_words']} of {values.filter_buffer}"),
            Loop("array", f"R*r={R * r} rows x e*t={e * t} columns at once",
                 f"{R * r * e * t} of {hardware.pes} PEs; {columns} columns when "
                 "folded"),
            Loop("PE", f"n={n} images, F={F} windows",
                 f"psum spad p = {p} of {values.psum_spad}"),
            Loop("PE", f"q={min(q, layer.C)} channels, S={S} taps",
                 f"ifmap spad q*S = {min(q, layer.C) * span} of "
                 f"{values.ifmap_spad}"),
            Loop("PE", f"p={p} filters, one MAC a cycle",
                 f"filter spad p*q*S = {p * min(q, layer.C) * S} of "
                 f"{values.filter_spad}"),
        ]
        return loops

    def ifmap_strips(self, layer, mapping):
        """Strips that the GLB loads: the rows that some filter row meets."""
        taps = np.arange(layer.R) * layer.dilation[0]
        return [(np.unique(np.add.outer(rows * layer.U, taps)), columns)
                for _, columns in column_strips(layer, mapping)
                for rows in row_strips(layer, mapping)]

    def ofmap_strips(self, layer, mapping):
        """Strips that the GLB dumps."""
        return [(rows, columns) for columns, _ in column_strips(layer, mapping)
                for rows in row_strips(layer, mapping)]

    def memory_of(self, level, kind):
        if level == "glb":
            return "glb_filter_B" if kind == "filter" else "glb_ifmap_psum_B"
        return f"spad_{kind}_words" if level == "rf" else None

    def rf_memories_B(self, hardware):
        return (WORD_B * hardware.spad_ifmap_words,
                WORD_B * hardware.spad_filter_words,
                WORD_B * hardware.spad_psum_words)

    def glb_um2(self, hardware):
        return (hardware.glb_banks * memory_um2(hardware.glb_bank_B)
                + memory_um2(hardware.glb_filter_B))

    def glb_that_fits_B(self, hardware, um2):
        """Whole banks of what the filter buffer leaves."""
        left = max(um2 - memory_um2(hardware.glb_filter_B), 0)
        return int(left // memory_um2(hardware.glb_bank_B)) * hardware.glb_bank_B
