"""Compiled search of the ISCA 2016 analysis. Callers check, kernels trust.

The helpers that it shares with the chip's search stand here once more, because a cached
kernel never calls one of another file; a test holds them equal.
"""

import numpy as np
from numba import njit

# Axes of the vector that describes a layer and machine to ``search_isca16``.
(I_N, I_M, I_C, I_H, I_W, I_E, I_F, I_R, I_S, I_V, I_SPAN, I_PES, I_GLB,
 I_RF, I_IFMAP_BITS, I_FILTER_BITS, I_PSUM_BITS) = range(17)
# Axes of the traffic of that layer, and of the energies, in float64.
IFMAP_WORDS, FILTER_WORDS, OFMAP_WORDS, ISCA16_MACS = 0, 1, 2, 3
(COST_ALU, RF_IFMAP, RF_FILTER, RF_PSUM, NOC_IFMAP, NOC_FILTER, NOC_PSUM, GLB_IFMAP,
 GLB_PSUM, DRAM_IFMAP, DRAM_FILTER, DRAM_OFMAP) = range(12)

# Objectives of the search, and what it leaves out: ``base.kernel_place`` and places in
# ``base.SKIPS``.
ENERGY, CYCLES, EDP, JOULES = 0, 1, 2, 3
SKIP_NOTHING, SKIP_DOMINATED, SKIP_HOPELESS = 0, 1, 2

# Scores nearer than this are ties: rounding must not choose a mapping.
TIE = 1e-9


@njit(cache=True)
def ceil_div(a, b):
    """The smallest integer not below a / b, for positive b."""
    return (a + b - 1) // b


@njit(cache=True)
def score_of(objective, clock, energy, cycles):
    """What an objective other than ENERGY makes of both; never falls with either.

    ``clock``: MAC energies that the machine burns in a cycle, whatever it does.
    """
    if objective == CYCLES:
        return cycles
    joules = energy + clock * cycles
    return joules * cycles if objective == EDP else joules


@njit(cache=True)
def keep_best(best, mappings, primary, secondary, mapping):
    """Insert a candidate into the list of the best, sorted by (primary, secondary).

    An equal candidate that comes later ranks lower, so that what even the tie-break
    leaves open is settled by the order of the search. ``mapping``: its nine numbers.
    """
    place = best.shape[0]
    while place > 0:
        above, second = best[place - 1, 0], best[place - 1, 1]
        if not (primary < above * (1 - TIE) or above == np.inf or (
                primary <= above * (1 + TIE) and secondary < second * (1 - TIE))):
            break
        place -= 1
    if place == best.shape[0]:
        return
    # One by one: Numba takes seconds to compile the copy of a row.
    for lower in range(best.shape[0] - 1, place, -1):
        for column in range(best.shape[1]):
            best[lower, column] = best[lower - 1, column]
        for column in range(mappings.shape[1]):
            mappings[lower, column] = mappings[lower - 1, column]
    best[place, 0] = primary
    best[place, 1] = secondary
    for column, value in enumerate(mapping):
        mappings[place, column] = value


