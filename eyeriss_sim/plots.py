"""Figures of a result: where energy and cycles go, layer by layer.

Each function returns a matplotlib ``Figure`` that belongs to nobody else: no pyplot, no
window, no state. Importing matplotlib is slow, so import this module where it is used.
"""

import warnings
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from eyeriss_sim import report
from eyeriss_sim.atomic import replacing
from eyeriss_sim.cycles import CAUSES
from eyeriss_sim.figure_style import BLUE, ORANGE, PINK, RED, SKY, STYLE, YELLOW
from eyeriss_sim.labels import CAUSE_NAMES, clip_middle, pick_unit, printable, shorten
from eyeriss_sim.levels import (
    COST_LEVELS,
    KIND_COLOURS,
    KIND_NAMES,
    LEVEL_COLOURS,
    LEVEL_NAMES,
    PART_COLOURS,
)
from eyeriss_sim.plain import ceil_div

if TYPE_CHECKING:
    from eyeriss_sim.result import SimulationResult

CAUSE_COLOURS = {"mac": BLUE, "ramp": SKY, "psum_net": PINK, "glb": ORANGE,
                 "dram_filter": RED, "dram_fmap": YELLOW}

FORMATS = (".png", ".svg", ".pdf")

UPRIGHT_LABELS = 10     # more than these turn
LABELS = 80             # more than these are thinned
LABEL_CHARACTERS = 26


@matplotlib.rc_context(STYLE)
def joules_by_part(result: "SimulationResult") -> Figure:
    """Energy of each layer in joules, stacked by level, clock and leakage on top.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> from eyeriss_sim import simulate
    >>> figure = joules_by_part(simulate("alexnet"))
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()][3:]
    ['GLB', 'DRAM', 'clock and leakage']
    """
    largest = result.table["total_uJ"].max()
    unit = pick_unit(largest, report.ENERGY, "uJ", limit=1e3)
    stacks = {name: (part / report.ENERGY[unit], PART_COLOURS[name])
              for name, part in report.joules_by_part(
                  result.table, result.hardware).items()}
    figure, axes = _stacked(result, "Joules by part", stacks)
    axes.set_ylabel(f"energy ({unit.replace('u', 'µ')})")
    return figure


@matplotlib.rc_context(STYLE)
def energy_by_level(result: "SimulationResult") -> Figure:
    """Normalised energy of each layer, stacked by level, the MACs as ALU.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> from eyeriss_sim import simulate
    >>> figure = energy_by_level(simulate("alexnet"))
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['ALU', 'RF', 'NoC', 'GLB', 'DRAM']
    """
    return _energy(result, "Normalised energy by level", COST_LEVELS, LEVEL_NAMES,
                   LEVEL_COLOURS)


@matplotlib.rc_context(STYLE)
def energy_by_kind(result: "SimulationResult") -> Figure:
    """Normalised energy of each layer, stacked by what is moved; MACs apart.

    Returns
    -------
    matplotlib.figure.Figure
    """
    return _energy(result, "Normalised energy by kind of data", tuple(KIND_NAMES),
                   KIND_NAMES, KIND_COLOURS)


@matplotlib.rc_context(STYLE)
def cycles_by_cause(result: "SimulationResult") -> Figure:
    """Cycles of each layer, stacked by what the array was waiting for.

    Returns
    -------
    matplotlib.figure.Figure
    """
    table = result.table
    unit, size = _axis_unit(table["cycles"].max())
    stacks = {
        CAUSE_NAMES[cause]: (table[f"{cause}_cycles"] / size, CAUSE_COLOURS[cause])
        for cause in CAUSES}
    figure, axes = _stacked(result, "Cycles by cause", stacks)
    axes.set_ylabel(f"{unit}cycles")
    per_ms = result.hardware.clock_MHz * 1e3 / size
    time = axes.secondary_yaxis(
        "right", functions=(lambda y: y / per_ms, lambda ms: ms * per_ms))
    time.set_ylabel(f"ms at {result.hardware.clock_MHz:g} MHz")
    time.tick_params(length=0)
    time.spines["right"].set_visible(False)
    return figure


