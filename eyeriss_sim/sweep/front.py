"""Findings in the rows of a sweep: the Pareto front, and a figure over two fields."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from eyeriss_sim.hardware import known_key_and_value
from eyeriss_sim.hardware_fields import TABLES
from eyeriss_sim.labels import field_text
from eyeriss_sim.near_names import hint
from eyeriss_sim.pareto import pareto
from eyeriss_sim.sweep.axes import NO_FIELDS, table_and_key
from eyeriss_sim.sweep.dataset import read_base, read_description, read_results
from eyeriss_sim.sweep.evaluate import MACHINE, RATIOS, SOLVED_GLB, SUMS, macs_per_s

# All figures are better small, but for these.
BETTER_LARGE = ("utilization", "macs_per_s")
FIGURES = (*SUMS, *RATIOS, *MACHINE)
# Figures of the machine that follow from its fields, and may be axes as these are.
DERIVED_AXES = ("pes", "storage_B")
NAMING = ("rows", "cols", "glb_ifmap_psum_B")


@dataclass(frozen=True)
class Within:
    """Limits on the networks of a reading, added up, for the whole batch.

    Parameters
    ----------
    total_ms, total_uJ : float, optional
        The most of each.
    """

    total_ms: float | None = None
    total_uJ: float | None = None

    @property
    def limits(self) -> dict[str, float]:
        """The most by column, where there is one."""
        return {column: most for column, most in vars(self).items() if most is not None}

    def __str__(self):
        return " and ".join(f"{column} of at most {most:g}"
                            for column, most in self.limits.items())


@dataclass(frozen=True, eq=False)
class Points:
    """One row a point: its fields and figures, networks added up.

    Parameters
    ----------
    table : DataFrame
        Points that every network can be mapped on, within all limits.
    beyond : DataFrame
        The same of those that a reader's own limits (``Within``) keep out.
    refused : DataFrame
        The others: ``point``, the fields, and ``reason``.
    base : Series or None
        The hardware that the sweep started from, the chip's own point; None if it
        can't be mapped on.
    fields : tuple of str
        Columns that were varied.
    networks : tuple of str
    batch : int
    objective : str
        Objective that all these points' mappings were searched for.
    hardware : str
        Name of ``base``.
    outside : tuple of str
        Fields whose value in ``base`` the sweep has not: empty where the hardware that
        the sweep started from is itself a point of its grid.
    own : dict of str to value
        Fields of that hardware that name a machine: ``NAMING``.
    complete : bool
        Whether the sweep was run to its end.
    """

    table: pd.DataFrame
    beyond: pd.DataFrame
    refused: pd.DataFrame
    base: pd.Series | None
    fields: tuple[str, ...]
    networks: tuple[str, ...]
    batch: int
    objective: str
    hardware: str
    outside: tuple[str, ...]
    own: dict[str, int]
    complete: bool

    @property
    def title(self) -> str:
        """Networks, batch, hardware and objective, for people."""
        return (f"{' + '.join(self.networks)}, batch {self.batch}, variants of "
                f"{self.hardware}, mappings searched for {self.objective}")

    def name(self, row: Any) -> str:
        """Name of a machine in figures: its array, GLB, and the other varied fields.

        Parameters
        ----------
        row : Series
            Row of ``table``.

        Returns
        -------
        str
            ``12x14, 100 KB``.
        """
        said, others = dict(self.own), []
        for column in self.fields:
            field, value = _field_of(column, row[column])
            if field in said:
                said[field] = value
            else:
                others.append(f"{column} {field_text(row[column])}")
        rows, cols, glb_B = (said[field] for field in NAMING)
        return ", ".join([f"{field_text(rows)}x{field_text(cols)}",
                          f"{glb_B / 1024:.4g} KB", *others])


def _field_of(column, value):
    """The field of Hardware that a column of a sweep varies, and the value in it."""
    if column == SOLVED_GLB:
        return "glb_ifmap_psum_B", value * 1024
    table, key = table_and_key(column.rpartition(" of ")[2])
    key, value = known_key_and_value(column, table, key, value)
    return TABLES[table][key], value


def read_points(folder: str | Path, columns: Iterable[str], network: str | None = None,
                batch: int | None = None, objective: str | None = None,
                within: Within | None = None) -> "Points":
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
    objective : str, optional
        The same: points of two objectives are never mixed.
    within : Within, optional
        Limits that points are kept to.

    Returns
    -------
    Points

    Raises
    ------
    ValueError
        Unknown column, network, batch or objective, each with the known ones; a ratio
        asked for of several networks; no point without a reason or within the limits.
    """
    described = read_description(folder)
    within = within or Within()
    fields = tuple(field for field in described["fields"] if field not in NO_FIELDS)
    limits = described["constraints"]
    if any(limits.get(key) for key in ("equal_storage_mm2", "equal_area_mm2")):
        fields += (SOLVED_GLB,)
    for column in columns:
        if column not in FIGURES and column not in fields:
            raise ValueError(f"{column!r} is no figure and no field; "
                             f"{hint(column, (*FIGURES, *fields))}figures: "
                             f"{', '.join(FIGURES)}; fields: {', '.join(fields)}")
    networks = _chosen("network", network, described["networks"])
    for what, plural, asked in (("batch", "batches", batch),
                                ("objective", "objectives", objective)):
        there = described.get(f"values of {what}") or [None]
        if asked is None and len(there) > 1:
            raise ValueError(f"{folder} has {plural} {', '.join(map(str, there))}; "
                             f"choose one with --{what}")
    for column in columns:
        if column in RATIOS and column != "macs_per_s" and len(networks) > 1:
            raise ValueError(f"{column} can't be added up over {', '.join(networks)}; "
                             f"choose one with --network")
    needed = {*columns, *within.limits}
    if "macs_per_s" in needed:      # added up as MACs and time are
        needed = needed - {"macs_per_s"} | {"macs", "total_ms"}
    figures = [column for column in FIGURES if column in needed]
    wanted = list(dict.fromkeys(["point", "network", "batch", "objective", "hardware",
                                 "reason", *fields, *figures]))
    where = pc.field("network").isin(networks)
    if described["rows for layers"]:
        where &= pc.field("layer").is_null()
    rows = read_results(folder, wanted, where)
    batch = _chosen("batch", batch, sorted(rows.batch.unique().tolist()))[0]
    objective = _chosen("objective", objective, sorted(rows.objective.unique()))[0]
    rows = rows[(rows.batch == batch) & (rows.objective == objective)]
    base = read_base(folder)
    base = base[(base.batch == batch) & base.network.isin(networks)
                & (base.objective == objective)]
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
    keeps = pd.Series(True, table.index)
    for column, most in within.limits.items():
        keeps &= table[column] <= most
    if not keeps.any():
        least = ", ".join(f"{column} {table[column].min():.4g}"
                          for column in within.limits)
        raise ValueError(f"{folder}: no point keeps to {within}; the least are {least}")
    parts = sum(1 for _ in Path(folder).glob("part-*.parquet"))
    axes = [field for field in DERIVED_AXES if field in figures]
    return Points(
        table[keeps].reset_index(drop=True), table[~keeps],
        refused[["point", *fields, *axes, "reason"]], own, fields, networks, batch,
        objective, base.hardware.iloc[0],
        _outside(base.iloc[0], fields, described, rows),
        {field: described[f"hardware {field}"] for field in NAMING},
        parts == described["chunks"])


