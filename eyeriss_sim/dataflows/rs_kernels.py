"""Compiled inner loops of the chip's accounting. Callers check, kernels trust.

A ``Shape`` is a layer as the array sees it, its filters cut into segments that the
array and the ifmap spad can hold. Of each strip the GLB loads the ifmap rows that the
whole filter meets and sends those of each segment. A mapping is the seven numbers
m n e p q r t, ``Letters``; how rows and columns are cut stands in the ``Shape``.

Processing passes run in the order: group, images, column strip, strip, filters kept in
the GLB (m), channels (a load of ifmaps), row segment, column segment, filters of a pass
(p t). The array is configured once a layer, so a ragged pass fills PE sets in order and
leaves the rest idle.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

# No kernel is a C callback, whose wrapper takes a twentieth of the first compile. A
# large one with one caller is written out there (``inline``) rather than compiled in a
# module of its own and again in each that links it; a call may pass a hundred numbers.
KERNEL = {"cache": True, "no_cfunc_wrapper": True}


class Shape(NamedTuple):
    """A layer cut to an array; integers.

    Parameters
    ----------
    N, G, M, C, E
        M of one group.
    F, W
        Sizes of a full column strip; W with padding.
    R_segs, R_full, R_last
        Row segments: how many, height in filter rows, height of the last.
    S_segs, S_full, S_last
        Column segments, likewise in taps.
    span_full, span_last
        Pixels under a segment's columns.
    cols_full, cols_last
        Columns that a segment streams, in all column strips.
    V, U, D
        Horizontal and vertical stride; vertical dilation.
    column_strips, F_last
        How many; ofmap columns of the last.
    W_all
        Ifmap columns that all strips load.
    span
        Pixels under a whole filter.
    """

    N: int
    G: int
    M: int
    C: int
    E: int
    F: int
    W: int
    R_segs: int
    R_full: int
    R_last: int
    S_segs: int
    S_full: int
    S_last: int
    span_full: int
    span_last: int
    cols_full: int
    cols_last: int
    V: int
    U: int
    D: int
    column_strips: int
    F_last: int
    W_all: int
    span: int


class Limits(NamedTuple):
    """PEs and storage, in values of a kind: words where these have 16 bits."""

    rows: int
    cols: int
    spad_i: int
    spad_f: int
    spad_p: int
    banks: int
    bank_ifmaps: int
    bank_psums: int
    glb_f: int


class Timing(NamedTuple):
    """Networks (words a cycle) and choices of the micro-architecture (presets)."""

    net_i: int
    net_f: int
    net_p_in: int
    net_p_out: int
    hop_cycles: int
    bubbles: int
    stride_cycles: int
    image_gap: int
    filters_first: int
    window_first: int
    ifmap_fifo: int
    filter_fifo: int
    psum_fifo: int
    psum_out_fifo: int
    glb_ports: int
    glb_row: int            # psums of a row of a bank
    ifmap_row: int
    all_banks: int
    ifmaps_of_bank: int
    pass_overlap: int
    downwards: int


class Prices(NamedTuple):
    """Parts of a mapping's energy and loads; floats.

    Parameters
    ----------
    per_load, per_filter_pass, per_set, per_filter_load, per_column_stay,
    per_channel_pass, per_channel_set, fixed : MAC energies
        See ``chip_energy`` and ``rs_search.prices_of``.
    clock : MAC energies
        What the machine burns in a cycle, whatever it does.
    link : cycles
        Core cycles in which the DRAM link moves a filter value.
    ifmap_ratio, ofmap_ratio
        Bits of a value in DRAM, coded as the fmap is, over those of a filter value.
    """

    per_load: float
    per_filter_pass: float
    per_set: float
    per_filter_load: float
    per_column_stay: float
    per_channel_pass: float
    per_channel_set: float
    fixed: float
    clock: float
    link: float
    ifmap_ratio: float
    ofmap_ratio: float


class Letters(NamedTuple):
    """A mapping: the seven letters of the papers."""

    m: int
    n: int
    e: int
    p: int
    q: int
    r: int
    t: int


class Kind(NamedTuple):
    """Passes that differ in their filters only; integers.

    Parameters
    ----------
    R, S, span
        Filter rows, taps of a row and pixels under them.
    F, images, rows_out, channels
        Windows of a row; images, ofmap rows and channels of a pass.
    rows, above
        Ifmap rows, and those above the first of the last ofmap row.
    V, U, D
        Horizontal and vertical stride; vertical dilation.
    """

    R: int
    S: int
    span: int
    F: int
    images: int
    rows_out: int
    channels: int
    rows: int
    above: int
    V: int
    U: int
    D: int


# Cycles from a psum's last MAC to the PE's output FIFO: two stages of the datapath.
PIPELINE = 2

# Axes of the access counts: [level, kind, direction].
RF, NOC, GLB, DRAM = 0, 1, 2, 3
IFMAP, FILTER, PSUM = 0, 1, 2
READ, WRITE, FILL, DRAIN, HOP = 0, 1, 2, 3, 4

# Causes of processing cycles.
MAC, RAMP, PSUM_NET, IFMAP_NET, FILTER_WAIT = 0, 1, 2, 3, 4
CAUSES = 5

# Objectives of the search, and what it leaves out: ``base.kernel_place`` and places in
# ``base.SKIPS``.
ENERGY, CYCLES, EDP, JOULES = 0, 1, 2, 3
SKIP_NOTHING, SKIP_DOMINATED, SKIP_HOPELESS, SKIP_UNLIKELY = 0, 1, 2, 3


@njit(cache=True)
def ceil_div(a, b):
    """The smallest integer not below a / b, for positive b."""
    return (a + b - 1) // b


@njit(**KERNEL)
def link_cycles(words, cycles_per_word):
    """Whole core cycles in which the DRAM link moves words, as a float.

    A product that rounding lifted above a whole number is not another cycle.
    """
    return np.ceil(words * cycles_per_word * (1 - 1e-12))


# Parts of a filter whose rows are asked for: a full row segment, the last one, all.
# Numbers of numpy's, lest Numba compile what takes them for each value.
FULL_SEGMENT, LAST_SEGMENT, WHOLE_FILTER = np.int64(0), np.int64(1), np.int64(2)


@njit(**KERNEL)
def filter_rows(shape, part):
    """Rows of a part of the filter."""
    if part == WHOLE_FILTER:
        return (shape.R_segs - 1) * shape.R_full + shape.R_last
    return shape.R_last if part == LAST_SEGMENT else shape.R_full


@njit(**KERNEL)
def coprime_steps(stride, dilation):
    """Both over their greatest common divisor."""
    divisor, rest = stride, dilation
    while rest:
        divisor, rest = rest, divisor % rest
    return stride // divisor, dilation // divisor


@njit(**KERNEL)
def strip_rows(shape, part, e):
    """Distinct ifmap rows that a strip of e ofmap rows needs for a part of the filter.

    The rows are {i stride + k dilation : i < e, k < R}, and with coprime steps the
    pairs (i, k) and (i - dilation, k + stride) are the same row. So every row is met
    once by the e R pairs less those that have such a twin.
    """
    R = filter_rows(shape, part)
    stride, dilation = coprime_steps(shape.U, shape.D)
    return e * R - max(0, e - dilation) * max(0, R - stride)


@njit(**KERNEL)
def rows_above(shape, part, e):
    """Those of ``strip_rows`` above the first row of the last ofmap row.

    Of the twins the one with the larger i counts here. At or below that first row then
    lie, of the j-th ofmap row from the last, the taps k >= j stride / dilation.
    """
    R = filter_rows(shape, part)
    stride, dilation = coprime_steps(shape.U, shape.D)
    rows = strip_rows(shape, part, e)
    for j in range(min(dilation, e)):
        below = R - ceil_div(j * stride, dilation)
        if below <= 0:
            break
        rows -= below
    return rows


@njit(**KERNEL)
def rows_before(R, U, D, e, row):
    """Distinct ifmap rows above a row, of those that e ofmap rows of R taps meet.

    Of twins, see ``strip_rows``, the one with the smaller i counts.
    """
    stride, dilation = coprime_steps(U, D)
    rows = 0
    for i in range(e):
        met_before = max(0, R - stride) if i >= dilation else 0
        rows += max(0, min(R, ceil_div(row - i * U, D)) - met_before)
    return rows


@njit(**KERNEL)
def ofmap_columns(shape):
    """Ofmap columns of all column strips: F of the layer."""
    return (shape.column_strips - 1) * shape.F + shape.F_last


@njit(**KERNEL)
def cut_columns(shape, column_strips):
    """Cut the columns of a layer, which has one column strip till now.

    A strip loads the columns under its windows and those up to the next strip's, which
    no window meets where filters are narrower than their stride: DRAM has no cheaper
    way past a few words.

    Returns
    -------
    Shape
    """
    F = ceil_div(shape.F, column_strips)
    # The last strip may be the widest, if columns are left over behind its windows.
    W = shape.W - (column_strips - 1) * F * shape.V
    if column_strips > 1:
        W = max(W, (F - 1) * shape.V + max(shape.span, shape.V))
    moved = (shape.F - column_strips) * shape.V
    return Shape(
        shape.N, shape.G, shape.M, shape.C, shape.E, F, W,
        shape.R_segs, shape.R_full, shape.R_last,
        shape.S_segs, shape.S_full, shape.S_last, shape.span_full, shape.span_last,
        moved + column_strips * shape.span_full,
        moved + column_strips * shape.span_last, shape.V, shape.U, shape.D,
        column_strips, shape.F - (column_strips - 1) * F,
        shape.W + (column_strips - 1) * max(0, shape.span - shape.V), shape.span)


@njit(**KERNEL)
def streamed_columns(shape):
    """Ifmap columns that all column strips and column segments stream."""
    return (shape.S_segs - 1) * shape.cols_full + shape.cols_last


@njit(**KERNEL)
def loaded_rows(shape, e):
    """Ifmap rows of all strips of e rows, as the GLB loads them."""
    strips = ceil_div(shape.E, e)
    e_last = shape.E - (strips - 1) * e
    return ((strips - 1) * strip_rows(shape, WHOLE_FILTER, e)
            + strip_rows(shape, WHOLE_FILTER, e_last))


@njit(**KERNEL)
def sent_rows(shape, e):
    """Ifmap rows of all strips and row segments, as the GLB sends them."""
    strips = ceil_div(shape.E, e)
    e_last = shape.E - (strips - 1) * e
    rows = 0
    for segment, times in ((FULL_SEGMENT, shape.R_segs - 1), (LAST_SEGMENT, 1)):
        rows += times * ((strips - 1) * strip_rows(shape, segment, e)
                         + strip_rows(shape, segment, e_last))
    return rows


@njit(**KERNEL)
def filter_passes(filters, m, p, t):
    """How the filters of one group are cut into GLB loads, passes and PE sets.

    Returns
    -------
    loads : int
        Groups of m filters, so often the ifmaps come from DRAM.
    passes : int
        Passes over all filters of the group for one set of channels.
    sets : int
        PE sets that these passes occupy, summed.
    """
    loads = ceil_div(filters, m)
    last = filters - (loads - 1) * m
    pt = p * t
    passes = (loads - 1) * ceil_div(m, pt) + ceil_div(last, pt)
    sets = ((loads - 1) * (m // pt * t + ceil_div(m % pt, p))
            + last // pt * t + ceil_div(last % pt, p))
    return loads, passes, sets


@njit(**KERNEL)
def chip_counts(shape, letters, counts):
    """Accesses of one mapping, dense, as ``counts.py`` defines them.

    Parameters
    ----------
    shape : Shape
    letters : Letters
        A legal mapping.
    counts : int64 ndarray, shape (4, 3, 5), words, written
        Accesses [level, kind, direction].

    Returns
    -------
    passes : int
        Processing passes of the layer.
    """
    counts[:] = 0
    m, n, e, p, q, r, t = letters
    R = (shape.R_segs - 1) * shape.R_full + shape.R_last
    S = (shape.S_segs - 1) * shape.S_full + shape.S_last
    columns = streamed_columns(shape)
    row_strips = ceil_div(shape.E, e)
    strips = row_strips * shape.column_strips
    image_groups = ceil_div(shape.N, n)
    loads, f_passes, f_sets = filter_passes(shape.M, m, p, t)
    c_passes = ceil_div(shape.C, q * r)
    c_sets = shape.C // (q * r) * r + ceil_div(shape.C % (q * r), q)
    segments = shape.R_segs * shape.S_segs
    channels = shape.N * shape.G * shape.C
    filters = shape.G * shape.M * shape.C * R * S
    ofmap = shape.N * shape.G * shape.M * shape.E * ofmap_columns(shape)
    macs = ofmap * shape.C * R * S

    counts[DRAM, IFMAP, READ] = (
        channels * loaded_rows(shape, e) * shape.W_all * loads)
    counts[GLB, IFMAP, FILL] = counts[DRAM, IFMAP, READ]
    counts[GLB, IFMAP, READ] = (
        channels * sent_rows(shape, e) * columns * f_passes)
    counts[NOC, IFMAP, FILL] = counts[GLB, IFMAP, READ]
    counts[NOC, IFMAP, READ] = channels * R * shape.E * columns * f_sets
    counts[RF, IFMAP, FILL] = counts[NOC, IFMAP, READ]

    counts[DRAM, FILTER, READ] = filters * image_groups * strips
    counts[GLB, FILTER, FILL] = counts[DRAM, FILTER, READ]
    counts[GLB, FILTER, READ] = counts[DRAM, FILTER, READ]
    counts[NOC, FILTER, FILL] = counts[DRAM, FILTER, READ]
    counts[NOC, FILTER, READ] = (
        filters * image_groups * shape.E * shape.column_strips)
    counts[RF, FILTER, FILL] = counts[NOC, FILTER, READ]

    through_glb = ofmap * c_passes * segments
    counts[GLB, PSUM, READ] = through_glb
    counts[NOC, PSUM, FILL] = through_glb
    counts[NOC, PSUM, READ] = through_glb
    counts[NOC, PSUM, HOP] = ofmap * shape.S_segs * (
        R * c_sets - shape.R_segs * c_passes)
    counts[NOC, PSUM, WRITE] = through_glb
    counts[NOC, PSUM, DRAIN] = through_glb
    counts[GLB, PSUM, WRITE] = through_glb
    counts[GLB, PSUM, DRAIN] = ofmap
    counts[DRAM, PSUM, WRITE] = ofmap

    for kind in (IFMAP, FILTER, PSUM):
        counts[RF, kind, READ] = macs
    counts[RF, PSUM, WRITE] = macs
    return shape.G * image_groups * strips * c_passes * segments * f_passes


@njit(**KERNEL)
def chip_energy(prices, loaded, sent, columns, stays, column_stays, loads, f_passes,
                f_sets, c_passes, c_sets):
    """Energy of a mapping from its counts, see ``rs_search.prices_of``.

    ``loaded``, ``sent``: words of a channel that the GLB loads for some filters, and
    that it sends them; ``columns``: those of a row that it sends, column strips summed.
    ``stays``: strips of rows and columns times image groups, each of which loads all
    filters; ``column_stays``: column strips times image groups, in each of which the
    PEs of every ofmap row take them.
    """
    return (prices.per_load * loaded * loads
            + prices.per_filter_pass * sent * f_passes
            + prices.per_set * columns * f_sets
            + prices.per_filter_load * stays
            + prices.per_column_stay * column_stays
            + prices.per_channel_pass * c_passes
            + prices.per_channel_set * c_sets
            + prices.fixed)


@njit(cache=True)
def score_of(objective, clock, energy, cycles):
    """What an objective other than ENERGY makes of both; never falls with either.

    ``clock``: MAC energies that the machine burns in a cycle, whatever it does.
    """
    if objective == CYCLES:
        return cycles
    joules = energy + clock * cycles
    return joules * cycles if objective == EDP else joules


@njit(**KERNEL, error_model="numpy")
def lanes(filters, p, width):
    """Cycles in which a network of ``width`` words moves one word for each filter.

    The words of one cycle belong to one PE, which holds p filters, so a p that is no
    multiple of the width wastes lanes.
    """
    return filters // p * ceil_div(p, width) + ceil_div(filters % p, width)


@njit(**KERNEL, error_model="numpy")
def port_cycles(timing, filters, rows_out, psum_banks):
    """Cycles in which the psum banks read and write a psum of each filter and row.

    Without ``glb_ports`` none. Rows of all windows, if words of several share a row of
    a bank.
    """
    if timing.glb_ports == 0:
        return 0
    return ceil_div(2 * filters * rows_out,
                    timing.glb_row * timing.glb_ports * psum_banks)


@njit(**KERNEL, error_model="numpy")
def pass_cycles(timing, kind, filters, p, q, psum_banks):
    """Cycles of one pass alone, from its first word on a network to its last psum out.

    At least: what the machine shows (``machine/``) is that no chain of waits can be
    shorter than the ends below. A pass takes as long as the longest of them where one
    resource never stands still once it has begun, MACs, psum network or ifmap network;
    what it takes else ``run_of_passes`` finds. In full:

    *Start.* Filters, then ifmaps if the filter spad has one port (FILTERS_FIRST), else
    both at once. A PE begins when it has its first window (WINDOW_FIRST), else with the
    first words, and can't end the window before the last of them has come. Words come
    column by column, in each channel by channel, row by row, so that the PEs of the
    last ofmap row begin last, ``above`` rows after those of the first.

    *Climb.* A psum group of up to four collects in a PE, passes its pipeline and goes
    up: ``hop_cycles`` for a full group. The PEs of a column run so many cycles apart.
    The slowest way up begins at the bottom or, where rows come apart farther than a
    hop, in the highest row of the first PE set. Where the first filter row lies on top
    (DOWNWARDS), the lowest PEs are those whose words come last.

    *Pace.* MACs: windows of p q S cycles, and p more where psums have their own
    (BUBBLES). Between windows V q words shift in, one a cycle; the last of them is
    used in the cycle in which it comes (WINDOW_FIRST, where MACs wait for all of
    them) or none is (STRIDE_CYCLES). A next image fills a whole window anew. Psum
    networks: the slower of the two; the ports of the psum banks, of which reads use
    some before the first window is done, have all of them to move from the start on.
    Ifmap network: a word a cycle and lane. The last image may be the only one that is
    not bound by ifmaps, as its windows are all that is left when its first has come.

    *End.* The psums of the last window leave in the network's order, four of each
    column's filters at a time: the steps from the first column's first group on, or
    those from the last column's.

    Parameters
    ----------
    timing : Timing
    kind : Kind
    filters, p, q : int
        Filters of the pass; filters and channels of a full PE.
    psum_banks : int

    Returns
    -------
    macs, mac_end, psum_end, end : int
        MACs of a full PE, and when they, they or the psums, or all would be done.
    """
    R, S, span, F, images, rows_out, channels, rows, above, V, _, _ = kind
    net_i, net_f, net_out = timing.net_i, timing.net_f, timing.net_p_out
    p_used, q_used = min(p, filters), min(q, channels)
    r_used = ceil_div(channels, q)
    bubble = p_used * timing.bubbles
    window = p_used * q_used * S
    windows = images * F
    per_column = rows * channels
    # Sets that have a last channel; sets with a last group of filters, either network.
    deep = max(1, channels // q)
    load_lanes, out_lanes = lanes(filters, p, net_f), lanes(filters, p, net_out)
    load = R * S * channels * load_lanes
    sets, part = filters // p, filters % p
    load_last = sets + (ceil_div(part, net_f) == ceil_div(p, net_f)) if sets else 1
    out_last = sets + (ceil_div(part, net_out) == ceil_div(p, net_out)) if sets else 1
    group = min(p_used, net_out)
    hop = group + PIPELINE + max(1, timing.hop_cycles - net_out - PIPELINE)
    to_top, over_sets = (R * r_used - 1) * hop, R * (r_used - 1) * hop
    # A lowest set of fewer channels begins earlier than those above it.
    short = timing.downwards and r_used * q > channels and r_used > 1
    if short:
        to_top, over_sets = (R - 1) * hop, 0
    # Of the last words, fewer may collect before they climb.
    last_in = last_out = 1
    if part == 0 or sets == 0:
        last_in = (p_used - 1) % timing.net_p_in + 1
        last_out = (p_used - 1) % net_out + 1
    last_lanes = p_used - (ceil_div(p_used, net_f) - 1) * net_f
    # Psums out of the top: the cycles from the first of a window to its network steps.
    ready = group + PIPELINE
    steps = out_lanes * rows_out
    column_steps = ceil_div(filters, p)
    tail_first = ready + max(p_used - group + rows_out * out_last, steps)
    tail_last = ready + max(p_used - group + out_last,
                            steps - (rows_out - 1) * column_steps)
    # The last window's first column of the ifmap network, then its channel and row.
    fill = span * per_column
    columns = (F - 1) * V + span
    to_last_image = (images - 1) * columns * per_column
    to_last_window = images * columns * per_column - fill
    # When the last psum of one window would be out: of the first one; of the last
    # image's first one and of the last one if their words came without a gap.
    begun = image_begun = streamed = first_psum = 0
    # Where MACs run on while filters come, the last MACs make the psums one by one.
    by_filter = not timing.filters_first and not timing.bubbles
    for last_column in range(2):
        row = above if last_column else 0
        tail = tail_last if last_column else tail_first
        last_tail = ready + p_used - group + out_last * (1 if last_column else rows_out)
        for high in range(2):
            higher = R - 1 if high != timing.downwards else 0
            word = fill + (row - rows + higher) * deep
            way_out = bubble + tail + (over_sets if high else to_top)
            opens = (row + higher) * r_used
            # One word a cycle keeps the later ones as far behind as the words between.
            for when in range(1 if net_i == 1 else 3):
                skipped = 0
                if when > 0:
                    skipped = to_last_window if when == 2 else to_last_image
                # A PE takes one word a cycle.
                full = max((word + skipped) // net_i + 1,
                           (skipped // per_column + span) * q_used)
                later = full + window - p_used
                if not timing.window_first:
                    later = max(full, (opens + skipped) // net_i + 1 + window - p_used)
                if timing.filters_first:
                    later += load - 1
                if when == 2:
                    streamed = max(streamed, later + way_out)
                elif when == 1:
                    image_begun = max(image_begun, later + way_out)
                else:
                    if net_i == 1:
                        image_begun = max(image_begun, later + way_out + to_last_image)
                        streamed = max(streamed, later + way_out + to_last_window)
                    if not timing.filters_first:
                        filled = load - (R - higher) * deep * load_last + 1
                        last = max(later, filled + last_lanes - p_used)
                        if not by_filter:
                            later = last
                        else:
                            # The last group may come long after the first one's.
                            later = max(later, load - R * deep * load_lanes + 1)
                            climb = (over_sets if high else to_top) // hop
                            begun = max(begun, last + last_tail + climb * (
                                hop - group + last_out))
                    begun = max(begun, later + way_out)
                    first_psum = max(first_psum, later + way_out - tail)
    # Between windows, and between images.
    if timing.window_first:
        shift, anew = V * q_used - 1, span * q_used - 1
    else:
        shift, anew = V * q_used if timing.stride_cycles else 0, 0
    anew += timing.image_gap
    step = window + bubble
    busy = (windows - 1) * step + images * (F - 1) * shift + (images - 1) * anew
    banks = port_cycles(timing, filters, windows * rows_out, psum_banks)
    # Psums from the GLB run ahead until the FIFOs are full. The last one still has to
    # climb; a network that is no narrower than the other has sent it long before.
    sent = lanes(filters, p, timing.net_p_in) * rows_out
    ahead = ceil_div(timing.psum_fifo, p_used) * sent
    late = max(0, begun - to_top - tail_first - ahead)
    if by_filter:
        late = max(0, min(begun - tail_first, first_psum) - to_top - ahead)
    if short:
        late = 0
    fed = windows * sent + late + (R * r_used - 1) * (last_out + hop - group) + (
        min(last_in, last_out) + PIPELINE)
    held = span * q_used + timing.ifmap_fifo
    not_held = max(0, images * columns * q_used - held - 1) * rows * deep // net_i
    mac_end = begun + busy
    psum_end = max(mac_end, begun + (windows - 1) * steps, fed, banks)
    end = max(psum_end, begun + not_held, streamed,
              image_begun + (F - 1) * max(step + shift, steps))
    return windows * window, mac_end, psum_end, end


@njit(**KERNEL, error_model="numpy")
def following_cycles(timing, kind, filters, p, q, psum_banks):
    """Cycles that a pass adds to one that runs on into it (PASS_OVERLAP), at least.

    Its psums follow those before without a gap, so that start, climb and end fall away.
    Not its filters, which find room in the spad only when a PE has done the pass
    before; those, and what the FIFOs hold by then, ``run_of_passes`` sees. Parameters
    as of ``pass_cycles``.

    Returns
    -------
    macs, mac_end, psum_end, end : int
        As of ``pass_cycles``; networks may have run ahead in the pass before, so that
        only ``mac_end`` is a bound.
    """
    _, S, span, F, images, rows_out, channels, rows, _, V, _, _ = kind
    p_used, q_used = min(p, filters), min(q, channels)
    windows = images * F
    columns = ((F - 1) * V + span) * rows * channels
    if timing.window_first:
        shift, anew = V * q_used - 1, span * q_used - 1
    else:
        shift, anew = V * q_used if timing.stride_cycles else 0, 0
    macs = windows * p_used * q_used * S
    mac_end = macs + windows * p_used * timing.bubbles + images * (
        (F - 1) * shift + anew + timing.image_gap)
    pace = max(lanes(filters, p, timing.net_p_out),
               lanes(filters, p, timing.net_p_in)) * rows_out
    psum_end = max(mac_end, windows * pace, port_cycles(
        timing, filters, windows * rows_out, psum_banks))
    return macs, mac_end, psum_end, max(
        psum_end, ceil_div(images * columns, timing.net_i))


# Passes of a run after which one more takes as long as the last: what a pass finds in
# FIFOs and spads is what the pass before it left there.
STEADY = 3
# Axes of what a run of passes knows of each PE: the first cycles in which it may go on
# with MACs, take ifmap words and take filter words; the last in which psums went up;
# how many words it has taken or made, and where its filters begin.
FREE, IFMAPS_FROM, FILTERS_FROM, MOVED, IFMAP_AT, FILTER_AT, PSUM_AT = range(7)
PE_AXES = 7
# Axes of what it knows of the networks: when each last moved a word, for the ifmap
# network in cycles times its width, and that word's number in the pass or image or,
# for psum networks, that step's in the round of all columns.
(FILTER_TIME, FILTER_STEP, IFMAP_TIME, IFMAP_WORD, IN_TIME, OUT_TIME, IN_STEP,
 OUT_STEP) = range(8)
NET_AXES = 8
# Ifmap FIFOs of fewer words chain each column of PEs to its neighbours.
ROOMY_FIFO = 4

# What a run of passes knows of the ports of psum banks. UNHINDERED: they are never in
# the way, so that cycles are a bound from below. HINDERED: each step of the psum input
# network waits for a write once, a bound from above where no step can wait for more
# (``ways_to_meet``). CONTENDED: reads and writes meet in the banks as on the machine.
UNHINDERED, HINDERED, CONTENDED = np.int64(0), np.int64(1), np.int64(2)
READS, WRITES = np.int64(0), np.int64(1)
# Axes of what it knows of the psum banks: how many, ports of each, psums of a row and
# of the wider network, first psum of the window, where the queue of writes begins and
# ends.
BANK_COUNT, BANK_PORTS, BANK_ROW, WIDE, WINDOW_AT, QUEUE_FROM, QUEUE_TO = range(7)
BANK_AXES = 7


@njit(**KERNEL)
def ring(words):
    """A mask that keeps the last ``words`` of a count apart."""
    places = 1
    while places < words:
        places *= 2
    return places - 1


@njit(**KERNEL)
def sets_of(of_column):
    """Filter sets of each ofmap row that a run of passes looks at."""
    sets = 1
    while sets < of_column.shape[1] and of_column[0, sets] == of_column[0, 0]:
        sets += 1
    return sets


@njit(**KERNEL)
def send_filters(timing, R, S, e, filters, p, own_q, of_column, pe, net, got):
    """The filter network through one pass: when each PE has each of its words.

    Words go tap by tap, channel by channel, a network's width of filters at a time, to
    each filter row and PE set: at once to the columns of a set, when all of them have
    room in their FIFOs. A PE puts a cycle's words into its spad from the cycle after,
    unless it still works with those of the pass before.

    Parameters
    ----------
    filters : int
        Of this pass.
    own_q : int64 ndarray, shape (rows of PEs,)
        Channels of each.
    of_column : int64 ndarray, shape (2, columns)
        As ``columns_of`` gives them.
    pe, net : int64 ndarray, shape (7, PEs), (6,), changed
    got : int64 ndarray, shape (PEs, ring), cycles, written
        When a filter word was in the spad.
    """
    width, fifo, mask = timing.net_f, timing.filter_fifo, got.shape[1] - 1
    height, columns = own_q.shape[0], of_column.shape[1]
    high = height // R
    ways = sets_of(of_column)
    for tap in range(S):
        for c in range(own_q.max()):
            with_c = high if c < own_q.min() else high - 1
            for f in range(0, min(p, filters), width):
                round_sets = filters // p + (filters % p > f)
                begin = net[FILTER_STEP]
                for row in range(R * with_c):
                    # Filter rows outside, the sets of other channels inside.
                    k = row % with_c * R + row // with_c
                    if timing.downwards:
                        k = height - 1 - k
                    for own in range(ways):
                        P = min(p, filters - of_column[1, own] * p)
                        if P <= f:
                            continue
                        words = min(width, P - f)
                        step = begin + row * round_sets + of_column[1, own]
                        time = net[FILTER_TIME] + step + 1 - net[FILTER_STEP]
                        first = (tap * own_q[k] + c) * P + f
                        for column in range(own, columns, ways):
                            at = column * height + k
                            last = pe[FILTER_AT, at] + first + words - 1 - fifo
                            if last >= 0:
                                time = max(time, got[at, last & mask])
                        net[FILTER_TIME], net[FILTER_STEP] = time, step + 1
                        for column in range(own, columns, ways):
                            at = column * height + k
                            for word in range(pe[FILTER_AT, at] + first,
                                              pe[FILTER_AT, at] + first + words):
                                taken = max(time + 1, pe[FILTERS_FROM, at])
                                if word >= width:
                                    # So many words a cycle.
                                    earlier = got[at, (word - width) & mask]
                                    taken = max(taken, earlier + 1)
                                if word > 0:
                                    taken = max(taken, got[at, (word - 1) & mask])
                                got[at, word & mask] = taken
                end = begin + R * with_c * round_sets
                net[FILTER_TIME] += end - net[FILTER_STEP]
                net[FILTER_STEP] = end


@njit(**KERNEL)
def ifmap_row(timing, row, time, asked):
    """When the ifmap network has a row of the GLB at hand, from some time on.

    Only a network of several words asks for more than a row in one cycle.

    Parameters
    ----------
    row : int
        Of its word, which goes round the banks.
    time : int
        In cycles times the network's width.
    asked : int64 ndarray, shape (2, banks + 1), changed
        Cycle in which each bank was last read, and how often in it; in the last column
        the row at hand.
    """
    banks = asked.shape[1] - 1
    if asked[0, banks] == row:
        return time
    width, bank = timing.net_i, row % banks
    if asked[0, bank] == time // width:
        if asked[1, bank] == timing.glb_ports:
            time = (time // width + 1) * width
            asked[1, bank] = 0
    else:
        asked[1, bank] = 0
    asked[0, bank] = time // width
    asked[1, bank] += 1
    asked[0, banks] = row
    return time


@njit(**KERNEL)
def send_ifmaps(timing, first, last, rows, channels, filters, p, own_q, of_column,
                order, key, pe, net, taken, sent, asked):
    """The ifmap network through the columns that a window needs anew.

    Words go column by column, channel by channel of a PE, row by row, PE set by set,
    each when all PEs that work on its row have room in their FIFOs. A PE takes one a
    cycle, from the cycle after, while its spad has room.

    Parameters
    ----------
    first, last : int
        Columns of the ifmap, the last not included.
    order, key : int64 ndarray, shape (PEs,)
        PEs by row and set of their words, and that place in a round of all sets.
    taken : int64 ndarray, shape (PEs, ring), cycles, written
        When an ifmap word left the FIFO.
    sent : int
        Words of the images before, in this pass.
    asked : int64 ndarray, shape (2, banks + 1), changed, or None
        As ``ifmap_row`` keeps it. With None banks are not compiled in.
    """
    width, fifo, mask = timing.net_i, timing.ifmap_fifo, taken.shape[1] - 1
    most, least = own_q.max(), own_q.min()
    height = own_q.shape[0]
    high = ceil_div(channels, most)
    for column in range(first, last):
        round_at = column * rows * channels
        for c in range(most):
            with_c = high if c < least else high - 1
            place = 0
            while place < order.shape[0]:
                begin, word_key = place, key[order[place]]
                while place < order.shape[0] and key[order[place]] == word_key:
                    place += 1
                if word_key % high >= with_c:
                    continue
                word = round_at + word_key // high * with_c + word_key % high
                time = net[IFMAP_TIME] + word - net[IFMAP_WORD]
                for one in range(begin, place):
                    at = order[one]
                    gone = pe[IFMAP_AT, at] - fifo
                    if gone >= 0 and filters > of_column[1, at // height] * p:
                        time = max(time, width * taken[at, gone & mask])
                if asked is not None:
                    time = ifmap_row(timing, (sent + word) // timing.ifmap_row, time,
                                     asked)
                net[IFMAP_TIME], net[IFMAP_WORD] = time, word
                for one in range(begin, place):
                    at = order[one]
                    number = pe[IFMAP_AT, at]
                    when = max(time // width + 1, pe[IFMAPS_FROM, at])
                    if number > 0:
                        when = max(when, taken[at, (number - 1) & mask] + 1)
                    taken[at, number & mask] = when
                    pe[IFMAP_AT, at] = number + 1
            round_at += rows * with_c


@njit(**KERNEL)
def start_window(timing, S, span, V, opens, filters_new, filters, p, own_q, of_column,
                 pe, taken, got):
    """When each PE could make a window's first psum, if psums came and went freely.

    MACs run without a gap from the last of the words that they wait for: the whole
    window (WINDOW_FIRST) or each word as it is used; all filters (FILTERS_FIRST) or
    each as it is used.

    Parameters
    ----------
    opens : bool
        A first window of an image, all of whose words are new.
    filters_new : bool
        A first window of a pass.
    """
    height = own_q.shape[0]
    mask, filter_mask = taken.shape[1] - 1, got.shape[1] - 1
    dilation = (span - 1) // (S - 1) if S > 1 else 1
    new_tap = 0 if opens else max(0, ceil_div(span - V, dilation))
    for at in range(pe.shape[1]):
        P, Q = min(p, filters - of_column[1, at // height] * p), own_q[at % height]
        if P <= 0:
            continue
        start, words = pe[FREE, at], pe[IFMAP_AT, at]
        if timing.window_first:
            start = max(start, taken[at, (words - 1) & mask])
        else:
            for tap in range(new_tap, S):
                word = words - Q * (span - tap * dilation)
                for c in range(Q):
                    start = max(start, taken[at, (word + c) & mask]
                                - (tap * Q + c) * P)
        if filters_new:
            first, last = pe[FILTER_AT, at], P * Q * S - 1
            if timing.filters_first:
                start = max(start, got[at, (first + last) & filter_mask])
            else:
                # Those of the last MACs hold up each its own psum (``move_psums``).
                ahead = last + 1 if timing.bubbles else last + 1 - P
                for word in range(ahead):
                    start = max(start, got[at, (first + word) & filter_mask] - word)
        pe[FREE, at] = start + P * Q * S - (0 if timing.bubbles else P)


@njit(**KERNEL)
def place_in_glb(wide, e, filters, p, f, row, own):
    """Where a psum of a window lies in the GLB: in the wider psum network's order."""
    full, rest = filters // p, filters % p
    first = f - f % wide
    words = min(wide, p - first)
    return (e * (full * first + min(rest, first)) + f - first + own * words
            + row * (full * words + min(wide, max(0, rest - first))))


