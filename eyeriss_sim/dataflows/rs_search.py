"""The search for row-stationary mappings: what its kernels are given, and when."""

import numpy as np

from eyeriss_sim.dataflows import rs_kernels as kernels
from eyeriss_sim.dataflows.base import OBJECTIVES, SKIPS
from eyeriss_sim.dataflows.rs_geometry import cut, even_cuts, limits, timing
from eyeriss_sim.hardware import Hardware
from eyeriss_sim.layer import ConvLayer
from eyeriss_sim.levels import FILTER, IFMAP, PSUM
from eyeriss_sim.zeros import Savings

# Mappings more than asked for that the first look leaves to the closed forms.
FIRST_LOOK = 7


def search_chip(layer: ConvLayer, hardware: Hardware, objective: str, skip: str,
                savings: Savings, clock: float, best: np.ndarray,
                mappings: np.ndarray) -> int:
    """The search of ``Dataflow.search`` on the chip, into ``best`` and ``mappings``.

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
                OBJECTIVES.index(objective), clock)

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
    return evaluated + visit(SKIPS.index(skip), best, mappings)


def search_coefficients(shape: np.ndarray, hardware: Hardware,
                        savings: Savings) -> np.ndarray:
    """Coefficients of ``kernels.chip_energy``, float64, shape (8,), MAC energies.

    Each is what one more load of a word of every channel, filter pass and so on costs,
    zeros included, however the layer's columns are cut.
    """
    (rf, noc, glb, dram), alu = hardware.prices_at_widths
    N, G, M, C, E = (int(shape[axis]) for axis in (
        kernels.N, kernels.G, kernels.M, kernels.C, kernels.E))
    F = int(kernels.ofmap_columns(shape))
    row_segments, col_segments = int(shape[kernels.R_SEGS]), int(shape[kernels.S_SEGS])
    R = (row_segments - 1) * int(shape[kernels.R_FULL]) + int(shape[kernels.R_LAST])
    S = (col_segments - 1) * int(shape[kernels.S_FULL]) + int(shape[kernels.S_LAST])
    channels, filters, ofmap = N * G * C, G * M * C * R * S, N * G * M * E * F
    macs = ofmap * C * R * S * savings.macs_left
    k = np.zeros(kernels.COEFFICIENTS)
    k[kernels.PER_LOAD] = channels * (dram[IFMAP] * savings.ifmap_ratio + glb[IFMAP])
    k[kernels.PER_FILTER_PASS] = channels * glb[IFMAP]
    k[kernels.PER_SET] = channels * R * E * (noc[IFMAP] + rf[IFMAP])
    k[kernels.PER_FILTER_LOAD] = filters * (
        dram[FILTER] * savings.filter_ratio + 2 * glb[FILTER])
    k[kernels.PER_COLUMN_STAY] = filters * E * (noc[FILTER] + rf[FILTER])
    k[kernels.PER_CHANNEL_PASS] = (
        ofmap * row_segments * col_segments * (2 * glb[PSUM] + 2 * noc[PSUM])
        - noc[PSUM] * ofmap * col_segments * row_segments)
    k[kernels.PER_CHANNEL_SET] = noc[PSUM] * ofmap * col_segments * R
    k[kernels.FIXED] = (
        ofmap * (glb[PSUM] + dram[PSUM] * savings.ofmap_ratio)
        + macs * (rf[IFMAP] + rf[FILTER] + 2 * rf[PSUM] + alu))
    return k
