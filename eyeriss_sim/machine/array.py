"""The PE array of the machine, stepped cycle by cycle through one processing pass.

Real 16-bit words move: over the three input networks into FIFOs, through spads and the
datapath, up the columns of PEs, and out. Everything that happens in a cycle sees what
the cycle before left, so the order in which PEs are visited does not matter.
"""

import numpy as np
from numba import njit

# Axes of ``micro``: the micro-architecture's choices.
(IFMAP_FIFO, FILTER_FIFO, PSUM_IN_FIFO, PSUM_OUT_FIFO, NET_I, NET_F, NET_P_IN,
 NET_P_OUT, HOP, BUBBLES, STRIDE_CYCLES, IMAGE_GAP, FILTERS_FIRST, WINDOW_FIRST, GATING,
 SHIFT, SATURATE, PATIENCE) = range(18)
MICRO_AXES = 18

# Axes of ``events``: words and operations of a pass.
(IFMAP_SENT, IFMAP_TAKEN, FILTER_SENT, FILTER_TAKEN, PSUM_SENT, PSUM_HOPS, PSUM_OUT,
 IFMAP_READS, FILTER_READS, PSUM_READS, PSUM_WRITES, MACS, LEFT_OVER) = range(13)
EVENT_AXES = 13

# Axes of ``spent``: what the PEs do in each cycle, summed over them.
(MAC_CYCLE, WAIT_FILTER, WAIT_IFMAP, WAIT_PSUM_IN, WAIT_PSUM_OUT, ACCUMULATING,
 SHIFTING, FINISHED) = range(8)
SPENT_AXES = 8

# States of a PE.
PROCESS, ACCUMULATE, STRIDE, GAP, DONE = 0, 1, 2, 3, 4

# Axes of a trace of the PEs: an axis of ``spent``, words in the FIFOs at the end of the
# cycle, and the psum that the datapath made, if it made one.
(DID, IN_IFMAP_FIFO, IN_FILTER_FIFO, IN_PSUM_IN_FIFO, IN_PSUM_OUT_FIFO,
 PSUM_VALUE) = range(6)
PE_TRACE_AXES = 6

# Networks of a trace, and its axes: links with words to carry at the start of a cycle,
# links that carried them, words carried, where these go or come from (ifmaps: row of
# the ifmap; filters: row of PEs; psums: column of PEs), and the words, one by one.
IFMAP_NET, FILTER_NET, PSUM_IN_NET, LOCAL_NET, PSUM_OUT_NET = range(5)
NETWORKS = 5
OFFERED, CARRIED, WORDS, PLACE, DATA = range(5)


def trace_arrays(cycles, pes, micro):
    """Arrays in which ``run_pass`` records its first ``cycles`` cycles.

    Returns
    -------
    pe_trace : int16 ndarray, shape (cycles, PEs, 6)
    net_trace : int32 ndarray, shape (cycles, 5, 4 + words of the widest network)
    """
    lanes = int(max(micro[NET_I], micro[NET_F], micro[NET_P_IN], micro[NET_P_OUT]))
    return (np.zeros((cycles, pes, PE_TRACE_AXES), np.int16),
            np.zeros((cycles, NETWORKS, DATA + lanes), np.int32))


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