@njit(**KERNEL)
def banks_serve(banks, e, filters, p, f, words, row, own, time, writes):
    """When psum banks have served all rows of a network's step, from some time on.

    A row that the network has not at hand is asked of its bank, which serves so many a
    cycle as it has ports. Writes go first: they are kept, and reads that come to the
    same bank in the same cycle wait.

    Parameters
    ----------
    banks : tuple of int64 ndarray, changed
        Shape (7,), axes above; (2, rows), how many rows reads and writes have at hand,
        and which; (2, ring), cycle and bank of each write.
    e, filters, p : int
        Of the pass.
    f, words, row, own : int
        First filter of a PE and words of the step; ofmap row and filter set.
    time : int
        Cycle from which on the step may come.
    writes : int
        READS or WRITES.
    """
    glb, at_hand, queue = banks
    held, mask = at_hand[writes], queue.shape[1] - 1
    count, ports = glb[BANK_COUNT], glb[BANK_PORTS]
    while True:
        ready, before = True, held[0]
        if not writes:
            while glb[QUEUE_FROM] < glb[QUEUE_TO] and (
                    queue[0, glb[QUEUE_FROM] & mask] < time):
                glb[QUEUE_FROM] += 1
        for word in range(f, f + words):
            needed = (glb[WINDOW_AT] + place_in_glb(
                glb[WIDE], e, filters, p, word, row, own)) // glb[BANK_ROW]
            found, used = False, 0
            for place in range(1, held[0] + 1):
                found = found or held[place] == needed
                used += place > before and held[place] % count == needed % count
            if found:
                continue
            if not writes:
                place = glb[QUEUE_FROM]
                while place < glb[QUEUE_TO] and queue[0, place & mask] == time:
                    used += queue[1, place & mask] == needed % count
                    place += 1
            if used >= ports:
                ready = False
                continue
            held[0] += 1
            held[held[0]] = needed
            if writes:
                queue[0, glb[QUEUE_TO] & mask] = time
                queue[1, glb[QUEUE_TO] & mask] = needed % count
                glb[QUEUE_TO] += 1
        if ready:
            break
        time += 1
    held[0] = 0
    for word in range(f, f + words):
        needed = (glb[WINDOW_AT] + place_in_glb(
            glb[WIDE], e, filters, p, word, row, own)) // glb[BANK_ROW]
        if held[0] == 0 or held[held[0]] != needed:
            held[0] += 1
            held[held[0]] = needed
    return time


