"""The PE array of the machine, stepped cycle by cycle through processing passes.

Real 16-bit words move: out of the banks of the GLB, over the three input networks into
FIFOs, through spads and the datapath, up the columns of PEs, and out. Everything that
happens in a cycle sees what the cycle before left, so the order in which PEs are
visited does not matter.

A bank of the GLB has one port (or as many as the hardware says): in one cycle it reads
or writes one row of 64 bits. Words lie in the order in which the networks move them, so
that a row holds what one PE takes or gives in a cycle, and rows go round the banks, so
that a psum read and a psum write, a column's latency apart in the same order, meet in
one bank for a single cycle only: whoever waits is out of step with the other then.
Blocks of rows in one bank instead would hold both in the same bank nearly always, and
halve the networks' rate: passes of CONV4 would take 37 % longer than the chip's do and
those of a layer that is bound by psums twice as long (JSSC 2017, Table V). With two
banks or more no AlexNet layer loses a cycle; that the chip's passes are longer than
their psums alone comes of loading filters and first windows. Ifmaps and psums
never meet, as a bank holds one kind; psums have all banks that ifmaps leave. Psum
writes go first, since only they make room in the array; then psum reads, then ifmaps.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

# Cycles from a psum's last MAC to the PE's output FIFO, as in ``kernels.py``, whose
# numbers a kernel of this file can't read without missing their change.
PIPELINE = 2


# Axes of ``micro``: the micro-architecture's choices.
(IFMAP_FIFO, FILTER_FIFO, PSUM_IN_FIFO, PSUM_OUT_FIFO, NET_I, NET_F, NET_P_IN,
 NET_P_OUT, HOP, BUBBLES, STRIDE_CYCLES, IMAGE_GAP, FILTERS_FIRST, WINDOW_FIRST, GATING,
 SHIFT, SATURATE, PATIENCE, GLB_PORTS, ROW_PSUMS, IFMAP_BANKS, PSUM_BANKS,
 ROW_IFMAPS, DOWNWARDS) = range(24)
MICRO_AXES = 24

# Axes of ``events``: words and operations of the passes.
(IFMAP_SENT, IFMAP_TAKEN, FILTER_SENT, FILTER_TAKEN, PSUM_SENT, PSUM_HOPS, PSUM_OUT,
 IFMAP_READS, FILTER_READS, PSUM_READS, PSUM_WRITES, MACS, BANK_WAITS,
 LEFT_OVER) = range(14)
EVENT_AXES = 14

# Axes of ``spent``: what the PEs do in each cycle, summed over them.
(MAC_CYCLE, WAIT_FILTER, WAIT_IFMAP, WAIT_PSUM_IN, WAIT_PSUM_OUT, ACCUMULATING,
 SHIFTING, FINISHED) = range(8)
SPENT_AXES = 8

# Networks, and axes of where each stands.
FILTER_NET, IFMAP_NET, PSUM_IN_NET, PSUM_OUT_NET = range(4)
NETWORKS = 4
STEP, TURN, IMAGE, PASS = range(4)

# Axes of how a network was used: first and last cycle with a word on it, words or
# groups of words that it carried.
FIRST_USE, LAST_USE, USES = range(3)

# Axes of what is known of a PE at the end: an axis of ``spent``, words in its FIFOs,
# and cycles that it waited after its first psum.
(DOING, IN_FILTER_FIFO, IN_IFMAP_FIFO, IN_PSUM_IN_FIFO, IN_PSUM_OUT_FIFO,
 LATE_WAITS) = range(6)
PE_AXES = 6

# Axes of a trace of the PEs: those above up to the FIFOs, at the end of each cycle, and
# the psum that the datapath made in it, if it made one.
PSUM_VALUE = 5
PE_TRACE_AXES = 6

# A trace has the local network as well. Its axes: links with words to carry at the
# start of a cycle, links that carried them, words carried, where these go or come from
# (ifmaps: row of the ifmap; filters: row of PEs; psums: column of PEs), and the words.
LOCAL_NET = 4
TRACED_NETWORKS = 5
OFFERED, CARRIED, WORDS, PLACE, DATA = range(5)

# States of a PE.
PROCESS, ACCUMULATE, STRIDE, GAP, DONE = 0, 1, 2, 3, 4


class Words(NamedTuple):
    """Words that the GLB holds for a run of passes; int16 ndarrays.

    Parameters
    ----------
    ifmap : shape (images, channels, rows, columns)
        Rows that some PE needs.
    filt : shape (filters, channels, R, S)
        Filters of all passes; each works on ``Sizes.in_pass`` of them, the last on what
        is left.
    psums : shape (images, filters, e, F), written
        Psums that the GLB sends in, and those that come out.
    """

    ifmap: np.ndarray
    filt: np.ndarray
    psums: np.ndarray


class Sizes(NamedTuple):
    """Sizes of a pass.

    Parameters
    ----------
    p, q, in_pass : int
        Filters and channels of a full PE, filters of a pass; PE sets are filled in
        order.
    V, dilation, F : int
        Horizontal stride and dilation; windows of a row.
    """

    p: int
    q: int
    in_pass: int
    V: int
    dilation: int
    F: int


class Record(NamedTuple):
    """Findings of a run of passes; int64 ndarrays, written.

    Parameters
    ----------
    events : shape (14,)
        Words and operations.
    spent : shape (8,), PE-cycles
    ends : shape (passes,), cycles
        When the last psum of each pass was out.
    at : shape (4, 4)
        Where each network stands at the end.
    use : shape (4, 3)
        How each network was used.
    pes : shape (PEs, 6)
        Each PE at the end.
    """

    events: np.ndarray
    spent: np.ndarray
    ends: np.ndarray
    at: np.ndarray
    use: np.ndarray
    pes: np.ndarray


class Fifos(NamedTuple):
    """FIFOs of one kind, one at each PE: words, and how many went in and out.

    Parameters
    ----------
    words : int16 ndarray, shape (PEs, places)
        Places are a power of two, so that a mask wraps them.
    ready : int64 ndarray, shape (PEs, places), cycles
        First cycle in which a psum may be taken.
    put, taken : int64 ndarray, shape (PEs,)
        Words put into each, and taken from it, so far.
    mask : int
        Places less one.
    """

    words: np.ndarray
    ready: np.ndarray
    put: np.ndarray
    taken: np.ndarray
    mask: int


def trace_arrays(cycles: int, pes: int,
                 micro: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Arrays in which ``run_pass`` records its first ``cycles`` cycles.

    Returns
    -------
    pe_trace : int16 ndarray, shape (cycles, PEs, 6)
    net_trace : int32 ndarray, shape (cycles, 5, 4 + words of the widest network)
    """
    lanes = int(max(micro[NET_I], micro[NET_F], micro[NET_P_IN], micro[NET_P_OUT]))
    return (np.zeros((cycles, pes, PE_TRACE_AXES), np.int16),
            np.zeros((cycles, TRACED_NETWORKS, DATA + lanes), np.int32))


