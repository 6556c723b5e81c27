"""Words that each network of the array carries in a pass, step by step.

The orders are those of the open RTL. Filters: taps of a row, channels and filters of a
PE outermost, then filter rows, PE sets of other channels, PE sets of other filters.
Ifmaps: images, columns, channels of a PE, rows, PE sets of other channels. Psums:
images, windows, filters of a PE, then ofmap rows, PE sets of other filters.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from eyeriss_sim.read_only import read_only


class Schedule(NamedTuple):
    """A run of passes that differ in their filters only; int64 ndarrays.

    The first axis of most is the pass: full, or the last of the run, which may have
    fewer filters. A PE is row * columns + column, PE sets side by side.

    Parameters
    ----------
    filters : shape (2, steps, 6)
        Numbers of each step of the filter network: first PE, words, filter of the pass,
        channel, filter row, tap. The words go to the same filter set's columns.
    filter_steps : shape (2,)
    ifmaps : shape (steps, 3)
        Channel, row of the ifmap, first PE of the sets that work on the channel.
    targets : shape (rows, PEs)
        PEs that take an ifmap row, counted from that first PE; filter sets in order.
    target_counts : shape (2, rows)
    psums_in, psums_out : shape (2, steps, 4)
        Column of PEs, words, filter of the pass, ofmap row.
    psum_steps : shape (2, 2)
        Steps of psums_in and psums_out in each kind of pass.
    place : shape (2, filters, e)
        Place of a psum in the GLB, within those of its window.
    own_p : shape (2, columns)
        Filters of the PEs of a column.
    own_q : shape (rows,)
        Channels of the PEs of a row.
    """

    filters: np.ndarray
    filter_steps: np.ndarray
    ifmaps: np.ndarray
    targets: np.ndarray
    target_counts: np.ndarray
    psums_in: np.ndarray
    psums_out: np.ndarray
    psum_steps: np.ndarray
    place: np.ndarray
    own_p: np.ndarray
    own_q: np.ndarray


@lru_cache(maxsize=64)
def schedule(row_of: tuple[tuple[int, ...], ...], channels: int, filters: int, p: int,
             q: int, in_pass: int, S: int, widths: tuple[int, ...],
             downwards: bool = False) -> Schedule:
    """The schedule of passes that work through some filters.

    Parameters
    ----------
    row_of : tuple of tuple of int
        Ifmap row that the PE of a filter row and an ofmap row works on.
    channels, filters : int
        Channels and filters of all passes together.
    p, q, in_pass : int
        Filters and channels of a full PE; filters of a full pass.
    S : int
        Taps of a filter row.
    widths : tuple of int
        Words that the filter, psum input and psum output networks move in a cycle.
    downwards : bool
        Whether filter rows and sets of channels lie from the top row of PEs downwards.

    Returns
    -------
    Schedule
    """
    R, e = len(row_of), len(row_of[0])
    r = -(-channels // q)
    of_last = filters - (-(-filters // in_pass) - 1) * in_pass
    t = -(-min(filters, in_pass) // p)
    sets = [[min(p, max(0, count - one * p)) for one in range(t)]
            for count in (min(filters, in_pass), of_last)]
    of_set = [min(q, channels - one * q) for one in range(r)]
    # Rows of PEs from the bottom up, of each set of channels and filter row.
    row_at = np.arange(R * r).reshape(r, R)
    if downwards:
        row_at = row_at[::-1, ::-1]
    filter_orders = [filter_order(own, of_set, p, q, S, e, widths[0], row_at.tolist())
                     for own in sets]
    psum_orders = [[psum_order(own, p, e, width) for width in widths[1:]]
                   for own in sets]
    targets, target_counts = targets_of(row_of, sets, e, row_at[0] - row_at[0].min())
    return Schedule(*map(read_only, (
        padded(filter_orders), np.array([len(one) for one in filter_orders]),
        ifmap_order(of_set, len(targets), q, row_at.min(axis=1) * t * e), targets,
        target_counts,
        padded([one[0] for one in psum_orders]),
        padded([one[1] for one in psum_orders]),
        np.array([[len(one) for one in both] for both in psum_orders]),
        np.array([places(own, p, e, max(widths[1:])) for own in sets]),
        np.repeat(np.array(sets), e, axis=1),
        np.repeat(np.array(of_set)[::-1 if downwards else 1], R))))


def filter_order(own: list[int], of_set: list[int], p: int, q: int, S: int, e: int,
                 width: int, row_at: list[list[int]]) -> list[tuple[int, ...]]:
    """Steps of the filter network, without those of PEs that hold less."""
    columns = len(own) * e
    return [(row_at[one][row] * columns + number * e, min(width, own[number] - first),
             number * p + first, one * q + c, row, tap)
            for tap in range(S) for c in range(q) for first in range(0, p, width)
            for row in range(len(row_at[0])) for one in range(len(of_set))
            if c < of_set[one] for number in range(len(own)) if first < own[number]]


def ifmap_order(of_set: list[int], rows: int, q: int,
                first_pes: np.ndarray) -> np.ndarray:
    """Steps of the ifmap network in each column of the ifmap."""
    return np.array([(one * q + c, row, first_pes[one])
                     for c in range(q) for row in range(rows)
                     for one in range(len(of_set)) if c < of_set[one]])


def psum_order(own: list[int], p: int, e: int, width: int) -> list[tuple[int, ...]]:
    """Steps of a psum network of some width in each window."""
    return [(number * e + column, min(width, own[number] - first), number * p + first,
             column)
            for first in range(0, p, width) for column in range(e)
            for number in range(len(own)) if first < own[number]]


def places(own: list[int], p: int, e: int, width: int) -> np.ndarray:
    """Psums of a window in the order of the wider of the two psum networks."""
    place = np.zeros((len(own) * p, e), np.int64)
    at = 0
    for _, words, first, column in psum_order(own, p, e, width):
        place[first:first + words, column] = np.arange(at, at + words)
        at += words
    return place


def targets_of(row_of: tuple[tuple[int, ...], ...], sets: list[list[int]], e: int,
               row_at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """PEs that take each ifmap row, and how many of them each kind of pass has."""
    R, columns = len(row_of), len(sets[0]) * e
    rows = max(max(one) for one in row_of) + 1
    takers = [[(k, column) for k in range(R) for column in range(e)
               if row_of[k][column] == row] for row in range(rows)]
    busy = [sum(count > 0 for count in own) for own in sets]
    targets = np.zeros((rows, max(map(len, takers)) * len(sets[0])), np.int64)
    for row, pes in enumerate(takers):
        for place, (number, (k, column)) in enumerate(
                (number, pe) for number in range(len(sets[0])) for pe in pes):
            targets[row, place] = row_at[k] * columns + number * e + column
    return targets, np.array([[len(pes) * used for pes in takers] for used in busy])


def padded(orders: list[list[tuple[int, ...]]]) -> np.ndarray:
    """Orders of different lengths as one array."""
    longest = max(map(len, orders))
    out = np.zeros((len(orders), longest, len(orders[0][0])), np.int64)
    for place, order in enumerate(orders):
        out[place, :len(order)] = order
    return out