@njit(**KERNEL)
def send_psums(timing, e, filters, p, f, column, height, of_column, pe, net, come, used,
               banks):
    """A step of the psum input network: some filters' psums to the foot of a column."""
    P = min(p, filters - of_column[1, column] * p)
    if P <= f:
        return
    round_sets = filters // p + (filters % p > f)
    step = of_column[0, column] * round_sets + of_column[1, column]
    time = net[IN_TIME] + step - net[IN_STEP]
    words, at = min(timing.net_p_in, P - f), column * height
    room = pe[PSUM_AT, at] + f + words - 1 - timing.psum_fifo
    if room >= 0:
        time = max(time, used[at, room & (used.shape[1] - 1)])
    time = banks_serve(banks, e, filters, p, f, words, of_column[0, column],
                       of_column[1, column], time, READS)
    net[IN_TIME], net[IN_STEP] = time, step
    for word in range(f, f + words):
        come[at, word] = time + 1


@njit(**KERNEL, inline="always")
def climb_column(timing, S, e, filters, by_filter, p, group, column, own_q, of_column,
                 pe, net, come, used, left, got, banks):
    """Some filters' psums up a column of PEs and out at its top.

    A PE adds a psum a cycle, when it has come and the output FIFO has room; the group
    that has passed the pipeline goes up when the PE above has room for it.
    """
    P = min(p, filters - of_column[1, column] * p)
    if P <= group:
        return
    net_out, mask, filter_mask = timing.net_p_out, used.shape[1] - 1, got.shape[1] - 1
    in_fifo, out_fifo = timing.psum_fifo, timing.psum_out_fifo
    latency = max(1, timing.hop_cycles - net_out - PIPELINE)
    words, height = min(net_out, P - group), own_q.shape[0]
    for at in range(column * height, (column + 1) * height):
        number = pe[PSUM_AT, at] + group
        time = pe[FREE, at] - 1
        last_tap = pe[FILTER_AT, at] + P * (own_q[at - column * height] * S - 1)
        for word in range(words):
            time = max(time + 1, come[at, group + word])
            if by_filter:
                time = max(time, got[at, (last_tap + group + word) & filter_mask])
            if number + word >= out_fifo:
                time = max(time, left[at, (number + word - out_fifo) & mask])
            used[at, (number + word) & mask] = time
        pe[FREE, at] = time + 1
        time += 1 + PIPELINE
        if at + 1 < (column + 1) * height:
            time = max(time, pe[MOVED, at] + 1)
            room = number + words - 1 - in_fifo
            if room >= 0:
                time = max(time, used[at + 1, room & mask] + 1)
            for word in range(group, group + words):
                come[at + 1, word] = time + latency
        else:
            round_sets = filters // p + (filters % p > group)
            step = of_column[0, column] * round_sets + of_column[1, column]
            time = max(time, net[OUT_TIME] + step - net[OUT_STEP])
            time = banks_serve(banks, e, filters, p, group, words, of_column[0, column],
                               of_column[1, column], time, WRITES)
            net[OUT_TIME], net[OUT_STEP] = time, step
        pe[MOVED, at] = time
        for word in range(words):
            left[at, (number + word) & mask] = time