@njit(cache=True)
def add16(a, b, saturate):
    """Sum of two 16-bit numbers, wrapped or held at the ends of the range."""
    total = a + b
    if saturate:
        return min(max(total, -32768), 32767)
    return ((total + 32768) & 65535) - 32768


@njit(cache=True)
def cut16(product, shift):
    """The 16-bit window of a 32-bit product that starts at bit ``shift``."""
    return (((product >> shift) + 32768) & 65535) - 32768


@njit(cache=True)
def ring(depth):
    """Places of a FIFO's storage less one: a power of two, so that a mask wraps it."""
    places = 1
    while places < depth:
        places *= 2
    return places - 1


@njit(cache=True)
def advance_network(at, steps, turns, images):
    """The next step of a network: steps of a column or window, turns, images, passes.

    Parameters
    ----------
    at : int64 ndarray, shape (4,), changed
        STEP, TURN, IMAGE, PASS.
    steps, turns, images : int
        Of this pass.
    """
    at[STEP] += 1
    if at[STEP] < steps:
        return
    at[STEP] = 0
    at[TURN] += 1
    if at[TURN] < turns:
        return
    at[TURN] = 0
    at[IMAGE] += 1
    if at[IMAGE] < images:
        return
    at[IMAGE] = 0
    at[PASS] += 1


