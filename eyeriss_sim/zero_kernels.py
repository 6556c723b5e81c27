"""Compiled loops over real tensors: where zeros are, and the codes that leave them out.

The run-length code is the chip's (JSSC 2017): a pair is a 5-bit run of
zeros and the 16-bit value after it; three pairs and one flag, set in the last word of a
stream, fill 64 bits. A run longer than 31 is a pair of run 31 and value 0, which stands
for 32 zeros; what is left of a run at the end of a stream is a pair with value 0 too.
"""

import numpy as np
from numba import njit

RUN_BITS, LEVEL_BITS = 5, 16
PAIR_BITS = RUN_BITS + LEVEL_BITS
PAIRS_PER_WORD = 3
LONGEST_RUN = 31
FLAG_BIT = 63


@njit(cache=True)
def encode(stream, words):
    """Run-length code of one stream.

    Parameters
    ----------
    stream : int16 ndarray, 1-D
    words : uint64 ndarray, shape (at least ceil(len(stream) / 3),), written

    Returns
    -------
    used : int
        Words written; none for an empty stream.
    """
    used = 0
    place = 0
    run = np.uint64(0)
    word = np.uint64(0)
    for value in stream:
        if value == 0 and run < LONGEST_RUN:
            run += np.uint64(1)
            continue
        pair = run | (np.uint64(np.uint16(value)) << np.uint64(RUN_BITS))
        word |= pair << np.uint64(place)
        run = np.uint64(0)
        place += PAIR_BITS
        if place == FLAG_BIT:
            words[used] = word
            used += 1
            place = 0
            word = np.uint64(0)
    if run > 0:
        # The last of the zeros is the pair's value.
        word |= (run - np.uint64(1)) << np.uint64(place)
        place += PAIR_BITS
    if place > 0:
        words[used] = word
        used += 1
    if used > 0:
        words[used - 1] |= np.uint64(1) << np.uint64(FLAG_BIT)
    return used


@njit(cache=True)
def decode(words, stream):
    """The stream that a run-length code stands for.

    Parameters
    ----------
    words : uint64 ndarray, 1-D
    stream : int16 ndarray, 1-D, written
        Of the stream's length, which the receiver knows from the layer's shape.

    Returns
    -------
    read : int
        Words up to and including the flagged one; -1 where that comes too early, not at
        all, or with values to spare.
    """
    stream[:] = 0
    length = stream.shape[0]
    at = np.int64(0)
    mask_run = np.uint64((1 << RUN_BITS) - 1)
    mask_level = np.uint64((1 << LEVEL_BITS) - 1)
    for number in range(words.shape[0]):
        word = words[number]
        for pair in range(PAIRS_PER_WORD):
            bits = word >> np.uint64(pair * PAIR_BITS)
            at += np.int64(bits & mask_run)
            level = (bits >> np.uint64(RUN_BITS)) & mask_level
            if at < length:
                stream[at] = np.int16(np.uint16(level))
            elif level != 0:
                return -1
            at += 1
        if word >> np.uint64(FLAG_BIT):
            return number + 1 if at >= length else -1
        if at >= length:
            return -1
    return 0 if length == 0 else -1


@njit(cache=True)
def count_strip_words(fmap, rows, starts, columns):
    """64-bit words of an fmap that is coded strip by strip.

    A strip of one channel of one image is a stream of its own, row after row, because
    that is what a load of the GLB needs to find in DRAM.

    Parameters
    ----------
    fmap : ndarray, shape (N, channels, H, W)
    rows : int64 ndarray, 1-D
        Rows of the strips, one strip after the other.
    starts : int64 ndarray, shape (strips + 1,)
        Where each strip begins in ``rows``, and where the last one ends.
    columns : int64 ndarray, shape (strips, 2)
        First column of each strip, and the first beyond it.

    Returns
    -------
    words : int
    """
    words = 0
    images, channels = fmap.shape[:2]
    for image in range(images):
        for channel in range(channels):
            for strip in range(starts.shape[0] - 1):
                pairs = run = 0
                for place in range(starts[strip], starts[strip + 1]):
                    values = fmap[image, channel, rows[place]]
                    for column in range(columns[strip, 0], columns[strip, 1]):
                        if values[column] == 0 and run < LONGEST_RUN:
                            run += 1
                        else:
                            pairs += 1
                            run = 0
                pairs += run > 0
                words += (pairs + PAIRS_PER_WORD - 1) // PAIRS_PER_WORD
    return words