@njit(cache=True)
def search_isca16(a, words, cost, hop_weight, ifmap_ratio, filter_ratio, ofmap_ratio,
                  macs_left, objective, clock, skip, best, mappings):
    """The best legal mappings of one layer in the closed forms of ISCA 2016.

    Parameters
    ----------
    a : int64 ndarray, shape (17,)
        Sizes of one group of the layer and of the machine, axes above; storage in bits,
        and bits of its values.
    words : float64 ndarray, shape (4,)
        Ifmap, filter and ofmap words of all groups, and MACs.
    cost : float64 ndarray, shape (12,), MAC energies
        Of a MAC, and of an access of each level and kind, at their widths.
    hop_weight : float
        How often the search counts a psum hop; the paper's counts it twice.
    ifmap_ratio, filter_ratio, ofmap_ratio : float
        Words in DRAM over words of the uncoded stream.
    macs_left : float
        Share of the MACs and their RF accesses that zeros leave.
    objective, clock, skip, best, mappings
        As for ``search_chip``; e holds the paper's f. Dominated are every p but the
        largest that fits and every n but the smallest of equally many image groups,
        which no energy term prefers; hopeless, branches whose cheapest leaf is too
        dear. Only the largest m that fits is ever tried, whatever is skipped: m occurs
        in no term but the loads of the ifmaps, and limits nothing but p t from above.

    Returns
    -------
    evaluated : int
        Mappings whose energy was computed.
    """
    kth = best.shape[0] - 1
    evaluated = 0
    ifmap, filters, ofmap = words[IFMAP_WORDS], words[FILTER_WORDS], words[OFMAP_WORDS]
    alpha_h = a[I_F] / a[I_W]
    for n in range(1, a[I_N] + 1):
        if n * (a[I_E] * a[I_PSUM_BITS] + a[I_H] * a[I_SPAN] * a[I_IFMAP_BITS]) > (
                a[I_GLB]):                                  # not even m = f = q = r = 1
            break
        image_groups = ceil_div(a[I_N], n)
        if skip != SKIP_NOTHING and n > 1 and ceil_div(a[I_N], n - 1) == image_groups:
            continue
        for f in range(min(a[I_F], a[I_PES] // a[I_S]), 0, -1):
            width = (f - 1) * a[I_V] + a[I_SPAN]
            ifmap_pass = ifmap * alpha_h * width / f
            filter_energy = filters * image_groups * (
                cost[DRAM_FILTER] * filter_ratio * ceil_div(a[I_F], f)
                + cost[NOC_FILTER] * a[I_F])
            sets = a[I_PES] // (a[I_S] * f)
            for r in range(1, min(sets, a[I_C]) + 1):
                for q in range(1, a[I_C] // r + 1):
                    taps = q * a[I_R]
                    p_spad = (a[I_RF] - taps * a[I_IFMAP_BITS]) // (
                        taps * a[I_FILTER_BITS] + a[I_PSUM_BITS])
                    room = a[I_GLB] - n * q * r * a[I_H] * width * a[I_IFMAP_BITS]
                    m = min(a[I_M], room // (n * a[I_E] * f * a[I_PSUM_BITS]))
                    if p_spad < 1 or m < 1:
                        break
                    c_passes, q_groups = ceil_div(a[I_C], q * r), ceil_div(a[I_C], q)
                    added_up = ofmap * (a[I_C] * a[I_R] * a[I_S] - q_groups * a[I_S])
                    fixed = (
                        filter_energy + cost[COST_ALU] * macs_left * words[ISCA16_MACS]
                        + cost[DRAM_IFMAP] * ifmap_ratio * ifmap_pass * ceil_div(
                            a[I_M], m)
                        + cost[DRAM_OFMAP] * ofmap_ratio * ofmap
                        + cost[GLB_PSUM] * 2 * ofmap * (c_passes - 1)
                        + cost[NOC_PSUM] * hop_weight * ofmap * (
                            q_groups * a[I_S] - c_passes)
                        + macs_left * ((cost[RF_IFMAP] + cost[RF_FILTER])
                                       * words[ISCA16_MACS]
                                       + cost[RF_PSUM] * 2 * added_up))
                    per_set = cost[NOC_IFMAP] * ifmap * a[I_S] * alpha_h
                    per_pass = cost[GLB_IFMAP] * ifmap_pass
                    if skip == SKIP_HOPELESS and objective == ENERGY and (
                            fixed + per_set * ceil_div(a[I_M], min(p_spad, m))
                            + per_pass > best[kth, 0]):
                        continue
                    for t in range(min(sets // r, m), 0, -1):
                        p_most = min(p_spad, m // t)
                        p_least = 1 if skip == SKIP_NOTHING else p_most
                        cycles = np.ceil(words[ISCA16_MACS] / (a[I_S] * f * r * t))
                        for p in range(p_most, p_least - 1, -1):
                            energy = (fixed + per_set * ceil_div(a[I_M], p)
                                      + per_pass * ceil_div(a[I_M], p * t))
                            evaluated += 1
                            if objective == ENERGY:
                                score, second = energy, cycles
                            else:
                                score = score_of(objective, clock, energy, cycles)
                                second = energy
                            if score <= best[kth, 0]:
                                keep_best(best, mappings, score, second,
                                          (m, n, f, p, q, r, t, 0, 1))
    return evaluated