@njit(cache=True)
def rows_at_hand(words, count, row_words, ports, first_bank, banks, held, used, cycle):
    """Whether the GLB rows of some words are in a network's row register.

    Rows that are not are asked of their banks, each of which serves so many a cycle as
    it has ports.

    Parameters
    ----------
    words : int64 ndarray
        Places of the words in their part of the GLB.
    count : int
        Of these words.
    row_words, ports : int
        Words in a row, and ports of a bank.
    first_bank, banks : int
        Banks of that part.
    held : int64 ndarray, changed
        How many rows are at hand, and which.
    used : int64 ndarray, shape (2, banks), changed
        Last cycle in which a bank was used, and its ports that were.
    """
    ready = True
    for word in range(count):
        row = words[word] // row_words
        found = False
        for place in range(1, held[0] + 1):
            found = found or held[place] == row
        if found:
            continue
        bank = first_bank + row % banks
        if used[0, bank] != cycle:
            used[0, bank] = cycle
            used[1, bank] = 0
        if used[1, bank] == ports:
            ready = False
            continue
        used[1, bank] += 1
        held[0] += 1
        held[held[0]] = row
    if ready:
        held[0] = 0
        for word in range(count):
            row = words[word] // row_words
            if held[0] == 0 or held[held[0]] != row:
                held[0] += 1
                held[held[0]] = row
    return ready


@njit(cache=True)
def new_fifos(pes, depth):
    """Empty FIFOs of some depth."""
    mask = ring(depth)
    return Fifos(np.zeros((pes, mask + 1), np.int16),
                 np.zeros((pes, mask + 1), np.int64),
                 np.zeros(pes, np.int64), np.zeros(pes, np.int64), mask)


@njit(cache=True)
def note_levels(of_pes, doing, fifos):
    """Write what each PE does, and how full its FIFOs are.

    Parameters
    ----------
    of_pes : int ndarray, shape (PEs, 5 or more), written
    doing : int64 ndarray, shape (PEs,)
    fifos : tuple of Fifos
        Filters, ifmaps, psums in, psums out.
    """
    for pe in range(len(doing)):
        of_pes[pe, DOING] = doing[pe]
        for kind in range(4):
            of_pes[pe, IN_FILTER_FIFO + kind] = (
                fifos[kind].put[pe] - fifos[kind].taken[pe])


