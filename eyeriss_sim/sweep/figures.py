"""Figures of a sweep: axes with units, and the chip's own point in each."""

import textwrap

import matplotlib
import numpy as np
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from eyeriss_sim.figure_style import BLUE, GREY, GRID, INK, RED, STYLE
from eyeriss_sim.labels import field_text, pick_unit, printable
from eyeriss_sim.report import ENERGY, MEMORY, SCALED, TIMES

NAMES = {
    "chip_uJ": "energy of the chip", "dram_uJ": "energy of DRAM accesses",
    "total_uJ": "energy, DRAM included", "alu_uJ": "energy of the MACs",
    "rf_uJ": "energy of the RFs", "noc_uJ": "energy of the NoC",
    "glb_uJ": "energy of the GLB", "clock_uJ": "energy of the clock",
    "leakage_uJ": "energy of leakage",
    "total_uJ_per_image": "energy of an image, DRAM included",
    "energy_MAC": "normalised energy", "alu_MAC": "normalised energy of the MACs",
    "rf_MAC": "normalised energy of the RFs", "noc_MAC": "normalised energy of the NoC",
    "glb_MAC": "normalised energy of the GLB", "cycles": "cycles", "macs": "MACs",
    "dram_MAC": "normalised energy of DRAM", "total_ms": "total latency",
    "processing_ms": "processing latency", "glb_MB": "GLB accesses",
    "dram_MB": "DRAM accesses", "power_mW": "power of the chip",
    "edp_isca16": "energy a MAC x MACs of an image / share of active PEs",
    "utilization": "utilisation of the array", "area_mm2": "area of storage and PEs",
    "storage_mm2": "area of storage", "rows": "array rows", "cols": "array columns",
    "pes": "PEs"}
UNITS = {"uJ": ENERGY, "ms": TIMES, "MB": MEMORY}
SPELT = {"mm2": "mm²", "uJ": "µJ", "us": "µs"}
ACRONYMS = {"glb": "GLB", "rf": "RF", "noc": "NoC", "dram": "DRAM", "mac": "MAC",
            "alu": "ALU"}
FIELD_UNITS = ("B", "KB", "MB", "MHz", "kHz", "GHz", "pJ", "fJ", "nJ", "mW", "uW", "W",
               "words", "bits", "MAC", "cycles")
MOST_TICKS = 16


def axis_label(column, largest=0.0):
    """What an axis shows, in which unit, and what to divide its numbers by.

    Examples
    --------
    >>> axis_label("chip_uJ", 5e6), axis_label("spad_filter_words")
    (('energy of the chip (J)', 1000000.0), ('spad filter (words)', 1.0))
    """
    stem, _, unit = column.removesuffix("_per_image").rpartition("_")
    name = NAMES.get(column)
    if name is None:
        table, _, key = (stem if unit in FIELD_UNITS else column).rpartition(".")
        name = ": ".join(
            " ".join(ACRONYMS.get(word, word) for word in part.split("_"))
            for part in (table, key) if part)
        return (f"{name} ({unit})" if unit in FIELD_UNITS else name), 1.0
    size = 1.0
    if unit in UNITS:
        unit, sizes = pick_unit(largest, UNITS[unit], unit, limit=1e3), UNITS[unit]
        size = float(sizes[unit])
    elif unit == "MAC" or column in ("cycles", "macs"):
        powers = {"": 1.0, "10³ ": 1e3, "10⁶ ": 1e6, "10⁹ ": 1e9, "10¹² ": 1e12}
        power = pick_unit(largest, powers, "", limit=1e3)
        size, unit = powers[power], power + ("MAC" if unit == "MAC" else "")
    elif column not in SCALED and not column.endswith("mm2"):
        unit = ""
    unit = SPELT.get(unit, unit).strip()
    return (f"{name} ({unit})" if unit else name), size


