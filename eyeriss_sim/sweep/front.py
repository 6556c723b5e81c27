"""What the rows of a sweep say: the Pareto front, and a figure over two fields."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from eyeriss_sim.sweep.dataset import read_base, read_description, read_results
from eyeriss_sim.sweep.evaluate import AREAS, RATIOS, SOLVED_GLB, SUMS

# All figures are better small, but for these.
BETTER_LARGE = ("utilization",)
FIGURES = (*SUMS, *RATIOS, *AREAS)


@dataclass(frozen=True, eq=False)
class Points:
    """One row a point: its fields and figures, networks added up.

    Parameters
    ----------
    table : DataFrame
        Points that every network can be mapped on, within all limits.
    refused : DataFrame
        The others: ``point``, the fields, and ``reason``.
    base : Series or None
        The hardware that the sweep started from, the chip's own point; None if it
        can't be mapped on.
    fields : tuple of str
        Columns that were varied.
    networks : tuple of str
    batch : int
    hardware : str
        Name of ``base``.
    complete : bool
        Whether the sweep was run to its end.
    """

    table: pd.DataFrame
    refused: pd.DataFrame
    base: pd.Series | None
    fields: tuple[str, ...]
    networks: tuple[str, ...]
    batch: int
    hardware: str
    complete: bool

    @property
    def title(self):
        """Networks, batch and hardware, for people."""
        return (f"{' + '.join(self.networks)}, batch {self.batch}, variants of "
                f"{self.hardware}")


def read_points(folder, columns, network=None, batch=None):
    """The points of a sweep with some of their figures.

    Parameters
    ----------
    folder : str or Path
    columns : sequence of str
        Figures; fields come anyway.
    network : str, optional
        One of the sweep's; by default all of them, added up.
    batch : int, optional
        One of the sweep's; needed if it has several.

    Returns
    -------
    Points

    Raises
    ------
    ValueError
        Unknown column, network or batch, each with the known ones; a ratio asked for of
        several networks; no point without a reason.
    """
    described = read_description(folder)
    fields = tuple(field for field in described["fields"] if field != "batch")
    limits = described["constraints"]
    if any(limits.get(key) for key in ("equal_storage_mm2", "equal_area_mm2")):
        fields += (SOLVED_GLB,)
    for column in columns:
        if column not in FIGURES and column not in fields:
            raise ValueError(f"{column!r} is no figure and no field; figures: "
                             f"{', '.join(FIGURES)}; fields: {', '.join(fields)}")
    networks = _chosen("network", network, described["networks"])
    batches = described.get("values of batch") or [None]
    if batch is None and len(batches) > 1:
        raise ValueError(f"{folder} has batches {', '.join(map(str, batches))}; choose "
                         f"one with --batch")
    for column in columns:
        if column in RATIOS and len(networks) > 1:
            raise ValueError(f"{column} can't be added up over {', '.join(networks)}; "
                             f"choose one with --network")
    figures = [column for column in FIGURES if column in columns]
    wanted = list(dict.fromkeys(
        ["point", "network", "batch", "hardware", "reason", *fields, *figures]))
    where = pc.field("network").isin(networks)
    if described["rows for layers"]:
        where &= pc.field("layer").is_null()
    rows = read_results(folder, wanted, where)
    batch = _chosen("batch", batch, sorted(rows.batch.unique().tolist()))[0]
    rows = rows[rows.batch == batch]
    base = read_base(folder)
    base = base[(base.batch == batch) & base.network.isin(networks)]
    if "layer" in base:
        base = base[base.layer.isna()]
    bad = rows.reason.notna().groupby(rows.point).transform("any")
    refused = rows[rows.reason.notna()].drop_duplicates("point")
    table = _added_up(rows[~bad], fields, figures)
    if table.empty:
        raise ValueError(f"{folder}: no point can run {', '.join(networks)}; the first "
                         f"reason is: {refused.reason.iloc[0]}")
    own = None
    if base.reason.isna().all():
        own = _added_up(base, fields, figures).iloc[0]
    parts = sum(1 for _ in Path(folder).glob("part-*.parquet"))
    return Points(table, refused[["point", *fields, "reason"]], own, fields, networks,
                  batch, base.hardware.iloc[0], parts == described["chunks"])


def _chosen(what, asked, known):
    if asked is None:
        return tuple(known)
    if asked not in known:
        raise ValueError(f"the sweep has no {what} {asked}; it has "
                         + ", ".join(map(str, known)))
    return (asked,)


def _added_up(rows, fields, figures):
    """One row a point: areas are the machine's, all else adds up over the networks."""
    how = {column: "sum" if column in SUMS else "first" for column in figures}
    how |= dict.fromkeys(fields, "first")
    by_point = rows.groupby("point", sort=True)
    if rows.network.nunique() == 1:
        return rows[["point", *how]].sort_values("point").reset_index(drop=True)
    return by_point.agg(how).reset_index()


def pareto_front(table, columns):
    """The rows that no other row beats in one column without losing in another.

    Of rows that are equal in all columns the first stands for all.

    Parameters
    ----------
    table : DataFrame
    columns : list of str
        Two or more; small is better, but for ``utilization``.

    Returns
    -------
    DataFrame
        Sorted by the first column, the best first.

    Examples
    --------
    >>> table = pd.DataFrame({"chip_uJ": [1, 2, 3, 3], "total_ms": [9, 5, 6, 5]})
    >>> pareto_front(table, ["chip_uJ", "total_ms"]).index.tolist()
    [0, 1]
    """
    costs = np.column_stack([
        table[column].to_numpy(float) * (-1 if column in BETTER_LARGE else 1)
        for column in columns])
    order = np.lexsort(costs.T[::-1])
    costs = costs[order]
    # Whoever beats a row comes before it, and has been kept, or been beaten by one.
    kept = np.empty_like(costs)
    places = []
    for place, cost in enumerate(costs):
        if not (kept[:len(places)] <= cost).all(axis=1).any():
            kept[len(places)] = cost
            places.append(place)
    return table.iloc[order[places]]


def check_fields(x, y):
    """Refuse two names that no sweep could have a heatmap of."""
    if x == y:
        raise ValueError(f"a heatmap has two fields; both are {x}")
    if "batch" in (x, y):
        raise ValueError("a heatmap is of one batch, so batch can be none of its two "
                         "fields; name others and choose a batch with --batch")


def best_over(points, x, y, value):
    """The best value at each pair of two fields, over all others that were varied.

    Parameters
    ----------
    points : Points
    x, y : str
        Fields.
    value : str
        A figure.

    Returns
    -------
    best : DataFrame
        Rows y, columns x, both ascending; NaN where no point can be mapped.
    asked : DataFrame of bool
        Where the sweep has points at all.
    """
    check_fields(x, y)
    for field in (x, y):
        if field not in points.fields:
            raise ValueError(f"{field!r} was not varied; fields: "
                             + ", ".join(points.fields))
    if value not in FIGURES:
        raise ValueError(f"{value!r} is no figure; figures: {', '.join(FIGURES)}")
    every = pd.concat([points.table, points.refused])
    asked = every.pivot_table(index=y, columns=x, values="point", aggfunc="count")
    how = "max" if value in BETTER_LARGE else "min"
    best = points.table.pivot_table(index=y, columns=x, values=value, aggfunc=how)
    return best.reindex(index=asked.index, columns=asked.columns), asked.notna()