@njit(cache=True)
def trace_offers(now, cycle, words, plan, in_pass, filters_first, net_out, record,
                 outs, out_p, out_f):
    """Write what each network would carry in a cycle, before anything moves.

    Parameters
    ----------
    now : int32 ndarray, shape (5, 4 + words), written
        The trace of this cycle; what was carried is known at its end.
    cycle : int
    words : Words
    plan : Schedule
    in_pass : int
        Filters of a pass.
    filters_first : int
        Whether ifmaps wait for the filters of their pass.
    net_out : int
        Words that the output network moves in a cycle.
    record : Record
        What moved before.
    outs : Fifos
        Psums on their way out.
    out_p, out_f : int64 ndarray, shape (PEs,)
        Psums of a window of each PE, and those of them that have left.
    """
    events, at, passes = record.events, record.at, record.ends.shape[0]
    height, width = plan.own_q.shape[0], plan.own_p.shape[1]
    pes = height * width
    now[IFMAP_NET, WORDS] = -events[IFMAP_SENT]
    now[FILTER_NET, WORDS] = -events[FILTER_SENT]
    now[PSUM_IN_NET, WORDS] = -events[PSUM_SENT]
    now[LOCAL_NET, WORDS] = -events[PSUM_HOPS]
    now[PSUM_OUT_NET, WORDS] = -events[PSUM_OUT]
    here = at[IFMAP_NET]
    if here[PASS] < passes:
        c, row, first = plan.ifmaps[here[STEP]]
        now[IFMAP_NET, OFFERED] = (
            not filters_first or at[FILTER_NET, PASS] > here[PASS])
        now[IFMAP_NET, PLACE] = row
        now[IFMAP_NET, DATA] = words.ifmap[here[IMAGE], c, row, here[TURN]]
    here = at[FILTER_NET]
    if here[PASS] < passes:
        first, count, f, c, row, tap = plan.filters[
            np.int64(here[PASS] == passes - 1), here[STEP]]
        now[FILTER_NET, OFFERED] = 1
        now[FILTER_NET, PLACE] = first // width
        for word in range(count):
            now[FILTER_NET, DATA + word] = words.filt[
                here[PASS] * in_pass + f + word, c, row, tap]
    here = at[PSUM_IN_NET]
    if here[PASS] < passes:
        column, count, f, row = plan.psums_in[
            np.int64(here[PASS] == passes - 1), here[STEP]]
        now[PSUM_IN_NET, OFFERED] = 1
        now[PSUM_IN_NET, PLACE] = column
        for word in range(count):
            now[PSUM_IN_NET, DATA + word] = words.psums[
                here[IMAGE], here[PASS] * in_pass + f + word, row, here[TURN]]
    for pe in range(pes):
        waiting = outs.put[pe] - outs.taken[pe]
        group = 1
        if pe < pes - width:
            group = min(net_out, out_p[pe] - out_f[pe])
        if waiting > 0 and waiting >= group and outs.ready[
                pe, (outs.taken[pe] + group - 1) & outs.mask] <= cycle:
            if pe < pes - width:
                now[LOCAL_NET, OFFERED] += 1
            else:
                now[PSUM_OUT_NET, OFFERED] = 1
    here = at[PSUM_OUT_NET]
    column, count, f, row = plan.psums_out[
        np.int64(here[PASS] == passes - 1), here[STEP]]
    now[PSUM_OUT_NET, PLACE] = column
    pe = (height - 1) * width + column
    for word in range(min(count, outs.put[pe] - outs.taken[pe])):
        now[PSUM_OUT_NET, DATA + word] = outs.words[
            pe, (outs.taken[pe] + word) & outs.mask]


@njit(cache=True)
def trace_carried(now, events):
    """Write what each network carried in a cycle, after all that moved in it.

    Parameters
    ----------
    now : int32 ndarray, shape (5, 4 + words), changed
        The trace of this cycle, as ``trace_offers`` left it.
    events : int64 ndarray, shape (14,)
    """
    for net, sent in ((IFMAP_NET, IFMAP_SENT), (FILTER_NET, FILTER_SENT),
                      (PSUM_IN_NET, PSUM_SENT), (LOCAL_NET, PSUM_HOPS),
                      (PSUM_OUT_NET, PSUM_OUT)):
        now[net, WORDS] += events[sent]
        if net != LOCAL_NET and now[net, WORDS] > 0:
            # Ifmaps may be let go by a filter of the same cycle.
            now[net, OFFERED] = 1
            now[net, CARRIED] = 1