@njit(cache=True)
def count_met(fmap, U, V, dilation_h, dilation_w, E, F, met):
    """Non-zero ifmap values that each filter tap meets.

    Parameters
    ----------
    fmap : ndarray, shape (N, channels, H, W), padding included
    U, V, dilation_h, dilation_w, E, F : int
        Strides, dilations, ofmap size.
    met : int64 ndarray, shape (channels, R, S), written
        Over all images and windows.

    Returns
    -------
    nonzeros : int
        Of the fmap.
    """
    met[:] = 0
    images, channels, height, width = fmap.shape
    R, S = met.shape[1], met.shape[2]
    in_row = np.zeros(S, np.int64)
    nonzeros = 0
    for image in range(images):
        for channel in range(channels):
            for row in range(height):
                values = fmap[image, channel, row]
                for column in range(width):
                    nonzeros += values[column] != 0
                used = False
                for k in range(R):
                    top = row - k * dilation_h
                    if top >= 0 and top % U == 0 and top // U < E:
                        used = True
                if not used:
                    continue
                for tap in range(S):
                    count = 0
                    first = tap * dilation_w
                    if V == 1:
                        for column in range(first, first + F):
                            count += values[column] != 0
                    else:
                        for window in range(F):
                            count += values[first + window * V] != 0
                    in_row[tap] = count
                for k in range(R):
                    top = row - k * dilation_h
                    if top >= 0 and top % U == 0 and top // U < E:
                        for tap in range(S):
                            met[channel, k, tap] += in_row[tap]
    return nonzeros


@njit(cache=True)
def count_taps(filt, nonzero):
    """Non-zero weights at each tap of each channel, over the filters of its group.

    Parameters
    ----------
    filt : ndarray, shape (groups, filters of a group, C * R * S), C order
    nonzero : int32 ndarray, shape (groups, C * R * S), written
        Narrow, so that the loop runs at the speed of memory.

    Returns
    -------
    odd : int
        Weights that are NaN or infinite.
    """
    nonzero[:] = 0
    odd = 0
    for group in range(filt.shape[0]):
        counts = nonzero[group]
        for m in range(filt.shape[1]):
            weights = filt[group, m]
            for place in range(weights.shape[0]):
                counts[place] += np.int32(weights[place] != 0)
            for place in range(weights.shape[0]):
                odd += not np.isfinite(weights[place])
    return odd


@njit(cache=True)
def count_filter_words(filt, groups, m, p, q, r, t):
    """64-bit words of filters that are coded pass by pass.

    A pass is a stream of its own, in the order in which the array takes its words:
    taps of a row, channels of a PE and filters of a PE outermost, then filter rows, PE
    sets of other channels, PE sets of other filters.

    Parameters
    ----------
    filt : ndarray, shape (M, C, R, S)
    groups, m, p, q, r, t : int
        Groups, and the mapping.

    Returns
    -------
    words : int
        Of one trip of all filters to the array.
    """
    M, C, R, S = filt.shape
    of_group = M // groups
    words = 0
    for group in range(groups):
        for load in range(0, of_group, m):
            load_end = min(load + m, of_group)
            for channel in range(0, C, q * r):
                for first in range(load, load_end, p * t):
                    pairs = run = 0
                    for tap in range(S):
                        for in_q in range(q):
                            for in_p in range(p):
                                for row in range(R):
                                    for in_r in range(r):
                                        c = channel + in_r * q + in_q
                                        if c >= C:
                                            continue
                                        for in_t in range(t):
                                            f = first + in_t * p + in_p
                                            if f >= load_end:
                                                continue
                                            value = filt[group * of_group + f, c, row,
                                                         tap]
                                            if value == 0 and run < LONGEST_RUN:
                                                run += 1
                                            else:
                                                pairs += 1
                                                run = 0
                    pairs += run > 0
                    words += (pairs + PAIRS_PER_WORD - 1) // PAIRS_PER_WORD
    return words