@njit(**KERNEL, inline="always")
def meet_psums(timing, S, e, filters, filters_new, p, own_q, of_column, pe, net, come,
               used, left, got, banks):
    """``move_psums`` where reads and writes meet in the banks of the GLB.

    What a column has been sent climbs before the next column's is sent: whatever has
    come out at a top by then is known, so that a read sees the writes that it meets.
    """
    net_in, net_out = timing.net_p_in, timing.net_p_out
    most, height = min(p, filters), own_q.shape[0]
    by_filter = filters_new and not timing.filters_first and not timing.bubbles
    for group in range(0, most, net_out):
        end = min(group + net_out, most)
        first, last = ceil_div(group, net_in) * net_in, (end - 1) // net_in * net_in
        for f in range(first, last, net_in):
            net[IN_STEP] = -1
            for column in range(of_column.shape[1]):
                send_psums(timing, e, filters, p, f, column, height, of_column, pe, net,
                           come, used, banks)
        net[IN_STEP] = net[OUT_STEP] = -1
        for column in range(of_column.shape[1]):
            if last >= group:
                send_psums(timing, e, filters, p, last, column, height, of_column, pe,
                           net, come, used, banks)
            climb_column(timing, S, e, filters, by_filter, p, group, column, own_q,
                         of_column, pe, net, come, used, left, got, banks)


@njit(**KERNEL)
def move_psums(timing, S, e, filters, filters_new, p, own_q, of_column, pe, net, come,
               used, left, got, pace):
    """The psums of a window: in at the bottom of each column, up, and out at the top.

    Both psum networks go group by group of filters, in each column by column, set by
    set. A PE adds a psum a cycle, when it has come and the output FIFO has room; a
    group that has passed the pipeline goes up when the PE above has room for it.

    Where the last MACs of a first window make the psums (no BUBBLES) and began before
    all filters were there, each psum waits for its filter's last word.

    Parameters
    ----------
    come : int64 ndarray, shape (PEs, most filters), cycles, written
        From when on a psum of this window can be used.
    used, left : int64 ndarray, shape (PEs, ring), cycles, written
        When a psum left the input FIFO, and the output FIFO.
    pace : int
        Cycles of a step of the psum input network.
    """
    net_in, net_out, mask = timing.net_p_in, timing.net_p_out, used.shape[1] - 1
    in_fifo, out_fifo = timing.psum_fifo, timing.psum_out_fifo
    latency = max(1, timing.hop_cycles - net_out - PIPELINE)
    most = min(p, filters)
    columns, height = of_column.shape[1], own_q.shape[0]
    filter_mask = got.shape[1] - 1
    by_filter = filters_new and not timing.filters_first and not timing.bubbles
    for group in range(0, most, net_out):
        for f in range(group, min(group + net_out, most)):
            if f % net_in:
                continue
            round_sets = filters // p + (filters % p > f)
            before = -1
            for column in range(columns):
                P = min(p, filters - of_column[1, column] * p)
                if P <= f:
                    continue
                step = of_column[0, column] * round_sets + of_column[1, column]
                time = net[IN_TIME] + pace * (step - before)
                words, at = min(net_in, P - f), column * height
                room = pe[PSUM_AT, at] + f + words - 1 - in_fifo
                if room >= 0:
                    time = max(time, used[at, room & mask] + pace - 1)
                net[IN_TIME], before = time, step
                for word in range(f, f + words):
                    come[at, word] = time + 1
            net[IN_TIME] += pace * (e * round_sets - 1 - before)
        round_sets = filters // p + (filters % p > group)
        before = -1
        for column in range(columns):
            P = min(p, filters - of_column[1, column] * p)
            if P <= group:
                continue
            words = min(net_out, P - group)
            for at in range(column * height, (column + 1) * height):
                number = pe[PSUM_AT, at] + group
                time = pe[FREE, at] - 1
                last_tap = pe[FILTER_AT, at] + P * (own_q[at - column * height] * S - 1)
                for word in range(words):
                    time = max(time + 1, come[at, group + word])
                    if by_filter:
                        time = max(time, got[at, (last_tap + group + word)
                                             & filter_mask])
                    if number + word >= out_fifo:
                        time = max(time, left[at, (number + word - out_fifo) & mask])
                    used[at, (number + word) & mask] = time
                pe[FREE, at] = time + 1
                time += 1 + PIPELINE
                if at + 1 < (column + 1) * height:
                    time = max(time, pe[MOVED, at] + 1)
                    room = number + words - 1 - in_fifo
                    if room >= 0:
                        time = max(time, used[at + 1, room & mask] + 1)
                    pe[MOVED, at] = time
                    for word in range(group, group + words):
                        come[at + 1, word] = time + latency
                else:
                    step = of_column[0, column] * round_sets + of_column[1, column]
                    time = max(time, net[OUT_TIME] + step - before)
                    net[OUT_TIME], before = time, step
                    pe[MOVED, at] = time
                for word in range(words):
                    left[at, (number + word) & mask] = time
        net[OUT_TIME] += e * round_sets - 1 - before