@njit(cache=True, error_model="numpy")
def run_pass(words, plan, sizes, micro, record, pe_trace=None, net_trace=None):
    """Step passes that differ in their filters only until the last psum is out.

    The networks feed on from each pass into the next: filters as soon as a PE has room
    for them, which its spad has when it has finished the pass before.

    Parameters
    ----------
    words : Words
        Its psums are changed.
    plan : Schedule
    sizes : Sizes
    micro : int64 ndarray, shape (24,)
    record : Record
        Written.
    pe_trace, net_trace : ndarray, written, or None
        As ``trace_arrays`` makes them; as many cycles are recorded as they have. With
        None the recorder is not compiled in and costs nothing.

    Returns
    -------
    cycles : int
        From the first word on a network to the last psum out; -1 if nothing moved for
        ``micro[PATIENCE]`` cycles.
    """
    ifmap, filt, psums = words.ifmap, words.filt, words.psums
    p, q, in_pass = sizes.p, sizes.q, sizes.in_pass
    V, dilation, F = sizes.V, sizes.dilation, sizes.F
    events, spent, ends = record.events, record.spent, record.ends
    at, use, pes_at_end = record.at, record.use, record.pes
    events[:] = 0
    spent[:] = 0
    at[:] = 0
    use[:] = 0
    pes_at_end[:] = 0
    images, _, _, columns = ifmap.shape
    S = filt.shape[3]
    passes = ends.shape[0]
    height, width = plan.own_q.shape[0], plan.own_p.shape[1]
    e = plan.place.shape[2]
    pes = height * width
    span = (S - 1) * dilation + 1
    bubbles, filters_first = micro[BUBBLES], micro[FILTERS_FIRST]
    net_f, net_out = micro[NET_F], micro[NET_P_OUT]
    # Filters and channels of each PE, and those of its psums that are on the way out.
    own_p, own_q = np.empty(pes, np.int64), np.empty(pes, np.int64)
    first_kind = np.int64(passes == 1)
    for pe in range(pes):
        own_q[pe] = plan.own_q[pe // width]
        own_p[pe] = plan.own_p[first_kind, pe % width]
    out_p, out_f = own_p.copy(), np.zeros(pes, np.int64)
    out_windows, out_pass = np.zeros(pes, np.int64), np.zeros(pes, np.int64)
    filter_spad = np.zeros((pes, S * q * p), np.int16)
    ifmap_spad = np.zeros((pes, q * span), np.int16)
    psum_spad = np.zeros((pes, p), np.int16)
    valid = np.zeros((pes, p), np.bool_)
    depth_i, depth_f = micro[IFMAP_FIFO], micro[FILTER_FIFO]
    depth_in, depth_out = micro[PSUM_IN_FIFO], micro[PSUM_OUT_FIFO]
    ffifos, ififos = new_fifos(pes, depth_f), new_fifos(pes, depth_i)
    infifos, outfifos = new_fifos(pes, depth_in), new_fifos(pes, depth_out)
    ififo, iput, itake, mask_i = ififos.words, ififos.put, ififos.taken, ififos.mask
    ffifo, fput, ftake, mask_f = ffifos.words, ffifos.put, ffifos.taken, ffifos.mask
    infifo, inready, mask_in = infifos.words, infifos.ready, infifos.mask
    input_, intake = infifos.put, infifos.taken
    outfifo, outready, mask_out = outfifos.words, outfifos.ready, outfifos.mask
    output_, outtake = outfifos.put, outfifos.taken
    loaded = np.zeros(pes, np.int64)        # filter words in the spad
    done = np.zeros(pes, np.int64)          # passes that a PE has finished
    image = np.zeros(pes, np.int64)
    window = np.zeros(pes, np.int64)
    stage = np.zeros(pes, np.int64)         # place inside the state
    state = np.zeros(pes, np.int64)
    seen = np.zeros(pes, np.int64)          # ifmap words of this image that were taken
    doing = np.zeros(pes, np.int64)         # in this cycle, an axis of ``spent``
    # The GLB: places of the words to move, rows at hand, ports used.
    banked = micro[GLB_PORTS] > 0
    word_at = np.zeros(max(net_out, micro[NET_P_IN], 1), np.int64)
    held = np.full((NETWORKS, 2 * word_at.shape[0] + 3), -1)
    held[:, 0] = 0
    used = np.full((2, micro[IFMAP_BANKS] + micro[PSUM_BANKS]), -1)
    window_words = plan.own_p.sum(axis=1)
    cycle = idle = 0
    while at[PSUM_OUT_NET, PASS] < passes:
        moved = False
        if pe_trace is not None and cycle < len(pe_trace):
            trace_offers(net_trace[cycle], cycle, words, plan, in_pass, filters_first,
                         net_out, record, outfifos, out_p, out_f)
        # The output network takes up to four words from the top of one column.
        here = at[PSUM_OUT_NET]
        kind = np.int64(here[PASS] == passes - 1)
        column, count, f, row = plan.psums_out[kind, here[STEP]]
        pe = (height - 1) * width + column
        if output_[pe] - outtake[pe] >= count and outready[
                pe, (outtake[pe] + count - 1) & mask_out] <= cycle:
            free = True
            if banked:
                first = here[PASS] * images * F * window_words[0] + (
                    here[IMAGE] * F + here[TURN]) * window_words[kind]
                for word in range(count):
                    word_at[word] = first + plan.place[kind, f + word, row]
                free = rows_at_hand(word_at, count, micro[ROW_PSUMS], micro[GLB_PORTS],
                                    micro[IFMAP_BANKS], micro[PSUM_BANKS],
                                    held[PSUM_OUT_NET], used, cycle)
                events[BANK_WAITS] += not free
                moved = True
            if free:
                moved = True
                for word in range(count):
                    psums[here[IMAGE], here[PASS] * in_pass + f + word, row,
                          here[TURN]] = outfifo[pe, outtake[pe] & mask_out]
                    outtake[pe] += 1
                events[PSUM_OUT] += count
                before = here[PASS]
                note_use(use[PSUM_OUT_NET], cycle)
                advance_network(here, plan.psum_steps[kind, 1], F, images)
                if here[PASS] > before:
                    ends[before] = cycle + 1
        # The local network takes up to four psums of a PE to the one above.
        for pe in range(pes - width):
            waiting = output_[pe] - outtake[pe]
            if waiting == 0:
                continue
            group = min(net_out, out_p[pe] - out_f[pe])
            above = pe + width
            if (waiting >= group and input_[above] - intake[above] + group <= depth_in
                    and outready[pe, (outtake[pe] + group - 1) & mask_out] <= cycle):
                for _ in range(group):
                    place = input_[above] & mask_in
                    infifo[above, place] = outfifo[pe, outtake[pe] & mask_out]
                    inready[above, place] = cycle + micro[HOP]
                    input_[above] += 1
                    outtake[pe] += 1
                events[PSUM_HOPS] += group
                moved = True
                if pe_trace is not None and cycle < len(pe_trace):
                    net_trace[cycle, LOCAL_NET, CARRIED] += 1
                out_f[pe] += group
                if out_f[pe] == out_p[pe]:
                    out_f[pe] = 0
                    out_windows[pe] += 1
                    if out_windows[pe] == images * F:
                        out_windows[pe] = 0
                        out_pass[pe] += 1
                        out_p[pe] = plan.own_p[np.int64(out_pass[pe] >= passes - 1),
                                               pe % width]
        # PEs.
        for pe in range(pes):
            if state[pe] == DONE:
                doing[pe] = FINISHED
                spent[FINISHED] += 1
                continue
            P, Q = own_p[pe], own_q[pe]
            base = window[pe] * V * Q
            # An ifmap word goes from the FIFO into the spad, or is dropped.
            if iput[pe] > itake[pe] and state[pe] != GAP and seen[pe] < base + Q * span:
                if seen[pe] >= base:
                    ifmap_spad[pe, seen[pe] % (Q * span)] = ififo[
                        pe, itake[pe] & mask_i]
                itake[pe] += 1
                seen[pe] += 1
                events[IFMAP_TAKEN] += 1
                moved = True
            # Filter words of this pass go into their spad.
            for _ in range(net_f):
                if fput[pe] == ftake[pe] or loaded[pe] == S * Q * P:
                    break
                filter_spad[pe, loaded[pe]] = ffifo[pe, ftake[pe] & mask_f]
                ftake[pe] += 1
                loaded[pe] += 1
                events[FILTER_TAKEN] += 1
                moved = True
            if state[pe] == PROCESS:
                element, f = stage[pe] // P, stage[pe] % P
                tap, c = element // Q, element % Q
                place = base + tap * dilation * Q + c
                last = element == S * Q - 1
                # With one port to the filter spad, all filters come first.
                need = S * Q * P if filters_first else stage[pe] + 1
                fused = last and not bubbles
                slot = intake[pe] & mask_in
                if loaded[pe] < need:
                    did = WAIT_FILTER
                elif seen[pe] <= place or (
                        micro[WINDOW_FIRST] and seen[pe] < base + Q * span):
                    did = WAIT_IFMAP
                elif fused and (input_[pe] == intake[pe] or inready[pe, slot] > cycle):
                    did = WAIT_PSUM_IN
                elif fused and output_[pe] - outtake[pe] == depth_out:
                    did = WAIT_PSUM_OUT
                else:
                    did = MAC_CYCLE
                    value = np.int64(ifmap_spad[pe, place % (Q * span)])
                    events[MACS] += 1
                    if value != 0 or not micro[GATING]:
                        product = cut16(value * np.int64(filter_spad[pe, stage[pe]]),
                                        micro[SHIFT])
                        before = np.int64(psum_spad[pe, f]) if valid[pe, f] else 0
                        events[IFMAP_READS] += 1
                        events[FILTER_READS] += 1
                        events[PSUM_READS] += 1
                        events[PSUM_WRITES] += 1
                        psum_spad[pe, f] = add16(before, product, micro[SATURATE])
                        valid[pe, f] = True
                    stage[pe] += 1
                    if stage[pe] == P * Q * S:
                        stage[pe] = 0
                        state[pe] = ACCUMULATE
            elif state[pe] == ACCUMULATE:
                f, fused = stage[pe], True
                slot = intake[pe] & mask_in
                if input_[pe] == intake[pe] or inready[pe, slot] > cycle:
                    did = WAIT_PSUM_IN
                elif output_[pe] - outtake[pe] == depth_out:
                    did = WAIT_PSUM_OUT
                else:
                    did = ACCUMULATING
                    stage[pe] += 1
            else:
                fused = False
                did = SHIFTING
                stage[pe] -= 1
                if stage[pe] <= 0:
                    stage[pe] = 0
                    if state[pe] == GAP:
                        seen[pe] = 0
                    state[pe] = PROCESS
            doing[pe] = did
            spent[did] += 1
            if WAIT_FILTER <= did <= WAIT_PSUM_OUT:     # one of the four that wait
                pes_at_end[pe, LATE_WAITS] += output_[pe] > 0
                continue
            moved = True
            if pe_trace is not None and cycle < len(pe_trace) and (
                    did == MAC_CYCLE and valid[pe, f]):
                pe_trace[cycle, pe, PSUM_VALUE] = psum_spad[pe, f]
            if fused:
                # A filter's window is done: its psum meets the one from below.
                own = np.int64(psum_spad[pe, f]) if valid[pe, f] else 0
                place = output_[pe] & mask_out
                outfifo[pe, place] = add16(own, np.int64(infifo[pe, slot]),
                                           micro[SATURATE])
                outready[pe, place] = cycle + 1 + PIPELINE
                if pe_trace is not None and cycle < len(pe_trace):
                    pe_trace[cycle, pe, PSUM_VALUE] = outfifo[pe, place]
                valid[pe, f] = False
                intake[pe] += 1
                output_[pe] += 1
                if f == P - 1:
                    stage[pe] = 0
                    next_window(pe, window, image, done, loaded, state, stage, seen, F,
                                images, V, Q, micro)
                    if state[pe] == DONE and done[pe] < passes:
                        # The next pass, unless it has no filters for this PE.
                        own_p[pe] = plan.own_p[np.int64(done[pe] == passes - 1),
                                               pe % width]
                        if own_p[pe] > 0:
                            begin_image(pe, state, stage, seen, micro)
        # The filter network takes up to four words of one tap to a PE row's columns.
        here = at[FILTER_NET]
        if here[PASS] < passes:
            kind = np.int64(here[PASS] == passes - 1)
            first, count, f, c, row, tap = plan.filters[kind, here[STEP]]
            free = True
            for pe in range(first, first + e):
                if fput[pe] - ftake[pe] + count > depth_f:
                    free = False
            if free:
                for pe in range(first, first + e):
                    for word in range(count):
                        ffifo[pe, fput[pe] & mask_f] = filt[
                            here[PASS] * in_pass + f + word, c, row, tap]
                        fput[pe] += 1
                events[FILTER_SENT] += count
                moved = True
                note_use(use[FILTER_NET], cycle)
                advance_network(here, plan.filter_steps[kind], 1, 1)
        # The ifmap network takes one word a step to every PE that works on its row.
        here = at[IFMAP_NET]
        for word in range(micro[NET_I]):
            if here[PASS] == passes or (
                    filters_first and at[FILTER_NET, PASS] <= here[PASS]):
                break
            kind = np.int64(here[PASS] == passes - 1)
            c, row, first = plan.ifmaps[here[STEP]]
            free = True
            for place in range(plan.target_counts[kind, row]):
                pe = first + plan.targets[row, place]
                if iput[pe] - itake[pe] >= depth_i:
                    free = False
            if not free:
                break
            if banked:
                word_at[0] = ((here[IMAGE] * columns + here[TURN])
                              * plan.ifmaps.shape[0] + here[STEP])
                moved = True
                if not rows_at_hand(word_at, 1, micro[ROW_IFMAPS], micro[GLB_PORTS], 0,
                                    micro[IFMAP_BANKS], held[IFMAP_NET], used, cycle):
                    events[BANK_WAITS] += 1
                    break
            moved = True
            events[IFMAP_SENT] += 1
            for place in range(plan.target_counts[kind, row]):
                pe = first + plan.targets[row, place]
                ififo[pe, iput[pe] & mask_i] = ifmap[here[IMAGE], c, row, here[TURN]]
                iput[pe] += 1
            if pe_trace is not None and cycle < len(pe_trace):
                net_trace[cycle, IFMAP_NET, DATA + word] = ifmap[
                    here[IMAGE], c, row, here[TURN]]
            note_use(use[IFMAP_NET], cycle)
            advance_network(here, plan.ifmaps.shape[0], columns, images)
        # The psum network takes up to four words to the bottom PE of one column.
        here = at[PSUM_IN_NET]
        if here[PASS] < passes:
            kind = np.int64(here[PASS] == passes - 1)
            pe, count, f, row = plan.psums_in[kind, here[STEP]]
            free = input_[pe] - intake[pe] + count <= depth_in
            if free and banked:
                first = here[PASS] * images * F * window_words[0] + (
                    here[IMAGE] * F + here[TURN]) * window_words[kind]
                for word in range(count):
                    word_at[word] = first + plan.place[kind, f + word, row]
                free = rows_at_hand(word_at, count, micro[ROW_PSUMS], micro[GLB_PORTS],
                                    micro[IFMAP_BANKS], micro[PSUM_BANKS],
                                    held[PSUM_IN_NET], used, cycle)
                events[BANK_WAITS] += not free
                moved = True
            if free:
                for word in range(count):
                    place = input_[pe] & mask_in
                    infifo[pe, place] = psums[
                        here[IMAGE], here[PASS] * in_pass + f + word, row, here[TURN]]
                    inready[pe, place] = cycle + 1
                    input_[pe] += 1
                events[PSUM_SENT] += count
                moved = True
                note_use(use[PSUM_IN_NET], cycle)
                advance_network(here, plan.psum_steps[kind, 0], F, images)
        if pe_trace is not None and cycle < len(pe_trace):
            trace_carried(net_trace[cycle], events)
            note_levels(pe_trace[cycle], doing, (ffifos, ififos, infifos, outfifos))
        cycle += 1
        idle = 0 if moved else idle + 1
        if idle > micro[PATIENCE]:
            cycle = -1
            break
    note_levels(pes_at_end, doing, (ffifos, ififos, infifos, outfifos))
    events[LEFT_OVER] = pes_at_end[:, IN_FILTER_FIFO:LATE_WAITS].sum()
    return cycle


@njit(cache=True)
def note_use(use, cycle):
    """Note that a network carried something in this cycle."""
    if use[USES] == 0:
        use[FIRST_USE] = cycle
    use[LAST_USE] = cycle
    use[USES] += 1


@njit(cache=True)
def next_window(pe, window, image, done, loaded, state, stage, seen, F, images, V, Q,
                micro):
    """Set a PE's state after a window's last psum: shift, next image or end."""
    window[pe] += 1
    if window[pe] < F:
        state[pe] = STRIDE if micro[STRIDE_CYCLES] else PROCESS
        stage[pe] = V * Q if micro[STRIDE_CYCLES] else 0
        return
    window[pe] = 0
    image[pe] += 1
    if image[pe] < images:
        begin_image(pe, state, stage, seen, micro)
        return
    image[pe] = 0
    done[pe] += 1
    loaded[pe] = 0          # the spad's filters are used up
    state[pe] = DONE


@njit(cache=True)
def begin_image(pe, state, stage, seen, micro):
    """Begin a row of another image: after a gap, if the machine has one."""
    state[pe] = GAP if micro[IMAGE_GAP] else PROCESS
    stage[pe] = micro[IMAGE_GAP]
    if not micro[IMAGE_GAP]:
        seen[pe] = 0