@matplotlib.rc_context(STYLE)
def front_figure(points, front, x, y, area):
    """All points, the front among them, and the chip's own.

    Parameters
    ----------
    points : Points
    front : DataFrame
        Of ``pareto_front``.
    x, y : str
        Figures.
    area : bool
        Colour the points by ``area_mm2``, which the front takes into account.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = _frame(f"Pareto front: {points.title}", (7.2, 4.6))
    x_label, x_size = axis_label(x, points.table[x].max())
    y_label, y_size = axis_label(y, points.table[y].max())

    def spots(table):
        return table[x].astype(float) / x_size, table[y].astype(float) / y_size

    every = f"{len(points.table):,} points"
    if area:
        axes.scatter(*spots(points.table), s=7, color=GREY, alpha=0.6, linewidths=0,
                     label=every, rasterized=True)
        drawn = axes.scatter(*spots(front), s=26, c=front["area_mm2"], cmap="viridis",
                             edgecolors=INK, linewidths=0.4, label="on the front")
        figure.colorbar(drawn, ax=axes, label=axis_label("area_mm2")[0])
    else:
        axes.scatter(*spots(points.table), s=9, color=GREY, alpha=0.5, linewidths=0,
                     label=every, rasterized=True)
        axes.plot(*spots(front), color=BLUE, marker="o", markersize=4, linewidth=1.2,
                  drawstyle="steps-post", label="on the front")
    if points.base is not None:
        axes.scatter([points.base[x] / x_size], [points.base[y] / y_size], s=140,
                     marker="*", color=RED, edgecolors=INK, linewidths=0.6, zorder=5,
                     label=printable(points.hardware))
    axes.set(xlabel=x_label, ylabel=y_label)
    for scale, column, limits in (("x", x, axes.set_xlim), ("y", y, axes.set_ylim)):
        values = points.table[column]
        if values.min() > 0 and values.max() > 8 * values.min():
            getattr(axes, f"set_{scale}scale")("log")
        else:
            limits(auto=True)
    axes.grid(color=GRID, alpha=0.25, linewidth=0.8)
    _legend(axes)
    return figure


@matplotlib.rc_context(STYLE)
def heatmap_figure(points, best, asked, value):
    """A figure over two fields, the chip's own cell marked.

    Parameters
    ----------
    points : Points
    best, asked
        Of ``best_over``.
    value : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    x, y = best.columns.name, best.index.name
    figure, axes = _frame(f"Heatmap: {points.title}", (
        min(max(5.2, 2.4 + 0.24 * len(best.columns)), 12),
        min(max(3.8, 1.6 + 0.24 * len(best.index)), 9)))
    label, size = axis_label(value, np.nanmax(best.to_numpy(float)))
    axes.set_facecolor("white")
    drawn = axes.pcolormesh(best.to_numpy(float) / size, cmap="viridis",
                            edgecolors="white", linewidth=0.3)
    handles = []
    unmapped = (best.isna() & asked).to_numpy()
    if unmapped.any():
        axes.add_collection(PatchCollection(
            [Rectangle((column, row), 1, 1) for row, column in np.argwhere(unmapped)],
            hatch="////", facecolor="none", edgecolor=GREY, linewidth=0))
        handles.append(Patch(facecolor="white", edgecolor=GREY, hatch="////",
                             label="can't be mapped, or beyond a limit"))
    others = [axis_label(field)[0] for field in points.fields if field not in (x, y)]
    if others:
        label += f"\nbest over {', '.join(others)}"
    figure.colorbar(drawn, ax=axes, label=label)
    for ticks, names, of in ((axes.set_xticks, best.columns, x),
                             (axes.set_yticks, best.index, y)):
        step = -(-len(names) // MOST_TICKS)
        places = range(0, len(names), step)
        ticks([place + 0.5 for place in places],
              [field_text(names[place]) for place in places])
        (axes.set_xlabel if of == x else axes.set_ylabel)(axis_label(of)[0])
    spot = _spot(points, best)
    if spot:
        handles += axes.plot(*spot, marker="*", markersize=13, color=RED,
                             markeredgecolor="white", linestyle="none",
                             label=printable(points.hardware))
    axes.set(xlim=(0, len(best.columns)), ylim=(0, len(best.index)))
    if handles:
        _legend(axes, handles)
    return figure


def _spot(points, best):
    """Where the chip's own cell is, between cells if need be; None if outside."""
    if points.base is None:
        return None
    spot = []
    for names in (best.columns, best.index):
        own, known = points.base[names.name], names.tolist()
        if isinstance(known[0], str):
            if own not in known:
                return None
            spot.append(known.index(own) + 0.5)
            continue
        if own is None or not known[0] <= own <= known[-1]:
            return None
        spot.append(float(np.interp(own, known, np.arange(len(known)))) + 0.5)
    return spot


def _frame(title, size):
    figure = Figure(figsize=size, layout="constrained")
    lines = textwrap.wrap(printable(title), int(11 * size[0]))
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=10,
                    fontweight="bold", parse_math=False)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    return figure, axes


def _legend(axes, handles=None):
    # A legend wider than its axes would make room for itself beside them.
    columns = 1 if axes.figure.get_figwidth() < 6 else 3
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns,
                frameon=False, borderaxespad=0.2, handletextpad=0.5)