@njit(**KERNEL, inline="always")
def columns_of(timing, e, first, last, p, meeting):
    """Columns of PEs that a run looks at: [ofmap row, filter set] of each.

    First and last ofmap row, first and last set that is full: the others run between
    them, unless ifmap FIFOs are so narrow, or an ifmap network so much wider than the
    word a cycle that a PE takes, that each column waits for the next. A last pass of
    fewer filters has a last full set of its own, and one of what is left, each behind
    a set of the pass before. All columns where psums meet in banks.

    Parameters
    ----------
    first, last : int
        Filters of the first and last pass of the run.
    """
    chained = timing.ifmap_fifo < ROOMY_FIFO or timing.net_i > 1
    rows = e if chained or meeting == CONTENDED else min(e, 2)
    watched = np.zeros(ceil_div(first, p), np.bool_)
    watched[0] = watched[max(1, first // p) - 1] = True
    if last < first:
        watched[max(1, last // p) - 1] = watched[ceil_div(last, p) - 1] = True
    if meeting == CONTENDED:
        for own in range(watched.shape[0]):
            watched[own] = True
    of_row = 0      # columns that are looked at, of each ofmap row
    for is_watched in watched:
        of_row += is_watched
    of_column = np.empty((2, rows * of_row), np.int64)
    column = 0
    for row in range(rows):
        for own in range(watched.shape[0]):
            if watched[own]:
                of_column[0, column] = e - 1 if row == rows - 1 else row
                of_column[1, column] = own
                column += 1
    return of_column


@njit(**KERNEL, inline="always")
def words_in_turn(R, U, D, high, downwards, of_column, rows_out):
    """Where the PEs' words stand in a round of the ifmap network.

    Returns
    -------
    key : int64 ndarray, shape (PEs,)
        Place in a round in which every set of channels has a word of each row.
    order : int64 ndarray, shape (PEs,)
        PEs by that place.
    """
    height, key_end = R * high, 0
    key = np.empty(of_column.shape[1] * height, np.int64)
    for column in range(of_column.shape[1]):
        for k in range(R):
            before = rows_before(R, U, D, rows_out, of_column[0, column] * U + k * D)
            for own in range(high):
                row = own * R + k
                if downwards:
                    row = height - 1 - row
                key[column * height + row] = before * high + own
                key_end = max(key_end, before * high + own + 1)
    # By counting: Numba takes seconds to compile a sort.
    ahead = np.zeros(key_end + 1, np.int64)
    for at in range(key.shape[0]):
        ahead[key[at] + 1] += 1
    for place in range(key_end):
        ahead[place + 1] += ahead[place]
    order = np.empty(key.shape[0], np.int64)
    for at in range(key.shape[0]):
        order[ahead[key[at]]] = at
        ahead[key[at]] += 1
    return key, order


@njit(**KERNEL)
def steady_step(pe, net, width, before):
    """Cycles by which all has moved on since the last call, -1 if not all alike.

    Parameters
    ----------
    width : int
        Of the ifmap network.
    before : int64 ndarray, shape (2, PEs + 2), cycles, changed
        When PEs and networks had done what they have now done once more.
    """
    pes = pe.shape[1]
    step = net[OUT_TIME] - before[0, pes]
    alike = (net[IN_TIME] - before[1, pes] == step
             and net[IFMAP_TIME] - before[0, pes + 1] == step * width)
    before[0, pes], before[1, pes] = net[OUT_TIME], net[IN_TIME]
    before[0, pes + 1] = net[IFMAP_TIME]
    for at in range(pes):
        alike = alike and (pe[FREE, at] - before[0, at] == step
                           and pe[MOVED, at] - before[1, at] == step)
        before[0, at], before[1, at] = pe[FREE, at], pe[MOVED, at]
    return step if alike else -1


@njit(**KERNEL)
def skip_cycles(cycles, width, pe, net, taken, used, left, psums, banks):
    """Move all on by so many cycles, in which the networks moved so many psums."""
    for at in range(pe.shape[1]):
        pe[FREE, at] += cycles
        pe[IFMAPS_FROM, at] += cycles
        pe[FILTERS_FROM, at] += cycles
        pe[MOVED, at] += cycles
        for word in range(taken.shape[1]):
            taken[at, word] += cycles
        for psum in range(used.shape[1]):
            used[at, psum] += cycles
            left[at, psum] += cycles
    net[IN_TIME] += cycles
    net[OUT_TIME] += cycles
    net[IFMAP_TIME] += cycles * width
    glb, at_hand, queue = banks
    if glb[BANK_COUNT]:
        # One by one: Numba takes seconds to compile sums of whole arrays.
        rows = psums // glb[BANK_ROW]
        for place in range(1, at_hand.shape[1]):
            at_hand[0, place] += rows
            at_hand[1, place] += rows
        for place in range(queue.shape[1]):
            queue[0, place] += cycles
            queue[1, place] = (queue[1, place] + rows) % glb[BANK_COUNT]


@njit(**KERNEL, inline="always")
def psum_banks_of(timing, ifmap_banks, pes, most, meeting):
    """What a run of passes knows of psum banks, see ``banks_serve``; none or all."""
    glb, wide = np.zeros(BANK_AXES, np.int64), max(timing.net_p_in, timing.net_p_out)
    at_hand, places = np.full((2, 1), -1), 1
    if meeting == CONTENDED:
        glb[BANK_COUNT] = max(1, timing.all_banks - ifmap_banks)
        glb[BANK_PORTS], glb[BANK_ROW] = timing.glb_ports, timing.glb_row
        glb[WIDE] = wide
        at_hand = np.full((2, 2 * wide + 2), -1)
        # Psums that have been read and not yet been written are in the PEs' FIFOs.
        places = ring(pes * (timing.psum_fifo + timing.psum_out_fifo) + most) + 1
    at_hand[:, 0] = 0
    return glb, at_hand, np.zeros((2, places), np.int64)


@njit(**KERNEL)
def run_of_passes(timing, kind, filters, in_pass, p, q, ifmap_banks, meeting, ends):
    """When each of a few passes is done that run on into each other.

    The machine (``machine/array.py``) decides nothing: each of its events, a word sent
    or taken or a psum made, comes in the cycle after the last of those that it waits
    for. This goes from event to event, window by window, and never looks at the cycles
    between. A network sends a word after the one before, when every FIFO that it goes
    to has room: when the word that came a FIFO's depth earlier has left it. A PE takes
    it in the next cycle. The MACs of a window run on from the last word that they had
    to wait for. A psum is made when the one from below has come and the output FIFO has
    room. So a chain of waits is found however it winds: from the top of a column of PEs
    through full ifmap FIFOs and the ifmap network to the bottom, say, whose next window
    then waits for the top's last one, and makes the climb a part of every window.

    Three things make it cheap. Only a few columns of PEs are looked at
    (``columns_of``); what the networks carry to the others takes its time there and
    never waits. MACs between two words that they wait for are one addition. And when
    all that a window does comes a fixed time after the window before did it, for as
    many windows as FIFOs look back, then so does all that follows, up to the image's
    last window, and is skipped; images likewise.

    Where psums meet in the GLB's banks (CONTENDED), who waits depends on every step of
    both psum networks. Then all columns are looked at, and windows skipped only if each
    begins in the same place of the same bank.

    Parameters
    ----------
    timing : Timing
    kind : Kind
    filters, in_pass : int
        Filters of all passes and of one; the last has what is left.
    p, q : int
        Filters and channels of a full PE.
    ifmap_banks : int
        Of the GLB; psums have the others.
    meeting : int
        UNHINDERED, HINDERED or CONTENDED.
    ends : int64 ndarray, shape (passes,), cycles, written
        When the last psum of each pass was out.
    """
    R, S, span, F, images, rows_out, channels, rows, _, V, U, D = kind
    high = ceil_div(channels, q)
    height, most = R * high, min(p, filters, in_pass)
    of_column = columns_of(timing, rows_out, min(filters, in_pass),
                           filters - (ends.shape[0] - 1) * in_pass, p, meeting)
    pes = of_column.shape[1] * height
    own_q = np.empty(height, np.int64)
    for k in range(height):
        own_q[k] = min(q, channels - k // R * q)
    if timing.downwards:
        own_q = own_q[::-1].copy()
    key, order = words_in_turn(R, U, D, high, timing.downwards, of_column, rows_out)
    width, new_words = timing.net_i, span * own_q.max()
    pe, net = np.zeros((PE_AXES, pes), np.int64), np.full(NET_AXES, -1)
    net[FILTER_STEP] = 0
    taken = np.zeros((pes, ring(max(timing.ifmap_fifo, new_words) + 1) + 1), np.int64)
    fifos = max(timing.psum_fifo, timing.psum_out_fifo)
    used = np.zeros((pes, ring(fifos + most) + 1), np.int64)
    left = np.zeros((pes, ring(fifos + most) + 1), np.int64)
    come = np.zeros((pes, most), np.int64)
    got = np.zeros((pes, ring(S * own_q.max() * most + timing.filter_fifo) + 1),
                   np.int64)
    before = np.zeros((2, pes + 2), np.int64)
    image_before = np.zeros((2, pes + 2), np.int64)
    look_back = 2 + max(ceil_div(fifos, most), ceil_div(
        timing.ifmap_fifo, V * own_q.min()))
    pace = 2 if meeting == HINDERED else 1
    banks = psum_banks_of(timing, ifmap_banks, pes, fifos + most, meeting)
    asked = np.full((2, ifmap_banks + 1), -1)
    columns = (F - 1) * V + span
    skips = image_skips = True
    for place in range(ends.shape[0]):
        now = min(in_pass, filters - place * in_pass)
        if timing.filters_first and ends.shape[0] == 1:
            # Spads take them as fast as they come.
            net[FILTER_TIME] += R * S * channels * lanes(now, p, timing.net_f)
        else:
            send_filters(timing, R, S, rows_out, now, p, own_q, of_column, pe, net,
                         got)
        if timing.filters_first:
            net[IFMAP_TIME] = max(net[IFMAP_TIME], net[FILTER_TIME] * width - 1)
        image = steady_images = image_step = 0
        psums = rows_out * now
        period = 1
        if meeting == CONTENDED:
            # Banks are alike, so that only where a row begins has to come round.
            while period * psums % timing.glb_row:
                period += 1
            # A last set may have fewer filters, of which FIFOs hold more windows.
            fewest = now % p if now % p else min(p, now)
            look_back = max(look_back, 2 + ceil_div(fifos, fewest))
            skips = width == 1
            image_skips = width == 1 and psums * F % timing.glb_row == 0
        while image < images:
            net[IFMAP_WORD] = -1
            window = steady = step = 0
            while window < F:
                first = (window - 1) * V + span if window else 0
                sent, end = image * columns * rows * channels, window * V + span
                if meeting == CONTENDED and width > 1:
                    send_ifmaps(timing, first, end, rows, channels, now, p, own_q,
                                of_column, order, key, pe, net, taken, sent, asked)
                else:
                    send_ifmaps(timing, first, end, rows, channels, now, p, own_q,
                                of_column, order, key, pe, net, taken, sent, None)
                start_window(timing, S, span, V, window == 0, window + image == 0, now,
                             p, own_q, of_column, pe, taken, got)
                banks[0][WINDOW_AT] = rows_out * place * in_pass * images * F + (
                    psums * (image * F + window))
                opens = window + image == 0
                if meeting == CONTENDED:
                    meet_psums(timing, S, rows_out, now, opens, p, own_q, of_column, pe,
                               net, come, used, left, got, banks)
                else:
                    move_psums(timing, S, rows_out, now, opens, p, own_q, of_column, pe,
                               net, come, used, left, got, pace)
                last = window == F - 1
                for at in range(pes):
                    pe[PSUM_AT, at] += min(p, now - of_column[1, at // height] * p)
                    pe[IFMAPS_FROM, at] = pe[FREE, at]
                    if last:
                        pe[FILTERS_FROM, at] = pe[FREE, at]
                        pe[FREE, at] += timing.image_gap
                        pe[IFMAPS_FROM, at] = pe[FREE, at]
                    elif timing.stride_cycles:
                        pe[FREE, at] += V * own_q[at % height]
                window += 1
                if skips and window < F - look_back and window % period == 0:
                    since = steady_step(pe, net, width, before)
                    steady = steady + period if since == step else 0
                    step = since
                    more = (F - 1 - window) // period * period
                    if since >= 0 and steady >= look_back and more:
                        skip_cycles(more // period * step, width, pe, net, taken, used,
                                    left, more * psums, banks)
                        net[IFMAP_WORD] += more * V * rows * channels
                        window += more
            net[IFMAP_TIME] += columns * rows * channels - 1 - net[IFMAP_WORD]
            image += 1
            if image_skips and image < images:
                since = steady_step(pe, net, width, image_before)
                steady_images = steady_images + 1 if since == image_step else 0
                image_step = since
                if since >= 0 and steady_images * F >= look_back:
                    more = images - image
                    skip_cycles(more * since, width, pe, net, taken, used, left,
                                more * F * psums, banks)
                    image += more
        for at in range(pes):
            pe[FILTER_AT, at] += S * own_q[at % height] * min(
                p, now - of_column[1, at // height] * p)
        ends[place] = net[OUT_TIME] + 1


# Kinds of sweep over the filters in the GLB: a full or the last load of filters, of
# channels, of row and of column segments, as 8 l + 4 c + 2 r + s.
SWEEP_KINDS = 16


@njit(**KERNEL)
def sweep_waits(need, last, loads, c_full, ragged_c, row_segments, col_segments):
    """Cycles that the first passes of all sweeps of a stay wait for their filters.

    A stay is what runs for one strip of one group of images. What its sweeps fetch does
    not depend on the strip, its columns or the images, so that, over all stays, it is
    as if each followed itself.

    Parameters
    ----------
    need, last : float64 ndarray, shape (16,), cycles
        By kind: the first filters on the link; the last pass.
    loads, c_full, row_segments, col_segments : int
        How many loads of filters, full loads of channels, segments.
    ragged_c : bool
        Whether one more load of channels is smaller.

    Returns
    -------
    float
    """
    worst, least = 0.0, np.inf
    c_first, c_end = 0 if c_full else 4, 4 if ragged_c else 0
    first = c_first + (0 if row_segments > 1 else 2) + (0 if col_segments > 1 else 1)
    end = c_end + 3
    for l_kind in range(0 if loads > 1 else 1, 2):
        for c_kind in range(0 if c_full else 1, 2 if ragged_c else 1):
            for r_kind in range(0 if row_segments > 1 else 1, 2):
                for s_kind in range(0 if col_segments > 1 else 1, 2):
                    kind = 8 * l_kind + 4 * c_kind + 2 * r_kind + s_kind
                    worst, least = max(worst, need[kind]), min(least, last[kind])
    if worst <= least:
        return 0.0
    waits = 0.0
    for l_kind in range(2):
        l_times = 1 if l_kind else loads - 1
        if l_times == 0:
            continue
        load = 8 * l_kind
        for c_kind in range(2):
            c_times = l_times * (ragged_c if c_kind else c_full)
            if c_times == 0:
                continue
            part = load + 4 * c_kind
            s_first = 0 if col_segments > 1 else 1
            for r_kind in range(2):
                r_times = c_times * (1 if r_kind else row_segments - 1)
                if col_segments > 1 and r_times:
                    row = part + 2 * r_kind
                    waits += r_times * (
                        (col_segments - 2) * max(0.0, need[row] - last[row])
                        + max(0.0, need[row + 1] - last[row]))
            if row_segments > 1:
                waits += c_times * (
                    (row_segments - 2) * max(0.0, need[part + s_first] - last[part + 1])
                    + max(0.0, need[part + 2 + s_first] - last[part + 1]))
        inner = first - c_first
        if c_full:
            waits += l_times * (
                (c_full - 1) * max(0.0, need[load + inner] - last[load + 3])
                + ragged_c * max(0.0, need[load + 4 + inner] - last[load + 3]))
    if loads > 1:
        waits += ((loads - 2) * max(0.0, need[first] - last[end])
                  + max(0.0, need[8 + first] - last[end]))
    return waits + max(0.0, need[(0 if loads > 1 else 8) + first] - last[8 + end])


@njit(**KERNEL)
def charge(bound, end, times, total):
    """Add what passes wait for: MACs, and when they, psums too, and all are done.

    Up to the ``bound`` of the closed forms each cycle has its cause. What a pass takes
    beyond is PEs that wait for one another through full FIFOs, and counts as ramp.
    """
    macs, mac_end, psum_end, known = bound
    more = max(0, end - known)
    total[0] += times * macs
    total[1] += times * min(mac_end + more, end)
    total[2] += times * min(psum_end + more, end)
    total[3] += times * end


# Columns of a table of kinds of passes: strips, image groups and groups that have them
# (stays), how often they run for each filter load and pass, their place in
# ``sweep_waits``, then a ``Kind`` but for what the ``Shape`` says.
STAY, STAYS, TIMES, SEGMENT, OF_KIND = 0, 1, 2, 3, 4
KIND_COLUMNS, MOST_KINDS = 13, 64


@njit(**KERNEL)
def find_kinds(shape, n, e, q, r, kinds):
    """Kinds of passes that a layer has under some n e q r.

    Parameters
    ----------
    kinds : int64 ndarray, shape (64, 13), written
        Columns above; stay by stay.

    Returns
    -------
    number : int
    """
    qr, strips, number = q * r, ceil_div(shape.E, e), 0
    e_last = shape.E - (strips - 1) * e
    for stay in range(8):
        ragged_f, ragged_e, ragged_n = stay // 4, stay // 2 % 2, stay % 2
        # A last strip that is as large as the others is one of them.
        own_last_f, own_last_e = shape.F_last < shape.F, e_last < e
        F, f_times = shape.F, shape.column_strips - own_last_f
        if ragged_f:
            F, f_times = shape.F_last, np.int64(own_last_f)
        rows_out, e_times = e, strips - own_last_e
        if ragged_e:
            rows_out, e_times = e_last, np.int64(own_last_e)
        images, n_times = (shape.N % n, 1) if ragged_n else (n, shape.N // n)
        stays = shape.G * f_times * e_times * n_times
        if stays == 0 or images == 0:
            continue
        for segment in range(8):
            last_rows, last_cols = segment // 2 % 2, segment % 2
            channels, times = qr, stays * (shape.C // qr)
            if segment // 4:
                channels, times = shape.C % qr, stays
            times *= (1 if last_rows else shape.R_segs - 1) * (
                1 if last_cols else shape.S_segs - 1)
            if channels == 0 or times == 0:
                continue
            for column, value in enumerate((
                    stay, stays, times, segment,
                    shape.R_last if last_rows else shape.R_full,
                    shape.S_last if last_cols else shape.S_full,
                    shape.span_last if last_cols else shape.span_full,
                    F, images, rows_out, channels,
                    strip_rows(shape, last_rows, rows_out),
                    rows_above(shape, last_rows, rows_out))):
                kinds[number, column] = value
            number += 1
    return number


@njit(**KERNEL)
def kind_of(shape, kinds, place):
    """One kind of a table, as a ``Kind``."""
    at = OF_KIND
    return Kind(
        kinds[place, at], kinds[place, at + 1], kinds[place, at + 2],
        kinds[place, at + 3], kinds[place, at + 4], kinds[place, at + 5],
        kinds[place, at + 6], kinds[place, at + 7], kinds[place, at + 8], shape.V,
        shape.U, shape.D)


@njit(**KERNEL)
def ifmap_banks_of(shape, timing, n, e, q, r):
    """Banks of the GLB that the ifmaps of a full pass fill; psums have the others."""
    words = n * min(q * r, shape.C) * strip_rows(shape, WHOLE_FILTER, e) * shape.W
    return ceil_div(words, timing.ifmaps_of_bank)


@njit(**KERNEL, error_model="numpy")
def time_sweeps(timing, link, kind, letters, filters, sweeps, psum_banks, bound,
                follows, full_ends, rest_ends, total):
    """Add up some like sweeps of passes over the filters in the GLB.

    Parameters
    ----------
    filters, sweeps : int
        Filters in the GLB; how often passes run over them.
    bound, follows : tuple of int
        ``pass_cycles`` and ``following_cycles`` of full passes.
    full_ends, rest_ends : int64 ndarray, shape (4,), cycles
        When the first full passes are done, and those up to one with what is left;
        0 where only the closed forms are asked.
    total : int64 ndarray, shape (4,), changed
        See ``charge``.

    Returns
    -------
    waits, late : float
        Cycles of waiting for filters, and for psums that leave late, as a bound.
    first, last : float, int
        Cycles of the link for the first pass's filters, and of the last pass.
    """
    _, _, _, p, q, _, t = letters
    pt = p * t
    passes, left = filters // pt, filters % pt
    words = kind.channels * kind.R * kind.S
    fetch, waits, late, before = link_cycles(pt * words, link), 0.0, 0.0, 0
    first = fetch
    distinct = min(passes, STEADY + 1 if timing.pass_overlap else 1)
    for place in range(distinct):
        # The last of them stands for all that follow.
        often = passes - place if place == distinct - 1 else 1
        if place:
            waits += sweeps * max(0.0, fetch - before)
            before = follows[1]
            if full_ends[place]:
                before = full_ends[place] - full_ends[place - 1]
        else:
            before = max(bound[3], full_ends[0])
        waits += sweeps * (often - 1) * max(0.0, fetch - before)
        charge(follows if place else bound, before, sweeps * often, total)
    if left:
        fetch = link_cycles(left * words, link)
        behind = min(passes, STEADY) if timing.pass_overlap else 0
        if behind:
            rest = following_cycles(timing, kind, left, p, q, psum_banks)
            # Of the full passes psums may leave later, while PEs do MACs of this one:
            # as many windows as FIFOs hold, where not the MACs set the pace. All MACs
            # still take their time.
            held = 1 + ceil_div(timing.psum_out_fifo, p)
            ahead = min(passes * (follows[3] - follows[1]),
                        ceil_div(held * follows[3], kind.images * kind.F))
            end = max(0, rest[1] - p - ahead - kind.rows_out * lanes(
                pt, p, timing.net_p_out))
            late = sweeps * max(0, follows[1] + rest[1] - bound[3] - end)
            if rest_ends[behind]:
                end = rest_ends[behind] - rest_ends[behind - 1]
        else:
            rest = pass_cycles(timing, kind, left, p, q, psum_banks)
            end = max(rest[3], rest_ends[0])
        if passes:
            waits += sweeps * max(0.0, fetch - before)
        else:
            first = fetch
        before = end
        charge(rest, end, sweeps, total)
    return waits, late, first, before


@njit(**KERNEL, error_model="numpy")
def chip_cycles(shape, timing, link, letters, kinds, ends, causes):
    """Processing cycles of a layer: each distinct pass once, times how often it runs.

    A pass takes what ``run_of_passes`` says, alone or, where passes overlap, behind
    those with other filters for the same ifmaps: up to three, then it adds what the
    fourth adds. The closed forms of ``pass_cycles`` and ``following_cycles`` never say
    more, and say what the cycles are for. The filters of a pass arrive from DRAM while
    the one before it runs, which it waits for; the layer before is taken to end as this
    one does.

    Parameters
    ----------
    shape : Shape
    timing : Timing
    link : float
        Core cycles in which the DRAM link moves a filter value.
    letters : Letters
        A legal mapping.
    kinds : int64 ndarray, shape (kinds, 13)
        As ``find_kinds`` gives them.
    ends : int64 ndarray, shape (at least kinds, 3, 4), cycles
        When the passes of each kind's runs are done, of full passes, and of those that
        end with what is left of m filters, and of the last ones. Zeros for a bound from
        the closed forms, some hundred times faster.
    causes : float64 ndarray, shape (5,), cycles, written
        MAC, RAMP, PSUM_NET, IFMAP_NET, FILTER_WAIT.

    Returns
    -------
    cycles : float
        Their sum, a whole number.
    """
    m, n, e, p, q, r, t = letters
    loads, qr = ceil_div(shape.M, m), q * r
    last_m = shape.M - (loads - 1) * m
    full = (last_m if loads == 1 else m) // (p * t)
    psum_banks = max(1, timing.all_banks - ifmap_banks_of(shape, timing, n, e, q, r))
    # Of each kind of sweep over the filters: cycles that its first filters take on the
    # link, and those of its last pass.
    need, last = np.zeros(SWEEP_KINDS), np.zeros(SWEEP_KINDS)
    total = np.zeros(4, np.int64)
    waits = late = 0.0
    for place in range(kinds.shape[0]):
        kind = kind_of(shape, kinds, place)
        bound = follows = (0, 0, 0, 0)
        if full:
            bound = pass_cycles(timing, kind, p * t, p, q, psum_banks)
            if timing.pass_overlap:
                follows = following_cycles(timing, kind, p * t, p, q, psum_banks)
        for ragged in range(2):
            filters, sweeps = (last_m, 1) if ragged else (m, loads - 1)
            if sweeps:
                at = 8 * ragged + kinds[place, SEGMENT]
                waited, left_late, need[at], last[at] = time_sweeps(
                    timing, link, kind, letters, filters, sweeps * kinds[place, TIMES],
                    psum_banks, bound, follows, ends[place, 0], ends[place, 1 + ragged],
                    total)
                waits += waited
                late += left_late
        if place + 1 == kinds.shape[0] or kinds[place + 1, STAY] != kinds[place, STAY]:
            waits += kinds[place, STAYS] * sweep_waits(
                need, last, loads, shape.C // qr, shape.C % qr > 0, shape.R_segs,
                shape.S_segs)
    if ends[0, 0, 0] + ends[0, 1, 0] + ends[0, 2, 0] == 0:
        # MACs of ragged passes may hide what the link or the FIFOs hide, not both.
        waits = max(waits, late)
    causes[MAC] = total[0]
    causes[RAMP] = total[1] - total[0]
    causes[PSUM_NET] = total[2] - total[1]
    causes[IFMAP_NET] = total[3] - total[2]
    causes[FILTER_WAIT] = waits
    return total[3] + waits


# Scores nearer than this are ties: rounding must not choose a mapping.
TIE = 1e-9


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


@njit(**KERNEL)
def score_chip(shape, timing, prices, objective, letters, kinds, ends):
    """What ``search_strips`` finds of one mapping, and its energy.

    Parameters as there and of ``chip_cycles``.
    """
    m, n, e, p, q, r, t = letters
    stays = ceil_div(shape.N, n) * shape.column_strips
    columns = streamed_columns(shape)
    loads, f_passes, f_sets = filter_passes(shape.M, m, p, t)
    loaded = loaded_rows(shape, e) * shape.W_all
    energy = chip_energy(
        prices, loaded, sent_rows(shape, e) * columns, columns,
        ceil_div(shape.E, e) * stays, stays, loads, f_passes, f_sets,
        ceil_div(shape.C, q * r),
        shape.C // (q * r) * r + ceil_div(shape.C % (q * r), q))
    words = shape.N * shape.G * shape.C * loaded * loads
    ofmap = shape.N * shape.G * shape.M * shape.E * ofmap_columns(shape)
    cycles = (link_cycles(prices.ifmap_ratio * prices.link * words, 1.0)
              + link_cycles(prices.ofmap_ratio * prices.link * ofmap, 1.0)
              + chip_cycles(shape, timing, prices.link, letters, kinds, ends,
                            np.zeros(CAUSES)))
    return score_of(objective, prices.clock, energy, cycles), energy


# Axes of what bounds the processing cycles of all mappings of one n e q r (``floors``):
# of three chains that no pass is shorter than, MACs, ifmap network and psum network,
# cycles a pass, a hop, a psum of a PE, a step of the psum network and of the filters'.
MACS_PASS, MACS_PSUM, IFMAP_PASS, IFMAP_PSUM, PSUM_PASS, PSUM_STEP = range(6)
ALL_HOPS, ALL_LOADS = 6, 7
FLOOR_AXES = 8


@njit(**KERNEL, error_model="numpy")
def add_floors(timing, kind, times, q, floors):
    """Add what so many like passes take at least, see ``find_floors``.

    Each line is a part of one of the ends of ``pass_cycles``, whose words these are,
    with what depends on the filters of a pass left to ``least_cycles``; or, where
    passes overlap, of ``following_cycles``.
    """
    R, S, span, F, images, rows_out, channels, rows, above, V, _, _ = kind
    q_used, r_used = min(q, channels), ceil_div(channels, q)
    windows = images * F
    if timing.window_first:
        shift, anew = V * q_used - 1, span * q_used - 1
    else:
        shift, anew = V * q_used if timing.stride_cycles else 0, 0
    anew += timing.image_gap
    bubbles = timing.bubbles
    floors[MACS_PSUM] += times * windows * (q_used * S + bubbles)
    if timing.pass_overlap:
        floors[MACS_PASS] += times * images * ((F - 1) * shift + anew)
        return
    net_i, deep, per_column = timing.net_i, max(1, channels // q), rows * channels
    hops, over_sets = R * r_used - 1, R * (r_used - 1)
    if timing.downwards and r_used * q > channels and r_used > 1:
        hops, over_sets = R - 1, 0
    waits = images * (F - 1) * shift + (images - 1) * anew
    # When the words for the first window's MACs and psums are there, in the first
    # column of PEs and, ``above`` rows later, in the last; at the bottom and in the
    # highest row of the first set, which has fewer hops before it.
    climb, ready, first_ready = hops, 0, 0
    last_word = images * ((F - 1) * V + span) * per_column - rows * deep
    for high in range(2):
        higher = R - 1 if high != timing.downwards else 0
        late = 0
        for last_column in range(2):
            row = above if last_column else 0
            if timing.window_first:
                word = (span * per_column + (row - rows + higher) * deep) // net_i + 1
                word = max(word, span * q_used)
            else:
                word = (row + higher) * r_used // net_i + 1
            late = max(late, word + (1 if last_column else rows_out))
            if high == 0 and last_column == 0:
                first_ready = word
        shortest = 1 + PIPELINE + max(1, timing.hop_cycles - timing.net_p_out
                                      - PIPELINE)
        if high == 0:
            ready, streamed = late, (last_word + (above + higher) * deep) // net_i + 1
        elif late + over_sets * shortest > ready + hops * shortest:
            climb, ready = over_sets, late
            streamed = (last_word + (above + higher) * deep) // net_i + 1
    start = PIPELINE - 1 if timing.filters_first else PIPELINE
    floors[ALL_HOPS] += times * climb
    floors[MACS_PASS] += times * (ready + start + waits)
    floors[IFMAP_PASS] += times * (streamed + 1 + start)
    last_window = q_used * S if timing.window_first else 1
    floors[IFMAP_PSUM] += times * (last_window + bubbles)
    floors[PSUM_PASS] += times * (first_ready + start + bubbles)
    floors[PSUM_STEP] += times * windows * rows_out
    if timing.filters_first:
        floors[ALL_LOADS] += times * R * S * channels


@njit(**KERNEL)
def find_floors(shape, timing, kinds, q, floors):
    """What the passes of all mappings of one n e q r take at least.

    Each kind is added up once, for a single pass over the filters of a load.

    Parameters
    ----------
    kinds : int64 ndarray, shape (kinds, 13)
        As ``find_kinds`` gives them.
    floors : float64 ndarray, shape (8,), cycles, written
        Axes above.
    """
    floors[:] = 0.0
    for place in range(kinds.shape[0]):
        add_floors(timing, kind_of(shape, kinds, place), float(kinds[place, TIMES]), q,
                   floors)


@njit(**KERNEL)
def least_cycles(timing, floors, passes, hops, psums, steps, loads):
    """Processing cycles that passes of known ``floors`` don't undercut.

    Parameters
    ----------
    floors
        As of ``find_floors``.
    passes : int or float
        Over the filters of the layer, for one set of channels.
    hops, psums : int or float
        Cycles in which a psum climbs a PE, and psums of a full PE, summed over them.
    steps, loads : int or float
        Of the psum network a window and ofmap row, and of the filter network a tap and
        channel, likewise.
    """
    if timing.pass_overlap:
        return floors[MACS_PASS] * passes + floors[MACS_PSUM] * psums
    chain = max(floors[MACS_PASS] * passes + floors[MACS_PSUM] * psums,
                floors[IFMAP_PASS] * passes + floors[IFMAP_PSUM] * psums,
                floors[PSUM_PASS] * passes + floors[PSUM_STEP] * steps)
    return chain + floors[ALL_HOPS] * hops + floors[ALL_LOADS] * loads


@njit(**KERNEL)
def hop_of(timing, filters):
    """Cycles in which a psum group climbs one PE that holds so many filters."""
    return min(filters, timing.net_p_out) + PIPELINE + max(
        1, timing.hop_cycles - timing.net_p_out - PIPELINE)


@njit(**KERNEL)
def least_of_m(timing, floors, filters, m, p, t):
    """``least_cycles`` of one m: of full passes and those with what is left."""
    loads, pt = ceil_div(filters, m), p * t
    last = filters - (loads - 1) * m
    passes = (loads - 1) * (m // pt) + last // pt
    hops, psums = passes * hop_of(timing, p), passes * p
    steps = passes * lanes(pt, p, timing.net_p_out)
    words = passes * lanes(pt, p, timing.net_f)
    for times, left in ((loads - 1, m % pt), (1, last % pt)):
        if times and left:
            used = min(p, left)
            passes += times
            hops += times * hop_of(timing, used)
            psums += times * used
            steps += times * lanes(left, p, timing.net_p_out)
            words += times * lanes(left, p, timing.net_f)
    return least_cycles(timing, floors, passes, hops, psums, steps, words)


@njit(**KERNEL)
def least_of_all_m(timing, floors, filters, p, t, passes):
    """``least_cycles`` of the m that needs the fewest passes; no m undercuts it.

    All that a pass takes is concave in its filters: it grows by as much for each filter
    or, once all PEs of a set have p of them, by less. So no cut of all filters over
    passes of at most p t takes less than as many full passes as there can be, and one
    with what is left. Lanes that no cut wastes are those of whole network words.
    """
    last = filters - (passes - 1) * p * t
    used = min(p, last)
    return least_cycles(
        timing, floors, passes,
        (passes - 1) * hop_of(timing, p) + hop_of(timing, used),
        (passes - 1) * p + used,
        filters / min(p, timing.net_p_out), filters / min(p, timing.net_f))


@njit(**KERNEL)
def fetch_of_pass(shape, link, filters, qr):
    """Whole cycles in which the link brings so many filters, all channels and segments.

    ``qr``: the channels of a pass.
    """
    cycles = 0.0
    for segment in range(8):
        channels, times = (shape.C % qr, 1) if segment // 4 else (qr, shape.C // qr)
        last_rows, last_cols = segment // 2 % 2, segment % 2
        times *= (1 if last_rows else shape.R_segs - 1) * (
            1 if last_cols else shape.S_segs - 1)
        if times and channels:
            words = channels * (shape.R_last if last_rows else shape.R_full) * (
                shape.S_last if last_cols else shape.S_full)
            cycles += times * link_cycles(filters * words, link)
    return cycles


@njit(**KERNEL)
def fetch_of_m(shape, link, stays, letters):
    """Cycles in which the link brings the filters of all passes of one m.

    Those of each pass come in whole cycles, while the pass before runs, so that the
    passes and what they wait for never take less. ``stays`` as of ``chip_energy``, of
    all groups.
    """
    m, _, _, p, q, r, t = letters
    loads, pt, qr = ceil_div(shape.M, m), p * t, q * r
    last = shape.M - (loads - 1) * m
    passes = (loads - 1) * (m // pt) + last // pt
    cycles = 0.0
    for times, filters in ((passes, pt), (loads - 1, m % pt), (1, last % pt)):
        if times and filters:
            cycles += times * fetch_of_pass(shape, link, filters, qr)
    return stays * cycles


@njit(**KERNEL)
def is_behind(best, kth, score, second):
    """Whether a bound is no better than the worst of the best, nor breaks a tie."""
    worst = best[kth, 0]
    return score > worst or (score >= worst * (1 - 2 * TIE)
                             and second >= best[kth, 1] * (1 - TIE))


@njit(**KERNEL)
def least_score(objective, clock, energy, processing, dram):
    """Score below which no mapping is whose processing is bounded; cycles are whole."""
    cycles = np.ceil(processing * (1 - TIE)) + dram
    return (1 - TIE) * score_of(objective, clock, energy, cycles)


class Branch(NamedTuple):
    """Terms that one n e q r settles for all m p t, see ``search_strips``.

    Parameters
    ----------
    n, e, q, r : int
    strips, column_stays, c_passes, c_sets, loaded, sent, columns
        As of ``chip_energy``, where ``stays`` is ``strips * column_stays``.
    fixed, per_load, per_pass, per_set : MAC energies
        Energies that each adds; ``fixed`` with all that depends on n e q r alone.
    dram_load, dram_fixed : cycles
        Cycles of the link, for one load of the ifmaps and for the ofmaps.
    """

    n: int
    e: int
    q: int
    r: int
    strips: int
    column_stays: int
    c_passes: int
    c_sets: int
    loaded: int
    sent: int
    columns: int
    fixed: float
    per_load: float
    per_pass: float
    per_set: float
    dram_load: float
    dram_fixed: float


@njit(**KERNEL, error_model="numpy", inline="always")
def visit_timed(shape, timing, prices, aim, branch, p, t, m_range, fetch, floors, kinds,
                no_ends, best, mappings):
    """Every m for one n e p q r t that its bounds leave, where time matters.

    Unlikely are all m but one: the largest multiple of p t, or the largest of all; its
    cycles are the bound's, those of the others the closed forms'.

    Parameters
    ----------
    aim : tuple of int
        Objective, what is skipped and row segments.
    m_range : tuple of int
        The least and the largest m.
    fetch : float, cycles
        A bound that the networks and the link set.
    """
    objective, skip, row_segments = aim
    m_least, m_most = m_range
    filters, pt, kth = shape.M, p * t, best.shape[0] - 1
    evaluated = 0
    fewest_passes, fewest_sets = ceil_div(filters, pt), ceil_div(filters, p)
    hopeless = skip >= SKIP_HOPELESS
    shared = 0.0
    if hopeless:
        shared = max(fetch, least_of_all_m(timing, floors, filters, p, t,
                                           fewest_passes))
    first = m_most if m_most == filters else m_most // pt * pt
    if first < m_least:
        first = m_most if skip == SKIP_UNLIKELY else 0
    if not hopeless:
        first = 0
    for candidate in range(m_most + 1, m_least - 1, -1):
        # The likely winner goes first, so that the bounds bite; then all, downwards.
        m = candidate
        if candidate > m_most:
            m = first
            if first == 0:
                continue
        elif candidate == first:
            continue
        elif skip == SKIP_UNLIKELY:
            break
        letters = Letters(m, branch.n, branch.e, p, branch.q, branch.r, t)
        if hopeless:
            loads = ceil_div(filters, m)
            dram = link_cycles(branch.dram_load * loads, 1.0) + branch.dram_fixed
            energy = (branch.fixed + branch.per_load * loads
                      + branch.per_pass * fewest_passes + branch.per_set * fewest_sets)
            if is_behind(best, kth, least_score(
                    objective, prices.clock, energy, shared, dram), energy):
                if candidate > m_most:
                    continue
                break
            _, f_passes, f_sets = filter_passes(filters, m, p, t)
            energy = (branch.fixed + branch.per_load * loads
                      + branch.per_pass * f_passes + branch.per_set * f_sets)
            least = max(fetch, least_of_m(timing, floors, filters, m, p, t))
            score = least_score(objective, prices.clock, energy, least, dram)
            if is_behind(best, kth, score, energy):
                continue
            least = max(least, fetch_of_m(
                shape, prices.link, shape.G * branch.strips * branch.column_stays,
                letters))
            score = least_score(objective, prices.clock, energy, least, dram)
            if is_behind(best, kth, score, energy):
                continue
        evaluated += 1
        if skip != SKIP_UNLIKELY:
            score, energy = score_chip(shape, timing, prices, objective, letters, kinds,
                                       no_ends)
            if is_behind(best, kth, score * (1 - TIE), energy):
                continue
        keep_best(best, mappings, score, energy,
                  (m, branch.n, branch.e, p, branch.q, branch.r, t, row_segments,
                   shape.column_strips))
    return evaluated


@njit(**KERNEL, error_model="numpy", inline="always")
def visit_m(shape, timing, prices, aim, branch, p, t, m_range, scratch, best, mappings):
    """Try every m for one n e p q r t for ENERGY; returns how many were evaluated.

    The largest multiple of p t needs the fewest passes and PE sets that there are, so
    it dominates every m that saves no load of the ifmaps. Ties are settled by cycles of
    the closed forms.
    """
    _, skip, row_segments = aim
    m_least, m_most = m_range
    filters, pt, kth = shape.M, p * t, best.shape[0] - 1
    evaluated = 0
    stays = branch.strips * branch.column_stays
    first = m_most if m_most == filters else m_most // pt * pt
    if skip == SKIP_NOTHING or first < m_least:
        first = 0
    first_loads = ceil_div(filters, first) if first else filters + 1
    fewest_passes, fewest_sets = ceil_div(filters, pt), ceil_div(filters, p)
    for candidate in range(m_most + 1, m_least - 1, -1):
        # The likely winner goes first, so that the bounds bite; then all, downwards.
        m = candidate
        if candidate > m_most:
            m = first
            if first == 0:
                continue
        elif candidate == first:
            continue
        loads = ceil_div(filters, m)
        if skip != SKIP_NOTHING and candidate <= m_most and loads >= first_loads:
            break
        if skip >= SKIP_HOPELESS:
            energy = chip_energy(
                prices, branch.loaded, branch.sent, branch.columns, stays,
                branch.column_stays, loads, fewest_passes, fewest_sets, branch.c_passes,
                branch.c_sets)
            if energy > best[kth, 0]:
                if candidate > m_most:
                    continue
                break
        loads, f_passes, f_sets = filter_passes(filters, m, p, t)
        energy = chip_energy(
            prices, branch.loaded, branch.sent, branch.columns, stays,
            branch.column_stays, loads, f_passes, f_sets, branch.c_passes,
            branch.c_sets)
        evaluated += 1
        if energy > best[kth, 0] * (1 + TIE):
            continue
        kinds = scratch.kinds[:find_kinds(shape, branch.n, branch.e, branch.q, branch.r,
                                          scratch.kinds)]
        cycles = branch.dram_load * loads + branch.dram_fixed + chip_cycles(
            shape, timing, prices.link,
            Letters(m, branch.n, branch.e, p, branch.q, branch.r, t), kinds,
            scratch.no_ends, np.zeros(CAUSES))
        keep_best(best, mappings, energy, cycles,
                  (m, branch.n, branch.e, p, branch.q, branch.r, t, row_segments,
                   shape.column_strips))
    return evaluated


class Totals(NamedTuple):
    """What no mapping of a layer undercuts, and what all of them share.

    Parameters
    ----------
    windows : int
        Of all images, groups, filters and column strips, one ofmap row.
    psums, fetch : cycles
        Of a psum network, for one pass over the channels; of the link, for the filters
        of one strip of rows and one group of images.
    R, S, span, all_R, all_S : int
        Filter rows and taps of a segment, pixels under it; of the filter.
    columns : int
        Words of an ifmap row that the GLB sends.
    dram_load, dram_fixed : cycles
        Cycles of the link, for one load of an ifmap row's word and for all ofmaps.
    e_top, r_top, q_top, p_top, most_m : int
        That array, spads and banks allow.
    """

    windows: int
    psums: float
    fetch: float
    R: int
    S: int
    span: int
    all_R: int
    all_S: int
    columns: int
    dram_load: float
    dram_fixed: float
    e_top: int
    r_top: int
    q_top: int
    p_top: int
    most_m: int


@njit(**KERNEL, error_model="numpy")
def totals_of(shape, limits, timing, prices):
    """The ``Totals`` of a layer."""
    R, S, span = shape.R_full, shape.S_full, shape.span_full
    all_R = (shape.R_segs - 1) * R + shape.R_last
    all_S = (shape.S_segs - 1) * S + shape.S_last
    windows = shape.N * shape.G * ofmap_columns(shape) * shape.M
    # No m is larger than what the banks hold.
    most_m = min(shape.M, limits.banks * limits.bank_psums)
    return Totals(
        windows,
        windows * shape.E * shape.R_segs * shape.S_segs / min(
            timing.net_p_in, timing.net_p_out),
        shape.column_strips * shape.G * shape.M * shape.C * all_R * all_S * prices.link,
        R, S, span, all_R, all_S, streamed_columns(shape),
        prices.ifmap_ratio * prices.link * (shape.N * shape.G * shape.C),
        prices.ofmap_ratio * prices.link * (
            shape.N * shape.G * shape.M * shape.E * ofmap_columns(shape)),
        min(shape.E, limits.rows // R * limits.cols), limits.rows // R,
        min(shape.C, limits.spad_i // span),
        max(1, min(most_m, limits.spad_p, limits.spad_f // S)), most_m)


class Scratch(NamedTuple):
    """Arrays that a search fills again and again.

    Parameters
    ----------
    parts : int64 ndarray
        The filters over each number, rounded up: divisions are what the innermost loop
        would spend its time on.
    floors, kinds
        As of ``find_floors`` and ``find_kinds``.
    no_ends : int64 ndarray, shape (64, 3, 4)
        Zeros, see ``chip_cycles``.
    """

    parts: np.ndarray
    floors: np.ndarray
    kinds: np.ndarray
    no_ends: np.ndarray


@njit(**KERNEL)
def scratch_of(filters, most_m, spad_p):
    """The ``Scratch`` of a layer; no p t is larger than m + p."""
    parts = np.empty(most_m + min(most_m, spad_p) + 2, np.int64)
    for part in range(1, parts.shape[0]):
        parts[part] = ceil_div(filters, part)
    return Scratch(parts, np.zeros(FLOOR_AXES),
                   np.zeros((MOST_KINDS, KIND_COLUMNS), np.int64),
                   np.zeros((MOST_KINDS, 3, STEADY + 1), np.int64))


@njit(**KERNEL, error_model="numpy")
def search_chip(shape, cuts, limits, timing, prices, aim, best, mappings):
    """The best legal mappings of a layer on chip hardware, its filter rows cut one way.

    Of the numbers of column strips some need not be tried for ENERGY. Be k the first of
    them with which the GLB holds the largest e, n, m, q and r that array, spads and
    layer allow (``all_fits``). What is legal with more strips is then legal with k, and
    with one strip a column, whose ifmap columns and psums are the narrowest of all. For
    any one m n e p q r t, ``chip_energy`` is linear in the number of strips: loaded and
    streamed columns are (``cut_columns``), and so are stays, and the rest does not
    change. So the least of all from k upwards is at an end, k or the most. It is at k
    unless more strips stream fewer columns, since loads and stays never fall: the ifmap
    network sends a strip what lies between its first and last window, unmet columns
    too, but what lies between two strips it does not send, so that strips save columns
    where the stride exceeds the pixels under a segment of the filter.

    Cycles keep no such rule: narrower strips leave psums more banks, hence ports, and
    cycles of overlapping passes are no simple function of their width. For the other
    objectives every number of strips is tried and only bounds cut the search.

    Parameters
    ----------
    shape : Shape
        The layer with one column strip.
    cuts : int64 ndarray, 1-D
        Numbers of column strips to try, ascending from 1 to one for each ofmap column.
    limits, timing, prices, aim, best, mappings
        As for ``search_strips``.

    Returns
    -------
    evaluated : int
        Mappings whose energy or cycles were computed.
    """
    objective, skip, _ = aim
    evaluated = 0
    last = cuts.shape[0] - 1
    enough = 0
    strips = shape
    while enough < last and not all_fits(strips, limits):
        enough += 1
        strips = cut_columns(shape, cuts[enough])
    # Whether more strips stream fewer columns: those that no window of a segment meets.
    fewer = (shape.S_segs - 1) * shape.span_full + shape.span_last < (
        shape.S_segs * shape.V)
    scratch = scratch_of(
        shape.M, min(shape.M, limits.banks * limits.bank_psums), limits.spad_p)
    for place in range(last + 1):
        at = place
        # The fewest that suffice come early, so that the bounds bite for the others.
        if 0 < place <= enough:
            at = place - 1 if place > 1 else enough
        no_use = skip == SKIP_UNLIKELY or (skip != SKIP_NOTHING and objective == ENERGY)
        if at > enough and no_use and not (fewer and at == last):
            continue
        evaluated += search_strips(
            cut_columns(shape, cuts[at]), limits, timing, prices, aim, scratch, best,
            mappings)
    return evaluated


@njit(**KERNEL)
def all_fits(shape, limits):
    """Whether the GLB holds all that any mapping of a cut layer wants to keep there."""
    sets = limits.rows // shape.R_full
    e = min(shape.E, sets * limits.cols)
    channels = min(shape.C, limits.spad_i // shape.span_full * sets)
    ifmap_words = shape.N * channels * strip_rows(shape, WHOLE_FILTER, e) * shape.W
    psum_words = shape.N * shape.M * e * shape.F
    return (ceil_div(ifmap_words, limits.bank_ifmaps)
            + ceil_div(psum_words, limits.bank_psums)) <= limits.banks


@njit(**KERNEL, error_model="numpy")
def none_is_better(shape, prices, limits, aim, totals, parts, best):
    """Whether all mappings of a cut layer are behind the best.

    No mapping takes less than each row once, and as few passes and filter loads as if
    all of them were as large as array and spads allow.
    """
    objective, kth = aim[0], best.shape[0] - 1
    once = strip_rows(shape, WHOLE_FILTER, shape.E) * shape.W_all
    fewest_c = ceil_div(shape.C, totals.q_top * totals.r_top)
    least = chip_energy(
        prices, once, sent_rows(shape, shape.E) * totals.columns, totals.columns,
        ceil_div(shape.E, totals.e_top) * shape.column_strips, shape.column_strips, 1,
        1, parts[totals.p_top], fewest_c, ceil_div(shape.C, totals.q_top))
    if objective != ENERGY:
        streams = max(totals.psums * fewest_c,
                      totals.fetch * ceil_div(shape.E, totals.e_top),
                      totals.windows * shape.E * totals.all_R * totals.all_S * shape.C
                      / (limits.rows * limits.cols))
        least = score_of(objective, prices.clock, least,
                         totals.dram_load * once + totals.dram_fixed + streams)
    return least > best[kth, 0] * (1 + TIE)


@njit(**KERNEL, error_model="numpy")
def none_of_row_is_better(shape, prices, aim, totals, parts, best, e, r, t_top, loaded,
                          sent, stream):
    """Whether all mappings of an e and r are behind the best.

    They take as few filter passes, sets and loads as spads and array allow.
    """
    objective, kth, strips = aim[0], best.shape[0] - 1, ceil_div(shape.E, e)
    fewest_c = ceil_div(shape.C, totals.q_top * r)
    fewest = max(1, ceil_div(parts[totals.p_top], t_top))
    least = chip_energy(
        prices, loaded, sent, totals.columns, strips * shape.column_strips,
        shape.column_strips, 1, fewest, parts[totals.p_top], fewest_c,
        ceil_div(shape.C, totals.q_top))
    if objective == ENERGY:
        return least > best[kth, 0] * (1 + TIE)
    streams = max(totals.psums * fewest_c, totals.fetch * strips, stream * fewest,
                  totals.windows * strips * shape.R_segs * totals.all_S
                  * ceil_div(shape.C, r) / t_top)
    return is_behind(best, kth, least_score(
        objective, prices.clock, least, streams,
        link_cycles(totals.dram_fixed, 1.0)
        + link_cycles(totals.dram_load * loaded, 1.0)), least)


@njit(**KERNEL, error_model="numpy")
def search_strips(shape, limits, timing, prices, aim, scratch, best, mappings):
    """The best legal mappings of one layer, cut one way, on chip hardware.

    Every legal mapping is visited but those that can't be better.

    *Dominated*, for ENERGY: of the e (n) that need equally many strips (image groups)
    all but the smallest, and m as ``visit_m`` says. The smallest n is legal where the
    others are and has the same energy, which knows only how many groups there are. So
    has the smallest e where ifmap rows under e ofmap rows are linear in e, since the
    rows of all strips are then linear in E and the number of strips; under a dilated
    filter they may not be, so there every e is tried. Cycles keep no such rule: a strip
    of one row has no slope for its PEs to run in, a network of several words wastes
    lanes in its last word, and ports are whole. (Where the ifmap network has several
    words, every e and n is tried for ENERGY, too: ties are settled by cycles.)

    *Hopeless*: branches whose bound is above the best, or as good and breaks no tie.
    Energy: that of the same e r q n (and p t) with the fewest loads, passes and PE sets
    that any m has. Cycles: first the MACs of the busiest PEs, the words of each network
    and those of the link, whichever is most; then what ``find_floors`` says of all
    passes of the same e r q n, and of p t and m once these are known. Both enter every
    objective with no negative weight.

    *Unlikely*: all of these; for the other objectives, too, what is dominated for
    ENERGY, and all m but one; cycles are those of the bounds. A first look, for a score
    to be beaten from the start.

    Parameters
    ----------
    shape : Shape
    limits : Limits
    timing : Timing
    prices : Prices
    aim : tuple of int
        ENERGY, CYCLES, EDP or JOULES; SKIP_NOTHING, SKIP_DOMINATED or, these too,
        SKIP_HOPELESS, or SKIP_UNLIKELY; ``Mapping.row_segments``, noted beside each
        mapping.
    scratch : Scratch
    best : float64 ndarray, shape (K, 2), changed
        Objective and tie-break (cycles for ENERGY, else energy), ascending; cycles of
        the closed forms. Infinite at first, or above what so many mappings are known to
        have, or the best of the other ways to cut the layer.
    mappings : int64 ndarray, shape (K, 9), changed
        m n e p q r t of each, its row segments and column strips.

    Returns
    -------
    evaluated : int
        Mappings whose energy or cycles were computed.
    """
    objective, skip, _ = aim
    evaluated = 0
    totals = totals_of(shape, limits, timing, prices)
    stride, dilation = coprime_steps(shape.U, shape.D)
    linear_rows = (dilation == 1 or shape.E <= dilation
                   or filter_rows(shape, WHOLE_FILTER) <= stride)
    equal = timing.net_i == 1 and skip != SKIP_NOTHING and (
        objective == ENERGY or skip == SKIP_UNLIKELY)
    narrowest = (shape.F_last - 1) * shape.V + min(shape.span_full, shape.span_last)
    if skip >= SKIP_HOPELESS and totals.e_top and totals.q_top and none_is_better(
            shape, prices, limits, aim, totals, scratch.parts, best):
        return 0
    for e in range(totals.e_top, 0, -1):
        strips = ceil_div(shape.E, e)
        if equal and linear_rows and e > 1 and ceil_div(shape.E, e - 1) == strips:
            continue
        loaded = loaded_rows(shape, e) * shape.W_all
        sent = sent_rows(shape, e) * totals.columns
        # Of each pass all columns but one, at least, come before the last psum leaves.
        stream = (shape.N * shape.G * shape.C * sent * (1 - 1 / narrowest)
                  / timing.net_i)
        for r in range(1, min(totals.r_top, shape.C) + 1):
            t_top = limits.rows // (totals.R * r) * limits.cols // e
            if t_top == 0:
                break
            if skip >= SKIP_HOPELESS and totals.q_top and none_of_row_is_better(
                    shape, prices, aim, totals, scratch.parts, best, e, r, t_top,
                    loaded, sent, stream):
                continue
            for q in range(totals.q_top, 0, -1):
                if (r - 1) * q < shape.C:
                    evaluated += search_images(
                        shape, limits, timing, prices, aim, scratch, totals, e, q, r,
                        t_top, loaded, sent, stream, equal, best, mappings)
    return evaluated


@njit(**KERNEL, error_model="numpy", inline="always")
def search_images(shape, limits, timing, prices, aim, scratch, totals, e, q, r, t_top,
                  loaded, sent, stream, equal, best, mappings):
    """All mappings of one e q r that their bounds leave; returns how many.

    Parameters
    ----------
    t_top : int
        Largest t that the array has room for.
    loaded, sent : int
        As of ``chip_energy``.
    stream : float, cycles
        Of the ifmap network, for one pass over the filters.
    equal : bool
        Whether of equally many image groups one n is enough.
    """
    evaluated = 0
    qr, strips, channels = q * r, ceil_div(shape.E, e), shape.C
    strip_words = min(qr, channels) * strip_rows(shape, WHOLE_FILTER, e) * shape.W
    c_passes = ceil_div(channels, qr)
    c_sets = channels // qr * r + ceil_div(channels % qr, q)
    # Channels that a PE works on, one after the other, in all passes.
    in_turn = channels // qr * q + min(q, channels % qr)
    macs = totals.windows * strips * shape.R_segs * totals.all_S * in_turn
    buffer_filters = limits.glb_f // (min(qr, channels) * totals.R * totals.S)
    p_top = min(limits.spad_p, limits.spad_f // (q * totals.S))
    for n in range(1, shape.N + 1):
        image_groups = ceil_div(shape.N, n)
        if equal and n > 1 and ceil_div(shape.N, n - 1) == image_groups:
            continue
        psum_banks = limits.banks - ceil_div(n * strip_words, limits.bank_ifmaps)
        if psum_banks <= 0:
            break
        m_top = min(shape.M, psum_banks * limits.bank_psums // (n * e * shape.F))
        if m_top == 0:
            break
        column_stays = image_groups * shape.column_strips
        fixed = chip_energy(
            prices, loaded, sent, totals.columns, strips * column_stays, column_stays,
            0, 0, 0, c_passes, c_sets)
        dram_fixed = totals.dram_fixed
        if aim[0] != ENERGY:
            dram_fixed = link_cycles(dram_fixed, 1.0)
        branch = Branch(
            n, e, q, r, strips, column_stays, c_passes, c_sets, loaded, sent,
            totals.columns, fixed, prices.per_load * loaded,
            prices.per_filter_pass * sent, prices.per_set * totals.columns,
            totals.dram_load * loaded, dram_fixed)
        streams = max(totals.psums * c_passes, totals.fetch * strips * image_groups)
        evaluated += search_filters(
            shape, timing, prices, aim, scratch, branch, min(p_top, m_top), t_top,
            m_top, buffer_filters, streams, macs, stream, best, mappings)
    return evaluated


@njit(**KERNEL, error_model="numpy", inline="always")
def search_filters(shape, timing, prices, aim, scratch, branch, p_most, t_top, m_top,
                   buffer_filters, streams, macs, stream, best, mappings):
    """All mappings of one n e q r that their bounds leave; returns how many.

    Parameters
    ----------
    p_most, t_top, m_top, buffer_filters : int
        The largest p, t, m and, of a pass, p t that there is room for.
    streams, macs, stream : float, cycles
        Of the psum network and the link, whichever takes longer; of MACs in one PE set;
        of the ifmap network, for one pass over the filters.
    """
    objective, skip, _ = aim
    parts, floors, kth = scratch.parts, scratch.floors, best.shape[0] - 1
    evaluated, filters, fewest_loads = 0, shape.M, parts[m_top]
    # The least of all p and t, energy or, in cycles, of each stream.
    least = (branch.fixed + branch.per_load * fewest_loads
             + branch.per_set * parts[p_most] + branch.per_pass)
    dram = branch.dram_fixed + link_cycles(branch.dram_load * fewest_loads, 1.0)
    too_slow = skip >= SKIP_HOPELESS and objective != ENERGY
    if skip >= SKIP_HOPELESS and objective == ENERGY and (
            least > best[kth, 0] * (1 + TIE)):
        return 0
    if too_slow and is_behind(best, kth, least_score(
            objective, prices.clock, least, max(streams, macs / t_top), dram), least):
        return 0
    kinds = scratch.kinds
    if objective != ENERGY:
        kinds = kinds[:find_kinds(shape, branch.n, branch.e, branch.q, branch.r, kinds)]
    if too_slow:
        find_floors(shape, timing, kinds, branch.q, floors)
        fewest = max(parts[p_most] / t_top, 1.0)
        streams = max(streams, least_cycles(
            timing, floors, fewest, fewest * hop_of(timing, 1),
            max(filters / t_top, 1.0), filters / timing.net_p_out,
            filters / timing.net_f))
        if is_behind(best, kth, least_score(objective, prices.clock, least, streams,
                                            dram), least):
            return 0
    for p in range(p_most, 0, -1):
        per_p = branch.fixed + branch.per_set * parts[p]
        for t in range(min(t_top, ceil_div(m_top, p)), 0, -1):
            pt = p * t
            m_least, m_most = max(p, (t - 1) * p + 1), m_top
            if pt > buffer_filters:
                m_most = min(m_top, buffer_filters)
                if m_least > m_most:
                    continue
            energy = per_p + branch.per_pass * parts[pt]
            if objective != ENERGY:
                fetched = max(streams, stream * parts[pt])
                if too_slow:
                    least = energy + branch.per_load * fewest_loads
                    if is_behind(best, kth, least_score(
                            objective, prices.clock, least,
                            max(fetched, least_of_all_m(timing, floors, filters, p, t,
                                                        parts[pt])), dram), least):
                        continue
                evaluated += visit_timed(
                    shape, timing, prices, aim, branch, p, t, (m_least, m_most),
                    fetched, floors, kinds, scratch.no_ends, best, mappings)
                continue
            worst = best[kth, 0] * (1 + TIE)
            if skip != SKIP_NOTHING:
                m = m_most
                if m != filters:
                    m = m_most // pt * pt
                if m >= m_least and parts[m] == parts[m_most]:
                    # This m dominates the others, see ``visit_m``.
                    if energy + branch.per_load * parts[m] > worst:
                        evaluated += 1
                        continue
                elif skip >= SKIP_HOPELESS and (
                        energy + branch.per_load * parts[m_most] > worst):
                    continue
            evaluated += visit_m(shape, timing, prices, aim, branch, p, t,
                                 (m_least, m_most), scratch, best, mappings)
    return evaluated
