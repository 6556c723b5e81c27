"""Figures of a sweep: axes with units, points with names, the chip's own marked."""

import textwrap
from collections.abc import Mapping

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.collections import PatchCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from eyeriss_sim.figure_style import BLUE, GREY, INK, PALE, RED, STYLE
from eyeriss_sim.labels import field_text, pick_unit, printable
from eyeriss_sim.report import ENERGY, MEMORY, SCALED, TIMES
from eyeriss_sim.sweep.front import Points

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
    "pes": "PEs", "storage_B": "storage of RFs and GLB", "macs_per_s": "throughput"}
STORAGE = {"B": 1, "KB": 1024, "MB": 1024**2}
RATES = {"MAC/s": 1, "kMAC/s": 1e3, "MMAC/s": 1e6, "GMAC/s": 1e9, "TMAC/s": 1e12}
# Units by the ending of a column, and the one that its numbers are in.
UNITS: dict[str, tuple[Mapping[str, float], str]] = {
    "uJ": (ENERGY, "uJ"), "ms": (TIMES, "ms"), "MB": (MEMORY, "MB"),
    "B": (STORAGE, "B"), "s": (RATES, "MAC/s")}
SPELT = {"mm2": "mm²", "uJ": "µJ", "us": "µs"}
ACRONYMS = {"glb": "GLB", "rf": "RF", "noc": "NoC", "dram": "DRAM", "mac": "MAC",
            "alu": "ALU"}
FIELD_UNITS = ("B", "KB", "MB", "MHz", "kHz", "GHz", "pJ", "fJ", "nJ", "mW", "uW", "W",
               "words", "bits", "MAC", "cycles")
MOST_TICKS = 16
DECADE = 10         # values that span more are drawn on a log axis
MOST_NAMED = 40     # points of a front; as many as the command lists
# Cells of a heatmap in inches, those with room for a number, and the largest figure.
CELL, ROOMY_CELL = 0.24, (0.46, 0.3)
MOST_WIDE, MOST_HIGH = 12, 9


def axis_label(column: str, largest: float = 0.0) -> tuple[str, float]:
    """Label of an axis with its unit, and the number to divide its values by.

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
        sizes, home = UNITS[unit]
        unit = pick_unit(largest, sizes, home, limit=1e3)
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
def front_figure(points: Points, front: pd.DataFrame, x: str, y: str,
                 area: str) -> Figure:
    """All points, the front among them, and the chip's own.

    Parameters
    ----------
    points : Points
    front : DataFrame
        Rows of ``pareto_front``.
    x, y : str
        Figures.
    area : bool
        Colour the points by ``area_mm2``, which the front takes into account.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = _frame(f"Pareto front: {points.title}", (9.2, 4.8))
    x_label, x_size = axis_label(x, points.table[x].max())
    y_label, y_size = axis_label(y, points.table[y].max())

    def spots(table):
        return table[x].astype(float) / x_size, table[y].astype(float) / y_size

    if len(points.beyond):
        axes.scatter(*spots(points.beyond), s=9, color=PALE, linewidths=0,
                     label=f"{len(points.beyond):,} beyond the limit", rasterized=True)
    axes.scatter(*spots(points.table), s=9, color=GREY, alpha=0.5, linewidths=0,
                 label=f"{len(points.table):,} points", rasterized=True)
    if area:
        drawn = axes.scatter(*spots(front), s=26, c=front["area_mm2"], cmap="viridis",
                             edgecolors=INK, linewidths=0.4, label="on the front")
        figure.colorbar(drawn, ax=axes, label=axis_label("area_mm2")[0])
    else:
        axes.plot(*spots(front), color=BLUE, marker="o", markersize=4, linewidth=1.2,
                  drawstyle="steps-post", label="on the front")
    if points.base is not None:
        axes.scatter([points.base[x] / x_size], [points.base[y] / y_size], s=140,
                     marker="*", **_star(points), zorder=5)
    axes.set(xlabel=x_label, ylabel=y_label)
    for axis, column in ((axes.xaxis, x), (axes.yaxis, y)):
        _scale(axis, pd.concat([points.table[column], points.beyond[column]]))
    axes.grid()
    _legend(axes)
    _name_points(figure, axes, list(zip(*spots(front), strict=True)),
                 [points.name(row) for _, row in front.iterrows()])
    return figure


def _star(points):
    """Style of the chip's own point: hollow where the sweep has no such point."""
    name = printable(points.hardware)
    if points.outside:
        return {"facecolors": "none", "edgecolors": RED, "linewidths": 1.2,
                "label": f"{name} (outside the grid)"}
    return {"facecolors": RED, "edgecolors": INK, "linewidths": 0.6, "label": name}


