"""Plain loops that do what the closed forms promise: the truth of the counting tests.

Nothing here is shared with the model but the data classes and the axis numbers, and of
cycles ``ends_of_run``, which the machine judges.
"""

import math
from fractions import Fraction
from itertools import product

import numpy as np

from eyeriss_sim.dataflows.rs_cycles import ends_of_run
from eyeriss_sim.dataflows.rs_geometry import timing
from eyeriss_sim.dataflows.rs_kernels import Kind
from eyeriss_sim.levels import (
    DRAIN,
    DRAM,
    FILL,
    FILTER,
    GLB,
    HOP,
    IFMAP,
    NOC,
    PSUM,
    READ,
    RF,
    WRITE,
)


def chunks(items, size):
    """Consecutive pieces of a list, the last one maybe shorter."""
    return [items[start:start + size] for start in range(0, len(items), size)]


def cut_evenly(taps, most, pieces=0):
    """Pieces of at most ``most`` taps, as nearly equal as can be; 0 for the fewest."""
    pieces = pieces or -(-len(taps) // most)
    return chunks(taps, -(-len(taps) // pieces))


def ways_to_cut(taps, most):
    """0 for the fewest pieces, then every larger number that leaves none empty."""
    fewest = -(-len(taps) // most)
    return [0, *(pieces for pieces in range(fewest + 1, len(taps) + 1)
                 if len(cut_evenly(taps, most, pieces)) == pieces)]


def ways_to_cut_columns(layer):
    """Numbers of column strips of nearly equal width, 1 for none."""
    return [1, *ways_to_cut(list(range(layer.F)), layer.F)[1:]]


def walk_passes(layer, hardware, mapping):
    """Every processing pass, in order, as the sets of things that it works on."""
    taps_that_fit = max(taps for taps in range(1, layer.S + 1)
                        if (taps - 1) * layer.dilation[1] < hardware.spad_ifmap_words)
    row_segments = cut_evenly(list(range(layer.R)), hardware.rows,
                              mapping.row_segments)
    col_segments = cut_evenly(list(range(layer.S)), taps_that_fit)
    for group, images, windows, strip, loaded in product(
            range(layer.groups), chunks(list(range(layer.N)), mapping.n),
            cut_evenly(list(range(layer.F)), layer.F, mapping.column_strips),
            chunks(list(range(layer.E)), mapping.e),
            chunks(list(range(layer.M_group)), mapping.m)):
        for channels in chunks(list(range(layer.C)), mapping.q * mapping.r):
            yield "load", dict(group=group, images=images, windows=windows, strip=strip,
                               channels=channels)
            for rows, cols, filters in product(
                    row_segments, col_segments, chunks(loaded, mapping.p * mapping.t)):
                yield "pass", dict(group=group, images=images, windows=windows,
                                   strip=strip, channels=channels, rows=rows, cols=cols,
                                   filters=filters)
        yield "dump", dict(group=group, images=images, windows=windows, strip=strip,
                           filters=loaded)


def ifmap_rows(layer, strip, rows):
    """Ifmap rows that some PE of a set needs."""
    return {e * layer.U + k * layer.dilation[0] for e in strip for k in rows}


def ifmap_columns(layer, windows, cols):
    """Ifmap columns from the first to the last one under any window of a segment."""
    first = windows[0] * layer.V + cols[0] * layer.dilation[1]
    last = windows[-1] * layer.V + cols[-1] * layer.dilation[1]
    return last - first + 1


def loaded_columns(layer, windows):
    """Ifmap columns that the GLB loads: what no window meets is not left out."""
    first = windows[0] * layer.V
    if windows[-1] == layer.F - 1:
        return layer.W - first
    met = first + ifmap_columns(layer, windows, range(layer.S))
    return max(met, (windows[-1] + 1) * layer.V) - first


def count_accesses(layer, hardware, mapping):
    """Accesses [level, kind, direction], MACs and passes, one word at a time."""
    accesses = np.zeros((4, 3, 5), np.int64)
    macs = passes = 0
    for what, work in walk_passes(layer, hardware, mapping):
        if what == "load":
            for _ in product(work["images"], work["channels"],
                             ifmap_rows(layer, work["strip"], range(layer.R))):
                columns = loaded_columns(layer, work["windows"])
                accesses[DRAM, IFMAP, READ] += columns
                accesses[GLB, IFMAP, FILL] += columns
            continue
        if what == "dump":
            words = (len(work["images"]) * len(work["filters"]) * len(work["strip"])
                     * len(work["windows"]))
            accesses[GLB, PSUM, DRAIN] += words
            accesses[DRAM, PSUM, WRITE] += words
            continue
        passes += 1
        channel_sets = chunks(work["channels"], mapping.q)
        filter_sets = chunks(work["filters"], mapping.p)
        columns = ifmap_columns(layer, work["windows"], work["cols"])
        taps = len(work["cols"])
        # Filters: from DRAM through the preload banks, each word to a row of PEs.
        for _ in product(work["filters"], work["channels"], work["rows"]):
            accesses[DRAM, FILTER, READ] += taps
            accesses[GLB, FILTER, FILL] += taps
            accesses[GLB, FILTER, READ] += taps
            accesses[NOC, FILTER, FILL] += taps
            accesses[[NOC, RF], FILTER, [READ, FILL]] += taps * len(work["strip"])
        # Ifmaps: each row once on the network, to every PE that needs it.
        for _ in product(work["images"], work["channels"]):
            for row in ifmap_rows(layer, work["strip"], work["rows"]):
                accesses[GLB, IFMAP, READ] += columns
                accesses[NOC, IFMAP, FILL] += columns
                pes = sum(row == e * layer.U + k * layer.dilation[0]
                          for e in work["strip"] for k in work["rows"])
                targets = pes * len(filter_sets)
                accesses[[NOC, RF], IFMAP, [READ, FILL]] += columns * targets
        # Psums: up a column of PEs, from the GLB and back to it.
        column_height = len(work["rows"]) * len(channel_sets)
        for _ in product(work["images"], work["strip"], work["windows"],
                         work["filters"]):
            accesses[GLB, PSUM, READ] += 1
            accesses[NOC, PSUM, [FILL, READ, WRITE, DRAIN]] += 1
            accesses[NOC, PSUM, HOP] += column_height - 1
            accesses[GLB, PSUM, WRITE] += 1
            window_macs = len(work["channels"]) * len(work["rows"]) * taps
            macs += window_macs
            accesses[RF, :, READ] += window_macs
            accesses[RF, PSUM, WRITE] += window_macs
    return accesses, macs, passes


def count_cycles(layer, hardware, mapping):
    """Processing cycles of all passes: mac, ramp, psum, ifmap, filter wait."""
    causes = np.zeros(5)
    ends, fetches, before, behind = [], [], None, 0
    for what, work in walk_passes(layer, hardware, mapping):
        if what != "pass":
            before = None
            continue
        # Passes over the same words of the ifmaps may run on into each other.
        sent = work["rows"], work["cols"]
        behind = behind + 1 if hardware.pass_overlap and sent == before else 0
        *parts, known = pass_ends(layer, hardware, mapping, work, behind)
        end = run_end(layer, hardware, mapping, work, min(behind, 3))
        if not behind:
            end = max(known, end)
        # What no one resource explains is ramp.
        more = max(0, end - known)
        ends.append((parts[0], *(min(part + more, end) for part in parts[1:]), end))
        before = sent
        words = (len(work["rows"]) * len(work["cols"]) * len(work["channels"])
                 * len(work["filters"]))
        fetches.append(math.ceil(
            Fraction(words) * 16 * Fraction(hardware.clock_MHz)
            / hardware.dram_link_bits / Fraction(hardware.dram_link_MHz)))
    for place, fetch in enumerate(fetches):
        causes += (*np.diff(ends[place], prepend=0),
                   max(0, fetch - ends[place - 1][-1]))
    return causes


def run_end(layer, hardware, mapping, work, behind):
    """Cycles that the last of some passes adds; the machine's tests judge them."""
    filters, full = len(work["filters"]), mapping.p * mapping.t
    kind = Kind(
        R=len(work["rows"]), S=len(work["cols"]),
        span=(len(work["cols"]) - 1) * layer.dilation[1] + 1, F=len(work["windows"]),
        images=len(work["images"]), rows_out=len(work["strip"]),
        channels=len(work["channels"]),
        rows=len(ifmap_rows(layer, work["strip"], work["rows"])), above=0,
        V=layer.V, U=layer.U, D=layer.dilation[0])
    ends = ends_of_run(
        timing(hardware), kind, behind * full + filters, full if behind else filters,
        mapping.p, mapping.q, hardware.glb_banks - psum_banks(layer, hardware, mapping))
    return int(np.diff(ends, prepend=0)[-1])


def pass_ends(layer, hardware, mapping, work, follows):
    """MACs of a PE, then when MACs, psums, and ifmaps too would be done."""
    channel_sets = chunks(work["channels"], mapping.q)
    filter_sets = chunks(work["filters"], mapping.p)
    rows = sorted(ifmap_rows(layer, work["strip"], work["rows"]))
    taps, e, images = len(work["cols"]), len(work["strip"]), len(work["images"])
    R, F, V, span = (len(work["rows"]), len(work["windows"]), layer.V,
                     (len(work["cols"]) - 1) * layer.dilation[1] + 1)
    p, q = len(filter_sets[0]), len(channel_sets[0])
    wide_f, wide_i = hardware.filter_net_words, hardware.ifmap_net_words
    wide_out = hardware.psum_out_net_words
    bubble = p * hardware.accumulate_bubbles

    def steps(width):
        return sum(-(-len(one) // width) for one in filter_sets)

    def turns(sent, width):
        return -(-sent // width)

    # The order of words on the networks, of the first window and of all filters.
    words = [(c, row, number) for _ in range(span) for c in range(q) for row in rows
             for number, own in enumerate(channel_sets) if c < len(own)]
    last_word = {(row, number): at for at, (c, row, number) in enumerate(words)}
    first_word = {}
    for at, (_, row, number) in enumerate(words):
        first_word.setdefault((row, number), at)
    loads = [(k, number, of_set) for _ in range(taps) for c in range(q)
             for first in range(0, p, wide_f) for k in range(R)
             for number, own in enumerate(channel_sets) if c < len(own)
             for of_set, held in enumerate(filter_sets) if first < len(held)]
    last_filter = {load: at for at, load in enumerate(loads)}
    window, group = p * q * taps, min(p, wide_out)
    hop = group + 2 + max(1, hardware.hop_cycles - wide_out - 2)
    last_groups = sum(-(-len(held) // wide_out) == -(-p // wide_out)
                      for held in filter_sets)
    columns = ifmap_columns(layer, work["windows"], work["cols"])
    column_words = len(rows) * len(work["channels"])
    # First window; first window of the last image, last window, never short of MACs.
    ends = [0, 0, 0]
    for when, gone in enumerate((0, (images - 1) * columns, images * columns - span)):
        for column, i in enumerate(work["strip"]):
            tail = group + 2 + max(
                p - group + (e - column) * last_groups,
                e * steps(wide_out) - column * len(filter_sets))
            if column not in (0, e - 1):
                continue
            first = rows.index(i * layer.U + work["rows"][0] * layer.dilation[0])
            for k in {0, R - 1}:
                # Under a dilated filter rows of other windows may come between, and
                # the k-th after the first comes a little before the one that is met.
                row = rows[first + k]
                full = (last_word[row, 0] + gone * column_words) // wide_i + 1
                some = (first_word[row, 0] + gone * column_words) // wide_i + 1
                full = max(full, (gone + span) * q)
                if hardware.filters_first:
                    start = len(loads) - 1 + full + window - p
                elif hardware.window_first:
                    start = full + window - p
                else:
                    start = max(some + window - p, full)
                if not hardware.filters_first and when == 0:
                    last = p - (turns(p, wide_f) - 1) * wide_f
                    start = max(start, last_filter[k, 0, 0] + 1 + last - p)
                climb = hop * (R * len(channel_sets) - 1 - k)
                ends[when] = max(ends[when], start + bubble + climb + tail)
    begun, image_begun, streamed = ends
    shift, anew = V * q if hardware.stride_bubbles else 0, hardware.image_gap_cycles
    if hardware.window_first:
        shift, anew = V * q - 1, anew + span * q - 1
    pace, sent = e * steps(wide_out), e * steps(hardware.psum_in_net_words)
    if follows:
        pace = max(pace, sent)
    banks = 0
    if hardware.glb_ports:
        banks = turns(2 * images * F * len(work["filters"]) * e, (
            min(4, hardware.glb_bank_words) * hardware.glb_ports
            * psum_banks(layer, hardware, mapping)))
    macs = images * F * window
    if follows:
        mac_end = macs + images * (F * bubble + (F - 1) * shift + anew)
        psum_end = max(mac_end, images * F * pace, banks)
        return macs, mac_end, psum_end, max(
            psum_end, turns(images * columns * column_words, wide_i))
    step = window + bubble
    mac_end = begun + (images * F - 1) * step + images * (F - 1) * shift + (
        images - 1) * anew
    # Psums from the GLB run ahead while there is room; the last still has to climb.
    to_top = hop * (R * len(channel_sets) - 1)
    tail = group + 2 + max(p - group + e * last_groups, e * steps(wide_out))
    ahead = turns(hardware.psum_in_fifo_words, p) * sent
    fed = images * F * sent + max(0, begun - to_top - tail - ahead)
    last_in = last_out = 1
    if len(filter_sets[-1]) == p:
        last_in, last_out = (
            len(chunks(filter_sets[0], width)[-1])
            for width in (hardware.psum_in_net_words, wide_out))
    fed += (R * len(channel_sets) - 1) * (hop - group + last_out)
    fed += min(last_in, last_out) + 2
    psum_end = max(mac_end, begun + (images * F - 1) * pace, fed, banks)
    # The words of a full PE that neither spad nor FIFO can hold; between two of them
    # goes at least a word a row and full set.
    not_held = images * columns * q - span * q - hardware.ifmap_fifo_words - 1
    between = len(rows) * max(1, len(work["channels"]) // q)
    end = max(
        psum_end, streamed, image_begun + (F - 1) * max(step + shift, pace),
        begun + max(0, not_held) * between // wide_i)
    return macs, mac_end, psum_end, end


def psum_banks(layer, hardware, mapping):
    """Banks that the ifmaps of full strips leave."""
    rows = len(ifmap_rows(layer, range(mapping.e), range(layer.R)))
    words = (mapping.n * min(mapping.q * mapping.r, layer.C) * rows
             * widest_load(layer, mapping.column_strips))
    return max(1, hardware.glb_banks - -(-words // hardware.glb_bank_words))


def widest_load(layer, column_strips):
    """Ifmap columns of the column strip that loads most."""
    return max(loaded_columns(layer, windows) for windows in cut_evenly(
        list(range(layer.F)), layer.F, column_strips))


def isca16_scores(layer, hardware, hop_weight=2):
    """(energy, delay) of every mapping legal in ISCA 2016, psum hops twice as there.

    The closed forms are written down once more, straight from the analysis.
    """
    N, M, C, G = layer.N, layer.M_group, layer.C, layer.groups
    H, W, R, S, E, F = layer.H, layer.W, layer.R, layer.S, layer.E, layer.F
    ifmap, filters, ofmap = G * N * C * H * W, G * M * C * R * S, G * N * M * E * F
    macs = ofmap * C * R * S
    sizes = [range(1, most + 1) for most in (M, N, F, M, C, C, M)]
    for m, n, f, p, q, r, t in product(*sizes):
        width = layer.V * (f - 1) + S
        if (n * m * E * f + n * q * r * H * width > hardware.glb_words
                or S * f * r * t > hardware.pes or q * r > C or p * t > m
                or p * q * R + q * R + p > hardware.rf_words):
            continue
        strips = ifmap * F / W * width / f
        dram = strips * -(-M // m) + filters * -(-N // n) * -(-F // f) + ofmap
        glb = strips * -(-M // (p * t)) + 2 * ofmap * (-(-C // (q * r)) - 1)
        array = (ifmap * -(-M // p) * S * F / W + filters * -(-N // n) * F
                 + hop_weight * ofmap * (-(-C // q) * S - -(-C // (q * r))))
        rf = (ifmap * M * R * S * E / H * F / W + filters * N * E * F
              + 2 * ofmap * (C * R * S - -(-C // q) * S))
        yield 200 * dram + 6 * glb + 2 * array + rf + macs, -(-macs // (S * f * r * t))


def legal_mappings(layer, hardware):
    """Every mapping that keeps the chip's limits, by trying all of them."""
    taps_that_fit = max(taps for taps in range(1, layer.S + 1)
                        if (taps - 1) * layer.dilation[1] < hardware.spad_ifmap_words)
    taps = list(range(layer.R))
    S = len(cut_evenly(list(range(layer.S)), taps_that_fit)[0])
    span = (S - 1) * layer.dilation[1] + 1
    for pieces, strips, n, e, q, r in product(
            ways_to_cut(taps, hardware.rows), ways_to_cut_columns(layer),
            range(1, layer.N + 1), range(1, layer.E + 1), range(1, layer.C + 1),
            range(1, hardware.rows + 1)):
        widest = cut_evenly(list(range(layer.F)), layer.F, strips)[0]
        R = len(cut_evenly(taps, hardware.rows, pieces)[0])
        if R * r > hardware.rows:
            continue
        if q * span > hardware.spad_ifmap_words or (r - 1) * q >= layer.C:
            continue
        columns = hardware.rows // (R * r) * hardware.cols
        channels = min(q * r, layer.C)
        rows = len(ifmap_rows(layer, range(e), range(layer.R)))
        ifmap_banks = -(-n * channels * rows * widest_load(layer, strips)
                        // hardware.glb_bank_words)
        for m, p in product(range(1, layer.M_group + 1),
                            range(1, hardware.spad_psum_words + 1)):
            psum_banks = -(-n * m * e * len(widest) // hardware.glb_bank_words)
            if (p > m or p * q * S > hardware.spad_filter_words
                    or ifmap_banks + psum_banks > hardware.glb_banks):
                continue
            for t in range(1, columns // e + 1):
                words = min(p * t, m) * channels * R * S
                if (t - 1) * p < m and words <= hardware.glb_filter_words:
                    yield m, n, e, p, q, r, t, pieces, strips