def _outside(base, fields, described, rows):
    """Fields in which the hardware of a sweep is none of its points."""
    outside = []
    for field in fields:
        there = described.get(f"values of {field}")
        if there is None:       # the GLB of an equal area follows from the others
            same = rows
            for other in fields:
                if other != field:
                    same = same[same[other] == base[other]]
            there = same[field].unique().tolist()
        same_text = {field_text(value) for value in there if not pd.isna(value)}
        if pd.isna(base[field]) or field_text(base[field]) not in same_text:
            outside.append(field)
    return tuple(outside)


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
    how |= dict.fromkeys([*fields, "objective"], "first")
    if rows.network.nunique() == 1:
        table = rows[["point", *how]].sort_values("point").reset_index(drop=True)
    else:
        table = rows.groupby("point", sort=True).agg(how).reset_index()
    if {"macs", "total_ms"} <= set(figures):
        table["macs_per_s"] = macs_per_s(table)
    return table


def pareto_front(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The rows that no other row beats in one column without losing in another.

    Of rows that are equal in all columns the first stands for all.

    Parameters
    ----------
    table : DataFrame
    columns : list of str
        Two or more; small is better, but for ``BETTER_LARGE``.

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
    return table.iloc[pareto(costs)]


def check_fields(x: str, y: str) -> None:
    """Refuse two names that no sweep could have a heatmap of."""
    if x == y:
        raise ValueError(f"a heatmap has two fields; both are {x}")
    for name in NO_FIELDS:
        if name in (x, y):
            raise ValueError(f"a heatmap is of one {name}, so it is none of the two "
                             f"fields; name others and choose it with --{name}")


def best_over(points: Points, x: str, y: str, value: str) -> tuple:
    """The best value at each pair of two fields, over all others that were varied.

    Parameters
    ----------
    points : Points
    x, y : str
        Fields, or ``DERIVED_AXES`` that were read.
    value : str
        A figure.

    Returns
    -------
    best : DataFrame
        Rows y, columns x, both ascending; NaN where no point can be mapped.
    asked : DataFrame of bool
        Pairs at which the sweep has points at all, beyond a limit too.
    """
    check_fields(x, y)
    for field in (x, y):
        if field not in (*points.fields, *DERIVED_AXES):
            raise ValueError(f"{field!r} was not varied; "
                             f"{hint(field, points.fields)}fields: "
                             + ", ".join((*points.fields, *DERIVED_AXES)))
    if value not in FIGURES:
        raise ValueError(f"{value!r} is no figure; figures: {', '.join(FIGURES)}")
    every = pd.concat([points.table, points.beyond, points.refused])
    asked = every.pivot_table(index=y, columns=x, values="point", aggfunc="count")
    how = "max" if value in BETTER_LARGE else "min"
    best = points.table.pivot_table(index=y, columns=x, values=value, aggfunc=how)
    return best.reindex(index=asked.index, columns=asked.columns), asked.notna()
