"""Processing cycles of a row-stationary mapping: each run of passes followed once."""

from functools import lru_cache

import numpy as np

from eyeriss_sim.dataflows import rs_kernels as kernels
from eyeriss_sim.plain import ceil_div

# Larger runs are followed UNHINDERED only: they would take a second and more, or as
# much memory as a machine has. A GLB of 1 MB and an array of 10,000 PEs stay below.
MOST_PES, MOST_CLIMBS = 1 << 16, 1 << 24


def cycles_by_cause(shape, timing, link, letters):
    """Processing cycles of a layer by cause, exact.

    Parameters
    ----------
    shape : kernels.Shape
    timing : kernels.Timing
    link : float
        Core cycles in which the DRAM link moves a filter value.
    letters : kernels.Letters

    Returns
    -------
    float64 ndarray, shape (5,), cycles
        MAC, RAMP, PSUM_NET, IFMAP_NET, FILTER_WAIT.
    """
    kinds, causes = kinds_of(shape, letters), np.zeros(kernels.CAUSES)
    kernels.chip_cycles(shape, timing, link, letters, kinds,
                        mapping_ends(shape, timing, letters, kinds), causes)
    return causes


def kinds_of(shape, letters):
    """The table of a mapping's kinds of passes, see ``kernels.find_kinds``."""
    _, n, e, _, q, r, _ = letters
    kinds = np.zeros((kernels.MOST_KINDS, kernels.KIND_COLUMNS), np.int64)
    return kinds[:kernels.find_kinds(shape, n, e, q, r, kinds)]


def mapping_ends(shape, timing, letters, kinds, ports=True):
    """When the passes of all runs of a mapping are done, as ``chip_cycles`` takes them.

    Parameters
    ----------
    ports : bool
        Whether the ports of GLB banks are seen; without them it is a bound from below,
        in a tenth of the time and less.

    Returns
    -------
    int64 ndarray, shape (kinds, 3, 4), cycles
    """
    return list(ends_by_kind(shape, timing, letters, kinds, ports))[-1]


def ends_by_kind(shape, timing, letters, kinds, ports=True):
    """The same array, with one more kind of passes followed each time it is given.

    Kinds that are not followed yet are zero, for which ``chip_cycles`` takes the closed
    forms: each time it is a bound from below, and no lower than the one before.

    Yields
    ------
    int64 ndarray, shape (kinds, 3, 4), cycles
    """
    m, n, e, p, q, r, t = letters
    pt, loads = p * t, ceil_div(shape.M, m)
    last_m = shape.M - (loads - 1) * m
    most_behind = kernels.STEADY if timing.pass_overlap else 0
    full = (last_m if loads == 1 else m) // pt
    # Place in the table, filters, those of a full pass.
    runs = [(0, min(full, most_behind + 1) * pt, pt)] if full else []
    for place, filters in ((1, m), (2, last_m)):
        passes, left = divmod(filters, pt)
        if left and (place == 2 or loads > 1):
            behind = min(passes, most_behind)
            runs.append((place, behind * pt + left, pt if behind else left))
    ifmap_banks = int(kernels.ifmap_banks_of(shape, timing, n, e, q, r))
    ends = np.zeros((len(kinds), 3, kernels.STEADY + 1), np.int64)
    for at, row in enumerate(kinds.tolist()):
        kind = kernels.Kind._make(
            (*row[kernels.OF_KIND:], shape.V, shape.U, shape.D))
        for place, filters, in_pass in runs:
            found = ends_of_run(timing, kind, filters, in_pass, p, q, ifmap_banks,
                                ports)
            ends[at, place, :len(found)] = found
        yield ends


def ends_of_run(timing, kind, filters, in_pass, p, q, ifmap_banks, ports=True):
    """When each of a few passes is done, see ``kernels.run_of_passes``.

    Where passes take as long if every read waits for a write once, the ports of banks
    do not matter. Where an array or a GLB is so large that following all psums takes
    long, they are left out.

    Returns
    -------
    tuple of int, cycles
    """
    height = kind.R * ceil_div(kind.channels, q)
    pes = height * kind.rows_out * ceil_div(min(filters, in_pass), p)
    climbs = height * kind.rows_out * filters * kind.images * kind.F
    ways = (kernels.UNHINDERED,)
    if ports and pes <= MOST_PES and climbs <= MOST_CLIMBS:
        ways = ways_to_meet(timing, ifmap_banks, in_pass < filters)
    ends = None
    for meeting in ways:
        found = followed(timing, kind, filters, in_pass, p, q,
                         ifmap_banks if meeting == kernels.CONTENDED else 0, meeting)
        if meeting == kernels.HINDERED and found == ends:
            break
        ends = found
    return ends


@lru_cache(maxsize=1 << 14)
def followed(timing, kind, filters, in_pass, p, q, ifmap_banks, meeting):
    """``kernels.run_of_passes``, remembered."""
    ends = np.zeros(ceil_div(filters, in_pass), np.int64)
    kernels.run_of_passes(timing, kind, filters, in_pass, p, q, ifmap_banks, meeting,
                          ends)
    return tuple(ends.tolist())


def rows_at_once(width, row_words, in_order):
    """Most rows of the GLB of which a network that moves so many words asks in a cycle.

    Words in the order in which they lie there begin in a row that is at hand, if they
    do not begin a new one.
    """
    if in_order:
        return ceil_div(width, row_words)
    return (width - 2) // row_words + 2 if width > 1 else 1


def ways_to_meet(timing, ifmap_banks, several):
    """Which of UNHINDERED, HINDERED and CONTENDED a run of passes may need, in order.

    The ports of banks can't matter where they serve all that both psum networks ask of
    a bank in one cycle. More than one write a read never waits for where a step of
    either network asks for one row at most and the next step for the next row, which
    lies in another bank.

    Parameters
    ----------
    several : bool
        Whether there is more than one pass.
    """
    ports, row, net_in = timing.glb_ports, timing.glb_row, timing.net_p_in
    net_out, width = timing.net_p_out, timing.net_i
    if ports == 0:
        return (kernels.UNHINDERED,)
    psum_banks = max(1, timing.all_banks - ifmap_banks)
    psum_rows = (ceil_div(rows_at_once(net_in, row, net_in >= net_out), psum_banks)
                 + ceil_div(rows_at_once(net_out, row, net_out >= net_in), psum_banks))
    # Where the next pass begins, its first row may lie anywhere.
    ifmap_rows = ceil_div(rows_at_once(width, timing.ifmap_row, not several),
                          ifmap_banks)
    if ifmap_rows > ports and width > 1:
        return (kernels.CONTENDED,)
    if psum_rows <= ports:
        return (kernels.UNHINDERED,)
    if net_in == net_out and net_in <= row and psum_banks > 1:
        return kernels.UNHINDERED, kernels.HINDERED, kernels.CONTENDED
    return (kernels.CONTENDED,)