@matplotlib.rc_context(STYLE)
def utilization(result: "SimulationResult") -> Figure:
    """Share of the array's MAC slots that each layer uses, and of the PEs it can use.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = _frame(result, "Utilisation of the array")
    places = np.arange(len(result.by_layer))
    used = 100 * result.table["utilization"].to_numpy()
    active = 100 * result.table["active_pes"].to_numpy() / result.hardware.pes
    width = _bar_width(len(used))
    bars = axes.bar(places, used, width, color=BLUE, label="MACs a PE and cycle")
    lines = axes.hlines(active, places - width / 2, places + width / 2, color=RED,
                        linewidth=2, label="PEs at work in a full pass")
    axes.set_ylim(0, 105)
    axes.set_ylabel("% of the array")
    _legend(axes, [bars, lines])
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Save a figure as ``.png``, ``.svg`` or ``.pdf``; an old file is replaced whole.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : str or Path

    Raises
    ------
    ValueError
        Another suffix.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path}: no format for {path.suffix!r}; use "
                         + ", ".join(FORMATS))
    with replacing(path) as fresh:
        fresh.write_bytes(_rendered(figure, path.suffix.lower()[1:]))


def svg_text(figure: Figure) -> str:
    """The figure as SVG on a transparent ground."""
    return _rendered(figure, "svg", facecolor="none").decode("utf-8")


def _rendered(figure, kind, **options):
    # No dates: the same result gives the same file.
    metadata = {"svg": dict.fromkeys(("Date", "Creator", "Format", "Type")),
                "pdf": {"CreationDate": None}}.get(kind)
    buffer = BytesIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # A name in letters that the font lacks shows boxes; no reason to shout.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format=kind, dpi=150, metadata=metadata, **options)
    return buffer.getvalue()


def _energy(result, title, keys, names, colours):
    unit, size = _axis_unit(result.table["energy_MAC"].max())
    stacks = {names[key]: (result.table[f"{key}_MAC"] / size, colours[key])
              for key in keys}
    figure, axes = _stacked(result, title, stacks)
    axes.set_ylabel(f"energy ({unit}MAC)")
    return figure


def _axis_unit(largest):
    """The power of ten that an axis counts in: its name, and its size."""
    powers = {"": 1.0, "10³ ": 1e3, "10⁶ ": 1e6, "10⁹ ": 1e9, "10¹² ": 1e12}
    unit = pick_unit(largest, powers, "", limit=1e3)
    return unit, powers[unit]


def _stacked(result, title, stacks):
    figure, axes = _frame(result, title)
    places, width = np.arange(len(result.by_layer)), _bar_width(len(result.by_layer))
    bottom = np.zeros(len(places))
    for name, (heights, colour) in stacks.items():
        heights = heights.to_numpy(float)
        # What never occurs needs no place in the legend.
        if heights.any():
            axes.bar(places, heights, width, bottom=bottom, color=colour, label=name)
        bottom += heights
    _legend(axes)
    return figure, axes


def _frame(result, title):
    """A figure with room for all layers and their names, and a title."""
    layers = len(result.by_layer)
    names = [clip_middle(name, LABEL_CHARACTERS) for name in shorten(
        [printable(name) for name in result.table["layer"]], LABEL_CHARACTERS)]
    longest = max(map(len, names))
    turned = layers > UPRIGHT_LABELS or longest * layers > 90
    figure = Figure(figsize=(min(max(7.2, 1.6 + 0.19 * layers), 18),
                             3.6 + 0.065 * longest * turned), layout="constrained")
    said = result.provenance
    # Names are data: a dollar sign in one starts no formula.
    figure.suptitle(
        printable(f"{title}: {said['network']}, batch {said['batch']}, on "
                  f"{said['hardware']}, zeros: {said['zeros']}"),
        x=0.01, ha="left", fontsize=10, fontweight="bold", parse_math=False)
    axes = figure.add_subplot()
    step = ceil_div(layers, LABELS)
    axes.set_xticks(
        range(0, layers, step), names[::step], parse_math=False,
        fontsize=9 if layers <= 20 else 7.5)
    if turned:
        # Held by their ends, so that they meet the axis in any font.
        for label in axes.get_xticklabels():
            label.set(rotation=90, rotation_mode="anchor", ha="right", va="center")
    axes.set_xlim(-0.6, layers - 0.4)
    axes.tick_params("both", length=0)
    axes.grid(axis="y")
    axes.set_facecolor("none")
    axes.spines["left"].set_visible(False)
    return figure, axes


def _bar_width(layers):
    return 0.62 if layers <= 20 else 0.78


def _legend(axes, handles=None):
    """Put the legend in one line above the data, where it covers none."""
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=8,
        borderaxespad=0.2, handlelength=1, handleheight=1, columnspacing=1.4,
        handletextpad=0.5, borderpad=0.2)