def _scale(axis, values):
    """A log axis where values span over a decade, with numbers that one can read."""
    if not (values.min() > 0 and values.max() > DECADE * values.min()):
        return
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _name_points(figure, axes, spots, names):
    """A number at each point, and beside the axes what it stands for."""
    shown = names[:MOST_NAMED]
    key = [f"{place + 1:>2}  {name}" for place, name in enumerate(shown)]
    if len(names) > len(shown):
        key.append(f"and {len(names) - len(shown)} more")
    size = 7 if len(key) <= 26 else 5.5     # as many lines as fit beside the axes
    axes.annotate("\n".join(map(printable, key)), (1, 1), (10, 0), va="top",
                  xycoords="axes fraction", textcoords="offset points", fontsize=size,
                  parse_math=False, annotation_clip=False)
    figure.draw_without_rendering()
    taken: list = []
    for place, spot in enumerate(spots[:MOST_NAMED]):
        x, y = axes.transData.transform(spot)
        # The first of some places around it that is free, the last if none is.
        for right, up in ((5, 5), (-11, -11), (5, -11), (-11, 5), (14, 5), (5, 16),
                          (-20, -11), (-11, -22), (24, 12), (14, 26)):
            at = x + right, y + up
            if not any(abs(at[0] - other[0]) < 13 and abs(at[1] - other[1]) < 10
                       for other in taken):
                break
        taken.append(at)
        axes.annotate(str(place + 1), spot, (right * 72 / figure.dpi,
                      up * 72 / figure.dpi), textcoords="offset points", fontsize=6.5,
                      color=INK)


@matplotlib.rc_context(STYLE)
def heatmap_figure(points: Points, best: pd.DataFrame, asked: pd.DataFrame,
                   value: str) -> Figure:
    """A figure over two fields, the chip's own cell marked.

    Parameters
    ----------
    points : Points
    best, asked
        Table of ``best_over``.
    value : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    x, y = best.columns.name, best.index.name
    label, size = axis_label(value, np.nanmax(best.to_numpy(float)))
    roomy = _has_room(best)
    wide, high = ROOMY_CELL if roomy else (CELL, CELL)
    figure, axes = _frame(f"Heatmap of {label}: {points.title}", (
        min(max(5.6, 2.6 + wide * len(best.columns)), MOST_WIDE),
        min(max(3.8, 1.6 + high * len(best.index)), MOST_HIGH)))
    axes.set_facecolor("white")
    shown = best.to_numpy(float) / size
    least, most = np.nanmin(shown), np.nanmax(shown)
    norm = LogNorm(least, most) if least > 0 and most > DECADE * least else None
    drawn = axes.pcolormesh(shown, cmap="viridis", norm=norm, edgecolors="white",
                            linewidth=0.3)
    if roomy:
        _number_cells(axes, drawn, shown)
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
    bar = figure.colorbar(drawn, ax=axes, label=label)
    if norm:
        _scale(bar.ax.yaxis, pd.Series([least, most]))
    for ticks, names, of in ((axes.set_xticks, best.columns, x),
                             (axes.set_yticks, best.index, y)):
        step = -(-len(names) // MOST_TICKS)
        places = range(0, len(names), step)
        ticks([place + 0.5 for place in places],
              [field_text(names[place]) for place in places])
        (axes.set_xlabel if of == x else axes.set_ylabel)(axis_label(of)[0])
    spot = _spot(points, best)
    if spot:
        # At the edge of a cell, which leaves its number to be read.
        handles.append(axes.scatter(spot[0] + 0.32 * roomy, spot[1] + 0.32 * roomy,
                                    s=60 if roomy else 140, marker="*",
                                    **_star(points), zorder=5))
    axes.set(xlim=(0, len(best.columns)), ylim=(0, len(best.index)))
    if handles:
        _legend(axes, handles)
    return figure


def _has_room(best):
    """Whether a number fits in each cell of a figure of the most size."""
    wide, high = ROOMY_CELL
    return (2.6 + wide * len(best.columns) <= MOST_WIDE
            and 1.6 + high * len(best.index) <= MOST_HIGH)


def _number_cells(axes, drawn, shown):
    """Three digits in each cell, light on dark and dark on light."""
    most = np.nanmax(np.abs(shown))
    places = max(0, 2 - int(np.floor(np.log10(most)))) if most > 0 else 0
    for (row, column), value in np.ndenumerate(shown):
        if np.isnan(value):
            continue
        red, green, blue, _ = drawn.cmap(drawn.norm(value))
        dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
        axes.text(column + 0.5, row + 0.5, f"{value:.{places}f}", ha="center",
                  va="center", fontsize=6.5, color="white" if dark else INK)


def _spot(points, best):
    """Place of the chip's own cell, between cells if need be; None if outside."""
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
    return figure, figure.add_subplot()


def _legend(axes, handles=None):
    # A legend wider than its axes would make room for itself beside them.
    columns = 1 if axes.figure.get_figwidth() < 6 else 3
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns,
                borderaxespad=0.2, handletextpad=0.5)
