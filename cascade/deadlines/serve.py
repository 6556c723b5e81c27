"""Choice of the few networks that serve a distribution of deadlines best.

Built from the abstracts of work on anytime inference and IDK cascades (Streeter 2018;
Baruah et al. 2021); the dynamic programme is our completion.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cascade.deadlines.distribution import DrawnDeadlines, SampledDeadlines
from eyeriss_sim.number_table import as_numbers

COLUMNS = ("name", "ms", "accuracy")
Deadlines = SampledDeadlines | DrawnDeadlines
LABELS = 1_000_000      # part choices that are kept side by side under a memory limit


@dataclass(frozen=True, eq=False)
class Service:
    """Networks that were chosen, and what they do.

    Parameters
    ----------
    members : pandas.DataFrame
        Rising in ms and in accuracy, with the columns of the table they come from, and:
        ``until_ms``, the member serves deadlines from its own ms up to before that;
        ``share``, of the deadlines.
    accuracy : float
        Expected over the deadlines, those missed included.
    missed : float
        Share of the deadlines that are too short for every member.
    """

    members: pd.DataFrame
    accuracy: float
    missed: float


def serve(table: pd.DataFrame, deadlines: Deadlines, members: int, *,
          miss: float = 0.0, memory_bytes: float | None = None) -> Service:
    """Choose networks so that each deadline gets the best answer there is time for.

    An image with a deadline runs the most accurate member that meets it. That member is
    known beforehand, so one network runs, and no time is lost by trying others first.

    Exact: a dynamic programme over the last member, O(members n^2) for n networks;
    where all may be members, those that some deadline asks for.
    Under a memory limit each state keeps all choices of which none is both smaller and
    better, so it stays exact, and its time depends on how many those are.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns name, ms, accuracy (0..1) and, for a memory limit, bytes.
    deadlines : SampledDeadlines or DrawnDeadlines
    members : int
        At most.
    miss : float
        What a missed deadline counts, 0..1: 0, or the accuracy of a guess.
    memory_bytes : float, optional
        Most bytes of all members together.

    Returns
    -------
    Service
        One with the fewest members, where several choices are best.

    Raises
    ------
    ValueError
        A table that is not as above; no network that meets any deadline, fits into
        memory, and beats a miss; more than ``LABELS`` choices to be kept.

    Examples
    --------
    >>> from cascade.deadlines.distribution import SampledDeadlines
    >>> table = pd.DataFrame({"name": ["small", "middle", "large"],
    ...                       "ms": [1.0, 2.0, 4.0], "accuracy": [0.6, 0.7, 0.9]})
    >>> found = serve(table, SampledDeadlines([1.5, 3.0, 5.0, 5.0]), 2)
    >>> found.members[["name", "until_ms", "share"]].values.tolist()
    [['small', 4.0, 0.5], ['large', inf, 0.5]]
    >>> found.accuracy, found.missed
    (0.75, 0.0)
    """
    if members < 1:
        raise ValueError(f"at least 1 member is needed, got {members}")
    if not 0 <= miss <= 1:
        raise ValueError(f"a miss counts 0 to 1, got {miss:g}")
    limited = memory_bytes is not None
    table = undominated(table, miss, with_bytes=limited)
    if limited:
        fits = table.bytes <= memory_bytes
        if len(table) and not fits.any():
            least = table.loc[table.bytes.idxmin()]
            raise ValueError(
                f"no network fits into {memory_bytes:g} bytes; the smallest, "
                f"{least['name']}, has {least.bytes:.0f}")
        table = table[fits].reset_index(drop=True)
    met = deadlines.met(table.ms.to_numpy())
    if not met.any():
        raise ValueError("no network meets any of the deadlines" + (
            f"; the fastest, {table.name[0]}, takes {table.ms[0]:g} ms" if len(table)
            else f" and beats a miss, which counts {miss:g}"))
    if members >= len(table) and not limited:
        chosen = np.arange(len(table))
    else:
        chosen = np.array(_best_chain(
            table.ms.to_numpy(), table.accuracy.to_numpy(), met, members, miss,
            table.bytes.to_numpy() if limited else np.zeros(len(table)),
            memory_bytes if limited else np.inf))
    # Without those for which no deadline asks.
    chosen = chosen[met[chosen] > np.append(met[chosen][1:], 0.0)]
    found = table.iloc[chosen].reset_index(drop=True)
    met = met[chosen]
    share = met - np.append(met[1:], 0.0)
    found = found.assign(until_ms=np.append(found.ms[1:], np.inf), share=share)
    missed = float(1 - met[0])
    return Service(found, float(missed * miss + share @ found.accuracy), missed)


def undominated(table: pd.DataFrame, miss: float = 0.0,
                with_bytes: bool = False) -> pd.DataFrame:
    """The networks that can be of use, from fast to slow.

    Parameters
    ----------
    table : pandas.DataFrame
        A table that :func:`serve` takes.
    miss : float
        A network that is no better is of no use.
    with_bytes : bool
        A network is also of use if it is smaller than those that beat it.

    Returns
    -------
    pandas.DataFrame
        Without ``with_bytes`` strictly rising in ms and in accuracy.
    """
    table = _checked(table, with_bytes)
    table = table[table.accuracy > miss].sort_values(
        ["ms", "accuracy", *(["bytes"] if with_bytes else [])],
        ascending=[True, False, *([True] if with_bytes else [])], kind="stable")
    accuracy = table.accuracy.to_numpy()
    size = table.bytes.to_numpy() if with_bytes else np.zeros(len(table))
    # Those before are no slower; of equals the first one stays.
    beaten = np.tril((accuracy >= accuracy[:, None]) & (size <= size[:, None]), -1)
    return table[~beaten.any(1)].reset_index(drop=True)


def _best_chain(ms, accuracy, met, members, miss, size, limit):
    """Places of the members, rising in time and accuracy, that gain most.

    A member adds its accuracy above the one before it on all deadlines that it meets.
    A label is a choice that ends in some network: that network, its value, its size and
    the label that it goes on from.
    """
    last, value, used = np.array([-1]), np.array([0.0]), np.array([0.0])
    before = np.array([-1])
    all_last, all_before, offset = [last], [before], 0
    best = 0.0, 0
    ends_ms, ends_accuracy = np.append(ms, -np.inf), np.append(accuracy, miss)
    for _ in range(members):
        kept = []
        for network in range(len(ms)):
            usable = np.flatnonzero(
                (ends_ms[last] < ms[network])
                & (ends_accuracy[last] < accuracy[network])
                & (used + size[network] <= limit))
            worth = value[usable] + (
                accuracy[network] - ends_accuracy[last[usable]]) * met[network]
            need = used[usable] + size[network]
            order = np.lexsort((-worth, need))
            top = np.maximum.accumulate(worth[order])
            order = order[np.diff(top, prepend=-np.inf) > 0]
            kept.append((np.full(len(order), network), worth[order], need[order],
                         offset + usable[order]))
        offset += len(last)
        last, value, used, before = map(np.concatenate, zip(*kept, strict=True))
        if not len(last):
            break
        if offset + len(last) > LABELS:
            raise ValueError(
                f"the memory limit leaves more than {LABELS} choices to be compared; "
                "ask for fewer members or give fewer networks")
        all_last.append(last)
        all_before.append(before)
        place = int(value.argmax())
        if value[place] > best[0]:
            best = value[place], offset + place
    ends, befores = np.concatenate(all_last), np.concatenate(all_before)
    chain, label = [], best[1]
    while label > 0:
        chain.append(int(ends[label]))
        label = befores[label]
    return chain[::-1]


def _checked(table, with_bytes):
    """The table as numbers in their ranges, or a refusal that names the network."""
    if with_bytes and "bytes" not in table:
        raise ValueError("a memory limit needs a column bytes in the table")
    table = as_numbers(table, COLUMNS, ("bytes",) if with_bytes else ())
    if not len(table):
        raise ValueError("the table names no network")
    if table.name.duplicated().any():
        raise ValueError(f"network {table.name[table.name.duplicated()].iloc[0]!r} is "
                         "named twice; each needs a name of its own")
    for column, low, high in (("ms", 0, np.inf), ("accuracy", 0, 1),
                              ("bytes", 0, np.inf))[:2 + with_bytes]:
        outside = ~table[column].between(low, high)
        if outside.any():
            row = table[outside].iloc[0]
            raise ValueError(f"{row['name']}: {column} is {row[column]:g}; it must be "
                             + ("0 to 1" if high == 1 else "at least 0"))
    return table