@njit(cache=True, error_model="numpy")
def run_pass(ifmap, filt, psums, row_of, p, q, V, dilation, F, repeats, micro,
             events, spent, pe_trace=None, net_trace=None):
    """Step one pass until its last psum is out.

    Parameters
    ----------
    ifmap : int16 ndarray, shape (images, channels, rows, columns)
        Rows that some PE needs.
    filt : int16 ndarray, shape (filters, channels, R, S)
    psums : int16 ndarray, shape (images, filters, e, F), written
        What the GLB sends in, and what comes out.
    row_of : int64 ndarray, shape (R, e)
        Row of ``ifmap`` that the PE of a filter row and an ofmap row works on.
    p, q : int
        Filters and channels of a full PE; PE sets are filled in order.
    V, dilation, F : int
        Horizontal stride and dilation; windows of a row.
    repeats : int
        Run the pass so often, the networks feeding on into the next; the psums are
        right after one.
    micro : int64 ndarray, shape (18,)
    events : int64 ndarray, shape (13,), written
    spent : int64 ndarray, shape (8,), PE-cycles, written
    pe_trace, net_trace : ndarray, written, or None
        As ``trace_arrays`` makes them; as many cycles are recorded as they have. With
        None the recorder is not compiled in and costs nothing.

    Returns
    -------
    cycles : int
        From the first word on a network to the last psum out; -1 if nothing moved for
        ``micro[PATIENCE]`` cycles.
    """
    events[:] = 0
    spent[:] = 0
    images, channels, rows, columns = ifmap.shape
    filters, _, R, S = filt.shape
    e = row_of.shape[1]
    r = (channels + q - 1) // q
    t = (filters + p - 1) // p
    height, width = r * R, t * e
    pes = height * width
    span = (S - 1) * dilation + 1
    last_q, last_p = channels - (r - 1) * q, filters - (t - 1) * p
    hop, bubbles = micro[HOP], micro[BUBBLES]
    # What a PE owns.
    own_p, own_q = np.empty(pes, np.int64), np.empty(pes, np.int64)
    for pe in range(pes):
        own_q[pe] = last_q if pe // width // R == r - 1 else q
        own_p[pe] = last_p if pe % width // e == t - 1 else p
    filter_spad = np.zeros((pes, S * q * p), np.int16)
    ifmap_spad = np.zeros((pes, q * span), np.int16)
    psum_spad = np.zeros((pes, p), np.int16)
    valid = np.zeros((pes, p), np.bool_)
    depth_i, depth_in = micro[IFMAP_FIFO], micro[PSUM_IN_FIFO]
    depth_out = micro[PSUM_OUT_FIFO]
    depth_f = micro[FILTER_FIFO]
    ififo = np.zeros((pes, depth_i), np.int16)
    ffifo = np.zeros((pes, depth_f), np.int16)
    fput, ftake = np.zeros(pes, np.int64), np.zeros(pes, np.int64)
    again = np.zeros(pes, np.int64)         # passes that a PE has finished
    infifo = np.zeros((pes, depth_in), np.int16)
    inready = np.zeros((pes, depth_in), np.int64)
    outfifo = np.zeros((pes, depth_out), np.int16)
    iput, itake = np.zeros(pes, np.int64), np.zeros(pes, np.int64)
    input_, intake = np.zeros(pes, np.int64), np.zeros(pes, np.int64)
    output_, outtake = np.zeros(pes, np.int64), np.zeros(pes, np.int64)
    loaded = np.zeros(pes, np.int64)        # filter words in the spad
    image = np.zeros(pes, np.int64)
    window = np.zeros(pes, np.int64)
    stage = np.zeros(pes, np.int64)         # place inside the state
    state = np.zeros(pes, np.int64)
    seen = np.zeros(pes, np.int64)          # ifmap words of this image that were taken
    # Where each network stands.
    f_tap = f_c = f_p = f_row = f_r = f_t = 0
    f_pass = i_pass = s_pass = o_pass = 0
    filters_left = True
    i_image = i_col = i_q = i_row = i_r = 0
    ifmaps_left = True
    s_image = s_window = s_p = s_e = s_t = 0
    sends_left = True
    o_image = o_window = o_p = o_e = o_t = 0
    outs_left = True
    cycle = idle = 0
    while outs_left:
        moved = False
        if pe_trace is not None and cycle < len(pe_trace):
            # What each network would carry now; what it carried is known at the end.
            now = net_trace[cycle]
            now[IFMAP_NET, WORDS] = -events[IFMAP_SENT]
            now[FILTER_NET, WORDS] = -events[FILTER_SENT]
            now[PSUM_IN_NET, WORDS] = -events[PSUM_SENT]
            now[LOCAL_NET, WORDS] = -events[PSUM_HOPS]
            now[PSUM_OUT_NET, WORDS] = -events[PSUM_OUT]
            if ifmaps_left:
                now[IFMAP_NET, OFFERED] = not micro[FILTERS_FIRST] or f_pass > i_pass
                now[IFMAP_NET, PLACE] = i_row
                now[IFMAP_NET, DATA] = ifmap[i_image, i_r * q + i_q, i_row, i_col]
            if filters_left:
                now[FILTER_NET, OFFERED] = 1
                now[FILTER_NET, PLACE] = f_r * R + f_row
                pe = (f_r * R + f_row) * width + f_t * e
                for word in range(min(micro[NET_F], own_p[pe] - f_p)):
                    now[FILTER_NET, DATA + word] = filt[
                        f_t * p + f_p + word, f_r * q + f_c, f_row, f_tap]
            if sends_left:
                now[PSUM_IN_NET, OFFERED] = 1
                now[PSUM_IN_NET, PLACE] = s_t * e + s_e
                for word in range(min(micro[NET_P_IN], own_p[s_t * e + s_e] - s_p)):
                    now[PSUM_IN_NET, DATA + word] = psums[
                        s_image, s_t * p + s_p + word, s_e, s_window]
            for pe in range(pes):
                group = min(micro[NET_P_OUT], own_p[pe] - outtake[pe] % own_p[pe])
                if output_[pe] - outtake[pe] >= group:
                    if pe < pes - width:
                        now[LOCAL_NET, OFFERED] += 1
                    else:
                        now[PSUM_OUT_NET, OFFERED] = 1
            now[PSUM_OUT_NET, PLACE] = o_t * e + o_e
            pe = (height - 1) * width + o_t * e + o_e
            for word in range(min(micro[NET_P_OUT], own_p[pe] - o_p,
                                  output_[pe] - outtake[pe])):
                now[PSUM_OUT_NET, DATA + word] = outfifo[
                    pe, (outtake[pe] + word) % depth_out]
        # Output network: the top of one column, up to four words.
        pe = (height - 1) * width + o_t * e + o_e
        count = min(micro[NET_P_OUT], own_p[pe] - o_p)
        if output_[pe] - outtake[pe] >= count:
            for word in range(count):
                psums[o_image, o_t * p + o_p + word, o_e, o_window] = outfifo[
                    pe, outtake[pe] % depth_out]
                outtake[pe] += 1
            events[PSUM_OUT] += count
            moved = True
            while outs_left:
                o_t += 1
                if o_t == t:
                    o_t = 0
                    o_e += 1
                    if o_e == e:
                        o_e = 0
                        o_p += micro[NET_P_OUT]
                        if o_p >= p:
                            o_p = 0
                            o_window += 1
                            if o_window == F:
                                o_window = 0
                                o_image += 1
                                if o_image == images:
                                    o_image = 0
                                    o_pass += 1
                                    outs_left = o_pass < repeats
                if o_t < t - 1 or o_p < last_p:
                    break
        # Local network: a PE's psums to the one above, up to four words.
        for pe in range(pes - width):
            waiting = output_[pe] - outtake[pe]
            group = min(micro[NET_P_OUT], own_p[pe] - outtake[pe] % own_p[pe])
            above = pe + width
            if waiting >= group and input_[above] - intake[above] + group <= depth_in:
                for word in range(group):
                    place = input_[above] % depth_in
                    infifo[above, place] = outfifo[pe, outtake[pe] % depth_out]
                    inready[above, place] = cycle + hop
                    input_[above] += 1
                    outtake[pe] += 1
                events[PSUM_HOPS] += group
                moved = True
                if pe_trace is not None and cycle < len(pe_trace):
                    net_trace[cycle, LOCAL_NET, CARRIED] += 1
        # PEs.
        for pe in range(pes):
            if state[pe] == DONE:
                spent[FINISHED] += 1
                if pe_trace is not None and cycle < len(pe_trace):
                    pe_trace[cycle, pe, DID] = FINISHED
                continue
            P, Q = own_p[pe], own_q[pe]
            base = window[pe] * V * Q
            # An ifmap word from the FIFO into the spad, or dropped between windows.
            if iput[pe] > itake[pe] and state[pe] != GAP and seen[pe] < base + Q * span:
                if seen[pe] >= base:
                    ifmap_spad[pe, seen[pe] % (Q * span)] = ififo[
                        pe, itake[pe] % depth_i]
                itake[pe] += 1
                seen[pe] += 1
                events[IFMAP_TAKEN] += 1
                moved = True
            # Filter words of this pass into their spad.
            for _ in range(micro[NET_F]):
                if fput[pe] == ftake[pe] or loaded[pe] == S * Q * P:
                    break
                filter_spad[pe, loaded[pe]] = ffifo[pe, ftake[pe] % depth_f]
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
                need = S * Q * P if micro[FILTERS_FIRST] else stage[pe] + 1
                fused = last and not bubbles
                slot = intake[pe] % depth_in
                if loaded[pe] < need:
                    did = WAIT_FILTER
                    spent[WAIT_FILTER] += 1
                elif seen[pe] <= place or (
                        micro[WINDOW_FIRST] and seen[pe] < base + Q * span):
                    did = WAIT_IFMAP
                    spent[WAIT_IFMAP] += 1
                elif fused and (input_[pe] == intake[pe] or inready[pe, slot] > cycle):
                    did = WAIT_PSUM_IN
                    spent[WAIT_PSUM_IN] += 1
                elif fused and output_[pe] - outtake[pe] == depth_out:
                    did = WAIT_PSUM_OUT
                    spent[WAIT_PSUM_OUT] += 1
                else:
                    moved = True
                    did = MAC_CYCLE
                    spent[MAC_CYCLE] += 1
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
                    if fused:
                        own = np.int64(psum_spad[pe, f]) if valid[pe, f] else 0
                        outfifo[pe, output_[pe] % depth_out] = add16(
                            own, np.int64(infifo[pe, intake[pe] % depth_in]),
                            micro[SATURATE])
                        valid[pe, f] = False
                        intake[pe] += 1
                        output_[pe] += 1
                    stage[pe] += 1
                    if stage[pe] == P * Q * S:
                        stage[pe] = 0
                        state[pe] = ACCUMULATE
                        if not bubbles:
                            advance(pe, window, image, again, loaded, state, stage,
                                    seen, F, images, repeats, V, Q, micro)
            elif state[pe] == ACCUMULATE:
                slot = intake[pe] % depth_in
                if input_[pe] == intake[pe] or inready[pe, slot] > cycle:
                    did = WAIT_PSUM_IN
                    spent[WAIT_PSUM_IN] += 1
                elif output_[pe] - outtake[pe] == depth_out:
                    did = WAIT_PSUM_OUT
                    spent[WAIT_PSUM_OUT] += 1
                else:
                    moved = True
                    did = ACCUMULATING
                    spent[ACCUMULATING] += 1
                    f = stage[pe]
                    own = np.int64(psum_spad[pe, f]) if valid[pe, f] else 0
                    outfifo[pe, output_[pe] % depth_out] = add16(
                        own, np.int64(infifo[pe, slot]), micro[SATURATE])
                    valid[pe, f] = False
                    intake[pe] += 1
                    output_[pe] += 1
                    stage[pe] += 1
                    if stage[pe] == P:
                        stage[pe] = 0
                        advance(pe, window, image, again, loaded, state, stage, seen,
                                F, images, repeats, V, Q, micro)
            else:
                moved = True
                did = SHIFTING
                spent[SHIFTING] += 1
                stage[pe] -= 1
                if stage[pe] <= 0:
                    stage[pe] = 0
                    if state[pe] == GAP:
                        seen[pe] = 0
                    state[pe] = PROCESS
            if pe_trace is not None and cycle < len(pe_trace):
                pe_trace[cycle, pe, DID] = did
                if did == ACCUMULATING or (did == MAC_CYCLE and fused):
                    pe_trace[cycle, pe, PSUM_VALUE] = outfifo[
                        pe, (output_[pe] - 1) % depth_out]
                elif did == MAC_CYCLE and valid[pe, f]:
                    pe_trace[cycle, pe, PSUM_VALUE] = psum_spad[pe, f]
        # Filter network: up to four filters' words of one tap to a PE row's columns.
        first = (f_r * R + f_row) * width + f_t * e
        count = min(micro[NET_F], own_p[first] - f_p)
        free = filters_left
        for pe in range(first, first + e):
            if fput[pe] - ftake[pe] + count > depth_f:
                free = False
        if free:
            for pe in range(first, first + e):
                for word in range(count):
                    ffifo[pe, fput[pe] % depth_f] = filt[
                        f_t * p + f_p + word, f_r * q + f_c, f_row, f_tap]
                    fput[pe] += 1
            events[FILTER_SENT] += count
            moved = True
            while filters_left:
                f_t += 1
                if f_t == t:
                    f_t = 0
                    f_r += 1
                    if f_r == r:
                        f_r = 0
                        f_row += 1
                        if f_row == R:
                            f_row = 0
                            f_p += micro[NET_F]
                            if f_p >= p:
                                f_p = 0
                                f_c += 1
                                if f_c == q:
                                    f_c = 0
                                    f_tap += 1
                                    if f_tap == S:
                                        f_tap = 0
                                        f_pass += 1
                                        filters_left = f_pass < repeats
                if (f_t < t - 1 or f_p < last_p) and (f_r < r - 1 or f_c < last_q):
                    break
        # Ifmap network: one word a step, to every PE that works on its row.
        for _ in range(micro[NET_I]):
            if not ifmaps_left or (micro[FILTERS_FIRST] and f_pass <= i_pass):
                break
            free = True
            for k in range(R):
                for col in range(e):
                    if row_of[k, col] == i_row:
                        for set_t in range(t):
                            pe = (i_r * R + k) * width + set_t * e + col
                            if iput[pe] - itake[pe] >= depth_i:
                                free = False
            if not free:
                break
            moved = True
            events[IFMAP_SENT] += 1
            for k in range(R):
                for col in range(e):
                    if row_of[k, col] == i_row:
                        for set_t in range(t):
                            pe = (i_r * R + k) * width + set_t * e + col
                            ififo[pe, iput[pe] % depth_i] = ifmap[
                                i_image, i_r * q + i_q, i_row, i_col]
                            iput[pe] += 1
            while ifmaps_left:
                i_r += 1
                if i_r == r:
                    i_r = 0
                    i_row += 1
                    if i_row == rows:
                        i_row = 0
                        i_q += 1
                        if i_q == q:
                            i_q = 0
                            i_col += 1
                            if i_col == columns:
                                i_col = 0
                                i_image += 1
                                if i_image == images:
                                    i_image = 0
                                    i_pass += 1
                                    ifmaps_left = i_pass < repeats
                if i_r < r - 1 or i_q < last_q:
                    break
        # Psum network: up to four words to the bottom PE of one column.
        if sends_left:
            col = s_t * e + s_e
            count = min(micro[NET_P_IN], own_p[col] - s_p)
            if input_[col] - intake[col] + count <= depth_in:
                for word in range(count):
                    place = input_[col] % depth_in
                    infifo[col, place] = psums[s_image, s_t * p + s_p + word, s_e,
                                               s_window]
                    inready[col, place] = cycle + 1
                    input_[col] += 1
                events[PSUM_SENT] += count
                moved = True
                while sends_left:
                    s_t += 1
                    if s_t == t:
                        s_t = 0
                        s_e += 1
                        if s_e == e:
                            s_e = 0
                            s_p += micro[NET_P_IN]
                            if s_p >= p:
                                s_p = 0
                                s_window += 1
                                if s_window == F:
                                    s_window = 0
                                    s_image += 1
                                    if s_image == images:
                                        s_image = 0
                                        s_pass += 1
                                        sends_left = s_pass < repeats
                    if s_t < t - 1 or s_p < last_p:
                        break
        if pe_trace is not None and cycle < len(pe_trace):
            for net, sent in ((IFMAP_NET, IFMAP_SENT), (FILTER_NET, FILTER_SENT),
                              (PSUM_IN_NET, PSUM_SENT), (LOCAL_NET, PSUM_HOPS),
                              (PSUM_OUT_NET, PSUM_OUT)):
                net_trace[cycle, net, WORDS] += events[sent]
                if net != LOCAL_NET and net_trace[cycle, net, WORDS] > 0:
                    # Ifmaps may be let go by a filter of the same cycle.
                    net_trace[cycle, net, OFFERED] = 1
                    net_trace[cycle, net, CARRIED] = 1
            for pe in range(pes):
                at_end = pe_trace[cycle, pe]
                at_end[IN_IFMAP_FIFO] = iput[pe] - itake[pe]
                at_end[IN_FILTER_FIFO] = fput[pe] - ftake[pe]
                at_end[IN_PSUM_IN_FIFO] = input_[pe] - intake[pe]
                at_end[IN_PSUM_OUT_FIFO] = output_[pe] - outtake[pe]
        cycle += 1
        idle = 0 if moved else idle + 1
        if idle > micro[PATIENCE]:
            return -1
    left = 0
    for pe in range(pes):
        left += (iput[pe] - itake[pe] + fput[pe] - ftake[pe] + input_[pe] - intake[pe]
                 + output_[pe] - outtake[pe])
    events[LEFT_OVER] = left
    return cycle


@njit(cache=True)
def advance(pe, window, image, again, loaded, state, stage, seen, F, images, repeats, V,
            Q, micro):
    """What follows a window's last psum: the shift, the next image or pass, the end."""
    window[pe] += 1
    if window[pe] < F:
        state[pe] = STRIDE if micro[STRIDE_CYCLES] else PROCESS
        stage[pe] = V * Q if micro[STRIDE_CYCLES] else 0
        return
    window[pe] = 0
    image[pe] += 1
    if image[pe] == images:
        image[pe] = 0
        again[pe] += 1
        loaded[pe] = 0          # the spad's filters are used up
        if again[pe] == repeats:
            state[pe] = DONE
            return
    state[pe] = GAP if micro[IMAGE_GAP] else PROCESS
    stage[pe] = micro[IMAGE_GAP]
    if not micro[IMAGE_GAP]:
        seen[pe] = 0
